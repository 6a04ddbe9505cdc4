// SPDX-License-Identifier: BSD-3-Clause
// Popularity: which of n sessions the next packet belongs to.
//
//   auto p = Popularity::zipf(10'000, 0.99);
//   p.draw(rng, sessions);                        // a burst of them
//
// Zipf is drawn from an alias table (Walker, Vose): one random number and one line of memory per draw, whatever n and
// the exponent are; 8 bytes per session, in huge pages where the system gives any. Rejection-inversion needs no table
// but two powers per draw, 40 ns and more. The probability of a session is exact to 2^-32 of 1/n. Threads: draw()
// changes a sequential one; each thread has its own copy (copies share the table). Ownership: value.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/rng.h"

namespace statecast {

class Popularity {
 public:
  static Popularity uniform(uint32_t sessions);
  static Popularity zipf(uint32_t sessions, double exponent);  // session k - 1 has a share of 1/k^exponent
  // In turn, from `first` on.
  static Popularity sequential(uint32_t sessions, uint32_t first = 0);

  uint32_t sessions() const { return sessions_; }
  // The next so many sessions. Their cells are fetched side by side: one after the other they would cost a miss each.
  void draw(Rng& rng, std::span<uint32_t> out);

 private:
  enum class Kind : uint8_t { uniform, zipf, sequential };
  struct Cell {
    uint32_t threshold, alias;
  };
  Popularity(Kind kind, uint32_t sessions) : kind_(kind), sessions_(sessions) {}

  Kind kind_;
  uint32_t sessions_, next_ = 0;
  std::shared_ptr<const Cell[]> cells_;
};

}  // namespace statecast
