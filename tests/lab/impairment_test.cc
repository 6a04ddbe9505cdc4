// SPDX-License-Identifier: BSD-3-Clause
// The impaired link without devices: what of a thousand frames comes out, when, how often and in which order.
#include "tools/lab/link/impairment.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace statecast {
namespace {

constexpr uint32_t kFrames = 2000;

struct Arrival {
  uint32_t number;
  Instant at;
};

// A frame each 100 us; every one says its number.
std::vector<Arrival> carry(Line& line) {
  std::vector<Arrival> out;
  Instant now{1h};
  auto take_due = [&] {
    while (const Line::Frame* f = line.due(now)) {
      uint32_t number;
      std::memcpy(&number, f->data(), sizeof number);
      out.push_back({number, now});
      line.pop();
    }
  };
  for (uint32_t i = 0; i < kFrames; ++i, now += 100us) {
    uint8_t frame[64] = {};
    std::memcpy(frame, &i, sizeof i);
    line.offer(frame, now);
    take_due();
  }
  while (line.next_due() != Instant::max()) {
    now = line.next_due();
    take_due();
  }
  return out;
}

Instant sent(uint32_t number) {
  return Instant{1h} + number * 100us;
}

TEST(Line, UnimpairedItPassesAllAtOnceInOrder) {
  Line line(1);
  const auto out = carry(line);
  ASSERT_EQ(out.size(), kFrames);
  for (uint32_t i = 0; i < kFrames; ++i) {
    EXPECT_EQ(out[i].number, i);
    EXPECT_EQ(out[i].at, sent(i));
  }
}

TEST(Line, LosesAndDoublesAboutAsManyAsItIsTold) {
  Line line(2);
  line.set({.loss = 0.1, .duplicate = 0.2});
  const auto out = carry(line);
  const LineCounters& c = line.counters();
  EXPECT_NEAR(double(c.lost), 0.1 * kFrames, 60);
  EXPECT_NEAR(double(c.duplicated), 0.2 * 0.9 * kFrames, 80);
  EXPECT_EQ(out.size(), kFrames - c.lost + c.duplicated);
  EXPECT_EQ(c.passed, out.size());
}

TEST(Line, JitterChangesTheOrderAndDelayAloneDoesNot) {
  for (Duration jitter : {Duration{}, Duration{5ms}}) {
    Line line(3);
    line.set({.delay = 2ms, .jitter = jitter});
    const auto out = carry(line);
    ASSERT_EQ(out.size(), kFrames);
    unsigned reordered = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_GE(out[i].at, sent(out[i].number) + 2ms);
      EXPECT_LE(out[i].at, sent(out[i].number) + 2ms + jitter + 100us);
      reordered += i > 0 && out[i].number < out[i - 1].number;
    }
    EXPECT_EQ(reordered != 0, jitter != Duration{}) << reordered;
  }
}

TEST(Line, CutItPassesNothingAndWhatWasOnItsWayArrives) {
  Line line(4);
  line.set({.delay = 1ms});
  const uint8_t frame[64] = {};
  line.offer(frame, Instant{1h});
  line.set({.cut = true});
  line.offer(frame, Instant{1h});
  EXPECT_EQ(line.counters().lost, 1u);
  EXPECT_NE(line.due(Instant{1h} + 1ms), nullptr);
  line.pop();
  EXPECT_EQ(line.next_due(), Instant::max());
}

TEST(Line, WhatIsOnItsWayIsBounded) {
  Line line(5);
  line.set({.delay = 1s});
  const uint8_t frame[64] = {};
  for (size_t i = 0; i < Line::kFramesMax + 7; ++i) line.offer(frame, Instant{1h});
  EXPECT_EQ(line.counters().overflowed, 7u);
}

TEST(Line, TheSameSeedGivesTheSame) {
  for (uint64_t seed = 1; seed < 4; ++seed) {
    Line a(seed), b(seed);
    for (Line* l : {&a, &b}) l->set({.loss = 0.05, .duplicate = 0.05, .delay = 1ms, .jitter = 3ms});
    const auto x = carry(a), y = carry(b);
    ASSERT_EQ(x.size(), y.size());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i].number, y[i].number);
  }
}

}  // namespace
}  // namespace statecast
