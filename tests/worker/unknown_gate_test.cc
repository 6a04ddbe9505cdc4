// SPDX-License-Identifier: BSD-3-Clause
// The gate: which unknown sessions are asked about under pressure, and for how many of a flood.
#include "dataplane/worker/unknown_gate.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "base/rng.h"

namespace statecast {
namespace {

constexpr Instant kNow{1h};

// One replica that has `kKnown` and is fresh until kNow + 10 s.
const SessionKey kKnown{7, 7}, kAbsent{8, 8};
std::unique_ptr<AbsenceMap> map_of_one() {
  auto filter = std::make_shared<SessionFilter>(1000);
  filter->add(kKnown);
  AbsenceMap::Source s{filter, std::make_shared<std::atomic<Instant>>(kNow + 10s), {}};
  s.counts.set();
  return std::make_unique<AbsenceMap>(std::make_shared<std::vector<uint16_t>>(AbsenceMap::kSlots), 1, 1,
                                      std::vector<AbsenceMap::Source>{s});
}

class GateTest : public testing::Test {
 protected:
  GateTest() : map_(map_of_one()) {
    layout_.groups.resize(2);
    for (Group& g : layout_.groups) g.absent_per_second = 100;
    pressure_.on = true;
    pressure_.absence = map_.get();
  }
  IpAddress source(uint32_t n) const {
    const uint8_t raw[4] = {uint8_t(n >> 24 | 1), uint8_t(n >> 16), uint8_t(n >> 8), uint8_t(n)};
    return IpAddress::v4(raw);
  }
  unsigned passed(UnknownGate& gate, unsigned tries, uint32_t group, const std::function<IpAddress()>& from,
                  Duration over = 0s) {
    unsigned n = 0;
    for (unsigned i = 0; i < tries; ++i) n += gate.passes(kAbsent, group, from(), kNow + over * i / tries);
    return n;
  }
  Layout layout_;
  Pressure pressure_;
  std::unique_ptr<AbsenceMap> map_;
  Rng rng_{1};
};

TEST_F(GateTest, WhatIsNotCalledAbsentPasses) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(gate.passes(kKnown, 0, source(5), kNow));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(gate.passes(kAbsent, 0, source(5), kNow + 10s)) << "nothing is fresh then";
  pressure_.absence = nullptr;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(gate.passes(kAbsent, 0, source(5), kNow));
}

TEST_F(GateTest, APrefixOfSourcesTakesNoMoreThanItsOwn) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  uint32_t host = 0;
  EXPECT_EQ(passed(gate, 1000, 0, [&] { return source(0x0b0c0d00 | (host++ & 255)); }), UnknownGate::kPerPrefixAtOnce);
  EXPECT_TRUE(gate.passes(kAbsent, 0, source(0x0b0c0e01), kNow)) << "another /24";
  UnknownGate later(layout_, 1, pressure_, 1);
  EXPECT_NEAR(passed(
                  later, 1000, 0, [&] { return source(0x0b0c0d00 | (host++ & 255)); }, 5s),
              50 + 5, 2);
}

TEST_F(GateTest, AGroupTakesNoMoreThanItsOwnAndNothingFromAnother) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  auto anywhere = [&] { return source(static_cast<uint32_t>(rng_.next())); };
  EXPECT_NEAR(passed(gate, 100'000, 0, anywhere, 5s), 500, 15);
  for (int i = 0; i < 100; ++i) gate.passes(kAbsent, 0, anywhere(), kNow + 5s);
  EXPECT_FALSE(gate.passes(kAbsent, 0, source(0x0b0c0d00), kNow + 5s));
  EXPECT_TRUE(gate.passes(kAbsent, 1, source(0x0b0c0d00), kNow + 5s));
  UnknownGate quarter(layout_, 4, pressure_, 1);
  EXPECT_NEAR(passed(quarter, 100'000, 0, anywhere, 5s), 125, 5) << "four workers share it";
}

TEST_F(GateTest, AProvenSourceDoesNotCompeteWithTheOthers) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  const IpAddress client = source(0x01020304);
  auto anywhere = [&] { return source(static_cast<uint32_t>(rng_.next())); };
  gate.see_proven(client, kNow);
  passed(gate, 100'000, 0, anywhere);
  EXPECT_FALSE(gate.passes(kAbsent, 0, source(0x01020305), kNow)) << "the group's tokens are gone";
  EXPECT_TRUE(gate.passes(kAbsent, 0, client, kNow));
  EXPECT_LT(passed(gate, 1000, 0, [&] { return client; }), 12u) << "but for a bucket of their own";
}

TEST_F(GateTest, ProofEnds) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  const IpAddress client = source(0x01020304), other = source(0x99020304);
  auto anywhere = [&] { return source(static_cast<uint32_t>(rng_.next())); };
  auto proven_at = [&](Duration d) {
    passed(gate, 100'000, 0, anywhere);
    return gate.passes(kAbsent, 0, client, kNow + d);
  };
  gate.see_proven(client, kNow);
  gate.see_proven(other, kNow + UnknownGate::kProvenFor);
  EXPECT_TRUE(proven_at(0s));
  gate.see_proven(other, kNow + 2 * UnknownGate::kProvenFor);
  EXPECT_FALSE(proven_at(0s));
}

TEST_F(GateTest, PrefixesOfBothFamilies) {
  UnknownGate gate(layout_, 1, pressure_, 1);
  const IpAddress a = *IpAddress::parse("2001:db8:1:2::1"), b = *IpAddress::parse("2001:db8:1:3::1"),
                  c = *IpAddress::parse("2001:db8:2:3::1");
  EXPECT_EQ(passed(gate, 100, 0, [&] { return rng_.chance(0.5) ? a : b; }), UnknownGate::kPerPrefixAtOnce) << "one /48";
  EXPECT_TRUE(gate.passes(kAbsent, 0, c, kNow));
  gate.see_proven(a, kNow);
  EXPECT_TRUE(gate.passes(kAbsent, 0, *IpAddress::parse("2001:db8:1:2:9::9"), kNow)) << "proof is for a /64";
}

}  // namespace
}  // namespace statecast
