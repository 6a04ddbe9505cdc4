// SPDX-License-Identifier: BSD-3-Clause
// Parse plain: the short way through a frame of the kind that nearly all are: untagged, TCP or UDP, no IP options,
// extension headers or fragments, nothing wrong with it.
//
//   ParseResult r = parse_plain(frame, p) ? ParseResult::ok : parse_frame_carefully(frame, p);
//
// Where it says true, it has said the same as the careful way, in a fraction of the time (tests and the fuzzer hold the
// two against each other). False leaves everything to that one, which also knows what is wrong. In a header, because
// the pipeline's first step wants it inline. Threads: pure functions. Ownership: offsets into the caller's bytes.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "dataplane/packet/parse.h"

namespace statecast {

namespace parsing {

inline constexpr uint16_t kEthertypeIp4 = 0x0800, kEthertypeIp6 = 0x86dd;
inline constexpr size_t kEthernetSize = 14, kIp4Size = 20, kIp6Size = 40, kTcpSize = 20, kUdpSize = 8;
inline constexpr size_t kPacketMax = 65535;  // what a 16-bit total length can say; jumbograms are not carried
inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kTcpFlagsClassic = 0x3f;  // FIN to URG

inline uint16_t be16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] << 8 | p[1]);
}

// The header's own checksum, as received. A header has whole 32-bit words, so this is shorter than the general sum.
inline bool ip4_checksum_is_good(const uint8_t* header, size_t size) {
  uint64_t sum = 0;
  for (size_t at = 0; at < size; at += 4) {
    uint32_t words;
    std::memcpy(&words, header + at, 4);
    sum += words;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

// Which of the 64 settings of the classic TCP flags are good: bit i stands for flags i.
constexpr uint64_t good_flag_settings() {
  uint64_t good = 0;
  for (unsigned flags = 1; flags < 64; ++flags) {
    if (!((flags & kSyn) && (flags & (kFin | kRst)))) good |= uint64_t(1) << flags;
  }
  return good;
}

// What the short way has found out of layer 4.
struct PlainL4 {
  size_t header;
  uint16_t source, destination;
  uint8_t tcp_flags;
};

// Of a packet without options, extension headers and fragments, at `l4` with `left` bytes. False: look closer.
[[gnu::always_inline]] inline bool read_plain_l4(const uint8_t* l4, size_t left, uint8_t protocol, PlainL4& out) {
  if (protocol == uint8_t(Protocol::tcp)) {
    if (left < kTcpSize) return false;
    out.header = size_t(l4[12] >> 4) * 4;
    out.tcp_flags = l4[13];
    if (out.header < kTcpSize || out.header > left) return false;
    if (!(good_flag_settings() >> (out.tcp_flags & kTcpFlagsClassic) & 1)) return false;
  } else {
    if (protocol != uint8_t(Protocol::udp) || left < kUdpSize) return false;
    out.header = kUdpSize;
    out.tcp_flags = 0;
    const size_t length = be16(l4 + 4);
    if (length < kUdpSize || length > left) return false;
  }
  out.source = be16(l4);
  out.destination = be16(l4 + 2);
  return out.source != 0 && out.destination != 0;
}

// Three words instead of fifteen fields: each word is put together in a register and stored once.
[[gnu::always_inline]] inline void set_plain(ParsedPacket& out, uint16_t ethertype, uint8_t version, uint16_t l3_offset,
                                             size_t header, size_t total, uint8_t protocol, const PlainL4& l4) {
  static_assert(std::is_trivially_copyable_v<ParsedPacket> && sizeof(ParsedPacket) == 24);
  static_assert(offsetof(ParsedPacket, l3_offset) == 2 && offsetof(ParsedPacket, l4_offset) == 4);
  static_assert(offsetof(ParsedPacket, payload_offset) == 6 && offsetof(ParsedPacket, l3_length) == 8);
  static_assert(offsetof(ParsedPacket, ip_version) == 10 && offsetof(ParsedPacket, protocol) == 11);
  static_assert(offsetof(ParsedPacket, protocol_number) == 12 && offsetof(ParsedPacket, tcp_flags) == 14);
  static_assert(offsetof(ParsedPacket, source_port) == 18 && offsetof(ParsedPacket, destination_port) == 20);
  const uint64_t words[3] = {uint64_t(l3_offset + header + l4.header) << 48 | uint64_t(l3_offset + header) << 32 |
                                 uint64_t(l3_offset) << 16 | ethertype,
                             uint64_t(l4.tcp_flags) << 48 | uint64_t(protocol) << 32 | uint64_t(protocol) << 24 |
                                 uint64_t(version) << 16 | total,
                             uint64_t(l4.destination) << 32 | uint64_t(l4.source) << 16};
  std::memcpy(static_cast<void*>(&out), words, sizeof words);
}

[[gnu::always_inline]] inline bool parse_plain_ip4(const uint8_t* ip, size_t room, uint16_t l3_offset,
                                                   ParsedPacket& out) {
  if (room < kIp4Size + kUdpSize || ip[0] != 0x45) return false;
  const size_t total = be16(ip + 2);
  if (total > room || total < kIp4Size || (be16(ip + 6) & 0x3fff) != 0) return false;
  uint32_t source, destination;
  std::memcpy(&source, ip + 12, 4);
  std::memcpy(&destination, ip + 16, 4);
  const uint8_t first = ip[12];
  if (first == 0 || first == 127 || first >= 0xe0 || source == destination) return false;
  if (!ip4_checksum_is_good(ip, kIp4Size)) return false;
  PlainL4 l4;
  if (!read_plain_l4(ip + kIp4Size, total - kIp4Size, ip[9], l4)) return false;
  set_plain(out, kEthertypeIp4, 4, l3_offset, kIp4Size, total, ip[9], l4);
  return true;
}

[[gnu::always_inline]] inline bool parse_plain_ip6(const uint8_t* ip, size_t room, uint16_t l3_offset,
                                                   ParsedPacket& out) {
  if (room < kIp6Size + kUdpSize || ip[0] >> 4 != 6) return false;
  const size_t total = kIp6Size + be16(ip + 4);
  if (total > room || total > kPacketMax) return false;
  if (!is_unicast(Bytes(ip + 8, 16)) || std::memcmp(ip + 8, ip + 24, 16) == 0) return false;
  PlainL4 l4;
  if (!read_plain_l4(ip + kIp6Size, total - kIp6Size, ip[6], l4)) return false;
  set_plain(out, kEthertypeIp6, 6, l3_offset, kIp6Size, total, ip[6], l4);
  return true;
}

}  // namespace parsing

// Of the IP packet alone.
inline bool parse_plain_ip(Bytes packet, ParsedPacket& out) {
  using namespace parsing;
  if (packet.empty()) return false;
  return packet[0] >> 4 == 4 ? parse_plain_ip4(packet.data(), packet.size(), 0, out)
                             : parse_plain_ip6(packet.data(), packet.size(), 0, out);
}

[[gnu::always_inline]] inline bool parse_plain(Bytes frame, ParsedPacket& out) {
  using namespace parsing;
  if (frame.size() < kEthernetSize) return false;
  const uint8_t* ip = frame.data() + kEthernetSize;
  const size_t room = frame.size() - kEthernetSize;
  uint16_t ethertype;
  std::memcpy(&ethertype, frame.data() + 12, 2);
  if (ethertype == __builtin_bswap16(kEthertypeIp4)) return parse_plain_ip4(ip, room, kEthernetSize, out);
  return ethertype == __builtin_bswap16(kEthertypeIp6) && parse_plain_ip6(ip, room, kEthernetSize, out);
}

}  // namespace statecast
