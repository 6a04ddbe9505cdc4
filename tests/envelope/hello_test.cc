// SPDX-License-Identifier: BSD-3-Clause
// Hello and path: pairs and small fleets on a bad network, restarts, replays, NAT.
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "tests/envelope/net.h"

namespace statecast::test {
namespace {

uint8_t message_type(const Wire& w) {
  return w.bytes.size() > kEnvelopeSizeMin ? w.bytes[kEnvelopeSizeMin] : 0;
}
uint8_t key_epoch(const Wire& w) {
  return w.bytes[8 + 13];
}
bool is_hello(const Wire& w) {
  return key_epoch(w) == 0;
}

TEST(Hello, MemberAndProxyTalkAfterTwoRoundTrips) {
  Net net(1);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  EXPECT_FALSE(net.data(m, p, "too early"));
  net.run(26ms);  // five trips of 5 ms
  EXPECT_TRUE(m.table->ready(p.id));
  EXPECT_TRUE(p.table->ready(m.id));
  EXPECT_EQ(p.table->endpoint(m.id), m.at);
  EXPECT_TRUE(net.talk(m, p));
}

TEST(Hello, ProxiesTalk) {
  Net net(1);
  Host& a = net.proxy(1);
  Host& b = net.proxy(2);
  net.run(1s);
  EXPECT_TRUE(net.talk(a, b));
  EXPECT_EQ(b.table->rtt(a.id), 10ms);
  EXPECT_EQ(a.table->rtt(b.id), 10ms);
}

struct NetworkRow {
  const char* name;
  double loss, duplicate;
  Duration delay, jitter;
  Duration patience;
};
const NetworkRow kNetworks[] = {
    {"clean", 0, 0, 5ms, 0ms, 200ms},
    {"far", 0, 0, 150ms, 0ms, 1500ms},
    {"reordering", 0, 0, 1ms, 60ms, 1s},
    {"duplicating", 0, 0.9, 1ms, 20ms, 1s},
    {"losing a third", 0.33, 0.1, 5ms, 5ms, 8s},
    {"losing half", 0.5, 0.3, 20ms, 30ms, 30s},
};

TEST(Hello, SucceedsOnBadNetworks) {
  for (const NetworkRow& row : kNetworks) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      SCOPED_TRACE(std::string(row.name) + " seed " + std::to_string(seed));
      Net net(seed);
      net.loss = row.loss;
      net.duplicate = row.duplicate;
      net.delay = row.delay;
      net.jitter = row.jitter;
      Host& a = net.proxy(1);
      Host& b = net.proxy(2);
      Host& m = net.member(7);
      net.run(row.patience);
      net.loss = 0;
      net.run(4 * (row.delay + row.jitter) + 300ms);  // keep-alives complete what was half done
      EXPECT_TRUE(net.talk(a, b));
      EXPECT_TRUE(net.talk(m, a));
      EXPECT_TRUE(net.talk(m, b));
    }
  }
}

struct RestartRow {
  const char* name;
  bool first, second;
};
const RestartRow kRestarts[] = {{"proxy", true, false}, {"other side", false, true}, {"both", true, true}};

TEST(Hello, RestartRecoversWithinASecondAndOldEnvelopesStayDead) {
  for (bool with_member : {true, false}) {
    for (const RestartRow& row : kRestarts) {
      SCOPED_TRACE(std::string(row.name) + (with_member ? ", member" : ", proxies"));
      Net net(3);
      Host& p = net.proxy(1);
      Host& o = with_member ? net.member(7) : net.proxy(2);
      net.run(1s);
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(net.talk(p, o));
      auto old = net.sent;
      if (row.first) net.restart(p);
      if (row.second) net.restart(o);
      net.run(1s);
      EXPECT_TRUE(net.talk(p, o));
      // Everything recorded so far, hellos too, again and again while the hosts work: nothing of it counts.
      size_t got_p = p.got.size(), got_o = o.got.size();
      for (int round = 0; round < 5; ++round) {
        for (const Wire& w : old) net.inject(w);
        net.run(50ms);
      }
      EXPECT_EQ(p.got.size(), got_p);
      EXPECT_EQ(o.got.size(), got_o);
      EXPECT_TRUE(net.talk(p, o));
    }
  }
}

