// SPDX-License-Identifier: BSD-3-Clause
// Scenarios of one session's life among three directory nodes, as an operator would tell them.
#include <gtest/gtest.h>

#include "directory/record_order.h"
#include "tests/directory/node_cluster.h"

namespace statecast {
namespace {

using In = InsertAnswer::Status;
using Re = RequestAnswer::Status;
using Qu = QueryAnswer::Status;

// Long enough after the start that each node knows all that it has granted.
constexpr Duration kSettled = 12s;

TEST(Node, ComesIntoSyncAtAColdStartAndGetsPermits) {
  Cluster c({});
  c.run(1s);
  for (uint32_t p = 1; p <= 3; ++p) {
    NodeStatus s = c.node(p).status(c.now);
    EXPECT_TRUE(s.in_sync) << p;
    EXPECT_FALSE(s.degraded);
    for (const auto& peer : s.peers) EXPECT_TRUE(peer.permit) << p << " from " << peer.id.value;
  }
}

TEST(Node, InsertIsHeldAtAllReplicasAndReleasesItsPacketThroughTheIngressProxy) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .ingress = 2});
  c.run(20ms);
  ASSERT_TRUE(c.insert_answer(r));
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.insert_answer(r)->version.term, kFirstTerm);
  EXPECT_EQ(c.insert_answer(r)->replicas.size(), 3u);
  EXPECT_EQ(c.packets_released(r), 1u);
  ASSERT_TRUE(c.lease(2, c.key(id)));
  EXPECT_EQ(c.lease(2, c.key(id))->member, MemberId{1});
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
  for (uint32_t replica = 1; replica <= 3; ++replica) {
    uint32_t q = c.query(3, id, replica);
    c.run(10ms);
    EXPECT_EQ(c.query_answer(q)->status, Qu::live);
  }
}

TEST(Node, AnInsertThatReturnsBringsItsPacketBackAndTheEntryToTheIngress) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  std::vector<uint8_t> back;
  bool entry_has_it = false;
  c.filter = [&](NodeId, NodeId, const Message& m) {
    if (auto* a = std::get_if<InsertAnswer>(&m.body)) back.assign(a->packet.begin(), a->packet.end());
    if (auto* e = std::get_if<Entry>(&m.body)) entry_has_it = !e->packet.empty();
    return true;
  };
  c.insert({.member = 1, .id = id, .via = 1, .ingress = 2, .returns = true});
  c.run(20ms);
  EXPECT_FALSE(back.empty());
  EXPECT_FALSE(entry_has_it);
  EXPECT_TRUE(c.lease(2, c.key(id)));
}

// --- a packet that comes with the question ---

// Three nodes with one established session of member 1; asks one of them with a packet along.
class WithPacket {
 public:
  explicit WithPacket(uint64_t bucket = kUnlimitedBytes) {
    c.run(kSettled);
    c.insert({.member = 1,
              .id = id,
              .state = RecordState::established,
              .lifetime = 60s,
              .bucket = bucket,
              .bucket_counter = 5,
              .counter = 5});
    c.run(100ms);
    c.filter = [this](NodeId, NodeId, const Message& m) {
      if (auto* a = std::get_if<QueryAnswer>(&m.body)) {
        answer = *a;
        packet.assign(a->packet.begin(), a->packet.end());
      }
      return true;
    };
  }
  void ask(QueryForm form, const SessionId& of) {
    c.query(3, of, 2, form, form == QueryForm::query ? Bytes() : Bytes(kSent));
    c.run(10ms);
  }
  std::optional<ForwardedPacket> forwarded() {
    ForwardedPacket p;
    return c.node(2).next_forwarded(p) ? std::optional(p) : std::nullopt;
  }

  const std::vector<uint8_t> kSent = std::vector<uint8_t>(600, 0x45);
  Cluster c{{}};
  SessionId id = c.session(40000);
  QueryAnswer answer;
  std::vector<uint8_t> packet;  // that came back
};

TEST(Node, APacketThatMeetsALeaseIsForwardedAndSpendsOfIt) {
  WithPacket w(1'000'000);
  w.ask(QueryForm::query, w.id);  // what is granted without one
  const uint64_t granted = w.answer.lease_bytes;
  ASSERT_GT(granted, 600u);
  WithPacket x(1'000'000);
  x.ask(QueryForm::query_and_forward, x.id);
  EXPECT_EQ(x.answer.status, Qu::live);
  EXPECT_EQ(x.answer.lease_bytes, granted - 600);
  EXPECT_TRUE(x.packet.empty());
  auto p = x.forwarded();
  ASSERT_TRUE(p);
  EXPECT_EQ(p->to, MemberId{1});
  EXPECT_EQ(p->group, x.c.group);
  EXPECT_EQ(p->ingress, ProxyId{3});
  EXPECT_EQ(p->packet, x.kSent);
  EXPECT_FALSE(x.forwarded());
  EXPECT_EQ(x.c.counter(2, "directory.query.forwarded.packets"), 1u);
}

TEST(Node, WhatIsNotForwardedComesBackWithTheAnswer) {
  struct Row {
    const char* name;
    QueryForm form;
    bool known;
    uint64_t bucket;
    Qu status;
  };
  for (const Row& row : {Row{"to be returned", QueryForm::query_and_return, true, kUnlimitedBytes, Qu::live},
                         Row{"nobody's", QueryForm::query_and_forward, false, kUnlimitedBytes, Qu::none},
                         Row{"more than was granted", QueryForm::query_and_forward, true, 900, Qu::live}}) {
    SCOPED_TRACE(row.name);
    WithPacket w(row.bucket);
    w.ask(row.form, row.known ? w.id : w.c.session(50'000));
    EXPECT_EQ(w.answer.status, row.status);
    EXPECT_EQ(w.packet, w.kSent);
    EXPECT_FALSE(w.forwarded());
    EXPECT_EQ(w.c.counter(2, "directory.query.returned.packets"), 1u);
  }
}

// --- who gets the session ---

TEST(Node, SynRetransmittedThroughAnotherProxyToAnotherMemberIsAConflictThatNamesTheOwner) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  uint32_t first = c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .born_new = true});
  c.run(1s);
  uint32_t second = c.insert({.member = 2, .id = id, .via = 2, .ingress = 2, .born_new = true});
  c.run(1s);
  EXPECT_EQ(c.insert_answer(first)->status, In::ok);
  ASSERT_EQ(c.insert_answer(second)->status, In::conflict);
  EXPECT_EQ(c.insert_answer(second)->record->member, MemberId{1});
  EXPECT_EQ(c.packets_released(second), 0u);
  EXPECT_FALSE(c.lease(2, c.key(id)));
}

TEST(Node, OfTwoSynsAtOnceOneWinsAndTheOtherLearnsOfItWhenItRetries) {
  unsigned won = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.seed = seed});
    c.run(1s);
    SessionId id = c.session(40000);
    uint32_t via2 = 1 + seed % 3;  // sometimes through the same proxy
    uint32_t a = c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .born_new = true});
    uint32_t b = c.insert({.member = 2, .id = id, .via = via2, .ingress = 2, .born_new = true});
    c.run(300ms);
    ASSERT_TRUE(c.insert_answer(a) && c.insert_answer(b));
    unsigned ok = (c.insert_answer(a)->status == In::ok) + (c.insert_answer(b)->status == In::ok);
    ASSERT_LE(ok, 1u);
    won += ok;
    // The losers try again, as their agents do.
    uint32_t a2 = c.insert({.member = 1, .id = id, .via = 1, .born_new = true});
    c.run(300ms);
    uint32_t b2 = c.insert({.member = 2, .id = id, .via = 2, .born_new = true});
    c.run(300ms);
    EXPECT_NE(c.insert_answer(a2)->status == In::ok, c.insert_answer(b2)->status == In::ok);
    EXPECT_EQ(c.held_copies(c.key(id)), 3u);
  }
  EXPECT_GE(won, 20u) << "hardly ever should both have to withdraw";
}

TEST(Node, TupleUsedAgainWhileTheOldOwnerIsEstablishedIsAConflict) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  uint32_t r = c.insert({.member = 2, .id = id, .via = 2, .born_new = true});
  c.run(1s);
  EXPECT_EQ(c.insert_answer(r)->status, In::conflict);
}

TEST(Node, TupleUsedAgainWhileTheOldOwnerIsClosingPassesWithTheNextTermAndPurgesTheOldLease) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 3, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  ASSERT_TRUE(c.lease(3, c.key(id)));
  c.insert({.member = 1, .id = id, .state = RecordState::closing, .lifetime = 60s});
  c.run(100ms);
  EXPECT_EQ(c.ask(3, id)->status, Qu::live) << "a closing mapping still answers";
  uint32_t stray = c.insert({.member = 2, .id = id, .via = 2, .born_new = false});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(stray)->status, In::conflict);
  uint32_t r = c.insert({.member = 2, .id = id, .via = 2, .ingress = 2, .born_new = true});
  c.run(100ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.insert_answer(r)->version.term, kFirstTerm + 1);
  EXPECT_FALSE(c.lease(3, c.key(id))) << "the old owner's lease is purged";
  EXPECT_EQ(c.ask(3, id)->member, MemberId{2});
  EXPECT_GE(c.notices(1), 1u) << "the old owner is told";
}

