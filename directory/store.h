// SPDX-License-Identifier: BSD-3-Clause
// Store: the held records of one node, with their expiry, their handles and what this replica has granted of them.
//
//   StoredRecord s = store.put(record, now + 10s);
//   if (StoredRecord s = store.find(key, now)) use(s.owner(), s.version());     // what has expired is not found
//   store.expire(now);  wake_at(store.next_expiry());
//
// Problem: tens of millions of records, asked for at random, so that memory and misses count.
// Choice: one line of 64 bytes per record, which has all that a query or an insert asks for; a byte bucket, several
// holders or a handle of another mapping stand apart (`More`), for the few that have them. Lines lie in one array and
// never move; two indexes (PlaceIndex) lead to them, by key and by the owner's handle; a wheel (ExpiryWheel) ends them.
// Cost: 93 bytes per mapping, everything counted; a look-up misses twice, and prefetch() spares those that can be known
// ahead. Times are kept to 1,024 ns: ends are rounded down, what was granted up.
//
// A record keeps its place (an index) all its life, so that a walk over all of them by cursor misses nothing that was
// there before it began. No operation does more than a bounded piece of work.
// Threads: one. Ownership: owns its records; a StoredRecord holds until the record expires or is erased.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "base/prefetch.h"
#include "base/reserved_array.h"
#include "base/units.h"
#include "directory/expiry_wheel.h"
#include "directory/messages.h"
#include "directory/place_index.h"
#include "directory/record_order.h"

namespace statecast {

// A proxy that this replica has granted a lease, or told of a tombstone.
struct Holder {
  ProxyId proxy;
  Instant until;
  Version version;
  bool operator==(const Holder&) const = default;
};

// This replica's share of a session's byte bucket.
struct ByteShare {
  uint64_t left = 0;         // to be granted
  uint64_t grant_bytes = 0;  // size of the last grant; 0: none yet
  Instant granted_at{};
};

// An owner's name for a session.
struct HandleKey {
  NodeId owner;
  uint32_t incarnation = 0, handle = 0;
  bool operator==(const HandleKey&) const = default;
};

class Store;

// A record of the store, or none; as cheap to pass as a pointer, and as soon out of date.
class StoredRecord {
 public:
  StoredRecord() = default;
  explicit operator bool() const { return line_ != nullptr; }

  SessionKey key() const { return line_->key; }
  GroupId group() const { return {static_cast<uint32_t>(line_->group)}; }
  RecordState state() const { return RecordState(line_->state); }
  Target target() const { return Target(line_->target); }
  MemberId member() const { return {static_cast<uint32_t>(line_->member)}; }
  NodeId owner() const { return {static_cast<uint32_t>(line_->owner_kind << 24 | line_->owner)}; }
  Version version() const {
    return {static_cast<uint16_t>(line_->term), static_cast<uint32_t>(line_->incarnation), line_->counter};
  }
  uint32_t handle() const { return static_cast<uint32_t>(line_->handle); }
  Instant expires() const;
  uint64_t bucket_bytes() const;
  uint64_t bucket_counter() const;
  bool is(const Record& r) const { return owner() == r.owner && version() == r.version && state() == r.state; }
  bool tombstone() const { return is_tombstone(state()); }
  Record record() const;                                                            // remaining_ms: 0
  Record wire(Instant now) const { return wire_record(record(), expires(), now); }  // as it goes over the wire

  // Of a bucket without bound there is no share: nullptr.
  ByteShare* share() const;
  // The bucket anew, with this share of it.
  void set_bucket(uint64_t bytes, uint64_t counter, uint64_t left);

  // One holder per proxy: until the later of what it had and what it gets. Those whose time is over are forgotten.
  void hold(const Holder& holder, Instant now);
  size_t holder_count() const;
  std::vector<Holder> holders() const;
  std::vector<Holder> take_holders();
  Instant held_until() const;  // by the last of them

 private:
  friend class Store;
  // All of a record in one cache line.
  struct alignas(64) Line {
    SessionKey key;
    uint64_t expires : 48, term : 16;
    uint64_t counter : 40, incarnation : 24;
    uint64_t handle : 32, group : 24, state : 3, target : 2, owner_kind : 2, has_more : 1;  // state 0: free
    uint64_t member : 24, owner : 24, holder_behind : 16;  // the version that was granted: so many counters before
    uint64_t more : 40, holder : 24;          // counter of a bucket without bound, or the place of its More
    uint64_t holder_until : 48, indexed : 1;  // indexed: found by its handle
  };
  static_assert(sizeof(Line) == 64);
  struct More;

