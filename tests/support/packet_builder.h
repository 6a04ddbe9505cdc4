// SPDX-License-Identifier: BSD-3-Clause
// PacketBuilder: frames and bare IP packets for tests, written as one reads them. Lengths, protocol numbers and
// checksums are right unless a knob says otherwise; each knob breaks one thing.
//
//   auto frame = eth().vlan(7).ip4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kSyn).payload(10).build();
//   auto bare = ip6("2001:db8::7", "2001:db8:1::10").udp(5000, 53).payload("hello").build();     // no Ethernet header
//   auto error = ip4(router, member).icmp_error(3, 4, quoted_packet, 1400).build();
//   auto wrong = eth().ip4(a, b).udp(1, 2).l4_checksum(0x1234).build();
//
// Calls go from the outside in; a knob belongs to the layer it is named after, wherever it is called.
// Threads: one object, one thread. Ownership: value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"

namespace statecast::test {

using Packet = std::vector<uint8_t>;

inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32;

// What an Ethernet header carries unless the test says otherwise.
inline constexpr std::string_view kTestSourceMac = "02:00:00:00:00:01", kTestDestinationMac = "02:00:00:00:00:02";

class PacketBuilder {
 public:
  // Layer 2. Without eth() the packet starts with its IP header.
  PacketBuilder& eth(std::string_view source = kTestSourceMac, std::string_view destination = kTestDestinationMac);
  PacketBuilder& vlan(uint16_t id, uint16_t tag_type = 0x8100);  // once more for a second, inner tag
  PacketBuilder& ethertype(uint16_t value);

  // Layer 3.
  PacketBuilder& ip4(std::string_view source, std::string_view destination);
  PacketBuilder& ip6(std::string_view source, std::string_view destination);
  PacketBuilder& ip(const IpAddress& source, const IpAddress& destination);  // by the addresses' family
  PacketBuilder& ttl(uint8_t v);
  PacketBuilder& dont_fragment(bool v = true);
  PacketBuilder& ip_options(Packet bytes);                    // IPv4; padded to a multiple of 4
  PacketBuilder& extension(uint8_t number, size_t size = 8);  // IPv6; zeros, size a multiple of 8
  PacketBuilder& routing(uint8_t type, uint8_t segments_left);
  // This packet as one fragment of another: `offset` in bytes. IPv6: a fragment header at this place of the chain. An
  // L4 header is there only where the test asks for one; without it say the protocol.
  PacketBuilder& fragment(size_t offset, bool more, uint32_t identification = 1);
  PacketBuilder& protocol(uint8_t number);
  PacketBuilder& ip_version(uint8_t v);       // knob
  PacketBuilder& ip_header_words(uint8_t v);  // knob: IHL
  PacketBuilder& ip_length(uint16_t v);       // knob: total length (IPv4), payload length (IPv6)
  PacketBuilder& ip_checksum(uint16_t v);     // knob
  PacketBuilder& extension_units(uint8_t v);  // knob: length field of the last extension header

  // Layer 4.
  PacketBuilder& tcp(uint16_t source, uint16_t destination, uint8_t flags = kAck, uint32_t sequence = 1,
                     uint32_t acknowledgement = 1);
  PacketBuilder& window(uint16_t v);
  PacketBuilder& mss(uint16_t v);            // TCP option
  PacketBuilder& tcp_options(Packet bytes);  // padded to a multiple of 4
  PacketBuilder& udp(uint16_t source, uint16_t destination);
  PacketBuilder& icmp(uint8_t type, uint8_t code = 0, uint32_t rest = 0);  // ICMPv6 over IPv6
  // The quote of a packet that starts with its IP header, cut to `quote_max`; `rest` is the MTU, pointer, ...
  PacketBuilder& icmp_error(uint8_t type, uint8_t code, const Packet& quote, uint32_t rest = 0, size_t quote_max = 548);
  PacketBuilder& tcp_header_words(uint8_t v);  // knob: data offset
  PacketBuilder& udp_length(uint16_t v);       // knob
  PacketBuilder& l4_checksum(uint16_t v);      // knob

  // What follows.
  PacketBuilder& payload(size_t n);  // n bytes 0, 1, 2, ...
  PacketBuilder& payload(std::string_view text);
  PacketBuilder& payload(Packet bytes);
  PacketBuilder& padding(size_t n);  // zeros behind the IP packet, as short Ethernet frames have
  PacketBuilder& cut(size_t n);      // knob: the frame loses its last n bytes
  PacketBuilder& cut_to(size_t n);   // knob: the frame ends after n bytes

  Packet build() const;

 private:
  struct Extension {
    uint8_t number;
    Packet body;  // with a place for "next header" first
  };
  enum class L4 { none, tcp, udp, icmp };
  bool v6() const { return source_.is_v6(); }
  uint8_t l4_number() const;
  Packet l4_bytes() const;
  Packet ip_bytes() const;

  std::optional<Packet> eth_;  // both addresses and tags, without Ethertype
  std::optional<uint16_t> ethertype_;
  IpAddress source_, destination_;
  uint8_t ttl_ = 64;
  uint16_t identification_ = 0, fragment_field_ = 0;
  Packet ip_options_;
  std::vector<Extension> extensions_;
  std::optional<uint8_t> protocol_, ip_version_, ip_header_words_, extension_units_;
  std::optional<uint16_t> ip_length_, ip_checksum_;

  L4 l4_ = L4::none;
  uint16_t source_port_ = 0, destination_port_ = 0, window_ = 65535;
  uint8_t flags_ = 0, icmp_type_ = 0, icmp_code_ = 0;
  uint32_t sequence_ = 0, acknowledgement_ = 0, icmp_rest_ = 0;
  Packet tcp_options_;
  std::optional<uint8_t> tcp_header_words_;
  std::optional<uint16_t> udp_length_, l4_checksum_;

  Packet payload_;
  size_t padding_ = 0, cut_ = 0;
  std::optional<size_t> cut_to_;
};

PacketBuilder eth(std::string_view source = kTestSourceMac, std::string_view destination = kTestDestinationMac);
PacketBuilder ip4(std::string_view source, std::string_view destination);
PacketBuilder ip6(std::string_view source, std::string_view destination);

std::string hex(Bytes bytes);
Packet unhex(std::string_view text);  // spaces are skipped

// Writes packets for a look at them with a capture tool; false when the file cannot be written. Ethernet frames, or
// bare IP packets. One packet per millisecond.
enum class PcapLink : uint32_t { ethernet = 1, raw_ip = 101 };
bool write_pcap(const std::string& path, const std::vector<Packet>& packets, PcapLink link = PcapLink::ethernet);

}  // namespace statecast::test
