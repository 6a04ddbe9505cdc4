// SPDX-License-Identifier: BSD-3-Clause
// The worker's loop on in-memory ports: frames are put into a ring, one turn, and what it sent is taken out again.
#include "dataplane/worker/worker.h"

#include <rte_ring.h>

#include <cstring>

#include "dataplane/worker/ports.h"
#include "tests/support/eal.h"
#include "tests/worker/world.h"

namespace statecast::test {
namespace {

constexpr char kClient[] = "198.51.100.7", kWeb[] = "203.0.113.10";
Instant fake_now;

class WorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint16_t p : {kWan, kUnder}) {
      // net_ring's port sends into the very ring that it receives from; the test empties it after each turn.
      std::string name = "net_ring" + std::to_string(p);
      rings_[p] = rte_ring_lookup(("ETH_RXTX0_" + name).c_str());
      if (!rings_[p]) {
        auto port = start_port({.device = name}, 1, w_.pool());
        ASSERT_TRUE(port) << port.error().message;
        rings_[p] = rte_ring_lookup(("ETH_RXTX0_" + name).c_str());
      }
      ASSERT_TRUE(rings_[p]);
    }
    board_.publish(std::make_unique<Snapshot>(w_.snapshot()));
    link_ = WorkerLink::create("test" + std::to_string(++links_), &wakeup_, [](Bytes m) { return m[0] == 1; }).value();
    w_.cache().unregister_reader(0);  // the worker registers
    start(0);
  }
  // Group 10 from now on sends packets along with questions.
  void travel() {
    auto layout = std::make_shared<Layout>(*w_.layout());
    for (Group& g : layout->groups) g.packet_travels = g.id == GroupId{10};
    auto next = std::make_unique<Snapshot>(w_.snapshot());
    next->layout = layout;
    board_.publish(std::move(next));
  }
  void start(int under_queue) {
    worker_.reset();
    WorkerSetup setup;
    setup.ports = {{.port = kWan, .rx_queue = 0}, {.port = kUnder, .rx_queue = under_queue}};
    setup.board = &board_;
    setup.cache = &w_.cache();
    setup.peers = &w_.proxy();
    setup.link = link_.get();
    setup.misses = {.packets = 64, .packets_per_group = 32};
    setup.clock = [] { return fake_now; };
    fake_now = w_.now;
    worker_ = Worker::create(setup).value();
  }
  void TearDown() override {
    worker_.reset();
    link_.reset();
    w_.cache().register_reader(0);
    EXPECT_EQ(free_before_, rte_mempool_avail_count(w_.pool())) << "a packet was lost or kept";
  }

  void receive(const In& in) {
    rte_mbuf* m = rte_pktmbuf_alloc(w_.pool());
    std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(in.frame.size())), in.frame.data(), in.frame.size());
    ASSERT_EQ(0, rte_ring_enqueue(rings_[in.port], m));
  }
  std::vector<Packet> sent(uint16_t port) {
    std::vector<Packet> frames;
    for (void* p = nullptr; rte_ring_dequeue(rings_[port], &p) == 0;) {
      auto* m = static_cast<rte_mbuf*>(p);
      const uint8_t* at = rte_pktmbuf_mtod(m, const uint8_t*);
      frames.emplace_back(at, at + m->data_len);
      rte_pktmbuf_free(m);
    }
    return frames;
  }
  std::vector<Note> notes() {
    std::vector<Note> all(64);
    all.resize(link_->take(all.data(), all.size()));
    for (Note& n : all) link_->release(n);
    return all;
  }
  uint64_t count(Counter c) { return worker_->counters().get(c); }
  Packet data(uint8_t n) { return eth().ip4(kClient, kWeb).tcp(40000, 443).payload(Packet{n}).build(); }

  World w_;
  SnapshotBoard board_{1};
  Wakeup wakeup_;
  std::unique_ptr<WorkerLink> link_;
  std::unique_ptr<Worker> worker_;
  rte_ring* rings_[2] = {};
  unsigned free_before_ = rte_mempool_avail_count(w_.pool());
  static unsigned links_;
};
unsigned WorkerTest::links_ = 0;

