// SPDX-License-Identifier: BSD-3-Clause
// What decides how many packets of which session leave when: popularity, pacer, throughput search.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tools/pktgen/pacer.h"
#include "tools/pktgen/popularity.h"
#include "tools/pktgen/search.h"

namespace statecast {
namespace {

std::vector<uint64_t> drawn(Popularity p, uint64_t seed, size_t n) {
  Rng rng(seed);
  std::vector<uint64_t> counts(p.sessions());
  std::vector<uint32_t> burst(100);
  for (size_t i = 0; i < n; i += burst.size()) {
    p.draw(rng, burst);
    for (uint32_t s : burst) counts.at(s)++;
  }
  return counts;
}

// Of n draws with probability p, within six standard deviations.
void expect_share(uint64_t count, double p, size_t n, const std::string& what) {
  double mean = p * static_cast<double>(n), deviation = std::sqrt(mean * (1 - p));
  EXPECT_NEAR(static_cast<double>(count), mean, 6 * deviation + 1) << what;
}

TEST(Popularity, ZipfHasItsFrequencies) {
  constexpr size_t kDraws = 2'000'000;
  for (double exponent : {0.5, 0.99, 1.0, 2.0}) {
    for (uint32_t sessions : {1u, 2u, 10u, 1'000u}) {
      auto counts = drawn(Popularity::zipf(sessions, exponent), 42, kDraws);
      double sum = 0;
      for (uint32_t i = 1; i <= sessions; ++i) sum += std::pow(i, -exponent);
      for (uint32_t i = 0; i < sessions; ++i)
        expect_share(
            counts[i], std::pow(i + 1.0, -exponent) / sum, kDraws,
            std::to_string(sessions) + " sessions, s = " + std::to_string(exponent) + ", session " + std::to_string(i));
    }
  }
}

TEST(Popularity, UniformIsUniformAndSequentialInTurn) {
  constexpr size_t kDraws = 1'000'000;
  auto counts = drawn(Popularity::uniform(100), 1, kDraws);
  for (uint64_t c : counts) expect_share(c, 0.01, kDraws, "uniform");
  Rng rng(1);
  auto p = Popularity::sequential(3, 2);
  std::vector<uint32_t> got(5);
  p.draw(rng, got);
  EXPECT_EQ(got, (std::vector<uint32_t>{2, 0, 1, 2, 0}));
}

TEST(Popularity, CopiesDrawFromTheSameTable) {
  auto p = Popularity::zipf(1'000, 1);
  Popularity copy = p;
  Rng a(5), b(5);
  std::vector<uint32_t> whole(1'000), parts(1'000);
  p.draw(a, whole);
  for (size_t at = 0; at < parts.size(); at += 40) copy.draw(b, std::span(parts).subspan(at, 40));
  EXPECT_EQ(whole, parts) << "however many are drawn at a time";
}

TEST(Pacer, SendsWhatTheRateSays) {
  Pacer p({.packets_per_second = 1'000});
  uint64_t sent = 0;
  for (int ms = 0; ms <= 2'000; ++ms) sent += p.take(ms * 1e-3, 32);
  EXPECT_EQ(sent, 2'000u);
  EXPECT_EQ(p.forgiven(), 0);
}

TEST(Pacer, ARampIsItsIntegral) {
  Pacer p({.packets_per_second = 3'000, .ramp_from = 1'000, .ramp_seconds = 2});
  EXPECT_DOUBLE_EQ(p.due_by(1), 1'500);
  EXPECT_DOUBLE_EQ(p.due_by(2), 4'000);
  EXPECT_DOUBLE_EQ(p.due_by(3), 7'000);
  uint64_t sent = 0;
  for (int ms = 0; ms <= 3'000; ++ms) sent += p.take(ms * 1e-3, 32);
  EXPECT_NEAR(static_cast<double>(sent), 7'000, 1);
}

TEST(Pacer, WaitsForItsStartAndIsAlwaysDueWithoutARate) {
  Pacer late({.packets_per_second = 1'000, .start_seconds = 5});
  EXPECT_EQ(late.take(4.999, 32), 0u);
  EXPECT_EQ(late.take(5.0105, 32), 10u);
  Pacer free({});
  EXPECT_EQ(free.take(0, 32), 32u);
  EXPECT_EQ(free.take(0, 32), 32u);
}

TEST(Pacer, ForgivesWhatABurstWouldBe) {
  Pacer p({.packets_per_second = 10'000});
  uint64_t sent = 0;
  for (int i = 0; i < 10; ++i) sent += p.take(1, 32);  // a whole second late
  EXPECT_EQ(sent, 64u);
  EXPECT_DOUBLE_EQ(p.forgiven(), 10'000 - 64);
  EXPECT_EQ(p.take(1.00105, 32), 10u);  // and goes on at its rate
  p.give_back(10);
  EXPECT_EQ(p.take(1.00105, 32), 10u);
  p.close(1.5);
  EXPECT_DOUBLE_EQ(p.forgiven(), 15'000 - 64 - 10);
}

// A device that passes up to `capacity`, driven by a generator that sends up to `sender`.
double found(double capacity, double sender, SearchOptions o, unsigned* trials = nullptr, bool* limited = nullptr) {
  ThroughputSearch s(o);
  while (auto rate = s.next()) {
    double sent = std::min(*rate, sender), lost = std::max(0.0, sent - capacity);
    s.take({.rate_sent = sent, .sent = static_cast<uint64_t>(sent), .lost = static_cast<uint64_t>(std::ceil(lost))});
    if (s.trials() > 50) break;
  }
  if (trials) *trials = s.trials();
  if (limited) *limited = s.generator_limited();
  return s.best();
}

TEST(ThroughputSearch, FindsTheCapacity) {
  constexpr double kMax = std::numeric_limits<double>::infinity();
  struct Row {
    const char* name;
    double capacity, sender;
    SearchOptions options;
    double low, high;
    bool limited;
  };
  const Row rows[] = {
      {"the device passes all", 20e6, 20e6, {.to = 10e6}, 10e6, 10e6, false},
      {"half", 5e6, 20e6, {.to = 10e6}, 4.9e6, 5e6, false},
      {"a tenth", 1e6, 20e6, {.to = 10e6}, 0.9e6, 1e6, false},
      {"nothing", 0, 20e6, {.to = 10e6}, 0, 0, false},
      {"as fast as can be", 7e6, 12e6, {.to = kMax}, 6.88e6, 7e6, false},
      {"the generator is the slower one", 20e6, 12e6, {.to = kMax}, 12e6, 12e6, true},
      {"slower than asked, too", 20e6, 12e6, {.to = 15e6}, 12e6, 12e6, true},
      {"fine resolution", 3.3e6, 20e6, {.to = 10e6, .resolution = 0.0001}, 3.2985e6, 3.3e6, false},
      {"with loss allowed", 5e6, 20e6, {.to = 10e6, .loss = 0.5}, 10e6, 10e6, false},
      {"from a rate that is known to pass", 5e6, 20e6, {.from = 4e6, .to = 10e6}, 4.9e6, 5e6, false},
  };
  for (const Row& r : rows) {
    bool limited = false;
    double best = found(r.capacity, r.sender, r.options, nullptr, &limited);
    EXPECT_GE(best, r.low) << r.name;
    EXPECT_LE(best, r.high) << r.name;
    EXPECT_EQ(limited, r.limited) << r.name;
  }
}

TEST(ThroughputSearch, TakesAsManyTrialsAsTheResolutionAsksFor) {
  unsigned trials = 0;
  found(5.5e6, 20e6, {.to = 10e6, .resolution = 0.01}, &trials);
  EXPECT_EQ(trials, 1u + 7);  // 1/128 of the first
  found(20e6, 20e6, {.to = 10e6}, &trials);
  EXPECT_EQ(trials, 1u);
}

}  // namespace
}  // namespace statecast
