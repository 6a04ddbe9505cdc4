// SPDX-License-Identifier: BSD-3-Clause
// Parse: from the bytes of a frame (or of a bare IP packet) to offsets and the few fields that later steps need.
// Every packet gets a ParseResult: `ok`, or the one reason for which it ends here.
//
//   ParsedPacket p;
//   if (auto r = parse_frame(bytes, p); r != ParseResult::ok) { count(r); drop(); }
//
// The results stand in the order of the checks, but that a total length beyond the frame (truncated_l3) is looked at
// after the header's own faults: a packet that is wrong twice has the first. What was found before a check failed is
// set in the output; from bad_port on that is everything. Checked: Ethernet/VLAN (one or two tags), IPv4 (version, IHL,
// total length, header checksum, options skipped), IPv6 with extension headers (bounded chain), fragments, TCP/UDP
// lengths and data offset, and TCP/UDP checksums where asked for. Bytes behind the IP total length (padding) are not
// part of the packet. Threads: pure functions. Ownership: offsets into the caller's bytes.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "dataplane/session/session_id.h"

namespace statecast {

enum class ParseResult : uint8_t {
  ok,
  not_ip,  // ARP, LLDP, ...: for the port's own handling; ethertype and l3_offset are set
  truncated_l2,
  truncated_l3,  // shorter than its header or its total length says
  bad_ip_version,
  bad_ip_header_length,  // IPv4 header below 20 bytes, or longer than the frame
  bad_ip_checksum,
  bad_ip_length,         // total length shorter than the header, or more than 65,535 bytes with it (jumbograms)
  bad_extension_header,  // IPv6 chain malformed, longer than the bound, or a type 0 routing header with segments left
  bad_fragment,          // empty, beyond 65,535, not a multiple of 8 before the last, without a whole L4 header in the
                         // first, or over the TCP flags of the first (RFC 1858)
  truncated_l4,
  bad_l4_length,         // TCP data offset or UDP length that does not fit
  bad_l4_checksum,       // only where ParseChecks asks
  bad_l4_flags,          // TCP: SYN+FIN, SYN+RST, no flags at all
  bad_port,              // source or destination port 0
  bad_address,           // source multicast, reserved, loopback, unspecified, or equal to destination
  unsupported_protocol,  // neither TCP, UDP nor ICMP; l3 fields and protocol are set
};
const char* to_string(ParseResult r);

struct ParseChecks {
  bool l4_checksum = false;  // also verify the TCP/UDP/ICMP checksum (whole packets only)
};

enum class Fragment : uint8_t { none, first, later };

struct ParsedPacket {
  uint16_t ethertype = 0;       // of the network layer, behind VLAN tags
  uint16_t l3_offset = 0;       // frame start to IP header
  uint16_t l4_offset = 0;       // frame start to TCP/UDP/ICMP header
  uint16_t payload_offset = 0;  // frame start to what L4 carries
  uint16_t l3_length = 0;       // IP header and all that belongs to it
  uint8_t ip_version = 0;       // 4 or 6
  Protocol protocol = Protocol::none;
  uint8_t protocol_number = 0;  // as on the wire, also for unsupported ones
  Fragment fragment = Fragment::none;
  uint8_t tcp_flags = 0;  // FIN 1, SYN 2, RST 4, PSH 8, ACK 16
  uint8_t icmp_type = 0, icmp_code = 0;
  uint16_t source_port = 0, destination_port = 0;  // host order; 0 where there are none (later fragments)
  // An ICMP error is a packet of the session that it quotes, direction reversed: quoted_l3_offset is where the
  // quoted IP header starts; protocol and ports above are then those of the quote as it stands there, while
  // protocol_number stays ICMP's. 0: no error, or none that concerns a session: its quote is too short, is a later
  // fragment, is neither TCP nor UDP, or does not come from the address that the error goes to.
  uint16_t quoted_l3_offset = 0;

  bool is_icmp_error() const { return quoted_l3_offset != 0; }
  bool operator==(const ParsedPacket&) const = default;
};

ParseResult parse_frame(Bytes frame, ParsedPacket& out, ParseChecks checks = {});
// A packet that starts with its IP header (l3_offset 0): from a TUN device, an envelope or a raw-IP capture.
ParseResult parse_ip(Bytes packet, ParsedPacket& out, ParseChecks checks = {});
// Both without the short way for plain packets (parse_plain.h): what tests and the fuzzer hold them against.
ParseResult parse_frame_carefully(Bytes frame, ParsedPacket& out, ParseChecks checks = {});
ParseResult parse_ip_carefully(Bytes packet, ParsedPacket& out, ParseChecks checks = {});

// Addresses of the packet's own IP header (not of the quote).
IpAddress source_of(Bytes frame, const ParsedPacket& p);
IpAddress destination_of(Bytes frame, const ParsedPacket& p);
// Addresses of the IP header that an ICMP error quotes. REQUIRES: p.is_icmp_error().
IpAddress quoted_source_of(Bytes frame, const ParsedPacket& p);
IpAddress quoted_destination_of(Bytes frame, const ParsedPacket& p);

}  // namespace statecast
