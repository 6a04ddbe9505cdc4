// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/icmp.h"

#include <algorithm>

#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr uint8_t kHopLimit = 64;
constexpr size_t kIcmpHeader = 8;

void patch16(MutableBytes out, size_t at, uint16_t v) {
  out[at] = static_cast<uint8_t>(v >> 8);
  out[at + 1] = static_cast<uint8_t>(v);
}

// One ICMP message with its IP header; the size of the packet, 0 if it does not fit.
size_t write_icmp(const IpAddress& source, const IpAddress& destination, uint8_t type, uint8_t code, uint32_t rest,
                  Bytes body, MutableBytes out) {
  bool v6 = source.is_v6();
  size_t ip_header = v6 ? 40 : 20, message = kIcmpHeader + body.size();
  Writer w(out);
  if (v6) {
    w.u32(uint32_t(6) << 28);
    w.u16(message);
    w.u8(uint8_t(Protocol::icmp6));
    w.u8(kHopLimit);
  } else {
    w.u16(0x4500);
    w.u16(ip_header + message);
    w.u32(0x4000);  // identification 0, DF: it is never fragmented (RFC 6864)
    w.u8(kHopLimit);
    w.u8(uint8_t(Protocol::icmp));
    w.u16(0);
  }
  w.bytes(source.bytes());
  w.bytes(destination.bytes());
  w.u8(type);
  w.u8(code);
  w.u16(0);
  w.u32(rest);
  w.bytes(body);
  if (!w.ok() || w.size() > 65535) return 0;
  if (!v6) patch16(out, 10, internet_checksum(w.written().first(ip_header)));
  Bytes icmp = w.written().subspan(ip_header);
  patch16(out, ip_header + 2,
          v6 ? transport_checksum(source, destination, uint8_t(Protocol::icmp6), icmp) : internet_checksum(icmp));
  return w.size();
}

}  // namespace

bool is_echo_request(const ParsedPacket& p) {
  if (p.fragment != Fragment::none) return false;
  return (p.protocol == Protocol::icmp && p.icmp_type == 8) || (p.protocol == Protocol::icmp6 && p.icmp_type == 128);
}

size_t write_echo_reply(Bytes frame, const ParsedPacket& p, MutableBytes out) {
  IpAddress asked = destination_of(frame, p);
  if (!is_echo_request(p) || !asked.is_unicast()) return 0;
  Bytes icmp = frame.subspan(p.l4_offset, size_t(p.l3_offset) + p.l3_length - p.l4_offset);
  Reader r(icmp.subspan(4));
  uint32_t rest = r.u32();  // identifier and sequence number
  return write_icmp(asked, source_of(frame, p), p.protocol == Protocol::icmp ? 0 : 129, 0, rest, r.rest(), out);
}

size_t write_too_big(Bytes frame, const ParsedPacket& p, uint16_t mtu, MutableBytes out) {
  IpAddress asked = destination_of(frame, p);
  bool v6 = p.ip_version == 6;
  bool icmp = p.protocol_number == uint8_t(v6 ? Protocol::icmp6 : Protocol::icmp);
  bool informational = v6 ? p.icmp_type >= 128 : p.icmp_type == 8 || p.icmp_type == 0;
  if (icmp && !informational) return 0;
  if (p.fragment == Fragment::later || !asked.is_unicast() || !must_not_fragment(frame, p)) return 0;
  size_t header = (v6 ? 40 : 20) + kIcmpHeader, limit = v6 ? kIcmpErrorMax : kIcmpErrorMaxIp4;
  Bytes quote = frame.subspan(p.l3_offset, std::min<size_t>(p.l3_length, limit - header));
  return v6 ? write_icmp(asked, source_of(frame, p), 2, 0, mtu, quote, out)
            : write_icmp(asked, source_of(frame, p), 3, 4, mtu, quote, out);
}

bool must_not_fragment(Bytes frame, const ParsedPacket& p) {
  return p.ip_version == 6 || (frame[p.l3_offset + 6] & 0x40) != 0;
}

}  // namespace statecast
