// SPDX-License-Identifier: BSD-3-Clause
// SessionLedger, the first half of its functions: who stands where, and who has to go when there is no room.
//
// Lowest recent rate goes first, of a sample, groups beyond their fair share before all others. A newcomer has a short
// past and is measured over a whole window, which discounts it: a flood of one-packet sessions pushes out itself.
// Threads, ownership: see session_ledger.h, which includes this.
#pragma once

#include "dataplane/cache/session_ledger.h"

namespace statecast {

// The slot's word names its destination when it enters, and still does when it leaves.
template <class Table>
void SessionLedger<Table>::enter(uint32_t slot) {
  if (space(slot) == Space::negative) {
    cold_[slot].sampled = uint32_t(negatives_.size());
    negatives_.push_back(slot);
    negative_.store(negatives_.size(), std::memory_order_relaxed);
  } else {
    if (destinations_.group(destination(slot)).entries++ == 0) ++groups_;
    count(entries_, 1);
  }
}

template <class Table>
void SessionLedger<Table>::leave(uint32_t slot) {
  if (space(slot) == Space::negative) {
    const uint32_t last = negatives_.back();
    negatives_[cold_[slot].sampled] = last;
    cold_[last].sampled = cold_[slot].sampled;
    negatives_.pop_back();
    negative_.store(negatives_.size(), std::memory_order_relaxed);
  } else {
    if (--destinations_.group(destination(slot)).entries == 0) --groups_;
    count(entries_, -1);
  }
}

template <class Table>
void SessionLedger<Table>::erase(uint32_t slot) {
  leave(slot);
  set_reserve(slot, 0);
  cold_[slot] = {};
  used_.clear(slot);
  table_.erase(slot);
}

// A slot for a new key, dead and empty; -1 when there is no room.
template <class Table>
int64_t SessionLedger<Table>::insert(const SessionKey& key, Space space, int64_t now_tick) {
  table_.reclaim();
  if (!make_room(space, now_tick)) return -1;
  int64_t slot = place(key, now_tick);
  if (slot < 0 && evict_near(key, space, now_tick)) slot = place(key, now_tick);
  if (slot < 0) return -1;
  // The first entry after an empty time: nothing older is there to be swept.
  if (entries_.load(std::memory_order_relaxed) + negatives_.size() == 0) {
    swept_.store(now_tick, std::memory_order_relaxed);
    round_began_ = now_tick;
    cursor_ = 0;
  }
  used_.set(size_t(slot));
  return slot;
}

// Asks the table for a slot; what it had to move for that takes its cold part along.
template <class Table>
int64_t SessionLedger<Table>::place(const SessionKey& key, int64_t now_tick) {
  SlotMoves moves;
  const int64_t slot = table_.insert(key, moves);
  for (unsigned i = 0; i < moves.n; ++i) {
    const auto [from, to] = moves.at[i];
    cold_[to] = cold_[from];
    cold_[from] = {};
    used_.set(to);
    used_.clear(from);
    if (cold_[to].reserved) {
      auto node = reserves_.extract(from);
      node.key() = to;
      reserves_.insert(std::move(node));
    }
    if (space(to) == Space::negative) negatives_[cold_[to].sampled] = to;
  }
  // Past the sweep, which was still to come by: those are looked at here.
  for (unsigned i = 0; i < moves.n; ++i) {
    if (moves.at[i].from >= cursor_ && moves.at[i].to < cursor_) inspect(moves.at[i].to, now_tick);
  }
  return slot;
}

template <class Table>
bool SessionLedger<Table>::make_room(Space space, int64_t now_tick) {
  if (space == Space::negative) {
    if (options_.negative == 0) return false;
    if (negatives_.size() >= options_.negative) evict_negative();
    return true;
  }
  return entries_.load(std::memory_order_relaxed) < options_.sessions || evict_session(now_tick);
}

// Bytes per second lately.
template <class Table>
float SessionLedger<Table>::rate(uint32_t slot, int64_t now_tick) {
  Cold& c = cold_[slot];
  const auto left = uint32_t(word_bytes(word(slot)) >> kSampledBytesBits);
  const uint32_t units = (c.sampled - left) & uint32_t(kWordBytesMax >> kSampledBytesBits);
  const auto spent = float(units << kSampledBytesBits);
  const auto at = uint8_t(now_tick >> kSampledTickBits);
  const float windows = float(uint32_t(uint8_t(at - c.sampled_at)) << kSampledTickBits) / kRateTicks;
  if (windows < 1) return rate_of(c.rate) * (1 - windows) + spent;
  c.rate = rate_code(spent / windows);
  c.sampled = left;
  c.sampled_at = at;
  return rate_of(c.rate);
}

// Makes the slot the victim if it is worth less than the one before; true if no better one is to be had.
template <class Table>
bool SessionLedger<Table>::consider(uint32_t slot, int64_t now_tick, Victim& victim) {
  if (!live(slot, now_tick)) {
    victim.slot = slot;
    return true;
  }
  if (target(slot) == WordTarget::drop) return false;
  const bool over = destinations_.group(destination(slot)).entries > options_.sessions / std::max(1u, groups_);
  const float r = rate(slot, now_tick);
  if (victim.slot < 0 || over > victim.over_share || (over == victim.over_share && r < victim.rate)) {
    victim = {slot, over, r};
  }
  return false;
}

template <class Table>
bool SessionLedger<Table>::evict(const Victim& victim) {
  if (victim.slot < 0) return false;
  erase(uint32_t(victim.slot));
  count(evicted_, 1);
  return true;
}

// Makes room for one entry more in the session space; false if only tombstones were met.
template <class Table>
bool SessionLedger<Table>::evict_session(int64_t now_tick) {
  // Where few slots are in use, most draws find nothing.
  const uint32_t tries = kSampleTries * (1 + table_.slots() / 64 / options_.sessions);
  Victim victim;
  unsigned seen = 0;
  bool settled = false;
  auto look = [&](size_t slot) {
    if (slot == used_.size() || space(uint32_t(slot)) == Space::negative) return;
    settled = consider(uint32_t(slot), now_tick, victim);
    seen += target(uint32_t(slot)) != WordTarget::drop;
  };
  for (size_t slot : sample_) {
    if (used_.holds(slot) && !settled) look(slot);
  }
  for (uint32_t i = 0; i < tries && seen < kSampleSize && !settled; ++i) look(draw_used());
  const bool evicted = evict(victim);
  draw_sample();
  return evicted;
}

// The next one's, so that what it looks at is on its way from memory until then.
template <class Table>
void SessionLedger<Table>::draw_sample() {
  for (size_t& slot : sample_) {
    slot = draw_used();
    if (slot == used_.size()) continue;
    __builtin_prefetch(&table_.word(uint32_t(slot)));
    __builtin_prefetch(&cold_[slot], 1);
  }
}

// The same among those that keep the key from its place. A negative entry displaces negative ones alone.
template <class Table>
bool SessionLedger<Table>::evict_near(const SessionKey& key, Space for_space, int64_t now_tick) {
  uint32_t slots[kCandidatesMax];
  Victim victim;
  for (unsigned i = 0, n = table_.candidates(key, slots); i < n; ++i) {
    if (space(slots[i]) == Space::negative) {
      victim.slot = slots[i];
      break;
    }
    if (for_space == Space::session && consider(slots[i], now_tick, victim)) break;
  }
  return evict(victim);
}

// Of a few negative entries the one that ends first.
template <class Table>
void SessionLedger<Table>::evict_negative() {
  uint32_t best = negatives_[draw(uint32_t(negatives_.size()))];
  for (unsigned i = 1; i < kSampleSize; ++i) {
    const uint32_t slot = negatives_[draw(uint32_t(negatives_.size()))];
    if (cold_[slot].ends() < cold_[best].ends()) best = slot;
  }
  evict({best});
}

}  // namespace statecast
