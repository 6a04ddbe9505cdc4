// SPDX-License-Identifier: BSD-3-Clause
// Entries that move while they are spent: several readers debit a few hundred leases in a region of the table that is
// 0.92 full, while the writer takes entries away and inserts others there, so that the leases are moved about all the
// time. Made to be run under ThreadSanitizer too.
//
// The region: keys whose two lines both lie among the first of the smallest table. They can move nowhere else. The
// entries that come and go are negative ones, which a writer can take away one by one.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "dataplane/cache/line_table.h"
#include "dataplane/cache/session_cache.h"
#include "tests/cache/readers.h"

namespace statecast {
namespace {

constexpr Instant kStart{3h};
constexpr uint32_t kRegion = 1024;  // slots
constexpr size_t kLeases = 200, kOthers = kRegion * 92 / 100 - kLeases, kKeys = 4 * kRegion;

std::vector<SessionKey> keys_of_region() {
  LineTable lines;
  EXPECT_TRUE(lines.create({.sessions = 1000, .negative = 0}));
  std::mt19937_64 rng(5);
  std::vector<SessionKey> keys;
  while (keys.size() < kKeys) {
    const SessionKey k{rng(), rng() / (lines.slots() / kRegion)};
    uint32_t slots[kCandidatesMax];
    const unsigned n = lines.candidates(k, slots);
    if (std::all_of(slots, slots + n, [](uint32_t s) { return s < kRegion; })) keys.push_back(k);
  }
  return keys;
}

TEST(SessionCacheMoves, NoDebitIsLostOrDoubledAndNoLiveSessionIsMissed) {
  auto cache =
      std::move(*SessionCache::create({.sessions = 1000, .negative = kRegion, .readers = kReaders, .zero = kStart}));
  const auto keys = keys_of_region();
  const Instant now = kStart + 1s;
  uint64_t granted[kLeases]{};
  std::atomic<uint64_t> passed[kLeases]{};
  auto grant = [&](size_t i) {
    const uint64_t bytes = 20'000 + i * 7;
    granted[i] += bytes;
    ASSERT_TRUE(cache->put(
        keys[i],
        {.member = {uint32_t(1000 + i)}, .group = {1}, .version = {1, 1, 1}, .ends = kStart + 60s, .bytes = bytes},
        now));
  };
  for (size_t i = 0; i < kLeases; ++i) grant(i);
  std::deque<size_t> here, away;  // of the others
  auto come = [&] {
    here.push_back(away.front());
    away.pop_front();
    ASSERT_TRUE(
        cache->put(keys[here.back()], {.target = CacheTarget::negative, .group = {2}, .ends = kStart + 60s}, now));
  };
  for (size_t i = kLeases; i < kKeys; ++i) away.push_back(i);
  while (here.size() < kOthers) come();

  std::atomic<uint64_t> missed{0}, astray{0}, forwarded{0};
  Readers readers;
  readers.start(*cache, [&](unsigned, uint64_t random) {
    SessionKey burst[kBurst];
    uint32_t bytes[kBurst];
    CacheHit hits[kBurst];
    for (size_t i = 0; i < kBurst; ++i) {
      burst[i] = keys[(random + i * 13) % kLeases];
      bytes[i] = 40 + uint32_t(random + i * 7) % 100;
    }
    cache->prefetch(burst, kBurst);
    cache->lookup(burst, bytes, kBurst, now, hits);
    for (size_t i = 0; i < kBurst; ++i) {
      const size_t lease = (random + i * 13) % kLeases;
      if (hits[i].verdict == CacheVerdict::spent) continue;
      if (hits[i].verdict != CacheVerdict::forward) {
        ++missed;
      } else if (hits[i].member.value != 1000 + lease) {
        ++astray;
      } else {
        passed[lease] += bytes[i];
        ++forwarded;
      }
    }
  });
  std::mt19937_64 rng(6);
  const auto until = MonotonicClock::now() + 3s;
  for (uint64_t step = 0; MonotonicClock::now() < until && missed + astray == 0; ++step) {
    for (int i = 0; i < 50; ++i) {
      std::swap(here.front(), here[rng() % here.size()]);
      away.push_back(here.front());
      here.pop_front();
      cache->remove_negative(keys[away.back()]);  // false if it had to make room
      come();
    }
    for (size_t i = 0; i < kLeases; i += 1 + rng() % 8) {
      if (granted[i] - passed[i] < 100'000) grant(i);
    }
  }
  readers.join();
  EXPECT_EQ(missed, 0u);
  EXPECT_EQ(astray, 0u);
  EXPECT_GT(forwarded, 10'000u);
  for (size_t i = 0; i < kLeases; ++i) {
    const auto left = cache->find(keys[i], now);
    ASSERT_TRUE(left) << i;
    ASSERT_EQ(passed[i] + left->bytes, granted[i]) << i << ": to the byte";
  }
}

}  // namespace
}  // namespace statecast
