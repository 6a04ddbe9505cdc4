// SPDX-License-Identifier: BSD-3-Clause
// The members that a generator plays, in front of a proxy that is nothing but a PeerTable and the test's own words.
#include "tools/pktgen/member_side.h"

#include <gtest/gtest.h>

#include <deque>

#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/wire.h"
#include "directory/messages.h"

namespace statecast {
namespace {

const MacAddress kOwnMac{{2, 0, 0, 0, 0, 1}}, kProxyMac{{2, 0, 0, 0, 0, 2}};
const Endpoint kServer = *Endpoint::parse("203.0.113.10:443");
constexpr GroupId kGroup{10};
constexpr uint64_t kNonce = 99;

PktgenConfig config() {
  PktgenConfig c;
  c.ports.push_back({.name = "under", .device = "net_ring0", .addresses = {}, .gateway = {}});
  c.member_side.port = "under";
  PktgenStreamConfig web, game;
  web.name = "web";
  web.protocol = ConfigProtocol::tcp;
  web.setup = PktgenStreamConfig::Setup::syn;
  game.name = "game";
  game.setup = PktgenStreamConfig::Setup::insert;
  for (auto* s : {&web, &game}) {
    s->sessions = 10;
    s->destinations = {kServer};
    c.streams.push_back(*s);
  }
  return c;
}

// Its parameter: an underlay of IPv6.
class MemberSideTest : public testing::TestWithParam<bool> {
 protected:
  explicit MemberSideTest(uint32_t verify_every = 1)
      : plan_(*make_plan(config())),
        states_(plan_),
        link_({.mac = kOwnMac, .addresses = {}, .gateway = {}, .peer = kProxyMac}),
        peers_(NodeId::proxy(ProxyId{1}), 4711, 2, now_) {
    FleetSecret fleet;
    fleet.raw.fill(7);
    MemberSideOptions o{.members = {},
                        .proxies = {{ProxyId{1}, proxy_at_, ""}},
                        .group = kGroup,
                        .verify_every = verify_every,
                        .plan = &plan_,
                        .sessions = &states_,
                        .link = &link_,
                        .counters = &counters_};
    for (uint32_t id : {7u, 8u}) {
      NodeKey key = member_node_key(fleet, MemberId{id});
      peers_.add(NodeId::member(MemberId{id}), member_pair_key(key, ProxyId{1}), std::nullopt);
      o.members.push_back({MemberId{id}, key, member_address(id)});
    }
    side_ = std::make_unique<MemberSide>(std::move(o), now_);
  }
  IpAddress member_address(uint32_t id) const {
    return *IpAddress::parse((GetParam() ? "fd00:9::" : "10.9.2.") + std::to_string(id));
  }

