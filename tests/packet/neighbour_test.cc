// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/neighbour.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

const MacAddress kOurs = *MacAddress::parse("02:00:00:00:00:0a"), kTheirs = *MacAddress::parse("02:00:00:00:00:0b");
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

Packet behind_ethernet(const Packet& frame) {
  return {frame.begin() + 14, frame.end()};
}

TEST(Arp, RequestAndReply) {
  Packet out(kNeighbourFrameMax);
  out.resize(write_arp_request(kTheirs, ip("192.0.2.1"), ip("192.0.2.2"), out));
  EXPECT_EQ(hex(out), hex(unhex("ffffffffffff 02000000000b 0806 0001 0800 06 04 0001"
                                "02000000000b c0000201 000000000000 c0000202")));
  out.resize(60);  // as padded on the wire
  ParsedPacket p;
  ASSERT_EQ(parse_frame(out, p), ParseResult::not_ip);
  ASSERT_EQ(p.ethertype, kEthertypeArp);
  auto request = parse_arp(Bytes(out).subspan(p.l3_offset));
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->is_request);
  EXPECT_EQ(request->sender_mac, kTheirs);
  EXPECT_EQ(request->sender, ip("192.0.2.1"));
  EXPECT_EQ(request->target, ip("192.0.2.2"));

  Packet reply(kNeighbourFrameMax);
  reply.resize(write_arp_reply(*request, kOurs, reply));
  EXPECT_EQ(hex(reply), hex(unhex("02000000000b 02000000000a 0806 0001 0800 06 04 0002"
                                  "02000000000a c0000202 02000000000b c0000201")));
  auto back = parse_arp(behind_ethernet(reply));
  ASSERT_TRUE(back);
  EXPECT_FALSE(back->is_request);
  EXPECT_EQ(back->sender_mac, kOurs);
}

TEST(Arp, Refused) {
  const Packet good = unhex("0001 0800 06 04 0001 02000000000b c0000201 000000000000 c0000202");
  ASSERT_TRUE(parse_arp(good));
  struct Row {
    const char* name;
    size_t at;
    uint8_t value;
  };
  const Row rows[] = {{"hardware type", 1, 6},      {"protocol", 2, 0x86}, {"MAC size", 4, 8},
                      {"address size", 5, 16},      {"operation", 7, 3},   {"multicast sender MAC", 8, 0x01},
                      {"multicast sender", 14, 224}};
  for (const Row& row : rows) {
    Packet bad = good;
    bad[row.at] = row.value;
    EXPECT_FALSE(parse_arp(bad)) << row.name;
  }
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_arp(Bytes(good).first(n))) << n;
  std::array<uint8_t, 41> small;
  EXPECT_EQ(write_arp_request(kOurs, ip("192.0.2.1"), ip("192.0.2.2"), small), 0u);
}

PacketBuilder from(std::string_view source, std::string_view destination, uint8_t type) {
  return ip6(source, destination).ttl(255).icmp(type);
}
Packet body(std::string_view target, std::string_view options_hex) {
  IpAddress t = ip(target);
  Packet p(t.raw.begin(), t.raw.end()), options = unhex(options_hex);
  p.insert(p.end(), options.begin(), options.end());
  return p;
}
constexpr std::string_view kSourceMac = "0101 02000000000b", kTargetMac = "0201 02000000000b";

TEST(NeighbourDiscovery, SolicitationRows) {
  struct Row {
    const char* name;
    PacketBuilder packet;
    bool good;
  };
  const Row rows[] = {
      {"multicast", from("fe80::b", "ff02::1:ff00:10", 135).payload(body("2001:db8::10", kSourceMac)), true},
      {"unicast without its MAC", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "")), true},
      {"is the address free", from("::", "ff02::1:ff00:10", 135).payload(body("2001:db8::10", "")), true},
      {"with an unknown option", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "0e01000000000000")),
       true},
      {"hop limit", from("fe80::b", "2001:db8::10", 135).ttl(254).payload(body("2001:db8::10", "")), false},
      {"checksum", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "")).l4_checksum(1), false},
      {"code", ip6("fe80::b", "2001:db8::10").ttl(255).icmp(135, 1).payload(body("2001:db8::10", "")), false},
      {"too short", from("fe80::b", "2001:db8::10", 135).payload(15), false},
      {"target multicast", from("fe80::b", "ff02::1:ff00:10", 135).payload(body("ff02::1:ff00:10", "")), false},
      {"option of length 0", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "0100000000000000")),
       false},
      {"option beyond the end", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "0102 02000000000b")),
       false},
      {"half an option", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "01")), false},
      {"multicast MAC", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", "0101 03000000000b")), false},
      {"free?, with a MAC", from("::", "ff02::1:ff00:10", 135).payload(body("2001:db8::10", kSourceMac)), false},
      {"free?, to all", from("::", "ff02::1", 135).payload(body("2001:db8::10", "")), false},
      {"from multicast", from("ff02::1", "2001:db8::10", 135).payload(body("2001:db8::10", "")), false},
      {"an advertisement", from("fe80::b", "2001:db8::10", 136).payload(body("2001:db8::10", "")), false},
      {"over ip4", ip4("192.0.2.1", "192.0.2.2").ttl(255).protocol(58).payload(40), false},
      {"cut", from("fe80::b", "2001:db8::10", 135).payload(body("2001:db8::10", kSourceMac)).cut(1), false},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_solicitation(row.packet.build()).has_value(), row.good) << row.name;

  auto s = parse_solicitation(rows[0].packet.build());
  EXPECT_EQ(s->source, ip("fe80::b"));
  EXPECT_EQ(s->target, ip("2001:db8::10"));
  EXPECT_EQ(s->source_mac, kTheirs);
}

