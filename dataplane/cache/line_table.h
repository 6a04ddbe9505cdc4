// SPDX-License-Identifier: BSD-3-Clause
// LineTable: the session table made for this. A slot is 16 bytes, four slots are a cache line, and a packet whose entry
// stands in the first of its two lines touches that line alone.
//
//   LineTable table;
//   table.create(1'000'000);
//   auto slot = table.insert(key, moves);          // writer; others may have to move: `moves` says which
//   table.lookup(keys, bytes, n, spender, hits);   // any reader
//
// line:  tag 0 | tag 1 | tag 2 | tag 3 | word 0 | word 1 | word 2 | word 3
// tag:   48 bits of the key | 1 in its second line | 15 marks (session_word.h)
//
// Which bits of the key: the first line is the top of low * lines / 2^64, the tag the lower 48 bits of `high` (its
// upper 16 are the directory's slot, and a proxy may see few of those). The second line is g(tag) - first (mod lines),
// so that a tag and the line where it stands tell the other line, and with it the log2(lines) bits of `low` that chose
// them. What is compared are 48 + log2(lines) bits: at least 63, for there are never fewer than 2^15 lines. Collisions,
// with 100 million entries (2^24.7 lines, 72.7 bits): a new session meets another's entry with probability 1.3e-14;
// that any two of 100 million agree, 6.5e-7. (At 1 million: 66.1 bits, 1.3e-14 and 6.4e-9.)
//
// Threads: lookup() and prefetch() from any number of readers, without locks and without a word to the writer; the rest
// from the one writer. Memory is never given back while the table lives. Ownership: owns its lines.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/cache/huge_array.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_spend.h"
#include "dataplane/cache/session_word.h"

namespace statecast {

struct SlotMove {
  uint32_t from, to;
};
// What an insert has moved, in this order.
struct SlotMoves {
  std::array<SlotMove, 8> at{};
  unsigned n = 0;
};
inline constexpr unsigned kCandidatesMax = 8;

class LineTable {
 public:
  // Slots for each entry: above a load of 0.92 the way to a free slot gets long.
  static constexpr double kLoad = 0.92;

  Result<void> create(const SessionCacheOptions& options);

  uint32_t slots() const { return uint32_t(lines_.size() * kWays); }
  size_t memory_bytes() const { return lines_.bytes(); }

  // Readers.
  void prefetch(const SessionKey keys[], size_t n) const;
  void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, const Spender& spend, CacheHit out[]);
  void register_reader(unsigned) {}
  void unregister_reader(unsigned) {}
  void quiescent(unsigned) {}

  // Writer. Slots are numbers below slots(); -1: none.
  int64_t find(const SessionKey& key) const;
  // A slot for a key that is not there: its tag stands, its word is dead until the writer stores one. -1: no free slot
  // was found near enough; then one of candidates() has to go.
  int64_t insert(const SessionKey& key, SlotMoves& moves);
  unsigned candidates(const SessionKey& key, uint32_t slots[kCandidatesMax]) const;
  void erase(uint32_t slot);
  void reclaim() {}
  std::atomic<uint64_t>& word(uint32_t slot) { return lines_[slot / kWays].word[slot % kWays]; }
  const std::atomic<uint64_t>& word(uint32_t slot) const { return lines_[slot / kWays].word[slot % kWays]; }
  uint32_t marks(uint32_t slot) const { return uint32_t(tag(slot).load(std::memory_order_relaxed)) & kMarksMask; }
  void set_marks(uint32_t slot, uint32_t marks);

 private:
  static constexpr unsigned kWays = 4;
  struct alignas(64) Line {
    std::atomic<uint64_t> tag[kWays];
    std::atomic<uint64_t> word[kWays];
  };
  static_assert(sizeof(Line) == 64 && std::atomic<uint64_t>::is_always_lock_free);

  uint32_t first_line(const SessionKey& key) const;
  uint32_t other_line(uint32_t line, uint64_t tag) const;
  static unsigned match(const Line& line, uint64_t tag);
  void move(uint32_t from, uint32_t to);
  [[gnu::noinline]] void look_again(const SessionKey& key, uint32_t bytes, const Spender& spend, CacheHit& out);
  std::atomic<uint64_t>& tag(uint32_t slot) { return lines_[slot / kWays].tag[slot % kWays]; }
  const std::atomic<uint64_t>& tag(uint32_t slot) const { return lines_[slot / kWays].tag[slot % kWays]; }
  Spent spend_at(uint32_t slot, uint64_t want, uint32_t bytes, const Spender& spend, CacheHit& out);

  HugeArray<Line> lines_;
  uint64_t count_ = 0;                          // of lines
  alignas(64) std::atomic<uint64_t> moves_{0};  // that were made; on a line of its own
};

}  // namespace statecast
