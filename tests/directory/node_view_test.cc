// SPDX-License-Identifier: BSD-3-Clause
// What must hold while one view follows another: nothing acknowledged is lost, nothing counts in two views, nothing is
// granted twice, and no "none" comes from a node that cannot know.
#include <gtest/gtest.h>

#include "tests/directory/node_cluster.h"

namespace statecast {
namespace {

using In = InsertAnswer::Status;
using Re = RequestAnswer::Status;
using Qu = QueryAnswer::Status;

// A session whose slot these nodes hold, out of all that may.
SessionId session_of(const Cluster& c, const std::set<uint32_t>& replicas, uint16_t from = 1'000) {
  for (uint16_t port = from; port != 0; ++port) {
    SessionId id = c.session(port);
    auto of = c.view.replicas(c.key(id).slot());
    if (std::all_of(of.begin(), of.end(), [&](ProxyId p) { return replicas.contains(p.value); })) return id;
  }
  std::abort();
}

bool all_in_sync(Cluster& c) {
  for (const ViewNode& n : c.view.nodes()) {
    if (c.up(n.id.value) && !c.node(n.id.value).status(c.now).in_sync) return false;
  }
  return true;
}

unsigned copies(Cluster& c, const SessionId& id) {
  unsigned n = 0;
  for (ProxyId p : c.view.replicas(c.key(id).slot())) n += c.up(p.value) && c.node(p.value).is_held(c.key(id));
  return n;
}

// What a proxy would find out: a lease at one of them, whoever else may lack it.
bool found(Cluster& c, const SessionId& id) {
  bool live = false;
  for (ProxyId p : c.view.replicas(c.key(id).slot())) {
    uint32_t q = c.query(c.up(1) ? 1 : 2, id, p.value);
    c.run_until([&] { return c.query_answer(q).has_value(); }, 20ms);
    live = live || (c.query_answer(q) && c.query_answer(q)->status == Qu::live);
  }
  return live;
}

In insert(Cluster& c, const SessionId& id, uint32_t via, uint64_t bucket = kUnlimitedBytes) {
  uint32_t r = c.insert({.id = id,
                         .via = via,
                         .state = RecordState::established,
                         .lifetime = 120s,
                         .bucket = bucket,
                         .bucket_counter = 1});
  c.run_until([&] { return c.insert_answer(r).has_value(); }, 1s);
  return c.insert_answer(r) ? c.insert_answer(r)->status : In::try_again;
}

std::optional<QueryAnswer> ask_one(Cluster& c, const SessionId& id, uint32_t replica) {
  uint32_t q = c.query(1, id, replica);
  c.run_until([&] { return c.query_answer(q).has_value(); }, 100ms);
  return c.query_answer(q);
}

TEST(NodeView, ANodeJoinsUnderInserts) {
  Cluster c({.members = 3});
  c.run(2s);
  std::vector<SessionId> acknowledged;
  unsigned refused = 0;
  auto some = [&](uint16_t from, uint16_t count) {
    for (uint16_t i = 0; i < count; ++i) {
      SessionId id = c.session(static_cast<uint16_t>(from + i));
      (insert(c, id, 1 + i % 3) == In::ok ? acknowledged.push_back(id) : void(++refused));
    }
  };
  some(1'000, 100);
  c.next_view({1, 2, 3, 4});
  for (uint32_t p : {2u, 4u, 1u, 3u}) {
    c.tell(p);
    some(static_cast<uint16_t>(2'000 + 100 * p), 5);
  }
  some(3'000, 100);
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  EXPECT_LE(refused, 6u) << "while the nodes are of two minds, for a moment";
  EXPECT_GT(c.node(4).status(c.now).slots, 45'000u);
  c.run(500ms);  // what was on its way is completed
  for (const SessionId& id : acknowledged) EXPECT_GE(copies(c, id), 2u);
  EXPECT_GT(c.node(4).status(c.now).records, 100u) << "three quarters of them are its";
  // And any one of them may die.
  c.stop(1);
  c.run(1500ms);
  for (const SessionId& id : acknowledged) EXPECT_TRUE(found(c, id));
}

TEST(NodeView, ANodeLeavesAndTakesNothingWithIt) {
  Cluster c({.nodes = 4});
  c.run(2s);
  std::vector<SessionId> all;
  for (uint16_t i = 0; i < 200; ++i) {
    all.push_back(c.session(static_cast<uint16_t>(1'000 + i)));
    ASSERT_EQ(insert(c, all.back(), 1 + i % 4), In::ok);
  }
  c.change_view({1, 2, 3});
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c) && c.node(4).status(c.now).handed_over; }, 2s));
  EXPECT_FALSE(c.node(4).status(c.now).in_view);
  c.stop(4);
  for (const SessionId& id : all) EXPECT_GE(copies(c, id), 2u);
  c.stop(2);
  c.run(1500ms);
  for (const SessionId& id : all) EXPECT_TRUE(found(c, id));
}

TEST(NodeView, ANewReplicaKnowsNothingBeforeTheHandOver) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  SessionId unknown = session_of(c, {1, 2, 4}, 20'000);
  ASSERT_EQ(insert(c, id, 1), In::ok);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<SyncChunk>(m.body); };
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  c.run(1s);
  EXPECT_FALSE(c.node(4).in_sync(c.key(id).slot()));
  EXPECT_EQ(ask_one(c, id, 4)->status, Qu::ask_another) << "neither live";
  EXPECT_EQ(ask_one(c, unknown, 4)->status, Qu::ask_another) << "nor none";
  EXPECT_EQ(ask_one(c, id, 1)->status, Qu::live) << "those who stay go on";
  // It takes writes, but they do not count: without node 2 there are not two copies.
  c.stop(2);
  uint32_t r = c.insert({.id = unknown, .via = 1, .state = RecordState::established});
  c.run(500ms);
  EXPECT_NE(c.insert_answer(r)->status, In::ok);
  c.filter = nullptr;
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 3s)) << "nodes 1 and 3 have what is needed";
  EXPECT_EQ(ask_one(c, id, 4)->status, Qu::live);
}

// A session closes, its tuple is used again at the same member, and that half-open mapping ends; all before a chunk
// arrives that still has the closing one. Terms start anew where a record has ended: it must not stand above who came
// then.
TEST(NodeView, AChunkThatWasLongOnItsWayBringsNothingBack) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  ASSERT_EQ(insert(c, id, 1, 1), In::ok);
  c.insert({.member = 1, .id = id, .state = RecordState::closing, .lifetime = 60s});
  c.run(50ms);
  // Node 1's chunks come; those of 2 are on their way, however often it is asked; 3 says nothing.
  MessageHeader asked;
  int dropped = 0;
  std::optional<SyncChunk> late;
  c.filter = [&](NodeId from, NodeId to, const Message& m) {
    const auto* chunk = std::get_if<SyncChunk>(&m.body);
    if (!chunk || from == NodeId::proxy(ProxyId{1}) || to != NodeId::proxy(ProxyId{4})) return true;
    if (from == NodeId::proxy(ProxyId{3})) return false;
    const auto& r = chunk->records;
    if (!late && std::any_of(r.begin(), r.end(), [&](auto& x) { return x.key == c.key(id); })) late = *chunk;
    asked = m.header;
    dropped += late.has_value();
    return !late;
  };
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  ASSERT_TRUE(c.run_until([&] { return late && c.node(4).is_held(c.key(id)); }, 2s));
  ASSERT_FALSE(c.node(4).in_sync(c.key(id).slot()));
  c.insert({.member = 1, .id = id, .born_new = true, .lifetime = 500ms});
  c.run(1s);
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now) || c.node(4).find(c.key(id), c.now));
  const uint32_t next = c.insert({.member = 3, .id = id, .via = 1, .born_new = true});
  c.run(50ms);
  ASSERT_EQ(c.insert_answer(next)->status, In::ok);
  const int before = dropped;
  ASSERT_TRUE(c.run_until([&] { return dropped > before; }, 2s));  // so that nothing else answers this question
  c.filter = nullptr;
  c.send(NodeId::proxy(ProxyId{2}), NodeId::proxy(ProxyId{4}), asked, *late);
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 3s));
  c.run(500ms);
  for (uint32_t p : {1u, 2u, 4u}) EXPECT_EQ(ask_one(c, id, p)->member, MemberId{3}) << p;
}

