// SPDX-License-Identifier: BSD-3-Clause
// The ICMP that a proxy itself sends, in a group's name: echo replies, and "fragmentation needed" (IPv4, RFC 792 and
// 1191) or "packet too big" (IPv6, RFC 4443) with the MTU of the way to the member. Pure: who calls limits the rate.
//
//   uint8_t out[kIcmpErrorMax];
//   if (size_t n = write_too_big(frame, parsed, 1400, out)) send_ip({out, n});
//   if (is_echo_request(parsed)) size_t n = write_echo_reply(frame, parsed, buffer);
//
// Both write a packet that starts with its IP header, from the address that the offending packet went to (never an
// address of the underlay) to where it came from. 0: nothing to be sent, because the RFCs forbid it or it does not fit.
// Threads: pure functions. Ownership: the caller's bytes; `out` and `frame` must not overlap.
#pragma once

#include "base/bytes.h"
#include "dataplane/packet/parse.h"

namespace statecast {

// What no error exceeds: the size every IPv6 link carries (RFC 4443); over IPv4 it is 576 (RFC 1812).
inline constexpr size_t kIcmpErrorMax = 1280, kIcmpErrorMaxIp4 = 576;

// A whole (not fragmented) echo request of either family.
bool is_echo_request(const ParsedPacket& p);

// `frame` and `p` as from parse, result ok, is_echo_request. IP options and extension headers are not returned. `out`
// of p.l3_length bytes always suffices.
size_t write_echo_reply(Bytes frame, const ParsedPacket& p, MutableBytes out);

// Tells the sender of `frame` (parse: ok) to send at most `mtu` bytes, IP header included. Nothing is said about ICMP
// errors, later fragments, packets to multicast or broadcast, and IPv4 packets that may be fragmented.
size_t write_too_big(Bytes frame, const ParsedPacket& p, uint16_t mtu, MutableBytes out);

// IPv4: the DF bit. IPv6: always true.
bool must_not_fragment(Bytes frame, const ParsedPacket& p);

}  // namespace statecast