TEST(Node, TupleOfADeadOwnerIsUnavailableAndThenTakenOverWithTheNextTerm) {
  Cluster c({});
  c.run(4s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  c.kill_member(1);
  c.run(2s);
  EXPECT_EQ(c.ask(2, id)->status, Qu::live) << "not dead before the dead-man time";
  c.run(1500ms);
  EXPECT_EQ(c.ask(2, id)->status, Qu::unavailable);
  uint32_t r = c.insert({.member = 2, .id = id, .via = 3, .ingress = 3, .born_new = true});
  c.run(100ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.insert_answer(r)->version.term, kFirstTerm + 1);
  EXPECT_EQ(c.ask(1, id)->member, MemberId{2});
}

TEST(Node, SuspendedMappingLivesAgainWhenItsMemberDoes) {
  Cluster c({});
  c.run(4s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.kill_member(1);
  c.run(4s);
  EXPECT_EQ(c.ask(2, id)->status, Qu::unavailable);
  c.revive_member(1);
  c.run(500ms);
  EXPECT_EQ(c.ask(2, id)->status, Qu::live);
}

TEST(Node, MemberThatOnlyOneProxyHearsIsNotDead) {
  Cluster c({});
  c.run(4s);
  SessionId id = c.session(40000);
  c.insert({.member = 3, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.kill_member(3);
  for (int i = 0; i < 20; ++i) {
    c.node(2).on_member_heard(MemberId{3}, c.now);
    c.run(250ms);
  }
  for (uint32_t p = 1; p <= 3; ++p)
    EXPECT_EQ(c.query_answer([&] {
                 uint32_t q = c.query(1, id, p);
                 c.run(10ms);
                 return q;
               }())
                  ->status,
              Qu::live);
}

TEST(Node, SpoofedSynForALiveSessionTouchesNothing) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  auto before = c.node(2).find(c.key(id), c.now);
  uint32_t r = c.insert({.member = 3, .id = id, .via = 2, .ingress = 2, .born_new = true});
  c.run(1s);
  EXPECT_EQ(c.insert_answer(r)->status, In::conflict);
  EXPECT_EQ(c.packets_released(r), 0u);
  EXPECT_EQ(c.node(2).find(c.key(id), c.now)->version, before->version);
  EXPECT_EQ(c.lease(1, c.key(id))->member, MemberId{1});
}

TEST(Node, SynOfARevokedSessionMeetsTheTombstone) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id});
  c.run(100ms);
  uint32_t rev = c.revoke(NodeId::member(MemberId{1}), id, 2);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rev, Re::silent));
  for (uint32_t member : {1u, 2u}) {
    uint32_t r = c.insert({.member = member, .id = id, .via = member, .ingress = 3, .born_new = true});
    c.run(100ms);
    ASSERT_EQ(c.insert_answer(r)->status, In::conflict) << member;
    EXPECT_EQ(c.insert_answer(r)->record->state, RecordState::revoked);
    EXPECT_EQ(c.packets_released(r), 0u);
  }
}

TEST(Node, RenewalByTheOwnerReleasesItsPacketAgain) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  uint32_t a = c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .born_new = true});
  c.run(1s);
  uint32_t b = c.insert({.member = 1, .id = id, .via = 2, .ingress = 2, .born_new = true});  // SYN/ACK again
  c.run(1s);
  EXPECT_EQ(c.insert_answer(a)->status, In::ok);
  EXPECT_EQ(c.insert_answer(b)->status, In::ok);
  EXPECT_EQ(c.packets_released(b), 1u);
  EXPECT_EQ(c.insert_answer(b)->version.term, kFirstTerm);
}

// Its agent has lost its incarnation: the answer says by which record, also where the coordinator had not known of it.
TEST(Node, AnInsertOfALowerIncarnationIsRefusedByTheRecordThatIsThere) {
  for (bool coordinator_knows : {true, false}) {
    Cluster c({});
    c.run(1s);
    SessionId id = c.session(40000);
    c.insert({.member = 1, .id = id, .via = 2, .state = RecordState::established, .lifetime = 60s, .incarnation = 5});
    if (!coordinator_knows) {
      c.filter = [](NodeId, NodeId to, const Message& m) {
        return to != NodeId::proxy({1}) ||
               !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
      };
    }
    c.run(100ms);
    c.filter = {};
    ASSERT_EQ(c.node(1).find(c.key(id), c.now).has_value(), coordinator_knows);
    uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .state = RecordState::established, .lifetime = 60s});
    c.run(1s);
    ASSERT_TRUE(c.insert_answer(r));
    EXPECT_EQ(c.insert_answer(r)->status, In::refused);
    ASSERT_TRUE(c.insert_answer(r)->record);
    EXPECT_EQ(c.insert_answer(r)->record->version.incarnation, 5u);
    EXPECT_EQ(c.node(1).find(c.key(id), c.now)->version.incarnation, 5u);
  }
}

TEST(Node, SameRequestTwiceGetsTheSameOutcome) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  InsertSpec spec{.member = 1, .id = id, .via = 1, .ingress = 1, .counter = 5, .request = 77};
  c.insert(spec);
  c.insert(spec);
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(77)->status, In::ok);
  EXPECT_EQ(c.packets_released(77), 1u) << "one insert under way, one packet";
  spec.via = 2;  // its answer was lost, the agent tries elsewhere
  c.insert(spec);
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(77)->status, In::ok);
  EXPECT_EQ(c.packets_released(77), 2u);
}

TEST(Node, RepeatOfADegradedInsertSaysHowManyCopiesThereAre) {
  Cluster c({.partition_available = true});
  c.run(1s);
  c.isolate(1);
  SessionId id = c.session(40000);
  InsertSpec spec{.member = 1, .id = id, .via = 1, .ingress = 1, .counter = 5, .request = 77};
  for (int i = 0; i < 2; ++i) {
    c.insert(spec);
    c.run(400ms);
    ASSERT_TRUE(c.insert_answer(77));
    EXPECT_EQ(c.insert_answer(77)->status, In::degraded) << i;
    EXPECT_EQ(c.insert_answer(77)->copies, 1) << i;
  }
  c.heal();
  c.run(1s);
  c.insert(spec);
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(77)->status, In::ok);
  EXPECT_GE(c.insert_answer(77)->copies, 2);
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
}

// The two sides of a partition each take an insert of a session; only one of them was promised anything.
TEST(Node, ADegradedInsertGivesWayToAnAcknowledgedOneAndIsPromisedWhenItIsRenewed) {
  Cluster c({.partition_available = true});
  c.run(1s);
  c.isolate(3);
  SessionId both = c.session(40000), alone = c.session(40001);
  auto insert = [&](uint32_t member, const SessionId& id, uint32_t via) {
    return c.insert({.member = member, .id = id, .via = via, .state = RecordState::established, .lifetime = 60s});
  };
  uint32_t promised = insert(3, both, 1), degraded = insert(1, both, 3), only = insert(1, alone, 3);
  c.run(1s);
  EXPECT_EQ(c.insert_answer(promised)->status, In::ok);
  EXPECT_EQ(c.insert_answer(degraded)->status, In::degraded);
  EXPECT_EQ(c.insert_answer(only)->status, In::degraded);
  c.heal();
  c.run(1s);
  c.restart(2);  // and what it has comes from the others again
  c.run(1s);
  uint32_t renewed = insert(1, alone, 3);
  uint32_t again = insert(3, both, 3);
  c.run(1s);
  EXPECT_EQ(c.insert_answer(renewed)->status, In::ok);
  EXPECT_EQ(c.insert_answer(again)->status, In::ok);
  for (uint32_t p = 1; p <= 3; ++p) {
    EXPECT_EQ(c.node(p).find(c.key(both), c.now)->owner, NodeId::member({3})) << p;
    EXPECT_EQ(c.node(p).find(c.key(alone), c.now)->version.term, kFirstTerm) << p;
  }
  EXPECT_GE(c.notices(1), 1u) << "its owner is told";
}

