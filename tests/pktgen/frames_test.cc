// SPDX-License-Identifier: BSD-3-Clause
// What is sent, read by the proxy's own parser; and what comes in.
#include "tools/pktgen/frames.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"
#include "dataplane/envelope/wire.h"
#include "dataplane/packet/checksum.h"
#include "dataplane/packet/neighbour.h"
#include "dataplane/packet/parse.h"
#include "tools/pktgen/attacks.h"
#include "tools/pktgen/link.h"

namespace statecast {
namespace {

constexpr uint64_t kNonce = 0x1234'5678'9abc'def0;
const MacAddress kOwn{{2, 0, 0, 0, 0, 1}}, kPeer{{2, 0, 0, 0, 0, 2}};

FrameOptions options(bool v6, Protocol protocol) {
  return {.source_mac = kOwn,
          .destination_mac = kPeer,
          .client = *IpAddress::parse(v6 ? "2001:db8:c::1" : "10.0.0.1"),
          .server = *Endpoint::parse(v6 ? "[2001:db8:1::10]:443" : "203.0.113.10:443"),
          .protocol = protocol};
}

TEST(Mark, IsReadBackAndNothingElseIs) {
  Mark m{.cycles = 0x1234'5678'9abc, .sequence = 77, .session = 123'456, .stream = 9, .worker = 3, .answer = true};
  uint8_t bytes[kMarkSize];
  uint64_t sum = write_mark(m, kNonce, bytes);
  ChecksumSum twin;
  twin.add(bytes);
  ChecksumSum folded;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  folded.add_word(__builtin_bswap16(static_cast<uint16_t>(sum)));
  EXPECT_EQ(folded.folded(), twin.folded());
  Mark got;
  ASSERT_TRUE(read_mark(bytes, kNonce, got));
  EXPECT_EQ(got, m);
  EXPECT_FALSE(read_mark(bytes, kNonce + 1, got)) << "of another measurement";
  int accepted = 0;
  for (size_t bit = 0; bit < kMarkSize * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    accepted += read_mark(bytes, kNonce, got);
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_EQ(accepted, 0) << "of those with one bit changed";
}

TEST(Frames, AreWhatTheParserTakesWithItsChecksums) {
  for (bool v6 : {false, true}) {
    for (Protocol protocol : {Protocol::udp, Protocol::tcp}) {
      FrameTemplate t(options(v6, protocol));
      for (uint16_t length : {t.length_min(), uint16_t(128), uint16_t(1514)}) {
        for (uint32_t session : {0u, 1u, 32'767u, 32'768u, 9'999'999u}) {
          SCOPED_TRACE(testing::Message() << (v6 ? "v6 " : "v4 ") << int(protocol) << " " << length << " " << session);
          std::vector<uint8_t> frame(std::max<size_t>(length, kTemplateSize));
          Mark m{.cycles = 5, .sequence = session * 3, .session = session, .stream = 1};
          t.fill(frame.data(), session, length, m, kNonce);
          frame.resize(length);
          ParsedPacket p;
          ASSERT_EQ(parse_frame(frame, p, {.l4_checksum = true}), ParseResult::ok);
          EXPECT_EQ(p.l3_length, length - 14);
          EXPECT_EQ(p.protocol, protocol);
          Endpoint client{source_of(frame, p), Port{p.source_port}}, server{destination_of(frame, p), Port{443}};
          EXPECT_EQ(client, client_of_session(options(v6, protocol).client, session));
          EXPECT_EQ(server, options(v6, protocol).server);
          PacketLook look;
          ASSERT_TRUE(look_at_frame(frame, look));
          ASSERT_TRUE(look.carries_mark());
          EXPECT_EQ(look.payload, p.payload_offset);
          EXPECT_EQ(source_endpoint(frame, look), client);
          EXPECT_EQ(destination_endpoint(frame, look), server);
          Mark got;
          ASSERT_TRUE(read_mark(frame.data() + look.payload, kNonce, got));
          EXPECT_EQ(got, m);
        }
      }
    }
  }
}

// 0 means "none" in UDP; one checksum in 65,536 is written as 0xffff instead.
TEST(Frames, UdpChecksumIsNeverZero) {
  FrameTemplate t(options(false, Protocol::udp));
  std::vector<uint8_t> frame(kTemplateSize);
  int sent_as_ones = 0, answered_as_ones = 0;
  for (uint32_t i = 0; i < 400'000; ++i) {
    t.fill(frame.data(), i, 60, {.sequence = i, .session = i}, kNonce);
    ASSERT_TRUE(frame[40] || frame[41]);
    MutableBytes packet = MutableBytes(frame).subspan(14, 46);
    PacketLook look;
    ParsedPacket p;
    auto is_ones = [&] { return frame[40] == 0xff && frame[41] == 0xff; };
    if (is_ones()) {
      ++sent_as_ones;
      ASSERT_EQ(parse_ip(packet, p, {.l4_checksum = true}), ParseResult::ok);
    }
    ASSERT_TRUE(look_at_ip(packet, look));
    turn_into_answer(packet, look, {.sequence = i, .session = i, .answer = true}, kNonce);
    ASSERT_TRUE(frame[40] || frame[41]);
    if (is_ones()) {
      ++answered_as_ones;
      ASSERT_EQ(parse_ip(packet, p, {.l4_checksum = true}), ParseResult::ok);
    }
  }
  EXPECT_GT(sent_as_ones, 0);
  EXPECT_GT(answered_as_ones, 0);
}

TEST(Frames, ShortestIs64BytesWithFcs) {
  EXPECT_EQ(FrameTemplate(options(false, Protocol::udp)).length_min() + kFcsSize, 64u);
}

TEST(Frames, SessionsHaveTuplesOfTheirOwn) {
  std::set<Endpoint> seen;
  IpAddress first = *IpAddress::parse("10.0.255.255");
  for (uint32_t s = 0; s < 100'000; ++s) ASSERT_TRUE(seen.insert(client_of_session(first, s)).second);
  EXPECT_EQ(to_string(client_of_session(first, 32'768)), "10.1.0.0:1024");
}

TEST(Frames, AnAnswerGoesBackWithRightChecksums) {
  for (bool v6 : {false, true}) {
    for (Protocol protocol : {Protocol::udp, Protocol::tcp}) {
      SCOPED_TRACE(testing::Message() << v6 << " " << int(protocol));
      FrameTemplate t(options(v6, protocol));
      for (uint32_t i = 0; i < 200; ++i) {
        std::vector<uint8_t> frame(200);
        t.fill(frame.data(), i, 200, {.cycles = i * 977, .sequence = i, .session = i}, kNonce);
        MutableBytes packet = MutableBytes(frame).subspan(14);
        PacketLook look;
        ASSERT_TRUE(look_at_ip(packet, look));
        Endpoint client = source_endpoint(packet, look), server = destination_endpoint(packet, look);
        Mark m{.cycles = i * 31, .sequence = ~i, .session = i, .answer = true}, got;
        turn_into_answer(packet, look, m, kNonce);
        ParsedPacket p;
        ASSERT_EQ(parse_ip(packet, p, {.l4_checksum = true}), ParseResult::ok) << i;
        EXPECT_EQ(source_endpoint(packet, look), server);
        EXPECT_EQ(destination_endpoint(packet, look), client);
        EXPECT_TRUE(is_to_client(packet, look, options(v6, protocol).client, i));
        EXPECT_FALSE(is_to_client(packet, look, options(v6, protocol).client, i + 1));
        EXPECT_FALSE(is_to_client(packet, look, options(v6, protocol).client, i + 32'768));
        EXPECT_FALSE(is_to_client(packet, look, options(!v6, protocol).client, i));
        ASSERT_TRUE(read_mark(packet.data() + look.payload, kNonce, got));
        EXPECT_EQ(got, m);
      }
    }
  }
}

TEST(Frames, HandshakeNamesStreamSessionAndMember) {
  for (bool v6 : {false, true}) {
    FrameOptions o = options(v6, Protocol::tcp);
    o.tcp_flags = 0x02;
    o.tcp_window = kSynMark | 5;
    std::vector<uint8_t> frame(kTemplateSize);
    frame.resize(FrameTemplate(o).fill_bare(frame.data(), 70'000, 70'000));
    ParsedPacket p;
    ASSERT_EQ(parse_frame(frame, p, {.l4_checksum = true}), ParseResult::ok);
    EXPECT_EQ(p.tcp_flags, 2);
    Bytes syn = Bytes(frame).subspan(14);
    PacketLook look;
    ASSERT_TRUE(look_at_ip(syn, look));
    EXPECT_TRUE(look.is_syn());
    auto h = look_at_handshake(syn, look);
    ASSERT_TRUE(h);
    EXPECT_EQ(h->stream, 5);
    EXPECT_EQ(h->session, 70'000u);

    std::array<uint8_t, 60> room;
    size_t n = write_syn_ack(syn, look, 3, room);
    Bytes reply = Bytes(room).first(n);
    ASSERT_EQ(parse_ip(reply, p, {.l4_checksum = true}), ParseResult::ok);
    EXPECT_EQ(p.tcp_flags, 0x12);
    PacketLook back;
    ASSERT_TRUE(look_at_ip(reply, back));
    EXPECT_EQ(destination_endpoint(reply, back), client_of_session(o.client, 70'000));
    h = look_at_handshake(reply, back);
    ASSERT_TRUE(h);
    EXPECT_EQ(h->session, 70'000u);
    EXPECT_EQ(h->member, 3u);
  }
}

TEST(Frames, WhatIsShorterThanItSaysIsNotLookedInto) {
  FrameTemplate t(options(false, Protocol::udp));
  std::vector<uint8_t> frame(kTemplateSize);
  t.fill(frame.data(), 0, t.length_min(), {}, kNonce);
  frame.resize(t.length_min());
  PacketLook look;
  for (size_t n = 0; n < frame.size(); ++n) EXPECT_FALSE(look_at_frame(Bytes(frame).first(n), look)) << n;
  frame[20] = 0x20;  // a fragment
  EXPECT_FALSE(look_at_frame(frame, look));
}

// Whatever comes in: what is said to be there is there.
TEST(Frames, AnyBytesAreLookedAtWithinTheirBounds) {
  Rng rng(3);
  int looked_into = 0;
  for (int i = 0; i < 300'000; ++i) {
    FrameTemplate t(options(rng.chance(0.5), rng.chance(0.5) ? Protocol::tcp : Protocol::udp));
    std::vector<uint8_t> whole(kTemplateSize);
    t.fill(whole.data(), i, t.length_min(), {}, kNonce);
    for (uint64_t n = rng.below(4); n > 0; --n) whole[12 + rng.below(60)] = static_cast<uint8_t>(rng.next());
    // As long as its frame, so that a sanitizer sees a step beyond.
    std::vector<uint8_t> frame(whole.begin(), whole.begin() + static_cast<long>(rng.below(whole.size() + 1)));
    PacketLook look;
    if (!look_at_frame(frame, look)) continue;
    ++looked_into;
    ASSERT_LE(look.l3 + 20, look.l4);
    ASSERT_LE(look.l4 + 8, look.payload);
    ASSERT_LE(look.payload, look.end);
    ASSERT_LE(look.end, frame.size());
    source_endpoint(frame, look);
    destination_endpoint(frame, look);
    is_to_client(frame, look, options(false, Protocol::udp).client, 1);
    if (look.protocol == Protocol::tcp) look_at_handshake(frame, look);
  }
  EXPECT_GT(looked_into, 10'000);
}

AttackOptions attack(PktgenStreamConfig::Kind kind, bool v6, Protocol protocol) {
  FrameOptions f = options(v6, protocol);
  if (kind == PktgenStreamConfig::Kind::forged_envelopes)
    f.server = *Endpoint::parse(v6 ? "[2001:db8::1]:6081" : "10.9.2.1:6081");
  return {.kind = kind, .frame = f, .client_addresses = 256};
}

TEST(Attacks, MalformedOnesAreAllRefusedByTheParserEachInItsWay) {
  for (bool v6 : {false, true}) {
    for (Protocol protocol : {Protocol::udp, Protocol::tcp}) {
      AttackFrames frames(attack(PktgenStreamConfig::Kind::malformed, v6, protocol), 1);
      std::set<ParseResult> results;
      for (unsigned i = 0; i < AttackFrames::kMalformations; ++i) {
        std::vector<uint8_t> frame(256);
        frame.resize(frames.fill(frame.data(), 110, {}, kNonce));
        ParsedPacket p;
        ParseResult r = parse_frame(frame, p);
        EXPECT_NE(r, ParseResult::ok) << "malformation " << i << (v6 ? " v6" : " v4");
        results.insert(r);
      }
      EXPECT_GE(results.size(), v6 ? 5u : 7u);
    }
  }
}

TEST(Attacks, FloodsAreWellFormedAndFromManySources) {
  for (auto kind : {PktgenStreamConfig::Kind::syn_flood, PktgenStreamConfig::Kind::random_sessions}) {
    for (bool v6 : {false, true}) {
      AttackFrames frames(attack(kind, v6, Protocol::tcp), 1);
      std::set<Endpoint> sources;
      for (int i = 0; i < 1'000; ++i) {
        std::vector<uint8_t> frame(256);
        frame.resize(frames.fill(frame.data(), 60, {.stream = 2}, kNonce));
        ParsedPacket p;
        ASSERT_EQ(parse_frame(frame, p, {.l4_checksum = true}), ParseResult::ok);
        EXPECT_EQ(p.tcp_flags, kind == PktgenStreamConfig::Kind::syn_flood ? 0x02 : 0x18);
        PacketLook look;
        ASSERT_TRUE(look_at_frame(frame, look));
        EXPECT_FALSE(look.is_syn() && look_at_handshake(frame, look)) << "taken for one of ours";
        sources.insert(source_endpoint(frame, look));
      }
      EXPECT_GT(sources.size(), 950u);
    }
  }
}

TEST(Attacks, ForgedEnvelopesAreEnvelopes) {
  for (bool v6 : {false, true}) {
    AttackFrames frames(attack(PktgenStreamConfig::Kind::forged_envelopes, v6, Protocol::udp), 1);
    std::set<uint64_t> sequences;
    for (int i = 0; i < 100; ++i) {
      std::vector<uint8_t> frame(256);
      frame.resize(frames.fill(frame.data(), 60, {}, kNonce));
      ParsedPacket p;
      ASSERT_EQ(parse_frame(frame, p, {.l4_checksum = v6}), ParseResult::ok);
      EXPECT_EQ(p.destination_port, 6081);
      WireHead head;
      ASSERT_TRUE(read_head(Bytes(frame).subspan(p.payload_offset), head));
      EXPECT_TRUE(head.sender.is_member());
      sequences.insert(head.sequence);
    }
    EXPECT_EQ(sequences.size(), 100u);
  }
}

TEST(Link, AnswersForItsAddressesAndLearnsItsGateway) {
  for (bool v6 : {false, true}) {
    IpAddress own = *IpAddress::parse(v6 ? "2001:db8::1" : "10.0.0.1"),
              gateway = *IpAddress::parse(v6 ? "2001:db8::2" : "10.0.0.2");
    Link link({.mac = kOwn, .addresses = {own}, .gateway = gateway, .peer = {}});
    Link other({.mac = kPeer, .addresses = {gateway}, .gateway = own, .peer = {}});
    EXPECT_FALSE(link.ready());
    uint8_t question[128], reply[128];
    size_t n = link.question(Instant{} + 1s, question), m = 0;
    ASSERT_NE(n, 0u);
    EXPECT_EQ(link.question(Instant{} + 1s, question), 0u) << "not twice at once";
    ASSERT_TRUE(other.take(Bytes(question, n), reply, m));
    EXPECT_TRUE(other.ready()) << "whoever asks is known";
    ASSERT_NE(m, 0u);
    size_t none = 0;
    ASSERT_TRUE(link.take(Bytes(reply, m), question, none));
    EXPECT_TRUE(link.ready());
    EXPECT_EQ(link.peer(), kPeer);
    EXPECT_EQ(none, 0u);
  }
  Link fixed({.mac = kOwn, .addresses = {}, .gateway = {}, .peer = kPeer});
  EXPECT_TRUE(fixed.ready());
  EXPECT_EQ(fixed.peer(), kPeer);
  std::vector<uint8_t> data(kTemplateSize);
  FrameTemplate(options(false, Protocol::udp)).fill(data.data(), 0, 60, {}, kNonce);
  size_t n = 0;
  uint8_t reply[128];
  EXPECT_FALSE(fixed.take(Bytes(data).first(60), reply, n));
}

}  // namespace
}  // namespace statecast
