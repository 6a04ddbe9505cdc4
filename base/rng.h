// SPDX-License-Identifier: BSD-3-Clause
// Rng: a small seeded generator (splitmix64) for jitter, retries, tests and the simulator. Never for keys or salts.
//
//   Rng rng(seed);  rng.below(6) + 1;  rng.chance(0.01);  rng.fill(bytes);
//
// The same seed gives the same numbers on every machine, so a failure that prints its seed can be replayed.
// Threads: one object, one thread. Ownership: value.
#pragma once

#include <cstdint>
#include <limits>

#include "base/bytes.h"
#include "base/mix.h"

namespace statecast {

class Rng {
 public:
  using result_type = uint64_t;  // what std::shuffle and the distributions ask for
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    return mix64(state_);
  }
  // 0..n-1, by multiplication: the bias is below n / 2^64. REQUIRES: n > 0.
  uint64_t below(uint64_t n) { return static_cast<uint64_t>((Wide(next()) * n) >> 64); }
  // first..last, both included
  uint64_t between(uint64_t first, uint64_t last) { return first + below(last - first + 1); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  bool chance(double p) { return unit() < p; }
  void fill(MutableBytes out) {
    for (uint8_t& b : out) b = static_cast<uint8_t>(next() >> 56);
  }

  uint64_t operator()() { return next(); }
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t state_;
};

}  // namespace statecast
