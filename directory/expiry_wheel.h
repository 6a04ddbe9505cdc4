// SPDX-License-Identifier: BSD-3-Clause
// ExpiryWheel: which places to look at when. A place waits in the bucket of its time, or of the farthest one; when that
// is over the caller says what has become of it. So a time that has been put off since costs one look, and one that is
// farther away than the wheel is long (137 s) one look for each turn of it.
//
//   wheel.set(place, tick);                              // in no bucket so far
//   wheel.expire(now, 512, ahead, [&](uint32_t place) { return end_of(place); });   // 0: it is over
//   wheel.remove(place);
//
// Why no heap: 16 bytes and a look at log n places for each record, and a second entry wherever an end comes earlier.
// Why one wheel and no hierarchy: a mapping lives 120 s at most without a refresh; only tombstones go round.
// Cost: 8 bytes per place (a list in both directions, so that any can be taken out), and 66 KB. Threads: one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/reserved_array.h"

namespace statecast {

using Tick = uint64_t;  // 1,024 ns since the caller's beginning
inline constexpr Tick kNoTick = UINT64_MAX;

class ExpiryWheel {
 public:
  explicit ExpiryWheel(size_t most) : links_(most), buckets_(kBuckets) {}

  void use(size_t places) { links_.use(places); }

  void set(uint32_t place, Tick when) {
    const uint64_t bucket = std::clamp(when / kBucketTicks, now_, now_ + kBuckets - 1);
    const auto slot = static_cast<uint32_t>(bucket % kBuckets);
    uint32_t& first = buckets_[slot];
    links_[place] = {first, kIsSlot | slot};
    if (first != 0) links_[first - 1].before = place + 1;
    first = place + 1;
    busy_[slot / 64] |= uint64_t{1} << (slot % 64);
    busy_words_[slot / 4096] |= uint64_t{1} << (slot / 64 % 64);
  }

  void remove(uint32_t place) {
    const Link link = links_[place];
    if (link.after != 0) links_[link.after - 1].before = link.before;
    if ((link.before & kIsSlot) == 0) {
      links_[link.before - 1].after = link.after;
    } else if ((buckets_[link.before & ~kIsSlot] = link.after) == 0) {
      clear(link.before & ~kIsSlot);
    }
  }

  // Looks at `most` places of the buckets that are over; what is left is due at once. `ahead` gets some places at a
  // time, out of the wheel by now, to fetch what belongs to them; then end_of, for each of them, says when to look
  // again; 0: never.
  template <class Ahead, class End>
  void expire(Tick now, size_t most, Ahead ahead, End end_of) {
    const uint64_t over = now / kBucketTicks;
    while (now_ < over) {
      const uint64_t bucket = next_bucket();
      if (bucket >= over) {
        now_ = over;
        return;
      }
      now_ = bucket;
      for (const uint32_t* first = &buckets_[bucket % kBuckets]; *first != 0;) {
        if (most == 0) return;
        std::array<uint32_t, 16> places;
        size_t n = 0;
        for (; n < places.size() && most > 0 && *first != 0; ++n, --most) {
          places[n] = *first - 1;
          remove(places[n]);
        }
        const auto taken = std::span<const uint32_t>(places).first(n);
        ahead(taken);
        for (uint32_t place : taken) {
          if (const Tick end = end_of(place); end != 0) set(place, std::max(end, (bucket + 1) * kBucketTicks));
        }
      }
    }
  }
  // When there is something to look at; kNoTick: never.
  Tick next() const {
    const uint64_t bucket = next_bucket();
    return bucket == kNoTick ? kNoTick : (bucket + 1) * kBucketTicks;
  }

 private:
  struct Link {
    uint32_t after, before;  // place + 1; 0: none. The first one's `before` is its bucket.
  };
  static constexpr Tick kBucketTicks = 1 << 13;  // 8.4 ms
  static constexpr size_t kBuckets = 1 << 14;
  static constexpr uint32_t kIsSlot = 1u << 31;

  void clear(uint32_t slot) {
    busy_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
    if (busy_[slot / 64] == 0) busy_words_[slot / 4096] &= ~(uint64_t{1} << (slot / 64 % 64));
  }
  // The first one that is not empty, from now_ on.
  uint64_t next_bucket() const {
    const size_t from = now_ % kBuckets;
    size_t slot = first_busy(from);
    if (slot == kBuckets) {
      slot = first_busy(0);
      if (slot == kBuckets) return kNoTick;
    }
    return now_ + (slot + kBuckets - from) % kBuckets;
  }
  size_t first_busy(size_t from) const {
    if (const uint64_t rest = busy_[from / 64] >> (from % 64)) return from + static_cast<size_t>(__builtin_ctzll(rest));
    const size_t word = from / 64 + 1;
    for (size_t i = word / 64; i < busy_words_.size(); ++i) {
      uint64_t words = busy_words_[i];
      if (i == word / 64) words &= ~uint64_t{0} << (word % 64);
      if (words == 0) continue;
      const size_t found = i * 64 + static_cast<size_t>(__builtin_ctzll(words));
      return found * 64 + static_cast<size_t>(__builtin_ctzll(busy_[found]));
    }
    return kBuckets;
  }

  ReservedArray<Link> links_;
  ReservedArray<uint32_t> buckets_;  // place + 1 of the first
  std::array<uint64_t, kBuckets / 64> busy_{};
  std::array<uint64_t, kBuckets / 4096> busy_words_{};
  uint64_t now_ = 0;  // the first bucket that is not over
};

}  // namespace statecast
