// SPDX-License-Identifier: BSD-3-Clause
// FlatMap against std::map over random histories that grow and shrink. A failure prints the seed; STATECAST_SEED=n runs
// that history again.
#include "base/flat_map.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "base/rng.h"

namespace statecast {
namespace {

void run(uint64_t seed) {
  Rng rng(seed);
  FlatMap<uint64_t, std::string> map;
  std::map<uint64_t, std::string> twin;
  const uint64_t keys = 1 + rng.below(300), stride = rng.chance(0.3) ? uint64_t{1} << 40 : 1;
  double add = 0.5;
  for (int step = 0; step < 3000; ++step) {
    if (step % 500 == 0) add = rng.unit();
    const uint64_t key = rng.below(keys) * stride;
    if (rng.unit() < add) {
      map[key] += 'a';
      twin[key] += 'a';
    } else {
      ASSERT_EQ(map.erase(key), twin.erase(key) == 1);
    }
    if (rng.chance(0.01)) {
      auto short_ones = [](uint64_t, const std::string& value) { return value.size() < 2; };
      map.erase_if(short_ones);
      std::erase_if(twin, [&](const auto& e) { return short_ones(e.first, e.second); });
    }
    ASSERT_EQ(map.size(), twin.size());
    for (uint64_t k : {key, rng.below(keys) * stride}) {
      const std::string* found = map.find(k);
      auto at = twin.find(k);
      ASSERT_EQ(found != nullptr, at != twin.end());
      if (found) { ASSERT_EQ(*found, at->second); }
    }
  }
  std::map<uint64_t, std::string> all;
  map.for_each([&](uint64_t key, const std::string& value) { EXPECT_TRUE(all.emplace(key, value).second); });
  ASSERT_EQ(all, twin);
}

TEST(FlatMapTest, AgreesWithAMapOverRandomHistories) {
  const char* given = std::getenv("STATECAST_SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1, runs = given ? 1 : 100;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    run(seed);
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "STATECAST_SEED=" << seed;
  }
}

}  // namespace
}  // namespace statecast
