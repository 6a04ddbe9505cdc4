// SPDX-License-Identifier: BSD-3-Clause
// Rows: a packet in, what the cache holds before, the verdict, the counter and the packet out. All rows go through the
// pipeline together, in bursts of several sizes, and none may change what another gets.
#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "tests/support/eal.h"
#include "tests/worker/world.h"

namespace statecast::test {
namespace {

constexpr char kClient[] = "198.51.100.7", kWeb[] = "203.0.113.10", kPlain[] = "203.0.113.20", kGame[] = "203.0.113.30",
               kOther[] = "203.0.113.41", kClient6[] = "2001:db8:9::7", kWeb6[] = "2001:db8:1::10";

constexpr char kElsewhere[] = "02:00:00:00:00:99", kBroadcast[] = "ff:ff:ff:ff:ff:ff";

struct Row {
  const char* name;
  Packet frame;         // Ethernet
  std::string session;  // put into the cache before, with `entry`
  CacheEntry entry;
  Verdict verdict;
  Counter reason;
  MemberId member;  // where it is forwarded; 0: any
  uint16_t port = kWan;
};

CacheEntry to(MemberId m, uint64_t bytes = UINT64_MAX) {
  return {.member = m, .version = {1, 1, 1}, .bytes = bytes};
}
CacheEntry target(CacheTarget t) {
  return {.target = t, .version = {1, 1, 1}};
}

std::vector<Row> rows() {
  auto tcp = [](uint16_t port, uint8_t flags = kAck) {
    return eth().ip4(kClient, kWeb).tcp(port, 443, flags).payload(100).build();
  };
  auto web = [](int port) { return "10 tcp 198.51.100.7:" + std::to_string(port) + " 203.0.113.10:443"; };
  Packet to_client = ip4(kWeb, kClient).tcp(443, 1001, kAck).payload(1200).build();
  return {
      // resolve: what the cache says
      {"hit", tcp(1001), web(1001), to(kM1), Verdict::forward, Counter::resolve_forward_cache_hit, kM1},
      {"hit, another member", tcp(1002), web(1002), to(kM2), Verdict::forward, Counter::resolve_forward_cache_hit, kM2},
      {"hit, IPv6", eth().ip6(kClient6, kWeb6).tcp(1003, 443).payload(9).build(),
       "10 tcp [2001:db8:9::7]:1003 [2001:db8:1::10]:443", to(kM2), Verdict::forward,
       Counter::resolve_forward_cache_hit, kM2},
      {"SYN of a live session goes to its owner", tcp(1004, kSyn), web(1004), to(kM2), Verdict::forward,
       Counter::resolve_forward_cache_hit, kM2},
      {"revoked", tcp(1005), web(1005), target(CacheTarget::drop), Verdict::drop, Counter::resolve_drop_revoked, {}},
      {"SYN of a revoked session",
       tcp(1006, kSyn),
       web(1006),
       target(CacheTarget::drop),
       Verdict::drop,
       Counter::resolve_drop_revoked,
       {}},
      {"bytes spent, time to see whether it was refreshed",
       tcp(1007),
       web(1007),
       to(kM1, 139),
       Verdict::hold,
       Counter::resolve_hold_query,
       {}},
      {"unavailable",
       tcp(1008),
       web(1008),
       target(CacheTarget::unavailable),
       Verdict::drop,
       Counter::resolve_drop_unavailable,
       {}},
      {"SYN while the old owner is dead",
       tcp(1009, kSyn),
       web(1009),
       target(CacheTarget::unavailable),
       Verdict::forward,
       Counter::resolve_forward_selected,
       {}},
      {"miss", tcp(1010), "", {}, Verdict::hold, Counter::resolve_hold_query, {}},
      {"SYN, nothing known", tcp(1011, kSyn), "", {}, Verdict::forward, Counter::resolve_forward_selected, {}},
      {"unknown, group drops",
       tcp(1012),
       web(1012),
       target(CacheTarget::negative),
       Verdict::drop,
       Counter::resolve_drop_unknown_session,
       {}},
      {"SYN met by a negative entry",
       tcp(1013, kSyn),
       web(1013),
       target(CacheTarget::negative),
       Verdict::forward,
       Counter::resolve_forward_selected,
       {}},
      {"unknown, group goes stateless",
       eth().ip4(kClient, kOther).tcp(1014, 443).build(),
       "40 tcp 198.51.100.7:1014 203.0.113.41:443",
       target(CacheTarget::negative),
       Verdict::forward,
       Counter::resolve_forward_stateless,
       {}},
      {"unknown, group admits", eth().ip4(kClient, kGame).udp(1015, 27000).payload(5).build(),
       "30 udp 198.51.100.7:1015 203.0.113.30:27000", target(CacheTarget::negative), Verdict::forward,
       Counter::resolve_forward_admitted, kM2},
      {"mapping STATELESS",
       tcp(1016),
       web(1016),
       target(CacheTarget::stateless),
       Verdict::forward,
       Counter::resolve_forward_stateless,
       {}},
      // classify
      {"stateless group",
       eth().ip4(kClient, kPlain).tcp(1017, 80).build(),
       "",
       {},
       Verdict::forward,
       Counter::resolve_forward_stateless,
       kM1},
      {"a rule drops it",
       eth().ip4(kClient, kWeb).tcp(1018, 81).build(),
       "",
       {},
       Verdict::drop,
       Counter::classify_drop_no_rule,
       {}},
      {"no rule takes it",
       eth().ip4(kClient, kWeb).tcp(1019, 22).build(),
       "",
       {},
       Verdict::drop,
       Counter::classify_drop_no_rule,
       {}},
      {"ICMP error goes with the session that it quotes",
       eth().ip4("192.0.2.99", kWeb).icmp_error(3, 4, to_client, 1400).build(),
       "",
       {},
       Verdict::forward,
       Counter::resolve_forward_cache_hit,
       kM1},
      // group
      {"not ours",
       eth().ip4(kClient, "203.0.113.99").tcp(1, 443).build(),
       "",
       {},
       Verdict::to_kernel,
       Counter::group_kernel_not_ours,
       {}},
      {"within a longer prefix",
       eth().ip4(kClient, "203.0.113.47").tcp(1020, 5, kSyn).build(),
       "",
       {},
       Verdict::forward,
       Counter::resolve_forward_selected,
       {}},
      {"wrong port",
       eth(kTestSourceMac, kToUnder).ip4(kClient, kWeb).tcp(1021, 443).build(),
       web(1021),
       to(kM1),
       Verdict::drop,
       Counter::group_drop_wrong_port,
       {},
       kUnder},
      {"echo",
       eth().ip4(kClient, kWeb).icmp(8, 0, 0x00010002).payload(56).build(),
       "",
       {},
       Verdict::to_client,
       Counter::group_client_echo,
       {}},
      {"echo, IPv6",
       eth().ip6(kClient6, kWeb6).icmp(128, 0, 7).payload(8).build(),
       "",
       {},
       Verdict::to_client,
       Counter::group_client_echo,
       {}},
      {"echo reply", eth().ip4(kClient, kWeb).icmp(0).build(), "", {}, Verdict::drop, Counter::group_drop_icmp, {}},
      {"neither TCP, UDP nor ICMP",
       eth().ip4(kClient, kWeb).protocol(47).payload(20).build(),
       "",
       {},
       Verdict::drop,
       Counter::parse_drop_unsupported_protocol,
       {}},
      {"ARP",
       eth().ethertype(0x0806).payload(28).build(),
       "",
       {},
       Verdict::to_control,
       Counter::group_control_neighbour,
       {}},
      {"neighbour solicitation",
       eth().ip6(kClient6, "ff02::1:ff00:1").ttl(255).icmp(135).payload(16).build(),
       "",
       {},
       Verdict::to_control,
       Counter::group_control_neighbour,
       {}},
      {"neighbour solicitation, is my address free",
       eth().ip6("::", "ff02::1:ff00:1").ttl(255).icmp(135).payload(16).build(),
       "",
       {},
       Verdict::to_control,
       Counter::group_control_neighbour,
       {}},
      {"neighbour solicitation from afar",
       eth().ip6(kClient6, "2001:db8:2::1").ttl(254).icmp(135).payload(16).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_neighbour_hop_limit,
       {}},
      {"neighbour solicitation from afar, from nobody",
       eth().ip6("::", "2001:db8:2::1").ttl(64).icmp(135).payload(16).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_neighbour_hop_limit,
       {}},
      {"neighbour advertisement from afar",
       eth().ip6(kClient6, "2001:db8:2::1").ttl(64).icmp(136).payload(16).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_neighbour_hop_limit,
       {}},
      // whom the frame is for
      {"another station's",
       eth(kTestSourceMac, kElsewhere).ip4(kClient, kWeb).tcp(1028, 443).build(),
       web(1028),
       to(kM1),
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {}},
      {"another station's, not ours",
       eth(kTestSourceMac, kElsewhere).ip4(kClient, "203.0.113.99").tcp(1, 443).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {}},
      {"another station's ARP",
       eth(kTestSourceMac, kElsewhere).ethertype(0x0806).payload(28).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {}},
      {"to everybody",
       eth(kTestSourceMac, kBroadcast).ip4(kClient, kWeb).tcp(1029, 443).build(),
       web(1029),
       to(kM1),
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {}},
      {"echo to everybody",
       eth(kTestSourceMac, kBroadcast).ip4(kClient, kWeb).icmp(8).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {}},
      {"envelope to everybody",
       eth(kTestSourceMac, kBroadcast).ip4("10.2.0.11", "10.2.0.1").udp(5555, 6081).payload(100).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_not_for_us,
       {},
       kUnder},
      {"ARP to everybody",
       eth(kTestSourceMac, kBroadcast).ethertype(0x0806).payload(28).build(),
       "",
       {},
       Verdict::to_control,
       Counter::group_control_neighbour,
       {}},
      // parse
      {"bad checksum",
       eth().ip4(kClient, kWeb).ip_checksum(1).tcp(1022, 443).build(),
       "",
       {},
       Verdict::drop,
       Counter::parse_drop_bad_ip_checksum,
       {}},
      {"runt", Packet(9, 0), "", {}, Verdict::drop, Counter::parse_drop_truncated_l2, {}},
      {"LLDP",
       eth().ethertype(0x88cc).payload(46).build(),
       "",
       {},
       Verdict::drop,
       Counter::parse_drop_unknown_ethertype,
       {}},
      {"cut",
       eth().ip4(kClient, kWeb).tcp(1023, 443).payload(10).cut(5).build(),
       "",
       {},
       Verdict::drop,
       Counter::parse_drop_truncated_l3,
       {}},
      // encapsulate
      {"as large as fits", eth().ip4(kClient, kWeb).dont_fragment().tcp(1024, 443).payload(1328).build(), web(1024),
       to(kM1), Verdict::forward, Counter::resolve_forward_cache_hit, kM1},
      {"one byte too large",
       eth().ip4(kClient, kWeb).dont_fragment().tcp(1025, 443).payload(1329).build(),
       web(1025),
       to(kM1),
       Verdict::to_client,
       Counter::encap_client_too_big,
       {}},
      {"one byte too large, may be fragmented",
       eth().ip4(kClient, kWeb).tcp(1030, 443).payload(1329).build(),
       web(1030),
       to(kM1),
       Verdict::drop,
       Counter::encap_drop_may_fragment,
       {}},
      {"one byte too large, IPv6",
       eth().ip6(kClient6, kWeb6).tcp(1026, 443).payload(1309).build(),
       "10 tcp [2001:db8:9::7]:1026 [2001:db8:1::10]:443",
       to(kM1),
       Verdict::to_client,
       Counter::encap_client_too_big,
       {}},
      {"a member that nobody knows",
       tcp(1027),
       web(1027),
       to(MemberId{99}),
       Verdict::drop,
       Counter::encap_drop_no_endpoint,
       {}},
      // fragments
      {"later fragment whose first passed elsewhere",
       eth().ip4(kClient, kWeb).protocol(17).fragment(1480, false, 4711).payload(64).build(),
       "",
       {},
       Verdict::drop,
       Counter::identify_drop_fragment_elsewhere,
       {}},
      // envelopes
      {"no envelope",
       eth(kTestSourceMac, kToUnder).ip4("10.2.0.11", "10.2.0.1").udp(5555, 6081).payload(100).build(),
       "",
       {},
       Verdict::drop,
       Counter::open_drop_malformed,
       {},
       kUnder},
      {"envelope port from the outside",
       eth().ip4(kClient, "10.2.0.1").udp(5555, 6081).payload(100).build(),
       "",
       {},
       Verdict::drop,
       Counter::group_drop_wrong_port,
       {}},
  };
}

// The inner packet of a frame: without Ethernet.
Packet inner(const Packet& frame) {
  return Packet(frame.begin() + 14, frame.end());
}

void check(World& w, const Row& row, const Out& out) {
  SCOPED_TRACE(row.name);
  EXPECT_STREQ(to_string(row.verdict), to_string(out.verdict));
  EXPECT_STREQ(counter_name(row.reason), counter_name(out.reason));
  if (out.verdict != Verdict::forward) return;
  if (row.member.value != 0) { EXPECT_EQ(row.member.value, out.member.value); }
  EXPECT_EQ(kUnder, out.port);
  Envelope e;
  ASSERT_EQ(OpenResult::ok, w.open_at(out.member, out.output, e));
  EXPECT_EQ(hex(inner(row.frame)), hex(e.payload)) << "the inner packet is sent as it came, TTL and all";
  EXPECT_EQ(out.reason == Counter::resolve_forward_admitted, e.options.admitted);
  bool bootstrapping =
      out.reason == Counter::resolve_forward_selected || out.reason == Counter::resolve_forward_admitted;
  if (bootstrapping) { EXPECT_TRUE(e.options.replica_hint); }
  EXPECT_FALSE(e.options.forwarded);
}

class Bursts : public testing::TestWithParam<size_t> {};

TEST_P(Bursts, EachPacketOfItsOwn) {
  std::vector<Row> all = rows();
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  for (int round = 0; round < 3; ++round) {
    World w;
    for (const Row& r : all) {
      if (!r.session.empty()) w.put(r.session, r.entry);
    }
    std::shuffle(all.begin(), all.end(), random);
    for (size_t at = 0; at < all.size(); at += GetParam()) {
      std::vector<In> in;
      for (size_t i = at; i < std::min(all.size(), at + GetParam()); ++i) in.push_back({all[i].frame, all[i].port});
      std::vector<Out> out = w.run(in);
      for (size_t i = 0; i < out.size(); ++i) check(w, all[at + i], out[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Bursts, testing::Values(1, 7, 31, 32));

TEST(Pipeline, EveryRowsReasonIsItsVerdicts) {
  // A counter's second word is the verdict, so that the page and the packet say the same.
  World w;
  for (const Row& r : rows()) {
    std::string name = counter_name(r.reason);
    std::string outcome = name.substr(name.find('.') + 1);
    outcome = outcome.substr(0, outcome.find('.'));
    static const std::map<Verdict, std::string> kWord = {
        {Verdict::forward, "forward"},    {Verdict::to_client, "client"}, {Verdict::to_kernel, "kernel"},
        {Verdict::to_control, "control"}, {Verdict::hold, "hold"},        {Verdict::drop, "drop"}};
    EXPECT_EQ(kWord.at(r.verdict), outcome) << r.name;
  }
}

TEST(Pipeline, BytesAreSpentUpToTheLease) {
  World w;
  w.put("10 tcp 198.51.100.7:2000 203.0.113.10:443", to(kM1, 3 * 140));
  Packet frame = eth().ip4(kClient, kWeb).tcp(2000, 443).payload(100).build();
  auto out = w.run({{frame}, {frame}, {frame}, {frame}, {frame}});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Verdict::forward, out[i].verdict) << i;
  for (int i = 3; i < 5; ++i) EXPECT_EQ(Counter::resolve_drop_spent, out[i].reason) << i;
  EXPECT_TRUE(std::any_of(out.begin(), out.end(), [](const Out& o) { return o.ask; })) << "half gone: asks again";
}

TEST(Pipeline, AnExpiredLeaseIsAskedForAgain) {
  World w;
  w.put("10 tcp 198.51.100.7:2001 203.0.113.10:443", {.member = kM1, .version = {1, 1, 1}, .ends = w.now + 5s});
  Packet data = eth().ip4(kClient, kWeb).tcp(2001, 443).build();
  EXPECT_EQ(Verdict::forward, w.run({{data}})[0].verdict);
  w.now += 5s;
  EXPECT_EQ(Counter::resolve_hold_query, w.run({{data}})[0].reason);
}

// Under pressure: what the summaries lack is not asked about, but for a few; what they have is, and so is a session
// whose lease has just ended; what bootstraps needs no answer.
TEST(Pipeline, UnderPressureOnlyWhatMayExistIsAskedAbout) {
  World w;
  const char known[] = "10 tcp 198.51.100.7:2006 203.0.113.10:443",
             absent[] = "10 tcp 198.51.100.7:2007 203.0.113.10:443";
  auto filter = std::make_shared<SessionFilter>(100);
  filter->add(w.key_of(known));
  AbsenceMap::Source source{filter, std::make_shared<std::atomic<Instant>>(w.now + 1h), {}};
  source.counts.set();
  const AbsenceMap map(std::make_shared<std::vector<uint16_t>>(AbsenceMap::kSlots), 1, 1, {source});
  Pressure pressure;
  pressure.on = true;
  pressure.absence = &map;
  UnknownGate gate(*w.layout(), 1, pressure, 1);
  w.state().gate = &gate;
  Packet data = eth().ip4(kClient, kWeb).tcp(2007, 443).build();
  ASSERT_TRUE(gate.passes(w.key_of(known), 0, *IpAddress::parse("198.51.100.7"), w.now));
  for (unsigned i = 0; i < UnknownGate::kPerPrefixAtOnce; ++i) {
    EXPECT_EQ(Counter::resolve_hold_query, w.run({{data}})[0].reason) << i;
  }
  EXPECT_EQ(Counter::resolve_drop_absent, w.run({{data}})[0].reason) << "its prefix has no tokens left";
  EXPECT_EQ(Counter::resolve_hold_query, w.run({{eth().ip4(kClient, kWeb).tcp(2006, 443).build()}})[0].reason);
  EXPECT_EQ(Counter::resolve_forward_selected,
            w.run({{eth().ip4(kClient, kWeb).tcp(2007, 443, kSyn).build()}})[0].reason);
  // A live session proves its source, which then asks from a bucket of its own.
  w.put(absent, to(kM1));
  EXPECT_EQ(Verdict::forward, w.run({{data}})[0].verdict);
  EXPECT_EQ(Counter::resolve_hold_query, w.run({{eth().ip4(kClient, kWeb).tcp(2008, 443).build()}})[0].reason);
  w.state().gate = nullptr;
}

TEST(Pipeline, LaterFragmentsFollowTheFirst) {
  World w;
  w.put("10 udp 198.51.100.7:2002 203.0.113.10:53", to(kM2));
  Packet first = eth().ip4(kClient, kWeb).fragment(0, true, 42).udp(2002, 53).payload(1192).build();
  Packet later = eth().ip4(kClient, kWeb).protocol(17).fragment(1200, false, 42).payload(64).build();
  Packet other = eth().ip4("198.51.100.8", kWeb).protocol(17).fragment(1200, false, 42).payload(64).build();
  auto out = w.run({{later}, {first}, {later}, {other}});
  EXPECT_EQ(Counter::identify_drop_fragment_elsewhere, out[0].reason) << "before its first";
  EXPECT_EQ(kM2, out[1].member);
  EXPECT_EQ(kM2, out[2].member);
  EXPECT_EQ(Counter::resolve_forward_cache_hit, out[2].reason);
  EXPECT_EQ(Counter::identify_drop_fragment_elsewhere, out[3].reason) << "another source";
  w.now += FragmentTable::kLife;
  EXPECT_EQ(Counter::identify_drop_fragment_elsewhere, w.run({{later}})[0].reason) << "long after";
}

TEST(Pipeline, TooBigNamesTheInnerMtu) {
  World w;
  w.put("10 tcp 198.51.100.7:2003 203.0.113.10:443", to(kM1));
  Packet frame = eth().ip4(kClient, kWeb).dont_fragment().tcp(2003, 443).payload(1400).build();
  auto out = w.run({{frame}});
  ASSERT_EQ(Verdict::to_client, out[0].verdict);
  EXPECT_EQ(kWan, out[0].port);
  ParsedPacket p;
  ASSERT_EQ(ParseResult::ok, parse_frame(out[0].output, p, {.l4_checksum = true}));
  EXPECT_EQ(3, p.icmp_type);
  EXPECT_EQ(4, p.icmp_code);
  EXPECT_EQ(kInnerMtuV4, static_cast<size_t>(out[0].output[p.l4_offset + 6u] << 8 | out[0].output[p.l4_offset + 7u]));
  EXPECT_EQ(kWeb, to_string(source_of(out[0].output, p))) << "no address of the underlay is shown";
  EXPECT_EQ(0, std::memcmp(out[0].output.data(), kGatewayMac.raw.data(), 6));
}

TEST(Pipeline, EchoesAreRateLimited) {
  World w;
  Packet echo = eth().ip4(kClient, kWeb).icmp(8).build();
  unsigned answered = 0;
  for (int i = 0; i < 20; ++i) {
    for (const Out& o : w.run(std::vector<In>(32, {echo}))) answered += o.verdict == Verdict::to_client;
  }
  EXPECT_EQ(100u, answered) << "a tenth of a second's worth";
}

TEST(Pipeline, NeighbourFramesDoNotFillTheMailbox) {
  World w;
  Packet arp = eth().ethertype(0x0806).payload(28).build();
  Packet solicitation = eth().ip6(kClient6, "ff02::1:ff00:1").ttl(255).icmp(135).payload(16).build();
  unsigned taken = 0, dropped = 0;
  for (int i = 0; i < 200; ++i) {
    for (const Out& o : w.run({{arp}, {solicitation}})) {
      taken += o.verdict == Verdict::to_control;
      dropped += o.reason == Counter::group_drop_neighbour_rate;
    }
  }
  EXPECT_EQ(100u, taken) << "a tenth of a second's worth";
  EXPECT_EQ(300u, dropped);
  w.now += 10ms;
  EXPECT_EQ(Verdict::to_control, w.run({{arp}})[0].verdict);
}

TEST(Pipeline, NoReachableMember) {
  World w;
  for (PeerHop& p : w.snapshot().peers) p.reachable = false;
  auto out = w.run({{eth().ip4(kClient, kWeb).tcp(2004, 443, kSyn).build()}});
  EXPECT_EQ(Counter::resolve_drop_no_member, out[0].reason);
}

TEST(Pipeline, NextHopUnknown) {
  World w;
  w.put("10 tcp 198.51.100.7:2005 203.0.113.10:443", to(kM1));
  w.snapshot().peers[0].hop.known = false;
  EXPECT_EQ(Counter::encap_drop_no_next_hop, w.run({{eth().ip4(kClient, kWeb).tcp(2005, 443).build()}})[0].reason);
}

}  // namespace
}  // namespace statecast::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new statecast::EalEnvironment(128));
  return RUN_ALL_TESTS();
}
