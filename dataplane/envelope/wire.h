// SPDX-License-Identifier: BSD-3-Clause
// Wire format of an envelope: Geneve header, auth option (diagram in envelope.h) and the further options. Prose twin:
// docs/wire-format.md. Fuzz target: fuzz_envelope.
//
//   WireHead head;
//   if (!read_head(datagram, head)) return OpenResult::malformed;
//   ... find the peer, verify the tag, ask the window ...
//   EnvelopeOptions options;
//   if (!read_options(head.options, options)) return OpenResult::malformed;
//
// Options, each with class 0xff53; "C": critical, the receiver must understand it or drop the envelope. Lengths in
// bytes with the 4 of the option header. They stand in the order of their numbers, each at most once.
//
//   number  type  C  length  body                                                            from -> to
//   1       0x81  C  44      auth option                                                     any
//   2       0x02     8       replica hint: proxy (32)                                        proxy -> member
//   3       0x83  C  8       ingress: proxy (32)                                             proxy -> member, proxy
//   4       0x84  C  8       forward to: member (32)                                         member -> proxy
//   5       0x85  C  16      not mine: version (80), zero (16)                               member -> proxy
//   6       0x06     36      lease: version (80), echo timestamp (48), echo boot (32),
//                            lease ms (32), lease bytes (64)                                 member -> proxy
//   7       0x07     8       workload: permille of capacity (16), flags (8), zero (8)        member -> proxy
//   8       0x88  C  4       admitted: no body                                               proxy -> member
//   9       0x89  C  4       forwarded: no body                                              proxy -> member
//
//   version = term (16), incarnation (24), counter (40)
//
// Threads: pure functions. Ownership: views into the datagram.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/byte_order.h"
#include "base/bytes.h"
#include "base/siphash.h"
#include "dataplane/envelope/envelope.h"