  StoredRecord(Store* store, Line* line) : store_(store), line_(line) {}
  More& more();
  More* known_more() const;
  void less();
  void keep_bucket(uint64_t bytes, uint64_t counter, uint64_t left);
  Holder line_holder() const;
  bool inline_holder(const Holder& holder);
  void hold_among_others(Holder h, Instant now);

  Store* store_ = nullptr;
  Line* line_ = nullptr;
};

// What few records have.
struct StoredRecord::More {
  uint64_t bucket_bytes = kUnlimitedBytes, bucket_counter = 0;
  ByteShare share;
  std::vector<Holder> holders;  // those in the line are not in here
  bool other_handle = false;    // a tombstone's: of the mapping that it ended, where it is not its own
  HandleKey handle;
};

class Store {
 public:
  // Room for `most` records, those included that have expired and not been taken away yet.
  Store(uint64_t salt, Instant start, size_t most);

  StoredRecord find(const SessionKey& key, Instant now, uint32_t most_likely = PlaceIndex::kNoPlace) {
    if (most_likely != PlaceIndex::kNoPlace && lines_[most_likely].key == key) return at(most_likely, now);
    const uint32_t place = place_of(key);
    return place == PlaceIndex::kNoPlace ? StoredRecord() : at(place, now);
  }
  // The record under its key, in place of what was there. Share and holders stay: the caller judges them.
  StoredRecord put(const Record& record, Instant expires);
  void set_expires(StoredRecord stored, Instant expires);
  // The session to which its owner gave this handle; the record may have changed hands since.
  StoredRecord find_handle(NodeId owner, uint32_t incarnation, uint32_t handle, Instant now);

  // Of an owner's established sessions of one incarnation; all 0 where it has none.
  const RefreshDigests& refresh_digests(NodeId owner, uint32_t incarnation) const;
  // All of those sessions in this part live until then, at least.
  void renew_part(NodeId owner, uint32_t incarnation, size_t part, Instant until);

  void erase(StoredRecord stored);
  // Takes away what has expired; some at a time, the rest is due at once.
  void expire(Instant now);
  Instant next_expiry() const;

  // Ahead of a find: first the index for all that will be looked for, then the records.
  void prefetch(const SessionKey& key) const { by_key_.prefetch(hash(key)); }
  // Its place, most likely: for find.
  uint32_t prefetch_record(const SessionKey& key) const { return prefetch_line(by_key_, hash(key)); }
  // Ahead of a put, or an end: what it writes besides the record itself.
  void prefetch_put(const SessionKey& key, const HandleKey& handle) const {
    by_key_.prefetch_insert(hash(key));
    by_handle_.prefetch_insert(hash(handle));
    statecast::prefetch(&digests_[key.slot().value]);
  }
  void prefetch_handle(const HandleKey& handle) const { by_handle_.prefetch(hash(handle)); }
  void prefetch_handle_record(const HandleKey& handle) const { prefetch_line(by_handle_, hash(handle)); }

  size_t size() const { return by_key_.size(); }
  size_t tombstones() const { return tombstones_; }
  size_t half_open() const { return half_open_; }
  size_t of_group(GroupId group) const {
    const auto it = of_group_.find(group.value);
    return it == of_group_.end() ? 0 : it->second;
  }
  // Of what is held in a slot, for comparing replicas: the XOR of the records' digests, without those that live for
  // seconds only.
  uint64_t digest(Slot slot) const { return digests_[slot.value]; }
  // A walk: places 0..places()-1, none where it is free or over.
  size_t places() const { return places_; }
  StoredRecord at(size_t place, Instant now) {
    Line& line = lines_[place];
    if (line.state == 0) return {};
    const Tick at = tick(now);
    if (line.expires <= at + kAboutToEnd) extend(line);
    return line.expires > at ? StoredRecord(this, &line) : StoredRecord();
  }

