// SPDX-License-Identifier: BSD-3-Clause
// Stories in the simulated world (tools/sim), watched by its checkers; and that a run can be played again. Random
// histories are statecast-sim's.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tools/sim/flood.h"
#include "tools/sim/report.h"

namespace statecast::sim {
namespace {

bool run_until(World& w, Duration limit, const std::function<bool()>& done) {
  for (const Instant until = w.now() + limit; w.now() < until;) {
    if (done()) return true;
    w.run(5ms);
  }
  return done();
}

void settle(World& w) {
  ASSERT_TRUE(run_until(w, 30s, [&] { return w.in_sync(); }));
}

unsigned count(const std::vector<OwnerEvent>& events, OwnerEvent::Kind kind) {
  return static_cast<unsigned>(std::count_if(events.begin(), events.end(), [&](auto& e) { return e.kind == kind; }));
}

TEST(Sim, ASessionOutlivesItsCatchment) {
  World w({.seed = 3, .proxies = 4});
  Checkers check(w);
  settle(w);
  w.syn(1, 1, 2);
  w.run(50ms);
  ASSERT_EQ(w.client(1).open, MemberId{2});
  unsigned established = 0;
  for (uint32_t move = 0; move < 40; ++move) {
    w.data(1, 1 + move % 4);
    w.run(500ms);
    established += w.cached(1 + move % 4, 1).has_value();
  }
  EXPECT_EQ(established, 40u);
  EXPECT_TRUE(check.breaches().empty());
}

TEST(Sim, ANegativeEntryIsMetByAnInsert) {
  World w({.seed = 4});
  settle(w);
  w.data(1, 1);  // a stray before its session
  w.run(50ms);
  auto e = w.cached(1, 1);
  ASSERT_TRUE(e && e->target == CacheTarget::negative);
  w.syn(1, 1, 3);
  w.run(50ms);
  e = w.cached(1, 1);
  ASSERT_TRUE(e && e->target == CacheTarget::member) << "the insert's entry takes its place at once";
  EXPECT_EQ(e->member, MemberId{3});
  EXPECT_EQ(w.client(1).open, MemberId{3});
  w.data(1, 1);
  w.run(50ms);
  EXPECT_EQ(w.kernel(3, 1).state, World::Kernel::State::established);
}

TEST(Sim, AnAgentRestartsAmongAThousandSessionsOfWhichAHundredAreRevoked) {
  World w({.seed = 5, .network = {.loss = 0.01}});
  w.keep_owner_events();
  Checkers check(w);
  settle(w);
  for (SessionNumber s = 0; s < 1000; ++s) {
    w.syn(s, 1 + s % 3, 1);
    w.run(1ms);
  }
  ASSERT_TRUE(run_until(w, 9s, [&] {
    unsigned closed = 0;
    for (SessionNumber s = 0; s < 1000; ++s) {
      if (w.client(s).open) continue;
      ++closed;
      w.syn(s, 1 + s % 3, 1);  // its SYN was lost, or the answer
    }
    return closed == 0;
  }));
  for (SessionNumber s = 0; s < 1000; ++s) w.data(s, 1 + (s + 1) % 3);
  ASSERT_TRUE(run_until(w, 9s, [&] {
    for (SessionNumber s = 0; s < 1000; ++s)
      if (w.kernel(1, s).state != World::Kernel::State::established) w.data(s, 1 + (s + 2) % 3);
    return check.acknowledged_established().size() == 1000;
  }));
  for (SessionNumber s = 0; s < 1000; s += 10) {
    w.revoke(s, 1);
    w.kernel(1, s).state = World::Kernel::State::established;  // this agent forgot to destroy the sockets
  }
  ASSERT_TRUE(run_until(w, 20s, [&] { return check.silent() == 100; }));
  w.restart_member(1, World::Disk::lost);  // and knows of no revocation
  ASSERT_TRUE(run_until(w, 20s, [&] {
    return count(w.owner_events(1), OwnerEvent::Kind::inserted) >= 900 &&
           count(w.owner_events(1), OwnerEvent::Kind::inserted) +
                   count(w.owner_events(1), OwnerEvent::Kind::conflict) >=
               1000;
  }));
  EXPECT_EQ(count(w.owner_events(1), OwnerEvent::Kind::inserted), 900u);
  unsigned refused = 0;
  for (const OwnerEvent& e : w.owner_events(1)) {
    if (e.kind != OwnerEvent::Kind::conflict) continue;
    ++refused;
    ASSERT_TRUE(e.record);
    EXPECT_EQ(e.record->state, RecordState::revoked);
  }
  EXPECT_EQ(refused, 100u);
  EXPECT_EQ(w.owner(1).size(), 900u);
  w.run(40s);  // two rounds of refresh
  for (SessionNumber s = 0; s < 1000; s += 7) {
    w.ask(s, 1 + s % 3);
    w.run(100ms);
    auto e = w.last_event(1 + s % 3, s);
    ASSERT_TRUE(e) << s;
    EXPECT_EQ(e->kind, s % 10 == 0 ? CacheEvent::Kind::tombstone : CacheEvent::Kind::lease) << s;
  }
  for (auto& b : check.breaches()) ADD_FAILURE() << b.rule << ": " << b.what;
}

TEST(Sim, AnAgentThatLostItsIncarnationGoesOnAboveWhatTheFleetHasSeen) {
  World w({.seed = 10});
  Checkers check(w);
  settle(w);
  for (SessionNumber s = 0; s < 20; ++s) w.syn(s, 1 + s % 3, 1);
  w.run(100ms);
  for (SessionNumber s = 0; s < 20; ++s) w.data(s, 1 + (s + 1) % 3);
  w.run(100ms);
  for (int i = 0; i < 3; ++i) {
    w.restart_member(1);
    w.run(500ms);
  }
  ASSERT_EQ(w.owner(1).incarnation(), 4u);
  ASSERT_EQ(check.acknowledged_established().size(), 20u);
  w.close(0, 1);
  w.run(100ms);
  w.lose_incarnation(1);
  w.restart_member(1);
  w.run(500ms);
  EXPECT_EQ(w.owner(1).incarnation(), 5u);
  EXPECT_EQ(check.acknowledged_established().size(), 19u);
  w.syn(0, 2, 1);  // the tuple of the closed session again
  w.run(100ms);
  EXPECT_EQ(w.client(0).open, MemberId{1});
  for (uint32_t p = 1; p <= 3; ++p) {
    auto r = w.node(p).find(w.key(1), w.local(p));
    ASSERT_TRUE(r);
    EXPECT_EQ(r->version.incarnation, 5u) << p;
  }
  for (auto& b : check.breaches()) ADD_FAILURE() << b.rule << ": " << b.what;
}

TEST(Sim, AnOwnerGoesElsewhereWhenItsFirstProxyDies) {
  World w({.seed = 6});
  w.keep_owner_events();
  Checkers check(w);
  settle(w);
  w.syn(1, 1, 2);
  w.crash(1);  // before the insert gets there
  const Instant start = w.now();
  ASSERT_TRUE(run_until(w, 5s, [&] { return count(w.owner_events(2), OwnerEvent::Kind::inserted) > 0; }));
  EXPECT_LE(w.now() - start, 500ms);
  EXPECT_FALSE(w.client(1).open) << "its SYN/ACK was for the proxy that died";
  w.syn(1, 2, 2);  // the client's SYN again, through another proxy
  ASSERT_TRUE(run_until(w, 5s, [&] { return w.client(1).open.has_value(); }));
  w.data(1, 3);
  w.run(200ms);
  EXPECT_EQ(w.kernel(2, 1).state, World::Kernel::State::established);
  EXPECT_TRUE(check.breaches().empty());
}

TEST(Sim, ARevocationIsSilentInMillisecondsWhenAllAreReachable) {
  World w({.seed = 7});
  Checkers check(w);
  settle(w);
  w.run(12s);  // older than permit + cap since the start
  w.syn(1, 1, 2);
  w.run(50ms);
  for (uint32_t p = 1; p <= 3; ++p) w.data(1, p);
  w.run(50ms);
  for (uint32_t p = 1; p <= 3; ++p) ASSERT_TRUE(w.cached(p, 1));
  const Instant start = w.now();
  w.revoke(1, 2);
  ASSERT_TRUE(run_until(w, 1s, [&] { return check.is_silent(1); }));
  EXPECT_LE(w.now() - start, 50ms);
  w.data(1, 3);
  w.run(100ms);
  EXPECT_TRUE(check.breaches().empty());
}

TEST(Sim, ABudgetIsSpentAndFilledAgain) {
  World w({.seed = 8, .bucket_bytes = 3000});
  Checkers check(w);
  settle(w);
  w.syn(1, 1, 2);
  w.run(50ms);
  auto spend = [&] {
    for (int i = 0; i < 100; ++i) {
      w.data(1, 1 + static_cast<uint32_t>(i) % 3);
      w.run(20ms);
    }
  };
  spend();
  auto e = w.cached(1, 1);
  EXPECT_TRUE(!e || e->bytes < 100);
  w.set_bucket(1, 2, 3000);
  w.run(50ms);
  w.ask(1, 1);
  w.run(50ms);
  ASSERT_TRUE(w.last_event(1, 1));
  EXPECT_EQ(w.last_event(1, 1)->kind, CacheEvent::Kind::lease);
  spend();
  for (auto& b : check.breaches()) ADD_FAILURE() << b.rule << ": " << b.what;
}

// The same options and seed give the same run, event by event.
TEST(Sim, ARunIsPlayedAgainByItsSeed) {
  for (uint64_t seed : {3u, 4u}) {
    const RunResult one = run_one({.seed = seed, .duration = 5s}), two = run_one({.seed = seed, .duration = 5s});
    EXPECT_EQ(to_json(one).dump(), to_json(two).dump());
    EXPECT_NE(one.digest, run_one({.seed = seed + 100, .duration = 5s}).digest);
  }
}

// Of a flood of random IDs summaries take away what sources and groups have no tokens for, and nothing of what is real.
TEST(Sim, AFloodOfRandomSessionsTakesNothingFromRealOnes) {
  FloodOptions options{.proxies = 3, .members = 2, .sessions = 500, .lookups = 400, .bogus = 100, .length = 2s};
  const FloodResult with = run_flood(options);
  options.summaries = false;
  const FloodResult without = run_flood(options);
  for (const FloodResult* r : {&with, &without}) {
    EXPECT_GT(r->old.met, 300u);
    EXPECT_GT(r->young.met, 20u);
    EXPECT_GE(r->old.share(), 0.99);
    EXPECT_GE(r->young.share(), 0.9);
    EXPECT_GT(r->bogus_packets, 70'000u);
  }
  EXPECT_GT(with.bogus_absent, with.bogus_packets / 3);
  EXPECT_EQ(without.bogus_absent, 0u);
  EXPECT_LT(with.queries, without.queries * 2 / 3);
  EXPECT_GT(with.summary_bytes, 0u);
}

// The checkers see what they are there for.
TEST(Sim, Canary) {
  World w({.seed = 9});
  Checkers check(w);
  settle(w);
  w.syn(1, 1, 2);
  w.run(50ms);
  check.on_revoke({2}, 1);
  check.on_owner_event({2}, 1, {.kind = OwnerEvent::Kind::silent});
  w.data(1, 1);
  w.run(50ms);
  EXPECT_FALSE(check.breaches().empty());
}

}  // namespace
}  // namespace statecast::sim