// Node 2 counts in what node 1 acknowledged, and never hears that it is held. Asked to coordinate a copy of the same
// insert it finds nobody, and withdraws.
TEST(Node, ACopyThatAnotherCoordinatorCountedIsNotWithdrawn) {
  Cluster c({.degraded_accept = false});
  c.run(kSettled);
  SessionId id = c.session(40000);
  bool alone = false;
  c.filter = [&](NodeId from, NodeId to, const Message& m) {
    if (from == NodeId::proxy(ProxyId{1}) && std::holds_alternative<Held>(m.body)) return false;
    if (from == NodeId::proxy(ProxyId{1}) && to == NodeId::proxy(ProxyId{3}))
      return !std::holds_alternative<Place>(m.body);
    return !(alone && std::holds_alternative<Place>(m.body));
  };
  const uint64_t counter = c.next_counter(1);
  uint32_t r = c.insert({.id = id, .via = 1, .lifetime = 60s, .counter = counter});
  c.run(10ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  ASSERT_FALSE(c.node(2).is_held(c.key(id)));
  alone = true;
  c.insert({.id = id, .via = 2, .lifetime = 60s, .counter = counter, .request = r});
  c.run(500ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::refused) << "the second answer";
  c.filter = nullptr;
  c.stop(1);
  c.run(1s);
  EXPECT_EQ(c.held_copies(c.key(id)), 2u) << "one of two has died, the other one has brought it to node 3";
}

// The same, where node 2 was asked first, so that the copy that node 1 counted is its own.
TEST(Node, ACoordinatorsOwnCopyThatAnotherCountedIsCompletedOrEnds) {
  for (bool completed : {true, false}) {
    SCOPED_TRACE(completed);
    Cluster c({.degraded_accept = false});
    c.run(kSettled);
    SessionId id = c.session(40000);
    c.filter = [](NodeId from, NodeId to, const Message& m) {
      if (from == NodeId::proxy(ProxyId{1}) && std::holds_alternative<Held>(m.body)) return false;
      if (!std::holds_alternative<Place>(m.body)) return true;
      return from == NodeId::proxy(ProxyId{1}) && to == NodeId::proxy(ProxyId{2});
    };
    const uint64_t counter = c.next_counter(1);
    uint32_t r = c.insert({.id = id, .via = 2, .lifetime = 30s, .counter = counter});
    c.run(10ms);
    c.insert({.id = id, .via = 1, .lifetime = 30s, .counter = counter, .request = r});
    c.run(10ms);
    ASSERT_EQ(c.insert_answer(r)->status, In::ok) << "of node 1, which counted both";
    c.run(500ms);
    ASSERT_EQ(c.insert_answer(r)->status, In::refused) << "of node 2, which found nobody";
    ASSERT_FALSE(c.node(2).is_held(c.key(id)));
    c.stop(1);
    if (completed) {
      c.filter = nullptr;
      c.run(1s);
      EXPECT_EQ(c.held_copies(c.key(id)), 2u);
    } else {
      c.run(35s);
      EXPECT_EQ(c.node(2).status(c.now).placed, 0u);
    }
  }
}

// Node 1 has the tombstone, and has missed the session that its owner began after it.
TEST(Node, AnOldTombstoneAtOneReplicaDoesNotEndWhatItsOwnerBeganSince) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.id = id, .via = 2});
  c.run(20ms);
  c.remove(1, id, 2);
  c.run(100ms);
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{1}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body) ||
             std::holds_alternative<Change>(m.body));
  };
  InsertSpec s{.id = id, .via = 2, .state = RecordState::established, .born_new = true, .lifetime = 60s};
  uint32_t first = c.insert(s);
  c.run(20ms);
  ASSERT_EQ(c.insert_answer(first)->status, In::ok);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<Change>(m.body); };
  s.born_new = false;
  uint32_t renewal = c.insert(s);
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(renewal)->status, In::ok);
  c.run(100ms);
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
}

// Node 1 was cut off and took an insert that its owner has given up since. Its removal is no matter of who owns it now.
TEST(Node, RemovingADegradedInsertDoesNotEndAnothersSession) {
  Cluster c({.partition_available = true});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.isolate(1);
  c.run(1500ms);
  uint32_t theirs = c.insert({.member = 2, .id = id, .via = 2, .lifetime = 60s});
  uint32_t ours = c.insert({.member = 1, .id = id, .via = 1, .lifetime = 60s});
  c.run(500ms);
  ASSERT_EQ(c.insert_answer(theirs)->status, In::ok);
  ASSERT_EQ(c.insert_answer(ours)->status, In::degraded);
  c.heal();
  c.remove(1, id, 1);
  c.run(1s);
  EXPECT_EQ(c.node(2).find(c.key(id), c.now)->owner, NodeId::member(MemberId{2}));
  EXPECT_EQ(c.node(3).find(c.key(id), c.now)->owner, NodeId::member(MemberId{2}));
}

// Whose session it was is all that a replica knows that is cut off. Whose it is now it cannot say, nor that it is not
// the one who asks.
TEST(Node, AReplicaThatIsCutOffKnowsOfNoConflict) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.isolate(3);
  c.run(1500ms);
  c.remove(1, id, 1);
  c.run(100ms);
  InsertSpec next{
      .member = 2, .id = id, .via = 1, .state = RecordState::established, .born_new = true, .lifetime = 60s};
  uint32_t inserted = c.insert(next);
  c.run(100ms);
  ASSERT_EQ(c.insert_answer(inserted)->status, In::ok);
  ASSERT_EQ(c.node(3).find(c.key(id), c.now)->owner, NodeId::member(MemberId{1}));
  next.via = 3;
  uint32_t renewed = c.insert(next);
  c.run(500ms);
  EXPECT_EQ(c.insert_answer(renewed)->status, In::try_again);
  c.heal();
  c.run(1s);
  renewed = c.insert(next);
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(renewed)->status, In::ok);
}

// It was placed when the session's term was higher; terms have begun anew since, and its owner has gone on.
TEST(Node, AnOldCopyOfAnOwnersInsertDoesNotPassWhatItSaidLater) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s, .counter = 311});
  c.run(100ms);
  std::optional<PlaceAck::Status> said;
  c.filter = [&](NodeId from, NodeId, const Message& m) {
    auto* ack = std::get_if<PlaceAck>(&m.body);
    if (ack && from == NodeId::proxy({3})) said = ack->status;
    return true;
  };
  Record old{.key = c.key(id), .group = c.group, .member = {1}, .owner = NodeId::member({1}), .version = {2, 1, 77}};
  old.remaining_ms = 8'000;
  const NodeId other = NodeId::proxy({2});
  c.send(other, NodeId::proxy({3}), {.request = 7, .origin = other, .view = c.view.id()}, Place{old, false});
  c.run(2s);
  EXPECT_EQ(said, PlaceAck::Status::refused);
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->version.counter, 311u) << p;
}

// Its permits are older than the cut: it grants a degraded insert only when those that count are newer, so never.
TEST(Node, ADegradedInsertIsNotGrantedByPermitsOfBefore) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.isolate(1);
  const uint32_t ours = c.insert({.member = 2, .id = id, .via = 1, .ingress = 1, .born_new = true});
  const uint32_t theirs = c.insert({.member = 1, .id = id, .via = 2, .ingress = 2, .born_new = true});
  c.run(300ms);
  ASSERT_EQ(c.insert_answer(ours)->status, In::degraded);
  ASSERT_EQ(c.insert_answer(theirs)->status, In::ok);
  EXPECT_FALSE(c.lease(1, c.key(id)));
  EXPECT_EQ(c.packets_released(ours), 0u);
  uint32_t q = c.query(1, id, 1);
  c.run(5ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another);
  EXPECT_TRUE(c.lease(2, c.key(id)));
}

// Nor by one that has only been told that it is held.
TEST(Node, ADegradedInsertIsNotGrantedByAnotherReplicaEither) {
  Cluster c({.nodes = 5, .replicas = 5, .writes = 3});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.part({1, 2}, {3, 4, 5});
  const uint32_t ours = c.insert({.member = 2, .id = id, .via = 1, .ingress = 1, .born_new = true});
  const uint32_t theirs = c.insert({.member = 1, .id = id, .via = 3, .ingress = 3, .born_new = true});
  c.run(300ms);
  ASSERT_EQ(c.insert_answer(ours)->status, In::degraded);
  ASSERT_EQ(c.insert_answer(ours)->copies, 2);
  ASSERT_EQ(c.insert_answer(theirs)->status, In::ok);
  ASSERT_TRUE(c.node(2).find(c.key(id), c.now));
  for (uint32_t p : {1, 2}) {
    const uint32_t q = c.query(1, id, p);
    c.run(5ms);
    EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another) << p;
  }
  EXPECT_TRUE(c.lease(3, c.key(id)));
}

// Two coordinators of one insert, and neither knows how many the other has counted: it still gives way to what W hold.
TEST(Node, ADegradedInsertOfTwoCoordinatorsGivesWayToAnAcknowledgedOne) {
  Cluster c({.nodes = 5, .replicas = 5, .writes = 3});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.part({1, 2}, {3, 4, 5});
  const InsertSpec ours{.member = 1, .id = id, .via = 1, .born_new = true, .counter = 7};
  const uint32_t first = c.insert(ours);
  InsertSpec again = ours;
  again.via = 2, again.request = first;
  c.insert(again);
  const uint32_t theirs = c.insert({.member = 2, .id = id, .via = 3, .born_new = true});
  c.run(300ms);
  ASSERT_EQ(c.insert_answer(first)->status, In::degraded);
  ASSERT_EQ(c.insert_answer(theirs)->status, In::ok);
  EXPECT_EQ(c.node(1).find(c.key(id), c.now)->version.term, kUnsureTerm);
  c.heal();
  c.run(2s);
  for (uint32_t p = 1; p <= 5; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->owner, NodeId::member({2})) << p;
}

// Where W is more than permits need, those who answered say enough.
TEST(Node, ADegradedInsertThatOthersAnsweredIsGrantedAtOnce) {
  Cluster c({.writes = 3});
  c.run(kSettled);
  c.stop(3);
  SessionId id = c.session(40000);
  const uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .born_new = true});
  c.run(300ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::degraded);
  EXPECT_TRUE(c.lease(1, c.key(id)));
  EXPECT_EQ(c.packets_released(r), 1u);
}

// The others were slow, and not cut off.
TEST(Node, ADegradedInsertIsGrantedOncePermitsAreNewer) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<Place>(m.body); };
  const uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .born_new = true});
  c.run(300ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::degraded);
  EXPECT_FALSE(c.lease(1, c.key(id)));
  c.run(1s);
  EXPECT_EQ(c.ask(1, id)->status, Qu::live);
}

// Node 1 does not know yet that it is cut off. Of a degraded insert nothing is promised, and so it must not stand above
// what its owner goes on to be promised on the other side.
TEST(Node, ADegradedInsertDoesNotPassAnotherOwnersRecord) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000), fresh = c.session(40001);
  c.insert({.member = 1, .id = id, .state = RecordState::closing, .lifetime = 60s});
  c.run(100ms);
  c.isolate(1);
  uint32_t passing = c.insert({.member = 2, .id = id, .via = 1, .born_new = true});
  uint32_t other = c.insert({.member = 2, .id = fresh, .via = 1, .born_new = true});
  uint32_t again = c.insert({.member = 1, .id = id, .via = 2, .state = RecordState::established, .born_new = true});
  c.run(500ms);
  EXPECT_EQ(c.insert_answer(passing)->status, In::refused);
  EXPECT_EQ(c.insert_answer(other)->status, In::degraded);
  ASSERT_EQ(c.insert_answer(again)->status, In::ok);
  c.heal();
  c.run(2s);
  for (uint32_t p = 1; p <= 3; ++p)
    EXPECT_EQ(c.node(p).find(c.key(id), c.now)->owner, NodeId::member(MemberId{1})) << p;
}

