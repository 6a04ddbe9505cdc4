// SPDX-License-Identifier: BSD-3-Clause
// Summaries against real nodes: what is called absent is not there, whatever the network and the views do. More random
// histories: STATECAST_RUNS=1000; one again: STATECAST_SEED=17.
#include "directory/summaries.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/rng.h"
#include "tests/directory/node_cluster.h"

namespace statecast {
namespace {

constexpr unsigned kProbes = 1000;

SessionId session(const Cluster& c, uint32_t n) {
  Endpoint client{*IpAddress::parse("10.0.0.0"), Port{static_cast<uint16_t>(1024 + n % 60'000)}};
  client.address.raw[3] = static_cast<uint8_t>(n / 60'000);
  return SessionId::tuple(c.group, Protocol::tcp, client, *Endpoint::parse("203.0.113.10:443"));
}

uint32_t insert(Cluster& c, uint32_t n, uint32_t via = 1) {
  return c.insert({.member = 1,
                   .id = session(c, n),
                   .via = via,
                   .ingress = 0,
                   .state = RecordState::established,
                   .lifetime = 100s});
}

// Of random sessions that nobody has inserted.
double absent_share(Cluster& c, uint32_t proxy) {
  auto map = c.summaries(proxy).map();
  unsigned n = 0;
  for (unsigned i = 0; i < kProbes; ++i) n += map->absent({c.rng(), c.rng()}, c.now);
  return double(n) / kProbes;
}

bool absent(Cluster& c, uint32_t proxy, uint32_t n) {
  return c.summaries(proxy).map()->absent(c.key(session(c, n)), c.now);
}

TEST(Summaries, CallAbsentWhatIsNotThere) {
  Cluster c({.nodes = 5});
  c.run(3s);
  for (uint32_t n = 0; n < 3000; ++n) insert(c, n), c.run(100us);
  c.run(500ms);
  EXPECT_EQ(absent_share(c, 1), 0) << "nobody follows";
  c.summaries(1).follow(c.now);
  c.run(500ms);
  EXPECT_EQ(c.summaries(1).status(c.now).fresh, 5u);
  EXPECT_GT(absent_share(c, 1), 0.96);
  for (uint32_t n = 0; n < 3000; ++n) ASSERT_FALSE(absent(c, 1, n)) << n;
  // What comes later is heard of within a period and a round trip.
  for (uint32_t n = 3000; n < 3400; ++n) insert(c, n, 2);
  c.run(300ms);
  for (uint32_t n = 3000; n < 3400; ++n) ASSERT_FALSE(absent(c, 1, n)) << n;
  c.summaries(1).stop();
  EXPECT_EQ(absent_share(c, 1), 0);
  c.run(31s);
  EXPECT_EQ(c.summaries(1).status(c.now).bytes, 0u);
}

// Each word counts for 5 s, and R-W+1 have to agree.
TEST(Summaries, CountWhileTheyAreFreshAndEnough) {
  Cluster c({});
  c.run(3s);
  c.summaries(1).follow(c.now);
  c.run(500ms);
  EXPECT_GT(absent_share(c, 1), 0.96);
  c.cut(1, 2);
  c.run(10s);
  EXPECT_GT(absent_share(c, 1), 0.96) << "two of three are left";
  c.cut(1, 3);
  c.run(4500ms);
  EXPECT_GT(absent_share(c, 1), 0.96) << "as of less than 5 s ago";
  c.run(700ms);
  EXPECT_EQ(absent_share(c, 1), 0) << "this proxy's own word is not enough";
  c.heal();
  c.run(2s);
  EXPECT_GT(absent_share(c, 1), 0.96);
}

// An insert is acknowledged once W replicas have placed it, before any but its coordinator knows that it is held.
TEST(Summaries, HaveWhatIsOnlyPlaced) {
  Cluster c({});
  c.run(3s);
  c.summaries(1).follow(c.now);
  c.run(500ms);
  c.filter = [](NodeId from, NodeId, const Message& m) {
    if (std::holds_alternative<Held>(m.body)) return false;
    if (from == NodeId::proxy(ProxyId{3}))
      return !std::holds_alternative<SummaryDelta>(m.body);  // its word is from before
    return !std::holds_alternative<Place>(m.body);           // nobody completes it
  };
  const uint32_t request = insert(c, 7, 3);
  c.run(400ms);
  ASSERT_EQ(c.insert_answer(request)->status, InsertAnswer::Status::ok);
  EXPECT_FALSE(absent(c, 1, 7));
}

TEST(Summaries, StartAnewWithANodeThatHasRestarted) {
  Cluster c({});
  c.run(3s);
  for (uint32_t n = 0; n < 500; ++n) insert(c, n), c.run(100us);
  c.summaries(1).follow(c.now);
  c.run(500ms);
  c.restart(2), c.restart(3);
  c.run(1s);
  for (uint32_t n = 0; n < 500; ++n) ASSERT_FALSE(absent(c, 1, n)) << n;
  c.run(20s);
  EXPECT_EQ(c.summaries(1).status(c.now).fresh, 3u);
  EXPECT_GT(absent_share(c, 1), 0.96);
  for (uint32_t n = 0; n < 500; ++n) ASSERT_FALSE(absent(c, 1, n)) << n;
}

// A slot that has moved counts again where its new replica is in sync and has said so in the new view.
TEST(Summaries, FollowTheView) {
  Cluster c({.delay_max = 20ms});
  c.run(3s);
  for (uint32_t n = 0; n < 2000; ++n) insert(c, n), c.run(100us);
  c.summaries(1).follow(c.now);
  c.run(1s);
  EXPECT_GT(absent_share(c, 1), 0.96);
  c.next_view({1, 2, 3, 4, 5});
  c.tell(1);
  c.run(500ms);
  EXPECT_EQ(absent_share(c, 1), 0) << "the others speak of the view before";
  for (uint32_t p = 2; p <= 5; ++p) c.tell(p);
  for (int i = 0; i < 60; ++i) {
    c.run(100ms);
    for (uint32_t n = 0; n < 2000; n += 7) ASSERT_FALSE(absent(c, 1, n)) << n;
  }
  EXPECT_EQ(c.summaries(1).status(c.now).fresh, 5u);
  EXPECT_GT(absent_share(c, 1), 0.96);
}

// More has come since the last question than a node remembers: the blocks come again. And more than its filter was
// made for: a larger one.
TEST(Summaries, GoOnAfterMoreThanANodeRemembers) {
  Cluster c({.nodes = 1, .members = 2});
  c.run(3s);
  c.summaries(1).follow(c.now);
  c.run(300ms);
  EXPECT_GT(absent_share(c, 1), 0.98);
  const uint64_t built = c.counter(1, "directory.summary.built.events");
  for (uint32_t n = 0; n < 70'000; ++n) {
    insert(c, n);
    if (n % 64 == 0) c.run(2ms);
  }
  c.run(1s);
  EXPECT_GT(c.counter(1, "directory.summary.built.events"), built) << "4,096 were expected";
  EXPECT_EQ(c.summaries(1).status(c.now).fresh, 1u);
  for (uint32_t n = 0; n < 70'000; n += 11) ASSERT_FALSE(absent(c, 1, n)) << n;
  EXPECT_GT(absent_share(c, 1), 0.96);
}

// Loss, duplicates, late messages, cuts, restarts, views: what was acknowledged a second ago and lives is never absent.
void history(uint64_t seed) {
  Rng rng(seed);
  ClusterOptions o{.seed = seed, .nodes = 3 + static_cast<unsigned>(rng.below(3))};
  if (rng.chance(0.7)) o.loss = rng.unit() * 0.2;
  if (rng.chance(0.5)) o.duplicate = 0.1;
  if (rng.chance(0.5)) o.late = 0.05;
  if (rng.chance(0.3)) o.delay_max = 60ms;
  Cluster c(o);
  std::map<uint32_t, Instant> acknowledged;  // by session
  std::map<uint32_t, uint32_t> of_request;
  c.events.insert = [&](uint32_t request, const InsertAnswer& a) {
    auto it = of_request.find(request);
    if (it != of_request.end() && a.status == InsertAnswer::Status::ok) acknowledged.try_emplace(it->second, c.now);
  };
  auto in_sync = [&] {
    for (uint32_t p = 1; p <= o.nodes; ++p) {
      if (!c.node(p).status(c.now).in_sync) return false;
    }
    return true;
  };
  ASSERT_TRUE(c.run_until(in_sync, 30s)) << "seed " << seed;
  c.summaries(1).follow(c.now);
  c.run(2s);
  std::set<uint32_t> view;
  for (uint32_t p = 1; p <= o.nodes; ++p) view.insert(p);
  const bool views = rng.chance(0.5), restarts = rng.chance(0.5), cuts = rng.chance(0.5);
  uint32_t next = 0;
  Instant calm = c.now;
  double most = 0;
  for (int step = 0; step < 300; ++step) {
    for (unsigned k = static_cast<unsigned>(rng.below(20)); k > 0; --k) {
      of_request[insert(c, next, 1 + static_cast<uint32_t>(rng.below(o.nodes)))] = next;
      ++next;
    }
    // One evil at a time, so that what was acknowledged is not lost.
    if (c.now >= calm) {
      if (restarts && rng.chance(0.05)) {
        c.restart(2 + static_cast<uint32_t>(rng.below(o.nodes - 1)));
        calm = c.now + 20s;
      } else if (cuts && rng.chance(0.05)) {
        c.heal();
        if (rng.chance(0.7)) c.isolate(1 + static_cast<uint32_t>(rng.below(o.nodes)));
        calm = c.now + 2s;
      } else if (views && rng.chance(0.05) && view.size() < 7) {
        view.insert(static_cast<uint32_t>(view.size()) + 1);
        c.change_view(view);
        calm = c.now + 20s;
      }
    }
    c.run(std::chrono::milliseconds(rng.below(60)));
    auto map = c.summaries(1).map();
    for (const auto& [n, at] : acknowledged) {
      // A summary may be up to 5 s old, where messages are lost; mappings live for 100 s.
      if (c.now - at < 5s || c.now - at > 90s) continue;
      ASSERT_FALSE(map->absent(c.key(session(c, n)), c.now)) << "session " << n << ", seed " << seed;
    }
    most = std::max(most, absent_share(c, 1));
  }
  EXPECT_GT(most, 0.9) << "nothing was ever told, seed " << seed;
}

TEST(Summaries, NeverCallAbsentWhatWasAcknowledged) {
  const char* one = std::getenv("STATECAST_SEED");
  const char* runs = std::getenv("STATECAST_RUNS");
  if (one) return history(std::strtoull(one, nullptr, 0));
  for (uint64_t seed = 1; seed <= (runs ? std::strtoull(runs, nullptr, 0) : 20); ++seed) {
    history(seed);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace statecast
