// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/neighbour.h"

#include <algorithm>

#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr uint16_t kArpEthernet = 1, kArpIp4 = 0x0800, kArpSizes = 0x0604, kArpRequest = 1, kArpReply = 2;
constexpr uint16_t kEthertypeIp6 = 0x86dd;
constexpr uint8_t kSolicitationType = 135, kAdvertisementType = 136,
                  kHopLimit = 255;  // only a link's own hosts send 255
constexpr uint8_t kSourceMacOption = 1, kTargetMacOption = 2;
constexpr size_t kIp6Size = 40, kMessageSize = 24;
constexpr uint32_t kSolicited = 1u << 30, kOverride = 1u << 29;
constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

bool is_group_mac(const MacAddress& m) {
  return m.raw[0] & 1;
}
bool is_multicast(const IpAddress& a) {
  return a.is_v6() ? a.raw[0] == 0xff : a.raw[0] >= 0xe0;
}
bool is_unspecified(const IpAddress& a) {
  return std::all_of(a.raw.begin(), a.raw.end(), [](uint8_t b) { return b == 0; });
}
IpAddress all_nodes() {
  IpAddress a;
  a.family = IpAddress::Family::v6;
  a.raw[0] = 0xff, a.raw[1] = 0x02, a.raw[15] = 1;
  return a;
}

size_t write_arp(uint16_t operation, const MacAddress& frame_to, const ArpPacket& a, MutableBytes out) {
  Writer w(out);
  w.bytes(frame_to.raw);
  w.bytes(a.sender_mac.raw);
  w.u16(kEthertypeArp);
  w.u16(kArpEthernet);
  w.u16(kArpIp4);
  w.u16(kArpSizes);
  w.u16(operation);
  w.bytes(a.sender_mac.raw);
  w.bytes(a.sender.bytes());
  w.bytes(a.target_mac.raw);
  w.bytes(a.target.bytes());
  return w.ok() ? w.size() : 0;
}

// A neighbour discovery message: flags and target, and one option with our MAC.
size_t write_message(uint8_t type, uint32_t flags, uint8_t option, const MacAddress& mac, const MacAddress& frame_to,
                     const IpAddress& source, const IpAddress& destination, const IpAddress& target, MutableBytes out) {
  Writer w(out);
  w.bytes(frame_to.raw);
  w.bytes(mac.raw);
  w.u16(kEthertypeIp6);
  size_t ip_at = w.size();
  w.u32(uint32_t(6) << 28);
  w.u16(kMessageSize + 8);
  w.u8(uint8_t(Protocol::icmp6));
  w.u8(kHopLimit);
  w.bytes(source.bytes());
  w.bytes(destination.bytes());
  size_t icmp_at = ip_at + kIp6Size;
  w.u8(type);
  w.u8(0);
  w.u16(0);
  w.u32(flags);
  w.bytes(target.bytes());
  w.u8(option);
  w.u8(1);  // in units of 8 bytes
  w.bytes(mac.raw);
  if (!w.ok()) return 0;
  uint16_t sum =
      transport_checksum(source, destination, uint8_t(Protocol::icmp6), w.written().subspan(icmp_at, kMessageSize + 8));
  out[icmp_at + 2] = static_cast<uint8_t>(sum >> 8);
  out[icmp_at + 3] = static_cast<uint8_t>(sum);
  return w.size();
}

struct Message {
  IpAddress source, destination, target;
  uint32_t flags = 0;
  std::optional<MacAddress> mac;  // of the option asked for
};

// What solicitations and advertisements share: all checks but those about addresses.
std::optional<Message> parse_message(Bytes packet, uint8_t type, uint8_t mac_option) {
  Reader ip(packet);
  uint32_t version = ip.u32() >> 28;
  size_t length = ip.u16();
  uint8_t next = ip.u8(), hop_limit = ip.u8();
  Message m;
  Bytes source = ip.bytes(16), destination = ip.bytes(16), icmp = ip.bytes(length);
  if (!ip.ok() || version != 6 || next != uint8_t(Protocol::icmp6) || hop_limit != kHopLimit) return std::nullopt;
  if (length < kMessageSize) return std::nullopt;
  m.source = IpAddress::v6(source);
  m.destination = IpAddress::v6(destination);
  if (transport_checksum(m.source, m.destination, next, icmp) != 0) return std::nullopt;

  Reader r(icmp);
  uint8_t found_type = r.u8(), code = r.u8();
  r.u16();
  m.flags = r.u32();
  m.target = IpAddress::v6(r.bytes(16));
  if (found_type != type || code != 0 || is_multicast(m.target)) return std::nullopt;
  while (r.left()) {
    uint8_t option = r.u8();
    size_t size = size_t(r.u8()) * 8;
    if (size == 0) return std::nullopt;
    Bytes body = r.bytes(size - 2);
    if (!r.ok()) return std::nullopt;
    if (option != mac_option || size != 8) continue;
    m.mac.emplace();
    std::copy(body.begin(), body.end(), m.mac->raw.begin());
    if (is_group_mac(*m.mac)) return std::nullopt;
  }
  return m;
}

}  // namespace

