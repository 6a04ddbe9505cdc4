// SPDX-License-Identifier: BSD-3-Clause
// What is counted of each packet that comes in.
#include "tools/pktgen/accounting.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace statecast {
namespace {

constexpr double kCyclesPerNs = 2;

struct Packet {
  uint32_t sequence;
  bool expected = true;
};
struct Row {
  const char* name;
  uint64_t sent;
  std::vector<Packet> arrived;
  uint64_t received, lost, reordered, late, duplicate, wrong_member;
};

TEST(Accounts, EachFateIsCountedOnce) {
  const Row rows[] = {
      {"all well", 3, {{0}, {1}, {2}}, 3, 0, 0, 0, 0, 0},
      {"one lost", 3, {{0}, {2}}, 2, 1, 0, 0, 0, 0},
      {"the last lost", 3, {{0}, {1}}, 2, 1, 0, 0, 0, 0},
      {"all lost", 3, {}, 0, 3, 0, 0, 0, 0},
      {"two changed places", 3, {{0}, {2}, {1}}, 3, 0, 1, 0, 0, 0},
      {"one twice", 3, {{0}, {1}, {1}, {2}}, 3, 0, 0, 0, 1, 0},
      {"one twice, another lost", 3, {{0}, {1}, {1}}, 2, 1, 0, 0, 1, 0},
      {"late and twice", 3, {{0}, {2}, {1}, {1}}, 3, 0, 1, 0, 1, 0},
      {"at the wrong member", 3, {{0}, {1, false}, {2}}, 3, 0, 0, 0, 0, 1},
      {"at the wrong member, twice", 2, {{0, false}, {0, false}, {1}}, 2, 0, 0, 0, 1, 1},
      {"older than the window", 20'001, {{20'000}, {5}}, 2, 19'999, 1, 1, 0, 0},
      {"numbers wrap", 4, {{UINT32_MAX - 1}, {UINT32_MAX}, {1}, {0}}, 4, 0, 1, 0, 0, 0},
  };
  for (const Row& r : rows) {
    SCOPED_TRACE(r.name);
    Accounts a(2, 1, kCyclesPerNs);
    a.sent(1, Flow::forward, r.sent, r.sent * 64);
    for (const Packet& p : r.arrived)
      a.arrived({.cycles = 1'000, .sequence = p.sequence, .stream = 1}, 64, 3'000, p.expected);
    const Accounts* all[] = {&a};
    StreamTotals t = totals(all, 1, Flow::forward);
    EXPECT_EQ(t.sent, r.sent);
    EXPECT_EQ(t.received, r.received);
    EXPECT_EQ(t.received_bytes, r.received * 64);
    EXPECT_EQ(t.lost(), r.lost);
    EXPECT_EQ(t.reordered, r.reordered);
    EXPECT_EQ(t.late, r.late);
    EXPECT_EQ(t.duplicate, r.duplicate);
    EXPECT_EQ(t.wrong_member, r.wrong_member);
    EXPECT_EQ(a.counters(1, Flow::forward).latency.count(), r.received);
    EXPECT_EQ(a.counters(1, Flow::forward).latency.max(), r.received ? 1'000u : 0u);  // 2,000 cycles
    EXPECT_EQ(totals(all, 0, Flow::forward).received, 0u);
    EXPECT_EQ(totals(all, 1, Flow::answer).received, 0u);
  }
}

TEST(Accounts, WorkersAndDirectionsHaveNumbersOfTheirOwn) {
  Accounts a(1, 2, kCyclesPerNs), b(1, 2, kCyclesPerNs);
  for (uint8_t worker : {0, 1})
    for (bool answer : {false, true}) a.arrived({.sequence = 7, .worker = worker, .answer = answer}, 64, 0, true);
  b.arrived({.sequence = 8, .worker = 0}, 64, 0, true);  // another receiver
  const Accounts* all[] = {&a, &b};
  EXPECT_EQ(totals(all, 0, Flow::forward).received, 3u);
  EXPECT_EQ(totals(all, 0, Flow::answer).received, 2u);
  EXPECT_EQ(totals(all, 0, Flow::forward).duplicate, 0u);
  EXPECT_FALSE(a.is_known({.stream = 1}));
  EXPECT_FALSE(a.is_known({.worker = 2}));
}

TEST(Accounts, TimesOf48BitsWrap) {
  Accounts a(1, 1, kCyclesPerNs);
  a.arrived({.cycles = kMarkTimeMask - 99}, 64, (uint64_t(5) << 48) + 100, true);
  EXPECT_EQ(a.counters(0, Flow::forward).latency.max(), 100u);
}

// Against a set of all numbers seen; the window is longer than any number goes back.
TEST(SequenceWindow, AgreesWithASet) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    SequenceWindow w;
    std::set<uint64_t> seen;
    uint64_t base = UINT32_MAX - 20'000, highest = 0;
    for (int i = 0; i < 60'000; ++i) {
      uint64_t back = rng.chance(0.2) ? rng.below(SequenceWindow::kSize) : 0;
      uint64_t n = back ? (highest >= back ? highest - back : 0) : highest + rng.below(rng.chance(0.001) ? 50'000 : 3);
      Arrival expected = seen.contains(n)              ? Arrival::duplicate
                         : seen.empty() || n > highest ? Arrival::in_order
                                                       : Arrival::reordered;
      ASSERT_EQ(w.take(static_cast<uint32_t>(base + n)), expected) << "at " << i << ", number " << n;
      seen.insert(n);
      highest = std::max(highest, n);
    }
  }
}

}  // namespace
}  // namespace statecast
