// SPDX-License-Identifier: BSD-3-Clause
// Data tags: the tags of a burst's data envelopes, hashed together in vector lanes from where the envelopes lie.
//
//   DataTags tags;
//   tags.add(key, header, header_size, payload_size, place);    // for each envelope; the payload follows its header
//   tags.hash();                                                // writes each tag to its place
//
// A tag covers the header with its own place zeroed, the payload's length and the first 64 bytes of an inner packet
// (wire.h). Without further options, as nearly all are, a header is 52 bytes, so that with the length of 4 the payload
// begins with a word of its own: header and payload are read as two rows, and nothing is copied.
// Threads: one. Ownership: views; keys and envelopes stay until hash() has returned.
#pragma once

#include <array>
#include <cstdint>

#include "base/check.h"
#include "base/siphash.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

inline constexpr size_t kTagAt = offsetof(EnvelopeHead, auth.tag);

// Envelopes without further options. As arrays, since lanes read eight of each at once.
struct PlainTags {
  static constexpr size_t kMost = 32;
  const uint8_t* key[kMost];     // 16 bytes
  const uint8_t* header[kMost];  // kEnvelopeSizeMin, and the payload behind it
  uint16_t payload_size[kMost];
  uint8_t* out[kMost];  // 16 bytes; may be the tag's own place
};

class DataTags {
 public:
  static constexpr size_t kMost = PlainTags::kMost;

  // REQUIRES: fewer than kMost so far; kTaggedInnerBytes readable behind the header, however short the payload is (what
  // is behind it is not used).
  void add(const uint8_t* key, const uint8_t* header, size_t header_size, size_t payload_size, uint8_t* out) {
    SC_DEBUG_ASSERT(plain_count_ + wordy_count_ < kMost);
    if (header_size != kEnvelopeSizeMin) [[unlikely]] {
      wordy_[wordy_count_++] = {key, header, header_size, payload_size, out};
      return;
    }
    plain_.key[plain_count_] = key;
    plain_.header[plain_count_] = header;
    plain_.payload_size[plain_count_] = static_cast<uint16_t>(payload_size);
    plain_.out[plain_count_++] = out;
  }
  // Afterwards it is empty again.
  void hash();

 private:
  struct Wordy {
    const uint8_t *key, *header;
    size_t header_size, payload_size;
    uint8_t* out;
  };
  size_t plain_count_ = 0, wordy_count_ = 0;
  PlainTags plain_;
  std::array<Wordy, kMost> wordy_;
};

namespace internal {
// Of the first n. REQUIRES: avx512::available(). Changes what stands behind them.
void plain_tags_in_eight_lanes(PlainTags& tags, size_t n);
void plain_tags_by_copies(const PlainTags& tags, size_t n);
}  // namespace internal

}  // namespace statecast