namespace statecast {

struct GeneveHeader {
  uint8_t version_length;  // version (2 bits, 0), length of the options in words of 4 bytes (6 bits)
  uint8_t flags;           // O (0x80), C (0x40), 6 reserved bits: zero, ignored on receipt
  Be16 protocol;           // 0x0800, 0x86dd, or kMessageEthertype
  uint8_t vni[3];          // group
  uint8_t reserved;        // zero, ignored on receipt
};
inline constexpr uint8_t kGeneveO = 0x80;  // control packet: not for forwarding
inline constexpr uint8_t kGeneveC = 0x40;  // there are critical options

struct OptionHeader {
  Be16 option_class;
  uint8_t type;    // 0x80: critical
  uint8_t length;  // 3 reserved bits (zero, ignored on receipt), body length in words of 4 bytes
};

struct AuthOption {
  OptionHeader header;
  Be32 sender;
  Be32 boot;
  uint8_t stream;
  uint8_t key_epoch;
  uint8_t timestamp[6];  // us
  Be64 sequence;
  uint8_t tag[16];
};

struct EnvelopeHead {
  GeneveHeader geneve;
  AuthOption auth;
};
static_assert(sizeof(GeneveHeader) == kGeneveHeaderSize && std::is_trivially_copyable_v<GeneveHeader>);
static_assert(sizeof(AuthOption) == kAuthOptionSize && std::is_trivially_copyable_v<AuthOption>);
static_assert(sizeof(EnvelopeHead) == kEnvelopeSizeMin && alignof(EnvelopeHead) == 1);
static_assert(offsetof(GeneveHeader, protocol) == 2 && offsetof(GeneveHeader, vni) == 4);
static_assert(offsetof(AuthOption, sender) == 4 && offsetof(AuthOption, boot) == 8);
static_assert(offsetof(AuthOption, stream) == 12 && offsetof(AuthOption, timestamp) == 14);
static_assert(offsetof(AuthOption, sequence) == 20 && offsetof(AuthOption, tag) == 28);
static_assert(20 + 8 + kEnvelopeSizeMin == 80, "a steady-state data packet has 80 bytes of outer headers over IPv4");

inline constexpr uint8_t kCriticalBit = 0x80;
inline constexpr uint8_t kAuthType = 0x81;
inline constexpr uint8_t kReplicaHintType = 0x02;
inline constexpr uint8_t kIngressType = 0x83;
inline constexpr uint8_t kForwardToType = 0x84;
inline constexpr uint8_t kNotMineType = 0x85;
inline constexpr uint8_t kLeaseType = 0x06;
inline constexpr uint8_t kWorkloadType = 0x07;
inline constexpr uint8_t kAdmittedType = 0x88;
inline constexpr uint8_t kForwardedType = 0x89;

inline constexpr size_t kReplicaHintSize = 4 + 4;
inline constexpr size_t kIngressSize = 4 + 4;
inline constexpr size_t kForwardToSize = 4 + 4;
inline constexpr size_t kNotMineSize = 4 + 10 + 2;
inline constexpr size_t kLeaseSize = 4 + 10 + 6 + 4 + 4 + 8;
inline constexpr size_t kWorkloadSize = 4 + 4;
inline constexpr size_t kAdmittedSize = 4;
inline constexpr size_t kForwardedSize = 4;

// Every combination that can occur with an inner packet fits; `not mine` and `lease` exclude each other.
static_assert(kAuthOptionSize + kReplicaHintSize + kIngressSize + kAdmittedSize + kForwardedSize <= kInnerOptionsMax);
static_assert(kAuthOptionSize + kForwardToSize + kLeaseSize + kWorkloadSize <= kInnerOptionsMax);
static_assert(kAuthOptionSize + kForwardToSize + kNotMineSize + kWorkloadSize <= kInnerOptionsMax);

// Geneve's own bound, for envelopes that carry a message: 6 bits of 4-byte words.
inline constexpr size_t kOptionsMax = 63 * 4;
// Of an inner packet the tag covers this much.
inline constexpr size_t kTaggedInnerBytes = 64;

// Streams that a sender may use; the receiver keeps a window for each.
inline constexpr unsigned kProxyStreams = 64;
inline constexpr unsigned kMemberStreams = 4;

// The fixed part of an envelope, in host order. Of a datagram that came in, nothing here may be believed before its tag
// has verified.
struct WireHead {
  NodeId sender;
  GroupId group;
  Stamp stamp;
  uint8_t stream;
  uint8_t key_epoch;
  uint64_t sequence;
  PayloadKind kind;
  Bytes options;  // behind the auth option
  Bytes payload;
};

// False where the bytes are no envelope: version, lengths, first option, C, O and protocol. Length checks only beyond
// the first 52 bytes; the further options are not looked at.
bool read_head(Bytes datagram, WireHead& out);

// Writes head, auth option and options, tagged for `head.payload`, into the last bytes of `out`; `head.options` is not
// used. Returns the bytes written, kEnvelopeSizeMin + options_size. REQUIRES: they fit `out` and kOptionsMax.
size_t write_envelope(SipKey key, const WireHead& head, const EnvelopeOptions& options, MutableBytes out);

// Tag of the datagram with this head and payload. `tag` in the head is taken as zero.
SipTag envelope_tag(SipKey key, Bytes head_and_options, Bytes payload, PayloadKind kind);
// Two tags of 16 bytes, compared in constant time.
inline bool same_tag(const uint8_t* x, const uint8_t* y) {
  uint64_t a[2], b[2];
  std::memcpy(a, x, sizeof a);
  std::memcpy(b, y, sizeof b);
  return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}
// Compares with the tag in the datagram.
bool tag_verifies(SipKey key, Bytes datagram, const WireHead& head);

// The further options. Writing takes exactly options_size(); reading skips what is unknown and not critical, and
// refuses (false) what is unknown and critical, out of order, of a wrong length, or names nobody.
void write_options(const EnvelopeOptions& options, Writer& w);
bool read_options(Bytes options, EnvelopeOptions& out);

}  // namespace statecast
