// SPDX-License-Identifier: BSD-3-Clause
// Frame burst: whole frames around the inner packets of one burst, outer headers, envelopes and tags at once.
//
//   FrameBurst frames(peers, stream, peers.timestamp_us(now));
//   for (...) frames.add(keys, keys.take(), group, PayloadKind::ipv4, inner_size, inner, outer, receiver);
//   frames.finish();                       // each frame begins kBefore bytes before its inner packet
//
// For what nearly every packet is: an envelope without further options, over IPv4. The same bytes as SealBurst and
// OuterTemplateV4::write (seal_burst.h, outer.h), which is also how they are made where there is no AVX-512. With it,
// eight headers are made as columns of words, hashed as such, and become rows once, when their tags are known: nothing
// that was stored is read again. One core of a Zen 5 class machine, November 2026 (bench/envelope_bench): 10 ns a
// frame, where its envelope alone took SealBurst 16.
//
// Threads: the stream's own. Ownership: writes into the caller's buffers; one object per burst, on the stack.
#pragma once

#include "base/check.h"
#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/seal_burst.h"

namespace statecast {

// As columns, since lanes read eight of each at once.
struct Frames {
  static constexpr size_t kMost = DataTags::kMost;
  alignas(64) SipTag key[kMost];
  uint64_t geneve[kMost], sequence[kMost];  // as on the wire
  uint64_t lengths[kMost];                  // OuterTemplateV4::lengths
  const OuterTemplateV4* outer[kMost];
  const OuterTemplateV4::Receiver* to[kMost];
  uint8_t* payload[kMost];
  uint16_t payload_size[kMost];
  uint8_t epoch[kMost];

  // As FrameBurst::add.
  void set(size_t i, const SendKeys& keys, uint64_t number, GroupId group, PayloadKind kind, size_t size,
           uint8_t* inner, const OuterTemplateV4& headers, const OuterTemplateV4::Receiver& receiver);
};

class FrameBurst {
 public:
  static constexpr size_t kMost = Frames::kMost;
  static constexpr size_t kBefore = kEnvelopeSizeMin + kOuterSizeV4;

  FrameBurst(const PeerTable& peers, uint8_t stream, uint64_t timestamp_us) : words_(peers, stream, timestamp_us) {}

  // `sequence`: keys.take(). REQUIRES: at most kMost calls; an IP packet, kBefore writable bytes before it, and
  // kTaggedInnerBytes readable from it on, however short it is (what is behind it is not used). `outer` and `to` stay
  // until finish(); keys may be renewed.
  void add(const SendKeys& keys, uint64_t sequence, GroupId group, PayloadKind kind, size_t payload_size,
           uint8_t* payload, const OuterTemplateV4& outer, const OuterTemplateV4::Receiver& to);
  void finish();

 private:
  HeaderWords words_;
  size_t count_ = 0;
  Frames frames_;
};

[[gnu::always_inline]] inline void Frames::set(size_t i, const SendKeys& keys, uint64_t number, GroupId group,
                                               PayloadKind kind, size_t size, uint8_t* inner,
                                               const OuterTemplateV4& headers,
                                               const OuterTemplateV4::Receiver& receiver) {
  SC_DEBUG_ASSERT(i < kMost && kind != PayloadKind::message);
  key[i] = keys.key;
  epoch[i] = keys.epoch;
  geneve[i] = __builtin_bswap64(HeaderWords::geneve(group, kind, 0));
  sequence[i] = __builtin_bswap64(number);
  lengths[i] = OuterTemplateV4::lengths(receiver, kEnvelopeSizeMin + size);
  outer[i] = &headers;
  to[i] = &receiver;
  payload[i] = inner;
  payload_size[i] = static_cast<uint16_t>(size);
}

[[gnu::always_inline]] inline void FrameBurst::add(const SendKeys& keys, uint64_t sequence, GroupId group,
                                                   PayloadKind kind, size_t payload_size, uint8_t* payload,
                                                   const OuterTemplateV4& outer, const OuterTemplateV4::Receiver& to) {
  frames_.set(count_++, keys, sequence, group, kind, payload_size, payload, outer, to);
}

namespace internal {
// Of the first n. REQUIRES: avx512::available(). Changes what stands behind them.
void frames_in_eight_lanes(const HeaderWords& words, Frames& frames, size_t n);
void frames_one_by_one(const HeaderWords& words, const Frames& frames, size_t n);
}  // namespace internal

}  // namespace statecast
