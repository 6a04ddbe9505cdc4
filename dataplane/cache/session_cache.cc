// SPDX-License-Identifier: BSD-3-Clause
// The problem: find and debit a lease per packet from several cores while one thread adds, renews and drops entries.
// The choice: rte_hash finds the slot; what a packet reads and debits is one 64-bit word per slot, by compare-and-swap.
// A slot is named dead (word 0) before its key leaves the hash, and its position is used again only when every reader
// has been quiescent since, so a reader that still holds the position meets a dead word and never another session's.
// Rejected: fetch_sub on the byte field (a borrow would run into the neighbours, or bytes pass beyond the bound), and
// the rest of a grant in the word's unit of 16 bytes (rounding would cost small packets three times their size).
// Measured effect: see bench/session_cache_bench.cc.
#include "dataplane/cache/session_cache.h"

#include <rte_errno.h>
#include <rte_prefetch.h>

#include <new>
#include <string>

#include "dataplane/cache/session_state.h"

namespace statecast {
namespace {
uint32_t hash_function(const void* key, uint32_t, uint32_t) {
  SessionKey k;
  std::memcpy(&k, key, sizeof k);
  return key_bits(k);
}

// One packet against one entry: the only place where packets change a word.
CacheHit spend(Hot& hot, uint32_t bytes, uint32_t tick, const std::atomic<uint32_t>* members) {
  uint64_t w = hot.word.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t destination = word_destination(w);
    if (destination <= kFloor) return {CacheVerdict::miss, {}, false};
    if (!is_live(w, tick)) return {destination == kNegative ? CacheVerdict::miss : CacheVerdict::expired, {}, false};
    CacheHit hit;
    uint64_t next = w;
    const uint64_t left = word_bytes(w);
    switch (destination) {
      case kNegative: return {CacheVerdict::negative, {}, false};
      case kUnavailable: return {CacheVerdict::unavailable, {}, false};
      case kDrop:  // counted all the same: what is still attacked keeps its place
        hit.verdict = CacheVerdict::drop;
        next = (w & ~kWordBytesMax) | ((left - bytes) & kWordBytesMax);
        break;
      default: {
        hit.verdict = destination == kStateless ? CacheVerdict::stateless : CacheVerdict::forward;
        const bool bounded = !(w & kUnlimitedFlag);
        if (bounded && (bytes > left || left == 0)) {
          hit.verdict = CacheVerdict::spent;
        } else {
          next = (w & ~kWordBytesMax) | ((left - bytes) & kWordBytesMax);
        }
        if (bytes != 0 && !(w & kAskedFlag)) {
          const uint64_t halves = hot.halves.load(std::memory_order_relaxed);
          const bool bytes_low = bounded && (halves & kMayAskFlag) &&
                                 (hit.verdict == CacheVerdict::spent || word_bytes(next) <= word_bytes(halves));
          hit.ask_again = bytes_low || ticks_ahead(halves, tick) <= 0;
          if (hit.ask_again) next |= kAskedFlag;
        }
        if (destination >= kFirstMember) hit.member = {members[destination].load(std::memory_order_relaxed)};
      }
    }
    if (next == w || hot.word.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return hit;
    }
  }
}

}  // namespace

SessionCache::SessionCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
SessionCache::~SessionCache() = default;

