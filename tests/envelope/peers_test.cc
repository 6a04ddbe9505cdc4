// SPDX-License-Identifier: BSD-3-Clause
// PeerTable as packets meet it: seal and open over the whole table, forgeries, replays, streams, limits, threads.
#include "dataplane/envelope/peers.h"

#include <gtest/gtest.h>

#include <thread>

#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/wire.h"
#include "tests/envelope/net.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

// A proxy and a member that have said hello.
struct Pair {
  Net net{21};
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  Pair() { net.run(1s); }

  std::vector<uint8_t> seal(Host& from, Host& to, PayloadKind kind, const Packet& payload,
                            const EnvelopeOptions& options = {}, uint8_t stream = 0, GroupId group = GroupId{10}) {
    std::vector<uint8_t> d(kEnvelopeSizeMax + payload.size());
    std::copy(payload.begin(), payload.end(), d.begin() + kEnvelopeSizeMax);
    size_t n = from.table->seal(to.id, stream, group, kind, options, from.table->timestamp_us(net.now),
                                Bytes(d).subspan(kEnvelopeSizeMax), MutableBytes(d).first(kEnvelopeSizeMax));
    EXPECT_EQ(n, n == 0 ? 0 : kEnvelopeSizeMin + options_size(options));
    return n == 0 ? std::vector<uint8_t>() : std::vector<uint8_t>(d.end() - ptrdiff_t(n + payload.size()), d.end());
  }
};

const Packet kInner = ip4("198.51.100.7", "203.0.113.10").udp(5000, 53).payload(100).build();

TEST(Peers, WhatIsSealedIsRead) {
  Pair pair;
  EnvelopeOptions options;
  options.replica_hint = ProxyId{3};
  options.admitted = true;
  auto d = pair.seal(pair.p, pair.m, PayloadKind::ipv4, kInner, options, 0, GroupId{0xabcdef});
  Envelope e;
  ASSERT_EQ(pair.m.table->open(d, e), OpenResult::ok);
  EXPECT_EQ(e.sender, pair.p.id);
  EXPECT_EQ(e.group.value, 0xabcdefu);
  EXPECT_EQ(e.stamp, (Stamp{pair.p.table->boot(), pair.p.table->timestamp_us(pair.net.now)}));
  EXPECT_EQ(e.kind, PayloadKind::ipv4);
  EXPECT_EQ(e.options.replica_hint, ProxyId{3});
  EXPECT_TRUE(e.options.admitted);
  EXPECT_FALSE(e.options.forwarded);
  EXPECT_EQ(Packet(e.payload.begin(), e.payload.end()), kInner);
}

TEST(Peers, AMessageIsOneDatagram) {
  Pair pair;
  Packet message(300, 0x20), out(1500);
  size_t n = pair.m.table->seal_message(pair.p.id, 0, pair.m.table->timestamp_us(pair.net.now), message, out);
  EXPECT_EQ(n, kEnvelopeSizeMin + message.size());
  Envelope e;
  ASSERT_EQ(pair.p.table->open(Bytes(out).first(n), e), OpenResult::ok);
  EXPECT_EQ(e.kind, PayloadKind::message);
  EXPECT_EQ(Packet(e.payload.begin(), e.payload.end()), message);
  EXPECT_EQ(pair.m.table->seal_message(pair.p.id, 0, 0, message, MutableBytes(out).first(n - 1)), 0u);
}

TEST(Peers, EachByteFlippedIsRefused) {
  Pair pair;
  for (PayloadKind kind : {PayloadKind::ipv4, PayloadKind::message}) {
    auto d = pair.seal(pair.m, pair.p, kind, kInner, {}, 0, GroupId{0});
    ASSERT_GT(d.size(), kEnvelopeSizeMin + kTaggedInnerBytes);
    Envelope e;
    for (size_t i = 0; i < d.size(); ++i)
      for (uint8_t bit = 1; bit != 0; bit = static_cast<uint8_t>(bit << 1)) {
        if (kind != PayloadKind::message && i >= kEnvelopeSizeMin + kTaggedInnerBytes) continue;
        auto forged = d;
        forged[i] ^= bit;
        OpenResult r = pair.p.table->open(forged, e);
        // Reserved bits are ignored by the parser, but covered by the tag.
        ASSERT_TRUE(r == OpenResult::malformed || r == OpenResult::bad_tag || r == OpenResult::unknown_peer)
            << "byte " << i << ": " << to_string(r);
      }
    for (size_t n = 0; n < d.size(); ++n) ASSERT_NE(pair.p.table->open(Bytes(d).first(n), e), OpenResult::ok) << n;
    EXPECT_EQ(pair.p.table->open(d, e), OpenResult::ok);  // none of this has used its sequence up
  }
}

TEST(Peers, AReplayIsRefusedAndAReflectionToo) {
  Pair pair;
  auto d = pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner);
  Envelope e;
  EXPECT_EQ(pair.p.table->open(d, e), OpenResult::ok);
  EXPECT_EQ(pair.p.table->open(d, e), OpenResult::replayed);
  EXPECT_EQ(pair.m.table->open(d, e), OpenResult::unknown_peer);  // back to its sender
  auto later = pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner);
  EXPECT_EQ(pair.p.table->open(later, e), OpenResult::ok);
  Host& q = pair.net.proxy(2);
  pair.net.run(1s);
  auto for_p = pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner);
  EXPECT_NE(q.table->open(for_p, e), OpenResult::ok);  // at another proxy
  EXPECT_EQ(pair.p.table->open(for_p, e), OpenResult::ok);
}

