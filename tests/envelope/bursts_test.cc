// SPDX-License-Identifier: BSD-3-Clause
// What bursts do at once, held against the one-by-one way: SealBurst against PeerTable::open and its tags,
// FrameBurst and OuterTemplateV4 against write_outer. Random sizes, options, groups and peers; the seed is printed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/avx512.h"
#include "base/rng.h"
#include "dataplane/envelope/data_tags.h"
#include "dataplane/envelope/frame_burst.h"
#include "tests/envelope/net.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

uint64_t seed() {
  const char* given = std::getenv("SEED");
  return given ? std::strtoull(given, nullptr, 10) : 20261126;
}

struct Sent {
  Host* to;
  GroupId group;
  PayloadKind kind;
  EnvelopeOptions options;
  Packet payload;
  std::vector<uint8_t> buffer;  // room, header, payload
  size_t size = 0;

  Bytes datagram() const {
    constexpr size_t kRoom = 128;
    return Bytes(buffer).subspan(kRoom - size, size + payload.size());
  }
};

EnvelopeOptions random_options(Rng& rng) {
  EnvelopeOptions o;
  if (rng.chance(0.5)) return o;
  if (rng.chance(0.5)) o.replica_hint = ProxyId{static_cast<uint32_t>(rng.between(1, kId24Max))};
  if (rng.chance(0.3)) o.ingress = ProxyId{static_cast<uint32_t>(rng.between(1, kId24Max))};
  o.admitted = rng.chance(0.3);
  o.forwarded = rng.chance(0.3);
  return o;
}

TEST(SealBurst, SealsAsOneByOne) {
  SCOPED_TRACE("SEED=" + std::to_string(seed()));
  Rng rng(seed());
  Net net{22};
  Host& p = net.proxy(1);
  Host* members[] = {&net.member(7), &net.member(8), &net.member(9)};
  net.run(1s);
  constexpr uint8_t kStream = 0;
  constexpr size_t kRoom = 128;
  uint64_t last_sequence[3] = {};
  for (int round = 0; round < 300; ++round) {
    if (round % 100 == 99) net.run(kRehelloPeriod);  // new keys: the copies of the old ones know it
    SealBurst seals(*p.table, kStream, p.table->timestamp_us(net.now));
    SendKeys keys[3];
    for (size_t m = 0; m < 3; ++m) p.table->renew(keys[m], members[m]->id, kStream);
    std::vector<Sent> sent(rng.below(SealBurst::kMost + 1));
    std::vector<size_t> to(sent.size());
    for (size_t i = 0; i < sent.size(); ++i) {
      Sent& s = sent[i];
      to[i] = rng.below(3);
      s = {members[to[i]],
           GroupId{static_cast<uint32_t>(rng.between(1, kId24Max))},
           rng.chance(0.5) ? PayloadKind::ipv4 : PayloadKind::ipv6,
           random_options(rng),
           Packet(rng.chance(0.5) ? rng.between(1, 70) : rng.between(1, 1400)),
           {}};
      rng.fill(s.payload);
      s.buffer.resize(kRoom + s.payload.size() + kTaggedInnerBytes);
      std::copy(s.payload.begin(), s.payload.end(), s.buffer.begin() + kRoom);
      ASSERT_TRUE(keys[to[i]].fresh());
      const uint64_t sequence = keys[to[i]].take();
      const size_t extra = options_size(s.options);
      s.size = kEnvelopeSizeMin + extra;
      seals.add(keys[to[i]], sequence, s.group, s.kind, extra == 0 ? nullptr : &s.options, extra, s.payload.size(),
                s.buffer.data() + kRoom);
    }
    seals.finish();
    for (size_t i = 0; i < sent.size(); ++i) {
      const Sent& s = sent[i];
      Envelope e;
      ASSERT_EQ(s.to->table->open(s.datagram(), e), OpenResult::ok) << "round " << round << ", packet " << i;
      EXPECT_EQ(e.sender, p.id);
      EXPECT_EQ(e.group.value, s.group.value);
      EXPECT_EQ(e.kind, s.kind);
      EXPECT_EQ(e.stamp, (Stamp{p.table->boot(), p.table->timestamp_us(net.now)}));
      EXPECT_EQ(e.options.replica_hint, s.options.replica_hint);
      EXPECT_EQ(e.options.ingress, s.options.ingress);
      EXPECT_EQ(e.options.admitted, s.options.admitted);
      EXPECT_EQ(e.options.forwarded, s.options.forwarded);
      EXPECT_EQ(Packet(e.payload.begin(), e.payload.end()), s.payload);
      EXPECT_GT(e.sequence, last_sequence[to[i]]);
      last_sequence[to[i]] = e.sequence;
    }
  }
}

