// SPDX-License-Identifier: BSD-3-Clause
// Several readers, one writer, for real: made to be run under ThreadSanitizer too. DPDK is not instrumented, so what
// TSan sees is this project's own synchronisation: the words, the halves, the member table and the sweep's horizon.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "dataplane/cache/session_cache.h"
#include "tests/cache/readers.h"

namespace statecast {
namespace {

constexpr Instant kStart{3h};
constexpr SessionKey key(uint64_t n) {
  return {n * 0xbf58476d1ce4e5b9u, n * 0x9e3779b97f4a7c15u};
}
class SessionCacheThreads : public testing::TestWithParam<SessionTable> {};

// What is granted while three cores spend as fast as they can is an upper bound of what passes, for every session, and
// each renewal is asked for at most once.
TEST_P(SessionCacheThreads, NeverPassMoreThanIsGranted) {
  auto cache = std::move(*SessionCache::create(
      {.sessions = 64, .negative = 16, .readers = kReaders, .zero = kStart, .table = GetParam()}));
  constexpr uint64_t kKeys = 4;
  std::atomic<uint64_t> passed[kKeys]{}, asked[kKeys]{};
  Readers readers;
  readers.start(*cache, [&](unsigned, uint64_t random) {
    SessionKey keys[kBurst];
    uint32_t bytes[kBurst];
    CacheHit hits[kBurst];
    for (size_t i = 0; i < kBurst; ++i) {
      keys[i] = key((random + i) % kKeys);
      bytes[i] = 40 + uint32_t(random * (i + 1)) % 1461;
    }
    cache->lookup(keys, bytes, kBurst, kStart + 1s, hits);
    for (size_t i = 0; i < kBurst; ++i) {
      const size_t k = (random + i) % kKeys;
      if (hits[i].verdict == CacheVerdict::forward) passed[k] += bytes[i];
      if (hits[i].ask_again) ++asked[k];
    }
  });
  uint64_t granted[kKeys]{}, renewed[kKeys]{};
  for (int i = 0; i < 2000; ++i) {
    const uint64_t k = uint64_t(i) % kKeys, bytes = 1000 + uint64_t(i) * 37 % 50'000;
    granted[k] += bytes;
    ++renewed[k];
    ASSERT_TRUE(cache->put(key(k),
                           {.member = {7}, .group = {1}, .version = {1, 1, 1}, .ends = kStart + 10s, .bytes = bytes},
                           kStart + 1s));
    cache->sweep(20, kStart + 1s);
    if (i % 16 == 0) std::this_thread::yield();
  }
  // Until everything is spent but what no packet of these sizes fits into.
  for (uint64_t k = 0; k < kKeys; ++k) {
    while (granted[k] - passed[k] >= 1500 && granted[k] >= passed[k]) std::this_thread::yield();
  }
  readers.join();
  for (uint64_t k = 0; k < kKeys; ++k) {
    EXPECT_LE(passed[k], granted[k]);
    EXPECT_EQ(granted[k] - passed[k], cache->find(key(k), kStart + 1s)->bytes) << "to the byte";
    EXPECT_LE(asked[k], 2 * renewed[k]) << "once per renewal, and once for the word that a renewal is about to replace";
    EXPECT_GE(asked[k], 1u);
  }
}

TEST_P(SessionCacheThreads, OneLookupAsks) {
  for (int round = 0; round < 20; ++round) {
    auto cache = std::move(*SessionCache::create(
        {.sessions = 64, .negative = 0, .readers = kReaders, .zero = kStart, .table = GetParam()}));
    ASSERT_TRUE(cache->put(key(1), {.member = {7}, .group = {1}, .ends = kStart + 10s, .bytes = 200'000}, kStart));
    std::atomic<unsigned> asked{0}, spent{0};
    Readers readers;
    readers.start(*cache, [&](unsigned, uint64_t) {
      const SessionKey k = key(1);
      const uint32_t bytes = 100;
      CacheHit hit;
      cache->lookup(&k, &bytes, 1, kStart, &hit);
      asked += hit.ask_again;
      spent += hit.verdict == CacheVerdict::spent;
    });
    while (spent < 10) std::this_thread::yield();
    readers.join();
    EXPECT_EQ(asked, 1u);
  }
}

// Slots are used again and again for other sessions under the readers' eyes; none ever sees another session's member.
TEST_P(SessionCacheThreads, ASlotNeverSpeaksForAnotherSession) {
  auto cache = std::move(*SessionCache::create(
      {.sessions = 32, .negative = 32, .readers = kReaders, .zero = kStart, .table = GetParam()}));
  constexpr uint64_t kKeys = 200;
  std::atomic<uint64_t> wrong{0}, hits_seen{0};
  Readers readers;
  readers.start(*cache, [&](unsigned, uint64_t random) {
    SessionKey keys[kBurst];
    uint32_t bytes[kBurst];
    CacheHit hits[kBurst];
    for (size_t i = 0; i < kBurst; ++i) {
      keys[i] = key((random + i * 5) % kKeys);
      bytes[i] = 60;
    }
    cache->lookup(keys, bytes, kBurst, kStart + 1s, hits);
    for (size_t i = 0; i < kBurst; ++i) {
      if (hits[i].verdict != CacheVerdict::forward) continue;
      ++hits_seen;
      wrong += hits[i].member.value != 1000 + (random + i * 5) % kKeys;
    }
  });
  uint64_t taken = 0;
  for (uint64_t i = 0; i < 30'000; ++i) {
    const uint64_t k = i * 31 % kKeys;
    const bool negative = i % 5 == 0;
    taken += cache->put(key(k),
                        {.target = negative ? CacheTarget::negative : CacheTarget::member,
                         .member = {uint32_t(1000 + k)},
                         .group = {1},
                         .version = {1, 1, i},
                         .ends = kStart + 10s,
                         .bytes = i % 3 ? UINT64_MAX : 5000},
                        kStart + 1s);
    if (i % 7 == 0) cache->remove_if_not_newer(key((k + 3) % kKeys), {1, 1, i}, kStart + 1s);
    if (i % 64 == 0) std::this_thread::yield();
  }
  while (hits_seen == 0) std::this_thread::yield();
  readers.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(taken, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Tables, SessionCacheThreads, testing::Values(SessionTable::lines, SessionTable::rte_hash),
                         [](const auto& i) { return i.param == SessionTable::lines ? "lines" : "rte_hash"; });

}  // namespace
}  // namespace statecast
