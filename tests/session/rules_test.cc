// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/rules.h"

#include <gtest/gtest.h>

#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

constexpr GroupId kGroup{10};
constexpr std::string_view kClient4 = "198.51.100.7", kServer4 = "203.0.113.10";
constexpr std::string_view kClient6 = "2001:db8:7::7", kServer6 = "2001:db8::10";
constexpr auto kIn = Direction::from_client;
constexpr auto kOut = Direction::from_member;
constexpr auto kTcp = Protocol::tcp;
constexpr auto kUdp = Protocol::udp;
using C = PacketClass;

PacketBuilder in() {
  return ip4(kClient4, kServer4);
}
PacketBuilder out() {
  return ip4(kServer4, kClient4);
}
PacketBuilder in6() {
  return ip6(kClient6, kServer6);
}
PacketBuilder out6() {
  return ip6(kServer6, kClient6);
}

const std::vector<SessionRule> kWeb = {
    {kTcp, {{80, 80}, {443, 443}}, C::stateful},
    {kUdp, {{443, 443}}, C::stateful},
    {kUdp, {{53, 53}}, C::stateless},
    {kTcp, {{22, 22}}, C::none},
    {kTcp, {{1024, 65535}}, C::stateless},
};
const std::vector<SessionRule> kByProtocol = {{kUdp, {}, C::stateless}, {Protocol::none, {}, C::stateful}};

struct Row {
  const char* name;
  std::vector<SessionRule> rules;
  PacketBuilder packet;
  Direction direction;
  PacketClass expected;
  const char* session;  // "none" where there is no ID
};

const char* const kTcp4 = "10 tcp 198.51.100.7:40000 203.0.113.10:443";
const char* const kTcp6 = "10 tcp [2001:db8:7::7]:40000 [2001:db8::10]:443";
const char* const kUdp4 = "10 udp 198.51.100.7:40000 203.0.113.10:443";
const char* const kUdp6 = "10 udp [2001:db8:7::7]:40000 [2001:db8::10]:443";