 private:
  friend class StoredRecord;
  using Line = StoredRecord::Line;
  using More = StoredRecord::More;
  Tick tick(Instant t) const {  // rounded down
    const int64_t ns = (t - start_).count();
    return ns <= 0 ? 0 : std::min(static_cast<Tick>(ns) >> kTickShift, kTickMax);
  }
  Tick tick_up(Instant t) const {
    const Tick down = tick(t);
    return instant(down) < t && down < kTickMax ? down + 1 : down;
  }
  Instant instant(Tick t) const { return start_ + Duration(static_cast<int64_t>(t << kTickShift)); }
  uint32_t hash(const SessionKey& key) const { return static_cast<uint32_t>((key.low ^ salt_) * kOdd >> 32); }
  uint32_t hash(const HandleKey& k) const;
  uint32_t prefetch_line(const PlaceIndex& index, uint32_t hash) const {
    const uint32_t place = index.find(hash, [](uint32_t) { return true; });
    if (place != PlaceIndex::kNoPlace) statecast::prefetch(&lines_[place]);
    return place;
  }
  uint32_t place_of(const SessionKey& key) const {
    return by_key_.find(hash(key), [&](uint32_t place) { return lines_[place].key == key; });
  }
  uint32_t place_of(const HandleKey& handle) const;
  uint32_t place_of(const Line& line) const { return static_cast<uint32_t>(&line - lines_.data()); }
  uint32_t new_place();
  static HandleKey own_handle(const Line& line);
  HandleKey handle_of(const Line& line) const;
  void index_handle(Line& line);
  void forget_handle(Line& line);
  void erase(uint32_t place);
  void toggle_digest(const Line& line);
  void count(const Line& line);
  void discount(const Line& line);
  size_t& records_of(uint32_t group) {
    if (group != last_group_ || !of_last_group_) of_last_group_ = &of_group_[last_group_ = group];
    return *of_last_group_;
  }
  // An owner's established sessions. Where all of a part are renewed, their lines are not touched: who meets one that
  // is about to end looks here.
  struct Owned {
    RefreshDigests digests{};
    std::array<Tick, kRefreshParts> until{};
    size_t sessions = 0;
  };
  struct OwnerKey {
    NodeId owner;
    uint32_t incarnation;
    bool operator==(const OwnerKey&) const = default;
  };
  struct OwnerHash {
    size_t operator()(const OwnerKey& k) const noexcept {
      return (uint64_t(k.owner.value) << 24 ^ k.incarnation) * kOdd >> 16;
    }
  };
  static bool is_refreshed(const Line& line);  // counted in its owner's digests
  static OwnerKey owner_of(const Line& line) {
    return {own_handle(line).owner, static_cast<uint32_t>(line.incarnation)};
  }
  void join_owner(const Line& line);
  void leave_owner(const Line& line);
  void extend(Line& line);

  static constexpr int kTickShift = 10;
  static constexpr Tick kAboutToEnd = Tick{15'000'000'000} >> kTickShift;  // longer than a lease that is granted of it
  static constexpr Tick kTickMax = (Tick{1} << 48) - 1;                    // nine years
  static constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  uint64_t salt_;
  Instant start_;
  ReservedArray<Line> lines_;
  uint32_t places_ = 0, free_ = 0;  // free_: place + 1 of the first; a free line's `more` is the next
  PlaceIndex by_key_, by_handle_;
  ExpiryWheel wheel_;
  ReservedArray<uint64_t> digests_;
  std::unordered_map<OwnerKey, Owned, OwnerHash> owned_;
  std::deque<More> mores_;
  std::vector<uint32_t> free_mores_;
  size_t tombstones_ = 0, half_open_ = 0;
  std::unordered_map<uint32_t, size_t> of_group_;
  uint32_t last_group_ = 0;  // the next record is of the same group, as a rule
  size_t* of_last_group_ = nullptr;
};

// ---- what every query asks ----

inline Instant StoredRecord::expires() const {
  return store_->instant(line_->expires);
}

inline StoredRecord::More* StoredRecord::known_more() const {
  return line_->has_more ? &store_->mores_[line_->more] : nullptr;
}

inline ByteShare* StoredRecord::share() const {
  More* more = known_more();
  return more && more->bucket_bytes != kUnlimitedBytes ? &more->share : nullptr;
}

// False where the line has no room for the version that it was granted.
inline bool StoredRecord::inline_holder(const Holder& h) {
  const Version v = version();
  if (h.version.term != v.term || h.version.incarnation != v.incarnation || h.version.counter > v.counter) return false;
  const uint64_t behind = v.counter - h.version.counter;
  if (behind > UINT16_MAX) return false;
  line_->holder = h.proxy.value;
  line_->holder_until = store_->tick_up(h.until);
  line_->holder_behind = behind;
  return true;
}

// The usual ones have nobody yet, the same proxy, or one whose time is over.
inline void StoredRecord::hold(const Holder& holder, Instant now) {
  Holder h = holder;
  h.until = store_->instant(store_->tick_up(h.until));
  const More* more = known_more();
  if (!more || more->holders.empty()) {
    const Instant until = store_->instant(line_->holder_until);
    const bool same = line_->holder == h.proxy.value;
    if (same) h.until = std::max(h.until, until);
    if ((line_->holder == 0 || same || until <= now) && inline_holder(h)) return;
  }
  hold_among_others(h, now);
}

}  // namespace statecast
