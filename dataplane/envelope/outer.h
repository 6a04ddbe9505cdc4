// SPDX-License-Identifier: BSD-3-Clause
// Outer headers: Ethernet, IPv4 or IPv6, and UDP in front of an envelope, for senders that build whole frames.
//
//   OuterAddresses outer{gateway_mac, own_mac, {own, outer_source_port(port, to, stream)}, *peers.endpoint(to)};
//   size_t n = write_outer(outer, envelope, headroom);    // the frame = last n bytes of headroom, then the envelope
//
// IPv4: TTL 64, don't fragment, identification 0 (RFC 6864: it says nothing then), UDP checksum 0. The tag covers the
// envelope's header and the start of the inner packet, the inner checksums cover the rest, and a datagram that reaches
// the wrong host verifies under none of its keys; so the UDP checksum would add a pass over the packet and no safety.
// IPv6: hop limit 64, flow label 0, UDP checksum computed. RFC 6935 would allow 0 by the same argument, but then every
// receiver must ask its kernel for it (UDP_NO_CHECK6_RX) and every firewall on the way must know it; lost silently is
// dearer than summed (bench/envelope_bench has the figure).
// DSCP and ECN are 0: the underlay's queues see tunnels, not clients.
//
// Threads: pure functions. Ownership: views.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"

namespace statecast {

inline constexpr size_t kOuterSizeV4 = 14 + 20 + 8;
inline constexpr size_t kOuterSizeV6 = 14 + 40 + 8;
static_assert(kInnerMtuV4 + kEnvelopeSizeMax + kOuterSizeV4 - 14 == 1500);
static_assert(kInnerMtuV6 + kEnvelopeSizeMax + kOuterSizeV6 - 14 == 1500);

struct OuterAddresses {
  MacAddress destination_mac, source_mac;
  Endpoint source, destination;  // of one family
};

// Between proxies each stream leaves from a port of its own, so that receive-side scaling brings it to one core.
// Towards a member everything leaves from the one port that the member sends to: its NAT lets nothing else in.
constexpr Port outer_source_port(Port own, NodeId to, uint8_t stream) {
  return Port{static_cast<uint16_t>(to.is_proxy() ? own.value + stream : own.value)};
}

constexpr size_t outer_size(IpAddress::Family f) {
  return f == IpAddress::Family::v6 ? kOuterSizeV6 : kOuterSizeV4;
}

// Into the last bytes of `headroom`, which end where `envelope` begins (sealed header, options and payload). Returns
// the bytes written; 0 where they do not fit, the families differ, or the datagram is too long for its length fields.
size_t write_outer(const OuterAddresses& outer, Bytes envelope, MutableBytes headroom);

}  // namespace statecast
