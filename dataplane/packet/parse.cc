// SPDX-License-Identifier: BSD-3-Clause
// Top to bottom as a packet is read: layer 2, IPv4 or IPv6 with its extension headers, fragments, layer 4, the quote of
// an ICMP error, and what is wrong with the packet as a whole. Each step looks at `rest` only after its length.
#include "dataplane/packet/parse.h"

#include <cstring>

#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse_plain.h"

namespace statecast {

using namespace parsing;

namespace {

constexpr uint16_t kVlanCustomer = 0x8100, kVlanService = 0x88a8;
constexpr size_t kVlanTagSize = 4, kVlanTagsMax = 2;
constexpr size_t kIcmpSize = 8, kExtensionUnit = 8;
constexpr int kExtensionHeadersMax = 8;

constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragmentHeader = 44, kDestinationOptions = 60;

Protocol known_protocol(uint8_t number, uint8_t ip_version) {
  if (number == uint8_t(Protocol::tcp)) return Protocol::tcp;
  if (number == uint8_t(Protocol::udp)) return Protocol::udp;
  if (number == uint8_t(Protocol::icmp) && ip_version == 4) return Protocol::icmp;
  if (number == uint8_t(Protocol::icmp6) && ip_version == 6) return Protocol::icmp6;
  return Protocol::none;
}

// The part of an IP header that L4 needs, of the packet itself and of a quote.
struct Layer3 {
  uint8_t protocol = 0;
  size_t size = 0;  // header with options or extension headers
  Fragment fragment = Fragment::none;
  size_t fragment_offset = 0;  // bytes
  bool fragment_more = false;
  size_t fragment_before = 0;  // bytes of the whole packet's length that stand before offset 0
  bool routed_on = false;      // a routing header has segments left: the destination is not the final one
};

// Extension headers from offset 40 of `packet` on. False: malformed, or too many.
bool walk_extension_headers(Bytes packet, Layer3& l3) {
  l3.protocol = packet[6];
  l3.size = kIp6Size;
  bool fragment_seen = false;
  for (int i = 0; i <= kExtensionHeadersMax; ++i) {
    bool extension = l3.protocol == kHopByHop || l3.protocol == kRouting || l3.protocol == kFragmentHeader ||
                     l3.protocol == kDestinationOptions;
    if (!extension) return true;
    if (i == kExtensionHeadersMax) return false;
    if (l3.protocol == kHopByHop && i != 0) return false;
    if (packet.size() - l3.size < kExtensionUnit) return false;
    const uint8_t* header = packet.data() + l3.size;
    if (l3.protocol == kFragmentHeader) {
      if (fragment_seen) return false;
      fragment_seen = true;
      uint16_t field = be16(header + 2);
      l3.fragment_offset = field & 0xfff8;
      l3.fragment_more = field & 1;
      l3.fragment_before = l3.size - kIp6Size;
      if (l3.fragment_offset)
        l3.fragment = Fragment::later;
      else if (l3.fragment_more)
        l3.fragment = Fragment::first;  // neither: an atomic fragment, whole (RFC 6946)
      l3.protocol = header[0];
      l3.size += kExtensionUnit;
      if (l3.fragment == Fragment::later) return true;  // what follows is the middle of something
      continue;
    }
    size_t size = (size_t(header[1]) + 1) * kExtensionUnit;
    if (packet.size() - l3.size < size) return false;
    if (l3.protocol == kRouting && header[3] != 0) {
      if (header[2] == 0) return false;  // deprecated: it lets anybody bounce packets (RFC 5095)
      l3.routed_on = true;
    }
    l3.protocol = header[0];
    l3.size += size;
  }
  return false;
}

void ip4_fragment_fields(const uint8_t* ip, Layer3& l3) {
  uint16_t field = be16(ip + 6);
  l3.fragment_offset = size_t(field & 0x1fff) * 8;
  l3.fragment_more = field & 0x2000;
  l3.fragment_before = l3.size;
  if (l3.fragment_offset)
    l3.fragment = Fragment::later;
  else if (l3.fragment_more)
    l3.fragment = Fragment::first;
}

// Both `ip` functions leave `packet` cut to what the IP header says belongs to it.
ParseResult read_ip4(Bytes& packet, Layer3& l3) {
  if (packet.empty()) return ParseResult::truncated_l3;
  if (packet[0] >> 4 != 4) return ParseResult::bad_ip_version;
  if (packet.size() < kIp4Size) return ParseResult::truncated_l3;
  l3.size = size_t(packet[0] & 15) * 4;
  if (l3.size < kIp4Size || l3.size > packet.size()) return ParseResult::bad_ip_header_length;
  if (!ip4_checksum_is_good(packet.data(), l3.size)) return ParseResult::bad_ip_checksum;
  size_t total = be16(&packet[2]);
  if (total < l3.size) return ParseResult::bad_ip_length;
  if (total > packet.size()) return ParseResult::truncated_l3;
  packet = packet.first(total);
  l3.protocol = packet[9];
  ip4_fragment_fields(packet.data(), l3);
  return ParseResult::ok;
}

ParseResult read_ip6(Bytes& packet, Layer3& l3) {
  if (packet.empty()) return ParseResult::truncated_l3;
  if (packet[0] >> 4 != 6) return ParseResult::bad_ip_version;
  if (packet.size() < kIp6Size) return ParseResult::truncated_l3;
  size_t total = kIp6Size + be16(&packet[4]);
  if (total > kPacketMax) return ParseResult::bad_ip_length;
  if (total > packet.size()) return ParseResult::truncated_l3;
  packet = packet.first(total);
  return walk_extension_headers(packet, l3) ? ParseResult::ok : ParseResult::bad_extension_header;
}

bool fragment_is_good(const Layer3& l3, size_t payload) {
  if (payload == 0 || (l3.fragment_more && payload % 8 != 0)) return false;
  if (l3.fragment_before + l3.fragment_offset + payload > kPacketMax) return false;
  return !(l3.protocol == uint8_t(Protocol::tcp) && l3.fragment_offset == 8);
}

Bytes address_bytes(Bytes ip_header, bool v6, bool destination) {
  return v6 ? ip_header.subspan(destination ? 24 : 8, 16) : ip_header.subspan(destination ? 16 : 12, 4);
}

bool same_bytes(Bytes a, Bytes b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

IpAddress address_at(Bytes ip_header, bool v6, bool destination) {
  Bytes bytes = address_bytes(ip_header, v6, destination);
  return v6 ? IpAddress::v6(bytes) : IpAddress::v4(bytes);
}

bool is_error_type(uint8_t type, bool v6) {
  if (v6) return type >= 1 && type <= 4;         // unreachable, too big, time exceeded, parameter problem
  return type == 3 || type == 11 || type == 12;  // not source quench (RFC 6633), nor redirects, which concern routers
}

// The quote of an ICMP error, cut short as it may be. True: it belongs to a session, and `out` says which.
bool read_quote(Bytes quote, size_t quote_offset, Bytes error_goes_to, ParsedPacket& out) {
  bool v6 = out.ip_version == 6;
  if (quote.size() < (v6 ? kIp6Size : kIp4Size) || quote[0] >> 4 != out.ip_version) return false;
  Layer3 l3;
  if (v6) {
    if (!walk_extension_headers(quote, l3)) return false;
  } else {
    l3.size = size_t(quote[0] & 15) * 4;
    l3.protocol = quote[9];
    if (l3.size < kIp4Size) return false;
    ip4_fragment_fields(quote.data(), l3);
  }
  Protocol protocol = known_protocol(l3.protocol, out.ip_version);
  if (protocol != Protocol::tcp && protocol != Protocol::udp) return false;
  if (l3.fragment == Fragment::later || quote.size() < l3.size + 4) return false;
  if (!same_bytes(address_bytes(quote, v6, false), error_goes_to)) return false;
  uint16_t source = be16(&quote[l3.size]), destination = be16(&quote[l3.size + 2]);
  if (source == 0 || destination == 0) return false;
  out.protocol = protocol;
  out.source_port = source;
  out.destination_port = destination;
  out.quoted_l3_offset = static_cast<uint16_t>(quote_offset);
  return true;
}

struct Layer4 {
  Bytes bytes;      // header and payload; for UDP as long as its own length says
  size_t size = 0;  // header
};

ParseResult read_tcp(Layer4& l4, ParsedPacket& out) {
  bool first = out.fragment == Fragment::first;
  if (l4.bytes.size() < kTcpSize) return first ? ParseResult::bad_fragment : ParseResult::truncated_l4;
  const uint8_t* tcp = l4.bytes.data();
  out.source_port = be16(tcp);
  out.destination_port = be16(tcp + 2);
  out.tcp_flags = tcp[13];
  l4.size = size_t(tcp[12] >> 4) * 4;
  if (l4.size < kTcpSize) return ParseResult::bad_l4_length;
  if (l4.size > l4.bytes.size()) return first ? ParseResult::bad_fragment : ParseResult::bad_l4_length;
  return ParseResult::ok;
}

ParseResult read_udp(Layer4& l4, ParsedPacket& out) {
  bool first = out.fragment == Fragment::first;
  if (l4.bytes.size() < kUdpSize) return first ? ParseResult::bad_fragment : ParseResult::truncated_l4;
  const uint8_t* udp = l4.bytes.data();
  out.source_port = be16(udp);
  out.destination_port = be16(udp + 2);
  l4.size = kUdpSize;
  size_t length = be16(udp + 4);
  if (length < kUdpSize || (!first && length > l4.bytes.size())) return ParseResult::bad_l4_length;
  if (!first) l4.bytes = l4.bytes.first(length);
  return ParseResult::ok;
}

ParseResult read_icmp(Layer4& l4, ParsedPacket& out) {
  if (l4.bytes.size() < kIcmpSize)
    return out.fragment == Fragment::first ? ParseResult::bad_fragment : ParseResult::truncated_l4;
  out.icmp_type = l4.bytes[0];
  out.icmp_code = l4.bytes[1];
  l4.size = kIcmpSize;
  return ParseResult::ok;
}

bool l4_checksum_is_good(Bytes packet, const Layer4& l4, const ParsedPacket& p) {
  if (p.protocol == Protocol::icmp) return internet_checksum(l4.bytes) == 0;
  if (p.protocol == Protocol::udp && be16(&l4.bytes[6]) == 0) return p.ip_version == 4;  // none was sent (RFC 768)
  bool v6 = p.ip_version == 6;
  return transport_checksum(address_at(packet, v6, false), address_at(packet, v6, true), p.protocol_number, l4.bytes) ==
         0;
}

bool tcp_flags_are_good(uint8_t flags) {
  if ((flags & kTcpFlagsClassic) == 0) return false;
  return !((flags & kSyn) && (flags & (kFin | kRst)));
}

// `packet` starts with the IP header, which is at out.l3_offset of the frame.
ParseResult parse_l3(Bytes packet, ParsedPacket& out, ParseChecks checks) {
  bool v6 = out.ip_version == 6;
  Layer3 l3;
  if (ParseResult r = v6 ? read_ip6(packet, l3) : read_ip4(packet, l3); r != ParseResult::ok) return r;
  out.l3_length = static_cast<uint16_t>(packet.size());
  out.l4_offset = out.payload_offset = static_cast<uint16_t>(out.l3_offset + l3.size);
  out.protocol_number = l3.protocol;
  out.protocol = known_protocol(l3.protocol, out.ip_version);
  out.fragment = l3.fragment;

  Layer4 l4{packet.subspan(l3.size)};
  if (l3.fragment != Fragment::none && !fragment_is_good(l3, l4.bytes.size())) return ParseResult::bad_fragment;
  Bytes source = address_bytes(packet, v6, false), destination = address_bytes(packet, v6, true);

  if (l3.fragment != Fragment::later && out.protocol != Protocol::none) {
    bool tcp = out.protocol == Protocol::tcp, udp = out.protocol == Protocol::udp;
    ParseResult r = tcp ? read_tcp(l4, out) : udp ? read_udp(l4, out) : read_icmp(l4, out);
    if (r != ParseResult::ok) return r;
    out.payload_offset = static_cast<uint16_t>(out.l4_offset + l4.size);
    bool whole = l3.fragment == Fragment::none && !l3.routed_on;
    if (checks.l4_checksum && whole && !l4_checksum_is_good(packet, l4, out)) return ParseResult::bad_l4_checksum;
    if (tcp && !tcp_flags_are_good(out.tcp_flags)) return ParseResult::bad_l4_flags;
    if ((tcp || udp) && (out.source_port == 0 || out.destination_port == 0)) return ParseResult::bad_port;
    if (!tcp && !udp && is_error_type(out.icmp_type, v6))
      read_quote(l4.bytes.subspan(kIcmpSize), out.l4_offset + kIcmpSize, destination, out);
  }
  if (!is_unicast(source) || same_bytes(source, destination)) return ParseResult::bad_address;
  return out.protocol == Protocol::none ? ParseResult::unsupported_protocol : ParseResult::ok;
}

}  // namespace

const char* to_string(ParseResult r) {
  switch (r) {
    case ParseResult::ok: return "ok";
    case ParseResult::not_ip: return "not_ip";
    case ParseResult::truncated_l2: return "truncated_l2";
    case ParseResult::truncated_l3: return "truncated_l3";
    case ParseResult::bad_ip_version: return "bad_ip_version";
    case ParseResult::bad_ip_header_length: return "bad_ip_header_length";
    case ParseResult::bad_ip_checksum: return "bad_ip_checksum";
    case ParseResult::bad_ip_length: return "bad_ip_length";
    case ParseResult::bad_extension_header: return "bad_extension_header";
    case ParseResult::bad_fragment: return "bad_fragment";
    case ParseResult::truncated_l4: return "truncated_l4";
    case ParseResult::bad_l4_length: return "bad_l4_length";
    case ParseResult::bad_l4_checksum: return "bad_l4_checksum";
    case ParseResult::bad_l4_flags: return "bad_l4_flags";
    case ParseResult::bad_port: return "bad_port";
    case ParseResult::bad_address: return "bad_address";
    case ParseResult::unsupported_protocol: return "unsupported_protocol";
  }
  return "unknown";
}

ParseResult parse_frame(Bytes frame, ParsedPacket& out, ParseChecks checks) {
  return !checks.l4_checksum && parse_plain(frame, out) ? ParseResult::ok : parse_frame_carefully(frame, out, checks);
}

ParseResult parse_frame_carefully(Bytes frame, ParsedPacket& out, ParseChecks checks) {
  out = {};
  if (frame.size() < kEthernetSize) return ParseResult::truncated_l2;
  size_t offset = kEthernetSize;
  out.ethertype = be16(&frame[12]);
  for (size_t tags = 0; out.ethertype == kVlanCustomer || out.ethertype == kVlanService; ++tags) {
    if (tags == kVlanTagsMax) return ParseResult::not_ip;
    if (frame.size() - offset < kVlanTagSize) return ParseResult::truncated_l2;
    out.ethertype = be16(&frame[offset + 2]);
    offset += kVlanTagSize;
  }
  out.l3_offset = static_cast<uint16_t>(offset);
  if (out.ethertype != kEthertypeIp4 && out.ethertype != kEthertypeIp6) return ParseResult::not_ip;
  out.ip_version = out.ethertype == kEthertypeIp4 ? 4 : 6;
  return parse_l3(frame.subspan(offset), out, checks);
}

ParseResult parse_ip(Bytes packet, ParsedPacket& out, ParseChecks checks) {
  if (!checks.l4_checksum && parse_plain_ip(packet, out)) return ParseResult::ok;
  return parse_ip_carefully(packet, out, checks);
}

ParseResult parse_ip_carefully(Bytes packet, ParsedPacket& out, ParseChecks checks) {
  out = {};
  if (packet.empty()) return ParseResult::truncated_l3;
  uint8_t version = packet[0] >> 4;
  if (version != 4 && version != 6) return ParseResult::bad_ip_version;
  out.ethertype = version == 4 ? kEthertypeIp4 : kEthertypeIp6;
  out.ip_version = version;
  return parse_l3(packet, out, checks);
}

IpAddress source_of(Bytes frame, const ParsedPacket& p) {
  return address_at(frame.subspan(p.l3_offset), p.ip_version == 6, false);
}

IpAddress destination_of(Bytes frame, const ParsedPacket& p) {
  return address_at(frame.subspan(p.l3_offset), p.ip_version == 6, true);
}

IpAddress quoted_source_of(Bytes frame, const ParsedPacket& p) {
  return address_at(frame.subspan(p.quoted_l3_offset), p.ip_version == 6, false);
}

IpAddress quoted_destination_of(Bytes frame, const ParsedPacket& p) {
  return address_at(frame.subspan(p.quoted_l3_offset), p.ip_version == 6, true);
}

}  // namespace statecast
