// SPDX-License-Identifier: BSD-3-Clause
// Who goes when the cache is full: floods of one-packet sessions, of idle ones, and of one group, against sessions that
// live. Over both tables; for the lines at a load at which inserts have to move others, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "dataplane/cache/line_table.h"
#include "dataplane/cache/session_cache.h"

namespace statecast {
namespace {

constexpr Instant kStart{50h};
constexpr Duration kStep = 100ms;

struct Size {
  const char* name;
  SessionTable table;
  uint32_t sessions;
};
constexpr Size kSizes[] = {
    {"lines", SessionTable::lines, 20'000},
    {"lines_at_load_0_9", SessionTable::lines, 118'000},
    {"rte_hash", SessionTable::rte_hash, 20'000},
};

class SessionCacheReplacement : public testing::TestWithParam<Size> {
 protected:
  void SetUp() override {
    auto made = SessionCache::create(
        {.sessions = all(), .negative = 16, .readers = 1, .zero = kStart, .table = GetParam().table});
    ASSERT_TRUE(made) << made.error().message;
    cache_ = std::move(*made);
  }
  static uint32_t all() { return GetParam().sessions; }
  static SessionKey key(uint64_t n) { return {n * 0xbf58476d1ce4e5b9u, n * 0x9e3779b97f4a7c15u}; }
  void open(uint64_t n, uint32_t group) {
    ASSERT_TRUE(cache_->put(
        key(n),
        {.member = {7}, .group = {group}, .version = {1, 1, 1}, .ends = kStart + 60s, .bytes = uint64_t(1) << 26},
        now_));
  }
  CacheVerdict send(uint64_t n, uint32_t bytes) {
    const SessionKey k = key(n);
    CacheHit hit;
    cache_->lookup(&k, &bytes, 1, now_, &hit);
    return hit.verdict;
  }
  // `each` is what happens between two steps of the clock.
  template <class F>
  void run(Duration time, F each) {
    for (const Instant until = now_ + time; now_ < until; now_ += kStep) {
      each();
      cache_->sweep(cache_->slots() / 30 + 1, now_);  // a round in 3 s
    }
  }
  size_t lost(uint64_t from, uint64_t to) {
    size_t n = 0;
    for (uint64_t i = from; i < to; ++i) n += send(i, 0) != CacheVerdict::forward;
    return n;
  }

  std::unique_ptr<SessionCache> cache_;
  Instant now_ = kStart;
  uint64_t newcomer_ = 1'000'000'000;
};

TEST_P(SessionCacheReplacement, OnePacketSessionsDoNotPushOutLiveOnes) {
  const uint64_t live = all() / 4;
  for (uint64_t i = 0; i < all(); ++i) open(i, 10);  // three quarters of them are silent from now on
  run(10s, [&] {
    for (uint64_t i = 0; i < live; ++i) send(i, 1000);
    for (uint64_t i = 0; i < all() / 10; ++i) {  // ten times the cache in all
      open(newcomer_, 10);
      send(newcomer_++, 1400);
    }
  });
  EXPECT_GE(cache_->stats().evicted, all() * 10 - 1);
  EXPECT_LE(lost(0, live), live / 1000);
}

TEST_P(SessionCacheReplacement, IdleSessionsDoNotPushOutLiveOnes) {
  const uint64_t live = all() / 4;
  for (uint64_t i = 0; i < live; ++i) open(i, 10);
  run(3s, [&] {
    for (uint64_t i = 0; i < live; ++i) send(i, 100);
  });
  run(10s, [&] {  // opened, and never heard of again
    for (uint64_t i = 0; i < live; ++i) send(i, 100);
    for (uint64_t i = 0; i < all() / 10; ++i) open(newcomer_++, 10);
  });
  EXPECT_LE(lost(0, live), live / 1000);
  // Newcomers that live take the places of the idle ones.
  const uint64_t first = newcomer_;
  newcomer_ += all() / 4;
  for (uint64_t i = first; i < newcomer_; ++i) {
    open(i, 10);
    send(i, 100);
  }
  run(5s, [&] {
    for (uint64_t i = 0; i < live; ++i) send(i, 100);
    for (uint64_t i = first; i < first + all() / 4; ++i) send(i, 100);
    for (uint64_t i = 0; i < all() / 20; ++i) open(newcomer_++, 10);
  });
  EXPECT_LE(lost(0, live), live / 1000);
  EXPECT_LE(lost(first, first + all() / 4), live / 1000);
}

TEST_P(SessionCacheReplacement, AnAttackedGroupDoesNotPushOutAnothers) {
  const uint64_t others = all() / 4;  // half of their group's share, and nearly silent
  for (uint64_t i = 0; i < others; ++i) open(i, 20);
  run(10s, [&] {
    for (uint64_t i = 0; i < all() / 10; ++i) {
      open(newcomer_, 10);
      for (int packet = 0; packet < 3; ++packet) send(newcomer_, 1400);
      ++newcomer_;
    }
  });
  EXPECT_EQ(lost(0, others), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SessionCacheReplacement, testing::ValuesIn(kSizes),
                         [](const auto& i) { return i.param.name; });

// Nine keys of the same two lines: only eight have a place, however empty the rest of the table is.
class SessionCacheNoPath : public testing::Test {
 protected:
  static constexpr size_t kKeys = kCandidatesMax + 1;

  void SetUp() override {
    cache_ = std::move(*SessionCache::create({.sessions = 1000, .negative = 1000, .zero = kStart}));
    LineTable lines;
    ASSERT_TRUE(lines.create({.sessions = 1000, .negative = 1000}));
    std::mt19937_64 rng(3);
    const uint64_t low = rng();
    uint32_t want[kCandidatesMax], slots[kCandidatesMax];
    keys_.push_back({rng(), low});
    lines.candidates(keys_[0], want);
    while (keys_.size() < kKeys) {
      const SessionKey k{rng(), low};
      lines.candidates(k, slots);
      if (std::equal(slots, slots + kCandidatesMax, want)) keys_.push_back(k);
    }
  }
  bool put(size_t i, CacheTarget target) {
    return cache_->put(
        keys_[i], {.target = target, .member = {7}, .group = {10}, .version = {1, 1, 1}, .ends = kStart + 60s}, kStart);
  }
  bool has(size_t i) { return cache_->find(keys_[i], kStart).has_value(); }

  std::unique_ptr<SessionCache> cache_;
  std::vector<SessionKey> keys_;
};

TEST_F(SessionCacheNoPath, TheLowestRateAmongThemGoes) {
  for (size_t i = 0; i + 1 < kKeys; ++i) {
    ASSERT_TRUE(put(i, CacheTarget::member));
    const uint32_t bytes = i == 5 ? 100 : 1000;
    CacheHit hit;
    cache_->lookup(&keys_[i], &bytes, 1, kStart, &hit);
  }
  EXPECT_FALSE(put(kKeys - 1, CacheTarget::negative)) << "nothing live makes room for what is known to be unknown";
  for (size_t i = 0; i + 1 < kKeys; ++i) EXPECT_TRUE(has(i));
  EXPECT_TRUE(put(kKeys - 1, CacheTarget::member));
  for (size_t i = 0; i < kKeys; ++i) EXPECT_EQ(has(i), i != 5) << i;
  EXPECT_EQ(cache_->stats().evicted, 1u);
}

TEST_F(SessionCacheNoPath, ANegativeOneGoesBeforeThem) {
  for (size_t i = 0; i + 1 < kKeys; ++i) ASSERT_TRUE(put(i, i == 6 ? CacheTarget::negative : CacheTarget::member));
  EXPECT_TRUE(put(kKeys - 1, CacheTarget::member));
  for (size_t i = 0; i < kKeys; ++i) EXPECT_EQ(has(i), i != 6) << i;
  EXPECT_EQ(cache_->stats().negative, 0u);
}

TEST_F(SessionCacheNoPath, NoTombstoneGoes) {
  for (size_t i = 0; i + 1 < kKeys; ++i) ASSERT_TRUE(put(i, CacheTarget::drop));
  EXPECT_FALSE(put(kKeys - 1, CacheTarget::member));
  EXPECT_EQ(cache_->stats().insert_failed, 1u);
  for (size_t i = 0; i + 1 < kKeys; ++i) EXPECT_TRUE(has(i));
}

}  // namespace
}  // namespace statecast
