// SPDX-License-Identifier: BSD-3-Clause
// A verifier among real nodes: it finds what they hold differently, and only that.
#include "directory/verifier.h"

#include <gtest/gtest.h>

#include "tests/directory/node_cluster.h"

namespace statecast {
namespace {

constexpr Duration kSettled = 20s;

// Runs one at proxy 1 to its end.
VerifyReport verify(Cluster& c, double loss = 0, Duration limit = 60s) {
  Verifier v(ProxyId{1}, c.view, c.now);
  const NodeId self = NodeId::proxy(ProxyId{1});
  std::uniform_real_distribution<double> draw(0, 1);
  c.taker = [&](uint32_t p, NodeId from, Bytes message) {
    if (p != 1 || message[0] != message_type<AuditAnswer>()) return false;
    return draw(c.rng) < loss || v.on_message(from, message, c.now);
  };
  for (const Instant end = c.now + limit; !v.report().done && c.now < end;) {
    for (DirectoryOutput o; v.next_output(o);) {
      auto m = decode(o.message);
      c.send(self, o.to, m->header, m->body);
    }
    c.run(1ms);
    if (v.next_deadline() <= c.now) v.on_deadline(c.now);
  }
  c.taker = nullptr;
  EXPECT_TRUE(v.report().done);
  return v.report();
}

// Nothing that is missed is told later, and nobody finds out by himself.
void lose_held_at(Cluster& c, uint32_t p) {
  c.filter = [p](NodeId, NodeId to, const Message& m) {
    if (std::holds_alternative<SlotDigests>(m.body)) return false;
    return to != NodeId::proxy(ProxyId{p}) ||
           !(std::holds_alternative<Held>(m.body) || std::holds_alternative<Place>(m.body));
  };
}

TEST(Verifier, ReplicasThatHoldTheSameAreFoundEqual) {
  for (double loss : {0.0, 0.3}) {
    Cluster c({.nodes = 5});
    c.run(kSettled);
    for (uint16_t i = 0; i < 200; ++i)
      c.insert(
          {.id = c.session(static_cast<uint16_t>(40'000 + i)), .state = RecordState::established, .lifetime = 60s});
    c.run(1s);
    const Instant before = c.now;
    const VerifyReport r = verify(c, loss);
    EXPECT_EQ(r.pairs, 10u);
    EXPECT_EQ(r.pairs_compared, 10u);
    EXPECT_EQ(r.slots, size_t{kSlots} * 3) << "each slot has three pairs of replicas";
    EXPECT_EQ(r.slots_differing, 0u);
    EXPECT_TRUE(r.differences.empty());
    EXPECT_TRUE(r.not_compared.empty());
    EXPECT_LT(c.now - before, loss > 0 ? Duration(40s) : Duration(1s));
  }
}

TEST(Verifier, WhatOneLacksOrHasOtherwiseIsListed) {
  Cluster c({});
  c.run(kSettled);
  for (uint16_t i = 0; i < 100; ++i)
    c.insert({.id = c.session(static_cast<uint16_t>(40'000 + i)), .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  lose_held_at(c, 3);
  const SessionId lacked = c.session(50'000), older = c.session(40'007);
  c.insert({.id = lacked, .via = 1, .state = RecordState::established, .lifetime = 60s});
  c.insert({.id = older, .via = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  const VerifyReport r = verify(c);
  EXPECT_EQ(r.slots_differing, 4u) << "two slots, each at two pairs";
  ASSERT_EQ(r.differences.size(), 4u);
  EXPECT_FALSE(r.more);
  unsigned lacking = 0, otherwise = 0;
  for (const auto& d : r.differences) {
    EXPECT_EQ(d.b, ProxyId{3});
    ASSERT_TRUE(d.at_a);
    if (d.at_a->key == c.key(lacked)) {
      lacking += !d.at_b;
    } else {
      EXPECT_EQ(d.at_a->key, c.key(older));
      otherwise += d.at_b && d.at_b->version < d.at_a->version;
    }
    EXPECT_EQ(d.slot, d.at_a->key.slot());
  }
  EXPECT_EQ(lacking, 2u);
  EXPECT_EQ(otherwise, 2u);
}

TEST(Verifier, WhatWasOnItsWayIsNoDifference) {
  Cluster c({});
  c.run(kSettled);
  lose_held_at(c, 3);
  c.insert({.id = c.session(50'000), .via = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  const auto lost = c.filter;
  c.filter = [&, until = c.now + 2s](NodeId from, NodeId to, const Message& m) {
    return c.now >= until || lost(from, to, m);
  };
  const Instant renewed = c.now + 3s;
  bool done = false;
  const auto both = c.filter;
  c.filter = [&](NodeId from, NodeId to, const Message& m) {
    if (!done && c.now >= renewed) {
      done = true;
      c.insert({.id = c.session(50'000), .via = 1, .state = RecordState::established, .lifetime = 60s});
    }
    return both(from, to, m);
  };
  const VerifyReport r = verify(c);
  EXPECT_EQ(r.slots_differing, 2u);
  EXPECT_TRUE(r.differences.empty());
}

TEST(Verifier, WhoCannotBeComparedIsNamed) {
  Cluster c({.nodes = 4});
  c.run(kSettled);
  c.stop(2);
  c.restart(3);
  c.isolate(3);
  const VerifyReport r = verify(c);
  EXPECT_EQ(r.not_compared.at(ProxyId{2}), "does not answer");
  EXPECT_EQ(r.not_compared.at(ProxyId{3}), "does not answer");
  EXPECT_EQ(r.pairs_compared, 1u);
  c.heal();
  EXPECT_EQ(verify(c).not_compared.at(ProxyId{3}), "is out of sync") << "it has only just come";
}

// A slot with more records than an answer takes, in a store that takes several answers to look through.
TEST(Verifier, AllOfALargeSlotIsListed) {
  Verifier v(ProxyId{1}, View({.revision = 1, .replicas = 2, .writes = 1}, {{ProxyId{1}, ""}, {ProxyId{2}, ""}}),
             Instant(1h));
  Instant now(1h);
  // Two nodes that are not: one has keys 0..99 of slot 7, the other lacks the last and has one of its own.
  auto entries = [](uint32_t p) {
    std::vector<AuditAnswer::Entry> all;
    for (uint64_t i = 0; i < 100; ++i)
      if (!(p == 2 && i == 99))
        all.push_back({.key = {uint64_t{7} << 48, i}, .owner = NodeId::op(), .version = {1, 1, i}});
    if (p == 2) all.push_back({.key = {uint64_t{7} << 48, 1000}, .owner = NodeId::op(), .version = {1, 1, 1}});
    return all;
  };
  for (int i = 0; i < 1000 && !v.report().done; ++i) {
    for (DirectoryOutput o; v.next_output(o);) {
      auto m = decode(o.message);
      const auto& q = std::get<Audit>(m->body);
      AuditAnswer a{.in_sync = true};
      if (q.listed) {
        const auto all = entries(o.to.as_proxy().value);
        const size_t end = std::min<size_t>(all.size(), q.place + kAuditEntriesMax);
        a.entries.assign(all.begin() + q.place, all.begin() + static_cast<std::ptrdiff_t>(end));
        a.next = end < all.size() ? static_cast<uint32_t>(end) : 0;
      } else {
        a.digests.resize(digest_parts(q.first, q.last));
        const size_t each = (q.last - q.first + 1u) / a.digests.size();
        if (q.first <= 7 && q.last >= 7) a.digests[(7 - q.first) / each] = o.to.as_proxy().value;
      }
      EXPECT_TRUE(v.on_message(o.to, encode(m->header, a), now));
    }
    now += 10ms;
    if (v.next_deadline() <= now) v.on_deadline(now);
  }
  ASSERT_TRUE(v.report().done);
  ASSERT_EQ(v.report().differences.size(), 2u);
  EXPECT_FALSE(v.report().differences[0].at_b);
  EXPECT_FALSE(v.report().differences[1].at_a);
}

}  // namespace
}  // namespace statecast
