// SPDX-License-Identifier: BSD-3-Clause
// Tag rows: what the tags of a burst's data envelopes cover, side by side, to be hashed together.
//
//   TagRows rows;
//   rows.add(key, header_and_options, payload);     // for each envelope
//   rows.hash();
//   if (!rows.same(0, datagram + kTagAt)) bad_tag;
//
// A tag covers the header with its own place zeroed, the payload's length and the first 64 bytes of an inner packet
// (wire.h). SealBurst builds its rows from registers; this is for envelopes that came in.
// Threads: one. Ownership: copies; keys outlive hash().
#pragma once

#include <array>
#include <cstring>

#include "base/siphash.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

inline constexpr size_t kTagAt = offsetof(EnvelopeHead, auth.tag);

// One row. Longer than what a tag covers at most, because payloads are copied 64 bytes at a time.
struct alignas(64) TagRow {
  static constexpr size_t kMost = kGeneveHeaderSize + kInnerOptionsMax + 4 + kTaggedInnerBytes;
  uint8_t bytes[(kMost + 63) / 64 * 64];
};

class TagRows {
 public:
  static constexpr size_t kMost = 32;

  // REQUIRES: fewer than kMost so far; kTaggedInnerBytes readable from the payload's start on (what is behind a short
  // one is not used).
  void add(const SipTag& key, Bytes header, Bytes payload) {
    uint8_t* row = rows_[count_].bytes;
    const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(payload.size()));
    if (header.size() == kEnvelopeSizeMin) {
      std::memcpy(row, header.data(), kEnvelopeSizeMin);
    } else {
      std::memcpy(row, header.data(), header.size());
    }
    std::memset(row + kTagAt, 0, sizeof(SipTag));
    std::memcpy(row + header.size(), &length, sizeof length);
    std::memcpy(row + header.size() + sizeof length, payload.data(), kTaggedInnerBytes);
    const size_t tagged = payload.size() < kTaggedInnerBytes ? payload.size() : kTaggedInnerBytes;
    jobs_[count_] = {key.data(), row, header.size() + sizeof length + tagged, tags_[count_].data()};
    ++count_;
  }
  void hash() { siphash128_many(std::span(jobs_.data(), count_)); }
  bool same(size_t i, const uint8_t* tag) const { return same_tag(tags_[i].data(), tag); }
  size_t count() const { return count_; }

 private:
  size_t count_ = 0;
  std::array<SipJob, kMost> jobs_;
  std::array<SipTag, kMost> tags_;
  std::array<TagRow, kMost> rows_;
};

}  // namespace statecast
