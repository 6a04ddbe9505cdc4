// SPDX-License-Identifier: BSD-3-Clause
// The table of lines by itself: where keys stand, what moves, what is compared, and how full it gets.
#include "dataplane/cache/line_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace statecast {
namespace {

constexpr uint32_t kSlots = 1 << 17;  // of the smallest table

class LineTableTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(table_.create({.sessions = 1000, .negative = 0}));
    ASSERT_EQ(table_.slots(), kSlots);
  }
  SessionKey random_key() { return {rng_(), rng_()}; }
  // Inserts, gives the slot a word that names the key by its number, and follows the moves.
  int64_t insert(const SessionKey& key) {
    SlotMoves moves;
    const int64_t slot = table_.insert(key, moves);
    for (unsigned i = 0; i < moves.n; ++i) {
      const auto [from, to] = moves.at[i];
      EXPECT_TRUE(at_.contains(from) && !at_.contains(to));
      at_[to] = at_[from];
      at_.erase(from);
      moved_ += 1;
    }
    if (slot < 0) return slot;
    EXPECT_FALSE(at_.contains(uint32_t(slot)));
    EXPECT_EQ(word_destination(table_.word(uint32_t(slot)).load()), uint32_t(kDead));
    table_.word(uint32_t(slot))
        .store(make_word(kFirstDestination, 0, 0, number_) | (table_.word(uint32_t(slot)).load() & kSaltMask));
    table_.set_marks(uint32_t(slot), number_ % kMarksMask);
    at_[uint32_t(slot)] = {key, number_++};
    return slot;
  }
  void check_all() {
    for (const auto& [slot, what] : at_) {
      ASSERT_EQ(table_.find(what.first), int64_t(slot));
      ASSERT_EQ(word_bytes(table_.word(slot).load()), what.second);
      ASSERT_EQ(table_.marks(slot), what.second % kMarksMask);
    }
  }

  LineTable table_;
  std::mt19937_64 rng_{1};
  std::map<uint32_t, std::pair<SessionKey, uint32_t>> at_;
  uint32_t number_ = 0;
  uint64_t moved_ = 0;
};

TEST_F(LineTableTest, FillsToItsLoadAndBeyond) {
  const auto full = uint32_t(LineTable::kLoad * kSlots);
  while (number_ < full) ASSERT_GE(insert(random_key()), 0) << number_;
  EXPECT_GT(moved_, full / 20) << "or there would be nothing to test here";
  while (number_ < kSlots * 96 / 100) ASSERT_GE(insert(random_key()), 0) << number_;
  check_all();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(table_.find(random_key()), -1);
}

TEST_F(LineTableTest, TakesAndGivesAtItsLoad) {
  const auto full = uint32_t(LineTable::kLoad * kSlots);
  while (at_.size() < full) ASSERT_GE(insert(random_key()), 0);
  for (int i = 0; i < 100'000; ++i) {
    auto victim = at_.lower_bound(uint32_t(rng_() % kSlots));
    if (victim == at_.end()) victim = at_.begin();
    const SessionKey gone = victim->second.first;
    table_.erase(victim->first);
    at_.erase(victim);
    ASSERT_EQ(table_.find(gone), -1);
    ASSERT_GE(insert(random_key()), 0);
  }
  check_all();
}

TEST_F(LineTableTest, ComparesAllBitsButTheDirectorysSlot) {
  const SessionKey key{0x123456789abcdef0, 0xfedcba9876543210};
  const int64_t slot = insert(key);
  for (unsigned bit = 0; bit < 48; ++bit) {
    EXPECT_EQ(table_.find({key.high ^ uint64_t(1) << bit, key.low}), -1) << "high " << bit;
  }
  for (unsigned bit = 49; bit < 64; ++bit) {  // 2^15 lines
    EXPECT_EQ(table_.find({key.high, key.low ^ uint64_t(1) << bit}), -1) << "low " << bit;
  }
  EXPECT_EQ(table_.find({key.high ^ uint64_t(1) << 48, key.low}), slot)
      << "the slot of the directory says nothing here";
}

TEST_F(LineTableTest, FullLinesNameTheirCandidates) {
  const SessionKey key = random_key();
  // Keys of the same two lines: those whose candidates are the same.
  uint32_t want[kCandidatesMax], slots[kCandidatesMax];
  ASSERT_EQ(table_.candidates(key, want), kCandidatesMax);
  for (unsigned n = 0; n < kCandidatesMax; ++n) {
    const SessionKey same{key.high, key.low ^ n};  // the same tag and line: the table cannot tell them apart
    const int64_t slot = insert(same);
    ASSERT_NE(std::find(want, want + kCandidatesMax, uint32_t(slot)), want + kCandidatesMax);
    table_.candidates(same, slots);
    ASSERT_TRUE(std::equal(slots, slots + kCandidatesMax, want));
  }
  EXPECT_EQ(insert(key), -1) << "eight of them fill both lines, and none can go elsewhere";
  table_.erase(want[5]);
  at_.erase(want[5]);
  EXPECT_EQ(insert(key), want[5]);
}

TEST_F(LineTableTest, ASlotHasAnotherSaltEachTime) {
  const SessionKey key = random_key();
  uint64_t before = kSaltMask + 1;
  for (int i = 0; i < 4; ++i) {
    const auto slot = uint32_t(insert(key));
    const uint64_t salt = table_.word(slot).load() & kSaltMask;
    EXPECT_NE(salt, before);
    before = salt;
    table_.erase(slot);
    at_.erase(slot);
    EXPECT_EQ(word_destination(table_.word(slot).load()), uint32_t(kDead));
  }
}

}  // namespace
}  // namespace statecast
