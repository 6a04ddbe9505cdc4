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

#include <cstring>

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

// L4 of a packet without options, extension headers and fragments, at `l4` with `left` bytes. False: look closer.
[[gnu::always_inline]] inline bool read_plain_l4(const uint8_t* l4, size_t left, uint8_t protocol, ParsedPacket& out) {
  size_t header = kUdpSize;
  if (protocol == uint8_t(Protocol::tcp)) {
    if (left < kTcpSize) return false;
    header = size_t(l4[12] >> 4) * 4;
    if (header < kTcpSize || header > left) return false;
    if (!(good_flag_settings() >> (l4[13] & kTcpFlagsClassic) & 1)) return false;
    out.tcp_flags = l4[13];
  } else {
    if (protocol != uint8_t(Protocol::udp) || left < kUdpSize) return false;
    const size_t length = be16(l4 + 4);
    if (length < kUdpSize || length > left) return false;
    out.tcp_flags = 0;
  }
  out.source_port = be16(l4);
  out.destination_port = be16(l4 + 2);
  if (out.source_port == 0 || out.destination_port == 0) return false;
  out.payload_offset = static_cast<uint16_t>(out.l4_offset + header);
  return true;
}

}  // namespace parsing

// The same for the IP packet alone, at `l3_offset` of what it lies in, with `room` bytes from there on.
[[gnu::always_inline]] inline bool parse_plain_ip(const uint8_t* ip, size_t room, uint16_t ethertype,
                                                  uint16_t l3_offset, ParsedPacket& out) {
  using namespace parsing;
  if (room < kIp4Size + kUdpSize) return false;
  size_t header, total;
  uint8_t protocol, version;
  if (ethertype == kEthertypeIp4) {
    header = kIp4Size;
    total = be16(ip + 2);
    if (ip[0] != 0x45 || total > room || total < header || (be16(ip + 6) & 0x3fff) != 0) return false;
    if (!ip4_checksum_is_good(ip, kIp4Size)) return false;
    if (ip[12] == 0 || ip[12] == 127 || ip[12] >= 0xe0 || std::memcmp(ip + 12, ip + 16, 4) == 0) return false;
    protocol = ip[9];
    version = 4;
  } else if (ethertype == kEthertypeIp6 && room >= kIp6Size) {
    header = kIp6Size;
    total = kIp6Size + be16(ip + 4);
    if (ip[0] >> 4 != 6 || total > room || total > kPacketMax) return false;
    if (!is_unicast(Bytes(ip + 8, 16)) || std::memcmp(ip + 8, ip + 24, 16) == 0) return false;
    protocol = ip[6];
    version = 6;
  } else {
    return false;
  }
  out.l4_offset = static_cast<uint16_t>(l3_offset + header);
  if (!read_plain_l4(ip + header, total - header, protocol, out)) return false;
  out.l3_offset = l3_offset;
  out.ethertype = ethertype;
  out.l3_length = static_cast<uint16_t>(total);
  out.ip_version = version;
  out.protocol = Protocol(protocol);
  out.protocol_number = protocol;
  out.fragment = Fragment::none;
  out.icmp_type = out.icmp_code = 0;
  out.quoted_l3_offset = 0;
  return true;
}

[[gnu::always_inline]] inline bool parse_plain(Bytes frame, ParsedPacket& out) {
  using namespace parsing;
  if (frame.size() < kEthernetSize) return false;
  return parse_plain_ip(frame.data() + kEthernetSize, frame.size() - kEthernetSize, be16(frame.data() + 12),
                        kEthernetSize, out);
}

}  // namespace statecast
