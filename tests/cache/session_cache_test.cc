// SPDX-License-Identifier: BSD-3-Clause
// The lease rules one by one, as short histories: what is put, what passes, what is said. Each over both tables.
#include "dataplane/cache/session_cache.h"

#include <gtest/gtest.h>

#include "dataplane/cache/session_word.h"
#include "tests/support/eal.h"

namespace statecast {
namespace {

const auto* const kEal = testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr SessionKey key(uint64_t n) {
  return {n * 0xbf58476d1ce4e5b9u, n * 0x9e3779b97f4a7c15u};
}
constexpr Instant kStart{100h};
constexpr Duration kTick{int64_t(1) << kTickBits};
constexpr Instant kZero = kStart - 5s;
struct Lease {
  uint64_t bytes = UINT64_MAX;
  Duration time = 10s;
  Version version{1, 1, 1};
  uint32_t member = 7;
  uint32_t group = 10;
};

class SessionCacheTest : public testing::TestWithParam<SessionTable> {
 protected:
  void make(SessionCacheOptions o = {.sessions = 64, .negative = 16, .readers = 4}) {
    o.zero = kZero;
    o.table = GetParam();
    auto made = SessionCache::create(o);
    ASSERT_TRUE(made) << made.error().message;
    cache_ = std::move(*made);
  }
  void SetUp() override { make(); }

  CacheHit look(const SessionKey& k, uint32_t bytes) {
    CacheHit hit;
    cache_->lookup(&k, &bytes, 1, now_, &hit);
    return hit;
  }
  CacheVerdict verdict(const SessionKey& k, uint32_t bytes = 100) { return look(k, bytes).verdict; }
  CacheEntry entry(const Lease& l) const {
    return {.member = {l.member}, .group = {l.group}, .version = l.version, .ends = now_ + l.time, .bytes = l.bytes};
  }
  bool lease(const SessionKey& k, const Lease& l = {}) { return cache_->put(k, entry(l), now_); }
  bool put(const SessionKey& k, CacheTarget target, Duration time, Version version = {}, bool removed = false) {
    return cache_->put(
        k, {.target = target, .group = {10}, .version = version, .ends = now_ + time, .removed = removed}, now_);
  }
  bool tombstone(const SessionKey& k, Version v, bool removed, Duration time = 60s) {
    return put(k, CacheTarget::drop, time, v, removed);
  }

  size_t round() { return cache_->sweep(cache_->slots(), now_); }

