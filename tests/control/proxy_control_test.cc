// SPDX-License-Identifier: BSD-3-Clause
// The control thread between a worker's notes and a directory of one node: what it writes into the session cache, what
// it orders, and that nothing is acknowledged while a worker may still send by an old entry.
#include "control/proxy_control.h"

#include "control/snapshot.h"
#include "tests/support/eal.h"
#include "tests/worker/world.h"

namespace statecast::test {
namespace {

constexpr char kSession[] = "10 tcp 198.51.100.7:40000 203.0.113.10:443";
constexpr GroupId kWebGroup{10};
constexpr char kClient[] = "198.51.100.7", kWeb[] = "203.0.113.10";

class ProxyControlTest : public testing::Test {
 protected:
  ProxyControlTest() : neighbours_(w_.layout()->ports) { make_control({{ProxyId{1}, "a"}}); }

  void make_control(std::vector<ViewNode> nodes) {
    link_ = WorkerLink::create("control" + std::to_string(++links_), &wakeup_, ProxyControl::is_urgent).value();
    ProxyControlSetup setup;
    setup.config = &config_;
    setup.layout = w_.layout();
    setup.view = View({.revision = 1, .replicas = 3, .writes = 2}, std::move(nodes));
    for (const Group& g : w_.layout()->groups) {
      DirectoryGroup d;
      d.id = g.id;
      d.secret = g.secret;
      d.query_form = form_;
      for (const GroupMember& m : g.members) d.members.push_back(m.id);
      setup.groups.push_back(d);
    }
    setup.peers = &w_.proxy();
    setup.cache = &w_.cache();
    setup.board = &board_;
    setup.neighbours = &neighbours_;
    setup.wakeup = &wakeup_;
    setup.workers = {
        {link_.get(), &worker_counters_, [this] { return turns_++ / 3; }}};  // a turn ends at every third look
    setup.negatives_exist = &negatives_;
    setup.pressure = &pressure_;
    setup.seed = 5;
    control_ = std::make_unique<ProxyControl>(std::move(setup), w_.now);
    step();
  }

  void step() {
    w_.now += 1ms;
    control_->step(w_.now);
  }
  void note(Note n) {
    ASSERT_TRUE(link_->note(n));
    step();
  }
  SessionKey key() const { return w_.key_of(kSession); }
  std::vector<Order> orders() {
    std::vector<Order> all(64);
    all.resize(link_->orders(all.data(), all.size()));
    for (Order& o : all) rte_pktmbuf_free(o.packet);
    return all;
  }
  bool resolved(bool rerun) {
    for (const Order& o : orders()) {
      if (o.kind == Order::Kind::resolved && o.key == key() && o.rerun == rerun) return true;
    }
    return false;
  }
  void insert(MemberId m) {
    bool done = false;
    Insert i;
    i.id = *parse_session_text(kSession);
    i.state = RecordState::established;
    i.member = m;
    i.lifetime_ms = 60'000;
    i.version = {0, 1, 1};
    control_->request(
        i, [&](const MessageBody& a) { return done = std::get<InsertAnswer>(a).status == InsertAnswer::Status::ok; },
        w_.now);
    EXPECT_TRUE(done);
  }
  void ask() { note({.kind = Note::Kind::ask, .group = kWebGroup, .key = key()}); }
  Note from_member(Note::Kind kind, MemberId m, EnvelopeOptions options) {
    Note n{.kind = kind, .group = kWebGroup, .key = key(), .sender = NodeId::member(m)};
    n.envelope.options = options;
    return n;
  }