TEST(NodeView, AReplicaDiesDuringTheHandOver) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  // Node 1 never hears of the session: 2 and 3 have it.
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{1}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
  };
  ASSERT_EQ(insert(c, id, 2), In::ok);
  c.run(10ms);
  // And node 2 dies before it has sent anything.
  c.filter = [](NodeId from, NodeId, const Message& m) {
    return from != NodeId::proxy(ProxyId{2}) || !std::holds_alternative<SyncChunk>(m.body);
  };
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  c.stop(2);
  EXPECT_TRUE(c.run_until([&] { return c.node(4).in_sync(c.key(id).slot()); }, 2s)) << "from 1, and 3 that has left";
  EXPECT_TRUE(c.node(4).is_held(c.key(id)));
  c.run(1s);
  EXPECT_EQ(ask_one(c, id, 4)->status, Qu::live);
}

// What a replica of the view before has only placed, the coordinator has acknowledged, perhaps, and is gone.
// Nodes 2 and 3 hold what node 1 lacks. Node 3 leaves, and 2 restarts before node 4 has what is its: 2 cannot ask 3, of
// which it knows nothing, but 4 can.
TEST(NodeView, AReplicaThatRestartsDuringAHandOverWaitsForIt) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{1}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
  };
  ASSERT_EQ(insert(c, id, 2), In::ok);
  c.run(10ms);
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{4}) || !std::holds_alternative<SyncChunk>(m.body);
  };
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  c.run(10ms);
  c.restart(2);
  c.run(2s);
  EXPECT_NE(ask_one(c, id, 1)->status, Qu::live) << "one of three may lack it";
  EXPECT_EQ(ask_one(c, id, 2)->status, Qu::ask_another);
  c.filter = nullptr;
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 3s));
  EXPECT_EQ(copies(c, id), 2u);
}

