// SPDX-License-Identifier: BSD-3-Clause
// What stands behind SessionCache: the slots, hot and cold, and the writer's bookkeeping over them (room, eviction,
// versions, renewals, the coarse clock). Only session_cache.cc includes it.
//
// Threads: lookup() reads `hash`, `hot`, `members` and `swept`; everything else is the writer's. Ownership: see
// session_cache.h.
#pragma once

#include <rte_hash.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_word.h"

namespace statecast {

inline constexpr unsigned kSampleSize = 16;    // entries that eviction compares
inline constexpr unsigned kSampleTries = 128;  // slots that it draws for them
inline constexpr int64_t kRateTicks =
    Duration(1s).count() >> kTickBits;  // a rate is taken over at least this: discounts newcomers

// The session key is a keyed hash already, so some of its bits are the table's hash. Of the low half: the top 16 bits
// of the high one are the slot of the directory, and a proxy may see few of those.
inline hash_sig_t key_bits(const SessionKey& key) {
  return static_cast<hash_sig_t>(key.low);
}
static_assert(sizeof(SessionKey) == 16);

struct Hot {
  std::atomic<uint64_t> word{0};
  std::atomic<uint64_t> halves{0};
};
static_assert(sizeof(Hot) == 16 && std::atomic<uint64_t>::is_always_lock_free);

// What only the writer reads. The version is packed: term apart, incarnation and counter in one word.
struct Cold {
  Instant ends{};
  uint64_t order = 0;    // incarnation 24, counter 40
  uint64_t reserve = 0;  // bytes granted that the word has no room for; of a negative entry: its place in the list
  uint32_t group = 0;
  uint32_t member = 0;
  uint32_t sampled_bytes = 0;  // the word's byte field when the rate was last taken
  uint32_t sampled_tick = 0;
  float rate = 0;  // bytes per second over the last window
  uint16_t term = 0;
  bool used = false;
  bool removed = false;

  Version version() const { return {term, uint32_t(order >> 40), order & ((uint64_t(1) << 40) - 1)}; }
  void set_version(const Version& v) {
    term = v.term;
    order = uint64_t(v.incarnation) << 40 | (v.counter & ((uint64_t(1) << 40) - 1));
  }
};
static_assert(sizeof(Cold) <= 48);

enum class Space : uint8_t { session, negative };
inline Space space_of(CacheTarget t) {
  return t == CacheTarget::negative ? Space::negative : Space::session;
}

// Is `a` older than what stands there? Between two members only the term counts.
inline bool is_older(const Version& a, uint32_t a_member, const Cold& c) {
  if (a_member != 0 && c.member != 0 && a_member != c.member) return a.term < c.term;
  return a < c.version();
}
inline bool is_newer(const Version& a, uint32_t a_member, const Cold& c) {
  if (a_member != 0 && c.member != 0 && a_member != c.member) return a.term > c.term;
  return a > c.version();
}

inline uint64_t add_saturating(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - 1 - b ? UINT64_MAX - 1 : a + b;
}

struct SessionCache::State {
  SessionCacheOptions options;
  rte_hash* hash = nullptr;
  rte_rcu_qsbr* rcu = nullptr;
  Hot* hot = nullptr;  // by slot; in DPDK's memory for its huge pages
  std::vector<Cold> cold;
  std::unique_ptr<std::atomic<uint32_t>[]> members;  // by destination
  std::unordered_map<uint32_t, uint32_t> destination_of;
  uint32_t destinations = kFirstMember;
  std::unordered_map<uint32_t, uint32_t> group_entries;  // session space only
  std::vector<uint32_t> negatives;                       // slots
  struct Freed {
    int32_t slot;
    uint64_t token;
  };
  std::deque<Freed> freed;  // keys that have left the hash, waiting for the readers
  uint64_t random;
  size_t cursor = 0;              // of sweep
  int64_t round_began = 0;        // tick
  std::atomic<int64_t> swept{0};  // every entry was looked at, or put, since this tick
  std::atomic<uint64_t> entries{0}, negative{0}, evicted{0}, insert_failed{0};