TEST(Hello, RecordedHellosAtARateStopNothing) {
  for (bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    Net net(5);
    Host& p = net.proxy(1);
    Host& m = net.member(7);
    std::vector<Wire> hellos;
    for (int boots = 0; boots < 12; ++boots) {  // of many starts of the member
      net.run(1s);
      net.restart(m);
    }
    net.run(1s);
    for (const Wire& w : net.sent)
      if (is_hello(w)) hellos.push_back(w);
    ASSERT_GT(hellos.size(), 30u);
    ASSERT_TRUE(net.talk(m, p));
    if (restarted) net.restart(p);
    // 12,000 recordings a second, from where they were and from elsewhere, over two seconds.
    Endpoint attacker = *Endpoint::parse("192.0.2.66:6081");
    for (int i = 0; i < 2000; ++i) {
      for (int k = 0; k < 12; ++k) {
        Wire w = hellos[static_cast<size_t>(i * 12 + k) % hellos.size()];
        if (k % 2) w.from = attacker;
        net.inject(w);
      }
      if (i == 700) net.restart(m);  // a genuine hello in the middle
      if (i == 1400 && restarted) net.restart(p);
      net.run(1ms);
      if (i == 690 || i == 1390 || i == 1990) {
        EXPECT_TRUE(net.talk(m, p)) << i;
        EXPECT_EQ(p.table->endpoint(m.id), m.at);
      }
    }
  }
}

TEST(Hello, AHelloAgainKeepsPacketsFlowing) {
  // Ten minutes of keep-alives, then new keys; no packet is lost on the way.
  Net net(6);
  net.jitter = 4ms;
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  net.run(1s);
  std::vector<uint8_t> epochs;
  net.run(kRehelloPeriod - 3s);
  size_t before = p.got.size();
  int sent = 0;
  for (; sent < 6000; ++sent) {
    ASSERT_TRUE(net.data(m, p, "x"));
    if (epochs.empty() || epochs.back() != key_epoch(net.sent.back())) epochs.push_back(key_epoch(net.sent.back()));
    net.run(1ms);
  }
  net.run(20ms);
  EXPECT_EQ(epochs.size(), 2u);
  EXPECT_EQ(p.got.size() - before, static_cast<size_t>(sent));
}

TEST(Hello, ManyHellosGoRoundTheEpochs) {
  Net net(7);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  for (int i = 0; i < 300; ++i) {
    net.restart(i % 3 ? m : p);
    net.run(1s);
    ASSERT_TRUE(net.talk(p, m)) << i;
  }
}

TEST(Hello, RateToASilentProxyIsBounded) {
  Net net(8);
  Host& p = net.proxy(1);
  net.member(7);
  p.running = false;
  net.run(10s);
  EXPECT_LE(net.sent.size(), 33u);
  EXPECT_GE(net.sent.size(), 18u);
  p.running = true;
  net.restart(p);
  net.run(1s);
  EXPECT_TRUE(p.table->ready(NodeId::member(MemberId{7})));
}

TEST(Hello, JunkInAMembersNameStartsAtMostOneHelloASecond) {
  Net net(9);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  m.running = false;
  net.run(1s);
  size_t before = net.sent.size();
  Wire junk{*Endpoint::parse("192.0.2.66:1234"), p.at, std::vector<uint8_t>(100)};
  for (const Wire& w : net.sent)
    if (w.to == p.at) junk.bytes = w.bytes;
  junk.bytes[8 + 13] = 9;  // an epoch without keys
  for (int i = 0; i < 3000; ++i) {
    net.inject(junk);
    net.run(1ms);
  }
  EXPECT_LE(net.sent.size() - before, 4u);
  m.running = true;
  net.run(1s);
  EXPECT_TRUE(net.talk(m, p));
}

TEST(Path, NatRebindingIsFollowedAfterAChallenge) {
  Net net(10);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  net.run(1s);
  Endpoint before = m.at, after = *Endpoint::parse("10.9.9.9:40000");
  m.at = after;
  bool challenged = false;
  net.drops = [&](const Wire& w) {
    if (w.to == after && message_type(w) == uint8_t(PathType::challenge)) challenged = true;
    if (w.from == after && message_type(w) == uint8_t(PathType::challenge_echo)) {
      EXPECT_EQ(p.table->endpoint(m.id), before);  // no data before the echo is there
    }
    return false;
  };
  net.run(600ms);
  EXPECT_TRUE(challenged);
  EXPECT_EQ(p.table->endpoint(m.id), after);
  EXPECT_TRUE(net.talk(m, p));
}

