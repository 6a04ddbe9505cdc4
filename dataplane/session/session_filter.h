// SPDX-License-Identifier: BSD-3-Clause
// Session filter: which sessions there are, in about 10 bits each, with a few that are not (a Bloom filter in blocks of
// a cache line). What it does not have was not added; what it has was added or, for about 1 in 100, was not.
//
//   SessionFilter f(SessionFilter::blocks_for(1'000'000));
//   f.add(key);
//   if (!f.may_have(key)) ...          // one cache line
//
// A session counts by the upper half of its key alone, so that 8 bytes tell a copy of the filter what to add. Its block
// is chosen by a product of that half, not by its first bits: a directory node has few of the slots, and those are the
// first bits. Block and places within it come from a keyed hash already; nobody outside can aim at a block.
// 5 places of 512 in a block of about 51 sessions: 1.3 % of the absent ones are taken for present (tested).
//
// Threads: add() and set_block() from one; may_have() from any, at the same time. Ownership: owns its blocks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/session/session_id.h"

namespace statecast {

class SessionFilter {
 public:
  static constexpr size_t kBlockWords = 8, kBlockBytes = kBlockWords * 8;
  static constexpr size_t kBitsPerSession = 10;
  using BlockWords = std::span<uint64_t, kBlockWords>;

  static constexpr size_t blocks_for(size_t sessions) { return sessions * kBitsPerSession / (kBlockBytes * 8) + 1; }
  explicit SessionFilter(size_t blocks) : count_(blocks), blocks_(std::make_unique<Block[]>(blocks)) {}

  void add(const SessionKey& key) { add(key.high); }
  void add(uint64_t high) {
    Block& b = blocks_[block_of(high)];
    each_place(high, [&](unsigned word, uint64_t bit) {
      b.words[word].store(b.words[word].load(std::memory_order_relaxed) | bit, std::memory_order_relaxed);
      return true;
    });
  }
  bool may_have(const SessionKey& key) const {
    const Block& b = blocks_[block_of(key.high)];
    return each_place(key.high, [&](unsigned word, uint64_t bit) {
      return (b.words[word].load(std::memory_order_relaxed) & bit) != 0;
    });
  }

  size_t blocks() const { return count_; }
  size_t bytes() const { return count_ * kBlockBytes; }
  // For copies of it elsewhere.
  void get_block(size_t i, BlockWords out) const {
    for (size_t w = 0; w < kBlockWords; ++w) out[w] = blocks_[i].words[w].load(std::memory_order_relaxed);
  }
  void merge_block(size_t i, std::span<const uint64_t, kBlockWords> in) {
    for (size_t w = 0; w < kBlockWords; ++w) {
      blocks_[i].words[w].store(blocks_[i].words[w].load(std::memory_order_relaxed) | in[w], std::memory_order_relaxed);
    }
  }

 private:
  static constexpr unsigned kPlaces = 5;
  struct alignas(64) Block {
    std::atomic<uint64_t> words[kBlockWords]{};
  };
  static_assert(sizeof(Block) == kBlockBytes);

  size_t block_of(uint64_t high) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<size_t>((Wide(high * 0x9e3779b97f4a7c15u) * count_) >> 64);
  }
  // Until f says no.
  template <class F>
  static bool each_place(uint64_t high, const F& f) {
    for (unsigned i = 0; i < kPlaces; ++i) {
      const auto place = static_cast<unsigned>(high >> (9 * i)) & 511;
      if (!f(place / 64, uint64_t(1) << (place % 64))) return false;
    }
    return true;
  }

  size_t count_;
  std::unique_ptr<Block[]> blocks_;
};

}  // namespace statecast