  std::unique_ptr<SessionCache> cache_;
  Instant now_ = kStart;
};

TEST(SessionWord, Fields) {
  const uint64_t w = make_word(kDestinations - 1, kTickMask, kAskedFlag | kUnlimitedFlag | kSaltMask, kWordBytesMax);
  EXPECT_EQ(w, UINT64_MAX) << "every bit has one meaning";
  EXPECT_EQ(word_destination(w), kDestinations - 1);
  EXPECT_EQ(ticks_ahead(make_word(9, 1000, 0, 0), 1000), 0);
  EXPECT_FALSE(is_live(make_word(9, 1000, 0, 0), 1000));
  EXPECT_TRUE(is_live(make_word(9, 1000, 0, 0), 999));
  EXPECT_FALSE(is_live(make_word(kDead, 1000, 0, 0), 999));
  EXPECT_FALSE(is_live(make_word(kMoving, 1000, 0, 0), 999));
  EXPECT_NE(dead_word(w), w & kSaltMask);
}

template <unsigned Digits>
void check_small_float() {
  constexpr uint64_t kPart = 1 << (Digits - 1);
  for (uint64_t x = 0; x < kWordBytesMax; x += 1 + x / 97) {
    const uint64_t up = from_small_float<Digits>(small_float<Digits>(x, Round::up));
    const uint64_t down = from_small_float<Digits>(small_float<Digits>(x, Round::down));
    ASSERT_GE(up, x);
    ASSERT_LE(up, x + x / kPart);
    ASSERT_LE(down, x);
    ASSERT_GE(down, x - x / kPart);
  }
}

TEST(SessionWord, MarksAreNeverLaterThanHalfNorMuchEarlier) {
  check_small_float<kTimeDigits>();
  check_small_float<kBytesDigits>();
  for (int64_t ticks = 0; ticks <= kTickWindow; ticks += 1 + ticks / 50) {
    for (uint64_t x = 0; x <= kWordBytesMax / 2; x += 1 + x / 3) {
      const uint32_t marks = time_mark(ticks, Round::up) + bytes_mark(x);
      ASSERT_LT(marks, kMarksMask);
      ASSERT_GE(marks_ticks(marks), ticks);
      ASSERT_LE(marks_ticks(marks), ticks + ticks / 32);
      ASSERT_TRUE(marks_ask_for_bytes(marks, x));
      ASSERT_FALSE(marks_ask_for_bytes(marks, x + x / 4 + 1));
      ASSERT_FALSE(marks_ask_for_bytes(only_time_mark(marks), 0));
      ASSERT_EQ(marks_ticks(only_time_mark(marks)), marks_ticks(marks));
    }
  }
}

TEST_P(SessionCacheTest, MissThenForward) {
  EXPECT_EQ(verdict(key(1)), CacheVerdict::miss);
  ASSERT_TRUE(lease(key(1)));
  const CacheHit hit = look(key(1), 1400);
  EXPECT_EQ(hit.verdict, CacheVerdict::forward);
  EXPECT_EQ(hit.member, MemberId{7});
  EXPECT_FALSE(hit.ask_again);
  EXPECT_EQ(verdict(key(2)), CacheVerdict::miss);
}

TEST_P(SessionCacheTest, TimeEndsEarlyByLessThanATickAndNeverLate) {
  for (int i = 0; i < 200; ++i) {
    const auto k = key(uint64_t(i) % 50 + 1);
    now_ = kStart + i * 12'345'678ns;
    const Duration time = 250ms + i * 777'777ns;
    make();
    ASSERT_TRUE(lease(k, {.time = time}));
    const Instant ends = now_ + time;
    now_ = ends - kTick - 1ms;
    EXPECT_EQ(verdict(k), CacheVerdict::forward);
    now_ = ends;
    EXPECT_EQ(verdict(k), CacheVerdict::expired);
  }
}

TEST_P(SessionCacheTest, BytesEndExactly) {
  ASSERT_TRUE(lease(key(1), {.bytes = 1000}));
  EXPECT_EQ(verdict(key(1), 600), CacheVerdict::forward);
  EXPECT_EQ(verdict(key(1), 401), CacheVerdict::spent);
  EXPECT_EQ(verdict(key(1), 400), CacheVerdict::forward);
  EXPECT_EQ(verdict(key(1), 1), CacheVerdict::spent);
  ASSERT_TRUE(lease(key(1), {.bytes = 50}));
  EXPECT_EQ(verdict(key(1), 50), CacheVerdict::forward) << "a renewal lets it flow again";
  EXPECT_EQ(verdict(key(1), 1), CacheVerdict::spent);
}

TEST_P(SessionCacheTest, RenewalAddsBytesAndProlongs) {
  ASSERT_TRUE(lease(key(1), {.bytes = 1000, .time = 4s}));
  look(key(1), 300);
  now_ += 1s;
  ASSERT_TRUE(lease(key(1), {.bytes = 500, .time = 4s}));
  auto e = cache_->find(key(1), now_);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->bytes, 1200u);
  EXPECT_EQ(e->ends, now_ + 4s);
  ASSERT_TRUE(lease(key(1), {.bytes = 1, .time = 1s})) << "an answer that was overtaken is a lease all the same";
  EXPECT_EQ(cache_->find(key(1), now_)->ends, now_ + 4s);
  ASSERT_TRUE(lease(key(1), {.bytes = 1, .time = 1s, .version = {1, 1, 2}}));
  EXPECT_EQ(cache_->find(key(1), now_)->ends, now_ + 1s) << "a newer version sets the time";
}

TEST_P(SessionCacheTest, NothingIsLeftOfALeaseThatHasEnded) {
  ASSERT_TRUE(lease(key(1), {.bytes = 1000, .time = 1s}));
  now_ += 2s;
  ASSERT_TRUE(lease(key(1), {.bytes = 10, .time = 1s}));
  EXPECT_EQ(cache_->find(key(1), now_)->bytes, 10u);
}

TEST_P(SessionCacheTest, AsksOnceAtHalfTheBytes) {
  ASSERT_TRUE(lease(key(1), {.bytes = 897}));  // 448 has three leading digits: the mark is exact
  EXPECT_FALSE(look(key(1), 448).ask_again);
  EXPECT_TRUE(look(key(1), 1).ask_again);
  EXPECT_FALSE(look(key(1), 1).ask_again);
  ASSERT_TRUE(lease(key(1), {.bytes = 449}));  // 447 + 449
  EXPECT_FALSE(look(key(1), 447).ask_again);
  EXPECT_TRUE(look(key(1), 1).ask_again);
  ASSERT_TRUE(lease(key(2), {.bytes = 1001}));  // 500 becomes 512
  EXPECT_FALSE(look(key(2), 488).ask_again);
  EXPECT_TRUE(look(key(2), 1).ask_again);
}

TEST_P(SessionCacheTest, AsksOnceAtHalfTheTime) {
  ASSERT_TRUE(lease(key(1), {.time = 10s}));
  now_ += 5s - 5000ms / 32 - 2 * kTick;
  EXPECT_FALSE(look(key(1), 1).ask_again);
  now_ = kStart + 5s;
  EXPECT_FALSE(look(key(1), 0).ask_again) << "no bytes: a mere look";
  EXPECT_TRUE(look(key(1), 1).ask_again);
  EXPECT_FALSE(look(key(1), 1).ask_again);
  ASSERT_TRUE(lease(key(1), {.time = 10s}));
  EXPECT_FALSE(look(key(1), 1).ask_again);
}

TEST_P(SessionCacheTest, APacketBeyondTheGrantAsks) {
  ASSERT_TRUE(lease(key(1), {.bytes = 1000}));
  CacheHit hit = look(key(1), 1400);
  EXPECT_EQ(hit.verdict, CacheVerdict::spent);
  EXPECT_TRUE(hit.ask_again);
  EXPECT_FALSE(look(key(1), 1400).ask_again);
}

TEST_P(SessionCacheTest, NoBytesIsNotAskedAgainBeforeHalfItsTime) {
  ASSERT_TRUE(lease(key(1), {.bytes = 0, .time = 2s}));
  CacheHit hit = look(key(1), 100);
  EXPECT_EQ(hit.verdict, CacheVerdict::spent);
  EXPECT_FALSE(hit.ask_again);
  now_ += 1s - 2 * kTick;
  EXPECT_FALSE(look(key(1), 100).ask_again);
  now_ += 2 * kTick + 1000ms / 32;
  EXPECT_TRUE(look(key(1), 100).ask_again);
  ASSERT_TRUE(lease(key(2), {.bytes = 1000, .time = 2s}));
  ASSERT_TRUE(lease(key(2), {.bytes = 0, .time = 9s}));
  EXPECT_EQ(cache_->find(key(2), now_)->ends, now_ + 2s) << "no time comes with no bytes";
  EXPECT_EQ(cache_->find(key(2), now_)->bytes, 1000u);
  ASSERT_TRUE(lease(key(3), {.bytes = 1000, .time = 8s}));
  ASSERT_TRUE(lease(key(3), {.bytes = 0, .time = 1s}));
  EXPECT_FALSE(look(key(3), 100).ask_again);
  now_ += 500ms - 2 * kTick;
  EXPECT_FALSE(look(key(3), 100).ask_again);
  now_ += 2 * kTick + 7500ms / 32;
  EXPECT_TRUE(look(key(3), 100).ask_again) << "half of its own time or little later, not half of the lease's";
}

TEST_P(SessionCacheTest, LookingDoesNotSpend) {
  ASSERT_TRUE(lease(key(1), {.bytes = 100}));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(verdict(key(1), 0), CacheVerdict::forward);
  EXPECT_EQ(verdict(key(1), 100), CacheVerdict::forward);
  EXPECT_EQ(verdict(key(1), 0), CacheVerdict::spent);
}

TEST_P(SessionCacheTest, GrantBeyondTheFieldIsKeptInReserve) {
  constexpr uint64_t kGrant = 3 * kWordBytesMax + 5;
  ASSERT_TRUE(lease(key(1), {.bytes = kGrant}));
  EXPECT_EQ(cache_->find(key(1), now_)->bytes, kGrant);
  uint64_t passed = 0;
  int refills = 0;
  for (uint32_t packet = 0xffff; packet != 0;) {
    const CacheHit hit = look(key(1), packet);
    if (hit.verdict == CacheVerdict::forward) passed += packet;
    if (hit.ask_again && cache_->refill(key(1), now_)) ++refills;
    if (hit.verdict == CacheVerdict::spent) packet /= 2;
    ASSERT_LE(passed, kGrant);
  }
  EXPECT_EQ(passed, kGrant);
  EXPECT_GE(refills, 2);
  EXPECT_FALSE(cache_->refill(key(1), now_));
}

TEST_P(SessionCacheTest, AReserveDoesNotStandInForTime) {
  ASSERT_TRUE(lease(key(1), {.bytes = 3 * kWordBytesMax, .time = 10s}));
  now_ += 6s;
  EXPECT_TRUE(look(key(1), 1).ask_again);
  EXPECT_FALSE(cache_->refill(key(1), now_));
}

TEST_P(SessionCacheTest, OlderVersionIsIgnoredWhileTheEntryLives) {
  ASSERT_TRUE(lease(key(1), {.version = {1, 5, 9}}));
  EXPECT_FALSE(lease(key(1), {.version = {1, 5, 8}}));
  EXPECT_FALSE(lease(key(1), {.version = {1, 4, 99}}));
  EXPECT_TRUE(lease(key(1), {.version = {1, 5, 9}}));
  EXPECT_TRUE(lease(key(1), {.version = {1, 6, 1}}));
  // Between members only the term counts.
  EXPECT_TRUE(lease(key(1), {.version = {2, 1, 1}, .member = 8}));
  EXPECT_EQ(look(key(1), 1).member, MemberId{8});
  EXPECT_FALSE(lease(key(1), {.version = {1, 99, 99}, .member = 7}));
  now_ += 20s;
  EXPECT_TRUE(lease(key(1), {.version = {1, 1, 1}, .member = 7})) << "an entry that is over rules nothing";
}

TEST_P(SessionCacheTest, AnotherMemberReplacesTheBytes) {
  ASSERT_TRUE(lease(key(1), {.bytes = 5000}));
  ASSERT_TRUE(lease(key(1), {.bytes = 10, .version = {2, 1, 1}, .member = 8}));
  EXPECT_EQ(cache_->find(key(1), now_)->bytes, 10u);
}

TEST_P(SessionCacheTest, RevocationStands) {
  ASSERT_TRUE(lease(key(1), {.version = {3, 5, 9}}));
  ASSERT_TRUE(tombstone(key(1), {1, 1, 1}, false)) << "whatever version the lease has";
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
  for (Version v : {Version{1, 1, 1}, Version{3, 5, 10}, Version{9, 1, 1}}) {
    EXPECT_FALSE(lease(key(1), {.version = v}));
    EXPECT_FALSE(lease(key(1), {.version = v, .member = 99}));
  }
  EXPECT_FALSE(put(key(1), CacheTarget::negative, 250ms));
  EXPECT_FALSE(put(key(1), CacheTarget::unavailable, 1s, {9, 9, 9}));
  EXPECT_FALSE(tombstone(key(1), {9, 9, 9}, true)) << "a removal does not soften it";
  EXPECT_FALSE(cache_->remove_if_not_newer(key(1), {9, 9, 9}, now_, Tombstones::keep));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
  now_ += 59s;
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
  now_ += 1s + kTick;
  EXPECT_EQ(verdict(key(1)), CacheVerdict::expired);
  EXPECT_TRUE(lease(key(1)));
}

TEST_P(SessionCacheTest, UnrevokeLifts) {
  ASSERT_TRUE(tombstone(key(1), {1, 1, 5}, false));
  EXPECT_FALSE(cache_->remove_if_not_newer(key(1), {1, 1, 4}, now_));
  EXPECT_TRUE(cache_->remove_if_not_newer(key(1), {1, 1, 5}, now_));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::miss);
  EXPECT_TRUE(lease(key(1), {.version = {1, 1, 1}}));
}