std::optional<ArpPacket> parse_arp(Bytes packet) {
  Reader r(packet);
  if (r.u16() != kArpEthernet || r.u16() != kArpIp4 || r.u16() != kArpSizes) return std::nullopt;
  uint16_t operation = r.u16();
  ArpPacket a;
  a.is_request = operation == kArpRequest;
  r.copy(a.sender_mac.raw);
  Bytes sender = r.bytes(4);
  r.copy(a.target_mac.raw);
  Bytes target = r.bytes(4);
  if (!r.ok() || (operation != kArpRequest && operation != kArpReply)) return std::nullopt;
  a.sender = IpAddress::v4(sender);
  a.target = IpAddress::v4(target);
  if (is_group_mac(a.sender_mac) || is_multicast(a.sender)) return std::nullopt;
  return a;
}

size_t write_arp_request(const MacAddress& mac, const IpAddress& self, const IpAddress& target, MutableBytes out) {
  return write_arp(kArpRequest, kBroadcastMac, {true, mac, {}, self, target}, out);
}

size_t write_arp_reply(const ArpPacket& request, const MacAddress& mac, MutableBytes out) {
  return write_arp(kArpReply, request.sender_mac, {false, mac, request.sender_mac, request.target, request.sender},
                   out);
}

bool is_neighbour_solicitation(const ParsedPacket& p) {
  return p.protocol == Protocol::icmp6 && p.icmp_type == kSolicitationType && p.fragment == Fragment::none;
}

bool is_neighbour_advertisement(const ParsedPacket& p) {
  return p.protocol == Protocol::icmp6 && p.icmp_type == kAdvertisementType && p.fragment == Fragment::none;
}

std::optional<Solicitation> parse_solicitation(Bytes packet) {
  auto m = parse_message(packet, kSolicitationType, kSourceMacOption);
  if (!m || is_multicast(m->source)) return std::nullopt;
  if (is_unspecified(m->source) && (m->mac || m->destination != solicited_node(m->target))) return std::nullopt;
  return Solicitation{m->source, m->target, m->mac};
}

std::optional<Advertisement> parse_advertisement(Bytes packet) {
  auto m = parse_message(packet, kAdvertisementType, kTargetMacOption);
  if (!m || (is_multicast(m->destination) && (m->flags & kSolicited))) return std::nullopt;
  return Advertisement{m->target, m->mac, (m->flags & kSolicited) != 0, (m->flags & kOverride) != 0};
}

size_t write_solicitation(const MacAddress& mac, const IpAddress& self, const IpAddress& target, MutableBytes out,
                          std::optional<MacAddress> known) {
  IpAddress to = known ? target : solicited_node(target);
  return write_message(kSolicitationType, 0, kSourceMacOption, mac, known ? *known : multicast_mac(to), self, to,
                       target, out);
}

size_t write_advertisement(const Solicitation& question, const MacAddress& mac, MutableBytes out,
                           const MacAddress& asker_mac) {
  bool to_all = is_unspecified(question.source);
  IpAddress to = to_all ? all_nodes() : question.source;
  MacAddress frame_to = to_all ? multicast_mac(to) : question.source_mac.value_or(asker_mac);
  return write_message(kAdvertisementType, to_all ? kOverride : kSolicited | kOverride, kTargetMacOption, mac, frame_to,
                       question.target, to, question.target, out);
}

IpAddress solicited_node(const IpAddress& target) {
  IpAddress a = all_nodes();  // ff02::1
  a.raw[15] = 0;
  a.raw[11] = 1;
  a.raw[12] = 0xff;
  std::copy(target.raw.begin() + 13, target.raw.end(), a.raw.begin() + 13);
  return a;
}

MacAddress multicast_mac(const IpAddress& group) {
  MacAddress m{{0x33, 0x33}};
  std::copy(group.raw.begin() + 12, group.raw.end(), m.raw.begin() + 2);
  return m;
}

}  // namespace statecast
