// SPDX-License-Identifier: BSD-3-Clause
// SessionLedger: what stands behind SessionCache, over a table that is a template argument: the writer's bookkeeping
// (room, eviction, versions, renewals, the coarse clock). Only session_cache.cc includes it.
//
// The table gives slots: find, insert (others may have to move), erase, and the word and marks of a slot. See LineTable
// for its shape; RteTable is the other one.
// Threads: lookup() reads the table, the destinations and `swept_`; everything else is the writer's. Ownership: see
// session_cache.h.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/cache/line_table.h"
#include "dataplane/cache/rte_table.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_cold.h"

namespace statecast {

inline constexpr unsigned kSampleSize = 16;        // entries that eviction compares
inline constexpr unsigned kSampleTries = 128;      // draws for them, at least
inline constexpr uint32_t kNegativeMax = 1 << 24;  // an entry's place in their list is in 24 bits
// A rate is taken over at least this: discounts newcomers.
inline constexpr float kRateTicks = float(Duration(1s).count() >> kTickBits);

// One virtual call for each burst or each change.
struct SessionCache::State {
  virtual ~State() = default;
  virtual Result<void> create() = 0;
  virtual void prefetch(const SessionKey keys[], size_t n) const = 0;
  virtual void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]) = 0;
  virtual void register_reader(unsigned reader) = 0;
  virtual void unregister_reader(unsigned reader) = 0;
  virtual void quiescent(unsigned reader) = 0;
  virtual bool put(const SessionKey& key, const CacheEntry& entry, Instant now) = 0;
  virtual bool remove_if_not_newer(const SessionKey& key, const Version& version, Instant now, Tombstones t) = 0;
  virtual bool remove_negative(const SessionKey& key) = 0;
  virtual bool refill(const SessionKey& key, Instant now) = 0;
  virtual std::optional<CacheEntry> find(const SessionKey& key, Instant now) const = 0;
  virtual size_t sweep(size_t count, Instant now) = 0;
  virtual size_t slots() const = 0;
  virtual size_t memory_bytes() const = 0;
  virtual Stats stats() const = 0;
};

enum class Space : uint8_t { session, negative };

inline WordTarget word_target(CacheTarget t) {
  switch (t) {
    case CacheTarget::member: return WordTarget::member;
    case CacheTarget::drop: return WordTarget::drop;
    case CacheTarget::stateless: return WordTarget::stateless;
    case CacheTarget::negative: return WordTarget::negative;
    case CacheTarget::unavailable: return WordTarget::unavailable;
  }
  return WordTarget::none;
}
inline bool is_lease(WordTarget t) {
  return t == WordTarget::member || t == WordTarget::stateless;
}
inline uint64_t add_saturating(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - 1 - b ? UINT64_MAX - 1 : a + b;
}

template <class Table>
class SessionLedger final : public SessionCache::State {
 public:
  explicit SessionLedger(const SessionCacheOptions& o) : options_(o), random_(o.seed * 2 + 1) {
    sample_.fill(SIZE_MAX);
  }

  Result<void> create() override {
    if (auto made = table_.create(options_); !made) return made;
    if (!cold_.allocate(table_.slots()) || !used_.create(table_.slots()) || !destinations_.create()) {
      return fail(Code::system, "session cache: no memory for " + std::to_string(table_.slots()) + " slots");
    }
    negatives_.reserve(options_.negative);
    return {};
  }