TEST(NodeView, WhatIsOnlyPlacedIsHandedOverToo) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return !std::holds_alternative<Held>(m.body) &&
           (to != NodeId::proxy(ProxyId{1}) || !std::holds_alternative<Place>(m.body));
  };
  ASSERT_EQ(insert(c, id, 3), In::ok) << "held at 3, placed at 2";
  c.stop(3);
  for (uint32_t p : {1u, 2u, 4u}) c.tell(p);
  EXPECT_TRUE(c.run_until([&] { return c.node(4).in_sync(c.key(id).slot()); }, 50ms)) << "from 1 and 2";
  EXPECT_EQ(ask_one(c, id, 4)->status, Qu::ask_another) << "not none";
  c.filter = nullptr;
  c.run(500ms);
  EXPECT_GE(copies(c, id), 2u);
  EXPECT_TRUE(found(c, id));
}

TEST(NodeView, TwoViewChangesOneAfterTheOther) {
  Cluster c({});
  c.run(2s);
  std::vector<SessionId> all;
  for (uint16_t i = 0; i < 50; ++i) {
    all.push_back(c.session(static_cast<uint16_t>(1'000 + i)));
    ASSERT_EQ(insert(c, all.back(), 1 + i % 3), In::ok);
  }
  c.change_view({1, 2, 4});
  c.change_view({1, 4, 5});
  c.run(300us);  // no chunk has come yet
  c.change_view({4, 5, 6});
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 20s));
  for (const SessionId& id : all) EXPECT_EQ(copies(c, id), 3u);
}

TEST(NodeView, AcknowledgementsOfTwoViewsAreNotCountedTogether) {
  Cluster c({.degraded_accept = false});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId old_one = session_of(c, {1, 2, 4}), new_one = session_of(c, {1, 2, 4}, 20'000);
  // Nodes 1 and 4 go on; 2 and 3 have not heard of it.
  c.tell(1);
  c.tell(4);
  c.run(1500ms);
  EXPECT_FALSE(c.node(4).in_sync(c.key(old_one).slot())) << "only one of three has sealed";
  EXPECT_EQ(insert(c, new_one, 1), In::refused) << "1 alone counts";
  EXPECT_EQ(insert(c, old_one, 3), In::ok) << "2 and 3 are W of the view before";
  c.run(10ms);
  EXPECT_NE(ask_one(c, old_one, 1)->status, Qu::live) << "one of three may lack it, but";
  EXPECT_EQ(ask_one(c, old_one, 4)->status, Qu::ask_another) << "nobody confirms that in this view";
  c.tell(2);
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  EXPECT_TRUE(c.node(4).is_held(c.key(old_one)));
}

TEST(NodeView, PermitsGoOnWhereTheSlotHasNotMoved) {
  Cluster c({.nodes = 4});
  c.run(2s);
  SessionId stays, moves;
  c.next_view({1, 2, 3, 4, 5});
  for (uint16_t port = 1'000; stays.length == 0 || moves.length == 0; ++port) {
    SessionId id = c.session(port);
    Slot slot = c.key(id).slot();
    if (!c.view.is_replica(ProxyId{1}, slot) || !c.view.is_replica(ProxyId{2}, slot)) continue;
    (c.view.is_replica(ProxyId{5}, slot) ? moves : stays) = id;
  }
  c.run(2s);
  ASSERT_EQ(insert(c, stays, 2), In::ok);
  ASSERT_EQ(insert(c, moves, 2), In::ok);
  c.run(10ms);
  if (!c.node(1).in_sync(c.key(moves).slot())) GTEST_FAIL() << "node 1 had it before";
  c.tell(1);
  EXPECT_EQ(ask_one(c, stays, 1)->status, Qu::live);
  EXPECT_EQ(ask_one(c, moves, 1)->status, Qu::ask_another) << "those permits were for other replicas";
  for (uint32_t p : {2u, 3u, 4u, 5u}) c.tell(p);
  c.run(50ms);
  EXPECT_EQ(ask_one(c, moves, 1)->status, Qu::live) << "at once: it need not wait for the next heartbeat";
}

TEST(NodeView, APartitionDuringTheChange) {
  Cluster c({.degraded_accept = false});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4}), later = session_of(c, {1, 2, 4}, 20'000);
  ASSERT_EQ(insert(c, id, 3), In::ok);
  ASSERT_EQ(ask_one(c, id, 3)->status, Qu::live);
  c.isolate(3);  // and it does not hear of the view either
  for (uint32_t p : {1u, 2u, 4u}) c.tell(p);
  EXPECT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s)) << "1 and 2 are enough";
  EXPECT_EQ(insert(c, later, 4), In::ok);
  c.run(1s);
  c.heal();
  c.run(100ms);
  EXPECT_EQ(ask_one(c, id, 3)->status, Qu::ask_another) << "nobody gives it permits of that view any more";
  EXPECT_EQ(insert(c, session_of(c, {1, 2, 4}, 30'000), 3), In::refused);
  EXPECT_GT(c.counter(3, "directory.message.view_mismatch.messages"), 0u);
  c.tell(3);
  c.run(1s);
  EXPECT_EQ(insert(c, session_of(c, {1, 2, 4}, 40'000), 3), In::ok) << "it relays now";
}

TEST(NodeView, RevocationsDuringTheHandOverAreNotLost) {
  for (bool stays : {true, false}) {
    Cluster c({});
    c.run(13s);  // so that those who stay know all of their holders
    c.next_view({1, 2, 4});
    SessionId id = session_of(c, {1, 2, 4});
    ASSERT_EQ(insert(c, id, 1), In::ok);
    // One of three misses it: one that stays, or the one that leaves.
    ProxyId without{stays ? 1u : 3u};
    c.filter = [&](NodeId, NodeId to, const Message& m) {
      return to != NodeId::proxy(without) || !std::holds_alternative<Change>(m.body);
    };
    uint32_t r = c.revoke(NodeId::op(), id, 2);
    ASSERT_TRUE(c.run_until([&] { return c.answered(r, Re::stored); }, 100ms));
    for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
    c.filter = nullptr;
    for (int i = 0; i < 40; ++i) {
      c.run(25ms);
      for (uint32_t p : {1u, 2u, 4u}) {
        auto a = ask_one(c, id, p);
        EXPECT_TRUE(a->status == Qu::tombstone || a->status == Qu::ask_another) << "p" << p << " after " << i;
      }
    }
    EXPECT_TRUE(all_in_sync(c));
    for (uint32_t p : {1u, 2u, 4u}) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::revoked) << p;
    EXPECT_FALSE(c.answered(r, Re::silent)) << "node 4 does not know whom node 3 granted what";
    EXPECT_TRUE(c.run_until([&] { return c.answered(r, Re::silent); }, 15s)) << "but time ends that";
  }
}

// The coordinator itself has node 3's acknowledgement when the view comes in which node 3 is no replica.
TEST(NodeView, AWriteUnderWayCollectsItsCopiesAnewInTheNextView) {
  Cluster c({.writes = 3, .degraded_accept = false});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  std::set<uint32_t> without = {2, 4};
  c.filter = [&](NodeId, NodeId to, const Message& m) {
    return !std::holds_alternative<Place>(m.body) || !without.contains(to.number());
  };
  uint32_t r = c.insert({.id = id, .via = 1});
  c.run(10ms);
  ASSERT_TRUE(c.node(3).find(c.key(id), c.now)) << "it has acknowledged";
  without = {4};
  for (uint32_t p : {1u, 2u, 4u}) c.tell(p);
  c.run(100ms);
  ASSERT_TRUE(c.node(2).find(c.key(id), c.now)) << "and so has node 2, in the next view";
  EXPECT_FALSE(c.insert_answer(r)) << "node 4 has nothing of it";
  without = {};
  c.run_until([&] { return c.insert_answer(r).has_value(); }, 1s);
  EXPECT_TRUE(c.insert_answer(r)->status == In::refused || c.node(4).find(c.key(id), c.now));
}

TEST(NodeView, SilenceWaitsForTheGrantsOfWhoHasLeftWithoutAnotherInItsPlace) {
  Cluster c({});
  c.run(13s);
  SessionId id = c.session(1'000);
  ASSERT_EQ(insert(c, id, 1), In::ok);
  ASSERT_EQ(ask_one(c, id, 3)->status, Qu::live);
  c.change_view({1, 2});
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  uint32_t r = c.revoke(NodeId::op(), id, 2);
  c.run(2s);
  EXPECT_TRUE(c.answered(r, Re::stored));
  EXPECT_TRUE(c.lease(1, c.key(id))) << "nobody knows whom node 3 granted it";
  EXPECT_FALSE(c.answered(r, Re::silent));
  EXPECT_TRUE(c.run_until([&] { return c.answered(r, Re::silent); }, 12s));
  EXPECT_FALSE(c.lease(1, c.key(id)));
}

TEST(NodeView, SilenceWaitsForTheGrantsOfWhoHasLeft) {
  Cluster c({});
  c.run(13s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  ASSERT_EQ(insert(c, id, 1), In::ok);
  // Node 4 hears of the view long before the others do, and after that the hand-over takes its time.
  c.tell(4);
  c.run(13s);
  ASSERT_EQ(ask_one(c, id, 3)->status, Qu::live);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<SyncChunk>(m.body); };
  for (uint32_t p : {1u, 2u, 3u}) c.tell(p);
  c.run(300ms);
  uint32_t r = c.revoke(NodeId::op(), id, 2);
  c.run(2s);
  EXPECT_TRUE(c.answered(r, Re::stored));
  EXPECT_TRUE(c.lease(1, c.key(id))) << "nobody knows whom node 3 granted it";
  EXPECT_FALSE(c.answered(r, Re::silent));
  EXPECT_TRUE(c.run_until([&] { return c.answered(r, Re::silent); }, 15s));
  EXPECT_FALSE(c.lease(1, c.key(id)));
}

TEST(NodeView, ARevocationUnderWayAtANodeThatLeavesIsSaidAgainElsewhere) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  ASSERT_EQ(insert(c, id, 1), In::ok);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<Change>(m.body); };
  uint32_t r = c.revoke(NodeId::op(), id, 3);
  c.run(5ms);
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  EXPECT_TRUE(c.run_until([&] { return c.answered(r, Re::try_again); }, 100ms));
  c.filter = nullptr;
  c.revoke(NodeId::op(), id, 3, 600s, r);
  EXPECT_TRUE(c.run_until([&] { return c.answered(r, Re::stored); }, 2s));
}

TEST(NodeView, ByteSharesAreNotGrantedTwice) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  uint64_t granted = 0;
  c.events.granted = [&](uint32_t, const SessionKey&, uint64_t bytes, Instant) { granted += bytes; };
  const uint64_t bucket = 3'000'000;
  ASSERT_EQ(insert(c, id, 1, bucket), In::ok);
  auto spend = [&] {
    for (int i = 0; i < 40; ++i) {
      for (uint32_t p : {1u, 2u, 3u, 4u}) ask_one(c, id, p);
    }
  };
  spend();
  EXPECT_EQ(granted, bucket) << "three shares";
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  c.run(1s);
  ASSERT_TRUE(all_in_sync(c));
  insert(c, id, 2, bucket);                         // a copy of the insert, with the same bucket
  c.refresh(1, 4, {{c.handle_of(id), 2, bucket}});  // and one refresh that node 3 had before it left
  spend();
  EXPECT_EQ(granted, bucket);
  // What comes later is node 4's to grant, too.
  c.run(10s);
  for (uint32_t p : {1u, 2u, 4u}) c.refresh(1, p, {{c.handle_of(id), 3, bucket}});
  c.run(50ms);
  spend();
  EXPECT_EQ(granted, 2 * bucket);
}

TEST(NodeView, ByteSharesDoNotGrowWhenAReplicaLeaves) {
  Cluster c({.writes = 3});
  c.run(2s);
  SessionId id = c.session(1'000);
  uint64_t granted = 0;
  c.events.granted = [&](uint32_t, const SessionKey&, uint64_t bytes, Instant) { granted += bytes; };
  const uint64_t bucket = 3'000'000;
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{2}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
  };
  ASSERT_EQ(insert(c, id, 1, bucket), In::degraded);
  for (int i = 0; i < 40; ++i) ask_one(c, id, 3);
  for (int i = 0; i < 40; ++i) ask_one(c, id, 1);
  ASSERT_EQ(granted, 2 * bucket / 3);
  c.change_view({1, 2});
  ASSERT_TRUE(
      c.run_until([&] { return c.node(1).in_sync(c.key(id).slot()) && c.node(2).in_sync(c.key(id).slot()); }, 2s));
  c.filter = nullptr;
  insert(c, id, 1, bucket);  // the same bucket again, now to node 2
  for (int i = 0; i < 80; ++i) ask_one(c, id, 1 + i % 2);
  EXPECT_LE(granted, bucket);
}

// Where availability is preferred node 3 grants what it had until it hears that the slot is another's.
TEST(NodeView, WhereAvailabilityIsPreferredSilentWaitsForWhoeverHadTheSlot) {
  Cluster c({.partition_available = true});
  c.run(2s);
  c.next_view({1, 2, 3, 4});
  SessionId id = c.session(1'000);
  for (uint16_t port = 1'000; c.view.is_replica(ProxyId{3}, c.key(id).slot()); ++port) id = c.session(port);
  ASSERT_EQ(insert(c, id, 1), In::ok);
  c.run(10ms);
  c.isolate(3);
  for (uint32_t p : {1u, 2u, 4u}) c.tell(p);
  c.run(20s);
  const uint32_t revoked = c.revoke(NodeId::op(), id, 1);
  c.run(20s);
  EXPECT_TRUE(c.answered(revoked, RequestAnswer::Status::stored));
  EXPECT_FALSE(c.answered(revoked, RequestAnswer::Status::silent)) << "node 3 may have granted it just now";
  c.tell(3);
  c.heal();
  c.run(5s);
  EXPECT_FALSE(c.answered(revoked, RequestAnswer::Status::silent));
  c.run(10s);
  EXPECT_TRUE(c.answered(revoked, RequestAnswer::Status::silent));
}

TEST(NodeView, ReplicasThatDifferFindItOut) {
  Cluster c({});
  c.run(2s);
  uint64_t digests = 0, chunks = 0;
  auto count = [&](const Message& m) {
    digests += std::holds_alternative<SlotDigests>(m.body);
    chunks += std::holds_alternative<SyncChunk>(m.body);
  };
  // Node 1 misses three sessions.
  c.filter = [&](NodeId, NodeId to, const Message& m) {
    count(m);
    return to != NodeId::proxy(ProxyId{1}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
  };
  std::vector<SessionId> all;
  for (uint16_t i = 0; i < 30; ++i) all.push_back(c.session(static_cast<uint16_t>(1'000 + i)));
  for (size_t i = 0; i < 3; ++i) ASSERT_EQ(insert(c, all[i], 2), In::ok);
  c.run(10ms);
  c.filter = [&](NodeId, NodeId, const Message& m) { return count(m), true; };
  for (size_t i = 3; i < all.size(); ++i) ASSERT_EQ(insert(c, all[i], 2), In::ok);
  EXPECT_FALSE(c.node(1).is_held(c.key(all[0])));
  c.run(45s);
  for (const SessionId& id : all) EXPECT_EQ(copies(c, id), 3u);
  EXPECT_GT(c.counter(1, "directory.repair.slots"), 2u);
  // One of the others may come to walk through what the third has brought back meanwhile.
  EXPECT_LE(c.counter(2, "directory.sync.received.records") + c.counter(3, "directory.sync.received.records"), 3u);
  // Where nothing differs it costs a message in 10 s.
  digests = chunks = 0;
  c.run(50s);
  EXPECT_NEAR(static_cast<double>(digests), 15, 3) << "three nodes";
  EXPECT_EQ(chunks, 0u);
}

// A session of member 1 is held by node 3 as the view comes without it, is closed and over, and begins anew as member
// 2's: of all that node 3 hears nothing.
void pass_on_without_node_3(Cluster& c, const SessionId& id) {
  ASSERT_EQ(insert(c, id, 1), In::ok);
  c.run(10ms);
  ASSERT_TRUE(c.node(3).is_held(c.key(id)));
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  c.insert({.id = id, .via = 1, .state = RecordState::closing, .lifetime = 60s});
  c.run(62s);
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now)) << "closed, and over";
  ASSERT_TRUE(c.node(3).find(c.key(id), c.now));
  uint32_t r = c.insert({.member = 2, .id = id, .via = 1, .lifetime = 60s});
  c.run(50ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
}

void expect_member_2(Cluster& c, const SessionId& id, const std::vector<uint32_t>& at) {
  for (uint32_t p : at) {
    auto held = c.node(p).find(c.key(id), c.now);
    ASSERT_TRUE(held) << p;
    EXPECT_EQ(held->member, MemberId{2}) << p;
  }
}

// What it had of a session before it left outlives all that came after it.
TEST(NodeView, AReplicaThatComesBackBringsNothingOldWithIt) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  ASSERT_NO_FATAL_FAILURE(pass_on_without_node_3(c, id));
  c.change_view({1, 2, 3});
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  c.run(30s);  // replicas compare what they have
  expect_member_2(c, id, {1, 2, 3});
}

// Node 3 leaves while a lift stands, which the others have forgotten when a revocation comes that knows nothing of it.
TEST(NodeView, AReplicaThatComesBackLiftsNoLaterRevocation) {
  Cluster c({});
  c.run(2s);
  c.next_view({1, 2, 4});
  const SessionId id = session_of(c, {1, 2, 4});
  c.next_view({1, 2, 3});
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 5s));
  for (int i = 0; i < 3; ++i) {  // each takes a term
    c.run_until([r = c.revoke(NodeId::op(), id, 1), &c] { return c.answered(r, Re::silent); }, 30s);
    c.run_until([r = c.unrevoke(NodeId::op(), id, 1), &c] { return c.answered(r, Re::ok); }, 1s);
  }
  c.run(1s);
  ASSERT_TRUE(c.node(3).find(c.key(id), c.now));
  c.change_view({1, 2, 4});
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 15s));
  uint32_t r = c.insert({.member = 2, .id = id, .via = 1, .born_new = true});
  c.run(12s);  // half-open, it ends after 10 s
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  for (uint32_t p : {1u, 2u, 4u}) ASSERT_FALSE(c.node(p).find(c.key(id), c.now)) << p;
  r = c.revoke(NodeId::op(), id, 1);
  ASSERT_TRUE(c.run_until([&] { return c.answered(r, Re::silent); }, 30s));
  c.change_view({1, 2, 3});
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 15s));
  c.run(30s);
  for (uint32_t p : {1u, 2u, 3u}) {
    auto known = c.node(p).find(c.key(id), c.now);
    ASSERT_TRUE(known) << p;
    EXPECT_EQ(known->state, RecordState::revoked) << p;
  }
}

