// SPDX-License-Identifier: BSD-3-Clause
// Neighbours as a conversation: what it asks, what it answers, what it believes.
#include "control/neighbours.h"

#include <gtest/gtest.h>

#include "dataplane/packet/neighbour.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

const MacAddress kMac{{2, 0, 0, 0, 0, 1}}, kOther{{2, 0, 0, 0, 0, 9}}, kThird{{2, 0, 0, 0, 0, 7}};
IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

class NeighboursTest : public testing::Test {
 protected:
  NeighboursTest()
      : n_({{.name = "wan",
             .mac = kMac,
             .addresses = {{ip("192.0.2.1"), 24}, {ip("2001:db8:2::1"), 64}},
             .gateways = {}},
            {.name = "mute",
             .mac = kMac,
             .answer_neighbours = false,
             .addresses = {{ip("10.2.0.1"), 24}},
             .gateways = {}}}) {}

  std::vector<Packet> out() {
    std::vector<Packet> frames;
    for (Neighbours::Frame f; n_.next_output(f);) frames.push_back(f.bytes);
    return frames;
  }
  void hear_arp_request(uint16_t port, const char* asker, const char* target) {
    uint8_t frame[kNeighbourFrameMax];
    n_.on_frame(port, Bytes(frame).first(write_arp_request(kOther, ip(asker), ip(target), frame)), now_);
  }
  // The answer of `mac` to our question about `address`.
  void hear_arp_reply(uint16_t port, const char* address, const MacAddress& mac) {
    ArpPacket question{true, kMac, {}, ip(port == 0 ? "192.0.2.1" : "10.2.0.1"), ip(address)};
    uint8_t frame[kNeighbourFrameMax];
    n_.on_frame(port, Bytes(frame).first(write_arp_reply(question, mac, frame)), now_);
  }
  void hear_advertisement(const char* address, const MacAddress& mac) {
    Solicitation question{ip("2001:db8:2::1"), ip(address), kMac};
    uint8_t frame[kNeighbourFrameMax];
    n_.on_frame(0, Bytes(frame).first(write_advertisement(question, mac, frame)), now_);
  }
  void wait(Duration d) {
    now_ += d;
    n_.on_deadline(now_);
  }

  Neighbours n_;
  Instant now_ = Instant{} + 100s;
};

TEST_F(NeighboursTest, AnswersForItsOwnAddressesOnly) {
  hear_arp_request(0, "192.0.2.254", "192.0.2.1");
  auto frames = out();
  ASSERT_EQ(1u, frames.size());
  auto reply = parse_arp(Bytes(frames[0]).subspan(14));
  ASSERT_TRUE(reply);
  EXPECT_FALSE(reply->is_request);
  EXPECT_EQ(kMac, reply->sender_mac);
  EXPECT_EQ("192.0.2.1", to_string(reply->sender));
  hear_arp_request(0, "192.0.2.254", "203.0.113.10");  // a group's address
  hear_arp_request(0, "192.0.2.254", "10.2.0.1");      // of another port
  hear_arp_request(1, "10.2.0.9", "10.2.0.1");         // a port that is not to answer
  EXPECT_TRUE(out().empty());
}

TEST_F(NeighboursTest, AnswersNeighbourSolicitations) {
  uint8_t frame[kNeighbourFrameMax];
  n_.on_frame(0, Bytes(frame).first(write_solicitation(kOther, ip("2001:db8:2::fe"), ip("2001:db8:2::1"), frame)),
              now_);
  auto frames = out();
  ASSERT_EQ(1u, frames.size());
  auto a = parse_advertisement(Bytes(frames[0]).subspan(14));
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->solicited);
  EXPECT_EQ(kMac, a->target_mac);
  n_.on_frame(0, Bytes(frame).first(write_solicitation(kOther, ip("2001:db8:2::fe"), ip("2001:db8:2::77"), frame)),
              now_);
  EXPECT_TRUE(out().empty());
}

TEST_F(NeighboursTest, LearnsFromAnswersToItsQuestionsOnly) {
  hear_arp_reply(0, "192.0.2.254", kOther);
  EXPECT_FALSE(n_.find(ip("192.0.2.254"))) << "nobody asked";
  n_.want(0, ip("192.0.2.254"), Neighbours::Keep::always, now_);
  EXPECT_EQ(1u, out().size());
  hear_arp_reply(1, "192.0.2.254", kThird);
  EXPECT_FALSE(n_.find(ip("192.0.2.254"))) << "from another port";
  hear_arp_reply(0, "192.0.2.254", kOther);
  ASSERT_TRUE(n_.find(ip("192.0.2.254")));
  EXPECT_EQ(kOther, n_.find(ip("192.0.2.254"))->mac);
  EXPECT_TRUE(n_.take_changed());
  hear_arp_reply(0, "192.0.2.254", kThird);
  EXPECT_EQ(kOther, n_.find(ip("192.0.2.254"))->mac) << "no question was out";
  wait(5s);
  EXPECT_EQ(1u, out().size()) << "asks again, whether it still is there";
  hear_arp_reply(0, "192.0.2.254", kThird);
  EXPECT_EQ(kThird, n_.find(ip("192.0.2.254"))->mac) << "it has moved";
}

TEST_F(NeighboursTest, LearnsIpv6) {
  n_.want(0, ip("2001:db8:2::fe"), Neighbours::Keep::always, now_);
  auto frames = out();
  ASSERT_EQ(1u, frames.size());
  EXPECT_TRUE(parse_solicitation(Bytes(frames[0]).subspan(14)));
  hear_advertisement("2001:db8:2::fe", kOther);
  ASSERT_TRUE(n_.find(ip("2001:db8:2::fe")));
}

TEST_F(NeighboursTest, SilenceForgetsAndKeepsAskingWhereItMatters) {
  n_.want(0, ip("192.0.2.254"), Neighbours::Keep::always, now_);
  n_.want(0, ip("192.0.2.7"), Neighbours::Keep::briefly, now_);
  hear_arp_reply(0, "192.0.2.254", kOther);
  out();
  for (int i = 0; i < 12; ++i) wait(1s);
  EXPECT_FALSE(n_.find(ip("192.0.2.254")));
  out();
  wait(1s);
  auto frames = out();
  ASSERT_EQ(1u, frames.size()) << "the gateway is asked for still, the client no more";
  EXPECT_EQ("192.0.2.254", to_string(parse_arp(Bytes(frames[0]).subspan(14))->target));
}

TEST_F(NeighboursTest, BoundedTable) {
  for (unsigned i = 0; i < kNeighboursMax + 100; ++i) {
    uint8_t raw[4] = {192, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
    n_.want(0, IpAddress::v4(raw), Neighbours::Keep::briefly, now_);
    out();
  }
  n_.want(0, ip("192.0.2.254"), Neighbours::Keep::always, now_);
  hear_arp_reply(0, "192.0.2.254", kOther);
  EXPECT_TRUE(n_.find(ip("192.0.2.254"))) << "a gateway finds room always";
}

TEST_F(NeighboursTest, AnyBytes) {
  for (size_t n = 0; n < 90; ++n) {
    Packet junk(n, 0xff);
    n_.on_frame(0, junk, now_);
    if (n > 13) junk[12] = 8, junk[13] = 6;
    n_.on_frame(0, junk, now_);
    n_.on_frame(9, junk, now_);
  }
  EXPECT_TRUE(out().empty());
}

}  // namespace
}  // namespace statecast::test