TEST_P(SessionCacheTest, RemovalTombstoneIsPassedByANewerLeaseOnly) {
  ASSERT_TRUE(lease(key(1), {.version = {1, 1, 8}}));
  EXPECT_FALSE(tombstone(key(1), {1, 1, 7}, true)) << "a late removal of what came before";
  ASSERT_TRUE(tombstone(key(1), {1, 1, 8}, true));
  EXPECT_FALSE(lease(key(1), {.version = {1, 1, 8}}));
  EXPECT_FALSE(lease(key(1), {.version = {1, 1, 7}}));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
  EXPECT_TRUE(lease(key(1), {.version = {1, 1, 9}}));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::forward);
}

TEST_P(SessionCacheTest, ALongTombstoneOutlivesTheCoarseClock) {
  ASSERT_TRUE(tombstone(key(1), {1, 1, 1}, false, 24h));
  for (int minute = 0; minute < 24 * 60; minute += 2) {
    ASSERT_EQ(verdict(key(1)), CacheVerdict::drop) << minute;
    round();
    now_ += 2min;
  }
  now_ = kStart + 24h + kTick;
  EXPECT_NE(verdict(key(1)), CacheVerdict::drop);
  EXPECT_EQ(round(), 1u);
}

TEST_P(SessionCacheTest, ALongLeaseIsAskedForBeforeHalf) {
  ASSERT_TRUE(lease(key(1), {.time = 1h}));
  CacheHit hit;
  while (!hit.ask_again && now_ < kStart + 31min) {
    now_ += 10s;
    round();
    hit = look(key(1), 1);
    ASSERT_EQ(hit.verdict, CacheVerdict::forward);
  }
  EXPECT_GT(now_, kStart + 1min);
  EXPECT_LT(now_, kStart + 5min) << "half of what its word can tell";
  now_ = kStart + 60min - kTick;
  round();
  round();
  EXPECT_EQ(verdict(key(1)), CacheVerdict::forward);
  now_ = kStart + 1h;
  EXPECT_EQ(verdict(key(1)), CacheVerdict::expired);
}

