// SPDX-License-Identifier: BSD-3-Clause
#include "directory/place_index.h"

#include <algorithm>

namespace statecast {

namespace {
constexpr size_t kFull = 13;  // entries in two lines, of sixteen, when the table begins to grow
constexpr unsigned kInsertsPerMove = 4;
}  // namespace

PlaceIndex::PlaceIndex(size_t most) : entries_(most / kFull * 18 + (kSmallest + 2) * kLine + kRunMax) {
  length_ = kSmallest * kLine + kRunMax;
  entries_.use(length_);
}

void PlaceIndex::insert(uint32_t hash, uint32_t place) {
  if (2 * size_ >= size_t(homes_) * kFull && homes_ == grown_) grow();
  if (homes_ != grown_ && ++inserts_ % kInsertsPerMove == 0) move_some();
  put({hash, place + 1});
  ++size_;
}

bool PlaceIndex::erase(uint32_t hash, uint32_t place) {
  size_t at = home(hash);
  while (entries_[at].used != 0 &&
         (entries_[at].hash < hash || (entries_[at].hash == hash && entries_[at].used != place + 1)))
    ++at;
  if (entries_[at].used != place + 1 || entries_[at].hash != hash) return false;
  remove(at);
  --size_;
  return true;
}

// Behind all that are not larger; what is larger goes one on, as far as the next empty one.
size_t PlaceIndex::put(Entry e) {
  size_t at = home(e.hash);
  while (entries_[at].used != 0 && entries_[at].hash <= e.hash) ++at;
  size_t empty = at;
  while (entries_[empty].used != 0) ++empty;
  SC_ASSERT(empty + 1 < length_);  // the last one stays empty: there every search ends
  for (size_t i = empty; i > at; --i) entries_[i] = entries_[i - 1];
  entries_[at] = e;
  return at;
}

// What stands behind it comes one back, as far as there is one at home.
void PlaceIndex::remove(size_t at) {
  size_t end = at + 1;
  while (entries_[end].used != 0 && home(entries_[end].hash) < end) ++end;
  for (size_t i = at; i + 1 < end; ++i) entries_[i] = entries_[i + 1];
  entries_[end - 1] = {};
}

void PlaceIndex::grow() {
  grown_ = homes_ + homes_ / 8;
  length_ = grown_ * kLine + kRunMax;
  entries_.use(length_);
  frontier_ = kEnd;
}

// The next homes below the frontier: taken out from the last one on, and put in order where the larger table has them.
void PlaceIndex::move_some() {
  const uint64_t hashes = kMovedAtOnce * kEnd / homes_;
  const uint64_t frontier = frontier_ > hashes ? frontier_ - hashes : 0;
  size_t first = home_of(frontier, homes_);
  while (entries_[first].used != 0 && entries_[first].hash < frontier) ++first;  // these stay
  // What was below the old frontier stands before that one's home or in the run from there on; what has been moved
  // already and stands in that run because of them comes along.
  size_t end = std::max(first, std::min(home_of(frontier_, homes_), length_ - 1));
  moving_.clear();
  for (size_t at = first; at < end || entries_[at].used != 0; ++at) {
    if (entries_[at].used == 0) continue;
    moving_.push_back(entries_[at]);
    entries_[at] = {};
  }
  frontier_ = frontier;
  size_t next = first;
  for (const Entry& e : moving_) {
    const size_t at = std::max(home(e.hash), next);
    if (entries_[at].used == 0) {  // all from its home to here have just been put there, or stayed
      entries_[at] = e;
      next = at + 1;
    } else {
      next = put(e) + 1;
    }
  }
  if (frontier_ == 0) {
    homes_ = grown_;
    frontier_ = kEnd;
    return;
  }
  // The next time it will be these.
  const uint64_t then = frontier_ > hashes ? frontier_ - hashes : 0;
  for (uint32_t homes : {homes_, grown_}) {
    for (size_t at = home_of(then, homes); at < home_of(frontier_, homes); at += kLine) {
      statecast::prefetch(&entries_[at]);
    }
  }
}

}  // namespace statecast
