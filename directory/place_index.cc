// SPDX-License-Identifier: BSD-3-Clause
#include "directory/place_index.h"

#include <algorithm>
#include <cstring>

namespace statecast {

namespace {
// Entries to homes, at which the table begins to grow, as eighths.
constexpr size_t kFull = 7;
constexpr unsigned kInsertsPerMove = 4;
}  // namespace

PlaceIndex::PlaceIndex(size_t most) : entries_(std::max(most, kSmallest) / kFull * 9 + kSmallest + kRunMax) {
  length_ = kSmallest + kRunMax;
  entries_.use(length_);
}

void PlaceIndex::insert(uint32_t hash, uint32_t place) {
  if (size_ * 8 >= size_t(homes_) * kFull && homes_ == grown_) grow();
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
  std::memmove(&entries_[at + 1], &entries_[at], (empty - at) * sizeof(Entry));
  entries_[at] = e;
  return at;
}

// What stands behind it comes one back, as far as there is one at home.
void PlaceIndex::remove(size_t at) {
  size_t end = at + 1;
  while (entries_[end].used != 0 && home(entries_[end].hash) < end) ++end;
  std::memmove(&entries_[at], &entries_[at + 1], (end - at - 1) * sizeof(Entry));
  entries_[end - 1] = {};
}

void PlaceIndex::grow() {
  grown_ = homes_ + homes_ / 8;
  length_ = grown_ + kRunMax;
  entries_.use(length_);
  frontier_ = kEnd;
}

// The next homes below the frontier.
void PlaceIndex::move_some() {
  const uint64_t hashes = kMovedAtOnce * kEnd / homes_;
  const uint64_t frontier = frontier_ > hashes ? frontier_ - hashes : 0;
  // The last one below the old frontier stands at that one's home, or in the run from there on.
  size_t end = std::min<size_t>((frontier_ * homes_) >> 32, length_ - 1);
  while (entries_[end].used != 0 && entries_[end].hash < frontier_) ++end;
  moving_.clear();
  for (size_t first = (frontier * homes_) >> 32; first < end; ++first) {
    if (entries_[first].used != 0 && entries_[first].hash >= frontier) moving_.push_back(entries_[first]);
  }
  for (size_t i = end; i > 0 && !moving_.empty();) {
    // They are the last ones before `end`: removed from behind, nothing has to come back but what was pushed on by
    // them.
    if (entries_[--i].used == 0) continue;
    if (entries_[i].hash < frontier) break;
    remove(i);
  }
  frontier_ = frontier;
  for (const Entry& e : moving_) put(e);
  if (frontier_ == 0) {
    homes_ = grown_;
    frontier_ = kEnd;
  }
}

}  // namespace statecast
