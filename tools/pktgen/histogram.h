// SPDX-License-Identifier: BSD-3-Clause
// Histogram: latencies in fixed memory with a bounded relative error. Values below 128 have a bucket each; above, each
// power of two is cut into 128 equal buckets, so a value is known to 1/128 (0.8 %) whatever its size. What is 2^40 or
// more (18 minutes in ns) is counted in the last bucket.
//
//   Histogram h;
//   h.record(412);
//   h.percentile(99.9)       // the highest value that the bucket of rank ceil(0.999 n) can hold, at most max()
//
// The choice is HdrHistogram's shape (log buckets, linear sub-buckets) without its library: 35 KiB, 2 ns to record.
// Threads: one records; any may read meanwhile and gets a state that may lack the newest values. reset() belongs to the
// recording thread. Ownership: value, not to be copied by accident: add() sums.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>

namespace statecast {

class Histogram {
 public:
  static constexpr unsigned kLinearBits = 7;
  static constexpr unsigned kValueBits = 40;
  static constexpr size_t kBuckets = (kValueBits - kLinearBits + 1) << kLinearBits;

  Histogram() = default;
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;

  void record(uint64_t value) {
    bump(counts_[bucket_of(value)], 1);
    bump(count_, 1);
    bump(sum_, value);
    if (value < min_.load(std::memory_order_relaxed)) min_.store(value, std::memory_order_relaxed);
    if (value > max_.load(std::memory_order_relaxed)) max_.store(value, std::memory_order_relaxed);
  }
  void add(const Histogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) bump(counts_[i], read(other.counts_[i]));
    bump(count_, read(other.count_));
    bump(sum_, read(other.sum_));
    if (other.min() < read(min_)) min_.store(other.min(), std::memory_order_relaxed);
    if (other.max() > read(max_)) max_.store(other.max(), std::memory_order_relaxed);
  }
  void reset() {
    for (auto& c : counts_) c.store(0, std::memory_order_relaxed);
    count_.store(0, std::memory_order_relaxed);
    sum_.store(0, std::memory_order_relaxed);
    min_.store(UINT64_MAX, std::memory_order_relaxed);
    max_.store(0, std::memory_order_relaxed);
  }

  uint64_t count() const { return read(count_); }
  uint64_t min() const { return read(min_); }  // UINT64_MAX: nothing recorded
  uint64_t max() const { return read(max_); }
  double mean() const { return count() ? static_cast<double>(read(sum_)) / static_cast<double>(count()) : 0; }
  // `percent`: 0 to 100. 0 where nothing was recorded.
  uint64_t percentile(double percent) const {
    uint64_t n = count();
    if (n == 0) return 0;
    auto rank = static_cast<uint64_t>(std::ceil(percent / 100 * static_cast<double>(n)));
    if (rank == 0) rank = 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += read(counts_[i]);
      if (seen >= rank) return i + 1 == kBuckets ? max() : std::min(highest_of(i), max());
    }
    return max();
  }

  static constexpr size_t bucket_of(uint64_t value) {
    if (value < (uint64_t(1) << kLinearBits)) return value;
    if (value >= (uint64_t(1) << kValueBits)) return kBuckets - 1;
    unsigned power = static_cast<unsigned>(std::bit_width(value)) - 1;  // >= kLinearBits
    unsigned shift = power - kLinearBits;
    return (size_t(shift + 1) << kLinearBits) + ((value >> shift) & ((1u << kLinearBits) - 1));
  }
  // The highest value that falls into the bucket.
  static constexpr uint64_t highest_of(size_t bucket) {
    size_t row = bucket >> kLinearBits, column = bucket & ((1u << kLinearBits) - 1);
    if (row == 0) return column;
    return (((uint64_t(1) << kLinearBits) + column + 1) << (row - 1)) - 1;
  }

 private:
  using Cell = std::atomic<uint64_t>;
  static uint64_t read(const Cell& c) { return c.load(std::memory_order_relaxed); }
  static void bump(Cell& c, uint64_t n) {  // one writer: no locked instruction
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::array<Cell, kBuckets> counts_{};
  Cell count_{0}, sum_{0}, min_{UINT64_MAX}, max_{0};
};

}  // namespace statecast
