// SPDX-License-Identifier: BSD-3-Clause
// The builder against bytes written by hand (and read by a stock decoder), so that it and parse cannot agree on an
// error.
#include "tests/support/packet_builder.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>

namespace statecast::test {
namespace {

TEST(PacketBuilder, BytesByHand) {
  EXPECT_EQ(hex(eth()
                    .vlan(7)
                    .ip4("198.51.100.7", "203.0.113.10")
                    .dont_fragment()
                    .tcp(40000, 443, kSyn, 1, 0)
                    .mss(1460)
                    .build()),
            hex(unhex("020000000002 020000000001 8100 0007 0800"
                      "4500002c 00004000 4006 d486 c6336407 cb00710a"
                      "9c40 01bb 00000001 00000000 60 02 ffff 93e4 0000 020405b4")));
  EXPECT_EQ(hex(ip6("2001:db8:7::7", "2001:db8::10").extension(60).udp(5000, 53).payload("hello").build()),
            hex(unhex("60000000 0015 3c 40 20010db8000700000000000000000007 20010db8000000000000000000000010"
                      "1100000000000000 1388 0035 000d 4cb5 68656c6c6f")));
}

TEST(PacketBuilder, KnobsBreakOneThing) {
  const PacketBuilder good = eth().ip4("192.0.2.1", "192.0.2.2").udp(1, 2).payload(9);
  auto differing = [&](const PacketBuilder& knob) {
    Packet a = good.build(), b = knob.build();
    std::string at;
    if (a.size() != b.size()) return "size " + std::to_string(b.size());
    for (size_t i = 0; i < a.size(); ++i)
      if (a[i] != b[i]) at += (at.empty() ? "" : " ") + std::to_string(i);
    return at;
  };
  EXPECT_EQ(differing(good), "");
  EXPECT_EQ(differing(PacketBuilder(good).ip_checksum(0x0101)), "24 25");
  EXPECT_EQ(differing(PacketBuilder(good).l4_checksum(0x0101)), "40 41");
  EXPECT_EQ(differing(PacketBuilder(good).ethertype(0x0806)), "13");
  EXPECT_EQ(differing(PacketBuilder(good).ip_version(6)), "14 24");  // the checksum follows
  EXPECT_EQ(differing(PacketBuilder(good).ip_length(300)), "16 17 24 25");
  EXPECT_EQ(differing(PacketBuilder(good).padding(4)), "size 55");
  EXPECT_EQ(differing(PacketBuilder(good).cut(4)), "size 47");
  EXPECT_EQ(differing(PacketBuilder(good).cut_to(20)), "size 20");
}

TEST(PacketBuilder, Pcap) {
  std::string path = testing::TempDir() + "packet_builder_test.pcap";
  ASSERT_TRUE(write_pcap(path, {Packet{1, 2, 3}, Packet{4}}, PcapLink::raw_ip));
  std::ifstream in(path, std::ios::binary);
  Packet file{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_EQ(hex(file), hex(unhex("a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000065"
                                 "3b9aca00 00000000 00000003 00000003 010203"
                                 "3b9aca00 000003e8 00000001 00000001 04")));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace statecast::test
