// SPDX-License-Identifier: BSD-3-Clause
// The index of places against a std::multimap, over random histories in which it grows and shrinks, with hashes that
// come in crowds. A failure prints the seed; STATECAST_SEED=n runs that history again.
#include "directory/place_index.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <vector>

#include "base/rng.h"

namespace statecast {
namespace {

struct Twin {
  std::multimap<uint32_t, uint32_t> places;
  std::vector<std::pair<uint32_t, uint32_t>> all;

  bool contains(uint32_t hash, uint32_t place) const {
    auto [first, last] = places.equal_range(hash);
    for (; first != last; ++first) {
      if (first->second == place) return true;
    }
    return false;
  }
};

uint32_t some_hash(Rng& rng) {
  const auto any = static_cast<uint32_t>(rng.next());
  switch (rng.below(8)) {
    case 0: return any % 50 * 0x1000'0000u;                  // equal ones
    case 1: return UINT32_MAX - any % 200;                   // at the end
    case 2: return any % 200;                                // at the beginning
    case 3: return 0x8000'0000u + (any & 0x3ff'ff) % 3'000;  // next to each other
    default: return any;
  }
}

void run(uint64_t seed, size_t most) {
  Rng rng(seed);
  PlaceIndex index(most);
  Twin twin;
  uint32_t next = 0;
  double grow = 1;
  for (int step = 0; step < 40'000; ++step) {
    if (step % 4'000 == 0) grow = rng.unit();
    if (rng.unit() < grow && twin.all.size() < most) {
      const uint32_t hash = some_hash(rng);
      index.insert(hash, next);
      twin.places.emplace(hash, next);
      twin.all.emplace_back(hash, next++);
    } else if (!twin.all.empty()) {
      const size_t i = rng.below(twin.all.size());
      const auto [hash, place] = twin.all[i];
      ASSERT_FALSE(index.erase(hash, next));
      ASSERT_TRUE(index.erase(hash, place));
      auto [first, last] = twin.places.equal_range(hash);
      while (first->second != place) ++first;
      twin.places.erase(first);
      twin.all[i] = twin.all.back();
      twin.all.pop_back();
    }
    ASSERT_EQ(index.size(), twin.all.size());
    for (int i = 0; i < 4 && !twin.all.empty(); ++i) {
      const auto [hash, place] = twin.all[rng.below(twin.all.size())];
      ASSERT_EQ(index.find(hash, [p = place](uint32_t found) { return found == p; }), place) << "step " << step;
      size_t offered = 0;
      ASSERT_EQ(index.find(hash,
                           [&, h = hash](uint32_t found) {
                             EXPECT_TRUE(twin.contains(h, found));
                             ++offered;
                             return false;
                           }),
                PlaceIndex::kNoPlace);
      ASSERT_EQ(offered, twin.places.count(hash));
    }
  }
  for (const auto& [hash, place] : twin.all) ASSERT_TRUE(index.erase(hash, place));
  ASSERT_EQ(index.size(), 0u);
}

TEST(PlaceIndexTest, AgreesWithAMultimapOverRandomHistories) {
  const char* given = std::getenv("STATECAST_SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1, runs = given ? 1 : 30;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    run(seed, seed % 3 == 0 ? 300 : 20'000);
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "STATECAST_SEED=" << seed;
  }
}

// Ten or eleven bytes an entry, at any size.
TEST(PlaceIndexTest, IsNeverMuchLargerThanItsEntries) {
  PlaceIndex index(3'000'000);
  Rng rng(1);
  for (uint32_t n = 0; n < 3'000'000; ++n) {
    index.insert(static_cast<uint32_t>(rng.next()), n);
    if (n < 200'000) continue;
    ASSERT_LE(index.bytes(), 12 * index.size());
  }
}

}  // namespace
}  // namespace statecast