TEST_P(SessionCacheTest, AnEndedEntryNeverComesBackWithTheWrap) {
  ASSERT_TRUE(lease(key(1), {.time = 10s}));
  const Instant ends = now_ + 10s;
  for (Instant t = ends; t < ends + 5h; t += 97s) {  // nobody sweeps: a paused process
    now_ = t;
    ASSERT_NE(verdict(key(1)), CacheVerdict::forward) << to_ms(t - ends);
  }
  ASSERT_TRUE(lease(key(2)));
  EXPECT_EQ(verdict(key(2)), CacheVerdict::expired) << "until a round of sweeps has ended, nothing counts";
  round();
  round();
  EXPECT_EQ(verdict(key(1)), CacheVerdict::miss);
  EXPECT_EQ(verdict(key(2)), CacheVerdict::forward);
}

TEST_P(SessionCacheTest, ARevocationOutlivesAPause) {
  ASSERT_TRUE(tombstone(key(1), {1, 1, 1}, false, 2h));
  now_ += 1h;
  EXPECT_EQ(verdict(key(1)), CacheVerdict::expired);
  EXPECT_FALSE(lease(key(2), {.time = 0s}));
  round();
  round();
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
}

TEST_P(SessionCacheTest, PurgeKeepsOverdueAnswersOut) {
  ASSERT_TRUE(lease(key(1), {.version = {1, 1, 5}}));
  EXPECT_FALSE(cache_->remove_if_not_newer(key(1), {1, 1, 4}, now_)) << "the entry is newer";
  EXPECT_TRUE(cache_->remove_if_not_newer(key(1), {2, 1, 1}, now_));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::miss);
  EXPECT_FALSE(cache_->find(key(1), now_));
  EXPECT_FALSE(lease(key(1), {.version = {1, 1, 9}})) << "was on its way when the purge overtook it";
  EXPECT_TRUE(lease(key(1), {.version = {2, 1, 1}, .member = 8}));
  // The same where the purge comes first.
  EXPECT_FALSE(cache_->remove_if_not_newer(key(2), {2, 1, 1}, now_));
  EXPECT_FALSE(lease(key(2), {.version = {1, 1, 9}}));
  now_ += 11s;
  EXPECT_TRUE(lease(key(2), {.version = {1, 1, 9}}));
}

