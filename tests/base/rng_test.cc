// SPDX-License-Identifier: BSD-3-Clause
#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>

namespace statecast {
namespace {

// Vigna's splitmix64.c from seed 1234567.
TEST(Rng, PublishedNumbers) {
  Rng rng(1234567);
  EXPECT_EQ(rng.next(), 6457827717110365317u);
  EXPECT_EQ(rng.next(), 3203168211198807973u);
  EXPECT_EQ(rng.next(), 9817491932198370423u);
}

TEST(Rng, StaysInBoundsAndReachesThem) {
  Rng rng(1);
  std::array<int, 6> seen{};
  for (int i = 0; i < 6000; ++i) ++seen[rng.below(6)];
  for (int n : seen) EXPECT_NEAR(n, 1000, 150);
  for (int i = 0; i < 1000; ++i) {
    uint64_t v = rng.between(5, 6);
    ASSERT_TRUE(v == 5 || v == 6);
  }
  EXPECT_EQ(rng.below(1), 0u);
}

TEST(Rng, Chance) {
  Rng rng(2);
  int hits = 0;
  for (int i = 0; i < 10000; ++i) {
    hits += rng.chance(0.25);
    ASSERT_FALSE(rng.chance(0));
    ASSERT_TRUE(rng.chance(1));
  }
  EXPECT_NEAR(hits, 2500, 200);
}

}  // namespace
}  // namespace statecast
