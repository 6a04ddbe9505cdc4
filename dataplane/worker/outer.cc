// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/outer.h"

#include <rte_ether.h>

#include <cstring>

#include "base/bytes.h"
#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr size_t kUdpHeader = 8, kIp4Header = 20, kIp6Header = 40, kEthernetHeader = 14;
constexpr uint8_t kOuterTtl = 64;

uint8_t* prepend(rte_mbuf* m, size_t n) {
  return reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(m, static_cast<uint16_t>(n)));
}

}  // namespace

void bare(Burst& b, unsigned i) {
  ParsedPacket& p = b.parsed[i];
  rte_mbuf* m = b.packet[i];
  rte_pktmbuf_adj(m, p.l3_offset);
  m->data_len = p.l3_length;  // Ethernet padding is not part of the packet
  m->pkt_len = p.l3_length;
  p.l4_offset = static_cast<uint16_t>(p.l4_offset - p.l3_offset);
  p.payload_offset = static_cast<uint16_t>(p.payload_offset - p.l3_offset);
  if (p.quoted_l3_offset) p.quoted_l3_offset = static_cast<uint16_t>(p.quoted_l3_offset - p.l3_offset);
  p.l3_offset = 0;
}

uint16_t source_port(const Layout& layout, NodeId to, uint8_t stream) {
  return static_cast<uint16_t>(layout.underlay.port.value + (to.is_proxy() ? stream : 0));
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
  size_t datagram = kUdpHeader + m->data_len;
  size_t ip = from.is_v4() ? kIp4Header : kIp6Header;
  uint8_t* at = prepend(m, ip + kUdpHeader);
  if (!at) return false;
  Writer w({at, ip + kUdpHeader});
  if (from.is_v4()) {
    w.u16(0x4500);
    w.u16(ip + datagram);
    w.u16(0);       // identification: not needed with DF (RFC 6864)
    w.u16(0x4000);  // DF
    w.u8(kOuterTtl);
    w.u8(static_cast<uint8_t>(Protocol::udp));
    w.u16(0);  // checksum, below
    w.bytes(from.bytes());
    w.bytes(to.address.bytes());
    uint16_t sum = internet_checksum({at, ip});
    at[10] = static_cast<uint8_t>(sum >> 8);
    at[11] = static_cast<uint8_t>(sum);
  } else {
    w.u32(0x60000000);
    w.u16(datagram);
    w.u8(static_cast<uint8_t>(Protocol::udp));
    w.u8(kOuterTtl);
    w.bytes(from.bytes());
    w.bytes(to.address.bytes());
  }
  w.u16(source_port);
  w.u16(to.port.value);
  w.u16(datagram);
  w.u16(0);
  if (from.is_v6()) {
    uint16_t sum = udp_checksum(from, to.address, {at + ip, datagram});
    at[ip + 6] = static_cast<uint8_t>(sum >> 8);
    at[ip + 7] = static_cast<uint8_t>(sum);
  }
  return add_ethernet(m, layout, hop, from.is_v4() ? 0x0800 : 0x86dd);
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