TEST(NeighbourDiscovery, AdvertisementRows) {
  auto good = ip6("2001:db8::b", "fe80::a").ttl(255).icmp(136, 0, 0x60000000).payload(body("2001:db8::b", kTargetMac));
  auto a = parse_advertisement(good.build());
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->solicited && a->overrides);
  EXPECT_EQ(a->target_mac, kTheirs);
  EXPECT_EQ(a->target, ip("2001:db8::b"));
  auto to_all = [](uint32_t flags) {
    return ip6("2001:db8::b", "ff02::1").ttl(255).icmp(136, 0, flags).payload(body("2001:db8::b", kTargetMac)).build();
  };
  EXPECT_TRUE(parse_advertisement(to_all(0x20000000)));
  EXPECT_FALSE(parse_advertisement(to_all(0x60000000))) << "solicited, but to all";
  EXPECT_FALSE(parse_advertisement(PacketBuilder(good).ttl(64).build()));
  EXPECT_FALSE(parse_advertisement(PacketBuilder(good).l4_checksum(7).build()));
}

// What we write is what we read, and the frames are addressed as RFC 2464 says.
TEST(NeighbourDiscovery, QuestionAndAnswer) {
  Packet asked(kNeighbourFrameMax);
  asked.resize(write_solicitation(kTheirs, ip("fe80::b"), ip("2001:db8::12:3456"), asked));
  ASSERT_EQ(asked.size(), kNeighbourFrameMax);
  EXPECT_EQ(hex(Bytes(asked).first(14)), hex(unhex("3333ff123456 02000000000b 86dd")));
  ParsedPacket p;
  ASSERT_EQ(parse_frame(asked, p, {.l4_checksum = true}), ParseResult::ok);
  EXPECT_TRUE(is_neighbour_solicitation(p));
  EXPECT_EQ(to_string(destination_of(asked, p)), "ff02::1:ff12:3456");
  auto question = parse_solicitation(behind_ethernet(asked));
  ASSERT_TRUE(question);

  Packet answer(kNeighbourFrameMax);
  answer.resize(write_advertisement(*question, kOurs, answer));
  EXPECT_EQ(hex(Bytes(answer).first(14)), hex(unhex("02000000000b 02000000000a 86dd")));
  ASSERT_EQ(parse_frame(answer, p, {.l4_checksum = true}), ParseResult::ok);
  EXPECT_TRUE(is_neighbour_advertisement(p));
  EXPECT_EQ(destination_of(answer, p), ip("fe80::b"));
  auto told = parse_advertisement(behind_ethernet(answer));
  ASSERT_TRUE(told);
  EXPECT_EQ(told->target, question->target);
  EXPECT_EQ(told->target_mac, kOurs);
  EXPECT_TRUE(told->solicited);

  // An asker without an address is told through all nodes.
  answer.resize(write_advertisement({ip("::"), ip("2001:db8::10"), {}}, kOurs, answer));
  EXPECT_EQ(hex(Bytes(answer).first(6)), "333300000001");
  told = parse_advertisement(behind_ethernet(answer));
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->solicited);

  // A probe of a known neighbour goes to it alone; its answer goes back to the frame's sender where it named no MAC.
  asked.resize(write_solicitation(kOurs, ip("fe80::a"), ip("fe80::b"), asked, kTheirs));
  EXPECT_EQ(hex(Bytes(asked).first(6)), "02000000000b");
  ASSERT_TRUE(parse_solicitation(behind_ethernet(asked)));
  answer.resize(write_advertisement({ip("fe80::b"), ip("fe80::a"), {}}, kOurs, answer, kTheirs));
  EXPECT_EQ(hex(Bytes(answer).first(6)), "02000000000b");

  std::array<uint8_t, kNeighbourFrameMax - 1> small;
  EXPECT_EQ(write_solicitation(kOurs, ip("fe80::a"), ip("fe80::b"), small), 0u);
}

}  // namespace
}  // namespace statecast::test
