// SPDX-License-Identifier: BSD-3-Clause
// Sessions of a member beside their packets: conflicts, revocations, the kernel's table, restarts.
#include <gtest/gtest.h>

#include "tests/agent/agent_world.h"

namespace statecast::test {

namespace {

std::function<std::optional<InsertAnswer>(const Insert&)> conflict_with(RecordState state, MemberId member,
                                                                        Target target = Target::member) {
  return [=](const Insert& i) {
    Record r;
    r.group = kWeb;
    r.state = state;
    r.target = target;
    r.member = member;
    r.owner = NodeId::member(member);
    r.version = {1, 1, 1};
    r.remaining_ms = 60'000;
    return std::optional(InsertAnswer{.status = InsertAnswer::Status::conflict, .version = i.version, .record = r});
  };
}

bool is_forward(const EnvelopeOptions& o) {
  return o.forward_to.has_value();
}

// --- conflict ---

TEST(AgentConflict, TheClientsSynGoesToTheOwnerOnceAndTheHalfOpenSocketDies) {
  AgentWorld w;
  w.connect();
  w.answer = conflict_with(RecordState::established, kOther);
  w.from_client(2, syn());
  w.from_kernel(syn_ack());
  ASSERT_EQ(w.replies.size(), 1u);
  const auto* got = w.reply_with(is_forward);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->proxy, ProxyId{2});
  EXPECT_EQ(*got->envelope.options.forward_to, kOther);
  EXPECT_EQ(got->payload, syn());
  ASSERT_EQ(w.destroyed.size(), 1u);
  EXPECT_EQ(w.destroyed[0].client.port, Port{40'000});
  w.from_kernel(server_reset());  // of the destroyed socket
  EXPECT_EQ(w.replies.size(), 1u);
  EXPECT_FALSE(w.core->owner().owns(tcp_session()));
}

TEST(AgentConflict, AForwardedSynIsNeverForwardedAgain) {
  AgentWorld w;
  w.connect();
  w.answer = conflict_with(RecordState::established, kOther);
  w.from_client(2, syn(), {.forwarded = true});
  w.from_kernel(syn_ack());
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.destroyed.size(), 1u);
}

TEST(AgentConflict, OnATombstoneTheSynIsDropped) {
  for (RecordState state : {RecordState::removed, RecordState::revoked}) {
    for (MemberId owner : {kOther, kSelf}) {
      AgentWorld w;
      w.connect();
      w.answer = conflict_with(state, owner, Target::drop);
      w.from_client(2, syn());
      w.from_kernel(syn_ack());
      EXPECT_TRUE(w.replies.empty());
      EXPECT_EQ(w.destroyed.size(), 1u);
      w.clear();
      w.from_client(2, syn());
      const bool ours = state == RecordState::revoked && owner == kSelf;
      EXPECT_EQ(w.to_kernel.empty(), ours) << "of a revocation that is not ours we would not hear when it is lifted";
    }
  }
}

TEST(AgentConflict, BusyAndRefusedReleaseNothingAndTheNextSynAckTriesAgain) {
  for (auto status : {InsertAnswer::Status::busy, InsertAnswer::Status::refused}) {
    AgentWorld w;
    w.connect();
    w.answer = [=](const Insert& i) { return InsertAnswer{.status = status, .version = i.version}; };
    w.from_client(2, syn());
    w.from_kernel(syn_ack());
    w.pass(2s);
    EXPECT_TRUE(w.replies.empty());
    EXPECT_TRUE(w.destroyed.empty());
    w.answer = {};
    w.clear();
    w.from_kernel(syn_ack());
    EXPECT_EQ(w.inserts.size(), 1u);
    w.from_client(2, client_ack());
    EXPECT_EQ(w.to_kernel.size(), 1u);
  }
}

// --- revocation ---

TEST(AgentRevoke, DropsBothWaysFromTheCallOnAndTellsTheDirectory) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.clear();
  auto number = w.core->revoke(tcp_session(), 600s, w.now);
  ASSERT_TRUE(number);
  w.from_client(1, client_ack(40'000, 10));
  w.from_client(2, syn());
  w.from_kernel(server_data());
  w.from_kernel(server_reset());
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.count(AgentCounter::client_drop_revoked), 2u);
  EXPECT_EQ(w.count(AgentCounter::reply_drop_revoked), 2u);
  EXPECT_EQ(w.destroyed.size(), 1u);
  EXPECT_EQ(w.saves, 1u);
  uint32_t request = 0;
  for (const Message& m : w.messages) {
    auto* r = std::get_if<Revoke>(&m.body);
    if (!r) continue;
    EXPECT_EQ(r->id, tcp_session());
    request = m.header.request;
  }
  ASSERT_EQ(request, *number);
  MessageHeader header{.request = request, .origin = NodeId::member(kSelf)};
  AgentEvent e;
  w.message(1, header, RequestAnswer{RequestAnswer::Status::stored, 2});
  ASSERT_TRUE(w.core->next_event(e));
  EXPECT_EQ(e.kind, AgentEvent::Kind::stored);
  w.message(1, header, RequestAnswer{RequestAnswer::Status::silent, 3});
  ASSERT_TRUE(w.core->next_event(e));
  EXPECT_EQ(e.kind, AgentEvent::Kind::silent);
  EXPECT_EQ(e.request, *number);
}

TEST(AgentRevoke, TheOperatorsRevocationIsEnforcedTheSameWay) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  uint32_t handle = w.inserts.back().insert.handle;
  w.clear();
  w.message(3, {.request = 9, .origin = NodeId::proxy(ProxyId{3})},
            Notice{handle, {1, 4, 100}, RecordState::revoked, 30'000});
  w.from_client(1, client_ack(40'000, 10));
  w.from_kernel(server_data());
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.destroyed.size(), 1u);
  EXPECT_EQ(w.saves, 1u);
  bool acknowledged = false;
  for (const Message& m : w.messages) acknowledged |= std::holds_alternative<Ack>(m.body) && m.header.request == 9;
  EXPECT_TRUE(acknowledged);
}

TEST(AgentRevoke, TheDirectorysIsEnforcedWhenTheTableIsFull) {
  AgentWorld w;
  w.connect();
  for (uint32_t i = 0; i < kRevocationsMax; ++i) {
    Endpoint client{*IpAddress::parse("192.0.2." + std::to_string(i >> 14)),
                    Port{static_cast<uint16_t>(1 + (i & 0x3fff))}};
    SessionId id = SessionId::tuple(kWeb, Protocol::tcp, client, {*IpAddress::parse(kServer), Port{443}});
    ASSERT_TRUE(w.core->revoke(id, 600s, w.now));
  }
  w.handshake(1);
  uint32_t handle = w.inserts.back().insert.handle;
  w.clear();
  EXPECT_FALSE(w.core->revoke(tcp_session(), 600s, w.now)) << "the operator is told, and nothing has changed";
  EXPECT_TRUE(w.destroyed.empty());
  w.message(3, {.request = 9, .origin = NodeId::proxy(ProxyId{3})},
            Notice{handle, {1, 4, 100}, RecordState::revoked, 30'000});
  w.from_client(1, client_ack(40'000, 10));
  w.from_kernel(server_data());
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_EQ(w.destroyed.size(), 1u);
  EXPECT_EQ(w.core->sessions().size(), 0u);
  EXPECT_EQ(w.count(AgentCounter::session_revoked_full), 1u);
}

TEST(AgentRevoke, EndsWithItsTimeOrByUnrevoke) {
  AgentWorld w;
  w.connect();
  ASSERT_TRUE(w.core->revoke(tcp_session(40'000), 5s, w.now));
  ASSERT_TRUE(w.core->revoke(tcp_session(40'001), 600s, w.now));
  w.clear();
  w.from_client(1, syn(40'000));
  w.from_client(1, syn(40'001));
  EXPECT_TRUE(w.to_kernel.empty());
  ASSERT_TRUE(w.core->unrevoke(tcp_session(40'001), w.now));
  w.pass(6s);
  w.from_client(1, syn(40'000));
  w.from_client(1, syn(40'001));
  EXPECT_EQ(w.to_kernel.size(), 2u);
  EXPECT_EQ(w.core->revocations().size(), 0u);
}

// --- the kernel's table ---

TEST(AgentSockets, TheTableIsReadEachSecond) {
  AgentWorld w;
  w.connect();
  w.pass(5s);
  EXPECT_GE(w.table_reads, 4u);
  EXPECT_LE(w.table_reads, 6u);
}

TEST(AgentSockets, ASessionWithoutSocketIsClosingFor60SecondsThenForgotten) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.pass(1s);
  w.sockets({kernel_socket(40'000)});
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
  w.clear();
  w.sockets({kernel_socket(40'000, KernelSocket::State::time_wait)});
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_EQ(w.inserts[0].insert.state, RecordState::closing);
  w.from_client(1, client_ack(40'000, 1));
  EXPECT_EQ(w.to_kernel.size(), 1u) << "what is late still reaches TIME_WAIT";
  w.pass(61s);
  EXPECT_EQ(w.core->sessions().size(), 0u);
  EXPECT_FALSE(w.core->owner().owns(tcp_session()));
}

// SYN cookies and a full accept queue: the kernel drops the ACK that completed the handshake here.
TEST(AgentSockets, AClosingSessionWhoseSocketLivesIsEstablishedAgain) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.pass(1s);
  w.sockets({});
  ASSERT_EQ(w.core->sessions().count(SessionPhase::closing), 1u);
  w.clear();
  w.sockets({kernel_socket(40'000, KernelSocket::State::time_wait)});
  EXPECT_TRUE(w.inserts.empty());
  w.sockets({kernel_socket(40'000)});
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_EQ(w.inserts[0].insert.state, RecordState::established);
  w.pass(61s);
  w.sockets({kernel_socket(40'000)});
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
}

TEST(AgentSockets, ASocketYoungerThanTheTableIsNotGone) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.pass(50ms);
  w.sockets({});
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
  w.pass(100ms);
  w.sockets({});
  EXPECT_EQ(w.core->sessions().count(SessionPhase::closing), 1u);
}

TEST(AgentSockets, APacketEndsNoMapping) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.clear();
  w.from_client(1, ip4(kClient, kServer).tcp(40'000, 443, kRst, kClientIsn + 1, 0).build());
  w.from_client(1, ip4(kClient, kServer).tcp(40'000, 443, kFin | kAck, kClientIsn + 1, kServerIsn + 1).build());
  EXPECT_EQ(w.to_kernel.size(), 2u);
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
  EXPECT_TRUE(w.core->owner().owns(tcp_session()));
}

TEST(AgentSockets, ATupleUsedAgainInClosingIsANewInsert) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.pass(1s);
  w.sockets({});
  w.clear();
  w.from_client(3, syn());
  w.from_kernel(syn_ack(40'000, 9'000));
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_TRUE(w.inserts[0].insert.born_new);
  EXPECT_EQ(w.inserts[0].insert.ingress, ProxyId{3});
  w.from_client(3, ip4(kClient, kServer).tcp(40'000, 443, kAck, kClientIsn + 1, 9'001).build());
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
}

// --- restart ---

TEST(AgentRestart, EveryLiveSessionIsInsertedAgainAndNoneThatWasRevoked) {
  WorldOptions o;
  for (uint16_t i = 0; i < 1'000; ++i) {
    auto port = static_cast<uint16_t>(10'000 + i);
    o.sockets.push_back(kernel_socket(port));
    if (i % 10 == 0) o.revocations.push_back({tcp_session(port), 300s, port});
  }
  o.sockets.push_back(kernel_socket(9, KernelSocket::State::time_wait));
  o.sockets.push_back(kernel_socket(10, KernelSocket::State::syn_received));
  AgentWorld w(o);
  EXPECT_EQ(w.destroyed.size(), 100u);
  w.pass(3s);
  std::map<uint16_t, int> inserted, revoked;
  for (const auto& i : w.inserts) {
    EXPECT_EQ(i.insert.state, RecordState::established);
    EXPECT_FALSE(i.insert.born_new);
    ++inserted[session_tuple(i.insert.id)->client.port.value];
  }
  for (const Message& m : w.messages)
    if (auto* r = std::get_if<Revoke>(&m.body)) {
      ++revoked[session_tuple(*r->id)->client.port.value];
      EXPECT_EQ(r->name, session_tuple(*r->id)->client.port.value) << "the same revocation, not another one";
    }
  EXPECT_EQ(inserted.size(), 900u);
  EXPECT_EQ(revoked.size(), 100u) << "their tombstones are sent again";
  for (const auto& [port, n] : inserted) EXPECT_NE((port - 10'000) % 10, 0) << port;

  w.clear();
  w.from_client(2, client_ack(10'001, 10));
  w.from_client(2, client_ack(10'000, 10));  // revoked
  EXPECT_EQ(w.to_kernel, std::vector<Packet>{client_ack(10'001, 10)});
  w.from_kernel(server_data(10'001));
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_EQ(w.replies[0].proxy, ProxyId{2});
}

TEST(AgentRestart, ARestoredSessionThatAnotherMemberHasTakenIsGivenUp) {
  AgentWorld w({.sockets = {kernel_socket(40'000)}});
  w.answer = conflict_with(RecordState::established, kOther);
  w.pass(3s);
  EXPECT_EQ(w.destroyed.size(), 1u);
  w.clear();
  w.from_client(1, client_ack(40'000, 1));
  EXPECT_TRUE(w.to_kernel.empty());
}

TEST(AgentRestart, AnIncarnationThatTheFleetKnowsToBeHigherIsTakenStoredAndUsed) {
  AgentWorld w({.sockets = {kernel_socket(40'000)}});
  ASSERT_EQ(w.core->incarnation(), 4u);
  w.answer = [](const Insert& i) -> std::optional<InsertAnswer> {
    if (i.version.incarnation > 8) return InsertAnswer{.status = InsertAnswer::Status::ok, .version = i.version};
    Record r;
    r.group = kWeb;
    r.state = RecordState::established;
    r.member = kSelf;
    r.owner = NodeId::member(kSelf);
    r.version = {1, 8, 900};
    return InsertAnswer{.status = InsertAnswer::Status::refused, .version = i.version, .record = r};
  };
  w.pass(1s);
  EXPECT_EQ(w.core->incarnation(), 9u);
  EXPECT_EQ(w.incarnation_saves, 1u);
  ASSERT_EQ(w.inserts.size(), 2u);
  EXPECT_EQ(w.inserts[1].insert.version.incarnation, 9u);
  EXPECT_TRUE(w.destroyed.empty());
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
}

TEST(AgentRestart, ManyRevocationsAreSentAgainSomeAtATime) {
  WorldOptions o;
  for (uint16_t i = 0; i < 2'000; ++i) o.revocations.push_back({tcp_session(static_cast<uint16_t>(10'000 + i)), 300s});
  AgentWorld w(o);
  std::map<uint16_t, MessageHeader> revoked;
  auto take = [&] {
    std::vector<Message> messages = std::move(w.messages);
    w.messages.clear();
    for (const Message& m : messages)
      if (auto* r = std::get_if<Revoke>(&m.body)) revoked[session_tuple(*r->id)->client.port.value] = m.header;
  };
  w.pass(3s);
  take();
  EXPECT_EQ(revoked.size(), 256u);
  for (int round = 0; round < 7; ++round) {
    for (const auto& [port, header] : revoked) w.message(1, header, RequestAnswer{RequestAnswer::Status::silent, 3});
    take();
  }
  EXPECT_EQ(revoked.size(), 2'000u);
}

// --- byte bucket ---

TEST(AgentBucket, RefillsSessionsWithTrafficInWindowOnly) {
  AgentWorld w({.session_bytes = ByteCount{10'000}});
  w.connect();
  w.handshake(1, 40'000);
  w.handshake(1, 40'001);
  for (uint16_t port : {40'000, 40'001}) w.from_kernel(server_data(port));
  w.pass(16s);
  w.clear();
  w.from_client(1, client_ack(40'000, 5));
  Packet wild = ip4(kClient, kServer).tcp(40'001, 443, kAck, 0x70000000, 0x70000000).payload(5).build();
  w.from_client(1, wild);
  std::map<uint32_t, uint64_t> before;
  auto refilled = w.count(AgentCounter::session_refilled);
  w.pass(15s);
  EXPECT_EQ(w.count(AgentCounter::session_refilled), refilled + 1);
}

}  // namespace

}  // namespace statecast::test
