// SPDX-License-Identifier: BSD-3-Clause
#include "directory/store.h"

#include <algorithm>
#include <tuple>

namespace statecast {

// A total order, so that late copies die out and all replicas end with the same record.
bool supersedes(const Record& in, const Record& ex) {
  auto rank = [](const Record& r) {
    bool revoked = r.state == RecordState::revoked;
    return std::tuple(r.version.term, revoked, ~r.owner.value, r.version.incarnation, r.version.counter,
                      is_tombstone(r.state));
  };
  return rank(in) > rank(ex);
}

Record wire_record(const Record& record, Instant expires, Instant now) {
  Record r = record;
  r.remaining_ms = static_cast<uint32_t>(std::clamp<int64_t>(to_ms(expires - now), 0, UINT32_MAX));
  return r;
}

StoredRecord* Store::find(const SessionKey& key, Instant now) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return nullptr;
  StoredRecord& s = places_[it->second].stored;
  return s.expires > now ? &s : nullptr;
}

StoredRecord* Store::at(size_t place, Instant now) {
  Place& p = places_[place];
  return p.used && p.stored.expires > now ? &p.stored : nullptr;
}

StoredRecord& Store::put(const Record& record, Instant expires) {
  auto [it, added] = by_key_.try_emplace(record.key, 0);
  if (added) {
    if (free_.empty()) {
      it->second = static_cast<uint32_t>(places_.size());
      places_.emplace_back();
    } else {
      it->second = free_.back();
      free_.pop_back();
    }
    places_[it->second] = {};
    places_[it->second].used = true;
  }
  Place& p = places_[it->second];
  if (!added) {
    tombstones_ -= is_tombstone(p.stored.record.state);
    toggle_digest(p.stored.record);
  }
  p.stored.record = record;
  toggle_digest(record);
  tombstones_ += is_tombstone(record.state);
  index_handle(it->second);
  set_expires(p.stored, expires);
  return p.stored;
}

void Store::set_expires(StoredRecord& stored, Instant expires) {
  stored.expires = expires;
  uint32_t place = by_key_.at(stored.record.key);
  Place& p = places_[place];
  if (p.queued != Instant{} && p.queued <= expires) return;  // looked at then, and queued again
  p.queued = expires;
  queue_.push({expires, place});
}

StoredRecord* Store::find_handle(NodeId owner, uint32_t incarnation, uint32_t handle, Instant now) {
  auto it = by_handle_.find({owner, incarnation, handle});
  return it == by_handle_.end() ? nullptr : at(it->second, now);
}

void Store::expire(Instant now) {
  while (!queue_.empty() && queue_.top().when <= now) {
    Due due = queue_.top();
    queue_.pop();
    Place& p = places_[due.place];
    if (!p.used || p.queued != due.when) continue;  // a left-over of another record, or of a later end
    if (p.stored.expires > now) {
      p.queued = p.stored.expires;
      queue_.push({p.queued, due.place});
    } else {
      erase(due.place);
    }
  }
}

void Store::erase(uint32_t place) {
  Place& p = places_[place];
  forget_handle(place);
  toggle_digest(p.stored.record);
  tombstones_ -= is_tombstone(p.stored.record.state);
  by_key_.erase(p.stored.record.key);
  p = {};
  free_.push_back(place);
}

// Into the slot's digest, or out of it.
void Store::toggle_digest(const Record& r) {
  if (r.state == RecordState::half_open) return;
  auto mix = HandleHash::mix;
  uint64_t version = uint64_t(r.version.term) << 48 ^ uint64_t(r.version.incarnation) << 24 ^ r.version.counter;
  uint64_t d = mix(r.key.high ^ mix(r.key.low ^ mix(version ^ mix(uint64_t(r.owner.value) << 8 | uint8_t(r.state)))));
  auto it = digests_.try_emplace(r.key.slot().value, 0).first;
  it->second ^= d;
  if (it->second == 0) digests_.erase(it);
}

// A tombstone stays under the handle of the mapping that it ended, so that a refresh of that handle learns of it.
void Store::index_handle(uint32_t place) {
  const Record& r = places_[place].stored.record;
  if (is_tombstone(r.state)) return;
  forget_handle(place);
  if (!r.owner.is_member()) return;
  places_[place].handle = HandleKey{r.owner, r.version.incarnation, r.handle};
  by_handle_[*places_[place].handle] = place;
}

void Store::forget_handle(uint32_t place) {
  std::optional<HandleKey>& handle = places_[place].handle;
  if (!handle) return;
  auto it = by_handle_.find(*handle);
  if (it != by_handle_.end() && it->second == place) by_handle_.erase(it);
  handle.reset();
}

}  // namespace statecast
