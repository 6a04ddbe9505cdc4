// SPDX-License-Identifier: BSD-3-Clause
// SessionLedger, the second half of its functions: what a put, a renewal, a purge and a sweep make of words and marks.
//
// A word is stored where it replaces what stood there, and changed by compare-and-swap where what packets spend
// meanwhile has to count. Marks are stored before the word that they belong to, so that a reader never meets a renewed
// word with marks of the lease before.
// Threads, ownership: see session_ledger.h, which includes this.
#pragma once

#include "dataplane/cache/session_ledger.h"

namespace statecast {

// ---- versions ----

// Is `a` older than what stands there? Between two members only the term counts.
template <class Table>
bool SessionLedger<Table>::is_older(const Version& a, MemberId member, uint32_t slot) const {
  const MemberId owner = destinations_.member(destination(slot));
  if (member.value != 0 && owner.value != 0 && member != owner) return a.term < cold_[slot].term;
  return a < cold_[slot].version();
}
template <class Table>
bool SessionLedger<Table>::is_newer(const Version& a, MemberId member, uint32_t slot) const {
  const MemberId owner = destinations_.member(destination(slot));
  if (member.value != 0 && owner.value != 0 && member != owner) return a.term > cold_[slot].term;
  return a > cold_[slot].version();
}

template <class Table>
auto SessionLedger<Table>::rule(uint32_t slot, const CacheEntry& e, uint32_t new_destination) const -> Ruling {
  const WordTarget old = target(slot);
  const bool older = is_older(e.version, e.member, slot);
  const bool removed = cold_[slot].removed;
  if (old == WordTarget::drop) {
    if (e.target == CacheTarget::drop) {
      if (e.removed && !removed) return Ruling::ignore;  // a revocation stands
      if (e.removed == removed && older) return Ruling::ignore;
      return Ruling::replace;
    }
    return is_lease(word_target(e.target)) && removed && is_newer(e.version, e.member, slot) ? Ruling::replace
                                                                                             : Ruling::ignore;
  }
  if (e.target == CacheTarget::drop && !e.removed) return Ruling::replace;
  if (e.target == CacheTarget::negative) {
    return old == WordTarget::negative || old == WordTarget::floor ? Ruling::replace : Ruling::ignore;
  }
  if (older) return Ruling::ignore;
  return is_lease(old) && destination(slot) == new_destination ? Ruling::renew : Ruling::replace;
}

// ---- words ----

// A lease is rounded down, a tombstone up.
template <class Table>
int64_t SessionLedger<Table>::ends_of(WordTarget target, Instant t) const {
  const Duration d = t - options_.zero;
  const int64_t ms = (target == WordTarget::drop ? std::chrono::ceil<std::chrono::milliseconds>(d)
                                                 : std::chrono::floor<std::chrono::milliseconds>(d))
                         .count();
  return std::clamp<int64_t>(ms, 0, kEndsMax);
}
template <class Table>
int64_t SessionLedger<Table>::ends_tick(WordTarget target, int64_t ends) {
  return (Duration(std::chrono::milliseconds(ends)).count() >> kTickBits) + (target == WordTarget::drop ? 1 : 0);
}

template <class Table>
void SessionLedger<Table>::set_reserve(uint32_t slot, uint64_t bytes) {
  if (bytes != 0) {
    reserves_[slot] = bytes;
  } else if (cold_[slot].reserved) {
    reserves_.erase(slot);
  }
  cold_[slot].reserved = bytes != 0;
}

// Replaces whatever the slot says. The slot has left its former space.
template <class Table>
void SessionLedger<Table>::write(uint32_t slot, uint32_t destination, int64_t ends, uint64_t bytes, bool removed,
                                 const Version& version, int64_t now_tick) {
  Cold& c = cold_[slot];
  const WordTarget to = destinations_.target(destination);
  const bool bounded = is_lease(to) && bytes != UINT64_MAX;
  const uint64_t field = bounded ? std::min(bytes, kWordBytesMax) : kWordBytesMax;
  set_reserve(slot, bounded ? bytes - field : 0);
  c.set_version(version);
  c.set_ends(ends);
  c.removed = removed;
  c.rate = 0;
  c.sampled = uint32_t(field >> kSampledBytesBits);
  c.sampled_at = uint8_t(now_tick >> kSampledTickBits);
  const int64_t expiry = expiry_tick(to, ends, now_tick);
  const int64_t half = expiry - now_tick - (expiry - now_tick) / 2;
  table_.set_marks(slot,
                   bytes != 0 ? time_mark(half, Round::up) + bytes_mark(field / 2) : time_mark(half, Round::down));
  table_.word(slot).store(
      make_word(destination, expiry, (bounded ? 0 : kUnlimitedFlag) | (word(slot) & kSaltMask), field),
      std::memory_order_release);
  enter(slot);
}

// Adds `granted` to what is left, as far as the word has room; the rest goes to the reserve. Sets the end and the
// flags, and forgets that it was asked for.
template <class Table>
void SessionLedger<Table>::add(uint32_t slot, uint64_t granted, bool bounded, int64_t expiry, uint32_t time_mark_code,
                               bool may_ask) {
  std::atomic<uint64_t>& at = table_.word(slot);
  const uint64_t in_reserve = reserve(slot);
  uint64_t w = at.load(std::memory_order_acquire), next, field, total;
  do {
    const bool was_bounded = !(w & kUnlimitedFlag);
    total = was_bounded && bounded ? add_saturating(add_saturating(word_bytes(w), in_reserve), granted) : granted;
    field = bounded ? std::min(total, kWordBytesMax) : word_bytes(w);
    table_.set_marks(slot, time_mark_code + (may_ask ? bytes_mark(field / 2) : 0));
    next = make_word(word_destination(w), expiry, (bounded ? 0 : kUnlimitedFlag) | (w & kSaltMask), field);
  } while (!at.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_acquire));
  set_reserve(slot, bounded ? total - field : 0);
  // The rate sees what was spent, not what was added.
  cold_[slot].sampled += uint32_t(field >> kSampledBytesBits) - uint32_t(word_bytes(w) >> kSampledBytesBits);
}