// Node 3 is in the view again, but for other slots; node 5, which is new, asks it for those. They are so many that it
// asks for what lies between them, too.
TEST(NodeView, OneThatLeftASlotLongAgoHasNoSayInIt) {
  Cluster c({});
  c.run(2s);
  std::vector<ViewNode> five;
  for (uint32_t p = 1; p <= 5; ++p) five.push_back({ProxyId{p}, "zone" + std::to_string(p)});
  const View last({}, five);
  c.next_view({1, 2, 4});
  SessionId id;
  for (uint16_t port = 1'000; port < 9'000; ++port) {
    auto of = last.replicas(c.key(c.session(port)).slot());
    if (std::all_of(of.begin(), of.end(), [](ProxyId p) { return p.value != 3 && p.value != 4; })) id = c.session(port);
  }
  ASSERT_NE(id.length, 0u);
  ASSERT_NO_FATAL_FAILURE(pass_on_without_node_3(c, id));
  c.filter = [](NodeId from, NodeId to, const Message& m) {
    return !std::holds_alternative<SyncChunk>(m.body) || to != NodeId::proxy(ProxyId{5}) ||
           from == NodeId::proxy(ProxyId{3});
  };
  c.change_view({1, 2, 3, 4, 5});
  c.run(1s);
  c.filter = nullptr;
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 2s));
  c.run(100ms);
  expect_member_2(c, id, {1, 2, 5});
}

