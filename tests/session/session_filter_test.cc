// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/session_filter.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "dataplane/session/absence.h"

namespace statecast {
namespace {

SessionKey random_key(Rng& rng) {
  return {rng.next(), rng.next()};
}

// Keys of a few slots only, as a directory node has them.
SessionKey key_in(Rng& rng, unsigned slots) {
  return {rng.below(slots) << 48 | rng.next() >> 16, rng.next()};
}

TEST(SessionFilter, HasAllThatWasAddedAndLittleElse) {
  for (unsigned slots : {65'536u, 700u, 3u}) {
    Rng rng(slots);
    constexpr size_t kSessions = 100'000;
    SessionFilter f(SessionFilter::blocks_for(kSessions));
    EXPECT_LE(f.bytes(), kSessions * 10 / 8 + 64);
    std::vector<SessionKey> added;
    for (size_t i = 0; i < kSessions; ++i) added.push_back(key_in(rng, slots)), f.add(added.back());
    for (const SessionKey& k : added) ASSERT_TRUE(f.may_have(k));
    size_t wrong = 0;
    for (size_t i = 0; i < kSessions; ++i) wrong += f.may_have(key_in(rng, slots));
    EXPECT_LT(double(wrong) / kSessions, 0.015) << slots << " slots";
  }
}

TEST(SessionFilter, IsCopiedBlockByBlockAndFollowsByUpperHalves) {
  Rng rng(2);
  SessionFilter f(SessionFilter::blocks_for(5000)), copy(f.blocks());
  std::vector<SessionKey> keys;
  for (int i = 0; i < 2500; ++i) keys.push_back(random_key(rng)), f.add(keys.back());
  for (size_t b = 0; b < f.blocks(); ++b) {
    uint64_t words[SessionFilter::kBlockWords];
    f.get_block(b, words);
    copy.merge_block(b, words);
  }
  for (int i = 0; i < 2500; ++i) keys.push_back(random_key(rng)), f.add(keys.back()), copy.add(keys.back().high);
  for (const SessionKey& k : keys) EXPECT_TRUE(copy.may_have(k));
  for (int i = 0; i < 10'000; ++i) {
    const SessionKey k = random_key(rng);
    EXPECT_EQ(copy.may_have(k), f.may_have(k));
  }
}

// --- absence ---

constexpr Instant kNow{1h};

struct Word {
  bool has_it = false, fresh = true, in_sync = true, known = true;
};

struct Row {
  const char* name;
  unsigned agree;
  std::vector<Word> replicas;
  bool absent;
};

const SessionKey kKey{0x1234'5678'9abc'def0, 1};

TEST(AbsenceMap, TakesAsManyAsWouldConfirm) {
  const Word lacks{}, has{.has_it = true}, stale{.fresh = false}, unsynced{.in_sync = false}, unknown{.known = false};
  const Row rows[] = {
      {"all lack it", 2, {lacks, lacks, lacks}, true},
      {"two of three lack it, one is stale", 2, {stale, lacks, lacks}, true},
      {"one has it, met first", 2, {has, lacks, lacks}, false},
      {"one lacks it, the next has it", 2, {lacks, has, lacks}, false},
      {"only one word counts: stale", 2, {lacks, stale, stale}, false},
      {"only one word counts: out of sync there", 2, {unsynced, unsynced, lacks}, false},
      {"only one word counts: no summary yet", 2, {unknown, lacks, unknown}, false},
      {"one is enough where one confirms", 1, {lacks, unknown}, true},
      {"a stale summary that has it does not count either", 2, {{.has_it = true, .fresh = false}, lacks, lacks}, true},
  };
  for (const Row& row : rows) {
    std::vector<AbsenceMap::Source> sources;
    auto placement = std::make_shared<std::vector<uint16_t>>();
    for (size_t slot = 0; slot < AbsenceMap::kSlots; ++slot) {
      for (size_t r = 0; r < row.replicas.size(); ++r) placement->push_back(static_cast<uint16_t>(r));
    }
    for (const Word& w : row.replicas) {
      auto filter = std::make_shared<SessionFilter>(16);
      if (w.has_it) filter->add(kKey);
      AbsenceMap::Source s;
      if (w.known) s.filter = filter;
      s.fresh_until = std::make_shared<std::atomic<Instant>>(w.fresh ? kNow + 1ns : kNow);
      s.counts.set();
      if (!w.in_sync) s.counts.reset(kKey.slot().value);
      sources.push_back(std::move(s));
    }
    AbsenceMap map(placement, static_cast<unsigned>(row.replicas.size()), row.agree, std::move(sources));
    EXPECT_EQ(map.absent(kKey, kNow), row.absent) << row.name;
  }
}

}  // namespace
}  // namespace statecast