// Node 3 starts while it is cut off; after 15 s it has waited for the others long enough. Alone it says of no session
// that it is none, and once the others are back it asks them.
TEST(Node, OneThatCameIntoSyncAloneAsksWhoIsBack) {
  Cluster c({});
  c.run(kSettled);
  c.isolate(3);
  c.restart(3);
  SessionId id = c.session(40000);
  uint32_t r = c.insert({.id = id, .via = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(20s);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  ASSERT_TRUE(c.node(3).in_sync(c.key(id).slot()));
  uint32_t q = c.query(3, id, 3);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another);
  c.heal();
  c.run(2s);
  EXPECT_TRUE(c.node(3).in_sync(c.key(id).slot()));
  EXPECT_TRUE(c.node(3).is_held(c.key(id)));
}

// The session passed on to another owner and was over before node 3 could hear of it.
TEST(Node, AChangeOfOwnerThatIsOverStillEndsWhatWasBefore) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.isolate(3);
  c.run(1500ms);
  c.insert({.member = 1, .id = id, .state = RecordState::closing, .lifetime = 60s});
  c.run(100ms);
  uint32_t passed = c.insert({.member = 2, .id = id, .born_new = true, .lifetime = 2s});
  c.run(5s);
  ASSERT_EQ(c.insert_answer(passed)->status, In::ok);
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now)) << "over";
  ASSERT_EQ(c.node(3).find(c.key(id), c.now)->owner, NodeId::member(MemberId{1}));
  c.heal();
  c.run(3s);
  EXPECT_FALSE(c.node(3).find(c.key(id), c.now));
  uint32_t again = c.insert({.member = 2, .id = id, .via = 3, .lifetime = 60s});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(again)->status, In::ok);
}

// W replicas have the new insert, and one of them has not heard yet that it is held.
TEST(Node, WhatIsPlacedAboveARemovalIsNotAnsweredByIt) {
  Cluster c({.replicas = 2, .writes = 2});
  c.run(kSettled);
  SessionId id = c.session(40000);
  const auto replicas = c.view.replicas(c.key(id).slot());
  const uint32_t first = replicas[0].value, second = replicas[1].value;
  c.insert({.id = id, .via = first, .lifetime = 60s});
  c.run(50ms);
  c.remove(1, id, first);
  c.run(50ms);
  c.filter = [](NodeId, NodeId, const Message& m) {
    return !std::holds_alternative<Held>(m.body) && !std::holds_alternative<Change>(m.body);
  };
  uint32_t again = c.insert({.id = id, .via = first, .born_new = true, .lifetime = 60s});
  c.run(20ms);
  ASSERT_EQ(c.insert_answer(again)->status, In::ok);
  ASSERT_EQ(c.node(second).find(c.key(id), c.now)->state, RecordState::removed) << "held";
  uint32_t q = c.query(second, id, second);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another);
}

// The owner asks again elsewhere; there nobody else can be reached, and the first one is lifted meanwhile.
TEST(Node, OneUnrevokeLiftsWhatTwoCoordinatorsMadeOfOneRevoke) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.id = id, .via = 2, .lifetime = 60s});
  c.run(20ms);
  c.isolate(3);
  const NodeId owner = NodeId::member(MemberId{1});
  uint32_t r = c.revoke(owner, id, 2);
  c.revoke(owner, id, 3, 600s, r);
  c.run(1s);
  ASSERT_EQ(c.node(3).find(c.key(id), c.now)->state, RecordState::revoked);
  c.unrevoke(owner, id, 1);
  c.run(1s);
  c.heal();
  c.run(5s);
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::removed) << p;
}

// The owner says it once more, under another request, as after a replica's loss; that copy comes when the session has
// been unrevoked.
TEST(Node, ARevocationSentAgainStandsNotAboveItsUnrevoke) {
  for (bool coordinator_missed_the_unrevoke : {false, true}) {
    Cluster c({});
    c.run(kSettled);
    SessionId id = c.session(40000);
    c.insert({.id = id, .via = 2, .lifetime = 60s});
    c.run(20ms);
    const NodeId owner = NodeId::member(MemberId{1});
    const uint32_t first = c.revoke(owner, id, 2);
    c.run(1s);
    if (coordinator_missed_the_unrevoke) c.isolate(3);
    c.unrevoke(owner, id, 1);
    c.run(1s);
    ASSERT_EQ(c.node(1).find(c.key(id), c.now)->state, RecordState::removed);
    c.revoke(owner, id, 3, 600s, std::nullopt, first);
    c.run(1s);
    c.heal();
    c.run(5s);
    for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::removed) << p;
    c.revoke(owner, id, 3);
    c.run(1s);
    for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::revoked) << p;
  }
}

// It names what it lifts; a copy that comes when the session has been revoked anew lifts nothing.
TEST(Node, ALateUnrevokeLeavesTheNextRevocation) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.id = id, .via = 2, .lifetime = 60s});
  c.run(20ms);
  const NodeId owner = NodeId::member(MemberId{1});
  const uint32_t first = c.revoke(owner, id, 2);
  c.run(1s);
  c.unrevoke(owner, id, 1, first);
  c.run(1s);
  ASSERT_EQ(c.node(1).find(c.key(id), c.now)->state, RecordState::removed);
  c.insert({.id = id, .via = 2, .born_new = true, .lifetime = 60s});
  c.run(20ms);
  const uint32_t second = c.revoke(owner, id, 2);
  c.run(1s);
  const uint32_t late = c.unrevoke(owner, id, 3, first);
  c.run(1s);
  EXPECT_TRUE(c.answered(late, Re::not_found));
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::revoked) << p;
  c.unrevoke(owner, id, 3, second);
  c.run(1s);
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::removed) << p;
}

// The same, where the session lives again meanwhile: neither a late copy nor a coordinator that was cut off with the
// revocation under way ends it.
TEST(Node, ALiftedRevocationEndsNothingThatIsInsertedAfterIt) {
  for (bool cut_off : {false, true}) {
    Cluster c({});
    c.run(kSettled);
    SessionId id = c.session(40000);
    c.insert({.id = id, .via = 2, .lifetime = 60s});
    c.run(20ms);
    const NodeId owner = NodeId::member(MemberId{1});
    if (cut_off) c.isolate(3);
    const uint32_t request = c.revoke(owner, id, 2);
    if (cut_off) c.revoke(owner, id, 3, 600s, request);
    c.run(1s);
    c.unrevoke(owner, id, 1);
    c.run(1s);
    const uint32_t in = c.insert({.id = id, .via = 1, .born_new = true, .lifetime = 60s});
    c.run(100ms);
    ASSERT_EQ(c.insert_answer(in)->status, In::ok);
    c.heal();
    c.run(2s);
    c.revoke(owner, id, 3, 600s, std::nullopt, request);
    c.run(2s);
    for (uint32_t p = 1; p <= 3; ++p)
      EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::half_open) << p << cut_off;
  }
}

// One that has missed the revocation cannot say that there is none.
TEST(Node, AReplicaThatIsCutOffDoesNotSayThatThereIsNothingToLift) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.id = id, .via = 2, .lifetime = 60s});
  c.run(20ms);
  c.isolate(3);
  c.run(2s);
  c.revoke(NodeId::op(), id, 1);
  c.run(1s);
  const uint32_t lift = c.unrevoke(NodeId::member(MemberId{1}), id, 3);
  c.run(1s);
  EXPECT_TRUE(c.answered(lift, Re::try_again));
  EXPECT_FALSE(c.answered(lift, Re::not_found));
}

// One coordinator gives up waiting for W, holds the insert degraded, and tells the other one of it.
TEST(Node, WhatOneCoordinatorHoldsDegradedTheOtherDoesNotPromise) {
  Cluster c({.writes = 3});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{1}) || !std::holds_alternative<Place>(m.body);
  };
  std::vector<In> answers;
  c.events.insert = [&](uint32_t, const InsertAnswer& a) { answers.push_back(a.status); };
  const uint64_t counter = c.next_counter(1);
  uint32_t r = c.insert({.id = id, .via = 3, .counter = counter});
  c.run(50ms);
  c.insert({.id = id, .via = 2, .counter = counter, .request = r});
  c.run(500ms);
  EXPECT_EQ(answers, (std::vector{In::degraded, In::degraded}));
}