TEST(NodeView, OwnersLearnWhoHasTheirSlotsNow) {
  Cluster c({});
  c.run(2s);
  const ViewId first = c.view.id();
  c.next_view({1, 2, 4});
  SessionId id = session_of(c, {1, 2, 4});
  ASSERT_EQ(insert(c, id, 1), In::ok);
  auto unknown = [&](uint32_t via, ViewId told) {
    uint32_t r = c.refresh(1, via, {{c.handle_of(id), 1, kUnlimitedBytes}}, 1, told);
    c.run(50ms);
    return c.refresh_answer(r) ? c.refresh_answer(r)->unknown.size() : 99;
  };
  EXPECT_EQ(unknown(1, first), 0u);
  for (uint32_t p : {1u, 2u, 3u, 4u}) c.tell(p);
  c.run(1s);
  EXPECT_EQ(unknown(1, first), 1u) << "insert it anew: the answer names node 4";
  EXPECT_EQ(unknown(1, c.view.id()), 0u) << "it has";
  // However late it asks, and of whomever: one that has restarted does not know what the first view was.
  c.run(40s);
  EXPECT_EQ(unknown(1, first), 1u);
  c.restart(2);
  ASSERT_TRUE(c.run_until([&] { return all_in_sync(c); }, 3s));
  EXPECT_EQ(unknown(2, first), 1u);
  EXPECT_EQ(unknown(2, c.view.id()), 0u);
}

TEST(NodeView, WhatDoesNotFollowIsRefusedOrStartsOver) {
  Cluster c({});
  c.run(2s);
  SessionId id = c.session(1'000);
  ASSERT_EQ(insert(c, id, 1), In::ok);
  View older({.revision = 0}, {{ProxyId{1}, "zone1"}});
  c.node(1).set_view(older, c.now);
  EXPECT_EQ(c.counter(1, "directory.view.refused.events"), 1u);
  EXPECT_EQ(ask_one(c, id, 1)->status, Qu::live);
  View skipped({.revision = 9}, {{ProxyId{1}, "zone1"}, {ProxyId{2}, "zone2"}, {ProxyId{3}, "zone3"}});
  c.node(1).set_view(skipped, c.now);
  EXPECT_EQ(c.counter(1, "directory.view.gaps.events"), 1u);
  EXPECT_EQ(ask_one(c, id, 1)->status, Qu::ask_another);
}

}  // namespace
}  // namespace statecast
