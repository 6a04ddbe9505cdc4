// SPDX-License-Identifier: BSD-3-Clause
// The member agent without sockets: what reaches the kernel, what leaves it, and through whom.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/agent/agent_world.h"

namespace statecast::test {

namespace {

bool is_bare(const EnvelopeOptions& o) {
  return !o.not_mine && !o.forward_to && !o.lease;
}

// --- set-up ---

TEST(AgentCore, SynReachesTheKernelAndTheSynAckLeavesInsideTheInsertOnly) {
  AgentWorld w;
  w.connect();
  w.from_client(2, syn(), {.replica_hint = ProxyId{3}});
  ASSERT_EQ(w.to_kernel, std::vector<Packet>{syn()});
  w.from_kernel(syn_ack());
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_EQ(w.inserts[0].proxy, ProxyId{3}) << "the hint saves the relay's hop";
  EXPECT_EQ(w.inserts[0].packet, syn_ack());
  EXPECT_EQ(w.inserts[0].insert.ingress, ProxyId{2});
  EXPECT_EQ(w.inserts[0].insert.id, tcp_session());
  EXPECT_EQ(w.inserts[0].insert.state, RecordState::half_open);
  EXPECT_TRUE(w.inserts[0].insert.born_new);
  EXPECT_EQ(w.inserts[0].insert.version.incarnation, 4u);
  EXPECT_TRUE(w.replies.empty());
}

TEST(AgentCore, TheSynAckWaitsForTheInsertOrComesBackWithItsAnswer) {
  for (ConfigInsertForm form : {ConfigInsertForm::insert, ConfigInsertForm::insert_and_return}) {
    SCOPED_TRACE(int(form));
    const bool returns = form == ConfigInsertForm::insert_and_return;
    AgentWorld w({.insert = form});
    w.connect();
    w.answer = [](const Insert&) { return std::optional<InsertAnswer>(); };
    w.from_client(2, syn());
    w.from_kernel(syn_ack());
    ASSERT_EQ(w.inserts.size(), 1u);
    EXPECT_EQ(w.inserts[0].packet, returns ? syn_ack() : Packet());
    EXPECT_TRUE(w.replies.empty()) << "nothing leaves before the mapping is held";
    w.answer = nullptr;
    w.from_kernel(syn_ack());  // the kernel's retransmission, which is answered
    ASSERT_EQ(w.replies.size(), 1u);
    EXPECT_EQ(w.replies[0].proxy, ProxyId{2});
    EXPECT_EQ(w.replies[0].payload, syn_ack());
    EXPECT_EQ(w.count(AgentCounter::reply_after_insert), 1u);
    w.from_client(2, client_ack());
    EXPECT_EQ(w.to_kernel.back(), client_ack());
  }
}

TEST(AgentCore, RetransmittedSynAckRenews) {
  AgentWorld w;
  w.connect();
  w.from_client(1, syn());
  w.from_kernel(syn_ack());
  w.pass(1s);
  w.from_kernel(syn_ack());
  ASSERT_EQ(w.inserts.size(), 2u);
  EXPECT_GT(w.inserts[1].insert.version, w.inserts[0].insert.version);
  EXPECT_EQ(w.inserts[1].packet, syn_ack());
  EXPECT_TRUE(w.replies.empty());
}

TEST(AgentCore, AckOfTheClientEstablishes) {
  AgentWorld w;
  w.connect();
  w.from_client(1, syn());
  w.from_kernel(syn_ack());
  w.clear();
  w.from_client(1, client_ack());
  EXPECT_EQ(w.to_kernel, std::vector<Packet>{client_ack()});
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_EQ(w.inserts[0].insert.state, RecordState::established);
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
}

TEST(AgentCore, ClosedPortsResetLeavesForTheSynAlone) {
  AgentWorld w;
  w.connect();
  w.from_client(2, syn());
  w.from_kernel(server_reset(40'000, 99));  // answers no SYN that came
  EXPECT_TRUE(w.replies.empty());
  w.from_kernel(server_reset());
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_EQ(w.replies[0].proxy, ProxyId{2});
  EXPECT_EQ(w.core->sessions().size(), 0u);
  w.from_kernel(server_reset());  // the SYN is answered
  EXPECT_EQ(w.replies.size(), 1u);
}

TEST(AgentCore, NothingOfASessionLeavesBeforeItsMappingIsHeld) {
  AgentWorld w;
  w.connect();
  w.answer = [](const Insert&) { return std::nullopt; };
  w.from_client(1, syn());
  w.from_kernel(syn_ack());
  w.from_kernel(server_data());
  w.from_kernel(server_reset());
  EXPECT_TRUE(w.replies.empty());
  w.clear();
  w.from_client(1, ip4(kClient, kServer).tcp(40'000, 443, kAck, 7, 7).build());  // acknowledges no SYN/ACK of ours
  EXPECT_TRUE(w.to_kernel.empty());
  w.from_client(1, client_ack());  // the client has it: the answer to our insert was lost
  EXPECT_EQ(w.to_kernel.size(), 1u);
}

TEST(AgentCore, SynOfAnEstablishedSessionReachesTheKernelAndItsChallengeLeaves) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.clear();
  w.from_client(2, syn());
  EXPECT_EQ(w.to_kernel.size(), 1u);
  w.from_kernel(server_data(40'000, 0));  // challenge ACK
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_EQ(w.core->sessions().count(SessionPhase::established), 1u);
}

// --- strays ---

struct StrayRow {
  const char* name;
  Packet packet;
  bool forwarded;
  bool answered;
};

class AgentStray : public testing::TestWithParam<StrayRow> {};
TEST_P(AgentStray, NeverReachesTheKernel) {
  const StrayRow& row = GetParam();
  AgentWorld w;
  w.connect();
  w.from_client(2, row.packet, {.forwarded = row.forwarded});
  EXPECT_TRUE(w.to_kernel.empty());
  const auto* got = w.reply_with([](const EnvelopeOptions& o) { return o.not_mine.has_value(); });
  EXPECT_EQ(got != nullptr, row.answered);
  if (got) {
    EXPECT_EQ(got->proxy, ProxyId{2});
    EXPECT_EQ(got->payload, row.packet) << "it goes back, so that it is not lost";
    EXPECT_EQ(got->envelope.group, kWeb);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Rows, AgentStray,
    testing::Values(
        StrayRow{"tcp_data", client_ack(40'000, 10), false, true}, StrayRow{"tcp_ack", client_ack(), false, true},
        StrayRow{"tcp_fin", ip4(kClient, kServer).tcp(40'000, 443, kFin | kAck).build(), false, true},
        StrayRow{"tcp_reset", ip4(kClient, kServer).tcp(40'000, 443, kRst).build(), false, true},
        StrayRow{"tcp_syn_ack", ip4(kClient, kServer).tcp(40'000, 443, kSyn | kAck).build(), false, true},
        StrayRow{"tcp6_data", ip6("2001:db8::7", kServer6).tcp(40'000, 443).payload(4).build(), false, true},
        StrayRow{"udp", client_udp(), false, true},
        StrayRow{"icmp_error", ip4("192.0.2.1", kServer).icmp_error(3, 4, server_data(), 1'200).build(), false, true},
        StrayRow{"forwarded", client_ack(40'000, 10), true, false}),
    [](const auto& i) { return i.param.name; });

TEST(AgentCore, StraysAreAnsweredAtALimitedRate) {
  AgentWorld w;
  w.connect();
  for (int i = 0; i < 3'000; ++i) w.from_client(1, client_ack(40'000, 10));
  EXPECT_EQ(w.replies.size(), 1'000u);
  EXPECT_EQ(w.count(AgentCounter::client_stray_limited), 2'000u);
}

// A UDP session does not outlive the agent, its mapping does. The directory says that it is ours: nobody else removes
// it.
TEST(AgentCore, AMappingWithoutSessionIsRemovedAtOnceAndOnce) {
  AgentWorld w;
  w.connect();
  auto removals = [&] {
    return std::count_if(w.messages.begin(), w.messages.end(),
                         [](const Message& m) { return std::holds_alternative<Remove>(m.body); });
  };
  w.from_client(1, client_udp());
  EXPECT_EQ(removals(), 0) << "a proxy may be wrong; the directory is asked first";
  for (int i = 0; i < 10; ++i) w.from_client(2, client_udp(), {.forwarded = true});
  ASSERT_EQ(removals(), 1);
  for (const Message& m : w.messages)
    if (auto* r = std::get_if<Remove>(&m.body)) {
      EXPECT_EQ(r->id, udp_session());
      EXPECT_EQ(r->version.incarnation, 4u);
    }
  for (uint16_t port = 1; port <= 2'000; ++port) w.from_client(2, client_udp(port), {.forwarded = true});
  EXPECT_EQ(w.count(AgentCounter::session_unknown_removed), 100u) << "at a limited rate";
  EXPECT_EQ(w.count(AgentCounter::session_unknown_limited), 1'901u);
}

TEST(AgentCore, ForwardedPacketsOfLiveSessionsRemoveNothing) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.from_client(1, syn(40'001));
  w.from_kernel(syn_ack(40'001));
  w.from_client(2, client_ack(40'000, 10), {.forwarded = true});
  w.from_client(2, ip4(kClient, kServer).tcp(40'001, 443, kAck, 7, 7).build(), {.forwarded = true});
  EXPECT_EQ(w.count(AgentCounter::session_unknown_removed), 0u);
}

TEST(AgentCore, ResetsAndUnreachablesForWhatIsNotOursStay) {
  AgentWorld w;
  w.connect();
  w.from_kernel(server_reset());
  w.from_kernel(ip4(kServer, kClient).tcp(443, 40'000, kRst, 77, 0).build());
  w.from_kernel(ip4(kServer, kClient).icmp_error(3, 3, client_udp()).build());
  w.from_kernel(server_data());
  w.from_kernel(server_udp());
  w.from_kernel(ip4(kServer, kClient).tcp(443, 40'000, kSyn, 1, 0).build());  // the member begins a session itself
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.count(AgentCounter::reply_drop_reset_unowned), 2u);
  EXPECT_EQ(w.count(AgentCounter::reply_drop_icmp_unowned), 1u);
  EXPECT_EQ(w.count(AgentCounter::reply_drop_unowned), 3u);
}

TEST(AgentCore, PacketsOutsideTheGroupsEndHere) {
  AgentWorld w;
  w.connect();
  w.from_client(1, syn(), {}, GroupId{99});
  w.from_client(1, ip4(kClient, "203.0.113.99").tcp(1, 443, kSyn).build());
  w.from_client(1, ip4(kClient, kPlain).tcp(1, 443, kSyn).build());  // an address of another group
  w.from_client(1, ip4(kClient, kServer).tcp(1, 443, kSyn).cut(3).build());
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_EQ(w.count(AgentCounter::client_drop_unknown_group), 1u);
  EXPECT_EQ(w.count(AgentCounter::client_drop_not_to_group), 2u);
  EXPECT_EQ(w.count(AgentCounter::client_drop_malformed), 1u);
  w.from_kernel(ip4("10.9.9.9", kClient).tcp(443, 1).build());
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.count(AgentCounter::reply_drop_not_from_group), 1u);
}

// --- replies ---

TEST(AgentCore, RepliesFollowTheLastIngressProxy) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  for (uint32_t p : {2u, 3u, 1u}) {
    w.clear();
    w.from_client(p, client_ack(40'000, 10));
    w.from_kernel(server_data());
    ASSERT_EQ(w.replies.size(), 1u);
    EXPECT_EQ(w.replies[0].proxy, ProxyId{p});
    EXPECT_EQ(w.replies[0].payload, server_data());
    EXPECT_TRUE(is_bare(w.replies[0].envelope.options));
  }
}

TEST(AgentCore, ForwardedPacketsNameTheIngressProxy) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.clear();
  w.from_client(2, client_ack(40'000, 10), {.ingress = ProxyId{3}});
  w.from_kernel(server_data());
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_EQ(w.replies[0].proxy, ProxyId{3});
}

TEST(AgentCore, RepliesLeaveThroughTheNextBestWhenTheIngressProxyIsGone) {
  AgentWorld w;
  w.connect();
  w.handshake(1);
  w.silent[1] = true;
  w.pass(900ms);
  w.clear();
  w.from_kernel(server_data());
  EXPECT_TRUE(w.replies.empty()) << "not gone yet";
  w.pass(400ms);
  w.clear();
  w.from_kernel(server_data());
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_NE(w.replies[0].proxy, ProxyId{1});
  EXPECT_EQ(w.count(AgentCounter::reply_other_proxy), 1u);
}

TEST(AgentCore, StatelessGroupsSeeEverythingAndAnswerThroughTheClientsProxy) {
  AgentWorld w;
  w.connect();
  Packet in = ip4(kClient, kPlain).tcp(40'000, 80, kAck).payload(3).build();
  w.from_client(3, in, {}, kPlainGroup);
  EXPECT_EQ(w.to_kernel, std::vector<Packet>{in});
  w.from_kernel(ip4(kPlain, kClient).tcp(80, 40'000, kRst).build());
  ASSERT_EQ(w.replies.size(), 1u);
  EXPECT_EQ(w.replies[0].proxy, ProxyId{3});
  EXPECT_TRUE(w.inserts.empty());
}

TEST(AgentCore, UnknownStatelessTakesUdpAndDropsTcpOfNoSession) {
  AgentWorld w({.unknown = UnknownSession::stateless});
  w.connect();
  w.from_client(2, client_udp());
  EXPECT_EQ(w.to_kernel.size(), 1u);
  w.from_client(2, client_ack(40'000, 10));
  EXPECT_EQ(w.to_kernel.size(), 1u);
  EXPECT_TRUE(w.replies.empty()) << "`not mine` would come back at once";
}

TEST(AgentCore, LaterFragmentsFollowTheirFirst) {
  AgentWorld w;
  w.connect();
  w.from_client(1, client_udp(), {.admitted = true});
  w.clear();
  Packet first = ip4(kClient, kServer).fragment(0, true, 5).udp(40'000, 53).payload(24).build();
  Packet later = ip4(kClient, kServer).fragment(32, false, 5).protocol(17).payload(24).build();
  Packet alone = ip4(kClient, kServer).fragment(32, false, 6).protocol(17).payload(24).build();
  w.from_client(1, later);
  EXPECT_TRUE(w.to_kernel.empty());
  w.from_client(1, first);
  w.from_client(1, later);
  w.from_client(1, alone);
  EXPECT_EQ(w.to_kernel, (std::vector<Packet>{first, later}));
}

TEST(AgentCore, LaterFragmentsEndWithTheirSessionAndTheirTime) {
  AgentWorld w;
  w.connect();
  w.from_client(1, client_udp(), {.admitted = true});
  auto first = [](const char* from, const char* to, bool reply) {
    return ip4(from, to).fragment(0, true, 5).udp(reply ? 53 : 40'000, reply ? 40'000 : 53).payload(24).build();
  };
  Packet later = ip4(kClient, kServer).fragment(32, false, 5).protocol(17).payload(24).build();
  Packet later_reply = ip4(kServer, kClient).fragment(32, false, 5).protocol(17).payload(24).build();
  w.from_client(1, first(kClient, kServer, false));
  w.pass(6s);
  w.clear();
  w.from_client(1, later);
  EXPECT_TRUE(w.to_kernel.empty()) << "too late";
  w.from_client(1, first(kClient, kServer, false));
  w.from_kernel(first(kServer, kClient, true));
  ASSERT_TRUE(w.core->revoke(udp_session(), 600s, w.now));
  w.clear();
  w.from_client(1, later);
  w.from_kernel(later_reply);
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_TRUE(w.replies.empty());
  EXPECT_EQ(w.count(AgentCounter::client_drop_revoked), 1u);
  EXPECT_EQ(w.count(AgentCounter::reply_drop_revoked), 1u);
}

// --- envelopes ---

TEST(AgentCore, ForgedAndReplayedEnvelopesAreDropped) {
  AgentWorld w;
  w.connect();
  auto good = w.sealed(1, syn());
  for (size_t i : {size_t{5}, size_t{40}, kEnvelopeSizeMin + 13}) {  // header, tag, inner packet
    auto forged = good;
    forged[i] ^= 1;
    w.raw(forged);
  }
  EXPECT_TRUE(w.to_kernel.empty());
  w.raw(good);
  EXPECT_EQ(w.to_kernel.size(), 1u);
  w.raw(good);
  EXPECT_EQ(w.to_kernel.size(), 1u);
  EXPECT_EQ(w.count(AgentCounter::tunnel_drop_replayed), 1u);
  w.raw(Bytes(good).first(20));
  w.raw(Packet(200, 0xff));
  EXPECT_EQ(w.to_kernel.size(), 1u);
}

// --- UDP ---

TEST(AgentCore, AFirstReplyTooLargeForTheInsertLeavesBesideIt) {
  for (size_t payload : {1'280u - 28, 1'280u - 27, 1'368u - 28}) {
    AgentWorld w;
    w.connect();
    w.from_client(2, client_udp(), {.admitted = true});
    w.clear();
    Packet reply = ip4(kServer, kClient).udp(53, 40'000).payload(payload).build();
    w.from_kernel(reply);
    ASSERT_EQ(w.inserts.size(), 1u);
    bool inside = reply.size() <= 1'280;
    EXPECT_EQ(w.inserts[0].packet, inside ? reply : Packet());
    ASSERT_EQ(w.replies.size(), inside ? 0u : 1u);
    if (!inside) { EXPECT_EQ(w.replies[0].payload, reply); }
    EXPECT_EQ(w.count(AgentCounter::reply_beside_insert), inside ? 0u : 1u);
  }
}

TEST(AgentCore, AdmittedUdpIsLeasedAtOnceAndInsertedWithTheFirstReply) {
  AgentWorld w({.session_bytes = ByteCount{5'000}});
  w.connect();
  w.from_client(2, client_udp(), {.admitted = true});
  EXPECT_EQ(w.to_kernel, std::vector<Packet>{client_udp()});
  ASSERT_EQ(w.replies.size(), 1u);
  ASSERT_TRUE(w.replies[0].envelope.options.lease);
  const LeaseInstruction& lease = *w.replies[0].envelope.options.lease;
  EXPECT_EQ(w.replies[0].proxy, ProxyId{2});
  EXPECT_EQ(w.replies[0].payload, client_udp());
  EXPECT_EQ(lease.lease_ms, 10'000u);
  EXPECT_EQ(lease.lease_bytes, 5'000u);
  EXPECT_EQ(lease.echo.boot, 1'002u) << "counts from what the proxy itself said last";
  EXPECT_TRUE(w.inserts.empty());
  w.from_kernel(server_udp());
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_EQ(w.inserts[0].packet, server_udp());
  EXPECT_EQ(w.inserts[0].insert.ingress, ProxyId{2});
  EXPECT_EQ(w.inserts[0].insert.state, RecordState::established);
  w.from_kernel(server_udp());
  EXPECT_EQ(w.replies.size(), 2u) << "later replies leave as they are";
}

TEST(AgentCore, AdmittedUdpWithoutReplyIsInsertedAfter100Ms) {
  AgentWorld w;
  w.connect();
  w.from_client(2, client_udp(), {.admitted = true});
  w.pass(99ms);
  EXPECT_TRUE(w.inserts.empty());
  w.pass(2ms);
  ASSERT_EQ(w.inserts.size(), 1u);
  EXPECT_TRUE(w.inserts[0].packet.empty());
  EXPECT_EQ(w.inserts[0].insert.ingress, ProxyId{2}) << "it has our lease, so it becomes a holder";
}

TEST(AgentCore, UdpEndsByIdleTimeCountedFromTheLastPacketEitherWay) {
  AgentWorld w;
  w.connect();
  w.from_client(2, client_udp(), {.admitted = true});
  w.from_kernel(server_udp());
  w.pass(50s);
  w.from_client(2, client_udp());
  w.pass(50s);
  w.from_kernel(server_udp());
  w.pass(59s);
  EXPECT_EQ(w.core->sessions().size(), 1u);
  w.clear();
  w.pass(2s);
  EXPECT_EQ(w.core->sessions().size(), 0u);
  bool removed = false;
  for (const Message& m : w.messages)
    if (auto* r = std::get_if<Remove>(&m.body)) removed |= r->id == udp_session();
  EXPECT_TRUE(removed);
}

TEST(AgentCore, UnreachablePortOfAnAdmittedSessionTellsTheClientAndInsertsNothing) {
  AgentWorld w;
  w.connect();
  w.from_client(2, client_udp(), {.admitted = true});
  w.clear();
  w.from_kernel(ip4(kServer, kClient).icmp_error(3, 3, client_udp()).build());
  EXPECT_EQ(w.replies.size(), 1u);
  w.pass(1s);
  EXPECT_TRUE(w.inserts.empty());
}

// --- bounds ---

TEST(AgentCore, FullTableStartsNothingAndKeepsWhatItHas) {
  AgentWorld w({.sessions_max = 2});
  w.connect();
  w.handshake(1, 40'000);
  w.handshake(1, 40'001);
  w.clear();
  w.from_client(1, syn(40'002));
  EXPECT_TRUE(w.to_kernel.empty());
  EXPECT_EQ(w.count(AgentCounter::client_drop_sessions_full), 1u);
  w.from_client(1, client_ack(40'001, 5));
  EXPECT_EQ(w.to_kernel.size(), 1u);
}

TEST(AgentCore, UnansweredAndUnfinishedHandshakesAreForgotten) {
  AgentWorld w;
  w.connect();
  w.from_client(1, syn(40'000));
  w.from_client(1, syn(40'001));
  w.from_kernel(syn_ack(40'001));
  w.pass(6s);
  EXPECT_EQ(w.core->sessions().size(), 1u);
  w.pass(5s);
  EXPECT_EQ(w.core->sessions().size(), 0u);
  w.clear();
  w.from_kernel(syn_ack(40'001));  // the kernel has not forgotten
  EXPECT_EQ(w.inserts.size(), 1u);
}

}  // namespace

}  // namespace statecast::test
