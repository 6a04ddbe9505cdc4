// SPDX-License-Identifier: BSD-3-Clause
// Envelope: the one datagram format between proxies, members and directory nodes. Geneve (RFC 8926) over UDP, with a
// mandatory authentication option of fixed layout, so that the steady-state data packet carries 52 bytes between the
// UDP header and the inner packet (80 with outer IPv4 and UDP).
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |Ver|  Opt Len  |O|1|    Rsvd.  |     Protocol type (Ethertype) |   Geneve header, 8 bytes; C is always 1
//   |          VNI = group id, 0 = fleet            |    Reserved   |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |     Class 0xff53              |   Type 0x81   |R|R|R| Len=10  |   auth option, 44 bytes, always first
//   |     Sender (NodeId)                                           |
//   |     Boot (random per start of the sender)                     |
//   |   Stream      |  Key epoch    |     Timestamp, us since boot, |
//   |     48 bits                                                   |
//   |     Sequence, 64 bits, per (stream, receiver), from 1 each boot|
//   |                                                               |
//   |     Tag: SipHash-2-4-128                                      |
//   |     ... 16 bytes                                              |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |     further options, in the order of their types              |
//   |     payload: inner IP packet (0x0800, 0x86dd) or message      |
//   |              (0x88b5, O = 1)                                  |
//
// The tag covers the Geneve header, all options (tag zeroed), the payload's length (u32) and of the payload: the whole
// of a message, the first 64 bytes of an inner packet.
// Threads: pure functions over a PeerTable (see peers.h for who may call what). Ownership: views into the datagram.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/units.h"

namespace statecast {

inline constexpr size_t kGeneveHeaderSize = 8;
inline constexpr size_t kAuthOptionSize = 4 + 40;
inline constexpr size_t kEnvelopeSizeMin = kGeneveHeaderSize + kAuthOptionSize;   // 52
inline constexpr size_t kInnerOptionsMax = 96;                                    // auth option included
inline constexpr size_t kEnvelopeSizeMax = kGeneveHeaderSize + kInnerOptionsMax;  // with an inner packet
inline constexpr uint16_t kEnvelopePort = 6081;
inline constexpr uint16_t kMessageEthertype = 0x88b5;
inline constexpr uint16_t kOptionClass = 0xff53;
// What an inner packet may have so that its envelope fits an underlay of 1,500 bytes.
inline constexpr size_t kInnerMtuV4 = 1500 - 20 - 8 - kEnvelopeSizeMax;  // 1368
inline constexpr size_t kInnerMtuV6 = 1500 - 40 - 8 - kEnvelopeSizeMax;  // 1348

enum class PayloadKind : uint8_t { ipv4, ipv6, message };

// Owner's word on one mapping. Between owners only the term counts; incarnation and counter order one owner's messages.
struct Version {
  uint16_t term = 0;
  uint32_t incarnation = 0;  // 24 bits
  uint64_t counter = 0;      // 40 bits
  auto operator<=>(const Version&) const = default;
};
inline constexpr uint64_t kCounterMask = (uint64_t{1} << 40) - 1;

// A moment of a proxy, as its envelopes name it: `timestamp_us` of the boot `boot`. Whoever grants a lease unasked
// echoes the newest one that it has seen of the proxy, and the lease counts from it.
struct Stamp {
  uint32_t boot = 0;
  uint64_t timestamp_us = 0;  // 48 bits
  auto operator<=>(const Stamp&) const = default;
};

// Member to proxy, about the inner packet's own session: hold this cache entry (an admitted session's first lease).
struct LeaseInstruction {
  Version version;
  uint32_t lease_ms = 0;
  uint64_t lease_bytes = 0;
  Stamp echo;  // newest of that proxy's that the member has seen
};

struct Workload {
  uint16_t load_permille = 0;  // of capacity
  uint8_t flags = 0;           // bit 0: under_attack
};

// The options beside the auth option. All together they and the auth option take at most kInnerOptionsMax.
struct EnvelopeOptions {
  std::optional<ProxyId> replica_hint;  // proxy to member, bootstrapping: a replica of the session's slot
  std::optional<ProxyId> ingress;       // forwarded by another proxy: replies go to this one
  std::optional<MemberId> forward_to;  // member to proxy: hand this client packet to that member; never again forwarded
  std::optional<Version> not_mine;     // member to proxy: the client packet inside belongs to no session of mine;
                                       // drop your entry if its version is not newer, and ask the directory
  std::optional<LeaseInstruction> lease;  // member to proxy
  std::optional<Workload> workload;       // member to proxy
  bool admitted = false;                  // proxy to member: bootstrapping by the group's `admit`
  bool forwarded = false;                 // proxy to member: came through forward_to; never forwarded again
};
size_t options_size(const EnvelopeOptions& options);  // bytes, without the auth option

// What an envelope said, once it has verified.
struct Envelope {
  NodeId sender;
  GroupId group;  // 0: fleet
  Stamp stamp;    // the sender's
  uint8_t stream = 0;
  uint8_t key_epoch = 0;
  uint64_t sequence = 0;
  PayloadKind kind = PayloadKind::message;
  EnvelopeOptions options;
  Bytes payload;
};

enum class OpenResult : uint8_t {
  ok,
  malformed,     // not an envelope: version, lengths, option order, unknown critical option
  unknown_peer,  // the sender is not in the peer table, or has no keys yet
  bad_tag,
  replayed,  // outside the window, or seen
  hello,     // verified under the pair key, not under session keys: for the hello machine only
};
const char* to_string(OpenResult r);

}  // namespace statecast