// Taken while it was cut off; the others acknowledged another owner's meanwhile, whose renewal comes here first (seed
// 6294).
TEST(Node, ADegradedRecordIsNoConflictForWhomOthersHaveAcknowledged) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.isolate(2);  // it has permits for another second
  const uint32_t acknowledged = c.insert({.member = 2, .id = id, .via = 3, .born_new = true});
  const uint32_t degraded = c.insert({.member = 1, .id = id, .via = 2, .born_new = true});
  c.run(1s);
  ASSERT_EQ(c.insert_answer(acknowledged)->status, In::ok);
  ASSERT_EQ(c.insert_answer(degraded)->status, In::degraded);
  c.filter = [](NodeId, NodeId to, const Message& m) {
    const bool tells = std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body) ||
                       std::holds_alternative<SlotDigests>(m.body) || std::holds_alternative<PlaceAck>(m.body);
    return !(tells && to == NodeId::proxy(ProxyId{2}));
  };
  c.heal();
  c.run(2s);  // it has permits again
  const uint32_t renewal = c.insert({.member = 2, .id = id, .via = 2, .state = RecordState::established});
  c.run(50ms);
  EXPECT_EQ(c.insert_answer(renewal)->status, In::try_again);
  c.filter = nullptr;
  c.insert({.member = 2, .id = id, .via = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  for (uint32_t p = 1; p <= 3; ++p)
    EXPECT_EQ(c.node(p).find(c.key(id), c.now)->owner, NodeId::member(MemberId{2})) << p;
}

// A removal that only a replica heard that was cut off; the others have what its owner, started anew, inserted after it
// (seed 6725).
TEST(Node, ARemovalThatOthersHavePassedOverEndsWhereItWasTaken) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.id = id, .via = 2, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  c.isolate(2);
  c.remove(1, id, 2);
  c.run(1s);
  ASSERT_EQ(c.node(2).find(c.key(id), c.now)->state, RecordState::removed);
  c.insert({.id = id, .via = 3, .born_new = true, .lifetime = 60s, .incarnation = 2});
  c.insert({.id = id, .via = 3, .state = RecordState::established, .lifetime = 60s, .incarnation = 2});
  c.run(1s);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<SlotDigests>(m.body); };
  c.heal();
  c.run(2s);
  EXPECT_EQ(c.node(2).find(c.key(id), c.now)->state, RecordState::established);
  const uint32_t renewal =
      c.insert({.id = id, .via = 2, .state = RecordState::established, .lifetime = 60s, .incarnation = 2});
  c.run(50ms);
  EXPECT_EQ(c.insert_answer(renewal)->status, In::ok);
}

// The same, where node 2 has meanwhile been given a renewal that nobody held.
TEST(Node, WhatAWithdrawnRenewalReplacedComesBack) {
  Cluster c({.degraded_accept = false});
  c.run(kSettled);
  SessionId id = c.session(40000);
  auto from = [](NodeId n, uint32_t p) { return n == NodeId::proxy(ProxyId{p}); };
  c.filter = [&](NodeId a, NodeId b, const Message& m) {
    if (from(a, 1) && std::holds_alternative<Held>(m.body)) return false;
    return !(std::holds_alternative<Place>(m.body) && !(from(a, 1) && from(b, 2)));
  };
  uint32_t r = c.insert({.id = id, .via = 1, .lifetime = 60s});
  c.run(10ms);
  ASSERT_EQ(c.insert_answer(r)->status, In::ok);
  uint32_t renewal = c.insert({.id = id, .via = 2, .lifetime = 60s});
  c.run(500ms);
  ASSERT_EQ(c.insert_answer(renewal)->status, In::refused);
  c.filter = nullptr;
  c.stop(1);
  c.run(1s);
  EXPECT_EQ(c.held_copies(c.key(id)), 2u);
}

TEST(Node, LateCopyOfAWithdrawnInsertIsRefused) {
  Cluster c({.delay_min = 500us, .delay_max = 500us});
  c.run(1s);
  SessionId id = c.session(40000);
  // Node 3 hears of neither, so that each of the two inserts meets the other and has to be withdrawn.
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return !(to == NodeId::proxy(ProxyId{3}) && std::holds_alternative<Place>(m.body));
  };
  InsertSpec one{.member = 1, .id = id, .via = 1, .born_new = true, .counter = 100, .request = 5'001};
  InsertSpec two{.member = 2, .id = id, .via = 2, .born_new = true, .counter = 100, .request = 5'002};
  c.insert(one);
  c.insert(two);
  c.run(400ms);
  EXPECT_EQ(c.insert_answer(5'001)->status, In::busy);
  EXPECT_EQ(c.insert_answer(5'002)->status, In::busy);
  c.filter = nullptr;
  for (uint32_t via : {1u, 2u}) {
    one.via = via;
    one.request = 5'010 + via;
    c.insert(one);
    c.run(400ms);
    EXPECT_NE(c.insert_answer(5'010 + via)->status, In::ok) << "a late copy through " << via;
  }
  EXPECT_EQ(c.held_copies(c.key(id)), 0u);
  one.counter = 101;
  one.request = 5'020;
  c.insert(one);
  c.run(400ms);
  EXPECT_EQ(c.insert_answer(5'020)->status, In::ok) << "the retry is another version";
}

// --- coordinators and restarts ---

TEST(Node, CoordinatorDiesBetweenPlacedAndHeldAndNothingAcknowledgedIsLost) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.filter = [](NodeId from, NodeId, const Message& m) {
    return !(from == NodeId::proxy(ProxyId{1}) && std::holds_alternative<Held>(m.body));
  };
  uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .ingress = 2, .lifetime = 10s});
  ASSERT_TRUE(c.run_until([&] { return c.insert_answer(r).has_value(); }, 100ms));
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
  c.stop(1);
  EXPECT_EQ(c.held_copies(c.key(id)), 0u);
  uint32_t q = c.query(3, id, 2);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another) << "only placed: neither live nor none";
  c.run(200ms);
  EXPECT_EQ(c.held_copies(c.key(id)), 2u) << "the replicas complete it themselves";
  EXPECT_EQ(c.ask(3, id)->status, Qu::live);
}

TEST(Node, AllThreeRestartedAtOnceComeBackEmptyAndInSync) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  for (uint32_t p = 1; p <= 3; ++p) c.stop(p);
  for (uint32_t p = 1; p <= 3; ++p) c.start(p);
  c.run(1s);
  for (uint32_t p = 1; p <= 3; ++p) {
    EXPECT_TRUE(c.node(p).status(c.now).in_sync);
    EXPECT_EQ(c.counter(p, "directory.sync.resync_incomplete.events"), 1u);
  }
  EXPECT_EQ(c.ask(1, id)->status, Qu::none);
  uint32_t f = c.refresh(1, 2, {{c.handle_of(id), 0, kUnlimitedBytes}});
  c.run(100ms);
  ASSERT_EQ(c.refresh_answer(f)->unknown.size(), 1u) << "its owner is told to insert it anew";
  uint32_t r = c.insert({.member = 1, .id = id, .via = 2, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
}

TEST(Node, TwoRestartedOneAfterTheOtherLoseNothing) {
  Cluster c({});
  c.run(1s);
  std::vector<SessionId> ids;
  for (uint16_t i = 0; i < 200; ++i) {
    ids.push_back(c.session(static_cast<uint16_t>(20'000 + i)));
    c.insert({.member = 1u + i % 3,
              .id = ids.back(),
              .via = 1u + i % 3,
              .state = RecordState::established,
              .lifetime = 60s});
  }
  c.run(1s);
  c.restart(2);
  EXPECT_FALSE(c.node(2).status(c.now).in_sync);
  uint32_t q = c.query(1, ids[0], 2);
  c.run_until([&] { return c.query_answer(q).has_value(); }, 10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another) << "neither live nor none while out of sync";
  c.run(1s);
  EXPECT_TRUE(c.node(2).status(c.now).in_sync);
  EXPECT_EQ(c.counter(2, "directory.sync.complete.events"), 1u);
  c.restart(3);
  c.run(1s);
  for (const SessionId& id : ids) EXPECT_EQ(c.held_copies(c.key(id)), 3u);
}

TEST(Node, SurvivorOfTwoTakesBackBothWithinSeconds) {
  Cluster c({.partition_available = true});
  c.run(1s);
  c.stop(2);
  c.stop(3);
  c.run(5s);
  EXPECT_TRUE(c.node(1).status(c.now).degraded);
  SessionId id = c.session(40000);
  uint32_t r =
      c.insert({.member = 1, .id = id, .via = 1, .ingress = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::degraded);
  EXPECT_EQ(c.insert_answer(r)->copies, 1);
  c.start(2);
  c.start(3);
  c.run(2s);
  for (uint32_t p = 1; p <= 3; ++p) {
    EXPECT_TRUE(c.node(p).status(c.now).in_sync);
    EXPECT_FALSE(c.node(p).status(c.now).degraded);
  }
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
}

TEST(Node, PausedForTwoMinutesGrantsNothingOfWhatWasRevokedMeanwhile) {
  Cluster c({});
  c.run(kSettled);
  SessionId revoked = c.session(40000), other = c.session(40001);
  for (const SessionId& id : {revoked, other}) {
    c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 120s});
  }
  c.run(1s);
  c.pause(3);
  uint32_t rev = c.revoke(NodeId::op(), revoked, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  EXPECT_FALSE(c.answered(rev, Re::silent)) << "one replica and what it granted are unaccounted for";
  c.run(110s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<Change>(m.body); };
  c.resume(3);
  EXPECT_GE(c.counter(3, "directory.node.paused.events"), 1u);
  for (int i = 0; i < 40; ++i) {
    uint32_t q = c.query(2, revoked, 3);
    c.run(50ms);
    ASSERT_NE(c.query_answer(q) ? c.query_answer(q)->status : Qu::none, Qu::live);
    if (i == 10) c.filter = nullptr;
  }
  EXPECT_EQ(c.counter(3, "directory.sync.lost.events"), 1u) << "told that it is out of sync";
  EXPECT_TRUE(c.node(3).status(c.now).in_sync);
  EXPECT_EQ(c.node(3).find(c.key(revoked), c.now)->state, RecordState::revoked);
}

// --- partitions ---

TEST(Node, PausedForTwoMinutesWaitsForTheReplicaThatItHasNotHeardSince) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.cut(1, 3);
  c.pause(1);
  c.revoke(NodeId::op(), id, 2);
  c.run(120s);
  c.resume(1);
  c.run(10s);
  EXPECT_FALSE(c.node(1).status(c.now).in_sync) << "replica 3 may know what replica 2 does not";
  c.heal();
  c.run(1s);
  EXPECT_TRUE(c.node(1).status(c.now).in_sync);
}

TEST(Node, PartitionSafeStopsGrantingWithinASecondAndRefusesInserts) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(1s);
  c.isolate(1);
  c.run(1s);
  uint32_t q = c.query(1, id, 1);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::ask_another);
  uint32_t r = c.insert({.member = 1, .id = c.session(40001), .via = 1, .ingress = 1});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::refused);
  EXPECT_EQ(c.packets_released(r), 0u);
  uint32_t majority = c.insert({.member = 1, .id = c.session(40002), .via = 2, .ingress = 2});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(majority)->status, In::ok);
  c.heal();
  c.run(1s);
  q = c.query(1, id, 1);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::live);
}

TEST(Node, PartitionAvailableGoesOnAndSilentWaitsForTheReplica) {
  Cluster c({.partition_available = true});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 120s});
  c.run(1s);
  c.isolate(1);
  c.run(2s);
  uint32_t q = c.query(1, id, 1);
  c.run(10ms);
  EXPECT_EQ(c.query_answer(q)->status, Qu::live);
  uint32_t r = c.insert({.member = 1, .id = c.session(40001), .via = 1, .ingress = 1});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::degraded);
  uint32_t rev = c.revoke(NodeId::op(), id, 2);
  c.run(30s);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  EXPECT_FALSE(c.answered(rev, Re::silent)) << "node 1 may go on granting";
  c.heal();
  c.run(2s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
}

TEST(Node, RefuseMeansNoDegradedInserts) {
  Cluster c({.partition_available = true, .degraded_accept = false});
  c.run(1s);
  c.isolate(1);
  c.run(1s);
  uint32_t r = c.insert({.member = 1, .id = c.session(40001), .via = 1, .ingress = 1});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::refused);
}

