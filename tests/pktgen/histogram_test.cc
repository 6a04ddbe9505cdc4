// SPDX-License-Identifier: BSD-3-Clause
// The histogram against a sorted vector of the same values.
#include "tools/pktgen/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/rng.h"

namespace statecast {
namespace {

TEST(Histogram, BucketsAreInOrderAndTheirBoundsMeet) {
  EXPECT_EQ(Histogram::highest_of(0), 0u);
  for (size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    uint64_t highest = Histogram::highest_of(i);
    ASSERT_EQ(Histogram::bucket_of(highest), i);
    ASSERT_EQ(Histogram::bucket_of(highest + 1), i + 1);
  }
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

// Values of all magnitudes: uniform in the logarithm, some small, some the same.
std::vector<uint64_t> values(uint64_t seed, size_t n) {
  Rng rng(seed);
  std::vector<uint64_t> out;
  for (size_t i = 0; i < n; ++i) {
    if (rng.chance(0.1))
      out.push_back(rng.below(130));
    else if (rng.chance(0.2))
      out.push_back(4'000);
    else
      out.push_back(static_cast<uint64_t>(std::exp2(rng.unit() * 39)));
  }
  return out;
}

TEST(Histogram, PercentilesAgreeWithASortedVector) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto twin = values(seed, 1 + seed * 997);
    auto h = std::make_unique<Histogram>();
    double sum = 0;
    for (uint64_t v : twin) h->record(v), sum += static_cast<double>(v);
    std::sort(twin.begin(), twin.end());
    ASSERT_EQ(h->count(), twin.size());
    ASSERT_EQ(h->min(), twin.front());
    ASSERT_EQ(h->max(), twin.back());
    ASSERT_NEAR(h->mean(), sum / static_cast<double>(twin.size()), 1e-6 * sum);
    for (double p : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
      auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(twin.size())));
      uint64_t exact = twin[rank == 0 ? 0 : rank - 1];
      uint64_t got = h->percentile(p);
      ASSERT_GE(got, exact) << p;
      ASSERT_LE(static_cast<double>(got), static_cast<double>(exact) * (1 + 1.0 / 128) + 1) << p;
    }
  }
}

TEST(Histogram, SumIsAsIfAllHadBeenRecordedInOne) {
  auto a = std::make_unique<Histogram>(), b = std::make_unique<Histogram>(), both = std::make_unique<Histogram>();
  for (uint64_t v : values(7, 5'000)) a->record(v), both->record(v);
  for (uint64_t v : values(8, 3'000)) b->record(v), both->record(v);
  a->add(*b);
  EXPECT_EQ(a->count(), both->count());
  EXPECT_EQ(a->min(), both->min());
  EXPECT_EQ(a->max(), both->max());
  for (double p = 0; p <= 100; p += 0.5) ASSERT_EQ(a->percentile(p), both->percentile(p)) << p;
  a->reset();
  EXPECT_EQ(a->count(), 0u);
  EXPECT_EQ(a->percentile(50), 0u);
}

TEST(Histogram, ValuesBeyondTheRangeCountAsTheHighest) {
  auto h = std::make_unique<Histogram>();
  h->record(uint64_t(1) << 50);
  h->record(10);
  EXPECT_EQ(h->percentile(50), 10u);
  EXPECT_EQ(h->percentile(100), uint64_t(1) << 50);
}

}  // namespace
}  // namespace statecast