// Machines differ in which of the two they use; what a plain envelope's tag is they agree on.
TEST(DataTags, LanesSayWhatCopiesSay) {
  if (!avx512::available()) GTEST_SKIP() << "this machine has no AVX-512";
  SCOPED_TRACE("SEED=" + std::to_string(seed()));
  Rng rng(seed());
  for (int round = 0; round < 2000; ++round) {
    const size_t n = rng.below(DataTags::kMost + 1);
    std::vector<SipTag> keys(n), lanes(n), copies(n);
    std::vector<std::vector<uint8_t>> envelopes(n);
    PlainTags tags;
    for (size_t i = 0; i < n; ++i) {
      rng.fill(keys[i]);
      const size_t payload = round % 2 ? rng.between(1, 80) : rng.chance(0.9) ? 46 : rng.between(1, 65535);
      envelopes[i].resize(kEnvelopeSizeMin + payload + kTaggedInnerBytes);
      rng.fill(envelopes[i]);
      tags.key[i] = keys[i].data();
      tags.header[i] = envelopes[i].data();
      tags.payload_size[i] = static_cast<uint16_t>(payload);
      tags.out[i] = copies[i].data();
    }
    internal::plain_tags_by_copies(tags, n);
    for (size_t i = 0; i < n; ++i) tags.out[i] = lanes[i].data();
    internal::plain_tags_in_eight_lanes(tags, n);
    ASSERT_EQ(lanes, copies) << "round " << round;
  }
}

// A frame from FrameBurst is a SealBurst's envelope behind what write_outer writes, and not a byte around it changes.
// All machines agree: with lanes and without.
TEST(FrameBurst, WritesWhatSealBurstAndWriteOuterWrite) {
  SCOPED_TRACE("SEED=" + std::to_string(seed()));
  Rng rng(seed());
  Net net{24};
  Host& p = net.proxy(1);
  Host* members[] = {&net.member(7), &net.member(8), &net.member(9)};
  net.run(1s);
  constexpr size_t kRoom = 160;
  const MacAddress own_mac{{2, 0, 0, 0, 0, 1}};
  const Endpoint own{IpAddress::v4(std::array<uint8_t, 4>{192, 0, 2, 1}), Port{6081}};
  const OuterTemplateV4 outer(own_mac, own);
  for (int round = 0; round < 500; ++round) {
    const uint64_t timestamp_us = rng.next() >> 16;
    const HeaderWords words(*p.table, 3, timestamp_us);
    FrameBurst burst(*p.table, 3, timestamp_us);
    SealBurst seals(*p.table, 3, timestamp_us);
    SendKeys keys[3];
    OuterAddresses to[3];
    OuterTemplateV4::Receiver receivers[3];
    for (size_t m = 0; m < 3; ++m) {
      p.table->renew(keys[m], members[m]->id, 0);
      std::array<uint8_t, 4> address;
      rng.fill(address);
      to[m] = {{}, own_mac, own, {IpAddress::v4(address), Port{static_cast<uint16_t>(rng.next())}}};
      rng.fill(to[m].destination_mac.raw);
      receivers[m] = outer.receiver(to[m].destination_mac, to[m].destination);
    }
    const size_t n = rng.below(FrameBurst::kMost + 1);
    std::vector<std::vector<uint8_t>> expected(n), by_burst(n), one_by_one(n);
    std::vector<size_t> size(n), of(n);
    Frames frames;
    for (size_t i = 0; i < n; ++i) {
      of[i] = rng.below(3);
      size[i] = rng.chance(0.5) ? 40 : rng.chance(0.5) ? rng.between(20, 90) : rng.between(20, 1400);
      expected[i].resize(kRoom + size[i] + kTaggedInnerBytes);
      rng.fill(expected[i]);
      by_burst[i] = one_by_one[i] = expected[i];
      const GroupId group{static_cast<uint32_t>(rng.between(1, kId24Max))};
      const PayloadKind kind = rng.chance(0.5) ? PayloadKind::ipv4 : PayloadKind::ipv6;
      const uint64_t sequence = keys[of[i]].take() | rng.next() << 40 >> 16;
      seals.add(keys[of[i]], sequence, group, kind, nullptr, 0, size[i], expected[i].data() + kRoom);
      burst.add(keys[of[i]], sequence, group, kind, size[i], by_burst[i].data() + kRoom, outer, receivers[of[i]]);
      frames.set(i, keys[of[i]], sequence, group, kind, size[i], one_by_one[i].data() + kRoom, outer, receivers[of[i]]);
    }
    seals.finish();
    for (size_t i = 0; i < n; ++i) {
      const MutableBytes frame(expected[i]);
      const size_t head = kRoom - kEnvelopeSizeMin;
      ASSERT_EQ(write_outer(to[of[i]], frame.subspan(head, kEnvelopeSizeMin + size[i]), frame.first(head)),
                kOuterSizeV4);
    }
    burst.finish();
    internal::frames_one_by_one(words, frames, n);
    ASSERT_EQ(by_burst, expected) << "round " << round;
    ASSERT_EQ(one_by_one, expected) << "round " << round;
  }
}