TEST(Peers, AMalformedOptionCostsItsSequence) {
  // The order is peer, tag, window, then anything else.
  Pair pair;
  auto d = pair.seal(pair.p, pair.m, PayloadKind::message, kInner, {.replica_hint = ProxyId{kId24Max + 1}});
  Envelope e;
  EXPECT_EQ(pair.m.table->open(d, e), OpenResult::malformed);
  EXPECT_EQ(pair.m.table->open(d, e), OpenResult::replayed);
}

TEST(Peers, OptionsAreBounded) {
  Pair pair;
  EnvelopeOptions most;
  most.forward_to = MemberId{3};
  most.lease = LeaseInstruction{};
  most.workload = Workload{};
  EXPECT_EQ(options_size(most) + kAuthOptionSize, kInnerOptionsMax);
  Envelope e;
  EXPECT_EQ(pair.p.table->open(pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner, most), e), OpenResult::ok);
  most.admitted = true;
  EXPECT_TRUE(pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner, most).empty());
  uint8_t small[kEnvelopeSizeMin - 1];
  EXPECT_EQ(pair.m.table->seal(pair.p.id, 0, GroupId{1}, PayloadKind::ipv4, {}, 0, kInner, small), 0u);
}

TEST(Peers, StreamsHaveTheirOwnSequences) {
  Pair pair;
  Envelope e;
  auto d0 = pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner, {}, 0);
  auto d1 = pair.seal(pair.m, pair.p, PayloadKind::ipv4, kInner, {}, 1);
  ASSERT_EQ(pair.p.table->open(d0, e), OpenResult::ok);
  EXPECT_EQ(e.sequence, 1u);
  ASSERT_EQ(pair.p.table->open(d1, e), OpenResult::ok);
  EXPECT_EQ(e.stream, 1);
  EXPECT_GT(e.sequence, 1u);  // keep-alives went before
}

TEST(Peers, Addresses) {
  Pair pair;
  EXPECT_EQ(pair.m.table->endpoint(pair.p.id), pair.p.at);
  EXPECT_EQ(pair.p.table->endpoint(pair.m.id), pair.m.at);
  EXPECT_EQ(pair.p.table->endpoint(NodeId::member(MemberId{8})), std::nullopt);
  Endpoint v6 = *Endpoint::parse("[2001:db8::1]:6081");
  pair.m.table->add(pair.p.id, PairKey{}, v6);  // configuration names another one: keys stay
  EXPECT_EQ(pair.m.table->endpoint(pair.p.id), v6);
  EXPECT_TRUE(pair.m.table->ready(pair.p.id));
}

TEST(Peers, AThousandAreFound) {
  PeerTable t(NodeId::proxy(ProxyId{1}), 1, 2);
  for (uint32_t i = 1; i <= 1000; ++i) t.add(NodeId::member(MemberId{i * 4096}), PairKey{}, std::nullopt);
  for (uint32_t i = 1; i <= 1000; ++i) {
    EXPECT_TRUE(t.contains(NodeId::member(MemberId{i * 4096})));
    EXPECT_FALSE(t.contains(NodeId::proxy(ProxyId{i * 4096})));
    EXPECT_FALSE(t.contains(NodeId::member(MemberId{i * 4096 + 1})));
  }
  EXPECT_FALSE(t.contains(NodeId{}));
}

TEST(Peers, ThreadsSealAndOpenWhileControlAdds) {
  // Under TSan: two workers seal to and open from a member while the control thread adds peers and says hellos.
  Net net(22);
  Host& m = net.member(7);
  Host& p = net.proxy(1);
  net.run(1s);
  std::atomic<bool> stop{false};
  std::atomic<int> opened{0};
  std::thread worker([&] {
    std::vector<uint8_t> d(kEnvelopeSizeMin + kInner.size());
    std::copy(kInner.begin(), kInner.end(), d.begin() + kEnvelopeSizeMin);
    while (!stop) {
      Bytes payload = Bytes(d).subspan(kEnvelopeSizeMin);
      Envelope e;
      size_t n = m.table->seal(p.id, 0, GroupId{1}, PayloadKind::ipv4, {}, 1, payload,
                               MutableBytes(d).first(kEnvelopeSizeMin));
      if (n != 0 && p.table->open(d, e) == OpenResult::ok) {
        p.table->heard(e, m.at, Instant(1h));
        opened += p.table->newest_stamp(m.id).boot == m.table->boot() && p.table->endpoint(m.id).has_value();
      }
    }
  });
  for (uint32_t i = 100; i < 400; ++i) {
    p.table->add(NodeId::member(MemberId{i}), PairKey{}, std::nullopt);
    if (i % 20 == 0) net.run(kRehelloPeriod / 4);
  }
  while (opened < 1000) std::this_thread::yield();
  stop = true;
  worker.join();
  EXPECT_TRUE(net.talk(m, p));
}

}  // namespace
}  // namespace statecast::test