TEST_P(SessionCacheTest, NegativeGivesWay) {
  ASSERT_TRUE(put(key(1), CacheTarget::negative, 250ms));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::negative);
  EXPECT_EQ(cache_->stats().negative, 1u);
  ASSERT_TRUE(lease(key(1)));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::forward);
  EXPECT_EQ(cache_->stats().negative, 0u);
  EXPECT_FALSE(put(key(1), CacheTarget::negative, 250ms)) << "a late `none` displaces nothing live";
  EXPECT_FALSE(cache_->remove_negative(key(1)));
  ASSERT_TRUE(put(key(2), CacheTarget::negative, 250ms));
  EXPECT_TRUE(cache_->remove_negative(key(2)));
  EXPECT_EQ(verdict(key(2)), CacheVerdict::miss);
  ASSERT_TRUE(put(key(3), CacheTarget::negative, 250ms));
  now_ += 250ms;
  EXPECT_EQ(verdict(key(3)), CacheVerdict::miss);
}

TEST_P(SessionCacheTest, NegativeEntriesHaveTheirOwnSpace) {
  for (uint64_t i = 1; i <= 64; ++i) ASSERT_TRUE(lease(key(i)));
  for (uint64_t i = 1000; i < 3000; ++i) ASSERT_TRUE(put(key(i), CacheTarget::negative, 250ms + i * 1us));
  EXPECT_EQ(cache_->stats().entries, 64u);
  EXPECT_EQ(cache_->stats().negative, 16u);
  for (uint64_t i = 1; i <= 64; ++i) EXPECT_EQ(verdict(key(i)), CacheVerdict::forward);
}