Result<std::unique_ptr<SessionCache>> SessionCache::create(const SessionCacheOptions& options) {
  if (options.sessions == 0 || options.sessions > RTE_HASH_ENTRIES_MAX / 4 ||
      options.negative > RTE_HASH_ENTRIES_MAX / 4 || options.readers == 0) {
    return fail(Code::invalid, "session cache: sessions, negative entries or readers out of range");
  }
  static std::atomic<uint32_t> made{0};
  const std::string name = "session_cache_" + std::to_string(made.fetch_add(1));
  auto s = std::make_unique<State>(options);
  // Beyond what may be in use: slots whose keys have gone but which a reader may still look at.
  const uint32_t waiting = std::clamp<uint32_t>(options.sessions / 8, 64, 16'384);
  const uint32_t slots = options.sessions + options.negative + waiting;

  rte_hash_parameters p{};
  p.name = name.c_str();
  p.entries = slots;
  p.key_len = sizeof(SessionKey);
  p.hash_func = hash_function;
  p.socket_id = SOCKET_ID_ANY;
  // Extendable buckets: an insert fails for want of slots only, never for want of a place near its hash.
  p.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  s->hash = rte_hash_create(&p);
  if (!s->hash) return fail(Code::system, "session cache: rte_hash_create: " + std::string(rte_strerror(rte_errno)));

  s->rcu = static_cast<rte_rcu_qsbr*>(
      rte_zmalloc(name.c_str(), rte_rcu_qsbr_get_memsize(options.readers), RTE_CACHE_LINE_SIZE));
  s->hot = static_cast<Hot*>(rte_zmalloc(name.c_str(), sizeof(Hot) * slots, RTE_CACHE_LINE_SIZE));
  if (!s->rcu || !s->hot) {
    return fail(Code::system, "session cache: no memory for " + std::to_string(slots) + " slots; raise memory_mb");
  }
  rte_rcu_qsbr_init(s->rcu, options.readers);
  for (uint32_t i = 0; i < slots; ++i) new (&s->hot[i]) Hot;
  s->cold.resize(slots);
  s->negatives.reserve(options.negative);
  s->members = std::make_unique<std::atomic<uint32_t>[]>(kDestinations);
  return std::unique_ptr<SessionCache>(new SessionCache(std::move(s)));
}

void SessionCache::register_reader(unsigned reader) {
  rte_rcu_qsbr_thread_register(state_->rcu, reader);
  rte_rcu_qsbr_thread_online(state_->rcu, reader);
}
void SessionCache::unregister_reader(unsigned reader) {
  rte_rcu_qsbr_thread_offline(state_->rcu, reader);
  rte_rcu_qsbr_thread_unregister(state_->rcu, reader);
}
void SessionCache::quiescent(unsigned reader) {
  rte_rcu_qsbr_quiescent(state_->rcu, reader);
}

void SessionCache::prefetch(const SessionKey[], size_t) const {}

void SessionCache::lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]) {
  if (n == 0) return;
  State& s = *state_;
  const void* key_at[kCacheBurstMax];
  hash_sig_t bits[kCacheBurstMax];
  int32_t slots[kCacheBurstMax];
  for (size_t i = 0; i < n; ++i) {
    key_at[i] = &keys[i];
    bits[i] = key_bits(keys[i]);
  }
  rte_hash_lookup_with_hash_bulk(s.hash, key_at, bits, uint32_t(n), slots);
  for (size_t i = 0; i < n; ++i) {
    if (slots[i] >= 0) rte_prefetch0(&s.hot[slots[i]]);
  }
  const int64_t now_tick = s.tick(now);
  const bool stale = s.is_stale(now_tick);
  for (size_t i = 0; i < n; ++i) {
    if (slots[i] < 0) {
      out[i] = {};
    } else if (stale) {
      out[i] = {CacheVerdict::expired, {}, false};
    } else {
      out[i] = spend(s.hot[slots[i]], bytes[i], uint32_t(now_tick), s.members.get());
    }
  }
}