  // Hellos and keep-alives go to and fro until neither has more to say.
  void run(Duration d) {
    for (Instant end = now_ + d; now_ < end; now_ += 10ms) {
      side_->poll(now_);
      peers_.on_deadline(now_);
      exchange();
    }
  }
  void exchange() {
    for (bool more = true; more;) {
      more = false;
      uint8_t frame[1600];
      while (size_t n = side_->next_frame(frame)) proxy_takes({frame, n}), more = true;
      for (PeerTable::Datagram d; peers_.next_output(d);) {
        deliver(in_frame(Bytes(d.bytes).first(d.length), d.at));
        more = true;
      }
      side_->poll(now_);
    }
  }
  void proxy_takes(Bytes frame) {
    PacketLook look;
    ASSERT_TRUE(look_at_frame(frame, look));
    Endpoint from = source_endpoint(frame, look);
    Envelope e;
    OpenResult r = peers_.open(frame.subspan(look.payload, size_t(look.end) - look.payload), e);
    if (r == OpenResult::hello) return peers_.on_hello(e, from, now_);
    ASSERT_EQ(r, OpenResult::ok) << to_string(r);
    peers_.heard(e, from, now_);
    if (e.kind != PayloadKind::message) {
      answers_.emplace_back(e.payload.begin(), e.payload.end());
    } else if (!peers_.on_path_message(e, from, now_)) {
      messages_.push_back({e.sender, {e.payload.begin(), e.payload.end()}});
    }
  }
  std::vector<uint8_t> in_frame(Bytes datagram, const Endpoint& to) const {
    std::vector<uint8_t> frame(outer_ + datagram.size());
    std::copy(datagram.begin(), datagram.end(), frame.begin() + static_cast<long>(outer_));
    write_outer({.destination_mac = kOwnMac, .source_mac = kProxyMac, .source = proxy_at_, .destination = to},
                Bytes(frame).subspan(outer_), MutableBytes(frame).first(outer_));
    return frame;
  }
  // A client's packet on its way to a member.
  std::vector<uint8_t> brought(uint32_t member, Bytes packet, const EnvelopeOptions& options = {}) {
    size_t head = kEnvelopeSizeMin + options_size(options);
    std::vector<uint8_t> datagram(head + packet.size());
    std::copy(packet.begin(), packet.end(), datagram.begin() + static_cast<long>(head));
    EXPECT_EQ(peers_.seal(NodeId::member(MemberId{member}), 0, kGroup, PayloadKind::ipv4, options,
                          peers_.timestamp_us(now_), packet, MutableBytes(datagram).first(head)),
              head);
    return in_frame(datagram, {member_address(member), Port{kEnvelopePort}});
  }
  Brought deliver(const std::vector<uint8_t>& frame) {
    PacketLook look;
    EXPECT_TRUE(look_at_frame(frame, look));
    return side_->take(frame, look, now_);
  }
  std::vector<uint8_t> packet(size_t stream, uint32_t session, bool syn = false) const {
    const StreamPlan& p = plan_.streams[stream];
    FrameOptions o{.client = p.client, .server = kServer, .protocol = p.protocol};
    if (syn) o.tcp_flags = 2, o.tcp_window = static_cast<uint16_t>(kSynMark | stream);
    std::vector<uint8_t> frame(kTemplateSize);
    FrameTemplate t(o);
    if (syn) {
      frame.resize(t.fill_bare(frame.data(), session, session));
    } else {
      t.fill(frame.data(), session, t.length_min(), mark_of(stream, session), kNonce);
      frame.resize(t.length_min());
    }
    return {frame.begin() + 14, frame.end()};
  }
  static Mark mark_of(size_t stream, uint32_t session) {
    return {.session = session, .stream = static_cast<uint8_t>(stream)};
  }
  bool is_home(const Brought& b, const std::vector<uint8_t>& frame, size_t stream, uint32_t session) {
    return side_->is_home(b, mark_of(stream, session), Bytes(frame).subspan(b.inner, b.inner_length), now_);
  }
  template <class T>
  std::pair<Message, T> next_message(NodeId* from = nullptr) {
    exchange();
    if (messages_.empty()) {
      ADD_FAILURE() << "no message";
      return {};
    }
    kept_ = messages_.front().second;
    if (from) *from = messages_.front().first;
    messages_.pop_front();
    auto m = decode(kept_);
    if (!m || !std::holds_alternative<T>(m->body)) {
      ADD_FAILURE() << "another message";
      return {};
    }
    return {*m, std::get<T>(m->body)};
  }
  void answer(NodeId to, const MessageHeader& question, const MessageBody& body) {
    auto bytes = encode({.request = question.request, .origin = question.origin}, body);
    uint8_t datagram[1600];
    size_t n = peers_.seal_message(to, 0, peers_.timestamp_us(now_), bytes, datagram);
    ASSERT_NE(n, 0u);
    deliver(in_frame({datagram, n}, *peers_.endpoint(to)));
    side_->poll(now_);
  }

