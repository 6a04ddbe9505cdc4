// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/outer.h"

#include <rte_ether.h>

#include <cstring>

#include "base/bytes.h"
#include "dataplane/envelope/outer.h"

namespace statecast {

namespace {

constexpr size_t kEthernetHeader = 14;

uint8_t* prepend(rte_mbuf* m, size_t n) {
  return reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(m, static_cast<uint16_t>(n)));
}

}  // namespace

uint16_t source_port(const Layout& layout, NodeId to, uint8_t stream) {
  return outer_source_port(layout.underlay.port, to, stream).value;
}

Sealed seal_and_address(rte_mbuf* m, const Outgoing& out, const Layout& layout, const PeerHop& hop, PeerTable& peers,
                        uint8_t stream, Instant now) {
  Bytes payload(rte_pktmbuf_mtod(m, const uint8_t*), m->data_len);
  size_t size = kEnvelopeSizeMin + options_size(out.options);
  uint8_t* header = prepend(m, size);
  if (!header) return Sealed::no_headroom;
  if (peers.seal(out.to, stream, out.group, out.kind, out.options, peers.timestamp_us(now), payload, {header, size}) ==
      0) {
    return Sealed::no_keys;
  }
  if (!add_underlay_headers(m, layout, hop.hop, hop.endpoint, source_port(layout, out.to, stream))) {
    return Sealed::no_headroom;
  }
  return Sealed::ok;
}

bool add_underlay_headers(rte_mbuf* m, const Layout& layout, const NextHop& hop, const Endpoint& to,
                          uint16_t source_port) {
  const IpAddress& from = layout.underlay.address;
  if (from.family != to.address.family) return false;
  OuterAddresses outer{hop.mac, layout.ports[hop.port].mac, {from, Port{source_port}}, to};
  Bytes envelope(rte_pktmbuf_mtod(m, const uint8_t*), m->data_len);
  size_t size = outer_size(from.family);
  uint8_t* at = prepend(m, size);
  return at && write_outer(outer, envelope, {at, size}) == size;
}

bool add_ethernet(rte_mbuf* m, const Layout& layout, const NextHop& hop, uint16_t ethertype) {
  uint8_t* at = prepend(m, kEthernetHeader);
  if (!at) return false;
  std::memcpy(at, hop.mac.raw.data(), 6);
  std::memcpy(at + 6, layout.ports[hop.port].mac.raw.data(), 6);
  at[12] = static_cast<uint8_t>(ethertype >> 8);
  at[13] = static_cast<uint8_t>(ethertype);
  return true;
}

}  // namespace statecast