template <class Table>
bool SessionLedger<Table>::top_up(uint32_t slot, int64_t now_tick) {
  if (!is_lease(target(slot)) || !cold_[slot].reserved) return false;
  add(slot, 0, true, expiry_of(slot, now_tick), only_time_mark(table_.marks(slot)), true);
  return true;
}

template <class Table>
void SessionLedger<Table>::renew(uint32_t slot, const CacheEntry& e, int64_t now_tick) {
  Cold& c = cold_[slot];
  const bool newer = is_newer(e.version, e.member, slot);
  const WordTarget to = target(slot);
  const int64_t ends = ends_of(to, e.ends);
  c.set_version(e.version);
  if (e.bytes != 0) c.set_ends(newer ? ends : std::max(c.ends(), ends));  // "no bytes" is no lease: no time with it
  const int64_t expiry = expiry_tick(to, c.ends(), now_tick);
  const bool bounded = e.bytes != UINT64_MAX && !(e.bytes == 0 && (word(slot) & kUnlimitedFlag));
  // When to see whether it has bytes again: after half of what was said, rather than before.
  const int64_t asked_until = e.bytes != 0 ? expiry : std::min(expiry, ends_tick(to, ends));
  const int64_t half = expiry - now_tick - (asked_until - now_tick) / 2;
  add(slot, bounded ? e.bytes : 0, bounded, expiry, time_mark(half, e.bytes != 0 ? Round::up : Round::down),
      e.bytes != 0);
}