TEST_F(WorkerTest, HeldPacketsAreSentInOrderOnceTheDirectoryHasAnswered) {
  for (uint8_t n : {1, 2, 3}) receive({data(n)});
  worker_->turn();
  EXPECT_EQ(3u, worker_->held());
  auto asked = notes();
  ASSERT_EQ(1u, asked.size()) << "one question per session";
  EXPECT_EQ(Note::Kind::ask, asked[0].kind);
  EXPECT_EQ(10u, asked[0].group.value);
  EXPECT_EQ(w_.key_of("10 tcp 198.51.100.7:40000 203.0.113.10:443"), asked[0].key);

  w_.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM2, .version = {1, 1, 1}});
  link_->resolved(asked[0].key, true);
  worker_->turn();
  auto out = sent(kUnder);
  ASSERT_EQ(3u, out.size());
  for (uint8_t n : {1, 2, 3}) {
    Envelope e;
    ASSERT_EQ(OpenResult::ok, w_.open_at(kM2, out[n - 1u], e));
    EXPECT_EQ(n, e.payload.back());
  }
  EXPECT_EQ(0u, worker_->held());
  EXPECT_EQ(3u, count(Counter::resolve_hold_query));
  EXPECT_EQ(3u, count(Counter::resolve_forward_cache_hit));
}

// More than a burst waits: up to four overlap in a turn, and every packet still goes once, in order.
TEST_F(WorkerTest, FullBurstsOverlap) {
  constexpr unsigned kMost = Worker::kBurstsPerTurn * kBurstMax;
  start(-1);  // else it would receive what it has sent in the same turn
  w_.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM1});
  for (unsigned waiting : {1u, 31u, 32u, 33u, 64u, 65u, kMost - 1, kMost, kMost + 1, kMost + 40}) {
    SCOPED_TRACE(waiting);
    const uint64_t before = count(Counter::resolve_forward_cache_hit);
    for (unsigned n = 0; n < waiting; ++n) receive({data(static_cast<uint8_t>(n))});
    std::vector<Packet> all;
    for (unsigned turns = 1; turns <= waiting / kMost + 1; ++turns) {
      worker_->turn();
      for (Packet& p : sent(kUnder)) all.push_back(std::move(p));
      EXPECT_EQ(all.size(), std::min(waiting, turns * kMost));
    }
    ASSERT_EQ(all.size(), waiting);
    for (unsigned n = 0; n < waiting; ++n) {
      Envelope e;
      ASSERT_EQ(w_.open_at(kM1, all[n], e), OpenResult::ok);
      EXPECT_EQ(e.payload.back(), static_cast<uint8_t>(n)) << "packet " << n;
    }
    EXPECT_EQ(count(Counter::resolve_forward_cache_hit) - before, waiting);
  }
}

// The first packet travels with the question, those behind it are held, and all leave in order.
TEST_F(WorkerTest, APacketThatTravelledGoesOnBeforeThoseThatWereHeld) {
  travel();
  for (uint8_t n : {1, 2, 3}) receive({data(n)});
  worker_->turn();
  Note asked[2];
  ASSERT_EQ(1u, link_->take(asked, 2));
  const Packet away(note_bytes(asked[0]).begin(), note_bytes(asked[0]).end());
  EXPECT_EQ(hex(ip4(kClient, kWeb).tcp(40000, 443).payload(Packet{1}).build()), hex(away)) << "bare";
  link_->release(asked[0]);

  w_.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM2, .version = {1, 1, 1}});
  link_->go_on(away);
  link_->resolved(asked[0].key, true);
  worker_->turn();
  auto out = sent(kUnder);
  ASSERT_EQ(3u, out.size());
  for (uint8_t n : {1, 2, 3}) {
    Envelope e;
    ASSERT_EQ(OpenResult::ok, w_.open_at(kM2, out[n - 1u], e));
    EXPECT_EQ(n, e.payload.back());
  }
  EXPECT_EQ(0u, worker_->held());
  EXPECT_EQ(3u, count(Counter::resolve_forward_cache_hit));
}

TEST_F(WorkerTest, WhatTravelsOrWaitsBehindItEndsToo) {
  travel();
  receive({data(1)});
  receive({data(2)});
  worker_->turn();
  auto asked = notes();
  ASSERT_EQ(1u, asked.size());
  link_->resolved(asked[0].key, false);
  worker_->turn();
  EXPECT_EQ(1u, count(Counter::resolve_drop_miss_timeout)) << "the one that waited";
  receive({data(3)});
  worker_->turn();
  EXPECT_EQ(1u, notes().size());
  fake_now += 3s;
  worker_->turn();
  EXPECT_EQ(0u, worker_->held());
  EXPECT_EQ(1u, count(Counter::resolve_drop_miss_timeout)) << "nothing was here";
}