  explicit State(const SessionCacheOptions& o) : options(o), random(o.seed * 2 + 1) {}
  ~State() {
    rte_hash_free(hash);
    rte_free(rcu);
    rte_free(hot);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  int64_t tick(Instant t) const { return tick_of(t, options.zero); }
  bool is_stale(int64_t now_tick) const {
    const int64_t since = now_tick - swept.load(std::memory_order_relaxed);
    return since >= kTickWindow - 1 || since < -kTickWindow + 1;
  }
  int32_t slot_of(const SessionKey& key) const { return rte_hash_lookup_with_hash(hash, &key, key_bits(key)); }
  // Live as a reader sees it.
  bool live(uint32_t slot, int64_t now_tick) const {
    return !is_stale(now_tick) && is_live(hot[slot].word.load(std::memory_order_relaxed), uint32_t(now_tick));
  }
  uint32_t destination(uint32_t slot) const { return word_destination(hot[slot].word.load(std::memory_order_relaxed)); }
  SessionKey key_at(uint32_t slot) const {
    void* at = nullptr;
    SessionKey key;
    if (rte_hash_get_key_with_position(hash, int32_t(slot), &at) == 0) std::memcpy(&key, at, sizeof key);
    return key;
  }
  uint32_t draw(uint32_t below) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return uint32_t((uint64_t(uint32_t(random >> 16)) * below) >> 32);
  }

