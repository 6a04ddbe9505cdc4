// SPDX-License-Identifier: BSD-3-Clause
// RteTable: the session table on rte_hash (RW_CONCURRENCY_LF, reclamation by rte_rcu_qsbr), with a word and marks per
// slot beside it. The reference that LineTable is compared with, in tests and in benchmarks; the same shape.
//
// Threads: lookup() and quiescent() from registered readers, each with its own number and quiescent once a burst; the
// rest from the one writer. Ownership: owns its hash, in DPDK's memory, and its slots.
#pragma once

#include <rte_hash.h>
#include <rte_rcu_qsbr.h>

#include <atomic>
#include <deque>

#include "dataplane/cache/huge_array.h"
#include "dataplane/cache/line_table.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_spend.h"

namespace statecast {

class RteTable {
 public:
  RteTable() = default;
  ~RteTable();
  RteTable(const RteTable&) = delete;
  RteTable& operator=(const RteTable&) = delete;

  Result<void> create(const SessionCacheOptions& options);

  uint32_t slots() const { return uint32_t(hot_.size()); }
  size_t memory_bytes() const { return hot_.bytes() + hash_bytes_; }

  // rte_hash shows nobody its buckets: there is nothing to load ahead.
  void prefetch(const SessionKey[], size_t) const {}
  void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, const Spender& spend, CacheHit out[]);
  void register_reader(unsigned reader);
  void unregister_reader(unsigned reader);
  void quiescent(unsigned reader) { rte_rcu_qsbr_quiescent(rcu_, reader); }

  // As in LineTable. Nothing moves here, and there are no candidates: an insert fails for want of slots alone.
  int64_t find(const SessionKey& key) const;
  int64_t insert(const SessionKey& key, SlotMoves& moves);
  unsigned candidates(const SessionKey&, uint32_t[kCandidatesMax]) const { return 0; }
  void erase(uint32_t slot);
  void reclaim();  // gives slots free that no reader can hold any more
  std::atomic<uint64_t>& word(uint32_t slot) { return hot_[slot].word; }
  const std::atomic<uint64_t>& word(uint32_t slot) const { return hot_[slot].word; }
  uint32_t marks(uint32_t slot) const { return hot_[slot].marks.load(std::memory_order_relaxed); }
  void set_marks(uint32_t slot, uint32_t marks) { hot_[slot].marks.store(marks, std::memory_order_relaxed); }

 private:
  struct Hot {
    std::atomic<uint64_t> word;
    std::atomic<uint32_t> marks;
  };
  static_assert(sizeof(Hot) == 16);
  struct Freed {
    int32_t slot;
    uint64_t token;
  };

  HugeArray<Hot> hot_;
  rte_hash* hash_ = nullptr;
  rte_rcu_qsbr* rcu_ = nullptr;
  size_t hash_bytes_ = 0;
  std::deque<Freed> freed_;  // keys that have left the hash, waiting for the readers
};

}  // namespace statecast
