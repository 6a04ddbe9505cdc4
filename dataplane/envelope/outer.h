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

#include <array>
#include <cstdint>
#include <cstring>

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

// The same over IPv4 for bursts: all that does not change between frames is written once.
//
//   OuterTemplateV4 outer(own_mac, own);                             // per port
//   auto to = outer.receiver(gateway_mac, member);                   // per peer
//   outer.write(to, outer.lengths(to, envelope_length), frame);      // per packet
class OuterTemplateV4 {
 public:
  struct Receiver {
    MacAddress mac;
    std::array<uint8_t, 6> address_and_port{};  // as on the wire
    uint16_t sum = 0;                           // of the IP header, but for the total length
    uint16_t zero = 0;                          // makes it 16 bytes
  };
  OuterTemplateV4() = default;
  OuterTemplateV4(const MacAddress& source_mac, const Endpoint& source);  // REQUIRES: an IPv4 address
  Receiver receiver(const MacAddress& mac, const Endpoint& to) const;     // REQUIRES: an IPv4 address

  // What the length decides: total length, checksum and UDP length as on the wire, in the lowest 48 bits. REQUIRES: an
  // envelope shorter than 65,508 bytes.
  static uint64_t lengths(const Receiver& to, size_t envelope_length);
  // The kOuterSizeV4 bytes before an envelope.
  void write(const Receiver& to, uint64_t lengths, uint8_t* at) const;
  // What does not change, for who writes several at once (frame_burst_avx512.cc); kReadable bytes.
  const uint8_t* bytes() const { return bytes_.data(); }
  static constexpr size_t kReadable = 64;

 private:
  alignas(kReadable) std::array<uint8_t, kReadable> bytes_{};  // kOuterSizeV4, and zeros
};

inline uint64_t OuterTemplateV4::lengths(const Receiver& to, size_t envelope_length) {
  const auto total = static_cast<uint32_t>(20 + 8 + envelope_length);
  uint32_t sum = to.sum + total;
  sum = (sum & 0xffff) + (sum >> 16);
  return uint64_t(__builtin_bswap16(static_cast<uint16_t>(total))) |
         uint64_t(__builtin_bswap16(static_cast<uint16_t>(~sum))) << 16 |
         uint64_t(__builtin_bswap16(static_cast<uint16_t>(total - 20))) << 32;
}

inline void OuterTemplateV4::write(const Receiver& to, uint64_t lengths, uint8_t* at) const {
  const auto *words = reinterpret_cast<const uint8_t*>(&lengths), *own = to.address_and_port.data();
  std::memcpy(at, bytes_.data(), kOuterSizeV4);
  std::memcpy(at, to.mac.raw.data(), 6);
  std::memcpy(at + 16, words, 2);
  std::memcpy(at + 24, words + 2, 2);
  std::memcpy(at + 30, own, 4);
  std::memcpy(at + 36, own + 4, 2);
  std::memcpy(at + 38, words + 4, 2);
}

}  // namespace statecast