  // ---- readers ----
  void prefetch(const SessionKey keys[], size_t n) const override { table_.prefetch(keys, n); }
  void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]) override {
    const int64_t now_tick = tick(now);
    table_.lookup(keys, bytes, n, Spender{destinations_.readers_view(), uint32_t(now_tick), is_stale(now_tick)}, out);
  }
  void register_reader(unsigned reader) override { table_.register_reader(reader); }
  void unregister_reader(unsigned reader) override { table_.unregister_reader(reader); }
  void quiescent(unsigned reader) override { table_.quiescent(reader); }

  // ---- writer ----
  bool put(const SessionKey& key, const CacheEntry& e, Instant now) override;
  bool remove_if_not_newer(const SessionKey& key, const Version& version, Instant now, Tombstones t) override;
  bool remove_negative(const SessionKey& key) override;
  bool refill(const SessionKey& key, Instant now) override;
  std::optional<CacheEntry> find(const SessionKey& key, Instant now) const override;
  size_t sweep(size_t count, Instant now) override;

  size_t slots() const override { return table_.slots(); }
  size_t memory_bytes() const override {
    return sizeof *this + table_.memory_bytes() + cold_.bytes() + used_.bytes() + destinations_.memory_bytes() +
           negatives_.capacity() * sizeof(uint32_t) + reserves_.size() * 40;  // a node of the map, about
  }
  SessionCache::Stats stats() const override {
    constexpr auto relaxed = std::memory_order_relaxed;
    return {entries_.load(relaxed), negative_.load(relaxed), evicted_.load(relaxed), insert_failed_.load(relaxed)};
  }

 private:
  // One thread counts, others read: no locked instruction, which would hold back the loads behind it.
  static void count(std::atomic<uint64_t>& of, int64_t by) {
    of.store(of.load(std::memory_order_relaxed) + uint64_t(by), std::memory_order_relaxed);
  }
  int64_t tick(Instant t) const { return tick_of(t, options_.zero); }
  bool is_stale(int64_t now_tick) const {
    const int64_t since = now_tick - swept_.load(std::memory_order_relaxed);
    return since >= kTickWindow - 1 || since < -kTickWindow + 1;
  }
  uint64_t word(uint32_t slot) const { return table_.word(slot).load(std::memory_order_relaxed); }
  // Live as a reader sees it.
  bool live(uint32_t slot, int64_t now_tick) const {
    return !is_stale(now_tick) && is_live(word(slot), uint32_t(now_tick));
  }
  uint32_t destination(uint32_t slot) const { return word_destination(word(slot)); }
  WordTarget target(uint32_t slot) const { return destinations_.target(destination(slot)); }
  Space space(uint32_t slot) const { return target(slot) == WordTarget::negative ? Space::negative : Space::session; }
  uint32_t draw(uint32_t below) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return uint32_t((uint64_t(uint32_t(random_ >> 16)) * below) >> 32);
  }

  // Places.
  void enter(uint32_t slot);
  void leave(uint32_t slot);
  void erase(uint32_t slot);
  int64_t insert(const SessionKey& key, Space space, int64_t now_tick);
  int64_t place(const SessionKey& key, int64_t now_tick);
  bool make_room(Space space, int64_t now_tick);

  // Eviction.
  struct Victim {
    int64_t slot = -1;
    bool over_share = false;
    float rate = 0;
  };
  float rate(uint32_t slot, int64_t now_tick);
  bool consider(uint32_t slot, int64_t now_tick, Victim& victim);
  bool evict(const Victim& victim);
  bool evict_session(int64_t now_tick);
  void draw_sample();
  size_t draw_used() {
    const uint32_t slot = draw(table_.slots());
    return used_.pick(slot, draw(64));
  }
  bool evict_near(const SessionKey& key, Space space, int64_t now_tick);
  void evict_negative();

  // Words.
  // Ends are milliseconds since `zero`.
  int64_t ends_of(WordTarget target, Instant t) const;
  static int64_t ends_tick(WordTarget target, int64_t ends);
  static int64_t expiry_tick(WordTarget target, int64_t ends, int64_t now_tick) {
    return std::min(ends_tick(target, ends), now_tick + kTickWindow - 1);  // sweep() goes on with what lies beyond
  }
  // The expiry that the slot's word stands for, as a whole tick.
  int64_t expiry_of(uint32_t slot, int64_t now_tick) const {
    return now_tick + ticks_ahead(word(slot), uint32_t(now_tick));
  }
  uint64_t reserve(uint32_t slot) const { return cold_[slot].reserved ? reserves_.at(slot) : 0; }
  void set_reserve(uint32_t slot, uint64_t bytes);
  void write(uint32_t slot, uint32_t destination, int64_t ends, uint64_t bytes, bool removed, const Version& version,
             int64_t now_tick);
  void add(uint32_t slot, uint64_t granted, bool bounded, int64_t expiry, uint32_t time_mark_code, bool may_ask);
  bool top_up(uint32_t slot, int64_t now_tick);
  void renew(uint32_t slot, const CacheEntry& e, int64_t now_tick);
  bool inspect(uint32_t slot, int64_t now_tick);

  // What a put does to a live entry: the rules of session_cache.h.
  enum class Ruling { ignore, replace, renew };
  Ruling rule(uint32_t slot, const CacheEntry& e, uint32_t new_destination) const;
  bool is_older(const Version& a, MemberId member, uint32_t slot) const;
  bool is_newer(const Version& a, MemberId member, uint32_t slot) const;

  SessionCacheOptions options_;
  Table table_;
  HugeArray<Cold> cold_;  // by slot
  UsedSlots used_;
  Destinations destinations_;
  std::unordered_map<uint32_t, uint64_t> reserves_;  // by slot: bytes granted that its word has no room for
  std::vector<uint32_t> negatives_;                  // slots
  uint32_t groups_ = 0;                              // with entries in the session space
  uint64_t random_;
  std::array<size_t, kSampleSize> sample_;  // slots that the next eviction compares
  size_t cursor_ = 0;                       // of sweep
  int64_t round_began_ = 0;                 // tick
  std::atomic<int64_t> swept_{0};           // every entry was looked at, or put, since this tick
  std::atomic<uint64_t> entries_{0}, negative_{0}, evicted_{0}, insert_failed_{0};
};

}  // namespace statecast

#include "dataplane/cache/session_ledger_places.h"
#include "dataplane/cache/session_ledger_words.h"
