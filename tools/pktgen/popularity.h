// SPDX-License-Identifier: BSD-3-Clause
// Popularity: which of n sessions the next packet belongs to.
//
//   auto p = Popularity::zipf(10'000, 0.99);
//   uint32_t session = p.draw(rng);
//
// Zipf is drawn from an alias table (Walker, Vose): one random number and one line of memory per draw, whatever n and
// the exponent are; 8 bytes per session. Rejection-inversion needs no table but two powers per draw, 40 ns and more.
// The probability of a session is exact to 2^-32 of 1/n.
// Threads: draw() changes a sequential one; each thread has its own copy (copies share the table). Ownership: value.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.h"

namespace statecast {

class Popularity {
 public:
  static Popularity uniform(uint32_t sessions);
  static Popularity zipf(uint32_t sessions, double exponent);  // session k - 1 has a share of 1/k^exponent
  // In turn, from `first` on.
  static Popularity sequential(uint32_t sessions, uint32_t first = 0);

  uint32_t sessions() const { return sessions_; }
  uint32_t draw(Rng& rng) {
    if (kind_ == Kind::sequential) {
      uint32_t out = next_;
      next_ = next_ + 1 == sessions_ ? 0 : next_ + 1;
      return out;
    }
    uint64_t wide_high, r = rng.next();
    // The product's high part is the cell; its low part, uniform within the cell, decides between the cell and its
    // alias.
    __extension__ using Wide = unsigned __int128;
    Wide product = static_cast<Wide>(r) * sessions_;
    wide_high = static_cast<uint64_t>(product >> 64);
    if (kind_ == Kind::uniform) return static_cast<uint32_t>(wide_high);
    const Cell& cell = cells_[wide_high];
    auto coin = static_cast<uint32_t>(static_cast<uint64_t>(product) >> 32);
    return coin < cell.threshold ? static_cast<uint32_t>(wide_high) : cell.alias;
  }

 private:
  enum class Kind : uint8_t { uniform, zipf, sequential };
  struct Cell {
    uint32_t threshold, alias;
  };
  Popularity(Kind kind, uint32_t sessions) : kind_(kind), sessions_(sessions) {}

  Kind kind_;
  uint32_t sessions_, next_ = 0;
  std::shared_ptr<const std::vector<Cell>> table_;
  const Cell* cells_ = nullptr;
};

}  // namespace statecast