  // --- places ---
  void enter(uint32_t slot, Space space) {
    if (space == Space::negative) {
      cold[slot].reserve = negatives.size();
      negatives.push_back(slot);
      negative.store(negatives.size(), std::memory_order_relaxed);
    } else {
      ++group_entries[cold[slot].group];
      entries.fetch_add(1, std::memory_order_relaxed);
    }
  }
  void leave(uint32_t slot, Space space) {
    if (space == Space::negative) {
      const uint32_t last = negatives.back();
      negatives[cold[slot].reserve] = last;
      cold[last].reserve = cold[slot].reserve;
      negatives.pop_back();
      cold[slot].reserve = 0;
      negative.store(negatives.size(), std::memory_order_relaxed);
    } else {
      auto g = group_entries.find(cold[slot].group);
      if (--g->second == 0) group_entries.erase(g);
      entries.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  Space space(uint32_t slot) const { return destination(slot) == kNegative ? Space::negative : Space::session; }

  void erase(uint32_t slot) {
    leave(slot, space(slot));
    hot[slot].word.store(0, std::memory_order_release);
    const SessionKey key = key_at(slot);
    rte_hash_del_key_with_hash(hash, &key, key_bits(key));
    cold[slot] = {};
    freed.push_back({int32_t(slot), rte_rcu_qsbr_start(rcu)});
  }
  void reclaim() {
    while (!freed.empty() && rte_rcu_qsbr_check(rcu, freed.front().token, false) == 1) {
      rte_hash_free_key_with_position(hash, freed.front().slot);
      freed.pop_front();
    }
  }

  // Bytes per second lately. A newcomer has a short past and is measured over the whole window, which discounts it.
  float rate(uint32_t slot, int64_t now_tick) {
    Cold& c = cold[slot];
    const uint32_t left = uint32_t(word_bytes(hot[slot].word.load(std::memory_order_relaxed)));
    const auto spent = float((c.sampled_bytes - left) & uint32_t(kWordBytesMax));
    const auto windows = float(uint32_t(now_tick) - c.sampled_tick) / float(kRateTicks);
    if (windows < 1) return c.rate * (1 - windows) + spent;
    c.rate = spent / windows;
    c.sampled_bytes = left;
    c.sampled_tick = uint32_t(now_tick);
    return c.rate;
  }
  // Makes room for one entry more in the session space; false if only tombstones were met.
  bool evict_session(int64_t now_tick) {
    const uint32_t fair = options.sessions / uint32_t(std::max<size_t>(1, group_entries.size()));
    int64_t best = -1;
    bool best_over = false;
    float best_rate = 0;
    for (unsigned seen = 0, tries = 0; seen < kSampleSize && tries < kSampleTries; ++tries) {
      const uint32_t slot = draw(uint32_t(cold.size()));
      if (!cold[slot].used || space(slot) == Space::negative) continue;
      if (!live(slot, now_tick)) {
        best = slot;
        break;
      }
      if (destination(slot) == kDrop) continue;
      ++seen;
      const bool over = group_entries[cold[slot].group] > fair;
      const float r = rate(slot, now_tick);
      if (best < 0 || over > best_over || (over == best_over && r < best_rate)) {
        best = slot;
        best_over = over;
        best_rate = r;
      }
    }
    if (best < 0) return false;
    erase(uint32_t(best));
    evicted.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  // Of a few negative entries the one that ends first.
  void evict_negative() {
    uint32_t best = negatives[draw(uint32_t(negatives.size()))];
    for (unsigned i = 1; i < kSampleSize; ++i) {
      const uint32_t slot = negatives[draw(uint32_t(negatives.size()))];
      if (cold[slot].ends < cold[best].ends) best = slot;
    }
    erase(best);
    evicted.fetch_add(1, std::memory_order_relaxed);
  }
  bool make_room(Space space, int64_t now_tick) {
    if (space == Space::negative) {
      if (options.negative == 0) return false;
      if (negatives.size() >= options.negative) evict_negative();
      return true;
    }
    return entries.load(std::memory_order_relaxed) < options.sessions || evict_session(now_tick);
  }
  // A slot for a new key, dead and empty; -1 when there is no room.
  int32_t insert(const SessionKey& key, Space space, int64_t now_tick) {
    reclaim();
    if (!make_room(space, now_tick)) return -1;
    const int32_t slot = rte_hash_add_key_with_hash(hash, &key, key_bits(key));
    if (slot < 0) return -1;
    // The first entry after an empty time: nothing older is there to be swept.
    if (entries.load(std::memory_order_relaxed) + negatives.size() == 0) {
      swept.store(now_tick, std::memory_order_relaxed);
      round_began = now_tick;
      cursor = 0;
    }
    cold[size_t(slot)].used = true;
    return slot;
  }

  // --- words ---
  std::optional<uint32_t> destination_for(const CacheEntry& e) {
    switch (e.target) {
      case CacheTarget::drop: return kDrop;
      case CacheTarget::stateless: return kStateless;
      case CacheTarget::negative: return kNegative;
      case CacheTarget::unavailable: return kUnavailable;
      case CacheTarget::member: break;
    }
    if (auto known = destination_of.find(e.member.value); known != destination_of.end()) return known->second;
    if (destinations == kDestinations) return std::nullopt;
    members[destinations].store(e.member.value, std::memory_order_relaxed);
    destination_of.emplace(e.member.value, destinations);
    return destinations++;
  }
  // A lease is rounded down, a tombstone up; neither beyond what a word can tell (sweep() goes on with it then).
  int64_t expiry_tick(uint32_t destination, Instant ends, int64_t now_tick) const {
    return std::min(tick(ends) + (destination == kDrop ? 1 : 0), now_tick + kTickWindow - 1);
  }
  // Replaces whatever the slot says. The slot has left its former space.
  void write(uint32_t slot, uint32_t destination, const CacheEntry& e, const Version& version, int64_t now_tick) {
    Cold& c = cold[slot];
    c.ends = e.ends;
    c.set_version(version);
    c.group = e.group.value;
    c.member = e.member.value;
    c.removed = e.removed;
    c.rate = 0;
    const bool lease = destination == kStateless || destination >= kFirstMember;
    const bool bounded = lease && e.bytes != UINT64_MAX;
    const uint64_t field = bounded ? std::min(e.bytes, kWordBytesMax) : kWordBytesMax;
    c.reserve = bounded ? e.bytes - field : 0;
    c.sampled_bytes = uint32_t(field);
    c.sampled_tick = uint32_t(now_tick);
    const int64_t expiry = expiry_tick(destination, e.ends, now_tick);
    arm(slot, now_tick, expiry, field, e.bytes != 0);
    hot[slot].word.store(make_word(destination, expiry, bounded ? 0 : kUnlimitedFlag, field),
                         std::memory_order_release);
    enter(slot, destination == kNegative ? Space::negative : Space::session);
  }
  // Before the word, so that a reader never meets a renewed word with halves that are long over.
  void arm(uint32_t slot, int64_t now_tick, int64_t expiry, uint64_t field, bool may_ask) {
    hot[slot].halves.store(make_halves(now_tick + (expiry - now_tick) / 2, may_ask ? kMayAskFlag : 0, field / 2),
                           std::memory_order_relaxed);
  }
  // Adds `granted` to what is left, as far as the word has room; the rest goes to the reserve. Sets the end and the
  // flags, and forgets that it was asked for.
  void add(uint32_t slot, uint64_t granted, bool bounded, int64_t expiry, int64_t half_tick, bool may_ask) {
    Cold& c = cold[slot];
    uint64_t w = hot[slot].word.load(std::memory_order_acquire), next, field, total;
    do {
      const bool was_bounded = !(w & kUnlimitedFlag);
      total = was_bounded && bounded ? add_saturating(add_saturating(word_bytes(w), c.reserve), granted) : granted;
      field = bounded ? std::min(total, kWordBytesMax) : word_bytes(w);
      hot[slot].halves.store(make_halves(half_tick, may_ask ? kMayAskFlag : 0, field / 2), std::memory_order_relaxed);
      next = make_word(word_destination(w), expiry, bounded ? 0 : kUnlimitedFlag, field);
    } while (!hot[slot].word.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_acquire));
    c.reserve = bounded ? total - field : 0;
    c.sampled_bytes += uint32_t(field) - uint32_t(word_bytes(w));  // the rate sees what was spent, not what was added
  }
  // The expiry that the slot's word stands for, as a whole tick.
  int64_t expiry_of(uint32_t slot, int64_t now_tick) const {
    return now_tick + ticks_ahead(hot[slot].word.load(std::memory_order_relaxed), uint32_t(now_tick));
  }
  int64_t half_of(uint32_t slot, int64_t now_tick) const {
    return now_tick + ticks_ahead(hot[slot].halves.load(std::memory_order_relaxed), uint32_t(now_tick));
  }
  bool top_up(uint32_t slot, int64_t now_tick) {
    const uint32_t d = destination(slot);
    if ((d != kStateless && d < kFirstMember) || cold[slot].reserve == 0) return false;
    add(slot, 0, true, expiry_of(slot, now_tick), half_of(slot, now_tick), true);
    return true;
  }

  void renew(uint32_t slot, const CacheEntry& e, int64_t now_tick) {
    Cold& c = cold[slot];
    const bool newer = is_newer(e.version, e.member.value, c);
    c.set_version(e.version);
    if (e.bytes != 0) c.ends = newer ? e.ends : std::max(c.ends, e.ends);  // "no bytes" is no lease: no time with it
    const int64_t expiry = expiry_tick(destination(slot), c.ends, now_tick);
    const bool was_unlimited = hot[slot].word.load(std::memory_order_relaxed) & kUnlimitedFlag;
    const bool bounded = e.bytes != UINT64_MAX && !(e.bytes == 0 && was_unlimited);
    const int64_t asked_until =
        e.bytes != 0 ? expiry : std::min(expiry, tick(e.ends));  // when to see if it has bytes again
    add(slot, bounded ? e.bytes : 0, bounded, expiry, now_tick + (asked_until - now_tick) / 2, e.bytes != 0);
  }

  enum class Ruling { ignore, replace, renew };
  // What a put does to a live entry: the rules of the header.
  Ruling rule(uint32_t slot, const CacheEntry& e, uint32_t new_destination) const {
    const Cold& c = cold[slot];
    const uint32_t old = destination(slot);
    const bool older = is_older(e.version, e.member.value, c);
    if (old == kDrop) {
      if (e.target == CacheTarget::drop) {
        if (e.removed && !c.removed) return Ruling::ignore;  // a revocation stands
        if (e.removed == c.removed && older) return Ruling::ignore;
        return Ruling::replace;
      }
      const bool lease = e.target == CacheTarget::member || e.target == CacheTarget::stateless;
      return lease && c.removed && is_newer(e.version, e.member.value, c) ? Ruling::replace : Ruling::ignore;
    }
    if (e.target == CacheTarget::drop && !e.removed) return Ruling::replace;
    if (e.target == CacheTarget::negative) {
      return old == kNegative || old == kFloor ? Ruling::replace : Ruling::ignore;
    }
    if (older) return Ruling::ignore;
    const bool lease = old == kStateless || old >= kFirstMember;
    return lease && old == new_destination ? Ruling::renew : Ruling::replace;
  }

  // One step of a sweep: frees the entry if it is over (true), else sets its word to what the cold end says: an end
  // that lies beyond the window comes nearer, and after a long pause the word alone cannot tell.
  bool inspect(uint32_t slot, Instant now, int64_t now_tick) {
    const bool stale = is_stale(now_tick);
    uint64_t w = hot[slot].word.load(std::memory_order_relaxed);
    if (stale ? cold[slot].ends <= now : !is_live(w, uint32_t(now_tick))) {
      erase(slot);
      return true;
    }
    rate(slot, now_tick);
    const int64_t expiry = expiry_tick(word_destination(w), cold[slot].ends, now_tick);
    while ((stale || expiry > now_tick + ticks_ahead(w, uint32_t(now_tick))) &&
           !hot[slot].word.compare_exchange_weak(
               w, make_word(word_destination(w), expiry, w & (kAskedFlag | kUnlimitedFlag), word_bytes(w)),
               std::memory_order_acq_rel)) {}
    if (word_bytes(w) < kWordBytesMax / 2) top_up(slot, now_tick);
    return false;
  }

  std::optional<CacheEntry> entry_at(uint32_t slot, int64_t now_tick) const {
    if (!live(slot, now_tick)) return std::nullopt;
    const uint64_t w = hot[slot].word.load(std::memory_order_acquire);
    const Cold& c = cold[slot];
    CacheEntry e{
        .member = {c.member}, .group = {c.group}, .version = c.version(), .ends = c.ends, .removed = c.removed};
    switch (word_destination(w)) {
      case kDead:
      case kFloor: return std::nullopt;
      case kDrop: e.target = CacheTarget::drop; break;
      case kStateless: e.target = CacheTarget::stateless; break;
      case kNegative: e.target = CacheTarget::negative; break;
      case kUnavailable: e.target = CacheTarget::unavailable; break;
      default: e.target = CacheTarget::member; break;
    }
    if (!(w & kUnlimitedFlag)) e.bytes = add_saturating(word_bytes(w), c.reserve);
    return e;
  }
};

}  // namespace statecast