TEST(SealBurst, KeysKnowWhenTheyAreOld) {
  Net net{23};
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  SendKeys keys;
  p.table->renew(keys, m.id, 0);
  EXPECT_FALSE(keys.fresh()) << "no hello yet";
  net.run(1s);
  p.table->renew(keys, m.id, 0);
  EXPECT_TRUE(keys.fresh());
  const uint64_t first = keys.take();
  net.run(2 * kRehelloPeriod);
  EXPECT_FALSE(keys.fresh());
  p.table->renew(keys, m.id, 0);
  EXPECT_TRUE(keys.fresh());
  EXPECT_EQ(keys.take(), first + 1) << "numbers are not wasted";
  p.table->renew(keys, NodeId::member(MemberId{99}), 0);
  EXPECT_FALSE(keys.fresh()) << "unknown";
}

TEST(SealBurst, NumbersAreGivenOutOnce) {
  Net net{25};
  Host& p = net.proxy(1);
  Host& m = net.member(7);
  net.run(1s);
  SendKeys keys;
  std::set<uint64_t> seen;
  for (int i = 0; i < 500; ++i) {
    if (!keys.fresh()) p.table->renew(keys, m.id, 0);
    ASSERT_TRUE(keys.fresh());
    EXPECT_TRUE(seen.insert(keys.take()).second) << i;
    if (i % 7 != 0) continue;
    std::vector<uint8_t> datagram(kEnvelopeSizeMin + 100);  // one that takes the next number itself
    ASSERT_NE(p.table->seal(m.id, 0, GroupId{10}, PayloadKind::ipv4, {}, 5, Bytes(datagram).last(100),
                            MutableBytes(datagram).first(kEnvelopeSizeMin)),
              0u);
    Envelope e;
    ASSERT_EQ(m.table->open(datagram, e), OpenResult::ok);
    EXPECT_TRUE(seen.insert(e.sequence).second) << i;
  }
}