TEST_P(SessionCacheTest, Unavailable) {
  ASSERT_TRUE(lease(key(1), {.version = {1, 1, 5}}));
  EXPECT_FALSE(put(key(1), CacheTarget::unavailable, 1s, {1, 1, 4}));
  EXPECT_TRUE(put(key(1), CacheTarget::unavailable, 1s, {1, 1, 5}));
  EXPECT_EQ(verdict(key(1)), CacheVerdict::unavailable);
  EXPECT_TRUE(lease(key(1), {.version = {1, 1, 5}})) << "the member lives again";
  EXPECT_EQ(verdict(key(1)), CacheVerdict::forward);
}

TEST_P(SessionCacheTest, Stateless) {
  CacheEntry e{.target = CacheTarget::stateless, .group = {10}, .ends = now_ + 10s, .bytes = 100};
  ASSERT_TRUE(cache_->put(key(1), e, now_));
  EXPECT_EQ(verdict(key(1), 100), CacheVerdict::stateless);
  EXPECT_EQ(verdict(key(1), 1), CacheVerdict::spent);
}

TEST_P(SessionCacheTest, WhatIsOverIsNotTaken) {
  EXPECT_FALSE(lease(key(1), {.time = 0s}));
  EXPECT_FALSE(lease(key(1), {.time = -5s}));
  ASSERT_TRUE(lease(key(1)));
  EXPECT_TRUE(tombstone(key(1), {9, 1, 1}, true, -1s)) << "but a tombstone that is over ends a lease";
  EXPECT_EQ(verdict(key(1)), CacheVerdict::drop);
  now_ += kTick;
  EXPECT_NE(verdict(key(1)), CacheVerdict::forward);
}