// --- revocation ---

TEST(Node, RevokeIsStoredAndSilentInMillisecondsWhenAllAreReachable) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 1, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.ask(2, id);
  c.ask(3, id);
  for (uint32_t p = 1; p <= 3; ++p) ASSERT_TRUE(c.lease(p, c.key(id))) << p;
  Instant called = c.now;
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  ASSERT_TRUE(c.run_until([&] { return c.answered(rev, Re::silent); }, 1s));
  EXPECT_LT(c.now - called, 20ms);
  EXPECT_EQ(c.request_answers(rev), (std::vector{Re::stored, Re::silent}));
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_FALSE(c.lease(p, c.key(id))) << p;
  EXPECT_GE(c.notices(1), 1u) << "the owner is told, too";
}

TEST(Node, SilentWaitsForAHolderThatDoesNotAnswerUntilItsLeaseIsOver) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 3, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  ASSERT_TRUE(c.lease(3, c.key(id)));
  c.isolate(3);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  Instant ends = c.lease(3, c.key(id))->ends;
  ASSERT_TRUE(c.run_until([&] { return c.answered(rev, Re::silent); }, 20s));
  EXPECT_GT(c.now, ends);
  EXPECT_GE(c.now - (ends - 10s), 10s);
}

// A member has leased the session to some proxy, and no replica knows to which.
TEST(Node, WhereMembersAdmitSilentWaitsForEveryProxyOfTheView) {
  struct Row {
    const char* name;
    bool admits, inserted, reachable;
    Duration least, most;
  };
  for (const Row& row :
       {Row{"not admitting: nobody holds it", false, true, false, 0ms, 100ms},
        Row{"all acknowledge", true, true, true, 0ms, 100ms}, Row{"one does not", true, true, false, 11s, 13s},
        Row{"one does not, before the insert", true, false, false, 11s, 13s}}) {
    SCOPED_TRACE(row.name);
    Cluster c({.nodes = 4, .admits = row.admits});
    c.run(kSettled);
    SessionId id = c.session(40000);
    if (row.inserted) c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
    c.run(100ms);
    uint32_t other = 4;  // the proxy that is no replica of the session
    for (uint32_t p = 1; p <= 4; ++p) {
      if (!c.view.is_replica(ProxyId{p}, c.key(id).slot())) other = p;
    }
    std::set<uint32_t> told;
    c.filter = [&](NodeId, NodeId to, const Message& m) {
      if (!std::holds_alternative<Purge>(m.body)) return true;
      told.insert(to.number());
      return row.reachable || to != NodeId::proxy(ProxyId{other});
    };
    uint32_t via = other == 1 ? 2 : 1;
    Instant called = c.now;
    uint32_t rev = c.revoke(NodeId::op(), id, via);
    ASSERT_TRUE(c.run_until([&] { return c.answered(rev, Re::silent); }, 20s));
    EXPECT_GE(c.now - called, row.least);
    EXPECT_LE(c.now - called, row.most);
    EXPECT_EQ(told.size(), row.admits ? 4u : 0u);

    // The tombstone again: a proxy that is away costs no more than the first time took.
    if (!row.admits) continue;
    c.run(60s);
    called = c.now;
    rev = c.revoke(NodeId::op(), id, via);
    ASSERT_TRUE(c.run_until([&] { return c.answered(rev, Re::silent); }, 20s));
    EXPECT_LE(c.now - called, row.most);
  }
}

TEST(Node, WithTooFewCopiesNeitherStoredNorSilentIsReported) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 120s});
  c.run(100ms);
  c.isolate(1);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(30s);
  EXPECT_EQ(c.request_answers(rev), std::vector{Re::degraded});
  c.heal();
  c.run(2s);
  EXPECT_TRUE(c.answered(rev, Re::stored)) << "once the others are back they get it";
  EXPECT_EQ(c.node(2).find(c.key(id), c.now)->state, RecordState::revoked);
}

TEST(Node, ReplicaThatRestartedCountsForSilentOnlyAfterPermitAndCap) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.restart(2);
  c.run(1s);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(5s);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  EXPECT_FALSE(c.answered(rev, Re::silent));
  c.run(7s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
}

TEST(Node, ReplicaThatMissesARevocationStopsGrantingWithinASecond) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  // Heartbeats and permits pass, the changes for node 3 do not.
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return !(to == NodeId::proxy(ProxyId{3}) && std::holds_alternative<Change>(m.body));
  };
  c.revoke(NodeId::op(), id, 1);
  c.run(1s);
  for (int i = 0; i < 20; ++i) {
    uint32_t q = c.query(2, id, 3);
    c.run(100ms);
    EXPECT_NE(c.query_answer(q)->status, Qu::live);
  }
}

TEST(Node, ChangesInFlightDelayAPermitButDoNotWithholdIt) {
  Cluster c({.delay_min = 20ms, .delay_max = 40ms});
  c.run(kSettled);
  SessionId live = c.session(40000);
  c.insert({.member = 1, .id = live, .state = RecordState::established, .lifetime = 120s});
  c.run(1s);
  for (uint16_t i = 0; i < 200; ++i) {  // a change every 10 ms: one is always in flight
    c.revoke(NodeId::op(), c.session(static_cast<uint16_t>(10'000 + i)), 1 + i % 3);
    uint32_t q = c.query(2, live, 1 + i % 3);
    c.run(10ms);
    (void)q;
    if (i % 20 == 19) {
      uint32_t asked = c.query(1, live, 2);
      c.run(100ms);
      EXPECT_EQ(c.query_answer(asked)->status, Qu::live) << i;
    }
  }
}

TEST(Node, TombstoneOutlivesEverythingButUnrevoke) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.revoke(NodeId::op(), id, 1, 1s);  // shorter than a revocation can be
  c.run(5s);
  uint32_t renewal = c.insert({.member = 1, .id = id, .via = 2, .state = RecordState::established, .lifetime = 60s});
  uint32_t removal = c.remove(1, id, 3);
  uint32_t restarted = c.insert({.member = 1, .id = id, .via = 3, .born_new = true, .incarnation = 2});
  c.run(1s);
  EXPECT_EQ(c.insert_answer(renewal)->status, In::conflict);
  EXPECT_EQ(c.insert_answer(restarted)->status, In::conflict);
  (void)removal;
  EXPECT_EQ(c.ask(2, id)->status, Qu::tombstone);
  uint32_t un = c.unrevoke(NodeId::op(), id, 3);
  c.run(100ms);
  EXPECT_TRUE(c.answered(un, Re::ok));
  uint32_t again = c.insert({.member = 2, .id = id, .via = 2, .born_new = true});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(again)->status, In::ok);
  EXPECT_EQ(c.ask(1, id)->member, MemberId{2});
}

TEST(Node, RevokeOfAnUnknownSessionStandsAsWell) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rev, Re::silent));
  uint32_t r = c.insert({.member = 2, .id = id, .via = 2, .born_new = true});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::conflict);
}

