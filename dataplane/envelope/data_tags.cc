// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/data_tags.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/avx512.h"

namespace statecast {

namespace {

// What tags cover, side by side.
class Copies {
 public:
  void add(const uint8_t* key, const uint8_t* header, size_t header_size, size_t payload_size, uint8_t* out) {
    uint8_t* row = rows_[count_].bytes;
    if (header_size == kEnvelopeSizeMin) {
      std::memcpy(row, header, kEnvelopeSizeMin);
    } else {
      std::memcpy(row, header, header_size);
    }
    std::memset(row + kTagAt, 0, sizeof(SipTag));
    const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(payload_size));
    std::memcpy(row + header_size, &length, sizeof length);
    // Always all of it: a copy of known length is short.
    std::memcpy(row + header_size + sizeof length, header + header_size, kTaggedInnerBytes);
    const size_t tagged = std::min(payload_size, kTaggedInnerBytes);
    jobs_[count_++] = {key, row, header_size + sizeof length + tagged, out};
  }
  void hash() { siphash128_many(std::span(jobs_).first(count_)); }

 private:
  static constexpr size_t kRow = kGeneveHeaderSize + kInnerOptionsMax + sizeof(uint32_t) + kTaggedInnerBytes;
  struct alignas(64) Row {
    uint8_t bytes[(kRow + 63) / 64 * 64];
  };
  size_t count_ = 0;
  std::array<SipJob, DataTags::kMost> jobs_;
  std::array<Row, DataTags::kMost> rows_;
};

}  // namespace

void DataTags::hash() {
#if defined(__x86_64__)
  if (avx512::available()) {
    internal::plain_tags_in_eight_lanes(plain_, plain_count_);
    plain_count_ = 0;
  }
#endif
  if (plain_count_ != 0) internal::plain_tags_by_copies(plain_, plain_count_);
  if (wordy_count_ != 0) {
    Copies copies;
    for (const Wordy& w : std::span(wordy_).first(wordy_count_)) {
      copies.add(w.key, w.header, w.header_size, w.payload_size, w.out);
    }
    copies.hash();
  }
  plain_count_ = wordy_count_ = 0;
}

void internal::plain_tags_by_copies(const PlainTags& tags, size_t n) {
  Copies copies;
  for (size_t i = 0; i < n; ++i) {
    copies.add(tags.key[i], tags.header[i], kEnvelopeSizeMin, tags.payload_size[i], tags.out[i]);
  }
  copies.hash();
}

}  // namespace statecast
