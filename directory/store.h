// SPDX-License-Identifier: BSD-3-Clause
// Store: the held records of one node, with their expiry, their handles and what this replica has granted of them.
//
//   StoredRecord& s = store.put(record, now + 10s);
//   if (StoredRecord* s = store.find(key, now)) ...     // what has expired is not found
//   store.expire(now);  wake_at(store.next_expiry());
//
// A record keeps its place (an index) all its life, so that a walk over all of them by cursor misses nothing that was
// there before it began. Find and put are O(1); expiry is a heap with lazy deletion, one entry per record unless its
// end has been brought forward. Threads: one. Ownership: owns its records; references hold until the record expires or
// is erased.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "directory/messages.h"

namespace statecast {

// A proxy that this replica has granted a lease, or told of a tombstone.
struct Holder {
  ProxyId proxy;
  Instant until;
  Version version;
};

struct StoredRecord {
  Record record;  // its remaining_ms is meaningless here: `expires` counts
  Instant expires;
  uint64_t share_left = 0;   // of the byte bucket, for this replica to grant; kUnlimitedBytes: no bound
  uint64_t grant_bytes = 0;  // size of the last grant; 0: none yet
  Instant granted_at{};
  std::vector<Holder> holders;
};

// The operator's or owner's unrevoke leaves a removal tombstone of incarnation 0, which no owner has.
inline bool is_lift(const Record& r) {
  return r.state == RecordState::removed && r.version.incarnation == 0;
}
// A revocation goes this many terms above what its coordinator knows, so that it stands above what that one may have
// missed: a mapping that passed on to other owners, or the unrevoke of an earlier revocation.
inline constexpr int kRevocationTerms = 64;
// Owners stay so far below the end of the terms that a revocation always finds room above them, and leave the last
// incarnation to it.
inline constexpr int kTermMax = 0xfffe;
inline constexpr int kOwnerTermMax = kTermMax - kRevocationTerms;
inline bool owner_may_say(const Version& v) {
  return v.term <= kOwnerTermMax && v.incarnation < kId24Max;
}
// Its version is above all that an owner can say in its term; the random counter tells it from another revocation in
// the same term, and an unrevoke names by it which one it lifts.
inline Version revocation_version(int term, uint64_t random) {
  return {static_cast<uint16_t>(std::min(term, kTermMax)), kId24Max, random >> 24};
}
inline Version lift_version(const Version& revocation) {
  return {static_cast<uint16_t>(revocation.term + 1), 0, revocation.counter};
}
// Of two held records of one session the one that all replicas end with. Not reflexive: equal records do not supersede.
bool supersedes(const Record& incoming, const Record& existing);
// As it goes over the wire: with its remaining time.
Record wire_record(const Record& record, Instant expires, Instant now);

class Store {
 public:
  explicit Store(uint64_t salt) : by_handle_(16, HandleHash{salt}) {}

  StoredRecord* find(const SessionKey& key, Instant now);
  // The record under its key, in place of what was there. Share, grants and holders stay: the caller judges them.
  StoredRecord& put(const Record& record, Instant expires);
  void set_expires(StoredRecord& stored, Instant expires);
  // The session to which its owner gave this handle; the record may have changed hands since.
  StoredRecord* find_handle(NodeId owner, uint32_t incarnation, uint32_t handle, Instant now);

  void expire(Instant now);
  Instant next_expiry() const { return queue_.empty() ? Instant::max() : queue_.top().when; }

  size_t size() const { return by_key_.size(); }
  size_t tombstones() const { return tombstones_; }
  // Of what is held in a slot, for comparing replicas: the XOR of the records' digests, without those that live for
  // seconds only.
  uint64_t digest(Slot slot) const {
    auto it = digests_.find(slot.value);
    return it == digests_.end() ? 0 : it->second;
  }
  // A walk: places 0..places()-1, null where none is.
  size_t places() const { return places_.size(); }
  StoredRecord* at(size_t place, Instant now);

 private:
  struct Due {
    Instant when;
    uint32_t place;
    bool operator<(const Due& o) const { return when > o.when; }  // soonest on top
  };
  struct HandleKey {
    NodeId owner;
    uint32_t incarnation, handle;
    bool operator==(const HandleKey&) const = default;
  };
  // Members choose handles and incarnations: without the salt none can make a chain long.
  struct HandleHash {
    uint64_t salt;
    static uint64_t mix(uint64_t x) noexcept {
      x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
      x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
      return x ^ (x >> 31);
    }
    size_t operator()(const HandleKey& k) const noexcept {
      return mix(mix((uint64_t(k.owner.value) << 32 | k.handle) ^ salt) + (k.incarnation ^ (salt >> 32)));
    }
  };
  struct Place {
    StoredRecord stored;
    Instant queued{};                 // earliest entry of it in queue_
    std::optional<HandleKey> handle;  // of the mapping, and then of the tombstone that ended it
    bool used = false;
  };
  void index_handle(uint32_t place);
  void forget_handle(uint32_t place);
  void erase(uint32_t place);
  void toggle_digest(const Record& r);

  std::deque<Place> places_;
  std::vector<uint32_t> free_;
  std::unordered_map<SessionKey, uint32_t> by_key_;
  std::unordered_map<HandleKey, uint32_t, HandleHash> by_handle_;
  std::priority_queue<Due> queue_;
  std::unordered_map<uint16_t, uint64_t> digests_;
  size_t tombstones_ = 0;
};

}  // namespace statecast