  World w_;
  ProxyConfig config_;
  Neighbours neighbours_;
  SnapshotBoard board_{1};
  Wakeup wakeup_;
  std::unique_ptr<WorkerLink> link_;
  std::atomic<bool> negatives_{false};
  Pressure pressure_;
  Counters worker_counters_;
  uint64_t turns_ = 0;
  QueryForm form_ = QueryForm::query;
  std::unique_ptr<ProxyControl> control_;
  static unsigned links_;
};
unsigned ProxyControlTest::links_ = 0;

TEST_F(ProxyControlTest, AnUnknownSessionBecomesANegativeEntry) {
  ask();
  auto e = w_.cache().find(key(), w_.now);
  ASSERT_TRUE(e);
  EXPECT_EQ(CacheTarget::negative, e->target);
  EXPECT_LE(e->ends, w_.now + 250ms);
  EXPECT_TRUE(negatives_);
  EXPECT_TRUE(resolved(true));
  note({.kind = Note::Kind::forget_negative, .key = key()});
  EXPECT_FALSE(w_.cache().find(key(), w_.now)) << "a reply has passed";
}

TEST_F(ProxyControlTest, AnInsertThatPassesEndsANegativeEntry) {
  const Record record{.key = key(), .group = kWebGroup, .member = kM2, .owner = NodeId::member(kM2)};
  const NodeId other = NodeId::proxy(ProxyId{2});
  const MessageHeader header{.request = 1, .origin = other};
  struct Row {
    const char* name;
    std::vector<uint8_t> message;
    bool stays;
  };
  const Insert insert{.id = *parse_session_text(kSession), .member = kM2, .version = {0, 1, 1}, .lifetime_ms = 60'000};
  for (const Row& row : {Row{"insert", encode({.request = 1, .origin = NodeId::member(kM2)}, insert), false},
                         Row{"place", encode(header, Place{record, false}), false},
                         Row{"held", encode(header, Held{key(), {1, 1, 1}, NodeId::member(kM2), std::nullopt}), false},
                         Row{"another's question", encode(header, Query{key(), kWebGroup}), true}}) {
    SCOPED_TRACE(row.name);
    make_control({{ProxyId{1}, "a"}});
    ASSERT_FALSE(row.message.empty());
    w_.cache().remove_negative(key());
    ask();
    ASSERT_TRUE(w_.cache().find(key(), w_.now));
    Note n{.kind = Note::Kind::message, .sender = other};
    n.envelope.sender = other;
    n.envelope.payload = row.message;
    note(n);
    auto e = w_.cache().find(key(), w_.now);
    EXPECT_EQ(row.stays, e && e->target == CacheTarget::negative);
  }
}

// More than 2,000 unknown sessions a second: the summaries of the replicas (here its own) come to the workers, and go
// when 10 s have been calm.
TEST_F(ProxyControlTest, UnderPressureWorkersKnowWhatIsAbsent) {
  insert(kM2);
  auto flood = [&](Duration d, uint64_t packets_per_ms) {
    for (const Instant until = w_.now + d; w_.now < until;) {
      worker_counters_.add(Counter::resolve_hold_query, packets_per_ms);
      step();
    }
  };
  flood(1s, 1);
  EXPECT_FALSE(pressure_.on) << "1,000 a second are no flood";
  flood(500ms, 4);
  EXPECT_TRUE(pressure_.on);
  const AbsenceMap* map = pressure_.absence;
  ASSERT_NE(map, nullptr);
  EXPECT_FALSE(map->absent(key(), w_.now)) << "inserted";
  unsigned absent = 0;
  for (uint64_t i = 1; i <= 100; ++i) absent += map->absent({i * 0x9e3779b97f4a7c15, i}, w_.now);
  EXPECT_GT(absent, 95u);
  flood(9s, 0);
  EXPECT_TRUE(pressure_.on);
  flood(2s, 0);
  EXPECT_FALSE(pressure_.on);
  EXPECT_EQ(pressure_.absence, nullptr);
}

TEST_F(ProxyControlTest, AMappingBecomesALease) {
  insert(kM2);
  ask();
  auto e = w_.cache().find(key(), w_.now);
  ASSERT_TRUE(e);
  EXPECT_EQ(CacheTarget::member, e->target);
  EXPECT_EQ(kM2, e->member);
  EXPECT_LE(e->ends, w_.now + 10s);
  EXPECT_TRUE(resolved(true));
}

// A directory of three, two of which do not answer and the third of which is this node, out of sync.
TEST_F(ProxyControlTest, ARefillThatNobodyAnswersIsAskedForAgain) {
  make_control({{ProxyId{1}, "a"}, {ProxyId{2}, "b"}, {ProxyId{3}, "c"}});
  w_.put(kSession, {.member = kM2, .version = {1, 1, 5}, .ends = w_.now + 10s, .bytes = 10'000});
  auto asks = [&](uint32_t bytes) {
    CacheHit hit;
    SessionKey k = key();
    w_.cache().lookup(&k, &bytes, 1, w_.now, &hit);
    EXPECT_EQ(CacheVerdict::forward, hit.verdict);
    return hit.ask_again;
  };
  ASSERT_TRUE(asks(6'000));
  note({.kind = Note::Kind::ask, .refill = true, .group = kWebGroup, .key = key()});
  EXPECT_FALSE(asks(100)) << "its question is out";
  for (int i = 0; i < 50 && control_->querier().outstanding() > 0; ++i) {
    w_.now += 30ms;
    step();
  }
  ASSERT_EQ(0u, control_->querier().outstanding());
  EXPECT_FALSE(asks(100)) << "not at once";
  w_.now += 600ms;
  EXPECT_TRUE(asks(100));
  EXPECT_EQ(10'000u - 6'300u, w_.cache().find(key(), w_.now)->bytes) << "no bytes came with that";
}

// A directory of one node, here: the packet goes to itself and back, or out to the member.
TEST_F(ProxyControlTest, APacketTravelsWithTheQuestion) {
  const Packet first = ip4(kClient, kWeb).tcp(40000, 443).payload(Packet{1}).build();
  for (bool known : {false, true}) {
    for (QueryForm form : {QueryForm::query_and_forward, QueryForm::query_and_return}) {
      SCOPED_TRACE(testing::Message() << "form " << int(form) << (known ? ", known" : ", unknown"));
      form_ = form;
      make_control({{ProxyId{1}, "a"}});
      w_.cache().remove_negative(key());
      if (known) insert(kM2);
      orders();
      rte_mbuf* m = rte_pktmbuf_alloc(w_.pool());
      std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(first.size())), first.data(), first.size());
      ASSERT_TRUE(link_->note({.kind = Note::Kind::ask, .group = kWebGroup, .key = key(), .packet = m}));
      step();
      const bool forwarded = known && form == QueryForm::query_and_forward;
      std::vector<Order> all(64);
      all.resize(link_->orders(all.data(), all.size()));
      std::vector<Order::Kind> kinds;
      for (const Order& o : all) {
        kinds.push_back(o.kind);
        if (o.kind == Order::Kind::forward) {
          EXPECT_EQ(NodeId::member(kM2), o.to);
          EXPECT_EQ(ProxyId{1}, o.ingress);
        }
        if (o.packet) {
          const uint8_t* at = rte_pktmbuf_mtod(o.packet, const uint8_t*);
          EXPECT_EQ(first, Packet(at, at + o.packet->data_len));
          rte_pktmbuf_free(o.packet);
        }
      }
      EXPECT_EQ((std::vector{forwarded ? Order::Kind::forward : Order::Kind::go_on, Order::Kind::resolved}), kinds);
      auto e = w_.cache().find(key(), w_.now);
      ASSERT_TRUE(e);
      EXPECT_EQ(known ? CacheTarget::member : CacheTarget::negative, e->target);
    }
  }
}

TEST_F(ProxyControlTest, SilentOnlyAfterTheWorkersHaveEndedTheirTurn) {
  insert(kM2);
  ask();
  orders();
  std::vector<RequestAnswer::Status> heard;
  uint64_t looks_before = turns_;
  control_->request(
      Revoke{.id = parse_session_text(kSession), .key = {}, .group = kWebGroup, .duration_ms = 60'000},
      [&](const MessageBody& body) {
        heard.push_back(std::get<RequestAnswer>(body).status);
        if (heard.back() == RequestAnswer::Status::silent) {
          auto e = w_.cache().find(key(), w_.now);
          EXPECT_TRUE(!e || e->target == CacheTarget::drop);
          EXPECT_GE(turns_, looks_before + 2) << "it looked until a turn had ended";
          return true;
        }
        return false;
      },
      w_.now);
  // This node has just started, so it does not know all holders: its word counts when permit and lease cap are over.
  ASSERT_TRUE(w_.cache().find(key(), w_.now));
  EXPECT_EQ(CacheTarget::drop, w_.cache().find(key(), w_.now)->target);
  EXPECT_GE(turns_, looks_before + 3) << "it looked until a turn had ended, before it acknowledged";
  for (int i = 0; i < 150 && heard.size() < 2; ++i) {
    w_.now += 100ms;
    step();
  }
  ASSERT_EQ(2u, heard.size());
  EXPECT_EQ(RequestAnswer::Status::stored, heard[0]);
  EXPECT_EQ(RequestAnswer::Status::silent, heard[1]);
  EXPECT_TRUE(resolved(true)) << "packets that are held meet the tombstone";
}

TEST_F(ProxyControlTest, WhatNoReplicaTakesNowIsAskedAgainForAWhile) {
  make_control({{ProxyId{1}, "a"}, {ProxyId{2}, "b"}, {ProxyId{3}, "c"}});  // the others are silent
  std::vector<RequestAnswer::Status> heard;
  control_->request(
      Unrevoke{.id = parse_session_text(kSession), .key = {}, .group = kWebGroup},
      [&](const MessageBody& body) {
        heard.push_back(std::get<RequestAnswer>(body).status);
        return true;
      },
      w_.now);
  auto pass = [&](int times) {
    for (int i = 0; i < times; ++i) {
      w_.now += 99ms;
      step();
    }
  };
  pass(20);
  EXPECT_TRUE(heard.empty());
  pass(80);
  EXPECT_EQ(heard, std::vector{RequestAnswer::Status::try_again});
}

TEST_F(ProxyControlTest, NotMineDropsTheEntryThatLedThere) {
  struct Row {
    const char* name;
    MemberId sender;
    Version said;
    bool stays;
  };
  for (const Row& row :
       {Row{"the member knows nothing of it", kM1, {}, false}, Row{"the same version", kM1, {1, 1, 5}, false},
        Row{"an older version", kM1, {1, 1, 4}, true}, Row{"another member's word", kM2, {}, true}}) {
    SCOPED_TRACE(row.name);
    w_.cache().remove_if_not_newer(key(), {9, 9, 9}, w_.now);
    w_.now += 11s;  // older leases are kept out for a while after that
    w_.put(kSession, {.member = kM1, .version = {1, 1, 5}});
    note(from_member(Note::Kind::not_mine, row.sender, {.not_mine = row.said}));
    auto e = w_.cache().find(key(), w_.now);
    EXPECT_EQ(row.stays, e && e->target == CacheTarget::member);
  }
}

TEST_F(ProxyControlTest, AMembersLeaseCountsFromTheStampThatItEchoes) {
  struct Row {
    const char* name;
    Stamp echo;
    uint32_t lease_ms;
    bool taken;
    Counter refused = Counter::count;
  };
  uint64_t us = w_.proxy().timestamp_us(w_.now);
  for (const Row& row :
       {Row{"another boot", {w_.proxy().boot() + 1, us}, 5000, false, Counter::lease_refused},
        Row{"from the future", {w_.proxy().boot(), us + 60'000'000}, 5000, false, Counter::lease_refused},
        Row{"over already", {w_.proxy().boot(), us - 100}, 1, false, Counter::lease_over},
        Row{"right, stamped within this step", {w_.proxy().boot(), us + 50'000}, 5000, true}}) {
    make_control({{ProxyId{1}, "a"}});
    SCOPED_TRACE(row.name);
    note(from_member(Note::Kind::lease, kM1, {.lease = LeaseInstruction{{0, 1, 0}, row.lease_ms, 1000, row.echo}}));
    auto e = w_.cache().find(key(), w_.now);
    ASSERT_EQ(row.taken, e.has_value());
    if (!row.taken) { EXPECT_EQ(1u, control_->counter(row.refused)); }
    if (e) {
      EXPECT_EQ(kM1, e->member);
      EXPECT_LE(e->ends, w_.now + 5s - safety_margin(5s));
      EXPECT_EQ(1000u, e->bytes);
    }
  }
}

TEST_F(ProxyControlTest, AMembersLeaseTakesNothingFromOthers) {
  struct Row {
    const char* name;
    CacheEntry there;
    uint16_t term;
  };
  for (const Row& row : {Row{"of another member", {.member = kM2, .version = {0, 1, 0}}, 0},
                         Row{"a tombstone", {.target = CacheTarget::drop, .version = {1, 1, 1}}, 0},
                         Row{"with a term", {.target = CacheTarget::unavailable}, 9}}) {
    SCOPED_TRACE(row.name);
    make_control({{ProxyId{1}, "a"}});
    w_.cache().remove_if_not_newer(key(), {}, w_.now);
    w_.put(kSession, row.there);
    Stamp echo{w_.proxy().boot(), w_.proxy().timestamp_us(w_.now)};
    note(from_member(Note::Kind::lease, kM1, {.lease = LeaseInstruction{{row.term, 5, 0}, 5000, 1000, echo}}));
    EXPECT_EQ(1u, control_->counter(Counter::lease_not_members));
    auto e = w_.cache().find(key(), w_.now);
    ASSERT_TRUE(e);
    EXPECT_EQ(row.there.target, e->target);
    EXPECT_EQ(row.there.member, e->member);
    w_.cache().remove_if_not_newer(key(), {9, 9, 9}, w_.now);
    w_.now += 11s;
  }
}

TEST_F(ProxyControlTest, WhatIsUrgent) {
  MessageHeader h{.request = 1, .origin = NodeId::proxy(ProxyId{1})};
  EXPECT_TRUE(ProxyControl::is_urgent(encode(h, Ack{})));
  EXPECT_TRUE(ProxyControl::is_urgent(encode(h, Purge{key(), kWebGroup, {1, 1, 1}, RecordState::revoked, 1000})));
  EXPECT_FALSE(ProxyControl::is_urgent(encode(h, Unrevoke{std::nullopt, key(), kWebGroup})));
  EXPECT_FALSE(ProxyControl::is_urgent(encode(h, Query{key(), kWebGroup})));
  EXPECT_FALSE(ProxyControl::is_urgent({}));
}

TEST_F(ProxyControlTest, AsksForNextHopsAndSaysWhoIsReachable) {
  unsigned frames = 0;
  for (const Order& o : orders()) frames += o.kind == Order::Kind::frame;
  EXPECT_GE(frames, 2u) << "both gateways, and the members on link";
  const Snapshot& s = board_.newest();
  EXPECT_TRUE(s.peers[0].reachable);
  w_.now += kUnreachableAfter + 100ms;
  step();
  EXPECT_FALSE(board_.newest().peers[0].reachable) << "not heard for a second";
}

}  // namespace
}  // namespace statecast::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new statecast::EalEnvironment(128));
  return RUN_ALL_TESTS();
}
