// SPDX-License-Identifier: BSD-3-Clause
#include "directory/store.h"

#include <algorithm>

#include "base/mix.h"

namespace statecast {

namespace {
constexpr size_t kExpiredAtOnce = 512;
}  // namespace

Store::Store(uint64_t salt, Instant start, size_t most)
    : salt_(salt),
      start_(start),
      lines_(most),
      by_key_(most),
      by_handle_(most),
      wheel_(most),
      digests_(size_t{1} << 16) {}

// Members choose handles and incarnations: without the salt one could make a long run.
uint32_t Store::hash(const HandleKey& k) const {
  return static_cast<uint32_t>(mix64(mix64((uint64_t(k.owner.value) << 32 | k.handle) ^ salt_) + k.incarnation) >> 32);
}

// ---- look-ups ----

uint32_t Store::place_of(const HandleKey& handle) const {
  return by_handle_.find(hash(handle), [&](uint32_t place) { return handle_of(lines_[place]) == handle; });
}

StoredRecord Store::find_handle(NodeId owner, uint32_t incarnation, uint32_t handle, Instant now) {
  const uint32_t place = place_of(HandleKey{owner, incarnation, handle});
  return place == PlaceIndex::kNoPlace ? StoredRecord() : at(place, now);
}

// ---- changes ----

uint32_t Store::new_place() {
  if (free_ == 0) {
    lines_.use(places_ + 1);
    wheel_.use(places_ + 1);
    return places_++;
  }
  const uint32_t place = free_ - 1;
  free_ = static_cast<uint32_t>(lines_[place].more);
  lines_[place] = {};
  return place;
}

StoredRecord Store::put(const Record& r, Instant expires) {
  uint32_t place = place_of(r.key);
  const bool added = place == PlaceIndex::kNoPlace;
  if (added) place = new_place();
  Line& line = lines_[place];
  StoredRecord s(this, &line);
  if (added) {
    line.key = r.key;
    by_key_.insert(hash(r.key), place);
  } else {
    discount(line);
    toggle_digest(line);
    leave_owner(line);
    if (line.indexed && !is_tombstone(r.state)) {
      forget_handle(line);
    } else if (line.indexed) {  // found by it as before, whatever its own handle is from now on
      const HandleKey before = handle_of(line);
      if (before != HandleKey{r.owner, r.version.incarnation, r.handle}) {
        s.more().handle = before;
        s.more().other_handle = true;
      }
    }
  }
  const Holder holder = s.line_holder();
  line.group = r.group.value;
  line.state = static_cast<uint64_t>(r.state);
  line.target = static_cast<uint64_t>(r.target);
  line.member = r.member.value;
  line.owner = r.owner.number();
  line.owner_kind = static_cast<uint64_t>(r.owner.kind());
  line.term = r.version.term;
  line.incarnation = r.version.incarnation;
  line.counter = r.version.counter;
  line.handle = r.handle;
  // The holder keeps the version that it was granted.
  if (line.holder != 0 && !s.inline_holder(holder)) {
    line.holder = 0;
    s.more().holders = {holder};
  }
  const ByteShare share = s.share() ? *s.share() : ByteShare{};
  s.keep_bucket(r.bucket_bytes, r.bucket_counter, 0);
  if (ByteShare* kept = s.share()) *kept = share;
  toggle_digest(line);
  join_owner(line);
  count(line);
  if (!is_tombstone(r.state) && r.owner.is_member()) index_handle(line);
  if (added) {
    line.expires = tick(expires);
    wheel_.set(place, line.expires);
  } else {
    set_expires(s, expires);
  }
  return s;
}

void Store::set_expires(StoredRecord stored, Instant expires) {
  Line& line = *stored.line_;
  const Tick before = line.expires;
  line.expires = tick(expires);
  if (line.expires >= before) return;  // looked at before then, and queued again
  const uint32_t place = place_of(line);
  wheel_.remove(place);
  wheel_.set(place, line.expires);
}

void Store::expire(Instant now) {
  const Tick at = tick(now);
  auto ahead = [&](std::span<const uint32_t> places) {
    for (uint32_t place : places) statecast::prefetch(&lines_[place]);
    for (uint32_t place : places) {
      if (lines_[place].expires <= at) prefetch_put(lines_[place].key, own_handle(lines_[place]));
    }
  };
  wheel_.expire(at, kExpiredAtOnce, ahead, [&](uint32_t place) -> Tick {
    Line& line = lines_[place];
    if (line.expires <= at) extend(line);
    if (line.expires > at) return line.expires;
    erase(place);
    return 0;
  });
}

Instant Store::next_expiry() const {
  const Tick next = wheel_.next();
  return next == kNoTick ? Instant::max() : instant(next);
}

void Store::erase(StoredRecord stored) {
  const uint32_t place = place_of(*stored.line_);
  wheel_.remove(place);
  erase(place);
}

void Store::erase(uint32_t place) {
  Line& line = lines_[place];
  StoredRecord s(this, &line);
  forget_handle(line);
  toggle_digest(line);
  leave_owner(line);
  discount(line);
  by_key_.erase(hash(line.key), place);
  if (line.has_more) {
    mores_[line.more] = {};
    free_mores_.push_back(static_cast<uint32_t>(line.more));
  }
  line = {};
  line.more = free_;
  free_ = place + 1;
}

void Store::count(const Line& line) {
  const auto state = RecordState(line.state);
  tombstones_ += is_tombstone(state);
  half_open_ += state == RecordState::half_open;
  ++records_of(static_cast<uint32_t>(line.group));
}
void Store::discount(const Line& line) {
  const auto state = RecordState(line.state);
  tombstones_ -= is_tombstone(state);
  half_open_ -= state == RecordState::half_open;
  --records_of(static_cast<uint32_t>(line.group));
}

// Into the slot's digest, or out of it.
void Store::toggle_digest(const Line& line) {
  const StoredRecord r(this, const_cast<Line*>(&line));
  if (r.state() == RecordState::half_open) return;
  const uint64_t version = uint64_t(line.term) << 48 ^ uint64_t(line.incarnation) << 24 ^ line.counter;
  digests_[line.key.slot().value] ^=
      mix64(line.key.high ^
            mix64(line.key.low ^ mix64(version ^ mix64(uint64_t(r.owner().value) << 8 | uint8_t(r.state())))));
}

// ---- owners ----

bool Store::is_refreshed(const Line& line) {
  return RecordState(line.state) == RecordState::established && own_handle(line).owner.is_member();
}

void Store::join_owner(const Line& line) {
  if (!is_refreshed(line)) return;
  Owned& of = owned_[owner_of(line)];
  const StoredRecord s(this, const_cast<Line*>(&line));
  of.digests[refresh_part(s.handle())] ^= refresh_digest(s.handle(), s.bucket_counter());
  ++of.sessions;
}

void Store::leave_owner(const Line& line) {
  if (!is_refreshed(line)) return;
  const auto it = owned_.find(owner_of(line));
  const StoredRecord s(this, const_cast<Line*>(&line));
  it->second.digests[refresh_part(s.handle())] ^= refresh_digest(s.handle(), s.bucket_counter());
  if (--it->second.sessions == 0) owned_.erase(it);
}

const RefreshDigests& Store::refresh_digests(NodeId owner, uint32_t incarnation) const {
  static constexpr RefreshDigests kNothing{};
  const auto it = owned_.find({owner, incarnation});
  return it == owned_.end() ? kNothing : it->second.digests;
}

void Store::renew_part(NodeId owner, uint32_t incarnation, size_t part, Instant until) {
  const auto it = owned_.find({owner, incarnation});
  if (it != owned_.end()) it->second.until[part] = std::max(it->second.until[part], tick(until));
}

void Store::extend(Line& line) {
  if (!is_refreshed(line)) return;
  const Owned& of = owned_.find(owner_of(line))->second;
  const Tick until = of.until[refresh_part(static_cast<uint32_t>(line.handle))];
  if (until > line.expires) line.expires = until;  // it waits in the wheel for its end before
}

// ---- handles ----

HandleKey Store::own_handle(const Line& line) {
  return {{static_cast<uint32_t>(line.owner_kind << 24 | line.owner)},
          static_cast<uint32_t>(line.incarnation),
          static_cast<uint32_t>(line.handle)};
}

// A tombstone stays under the handle of the mapping that it ended, so that a refresh of that handle learns of it.
HandleKey Store::handle_of(const Line& line) const {
  const bool other = line.has_more && mores_[line.more].other_handle;
  return other ? mores_[line.more].handle : own_handle(line);
}

// In place of another session that had this handle.
void Store::index_handle(Line& line) {
  const HandleKey handle = own_handle(line);
  if (const uint32_t other = place_of(handle); other != PlaceIndex::kNoPlace) forget_handle(lines_[other]);
  by_handle_.insert(hash(handle), place_of(line));
  line.indexed = 1;
}

void Store::forget_handle(Line& line) {
  if (!line.indexed) return;
  by_handle_.erase(hash(handle_of(line)), place_of(line));
  line.indexed = 0;
  StoredRecord s(this, &line);
  if (More* more = s.known_more()) {
    more->other_handle = false;
    s.less();
  }
}

// ---- a record ----

Record StoredRecord::record() const {
  return {.key = key(),
          .group = group(),
          .state = state(),
          .target = target(),
          .member = member(),
          .owner = owner(),
          .version = version(),
          .handle = handle(),
          .remaining_ms = 0,
          .bucket_bytes = bucket_bytes(),
          .bucket_counter = bucket_counter()};
}

StoredRecord::More& StoredRecord::more() {
  if (More* known = known_more()) return *known;
  uint32_t at;
  if (store_->free_mores_.empty()) {
    at = static_cast<uint32_t>(store_->mores_.size());
    store_->mores_.emplace_back();
  } else {
    at = store_->free_mores_.back();
    store_->free_mores_.pop_back();
  }
  store_->mores_[at].bucket_counter = line_->more;
  line_->more = at;
  line_->has_more = 1;
  return store_->mores_[at];
}

// Without its More, where nothing needs it any longer.
void StoredRecord::less() {
  More* more = known_more();
  if (!more || more->bucket_bytes != kUnlimitedBytes || !more->holders.empty() || more->other_handle) return;
  const auto at = static_cast<uint32_t>(line_->more);
  line_->more = more->bucket_counter;
  line_->has_more = 0;
  *more = {};
  store_->free_mores_.push_back(at);
}

// ---- its bucket ----

uint64_t StoredRecord::bucket_bytes() const {
  const More* more = known_more();
  return more ? more->bucket_bytes : kUnlimitedBytes;
}

uint64_t StoredRecord::bucket_counter() const {
  const More* more = known_more();
  return more ? more->bucket_counter : line_->more;
}

void StoredRecord::set_bucket(uint64_t bytes, uint64_t counter, uint64_t left) {
  store_->leave_owner(*line_);
  keep_bucket(bytes, counter, left);
  store_->join_owner(*line_);
}

void StoredRecord::keep_bucket(uint64_t bytes, uint64_t counter, uint64_t left) {
  if (bytes == kUnlimitedBytes && !line_->has_more) {
    line_->more = counter & kCounterMask;
    return;
  }
  More& m = more();
  m.bucket_bytes = bytes;
  m.bucket_counter = counter & kCounterMask;
  m.share = {.left = left};
  if (bytes == kUnlimitedBytes) less();
}

// ---- its holders: one in the line, more of them apart ----

Holder StoredRecord::line_holder() const {
  Version granted = version();
  granted.counter -= line_->holder_behind;
  return {ProxyId{static_cast<uint32_t>(line_->holder)}, store_->instant(line_->holder_until), granted};
}

std::vector<Holder> StoredRecord::holders() const {
  if (line_->holder != 0) return {line_holder()};
  const More* more = known_more();
  return more ? more->holders : std::vector<Holder>{};
}

size_t StoredRecord::holder_count() const {
  const More* more = known_more();
  return line_->holder != 0 ? 1 : more ? more->holders.size() : 0;
}

std::vector<Holder> StoredRecord::take_holders() {
  std::vector<Holder> taken = holders();
  line_->holder = 0;
  if (More* more = known_more()) {
    more->holders.clear();
    less();
  }
  return taken;
}

Instant StoredRecord::held_until() const {
  if (line_->holder != 0) return store_->instant(line_->holder_until);
  Instant last{};
  if (const More* more = known_more()) {
    for (const Holder& h : more->holders) last = std::max(last, h.until);
  }
  return last;
}

void StoredRecord::hold_among_others(Holder h, Instant now) {
  More* more = known_more();
  std::vector<Holder> all = holders();
  line_->holder = 0;
  std::erase_if(all, [&](const Holder& o) {
    if (o.proxy == h.proxy) h.until = std::max(h.until, o.until);
    return o.proxy == h.proxy || o.until <= now;
  });
  if (all.empty() && inline_holder(h)) {
    if (more) more->holders.clear();
    return less();
  }
  all.push_back(h);
  this->more().holders = std::move(all);
}

}  // namespace statecast