// Terms start anew where a record has been forgotten; elsewhere it may still be there, and above them (seed 63).
TEST(Node, RevocationAtANodeThatHasForgottenTheSessionStandsAboveThoseThatHaveNot) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  c.unrevoke(NodeId::op(), id, 1);
  c.run(100ms);
  c.run(50s);
  uint32_t in = c.insert({.member = 1, .id = id, .via = 1, .born_new = true, .lifetime = 100s});
  c.run(100ms);
  ASSERT_EQ(c.insert_answer(in)->status, In::ok);
  ASSERT_GT(c.insert_answer(in)->version.term, 64);
  // Renewals that node 1 does not get: there it ends, at the others it goes on.
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return !(to == NodeId::proxy(ProxyId{1}) &&
             (std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body)));
  };
  c.run(60s);
  c.insert({.member = 1, .id = id, .via = 2, .lifetime = 120s});
  c.run(50s);
  c.filter = nullptr;
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now));
  ASSERT_EQ(c.held_copies(c.key(id)), 2u);
  // What the others have may have come after an unrevoke of this: who asked says whether it is still wanted.
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(200ms);
  EXPECT_TRUE(c.answered(rev, Re::try_again));
  c.revoke(NodeId::op(), id, 1, 600s, rev);
  c.run(200ms);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  for (uint32_t p = 1; p <= 3; ++p) EXPECT_EQ(c.node(p).find(c.key(id), c.now)->state, RecordState::revoked) << p;
}

// The others have forgotten the session when the replica that was cut off gets their lift of an earlier revocation.
TEST(Node, RevocationStandsAboveALiftThatIsStillOnItsWay) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  uint32_t first = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  ASSERT_TRUE(c.answered(first, Re::silent));
  c.isolate(3);
  uint32_t lift = c.unrevoke(NodeId::op(), id, 1);
  c.run(100ms);
  ASSERT_TRUE(c.answered(lift, Re::ok));
  const uint16_t lifted = c.node(1).find(c.key(id), c.now)->version.term;
  uint32_t passes = c.insert({.member = 1, .id = id, .via = 1, .born_new = true, .lifetime = 1s});
  c.run(1s);
  ASSERT_EQ(c.insert_answer(passes)->status, In::ok);
  c.run(1s);
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now)) << "forgotten";
  uint32_t second = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  ASSERT_TRUE(c.answered(second, Re::stored));
  EXPECT_GT(c.node(1).find(c.key(id), c.now)->version.term, lifted);
  c.heal();
  c.run(2s);
  EXPECT_TRUE(c.answered(second, Re::silent));
  for (uint32_t p = 1; p <= 3; ++p) {
    auto r = c.node(p).find(c.key(id), c.now);
    ASSERT_TRUE(r) << p;
    EXPECT_EQ(r->state, RecordState::revoked) << p;
  }
}

TEST(Node, SilenceAboutAnEarlierRevocationIsNoneAboutThisOne) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  uint32_t first = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  ASSERT_TRUE(c.answered(first, Re::silent));
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy({3}) || !std::holds_alternative<Change>(m.body);
  };
  c.unrevoke(NodeId::op(), id, 1);
  c.run(100ms);
  uint32_t second = c.revoke(NodeId::op(), id, 1);
  c.run(5s);
  ASSERT_TRUE(c.answered(second, Re::stored));
  EXPECT_FALSE(c.answered(second, Re::silent)) << "the third has heard of neither the lift nor this one";
  c.filter = {};
  c.run(3s);
  EXPECT_TRUE(c.answered(second, Re::silent));
}

TEST(Node, SameRevocationThroughAnotherProxyGetsTheSameOutcome) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 1});
  c.run(100ms);
  uint32_t rev = c.revoke(NodeId::member(MemberId{1}), id, 1);
  c.run(5ms);
  c.stop(1);
  c.run(1s);
  c.revoke(NodeId::member(MemberId{1}), id, 2, 599s, rev);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  c.run(13s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
}

TEST(Node, SilentHoldsForTheOwnerThatDoesNotAnswer) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id});
  c.run(100ms);
  c.silence_member(1);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(5s);
  EXPECT_TRUE(c.answered(rev, Re::stored));
  EXPECT_FALSE(c.answered(rev, Re::silent));
  c.run(8s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
}

// --- removal and refresh ---

TEST(Node, RemovalTombstoneStopsLateCopiesAndLetsANewHandshakePass) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .ingress = 2, .counter = 1});
  c.next_counter(1);
  c.run(100ms);
  uint32_t rem = c.remove(1, id, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(rem, Re::ok));
  EXPECT_FALSE(c.lease(2, c.key(id)));
  uint32_t late = c.insert({.member = 1, .id = id, .via = 2, .born_new = true, .counter = 1});
  uint32_t old = c.insert({.member = 2, .id = id, .via = 3, .born_new = false});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(late)->status, In::conflict) << "its owner's late copy";
  EXPECT_EQ(c.insert_answer(old)->status, In::conflict) << "not born of a new handshake";
  uint32_t fresh = c.insert({.member = 2, .id = id, .via = 3, .born_new = true});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(fresh)->status, In::ok);
  EXPECT_EQ(c.insert_answer(fresh)->version.term, kFirstTerm + 1);
}

TEST(Node, RefreshExtendsEstablishedSetsTheBucketAndNamesWhatIsGone) {
  Cluster c({});
  c.run(1s);
  SessionId kept = c.session(40000), revoked = c.session(40001), unknown = c.session(40002);
  SessionId removed = c.session(40003);
  c.insert({.member = 1, .id = kept, .state = RecordState::established, .lifetime = 60s});
  c.insert({.member = 1, .id = revoked, .state = RecordState::established, .lifetime = 60s});
  c.insert({.member = 1, .id = removed, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.revoke(NodeId::op(), revoked, 1);
  c.remove(1, removed, 1);
  c.run(100ms);
  uint32_t gone = c.refresh(1, 2, {{c.handle_of(removed), 0, kUnlimitedBytes}});
  c.run(10ms);
  ASSERT_TRUE(c.refresh_answer(gone));
  EXPECT_EQ(c.refresh_answer(gone)->unknown, std::vector{c.handle_of(removed)});
  EXPECT_TRUE(c.refresh_answer(gone)->revoked.empty()) << "a removal is no revocation";
  for (int i = 0; i < 5; ++i) {
    c.run(15s);
    for (uint32_t p = 1; p <= 3; ++p) {
      uint32_t f = c.refresh(1, p,
                             {{c.handle_of(kept), 9, 300'000},
                              {c.handle_of(revoked), 0, kUnlimitedBytes},
                              {c.handle_of(unknown), 0, kUnlimitedBytes}});
      c.run(10ms);
      ASSERT_TRUE(c.refresh_answer(f));
      EXPECT_EQ(c.refresh_answer(f)->unknown, std::vector{c.handle_of(unknown)});
      EXPECT_EQ(c.refresh_answer(f)->revoked, std::vector{c.handle_of(revoked)});
    }
  }
  EXPECT_EQ(c.held_copies(c.key(kept)), 3u) << "75 s old";
  EXPECT_EQ(c.node(2).find(c.key(kept), c.now)->bucket_bytes, 300'000u);
  c.run(61s);
  EXPECT_EQ(c.held_copies(c.key(kept)), 0u) << "nobody refreshed it";
}

TEST(Node, HalfOpenMappingEndsAfterTenSeconds) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id});
  c.run(9s);
  EXPECT_EQ(c.ask(2, id)->status, Qu::live);
  c.run(1s);
  EXPECT_EQ(c.ask(2, id)->status, Qu::none);
}

// --- bytes ---

// Node 1 granted its share, missed that the session was established, and forgot the half-open record. A renewal brings
// it the same bucket again.
TEST(Node, AShareIsNotGrantedAgainAfterItsRecordWasForgotten) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  const uint64_t bucket = 300'000;
  uint64_t granted = 0;
  c.events.granted = [&](uint32_t, const SessionKey&, uint64_t bytes, Instant) { granted += bytes; };
  auto spend = [&] {
    for (int i = 0; i < 10; ++i) {
      c.query(2, id, 1);
      c.run(5ms);
    }
  };
  c.insert({.id = id, .via = 2, .bucket = bucket, .bucket_counter = 5, .counter = 5});
  c.run(20ms);
  spend();
  ASSERT_EQ(granted, bucket / 3);
  c.filter = [](NodeId, NodeId to, const Message& m) {
    return to != NodeId::proxy(ProxyId{1}) ||
           !(std::holds_alternative<Place>(m.body) || std::holds_alternative<Held>(m.body));
  };
  InsertSpec renewal{.id = id,
                     .via = 2,
                     .state = RecordState::established,
                     .lifetime = 60s,
                     .bucket = bucket,
                     .bucket_counter = 5,
                     .counter = 6};
  c.insert(renewal);
  c.run(4s);
  c.filter = [](NodeId, NodeId, const Message& m) { return !std::holds_alternative<SlotDigests>(m.body); };
  c.run(7s);
  ASSERT_FALSE(c.node(1).find(c.key(id), c.now));
  renewal.counter = 8;
  c.insert(renewal);
  c.run(20ms);
  ASSERT_TRUE(c.node(1).is_held(c.key(id)));
  spend();
  EXPECT_EQ(granted, bucket / 3);
}