// Two worlds of one seed have the same keys: in one the proxy opens bursts, in the other one by one.
TEST(OpenBurst, SaysWhatOpenSays) {
  SCOPED_TRACE("SEED=" + std::to_string(seed()));
  Rng rng(seed());
  Net burst_net{24}, single_net{24};
  PeerTable &burst = *burst_net.proxy(1).table, &single = *single_net.proxy(1).table;
  Host* members[] = {&burst_net.member(7), &burst_net.member(8)};
  for (uint32_t m : {7u, 8u}) single_net.member(m);
  for (Net* net : {&burst_net, &single_net}) net->run(1s);
  const Instant now = burst_net.now;
  std::map<OpenResult, int> seen;
  std::vector<std::vector<uint8_t>> old;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::vector<uint8_t>> sent;
    for (size_t n = rng.below(PeerTable::kOpenBurstMax + 1); n > 0; --n) {
      Host& m = *members[rng.below(2)];
      Packet payload(rng.chance(0.5) ? rng.between(1, 70) : rng.between(1, 1400));
      rng.fill(payload);
      EnvelopeOptions options;
      if (rng.chance(0.2)) options.workload = Workload{7, 1};
      if (rng.chance(0.2)) options.forward_to = MemberId{static_cast<uint32_t>(rng.below(2) * kId24Max + 1)};
      const size_t header = kEnvelopeSizeMin + options_size(options);
      std::vector<uint8_t> d(header + payload.size());
      std::copy(payload.begin(), payload.end(), d.begin() + ptrdiff_t(header));
      const PayloadKind kind = rng.chance(0.1)   ? PayloadKind::message
                               : rng.chance(0.5) ? PayloadKind::ipv4
                                                 : PayloadKind::ipv6;
      ASSERT_EQ(m.table->seal(burst.self(), 0, GroupId{10}, kind, options, m.table->timestamp_us(now), payload,
                              MutableBytes(d).first(header)),
                header);
      if (rng.chance(0.2)) d[rng.below(std::min<size_t>(d.size(), 116))] ^= static_cast<uint8_t>(1u << rng.below(8));
      if (rng.chance(0.05)) d.resize(rng.below(d.size()));
      if (rng.chance(0.1) && !old.empty()) d = old[rng.below(old.size())];
      old.push_back(d);
      sent.push_back(std::move(d));
    }
    std::vector<Bytes> views;
    std::vector<Envelope> envelopes(sent.size());
    std::vector<Envelope*> out;
    std::vector<OpenResult> results(sent.size());
    for (size_t i = 0; i < sent.size(); ++i) {
      const size_t size = sent[i].size();
      sent[i].resize(size + kTaggedInnerBytes, 0xee);  // readable behind, as a packet buffer is
      views.emplace_back(sent[i].data(), size);
      out.push_back(&envelopes[i]);
    }
    burst.open_burst(views, out.data(), results.data(), now);
    for (size_t i = 0; i < sent.size(); ++i) {
      Envelope want;
      const OpenResult r = single.open(views[i], want);
      ASSERT_EQ(to_string(results[i]), std::string(to_string(r))) << "round " << round << ", packet " << i;
      ++seen[r];
      if (r != OpenResult::ok) continue;
      single.heard(want, {}, now);
      const Envelope& got = envelopes[i];
      EXPECT_EQ(got.sender, want.sender);
      EXPECT_EQ(got.sequence, want.sequence);
      EXPECT_EQ(got.stamp, want.stamp);
      EXPECT_EQ(got.kind, want.kind);
      EXPECT_EQ(got.options.forward_to, want.options.forward_to);
      EXPECT_EQ(got.payload.data(), want.payload.data());
      EXPECT_EQ(got.payload.size(), want.payload.size());
    }
    for (uint32_t m : {7u, 8u}) {
      EXPECT_EQ(burst.newest_stamp(NodeId::member(MemberId{m})), single.newest_stamp(NodeId::member(MemberId{m})));
    }
  }
  for (OpenResult r :
       {OpenResult::ok, OpenResult::malformed, OpenResult::unknown_peer, OpenResult::bad_tag, OpenResult::replayed}) {
    EXPECT_GT(seen[r], 20) << to_string(r) << ": hardly tested";
  }
}

TEST(OuterTemplateV4, WritesWhatWriteOuterWrites) {
  SCOPED_TRACE("SEED=" + std::to_string(seed()));
  Rng rng(seed());
  auto random_endpoint = [&] {
    std::array<uint8_t, 4> raw;
    rng.fill(raw);
    return Endpoint{IpAddress::v4(raw), Port{static_cast<uint16_t>(rng.next())}};
  };
  for (int i = 0; i < 20'000; ++i) {
    OuterAddresses outer{{}, {}, random_endpoint(), random_endpoint()};
    rng.fill(outer.source_mac.raw);
    rng.fill(outer.destination_mac.raw);
    const Packet envelope(rng.chance(0.1) ? rng.between(60'000, 65'507) : rng.below(1500));
    std::array<uint8_t, kOuterSizeV4> want, got;
    ASSERT_EQ(write_outer(outer, envelope, want), kOuterSizeV4);
    const OuterTemplateV4 fast(outer.source_mac, outer.source);
    const auto to = fast.receiver(outer.destination_mac, outer.destination);
    fast.write(to, fast.lengths(to, envelope.size()), got.data());
    ASSERT_EQ(want, got) << i;
  }
}

}  // namespace
}  // namespace statecast::test
