// SPDX-License-Identifier: BSD-3-Clause
// Seal burst: the data envelopes of one burst, headers at once and tags together in vector lanes.
//
//   SealBurst seals(peers, stream, peers.timestamp_us(now));
//   for (...) seals.add(keys, group, PayloadKind::ipv4, &options, options_size(options), inner, header_end);   // no
//   tag yet seals.finish();                                                                           // the tags
//
// The same bytes as PeerTable::seal. A tag covers the header with its own place zeroed, the payload's length and the
// first 64 bytes of an inner packet (wire.h), so add() copies those into a place of its own, side by side, and finish()
// hashes all copies at once. Between add() and finish() the payloads must not change.
//
// The fixed part of an envelope as words of eight bytes, in the order of wire.h:
//
//   0  Geneve header                              4  sequence low (4), tag (4)
//   1  auth option's header (4), sender (4)       5  tag (8)
//   2  boot (4), stream, key epoch, stamp (2)     6  tag (4), then options, or the payload's length
//   3  stamp (4), sequence high (4)
//
// Threads: the stream's own. Ownership: writes into the caller's buffers; one object per burst, on the stack.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/siphash.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/envelope/tag_rows.h"

namespace statecast {

class SealBurst {
 public:
  static constexpr size_t kMost = 32;

  SealBurst(const PeerTable& peers, uint8_t stream, uint64_t timestamp_us);

  // Writes the envelope's header, all but the tag, into the kEnvelopeSizeMin + extra bytes that end at `header_end`.
  // `extra`: options_size(*options); `options` may be nullptr where that is 0. REQUIRES: keys.fresh() or as good; at
  // most kMost calls; options that an inner packet may have (kInnerOptionsMax); kTaggedInnerBytes readable from the
  // payload on, however short it is (what is behind it is not used).
  void add(const SendKeys& keys, GroupId group, PayloadKind kind, const EnvelopeOptions* options, size_t extra,
           Bytes payload, uint8_t* header_end);
  void finish();

 private:
  uint64_t sender_word_;  // auth option's header and sender
  uint64_t stamp_high_, stamp_low_;
  size_t count_ = 0;
  std::array<SipJob, kMost> jobs_;
  std::array<TagRow, kMost> rows_;
};

[[gnu::always_inline]] inline void SealBurst::add(const SendKeys& keys, GroupId group, PayloadKind kind,
                                                  const EnvelopeOptions* options, size_t extra, Bytes payload,
                                                  uint8_t* header_end) {
  SC_DEBUG_ASSERT(count_ < kMost && kind != PayloadKind::message);
  const uint64_t sequence = keys.counter->load(std::memory_order_relaxed) + 1;
  keys.counter->store(sequence, std::memory_order_relaxed);

  // Each word goes from its register to both places: to copy bytes that were stored a moment ago would wait for them.
  uint8_t* row = rows_[count_].bytes;
  uint8_t* header = header_end - kEnvelopeSizeMin - extra;
  const uint64_t protocol = kind == PayloadKind::ipv4 ? 0x0800 : 0x86dd;
  const uint64_t words[5] = {uint64_t((kAuthOptionSize + extra) / 4) << 56 | uint64_t(kGeneveC) << 48 | protocol << 32 |
                                 uint64_t(group.value) << 8,
                             sender_word_, stamp_high_ | uint64_t(keys.epoch) << 16, stamp_low_ | sequence >> 32,
                             sequence << 32};
  for (size_t w = 0; w < std::size(words); ++w) {
    const uint64_t v = __builtin_bswap64(words[w]);
    std::memcpy(row + 8 * w, &v, 8);
    std::memcpy(header + 8 * w, &v, 8);
  }
  const uint64_t zero_and_length[2] = {0, __builtin_bswap64(payload.size())};
  std::memcpy(row + 40, zero_and_length, sizeof zero_and_length);
  if (extra != 0) [[unlikely]] {
    Writer w(MutableBytes(row + kEnvelopeSizeMin, extra + 4));
    write_options(*options, w);
    std::memcpy(header + kEnvelopeSizeMin, row + kEnvelopeSizeMin, extra);
    w.u32(static_cast<uint32_t>(payload.size()));
  }
  const size_t tagged = std::min(payload.size(), kTaggedInnerBytes), before = kEnvelopeSizeMin + extra + 4;
  std::memcpy(row + before, payload.data(), kTaggedInnerBytes);  // always all: a copy of known length is short
  jobs_[count_++] = {keys.key.data(), row, before + tagged, header + kTagAt};
}

}  // namespace statecast
