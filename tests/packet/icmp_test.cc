// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/icmp.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

constexpr std::string_view kClient4 = "198.51.100.7", kServer4 = "203.0.113.10";
constexpr std::string_view kClient6 = "2001:db8:7::7", kServer6 = "2001:db8::10";
constexpr ParseChecks kAll{.l4_checksum = true};

PacketBuilder in4() {
  return eth().ip4(kClient4, kServer4).dont_fragment();
}
PacketBuilder in6() {
  return eth().ip6(kClient6, kServer6);
}

enum class Ask { echo, too_big };

Packet answer(const Packet& frame, Ask ask, size_t space = 2000) {
  ParsedPacket p;
  EXPECT_EQ(parse_frame(frame, p, kAll), ParseResult::ok);
  Packet out(space);
  out.resize(ask == Ask::echo ? write_echo_reply(frame, p, out) : write_too_big(frame, p, 1400, out));
  return out;
}

TEST(Icmp, EchoReplyIsTheRequestTurnedRound) {
  for (size_t n : {0, 1, 56, 1472}) {
    Packet reply4 = answer(in4().ip_options({1}).icmp(8, 0, 0x12340007).payload(n).padding(3).build(), Ask::echo);
    EXPECT_EQ(hex(reply4), hex(ip4(kServer4, kClient4).dont_fragment().icmp(0, 0, 0x12340007).payload(n).build()));
    Packet reply6 = answer(in6().extension(60).icmp(128, 0, 0x12340007).payload(n).build(), Ask::echo);
    EXPECT_EQ(hex(reply6), hex(ip6(kServer6, kClient6).icmp(129, 0, 0x12340007).payload(n).build()));
  }
}

TEST(Icmp, NoEchoReply) {
  EXPECT_TRUE(answer(in4().icmp(0).payload(8).build(), Ask::echo).empty()) << "a reply";
  EXPECT_TRUE(answer(in4().fragment(0, true).icmp(8).payload(8).build(), Ask::echo).empty()) << "a fragment";
  EXPECT_TRUE(answer(eth().ip4(kClient4, "224.0.0.1").icmp(8).build(), Ask::echo).empty()) << "to multicast";
  EXPECT_TRUE(answer(eth().ip4(kClient4, "255.255.255.255").icmp(8).build(), Ask::echo).empty()) << "to broadcast";
  EXPECT_TRUE(answer(eth().ip6(kClient6, "ff02::1").icmp(128).build(), Ask::echo).empty()) << "to multicast";
  EXPECT_TRUE(answer(eth().ip4(kClient4, "127.0.0.1").icmp(8).build(), Ask::echo).empty()) << "to loopback";
  EXPECT_TRUE(answer(eth().ip6(kClient6, "::").icmp(128).build(), Ask::echo).empty()) << "to nobody";
  EXPECT_TRUE(answer(in4().udp(8, 8).build(), Ask::echo).empty()) << "UDP";
  EXPECT_TRUE(answer(in4().icmp(8).payload(8).build(), Ask::echo, 35).empty()) << "no space";
}

TEST(Icmp, TooBigSaysTheMtuAndQuotes) {
  Packet sent4 = in4().tcp(40000, 443).payload(1460).build();
  Packet quote4(sent4.begin() + 14, sent4.end());
  EXPECT_EQ(hex(answer(sent4, Ask::too_big)),
            hex(ip4(kServer4, kClient4).dont_fragment().icmp_error(3, 4, quote4, 1400).build()));
  EXPECT_EQ(answer(sent4, Ask::too_big).size(), kIcmpErrorMaxIp4);

  Packet sent6 = in6().udp(40000, 443).payload(1440).build();
  Packet quote6(sent6.begin() + 14, sent6.end());
  EXPECT_EQ(hex(answer(sent6, Ask::too_big)),
            hex(ip6(kServer6, kClient6).icmp_error(2, 0, quote6, 1400, kIcmpErrorMax - 48).build()));
  EXPECT_EQ(answer(sent6, Ask::too_big).size(), kIcmpErrorMax);

  Packet ping = in4().icmp(8).payload(1472).build();
  EXPECT_FALSE(answer(ping, Ask::too_big).empty());
}

// Who gets the error recognises the session that it is about.
TEST(Icmp, TooBigParsesAsAnErrorOfItsSession) {
  for (const Packet& sent :
       {in4().tcp(40000, 443).payload(1460).build(), in6().udp(40000, 443).payload(1440).build()}) {
    Packet error = answer(sent, Ask::too_big);
    ParsedPacket p;
    ASSERT_EQ(parse_ip(error, p, kAll), ParseResult::ok);
    EXPECT_TRUE(p.is_icmp_error());
    EXPECT_EQ(p.source_port, 40000);
    EXPECT_EQ(p.destination_port, 443);
  }
}

TEST(Icmp, NothingTooBig) {
  EXPECT_TRUE(answer(eth().ip4(kClient4, kServer4).tcp(1, 2).payload(1460).build(), Ask::too_big).empty()) << "no DF";
  Packet quoted = ip4(kServer4, kClient4).tcp(443, 40000).build();
  EXPECT_TRUE(answer(in4().icmp_error(3, 3, quoted).build(), Ask::too_big).empty()) << "about an error";
  EXPECT_TRUE(answer(in4().icmp(5).build(), Ask::too_big).empty()) << "about a redirect";
  EXPECT_TRUE(answer(in6().icmp(2).build(), Ask::too_big).empty()) << "about an error without a quote";
  EXPECT_TRUE(answer(in6().fragment(1448, false).protocol(17).payload(1448).build(), Ask::too_big).empty()) << "later";
  EXPECT_TRUE(answer(eth().ip6(kClient6, "ff02::1").udp(1, 2).payload(1440).build(), Ask::too_big).empty());
  EXPECT_TRUE(answer(in6().udp(1, 2).payload(1440).build(), Ask::too_big, kIcmpErrorMax - 1).empty()) << "no space";
}

}  // namespace
}  // namespace statecast::test