bool SessionCache::put(const SessionKey& key, const CacheEntry& entry, Instant now) {
  State& s = *state_;
  const int64_t now_tick = s.tick(now);
  // A tombstone that is as good as over still ends the lease that stands there.
  CacheEntry e = entry;
  if (e.target == CacheTarget::drop) e.ends = std::max(e.ends, now);
  const auto destination = s.destination_for(e);
  if (!destination || s.expiry_tick(*destination, e.ends, now_tick) <= now_tick) return false;

  int32_t slot = s.slot_of(key);
  Version version = e.version;
  if (slot >= 0) {
    const auto at = uint32_t(slot);
    if (s.live(at, now_tick)) {
      switch (s.rule(at, e, *destination)) {
        case State::Ruling::ignore: return false;
        case State::Ruling::renew: s.renew(at, e, now_tick); return true;
        case State::Ruling::replace: break;
      }
      // The floor that a purge has left goes on under a negative entry; a revocation keeps the newest version it met.
      if (e.target == CacheTarget::negative || e.target == CacheTarget::drop) {
        version = std::max(version, s.cold[at].version());
      }
      if (e.target == CacheTarget::drop && s.destination(at) == kDrop) e.ends = std::max(e.ends, s.cold[at].ends);
    }
    if (s.space(at) != space_of(e.target) && !s.make_room(space_of(e.target), now_tick)) {
      s.erase(at);  // what stands there is superseded all the same
      s.insert_failed.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    s.leave(at, s.space(at));
  }
  if (slot < 0) slot = s.insert(key, space_of(e.target), now_tick);
  if (slot < 0) {
    s.insert_failed.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  s.write(uint32_t(slot), *destination, e, version, now_tick);
  return true;
}

bool SessionCache::remove_if_not_newer(const SessionKey& key, const Version& version, Instant now,
                                       Tombstones tombstones) {
  State& s = *state_;
  const int64_t now_tick = s.tick(now);
  int32_t slot = s.slot_of(key);
  bool dropped = false;
  CacheEntry floor{.version = version, .ends = now + s.options.floor_time};
  if (slot >= 0) {
    const auto at = uint32_t(slot);
    const Cold& c = s.cold[at];
    if (s.live(at, now_tick)) {
      if (c.version() > version) return false;
      if (s.destination(at) == kDrop) {
        if (tombstones == Tombstones::keep) return false;
        s.erase(at);  // what was lifted may come back as it was: no floor
        return true;
      }
      dropped = s.destination(at) != kFloor;
    }
    floor.group = {c.group};
    if (s.space(at) == Space::negative) {
      s.erase(at);
      slot = -1;
    } else {
      s.leave(at, Space::session);
    }
  }
  if (slot < 0) slot = s.insert(key, Space::session, now_tick);
  if (slot >= 0) s.write(uint32_t(slot), kFloor, floor, version, now_tick);
  return dropped;
}

bool SessionCache::remove_negative(const SessionKey& key) {
  State& s = *state_;
  const int32_t slot = s.slot_of(key);
  if (slot < 0 || s.destination(uint32_t(slot)) != kNegative) return false;
  s.erase(uint32_t(slot));
  return true;
}

bool SessionCache::refill(const SessionKey& key, Instant now) {
  State& s = *state_;
  const int64_t now_tick = s.tick(now);
  const int32_t slot = s.slot_of(key);
  if (slot < 0 || !s.live(uint32_t(slot), now_tick)) return false;
  const bool time_left = s.half_of(uint32_t(slot), now_tick) > now_tick;
  return s.top_up(uint32_t(slot), now_tick) && time_left;
}

std::optional<CacheEntry> SessionCache::find(const SessionKey& key, Instant now) const {
  const int32_t slot = state_->slot_of(key);
  return slot < 0 ? std::nullopt : state_->entry_at(uint32_t(slot), state_->tick(now));
}

size_t SessionCache::sweep(size_t count, Instant now) {
  State& s = *state_;
  const int64_t now_tick = s.tick(now);
  size_t freed = 0;
  s.reclaim();
  for (size_t i = 0; i < count; ++i) {
    const auto slot = uint32_t(s.cursor);
    if (s.cold[slot].used && s.inspect(slot, now, now_tick)) ++freed;
    if (++s.cursor == s.cold.size()) {
      s.cursor = 0;
      s.swept.store(s.round_began, std::memory_order_relaxed);
      s.round_began = now_tick;
    }
  }
  return freed;
}

size_t SessionCache::slots() const {
  return state_->cold.size();
}

void SessionCache::for_each(const std::function<void(const SessionKey&, const CacheEntry&)>& f, Instant now) const {
  const int64_t now_tick = state_->tick(now);
  for (uint32_t slot = 0; slot < state_->cold.size(); ++slot) {
    if (!state_->cold[slot].used) continue;
    if (auto e = state_->entry_at(slot, now_tick)) f(state_->key_at(slot), *e);
  }
}

SessionCache::Stats SessionCache::stats() const {
  constexpr auto relaxed = std::memory_order_relaxed;
  return {state_->entries.load(relaxed), state_->negative.load(relaxed), state_->evicted.load(relaxed),
          state_->insert_failed.load(relaxed)};
}

}  // namespace statecast