TEST(Path, WithoutTheEchoNothingMoves) {
  Net net(11);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  net.run(1s);
  Endpoint before = m.at;
  m.at = *Endpoint::parse("10.9.9.9:40000");
  net.drops = [&](const Wire& w) { return message_type(w) == uint8_t(PathType::challenge_echo); };
  net.run(600ms);
  EXPECT_EQ(p.table->endpoint(m.id), before);
  net.drops = nullptr;
  net.run(600ms);
  EXPECT_EQ(p.table->endpoint(m.id), m.at);
}

TEST(Path, AnAttackerElsewhereMovesNothing) {
  // He sees everything, delivers copies first and from his own address, and answers nothing but with what he saw.
  Net net(12);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  net.run(1s);
  Endpoint attacker = *Endpoint::parse("192.0.2.66:6081");
  Endpoint genuine = m.at;
  size_t seen = 0;
  bool in_front = false;
  net.drops = [&](const Wire& w) {
    if (in_front || w.from != genuine || is_hello(w)) return false;
    in_front = true;
    Wire copy = w;
    copy.from = attacker;
    net.inject(copy);
    in_front = false;
    ++seen;
    return false;
  };
  for (int i = 0; i < 2000; ++i) {
    net.run(1ms);
    ASSERT_EQ(p.table->endpoint(m.id), genuine);
  }
  EXPECT_GE(seen, 8u);
  net.drops = nullptr;
  // And later all of it again.
  auto old = net.sent;
  for (Wire w : old) {
    w.from = attacker;
    net.inject(w);
    ASSERT_EQ(p.table->endpoint(m.id), genuine);
  }
  net.run(1s);
  EXPECT_TRUE(net.talk(m, p));
}

TEST(Path, PassingHellosOnMakesNobodyTheMember) {
  // The proxy has no keys yet. Somebody sends junk in the member's name, gets the proxy's hello for it, and carries it
  // to the member and the answers back, all from an address of his own.
  Net net(15);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  Endpoint attacker = *Endpoint::parse("192.0.2.66:6081"), genuine = m.at;
  net.run(1s);
  Wire junk;
  for (const Wire& w : net.sent)
    if (w.to == p.at && !is_hello(w)) junk = w;
  junk.from = attacker;
  p.running = m.running = false;
  net.run(1s);
  net.restart(p);
  p.running = true;
  int carried = 0;
  m.at = *Endpoint::parse("10.9.9.9:1");  // so that nothing but his copies reaches it for now
  net.drops = [&](const Wire& w) {
    if (w.to == attacker) {
      ++carried;
      m.at = genuine;
      m.running = true;
      net.inject(w.from == p.at ? Wire{attacker, genuine, w.bytes} : Wire{attacker, p.at, w.bytes});
    }
    EXPECT_NE(p.table->endpoint(m.id), attacker);
    return false;
  };
  net.inject(junk);
  net.run(100ms);
  EXPECT_EQ(carried, 1);
  EXPECT_EQ(p.table->endpoint(m.id), genuine);
  EXPECT_TRUE(net.talk(m, p));
}

TEST(Path, RoundTripsAreMeasuredOnBothSides) {
  Net net(13);
  net.delay = 20ms;
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  EXPECT_EQ(m.table->rtt(p.id), Duration::max());
  net.run(2s);
  EXPECT_EQ(m.table->rtt(p.id), 40ms);
  EXPECT_EQ(p.table->rtt(m.id), 40ms);
  net.delay = 30ms;
  net.run(20s);
  EXPECT_NEAR(double(m.table->rtt(p.id).count()), 60e6, 1e6);
}

TEST(Path, StampsAndHearing) {
  Net net(14);
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  EXPECT_EQ(m.table->newest_stamp(p.id), Stamp{});
  EXPECT_EQ(m.table->last_heard(p.id), Instant{});
  net.run(1s);
  EXPECT_EQ(m.table->newest_stamp(p.id).boot, p.table->boot());
  EXPECT_GT(m.table->newest_stamp(p.id).timestamp_us, p.table->timestamp_us(net.now - 300ms));
  EXPECT_GT(m.table->last_heard(p.id), net.now - 300ms);
  net.restart(p);
  net.run(1s);
  EXPECT_EQ(m.table->newest_stamp(p.id).boot, p.table->boot());
  EXPECT_LE(m.table->newest_stamp(p.id).timestamp_us, p.table->timestamp_us(net.now));
  p.running = false;
  Instant died = net.now;
  net.run(2s);
  EXPECT_LE(m.table->last_heard(p.id), died + 10ms);
}

}  // namespace
}  // namespace statecast::test
