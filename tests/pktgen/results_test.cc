// SPDX-License-Identifier: BSD-3-Clause
// Plans, and what is told of a measurement.
#include "tools/pktgen/results.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/ctl/pcap_io.h"
#include "tools/pktgen/plan.h"

namespace statecast {
namespace {

PktgenConfig config_with(PktgenStreamConfig s) {
  PktgenConfig c;
  c.ports.push_back({.name = "a", .device = "net_ring0", .addresses = {}, .gateway = {}});
  s.name = "s";
  if (s.destinations.empty()) s.destinations = {*Endpoint::parse("203.0.113.10:443")};
  c.streams.push_back(s);
  return c;
}

std::map<uint16_t, size_t> counted(const std::vector<uint16_t>& lengths) {
  std::map<uint16_t, size_t> out;
  for (uint16_t l : lengths) ++out[l];
  return out;
}

TEST(Plan, SizesComeInTheirProportions) {
  PktgenStreamConfig s;
  s.sizes = {{7, 64}, {4, 594}, {1, 1518}};
  s.rate = {RateConfig::Unit::bits, 1e9};
  auto plan = make_plan(config_with(s));
  ASSERT_TRUE(plan);
  const StreamPlan& p = plan->streams[0];
  EXPECT_EQ(counted(p.lengths), (std::map<uint16_t, size_t>{{60, 595}, {590, 340}, {1514, 85}}));
  EXPECT_DOUBLE_EQ(p.size_mean, (7 * 64 + 4 * 594 + 1518) / 12.0);
  EXPECT_DOUBLE_EQ(p.pacing.packets_per_second, 1e9 / 8 / p.size_mean);
  EXPECT_FALSE(std::is_sorted(p.lengths.begin(), p.lengths.end()));
  auto again = make_plan(config_with(s));
  EXPECT_EQ(again->streams[0].lengths, p.lengths) << "the same seed, the same order";

  s.sizes = {{999, 64}, {1, 1518}, {1000, 100}};  // more than the list is long
  auto large = counted(make_plan(config_with(s))->streams[0].lengths);
  EXPECT_EQ(large[60] + large[96] + large[1514], 1024u);
  EXPECT_NEAR(static_cast<double>(large[60]), 512, 1);
  EXPECT_LE(large[1514], 1u);
}

TEST(Plan, FramesAreLongEnoughForTheirMark) {
  PktgenStreamConfig s;
  s.protocol = ConfigProtocol::tcp;
  s.destinations = {*Endpoint::parse("[2001:db8::1]:443")};
  auto plan = make_plan(config_with(s));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->streams[0].lengths, std::vector<uint16_t>{14 + 40 + 20 + kMarkSize});
}

TEST(Plan, SizesOfACapture) {
  std::string path = testing::TempDir() + "pktgen-sizes.pcap";
  auto out = CaptureWriter::create(path);
  ASSERT_TRUE(out);
  std::vector<uint8_t> frame(1514);
  for (size_t n : {60u, 60u, 60u, 1514u}) (*out)->write(Bytes(frame).first(n), Instant{});
  ASSERT_TRUE((*out)->close());
  PktgenStreamConfig s;
  s.capture = path;
  auto plan = make_plan(config_with(s));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(counted(plan->streams[0].lengths), (std::map<uint16_t, size_t>{{60, 768}, {1514, 256}}));
  s.capture = path + ".missing";
  EXPECT_FALSE(make_plan(config_with(s)));
}

TEST(SetupTurn, AsksForTheMissingOnesAgain) {
  SetupTurn turn(3);
  std::vector<bool> ready(3);
  auto is_ready = [&](uint32_t s) { return ready[s]; };
  uint32_t s = 0;
  std::vector<uint32_t> asked;
  Instant now = Instant{} + 10s;
  while (turn.next(now, is_ready, s)) asked.push_back(s);
  EXPECT_EQ(asked, (std::vector<uint32_t>{0, 1, 2}));
  ready[1] = true;
  EXPECT_FALSE(turn.next(now + 999ms, is_ready, s));
  asked.clear();
  while (turn.next(now + 1s, is_ready, s)) asked.push_back(s);
  EXPECT_EQ(asked, (std::vector<uint32_t>{0, 2}));
}

Results sample() {
  auto h = std::make_unique<Histogram>();
  for (uint64_t v = 1; v <= 100; ++v) h->record(v * 10);
  Trial t{.what = "measurement <1>", .seconds = 2, .rate_asked = std::numeric_limits<double>::infinity()};
  FlowResult good{.stream = "web", .latency = latency_of(*h)};
  good.totals.sent = 110;
  good.totals.received = 100;
  good.totals.received_bytes = 6'400;
  good.totals.wrong_member = 3;
  FlowResult attack{.stream = "flood", .attack = true};
  attack.totals.sent = 1'000;
  t.flows = {good, attack};
  t.latency = good.latency;
  t.samples = {{1, 55, 50, 25'600}, {2, 55, 50, 25'600}};
  t.counters = {{"bad_tag", 4}, {"foreign", 0}};
  return {.profile = "seed: 1\n", .workers = 1, .cycles_per_second = 2.6e9, .trials = {t}};
}

TEST(Results, JsonSaysWhatWasCounted) {
  auto j = nlohmann::json::parse(to_json(sample()));
  auto& t = j["trials"][0];
  EXPECT_EQ(t["sent"], 110);
  EXPECT_EQ(t["received"], 100);
  EXPECT_EQ(t["lost"], 10) << "what attacks lose is no loss";
  EXPECT_EQ(t["wrong_member"], 3);
  EXPECT_EQ(t["counters"]["bad_tag"], 4);
  EXPECT_EQ(t["rate_asked_pps"], "max");
  EXPECT_EQ(t["received_pps"], 50);
  EXPECT_EQ(t["latency"]["p50_ns"], 501);  // the bucket of 500 ends there
  EXPECT_EQ(t["latency"]["max_ns"], 1'000);
  EXPECT_EQ(t["flows"].size(), 2u);
  EXPECT_FALSE(t["flows"][1].contains("lost"));
  EXPECT_FALSE(j.contains("throughput"));
}

TEST(Results, PageIsWholeAndEscapesWhatIsNotItsOwn) {
  Results r = sample();
  r.searched = true;
  r.throughput = 12.5e6;
  std::string page = to_html(r);
  EXPECT_NE(page.find("12.50 Mpps"), std::string::npos);
  EXPECT_NE(page.find("measurement &lt;1&gt;"), std::string::npos);
  EXPECT_EQ(page.find("measurement <1>"), std::string::npos);
  size_t plots = 0;
  for (size_t at = 0; (at = page.find("<svg", at)) != std::string::npos; ++at) ++plots;
  EXPECT_EQ(plots, 2u);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf,"), std::string::npos);
  for (const char* outside : {"http:", "https:", "<script", "src="})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_NE(summary(r.trials[0]).find("lost 10 of 110"), std::string::npos);
}

TEST(Results, NumbersForPeople) {
  EXPECT_EQ(with_prefix(14.88e6, "pps"), "14.88 Mpps");
  EXPECT_EQ(with_prefix(999, "pps"), "999.0 pps");
  EXPECT_EQ(nanoseconds_text(999), "999 ns");
  EXPECT_EQ(nanoseconds_text(12'345), "12.35 us");
}

}  // namespace
}  // namespace statecast
