// SPDX-License-Identifier: BSD-3-Clause
// PlaceIndex: from a 32-bit hash to the places of records that have it. The records themselves say which one is meant.
//
//   index.insert(hash, place);
//   uint32_t place = index.find(hash, [&](uint32_t p) { return lines[p].key == key; });   // kNoPlace: none
//   index.prefetch(hash);                                                                 // some 100 ns before find
//
// Problem: at 100 million records a table that doubles needs three times its size while it does so, and an insert must
// never wait for a whole table to be moved.
// Choice: open addressing, sorted by hash. An entry's home is the cache line hash * n / 2^32; it stands there or as few
// entries after it as those before it need, so a look-up begins at its home, reads on in memory, and ends at the first
// larger hash. Because homes keep the order of the hashes whatever n is, the table grows in place: n becomes n + n/8,
// and then each insert moves the entries of a few homes, from the largest hash down, from where n had them to where the
// new n has them. `frontier_` is how far that has come.
// Cost: 8 bytes per entry at 72 to 81 % full; a look-up reads 1.1 lines; an insert moves 13 entries while the table
// grows. Fuller, inserts get slow: the next empty entry is lines away.
//
// REQUIRES: hashes are even and nobody outside can choose them: a long run of equal ones is slow, and there is room for
// one of kRunMax at the end.
// Threads: one. Ownership: owns its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/prefetch.h"
#include "base/reserved_array.h"

namespace statecast {

class PlaceIndex {
 public:
  static constexpr uint32_t kNoPlace = UINT32_MAX;

  explicit PlaceIndex(size_t most);

  // The place with this hash of which `is_it` holds.
  template <class IsIt>
  uint32_t find(uint32_t hash, IsIt is_it) const {
    const Entry* const line = &entries_[home(hash)];
    unsigned equal =
        0;  // of the line's eight: to look for the first by its order would be a branch that nobody can foretell
    for (size_t i = 0; i < kLine; ++i) equal |= unsigned(line[i].hash == hash) << i;
    for (; equal != 0; equal &= equal - 1) {
      const Entry& e = line[__builtin_ctz(equal)];
      if (e.used != 0 && is_it(e.used - 1)) return e.used - 1;
    }
    const Entry* e = line + kLine;
    if (e[-1].used == 0 || e[-1].hash > hash) return kNoPlace;
    for (; e->used != 0 && e->hash <= hash; ++e) {
      if (e->hash == hash && is_it(e->used - 1)) return e->used - 1;
    }
    return kNoPlace;
  }
  // REQUIRES: it is not there yet.
  void insert(uint32_t hash, uint32_t place);
  // False if it is not there.
  bool erase(uint32_t hash, uint32_t place);

  void prefetch(uint32_t hash) const { statecast::prefetch(&entries_[home(hash)]); }
  void prefetch_insert(uint32_t hash) const {  // it may push others over the end of the line
    statecast::prefetch(&entries_[home(hash)]);
    statecast::prefetch(&entries_[home(hash) + kLine]);
  }
  size_t size() const { return size_; }
  size_t bytes() const { return length_ * sizeof(Entry); }

 private:
  struct Entry {
    uint32_t hash, used;  // place + 1; 0: empty
  };
  static constexpr uint64_t kEnd = uint64_t{1} << 32;
  static constexpr size_t kLine = 64 / sizeof(Entry);
  static constexpr size_t kRunMax = 4'096, kSmallest = 8, kMovedAtOnce = 8;  // entries; lines

  size_t home(uint32_t hash) const { return home_of(hash, hash < frontier_ ? homes_ : grown_); }
  static size_t home_of(uint64_t hash, uint64_t homes) { return (hash * homes >> 32) * kLine; }
  size_t put(Entry e);
  void remove(size_t at);
  void grow();
  void move_some();

  ReservedArray<Entry> entries_;
  uint32_t homes_ = kSmallest, grown_ = kSmallest;  // n, in lines; what it becomes
  uint64_t frontier_ = kEnd;                        // hashes from here on are placed by grown_
  size_t length_ = 0;                               // entries in use stand below this
  size_t size_ = 0;
  unsigned inserts_ = 0;
  std::vector<Entry> moving_;
};

}  // namespace statecast