TEST(Node, NoMoreBytesThanTheBucketWhateverIsDoubledOrCrashes) {
  Cluster c({.seed = 3, .loss = 0.1, .duplicate = 0.5});
  c.run(1s);
  SessionId id = c.session(40000);
  uint64_t granted = 0;
  c.events.granted = [&](uint32_t, const SessionKey&, uint64_t bytes, Instant) { granted += bytes; };
  constexpr uint64_t kBucket = 3'000'000;
  uint32_t r = 0;
  for (int i = 0; i < 5 && !(r && c.insert_answer(r)); ++i) {
    r = c.insert({.member = 1,
                  .id = id,
                  .ingress = 1,
                  .state = RecordState::established,
                  .lifetime = 120s,
                  .bucket = kBucket,
                  .bucket_counter = 7,
                  .counter = 7});
    c.run(300ms);
  }
  for (int i = 0; i < 300; ++i) {
    c.query(1 + i % 3, id, 1 + (i / 3) % 3);
    c.run(20ms);
    if (i == 50) c.restart(2);
    if (i == 90) c.restart(1);
  }
  EXPECT_LE(granted, kBucket);
  EXPECT_GE(granted, kBucket / 4) << "and not much less, but for the shares of those that crashed";
  uint32_t q = c.query(1, id, 3);
  c.run_until([&] { return c.query_answer(q).has_value(); }, 100ms);
  EXPECT_EQ(c.query_answer(q).value_or(QueryAnswer{.status = Qu::no_bytes}).status, Qu::no_bytes);
  // The refresh gives every replica a share again, once.
  uint64_t before = granted;
  for (int i = 0; i < 20; ++i) {
    for (uint32_t p = 1; p <= 3; ++p) c.refresh(1, p, {{c.handle_of(id), 8, kBucket}});
    c.query(2, id, 1 + i % 3);
    c.run(50ms);
  }
  for (int i = 0; i < 200; ++i) {
    c.query(2, id, 1 + i % 3);
    c.run(20ms);
  }
  EXPECT_LE(granted - before, kBucket);
  EXPECT_GE(granted - before, kBucket / 3);
}

// --- who may do what ---

TEST(Node, RemovalsAndRevocationsThatAreOverTakeNoRoomFromInserts) {
  Cluster c({});
  c.run(kSettled);
  uint32_t last = 0;
  for (unsigned i = 0; i < 1'100; ++i) {
    SessionId id = c.session(static_cast<uint16_t>(20'000 + i));
    c.insert({.member = 1, .id = id, .via = 1});
    c.run(10ms);
    last = i % 2 ? c.revoke(NodeId::member(MemberId{1}), id, 1) : c.remove(1, id, 1);
    c.run(10ms);
  }
  EXPECT_TRUE(c.answered(last, Re::silent));
  uint32_t r = c.insert({.member = 1, .id = c.session(40000), .via = 1});
  c.run(10ms);
  ASSERT_TRUE(c.insert_answer(r));
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.counter(1, "directory.request.over_limit.requests"), 0u);
}

TEST(Node, NoVersionOfAMemberStandsInTheWayOfARevocation) {
  for (uint16_t term : {0xffff, 0xfffe, 0xfff0, 0xfffe - 63}) {
    SCOPED_TRACE(term);
    Cluster c({});
    c.run(kSettled);
    SessionId id = c.session(40000);
    uint32_t high = c.insert({.member = 1, .id = id, .term = term});
    c.run(100ms);
    EXPECT_EQ(c.insert_answer(high)->status, In::refused);
    uint32_t r = c.revoke(NodeId::op(), id, 1);
    c.run(100ms);
    EXPECT_TRUE(c.answered(r, Re::silent));
  }
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  uint32_t last = c.insert({.member = 1, .id = id, .incarnation = kId24Max});
  uint32_t highest = c.insert({.member = 1, .id = c.session(40001), .incarnation = kId24Max - 1, .term = 0xfffe - 64});
  c.run(100ms);
  EXPECT_EQ(c.insert_answer(last)->status, In::refused) << "that incarnation is the revocations'";
  EXPECT_EQ(c.insert_answer(highest)->status, In::ok);
  uint32_t r = c.revoke(NodeId::op(), c.session(40001), 2);
  c.run(100ms);
  EXPECT_TRUE(c.answered(r, Re::silent));
  // A removal of what this node has not got may not say more, either.
  MessageHeader h{.request = 5'000, .origin = NodeId::member({2}), .view = c.view.id()};
  c.send(NodeId::member({2}), NodeId::proxy({1}), h, Remove{c.session(40002), {0xffff, 1, 1}});
  c.run(100ms);
  EXPECT_TRUE(c.answered(5'000, Re::denied));
}

TEST(Node, ARevocationThatFindsNoRoomAboveALiftIsDenied) {
  Cluster c({});
  c.run(kSettled);
  SessionId id = c.session(40000);
  bool denied = false;
  for (int i = 0; i < 1'100 && !denied; ++i) {
    uint32_t r = c.revoke(NodeId::op(), id, 1);
    c.run(5ms);
    denied = c.answered(r, Re::denied);
    EXPECT_FALSE(c.answered(r, Re::ok));
    c.unrevoke(NodeId::op(), id, 1);
    c.run(5ms);
  }
  EXPECT_TRUE(denied) << "the terms are used up until the last lift ends";
  c.run(601s);  // as long as what it lifts
  uint32_t r = c.revoke(NodeId::op(), id, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(r, Re::silent));
}

TEST(Node, MembersActForThemselvesOnly) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  uint32_t mine = c.insert({.member = 1, .id = id});
  c.run(100ms);
  ASSERT_EQ(c.insert_answer(mine)->status, In::ok);
  NodeId two = NodeId::member(MemberId{2}), stranger = NodeId::member(MemberId{99});
  Insert forged{.id = c.session(40001), .member = MemberId{1}, .version = {0, 1, 1}, .lifetime_ms = 10'000};
  c.send(two, NodeId::proxy(ProxyId{1}), {.request = 901, .origin = two, .view = c.view.id()}, forged);
  forged.member = MemberId{99};
  c.send(stranger, NodeId::proxy(ProxyId{1}), {.request = 902, .origin = stranger, .view = c.view.id()}, forged);
  uint32_t rem = c.remove(2, id, 1);
  uint32_t rev = c.revoke(two, id, 2);
  uint32_t alien = c.revoke(stranger, id, 2);
  // In another's name: not even answered.
  c.send(two, NodeId::proxy(ProxyId{1}), {.request = 903, .origin = NodeId::member(MemberId{1}), .view = c.view.id()},
         Remove{id, {1, 1, 999}});
  c.send(two, NodeId::proxy(ProxyId{1}), {.request = 904, .origin = NodeId::op(), .view = c.view.id()},
         Revoke{.id = id, .key = {}, .group = c.group, .name = 1});
  c.run(300ms);
  EXPECT_EQ(c.insert_answer(901)->status, In::refused);
  EXPECT_EQ(c.insert_answer(902)->status, In::refused);
  EXPECT_TRUE(c.answered(rem, Re::denied));
  EXPECT_TRUE(c.answered(rev, Re::denied));
  EXPECT_TRUE(c.answered(alien, Re::denied));
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
  EXPECT_EQ(c.ask(3, id)->status, Qu::live);
}

// Cut off while the session changed hands, it takes the new owner for a stranger.
TEST(Node, AReplicaThatMayHaveMissedAChangeOfOwnerDeniesNothing) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .via = 1, .state = RecordState::closing, .lifetime = 60s});
  c.run(100ms);
  c.isolate(3);
  c.run(2s);
  uint32_t taken = c.insert({.member = 2, .id = id, .via = 1, .born_new = true});
  c.run(500ms);
  ASSERT_EQ(c.insert_answer(taken)->status, In::ok);
  NodeId two = NodeId::member(MemberId{2});
  uint32_t elsewhere = c.revoke(two, id, 3);
  uint32_t removal = c.remove(2, id, 3);
  c.run(100ms);
  EXPECT_EQ(c.request_answers(elsewhere), std::vector{Re::try_again});
  EXPECT_EQ(c.request_answers(removal), std::vector{Re::try_again});
  uint32_t r = c.revoke(two, id, 1);
  c.run(100ms);
  EXPECT_TRUE(c.answered(r, Re::stored));
}

TEST(Node, AnyProxyTakesARequestAndHandsItOnOnce) {
  Cluster c({.nodes = 6});
  c.run(kSettled);
  for (uint16_t i = 0; i < 30; ++i) {
    SessionId id = c.session(static_cast<uint16_t>(40'000 + i));
    uint32_t r = c.insert({.member = 1, .id = id, .via = 1u + i % 6, .ingress = 1u + (i + 1) % 6});
    c.run(50ms);
    ASSERT_EQ(c.insert_answer(r)->status, In::ok);
    EXPECT_EQ(c.packets_released(r), 1u);
    EXPECT_EQ(c.held_copies(c.key(id)), 3u);
    uint32_t rev = c.revoke(NodeId::op(), id, 1u + (i + 2) % 6);
    c.run(50ms);
    EXPECT_EQ(c.request_answers(rev), (std::vector{Re::stored, Re::silent})) << i;
  }
}

TEST(Node, SingleNodeIsInSyncAtOnceAndServes) {
  Cluster c({.nodes = 1});
  SessionId id = c.session(40000);
  uint32_t r = c.insert({.member = 1, .id = id, .ingress = 1});
  c.run(10ms);
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.ask(1, id)->status, Qu::live);
  c.run(kSettled);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(10ms);
  EXPECT_EQ(c.request_answers(rev), (std::vector{Re::stored, Re::silent}));
}

TEST(Node, OfTwoReplicasTimeStandsInFromTheFirstCopy) {
  Cluster c({.nodes = 2});
  c.run(kSettled);
  SessionId id = c.session(40000);
  c.insert({.member = 1, .id = id, .state = RecordState::established, .lifetime = 60s});
  c.run(100ms);
  c.cut(1, 2);
  uint32_t rev = c.revoke(NodeId::op(), id, 1);
  c.run(5s);
  EXPECT_EQ(c.request_answers(rev), std::vector{Re::degraded});
  c.run(7s);
  EXPECT_TRUE(c.answered(rev, Re::silent));
}

}  // namespace
}  // namespace statecast