// One step of a sweep: frees the entry if it is over (true), else sets its word to what the cold end says: an end that
// lies beyond the window comes nearer, and after a long pause the word alone cannot tell.
template <class Table>
bool SessionLedger<Table>::inspect(uint32_t slot, int64_t now_tick) {
  const bool stale = is_stale(now_tick);
  std::atomic<uint64_t>& at = table_.word(slot);
  uint64_t w = at.load(std::memory_order_relaxed);
  const WordTarget to = target(slot);
  if (stale ? ends_tick(to, cold_[slot].ends()) <= now_tick : !is_live(w, uint32_t(now_tick))) {
    erase(slot);
    return true;
  }
  if (to != WordTarget::negative) rate(slot, now_tick);
  const int64_t expiry = expiry_tick(to, cold_[slot].ends(), now_tick);
  const int64_t further = stale ? 0 : expiry - now_tick - ticks_ahead(w, uint32_t(now_tick));
  if (stale || further > 0) {
    // The marks count back from the expiry; when to ask stays where it was. (Nobody knows after a pause: at half,
    // then.)
    const uint32_t marks = table_.marks(slot);
    const int64_t before_end = stale ? (expiry - now_tick) / 2 : marks_ticks(marks) + further;
    table_.set_marks(slot, time_mark(std::min(before_end, kTickWindow), Round::up) + marks % kTimeMarkUnit);
    constexpr uint64_t kKept = kAskedFlag | kUnlimitedFlag | kSaltMask;
    while (!at.compare_exchange_weak(w, make_word(word_destination(w), expiry, w & kKept, word_bytes(w)),
                                     std::memory_order_acq_rel)) {}
  }
  if (word_bytes(w) < kWordBytesMax / 2) top_up(slot, now_tick);
  return false;
}

// ---- SessionCache's calls ----

template <class Table>
bool SessionLedger<Table>::put(const SessionKey& key, const CacheEntry& e, Instant now) {
  const int64_t now_tick = tick(now);
  const WordTarget to = word_target(e.target);
  const auto named = destinations_.intern(to, e.member, e.group);
  // A tombstone that is as good as over still ends the lease that stands there.
  int64_t ends = ends_of(to, to == WordTarget::drop ? std::max(e.ends, now) : e.ends);
  if (!named || ends_tick(to, ends) <= now_tick) return false;

  uint32_t near[kCandidatesMax];
  if (table_.candidates(key, near) != 0) {  // the cold part is loaded while the table is searched
    __builtin_prefetch(&cold_[near[0]], 1);
    __builtin_prefetch(&cold_[near[3]], 1);
  }
  int64_t slot = table_.find(key);
  Version version = e.version;
  if (slot >= 0) {
    const auto at = uint32_t(slot);
    if (live(at, now_tick)) {
      switch (rule(at, e, *named)) {
        case Ruling::ignore: return false;
        case Ruling::renew: renew(at, e, now_tick); return true;
        case Ruling::replace: break;
      }
      // The floor that a purge has left goes on under a negative entry; a revocation keeps the newest version it met.
      if (to == WordTarget::negative || to == WordTarget::drop) version = std::max(version, cold_[at].version());
      if (to == WordTarget::drop && target(at) == WordTarget::drop) ends = std::max(ends, cold_[at].ends());
    }
    const Space to_space = to == WordTarget::negative ? Space::negative : Space::session;
    if (space(at) != to_space && !make_room(to_space, now_tick)) {
      erase(at);  // what stands there is superseded all the same
      count(insert_failed_, 1);
      return false;
    }
    leave(at);
  } else {
    slot = insert(key, to == WordTarget::negative ? Space::negative : Space::session, now_tick);
  }
  if (slot < 0) {
    count(insert_failed_, 1);
    return false;
  }
  write(uint32_t(slot), *named, ends, e.bytes, e.removed, version, now_tick);
  return true;
}