TEST_P(SessionCacheTest, FullTableKeepsTheBusyOnes) {
  make({.sessions = 1024, .negative = 16, .readers = 1});
  for (uint64_t i = 1; i <= 1024; ++i) ASSERT_TRUE(lease(key(i)));
  for (int second = 0; second < 3; ++second) {
    now_ += 1s;
    for (uint64_t i = 1; i <= 64; ++i) look(key(i), 10'000);
    round();
  }
  for (uint64_t i = 10'000; i < 12'000; ++i) {  // a flood of newcomers that send one packet each
    ASSERT_TRUE(lease(key(i)));
    look(key(i), 1000);
  }
  EXPECT_EQ(cache_->stats().entries, 1024u);
  EXPECT_EQ(cache_->stats().evicted, 2000u);
  for (uint64_t i = 1; i <= 64; ++i) EXPECT_EQ(verdict(key(i), 1), CacheVerdict::forward) << i;
}

TEST_P(SessionCacheTest, FullTableTakesExpiredFirst) {
  for (uint64_t i = 1; i <= 32; ++i) ASSERT_TRUE(lease(key(i), {.time = 1s}));
  for (uint64_t i = 33; i <= 64; ++i) ASSERT_TRUE(lease(key(i), {.time = 30s}));
  now_ += 2s;
  for (uint64_t i = 101; i <= 116; ++i) ASSERT_TRUE(lease(key(i), {.time = 30s}));
  int kept = 0;
  for (uint64_t i = 33; i <= 64; ++i) kept += verdict(key(i)) == CacheVerdict::forward;
  EXPECT_GE(kept, 30) << "a sample of 16 misses the expired ones now and then";
}

TEST_P(SessionCacheTest, FullTableNeverGivesUpATombstone) {
  for (uint64_t i = 1; i <= 64; ++i) ASSERT_TRUE(tombstone(key(i), {1, 1, 1}, false));
  EXPECT_FALSE(lease(key(100)));
  EXPECT_EQ(cache_->stats().insert_failed, 1u);
  for (uint64_t i = 1; i <= 64; ++i) EXPECT_EQ(verdict(key(i)), CacheVerdict::drop);
}

TEST_P(SessionCacheTest, FullTableTakesFromTheGroupBeyondItsShare) {
  make({.sessions = 400, .negative = 16, .readers = 1});
  for (uint64_t i = 1; i <= 350; ++i) ASSERT_TRUE(lease(key(i), {.group = 10}));
  for (uint64_t i = 351; i <= 400; ++i) ASSERT_TRUE(lease(key(i), {.group = 20}));
  for (uint64_t i = 1; i <= 350; ++i) look(key(i), 60'000);  // group 20's are the idle ones
  for (uint64_t i = 1001; i <= 1100; ++i) ASSERT_TRUE(lease(key(i), {.group = 10}));
  for (uint64_t i = 351; i <= 400; ++i) EXPECT_EQ(verdict(key(i)), CacheVerdict::forward) << i;
}

TEST_P(SessionCacheTest, ASlotIsNotUsedAgainWhileAReaderMayHoldIt) {
  if (GetParam() == SessionTable::lines) GTEST_SKIP() << "its readers look whose the slot is: see the threads test";
  make({.sessions = 16, .negative = 0, .readers = 1});
  cache_->register_reader(0);
  size_t taken = 0;
  for (uint64_t i = 1; i <= 1000; ++i) taken += lease(key(i));
  EXPECT_EQ(taken, 16u + 64u) << "16 and the slots beyond, then the reader has to let go";
  cache_->quiescent(0);
  EXPECT_TRUE(lease(key(2000)));
  cache_->unregister_reader(0);
}

TEST_P(SessionCacheTest, SweepFrees) {
  for (uint64_t i = 1; i <= 40; ++i) ASSERT_TRUE(lease(key(i), {.time = i <= 10 ? Duration(1s) : Duration(30s)}));
  ASSERT_TRUE(put(key(50), CacheTarget::negative, 250ms));
  now_ += 2s;
  EXPECT_EQ(round(), 11u);
  EXPECT_EQ(cache_->stats().entries, 30u);
  EXPECT_EQ(cache_->stats().negative, 0u);
}

TEST_P(SessionCacheTest, BadOptions) {
  EXPECT_FALSE(SessionCache::create({.sessions = 0, .table = GetParam()}));
  EXPECT_FALSE(SessionCache::create({.readers = 0, .table = GetParam()}));
}

// Inserts move entries from where the sweep has yet to come by to where it has been. None may miss a round for that: an
// end beyond what a word can tell would seem to have passed.
TEST(SessionCacheSweep, OverlooksNoTombstoneThatHasMoved) {
  constexpr uint32_t kTombstones = 2000, kOthers = 116'000;  // nine tenths of the smallest table of lines
  Instant now = kStart;
  auto cache = std::move(*SessionCache::create(
      {.sessions = kTombstones, .negative = kOthers, .zero = kZero, .table = SessionTable::lines}));
  for (uint64_t i = 0; i < kTombstones; ++i) {
    ASSERT_TRUE(cache->put(key(i), {.target = CacheTarget::drop, .group = {10}, .ends = now + 24h}, now));
  }
  uint64_t next = kTombstones;
  auto come = [&] {
    ASSERT_TRUE(cache->put(key(next++), {.target = CacheTarget::negative, .group = {10}, .ends = now + 1h}, now));
  };
  while (next < kTombstones + kOthers) come();
  for (int step = 0; step < 60; ++step) {  // three rounds of 200 s
    now += 10s;
    cache->sweep(cache->slots() / 20 + 1, now);
    for (int i = 0; i < 10'000; ++i) {
      ASSERT_TRUE(cache->remove_negative(key(next - kOthers)));
      come();
    }
  }
  ASSERT_EQ(cache->stats().evicted, 0u);
  for (uint64_t i = 0; i < kTombstones; ++i) {
    const SessionKey k = key(i);
    const uint32_t bytes = 100;
    CacheHit hit;
    cache->lookup(&k, &bytes, 1, now, &hit);
    ASSERT_EQ(hit.verdict, CacheVerdict::drop) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, SessionCacheTest, testing::Values(SessionTable::lines, SessionTable::rte_hash),
                         [](const auto& i) { return i.param == SessionTable::lines ? "lines" : "rte_hash"; });

}  // namespace
}  // namespace statecast