TEST_F(WorkerTest, ALargePacketIsHeldWhateverTheForm) {
  travel();
  const size_t most = kTravelBytesMax - 20 - 20;
  for (size_t size : {most, most + 1}) {
    const uint16_t port = static_cast<uint16_t>(41'000 + size);
    receive({eth().ip4(kClient, kWeb).tcp(port, 443).payload(Packet(size)).build()});
    worker_->turn();
    Note asked[2];
    ASSERT_EQ(1u, link_->take(asked, 2));
    EXPECT_EQ(size == most, asked[0].packet != nullptr) << size;
    link_->release(asked[0]);
    link_->resolved(asked[0].key, false);
    worker_->turn();
  }
}

TEST_F(WorkerTest, AnotherProxysPacketGoesToTheMemberAndNamesWhereItCameIn) {
  const Packet inner = ip4(kClient, kWeb).tcp(40000, 443).payload(Packet{9}).build();
  link_->forward(kM2, GroupId{10}, ProxyId{2}, inner);
  link_->forward(MemberId{99}, GroupId{10}, ProxyId{2}, inner);
  worker_->turn();
  auto out = sent(kUnder);
  ASSERT_EQ(1u, out.size());
  Envelope e;
  ASSERT_EQ(OpenResult::ok, w_.open_at(kM2, out[0], e));
  EXPECT_EQ(hex(inner), hex(e.payload));
  EXPECT_EQ(GroupId{10}, e.group);
  EXPECT_EQ(PayloadKind::ipv4, e.kind);
  EXPECT_EQ(ProxyId{2}, e.options.ingress);
  EXPECT_EQ(1u, count(Counter::control_packet_forwarded));
  EXPECT_EQ(1u, count(Counter::control_drop_no_peer));
}

TEST_F(WorkerTest, ASecondMissIsNotHeldAgain) {
  receive({data(1)});
  worker_->turn();
  link_->resolved(notes().at(0).key, true);  // the lease was over before it could be used
  worker_->turn();
  EXPECT_EQ(0u, worker_->held());
  EXPECT_EQ(1u, count(Counter::resolve_drop_miss_timeout));
}

TEST_F(WorkerTest, UnansweredMissesEnd) {
  receive({data(1)});
  worker_->turn();
  link_->resolved(notes().at(0).key, false);
  worker_->turn();
  EXPECT_EQ(1u, count(Counter::resolve_drop_miss_timeout));
  receive({data(2)});
  worker_->turn();
  fake_now += 3s;  // and nobody says anything
  worker_->turn();
  EXPECT_EQ(0u, worker_->held());
  EXPECT_EQ(2u, count(Counter::resolve_drop_miss_timeout));
  notes();
}

TEST_F(WorkerTest, MoreThanFourPacketsOfASession) {
  for (uint8_t n = 0; n < 6; ++n) receive({data(n)});
  worker_->turn();
  EXPECT_EQ(4u, worker_->held());
  EXPECT_EQ(4u, count(Counter::resolve_hold_query));
  EXPECT_EQ(2u, count(Counter::resolve_drop_miss_full));
  EXPECT_EQ(6u, count(Counter::rx_packets));
}

TEST_F(WorkerTest, NothingIsHeldThatNobodyWasAskedAbout) {
  while (link_->note({.kind = Note::Kind::want_neighbour})) {}
  receive({data(1)});
  worker_->turn();
  EXPECT_EQ(0u, worker_->held()) << "the question found no room";
  EXPECT_EQ(1u, count(Counter::resolve_drop_miss_full));
  EXPECT_EQ(1u, count(Counter::control_drop_mailbox_full));
  EXPECT_EQ(0u, count(Counter::miss_asked));
  while (!notes().empty()) {}
  receive({data(2)});
  worker_->turn();
  EXPECT_EQ(1u, worker_->held());
  EXPECT_EQ(1u, notes().size()) << "the next packet asks";
}

TEST_F(WorkerTest, NotMineComesBackMarkedForwarded) {
  Packet inner = ip4(kClient, kWeb).tcp(40000, 443).payload(9).build();
  receive(w_.from_member(kM1, GroupId{10}, inner, {.not_mine = Version{1, 2, 3}}));
  worker_->turn();
  auto told = notes();
  ASSERT_EQ(1u, told.size());
  EXPECT_EQ(Note::Kind::not_mine, told[0].kind);
  EXPECT_EQ(NodeId::member(kM1), told[0].sender);
  EXPECT_EQ((Version{1, 2, 3}), told[0].envelope.options.not_mine);
  w_.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM2, .version = {2, 1, 1}});
  link_->resolved(told[0].key, true);
  worker_->turn();
  auto out = sent(kUnder);
  ASSERT_EQ(1u, out.size());
  Envelope e;
  ASSERT_EQ(OpenResult::ok, w_.open_at(kM2, out[0], e));
  EXPECT_TRUE(e.options.forwarded);
  EXPECT_EQ(hex(inner), hex(e.payload));
}