template <class Table>
bool SessionLedger<Table>::remove_if_not_newer(const SessionKey& key, const Version& version, Instant now,
                                               Tombstones tombstones) {
  const int64_t now_tick = tick(now);
  int64_t slot = table_.find(key);
  bool dropped = false;
  GroupId group;
  if (slot >= 0) {
    const auto at = uint32_t(slot);
    const WordTarget was = target(at);
    if (live(at, now_tick)) {
      if (cold_[at].version() > version) return false;
      if (was == WordTarget::drop) {
        if (tombstones == Tombstones::keep) return false;
        erase(at);  // what was lifted may come back as it was: no floor
        return true;
      }
      dropped = was != WordTarget::floor;
    }
    group = {destinations_.group(destination(at)).id};
  }
  const auto floor = destinations_.intern(WordTarget::floor, {}, group);
  if (slot >= 0 && (!floor || target(uint32_t(slot)) == WordTarget::negative)) {
    erase(uint32_t(slot));
    slot = -1;
  } else if (slot >= 0) {
    leave(uint32_t(slot));
  }
  if (slot < 0 && floor) slot = insert(key, Space::session, now_tick);
  if (slot < 0) return dropped;
  write(uint32_t(slot), *floor, ends_of(WordTarget::floor, now + options_.floor_time), UINT64_MAX, false, version,
        now_tick);
  return dropped;
}

template <class Table>
bool SessionLedger<Table>::remove_negative(const SessionKey& key) {
  const int64_t slot = table_.find(key);
  if (slot < 0 || target(uint32_t(slot)) != WordTarget::negative) return false;
  erase(uint32_t(slot));
  return true;
}

template <class Table>
bool SessionLedger<Table>::refill(const SessionKey& key, Instant now) {
  const int64_t now_tick = tick(now);
  const int64_t slot = table_.find(key);
  if (slot < 0 || !live(uint32_t(slot), now_tick)) return false;
  const bool time_left =
      ticks_ahead(word(uint32_t(slot)), uint32_t(now_tick)) > marks_ticks(table_.marks(uint32_t(slot)));
  return top_up(uint32_t(slot), now_tick) && time_left;
}

template <class Table>
std::optional<CacheEntry> SessionLedger<Table>::find(const SessionKey& key, Instant now) const {
  const int64_t at = table_.find(key);
  if (at < 0 || !live(uint32_t(at), tick(now))) return std::nullopt;
  const auto slot = uint32_t(at);
  const uint64_t w = table_.word(slot).load(std::memory_order_acquire);
  const uint32_t d = word_destination(w);
  CacheEntry e{.member = destinations_.member(d),
               .group = {destinations_.group(d).id},
               .version = cold_[slot].version(),
               .ends = options_.zero + std::chrono::milliseconds(cold_[slot].ends()),
               .removed = cold_[slot].removed != 0};
  switch (destinations_.target(d)) {
    case WordTarget::none:
    case WordTarget::floor: return std::nullopt;
    case WordTarget::drop: e.target = CacheTarget::drop; break;
    case WordTarget::stateless: e.target = CacheTarget::stateless; break;
    case WordTarget::negative: e.target = CacheTarget::negative; break;
    case WordTarget::unavailable: e.target = CacheTarget::unavailable; break;
    case WordTarget::member: e.target = CacheTarget::member; break;
  }
  if (!(w & kUnlimitedFlag)) e.bytes = add_saturating(word_bytes(w), reserve(slot));
  return e;
}

template <class Table>
size_t SessionLedger<Table>::sweep(size_t count, Instant now) {
  const int64_t now_tick = tick(now);
  size_t freed = 0;
  table_.reclaim();
  while (count > 0) {
    const size_t end = std::min(cursor_ + count, used_.size());
    const size_t slot = used_.next(cursor_, end);
    if (slot < end && inspect(uint32_t(slot), now_tick)) ++freed;
    const size_t next = std::min(slot + 1, end);
    count -= next - cursor_;
    cursor_ = next;
    if (cursor_ < used_.size()) continue;
    cursor_ = 0;
    swept_.store(round_began_, std::memory_order_relaxed);
    round_began_ = now_tick;
  }
  return freed;
}

}  // namespace statecast