  const Endpoint proxy_at_{*IpAddress::parse(GetParam() ? "fd00:9::1" : "10.9.2.1"), Port{kEnvelopePort}};
  const size_t outer_ = GetParam() ? kOuterSizeV6 : kOuterSizeV4;
  Instant now_{1000s};
  Plan plan_;
  SessionStates states_;
  Link link_;
  WorkerCounters counters_;
  PeerTable peers_;
  std::unique_ptr<MemberSide> side_;
  std::deque<std::pair<NodeId, std::vector<uint8_t>>> messages_;
  std::vector<uint8_t> kept_;
  std::vector<std::vector<uint8_t>> answers_;
};

TEST_P(MemberSideTest, SaysHelloForEachMember) {
  EXPECT_FALSE(side_->ready());
  run(1s);
  EXPECT_TRUE(side_->ready());
  for (uint32_t id : {7u, 8u})
    EXPECT_EQ(peers_.endpoint(NodeId::member(MemberId{id})), (Endpoint{member_address(id), Port{kEnvelopePort}}));
}

TEST_P(MemberSideTest, ASynBecomesAnInsertWithItsSynAck) {
  run(1s);
  EnvelopeOptions options;
  options.replica_hint = ProxyId{1};
  EXPECT_EQ(deliver(brought(8, packet(0, 3, true), options)).kind, Brought::Kind::handled);
  EXPECT_EQ(counters_.member_syn.value(), 1u);
  auto [message, insert] = next_message<Insert>();
  EXPECT_EQ(message.header.origin, NodeId::member(MemberId{8}));
  EXPECT_EQ(insert.id, SessionId::tuple(kGroup, Protocol::tcp, client_of_session(plan_.streams[0].client, 3), kServer));
  EXPECT_EQ(insert.state, RecordState::half_open);
  EXPECT_EQ(insert.ingress, ProxyId{1});
  PacketLook look;
  ASSERT_TRUE(look_at_ip(insert.packet, look));
  EXPECT_TRUE(look.is_syn_ack());
  auto h = look_at_handshake(insert.packet, look);
  ASSERT_TRUE(h);
  EXPECT_EQ(h->stream, 0);
  EXPECT_EQ(h->session, 3u);
  EXPECT_EQ(h->member, 1u) << "the second";
}

TEST_P(MemberSideTest, InsertedSessionsAreReadyOnceTheDirectorySaysSo) {
  run(1s);
  ASSERT_TRUE(side_->insert(plan_.streams[1], 4, now_));
  ASSERT_TRUE(side_->insert(plan_.streams[1], 5, now_));
  for (uint32_t session : {4u, 5u}) {
    NodeId from;
    auto [message, insert] = next_message<Insert>(&from);
    EXPECT_EQ(from, NodeId::member(MemberId{session == 4 ? 7u : 8u}));
    EXPECT_EQ(insert.state, RecordState::established);
    EXPECT_TRUE(insert.packet.empty());
    if (session == 4)
      answer(from, message.header, InsertAnswer{.copies = 1, .version = insert.version, .replicas = {ProxyId{1}}});
    else
      answer(from, message.header,
             InsertAnswer{.status = InsertAnswer::Status::conflict,
                          .record = Record{.key = {1, 2},
                                           .group = kGroup,
                                           .state = RecordState::established,
                                           .member = MemberId{7},
                                           .owner = NodeId::member(MemberId{7})}});
  }
  EXPECT_EQ(states_.ready(1), 1u);
  EXPECT_EQ(states_.at(1, 4).ready.load(), 1);
  EXPECT_EQ(states_.at(1, 5).ready.load(), 0);
  EXPECT_EQ(counters_.inserts_failed.value(), 1u);
}

TEST_P(MemberSideTest, ASessionHasOneHome) {
  run(1s);
  auto first = brought(7, packet(1, 2)), second = brought(8, packet(1, 2)), third = brought(8, packet(1, 3));
  Brought b = deliver(first);
  ASSERT_EQ(b.kind, Brought::Kind::data);
  EXPECT_TRUE(is_home(b, first, 1, 2)) << "whoever sees it first";
  b = deliver(second);
  ASSERT_EQ(b.kind, Brought::Kind::data);
  EXPECT_FALSE(is_home(b, second, 1, 2));
  b = deliver(third);
  EXPECT_TRUE(is_home(b, third, 1, 3));
}

TEST_P(MemberSideTest, WhatDoesNotVerifyIsCountedOnce) {
  run(1s);
  uint64_t before = counters_.envelopes.value();
  auto good = brought(7, packet(1, 0)), bad = brought(7, packet(1, 0)), broken = brought(7, packet(1, 0));
  bad[outer_ + kEnvelopeSizeMin - 1] ^= 1;  // of the tag
  broken[outer_] = 0xff;                    // Geneve's version
  EXPECT_EQ(deliver(good).kind, Brought::Kind::data);
  EXPECT_EQ(deliver(bad).kind, Brought::Kind::handled);
  EXPECT_EQ(deliver(good).kind, Brought::Kind::handled) << "a second time";
  EXPECT_EQ(deliver(broken).kind, Brought::Kind::handled);
  EXPECT_EQ(counters_.bad_tag.value(), 1u);
  EXPECT_EQ(counters_.replayed.value(), 1u);
  EXPECT_EQ(counters_.bad_envelope.value(), 1u);
  EXPECT_EQ(counters_.envelopes.value() - before, 4u);
  auto elsewhere = in_frame(Bytes(good).subspan(outer_), {member_address(9), Port{kEnvelopePort}});
  EXPECT_EQ(deliver(elsewhere).kind, Brought::Kind::other);
}

TEST_P(MemberSideTest, AnswersAreSealedInPlace) {
  run(1s);
  auto frame = brought(7, packet(1, 6));
  Brought b = deliver(frame);
  ASSERT_EQ(b.kind, Brought::Kind::data);
  MutableBytes packet = MutableBytes(frame).subspan(b.inner, b.inner_length);
  turn_into_answer(packet, b.look, {.session = 6, .stream = 1, .answer = true}, kNonce);
  size_t head = side_->seal_answer(b, now_, packet, MutableBytes(frame).first(b.inner));
  ASSERT_EQ(head, b.inner) << "as long as what it came in";
  proxy_takes(frame);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_TRUE(std::equal(packet.begin(), packet.end(), answers_[0].begin(), answers_[0].end()));
}

TEST_P(MemberSideTest, AnAdmittedSessionIsInserted) {
  run(1s);
  EnvelopeOptions options;
  options.admitted = true;
  auto frame = brought(7, packet(1, 1), options);
  Brought b = deliver(frame);
  ASSERT_EQ(b.kind, Brought::Kind::data);
  EXPECT_TRUE(is_home(b, frame, 1, 1));
  auto [message, insert] = next_message<Insert>();
  EXPECT_EQ(insert.state, RecordState::established);
  EXPECT_EQ(insert.ingress, ProxyId{1});
}

class SamplingMemberSideTest : public MemberSideTest {
 protected:
  SamplingMemberSideTest() : MemberSideTest(4) {}
};

TEST_P(SamplingMemberSideTest, LooksAtEachFourthTag) {
  run(1s);
  int passed = 0;
  for (int i = 0; i < 8; ++i) {
    auto bad = brought(7, packet(1, 0));
    bad[outer_ + kEnvelopeSizeMin - 1] ^= 1;
    passed += deliver(bad).kind == Brought::Kind::data;
  }
  EXPECT_EQ(passed, 6);
  EXPECT_EQ(counters_.unverified.value(), 6u);
  EXPECT_EQ(counters_.bad_tag.value(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Underlay, MemberSideTest, testing::Bool());
INSTANTIATE_TEST_SUITE_P(Underlay, SamplingMemberSideTest, testing::Bool());

}  // namespace
}  // namespace statecast