TEST_F(WorkerTest, OrdersOfTheControlThread) {
  Packet message = {9, 8, 7}, frame = Packet(60, 0x55);
  link_->send_message(NodeId::member(kM1), message, Urgency::normal);
  link_->send_message(NodeId::member(MemberId{99}), message, Urgency::normal);
  link_->send_frame(kWan, frame);
  Packet entry = ip4(kWeb, kClient).tcp(443, 40000, kSyn | kAck).build();
  link_->deliver(GroupId{10}, entry);
  link_->deliver(GroupId{20}, entry);  // its source is no address of that group
  worker_->turn();
  auto under = sent(kUnder), wan = sent(kWan);
  ASSERT_EQ(1u, under.size());
  Envelope e;
  ASSERT_EQ(OpenResult::ok, w_.open_at(kM1, under[0], e));
  EXPECT_EQ(hex(message), hex(e.payload));
  ASSERT_EQ(2u, wan.size());
  EXPECT_EQ(hex(frame), hex(wan[0]));
  EXPECT_EQ(hex(with_ethernet(kGatewayMac, kWanMac, entry)), hex(wan[1]));
  EXPECT_EQ(1u, count(Counter::control_drop_no_peer));
  EXPECT_EQ(1u, count(Counter::open_drop_wrong_source));
}

// Messages and packets to one member share a stream: however many messages go, the packets behind them are new.
TEST_F(WorkerTest, PacketsComeBehindManyMessages) {
  w_.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM1});
  const Packet message = {9, 8, 7};
  uint64_t last = 0;
  auto all_new = [&] {
    for (const Packet& frame : sent(kUnder)) {
      Envelope e;
      ASSERT_EQ(OpenResult::ok, w_.open_at(kM1, frame, e));
      ASSERT_GT(e.sequence, last);
      last = e.sequence;
    }
  };
  for (int round = 0; round < 50; ++round) {
    receive({data(1)});
    worker_->turn();
    all_new();
    for (int i = 0; i < 30; ++i) link_->send_message(NodeId::member(kM1), message, Urgency::normal);
    worker_->turn();
    all_new();
  }
  EXPECT_EQ(50u, count(Counter::resolve_forward_cache_hit));
}

TEST_F(WorkerTest, UrgentNotesComeFirst) {
  // Messages are urgent here if they start with 1.
  Packet slow = {2, 2, 2, 2}, fast = {1, 1, 1, 1};
  auto note = [&](const Packet& m) {
    Note n{.kind = Note::Kind::message};
    n.envelope.payload = m;
    return n;
  };
  link_->note(note(slow));
  link_->note(note(fast));
  Note first, second;
  ASSERT_EQ(1u, link_->take(&first, 1));
  ASSERT_EQ(1u, link_->take(&second, 1));
  EXPECT_EQ(1, first.envelope.payload[0]);
  EXPECT_EQ(2, second.envelope.payload[0]);
}

TEST_F(WorkerTest, SnapshotsAreFreedOnceLoadedPast) {
  board_.publish(std::make_unique<Snapshot>(w_.snapshot()));
  EXPECT_EQ(2u, board_.kept()) << "the worker still has the first";
  worker_->turn();
  board_.publish(std::make_unique<Snapshot>(w_.snapshot()));
  EXPECT_EQ(2u, board_.kept());
  uint64_t turns = worker_->turns();
  worker_->turn();
  EXPECT_EQ(turns + 1, worker_->turns());
}

}  // namespace
}  // namespace statecast::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new statecast::EalEnvironment(128));
  return RUN_ALL_TESTS();
}