TEST(Rules, Rows) {
  Packet sent = out().tcp(443, 40000, kAck).payload(1200).build();
  Packet received = in().tcp(40000, 443, kAck).payload(1200).build();
  Packet sent6 = out6().udp(443, 40000).payload(1200).build();
  Packet sent_syn = out().tcp(443, 40000, kSyn).build();
  auto router = [](std::string_view to) { return ip4("192.0.2.1", to); };

  const Row rows[] = {
      {"no rules: tcp", {}, in().tcp(40000, 443), kIn, C::stateful, kTcp4},
      {"no rules: udp6", {}, in6().udp(40000, 443), kIn, C::stateful, kUdp6},
      {"no rules: syn", {}, in().tcp(40000, 443, kSyn), kIn, C::bootstrapping, kTcp4},
      {"no rules: icmp echo", {}, in().icmp(8), kIn, C::none, "none"},
      {"no rules: later fragment", {}, in().fragment(1480, false).protocol(17).payload(9), kIn, C::stateful, "none"},
      {"the answer has the same session", {}, out().tcp(443, 40000), kOut, C::stateful, kTcp4},
      {"and over ip6", {}, out6().tcp(443, 40000), kOut, C::stateful, kTcp6},

      {"syn", kWeb, in().tcp(40000, 443, kSyn), kIn, C::bootstrapping, kTcp4},
      {"syn with congestion flags", kWeb, in().tcp(40000, 443, kSyn | 0xc0), kIn, C::bootstrapping, kTcp4},
      {"syn with data", kWeb, in().tcp(40000, 443, kSyn).payload(5), kIn, C::bootstrapping, kTcp4},
      {"syn/ack", kWeb, out().tcp(443, 40000, kSyn | kAck), kOut, C::stateful, kTcp4},
      {"syn/ack from a client", kWeb, in().tcp(40000, 443, kSyn | kAck), kIn, C::stateful, kTcp4},
      {"syn that a member sends", kWeb, out().tcp(443, 40000, kSyn), kOut, C::bootstrapping, kTcp4},
      {"fin", kWeb, in().tcp(40000, 443, kFin | kAck), kIn, C::stateful, kTcp4},
      {"rst", kWeb, in().tcp(40000, 443, kRst), kIn, C::stateful, kTcp4},
      {"second range", kWeb, in().tcp(40000, 80), kIn, C::stateful, "10 tcp 198.51.100.7:40000 203.0.113.10:80"},
      {"the client's port does not count", kWeb, in().tcp(443, 100), kIn, C::none, "none"},
      {"nor does it in the answer", kWeb, out().tcp(100, 443), kOut, C::none, "none"},
      {"a rule that drops", kWeb, in().tcp(40000, 22), kIn, C::none, "none"},
      {"first and last port of a range", kWeb, in().tcp(1, 1024), kIn, C::stateless,
       "10 tcp 198.51.100.7:1 203.0.113.10:1024"},
      {"stateless syn", kWeb, in().tcp(1, 65535, kSyn), kIn, C::stateless, "10 tcp 198.51.100.7:1 203.0.113.10:65535"},
      {"udp, own rule", kWeb, in().udp(40000, 443), kIn, C::stateful, kUdp4},
      {"udp, stateless", kWeb, in().udp(40000, 53), kIn, C::stateless, "10 udp 198.51.100.7:40000 203.0.113.10:53"},
      {"udp, no rule", kWeb, in().udp(40000, 54), kIn, C::none, "none"},
      {"first fragment", kWeb, in().fragment(0, true).udp(40000, 443).udp_length(2000).payload(1472), kIn, C::stateful,
       kUdp4},
      {"later fragment, rules with ports", kWeb, in().fragment(1480, false).protocol(17).payload(9), kIn, C::none,
       "none"},
      {"later fragment, a port rule may be its own",
       {{kUdp, {{443, 443}}, C::stateful}, {kUdp, {}, C::stateless}},
       in().fragment(1480, false).protocol(17).payload(9),
       kIn,
       C::none,
       "none"},

      {"by protocol: tcp", kByProtocol, in().tcp(40000, 443), kIn, C::stateful, kTcp4},
      {"by protocol: udp", kByProtocol, in().udp(40000, 443), kIn, C::stateless, kUdp4},
      {"by protocol: later fragment", kByProtocol, in().fragment(1480, false).protocol(17).payload(9), kIn,
       C::stateless, "none"},
      {"later fragment, a port rule of another protocol first",
       {{kTcp, {{80, 80}}, C::stateless}, {kUdp, {}, C::stateful}},
       in().fragment(80, false).protocol(17).payload(9),
       kIn,
       C::stateful,
       "none"},

      {"error about what the member sent", kWeb, router(kServer4).icmp_error(3, 4, sent, 1400), kIn, C::stateful,
       kTcp4},
      {"error about what the client sent", kWeb, router(kClient4).icmp_error(3, 3, received), kOut, C::stateful, kTcp4},
      {"error over ip6", kWeb, ip6("2001:db8:1::1", kServer6).icmp_error(2, 0, sent6, 1280), kIn, C::stateful, kUdp6},
      {"error about a syn", kWeb, router(kServer4).icmp_error(3, 1, sent_syn), kIn, C::stateful, kTcp4},
      {"error about a port without rule", kWeb, router(kServer4).icmp_error(3, 3, out().udp(54, 40000).build()), kIn,
       C::none, "none"},
      {"error without a quote", kWeb, router(kServer4).icmp(3, 3), kIn, C::none, "none"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Packet bytes = row.packet.build();
    ParsedPacket p;
    ASSERT_EQ(parse_ip(bytes, p, {.l4_checksum = true}), ParseResult::ok);
    Classified c = SessionRules(row.rules).classify(bytes, p, kGroup, row.direction);
    EXPECT_STREQ(to_string(c.packet_class), to_string(row.expected));
    EXPECT_EQ(to_string(c.id), row.session);
  }
}

// The offsets are those of the frame: tags in front change nothing.
TEST(Rules, FramesAsWell) {
  Packet frame = eth().vlan(7).ip4(kClient4, kServer4).tcp(40000, 443).build();
  ParsedPacket p;
  ASSERT_EQ(parse_frame(frame, p), ParseResult::ok);
  EXPECT_EQ(to_string(SessionRules().classify(frame, p, kGroup, kIn).id), kTcp4);
}

}  // namespace
}  // namespace statecast::test
