// SPDX-License-Identifier: BSD-3-Clause
// Neighbours on a link that the kernel does not see: ARP (RFC 826) and IPv6 neighbour discovery (RFC 4861), read and
// written. Pure: which addresses are ours, and who is asked when, is the caller's.
//
//   ParsedPacket p;  auto r = parse_frame(frame, p);
//   if (r == ParseResult::not_ip && p.ethertype == kEthertypeArp)
//     if (auto arp = parse_arp(frame.subspan(p.l3_offset)); arp && arp->is_request && arp->target == our_address)
//       size_t n = write_arp_reply(*arp, our_mac, out);             // a frame to send
//   if (is_neighbour_solicitation(p))                                // whatever r says: it may come from ::
//     if (auto s = parse_solicitation(frame.subspan(p.l3_offset)); s && s->target == our_address6)
//       size_t n = write_advertisement(*s, our_mac, out);
//
// Writers return the size of an untagged Ethernet frame, 0 where `out` is shorter than kNeighbourFrameMax may need.
// Threads: pure functions. Ownership: the caller's bytes.
#pragma once

#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "dataplane/packet/parse.h"

namespace statecast {

inline constexpr uint16_t kEthertypeArp = 0x0806;
inline constexpr size_t kNeighbourFrameMax = 86;  // 14 Ethernet, 40 IPv6, 24 + 8 ICMPv6; ARP takes 42

// --- ARP: Ethernet and IPv4 only
//   0                   1                   2                   3
//   | hardware type 1   | protocol 0x0800   | 6       | 4       | operation         |
//   | sender MAC 6 | sender IPv4 4 | target MAC 6 | target IPv4 4 |                     28 bytes
struct ArpPacket {
  bool is_request = false;  // else a reply
  MacAddress sender_mac, target_mac;
  IpAddress sender, target;  // the sender of a probe (RFC 5227) is 0.0.0.0
};
// `packet` begins behind the Ethernet header; padding may follow. nullopt: not ARP of this kind, or a sender that is no
// single machine (multicast or broadcast).
std::optional<ArpPacket> parse_arp(Bytes packet);
size_t write_arp_request(const MacAddress& mac, const IpAddress& self, const IpAddress& target, MutableBytes out);
size_t write_arp_reply(const ArpPacket& request, const MacAddress& mac, MutableBytes out);

// --- IPv6 neighbour discovery
struct Solicitation {
  IpAddress source;  // :: while the asker looks whether its address is free
  IpAddress target;
  std::optional<MacAddress> source_mac;
};
struct Advertisement {
  IpAddress target;
  std::optional<MacAddress> target_mac;
  bool solicited = false, overrides = false;
};
bool is_neighbour_solicitation(const ParsedPacket& p);
bool is_neighbour_advertisement(const ParsedPacket& p);
// `packet` begins with its IPv6 header. nullopt where a check of RFC 4861, 7.1.1 or 7.1.2, fails (hop limit 255,
// checksum, code, lengths, target, options, what goes with the unspecified address or multicast).
std::optional<Solicitation> parse_solicitation(Bytes packet);
std::optional<Advertisement> parse_advertisement(Bytes packet);
// To the solicited-node multicast address of `target`, or, to see whether a known neighbour still is there, to `known`.
size_t write_solicitation(const MacAddress& mac, const IpAddress& self, const IpAddress& target, MutableBytes out,
                          std::optional<MacAddress> known = std::nullopt);
// Solicited and overriding; to all nodes where the asker has no address yet. Goes to `asker_mac` if the solicitation
// named none (RFC 4861 lets a unicast one omit it): hand in the frame's source.
size_t write_advertisement(const Solicitation& question, const MacAddress& mac, MutableBytes out,
                           const MacAddress& asker_mac = {});

// ff02::1:ffXX:XXXX
IpAddress solicited_node(const IpAddress& target);
// 33:33:XX:XX:XX:XX of an IPv6 multicast address
MacAddress multicast_mac(const IpAddress& group);

}  // namespace statecast
