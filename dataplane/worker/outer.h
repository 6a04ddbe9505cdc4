// SPDX-License-Identifier: BSD-3-Clause
// Outer headers: everything that is written before a bare packet on its way out, into the headroom of its buffer.
//
//   bare(b, i);                                                     // the packet now starts at its IP header
//   seal_and_address(m, out, layout, hop, peers, ...);              // Ethernet | IP | UDP | Geneve + options | payload
//   add_ethernet(m, layout, next_hop, 0x0800);                      // Ethernet | packet
//
// The outer TTL is 64, DF is set, the outer IPv4 UDP checksum is 0 (the tag protects what matters). Over IPv6 it is
// computed, since a kernel drops tunnel datagrams without it.
// Threads: pure functions over the arguments. Ownership: none.
#pragma once

#include "dataplane/envelope/peers.h"
#include "dataplane/worker/burst.h"
#include "dataplane/worker/snapshot.h"

namespace statecast {

// What seal_and_address is to say.
struct Outgoing {
  NodeId to;
  GroupId group;
  PayloadKind kind = PayloadKind::message;
  EnvelopeOptions options;
};

enum class Sealed : uint8_t { ok, no_keys, no_headroom };

// Makes the buffer start at the packet's IP header and end with the packet (Ethernet padding is not part of it),
// offsets of parsed[i] included. REQUIRES: one segment, as parse_packets leaves it.
inline void bare(Burst& b, unsigned i) {
  ParsedPacket& p = b.parsed[i];
  rte_mbuf* m = b.packet[i];
  m->data_off = static_cast<uint16_t>(m->data_off + p.l3_offset);
  m->data_len = p.l3_length;
  m->pkt_len = p.l3_length;
  p.l4_offset = static_cast<uint16_t>(p.l4_offset - p.l3_offset);
  p.payload_offset = static_cast<uint16_t>(p.payload_offset - p.l3_offset);
  if (p.quoted_l3_offset) p.quoted_l3_offset = static_cast<uint16_t>(p.quoted_l3_offset - p.l3_offset);
  p.l3_offset = 0;
}

// Envelope and outer headers before the payload that the buffer holds. REQUIRES: hop.hop.known, hop.endpoint set.
Sealed seal_and_address(rte_mbuf* m, const Outgoing& out, const Layout& layout, const PeerHop& hop, PeerTable& peers,
                        uint8_t stream, Instant now);

// UDP, IP and Ethernet before a ready envelope. False: no headroom.
bool add_underlay_headers(rte_mbuf* m, const Layout& layout, const NextHop& hop, const Endpoint& to,
                          uint16_t source_port);

bool add_ethernet(rte_mbuf* m, const Layout& layout, const NextHop& hop, uint16_t ethertype);

// Streams between proxies leave from ports of their own, so that a device spreads them over its queues; agents get
// everything from the one port that they send to.
uint16_t source_port(const Layout& layout, NodeId to, uint8_t stream);

}  // namespace statecast
