// SPDX-License-Identifier: BSD-3-Clause
#include "tests/packet/parse_rows.h"

namespace statecast::test {

namespace {

constexpr std::string_view kClient4 = "198.51.100.7", kServer4 = "203.0.113.10", kRouter4 = "192.0.2.1";
constexpr std::string_view kClient6 = "2001:db8:7::7", kServer6 = "2001:db8::10", kRouter6 = "2001:db8:1::1";

PacketBuilder in4() {
  return eth().ip4(kClient4, kServer4);
}
PacketBuilder in6() {
  return eth().ip6(kClient6, kServer6);
}

using R = ParseResult;
constexpr auto kTcp = Protocol::tcp;
constexpr auto kUdp = Protocol::udp;

void good(std::vector<ParseRow>& rows) {
  auto add = [&](ParseRow r) { rows.push_back(std::move(r)); };
  add({"tcp4", in4().tcp(40000, 443).payload(10).build(), R::ok, kTcp, 40000, 443, 10});
  add({"tcp6", in6().tcp(40000, 443).payload(10).build(), R::ok, kTcp, 40000, 443, 10});
  add({"tcp4 syn with options", in4().tcp(1, 65535, kSyn).mss(1460).build(), R::ok, kTcp, 1, 65535, 0});
  add({"udp4", in4().udp(5000, 53).payload(33).build(), R::ok, kUdp, 5000, 53, 33});
  add({"udp6", in6().udp(5000, 53).payload(33).build(), R::ok, kUdp, 5000, 53, 33});
  add({"udp4 empty", in4().udp(5000, 53).build(), R::ok, kUdp, 5000, 53, 0});
  add({"udp4 without checksum", in4().udp(5000, 53).l4_checksum(0).payload(4).build(), R::ok, kUdp, 5000, 53, 4});
  add({"udp4 with bytes behind its length", in4().udp(5000, 53).udp_length(10).payload(7).build(), R::ok, kUdp, 5000,
       53, 7});
  add({"vlan", eth().vlan(7).ip4(kClient4, kServer4).tcp(2, 3).build(), R::ok, kTcp, 2, 3, 0});
  add({"two vlan tags", eth().vlan(7, 0x88a8).vlan(8).ip6(kClient6, kServer6).udp(2, 3).build(), R::ok, kUdp, 2, 3, 0});
  add({"ip options", in4().ip_options({1, 1, 1, 0}).tcp(2, 3).payload(5).build(), R::ok, kTcp, 2, 3, 5});
  add({"ip options, longest", in4().ip_options(Packet(40)).udp(2, 3).build(), R::ok, kUdp, 2, 3, 0});
  add({"padding", in4().tcp(2, 3).payload(1).padding(5).build(), R::ok, kTcp, 2, 3, 1});
  add({"padding of odd length", in6().udp(2, 3).payload(1).padding(3).build(), R::ok, kUdp, 2, 3, 1});
  add({"hop-by-hop", in6().extension(0).tcp(2, 3).build(), R::ok, kTcp, 2, 3, 0});
  add({"three extension headers", in6().extension(0, 16).extension(60).routing(4, 0).udp(2, 3).payload(2).build(),
       R::ok, kUdp, 2, 3, 2});
  add({"eight extension headers",
       in6()
           .extension(0)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .extension(60)
           .udp(2, 3)
           .build(),
       R::ok, kUdp, 2, 3, 0});
  add({"segment routing, on the way", in6().routing(4, 1).tcp(2, 3).l4_checksum(0).build(), R::ok, kTcp, 2, 3, 0});
  add({"atomic fragment", in6().fragment(0, false).udp(2, 3).payload(3).build(), R::ok, kUdp, 2, 3, 3});
  add({"don't fragment", in4().dont_fragment().udp(2, 3).build(), R::ok, kUdp, 2, 3, 0});

  add({"first fragment, udp4", in4().fragment(0, true).udp(2, 3).udp_length(3000).payload(1400).build(), R::ok, kUdp, 2,
       3, 1400, Fragment::first});
  add({"first fragment, tcp4", in4().fragment(0, true).tcp(2, 3).payload(12).build(), R::ok, kTcp, 2, 3, 12,
       Fragment::first});
  add({"first fragment, udp6", in6().fragment(0, true).udp(2, 3).udp_length(3000).payload(1400).build(), R::ok, kUdp, 2,
       3, 1400, Fragment::first});
  add({"middle fragment, udp4", in4().fragment(1480, true).protocol(17).payload(1480).build(), R::ok, kUdp, 0, 0, 1480,
       Fragment::later});
  add({"last fragment, tcp4", in4().fragment(2960, false).protocol(6).payload(7).build(), R::ok, kTcp, 0, 0, 7,
       Fragment::later});
  add({"last fragment, udp6", in6().fragment(1448, false).protocol(17).payload(1).build(), R::ok, kUdp, 0, 0, 1,
       Fragment::later});
  add({"last fragment at the very end", in4().fragment(65504, false).protocol(17).payload(11).build(), R::ok, kUdp, 0,
       0, 11, Fragment::later});
}

void icmp(std::vector<ParseRow>& rows) {
  auto add = [&](ParseRow r) { rows.push_back(std::move(r)); };
  constexpr auto kIcmp = Protocol::icmp;
  constexpr auto kIcmp6 = Protocol::icmp6;
  Packet sent4 = ip4(kServer4, kClient4).tcp(443, 40000).payload(1400).build();
  Packet sent6 = ip6(kServer6, kClient6).udp(443, 40000).payload(1400).build();
  auto error4 = [] { return eth().ip4(kRouter4, kServer4); };
  auto error6 = [] { return eth().ip6(kRouter6, kServer6); };

  add({"echo request 4", in4().icmp(8, 0, 0x10001).payload(56).build(), R::ok, kIcmp, 0, 0, 56});
  add({"echo request 6", in6().icmp(128, 0, 0x10001).payload(56).build(), R::ok, kIcmp6, 0, 0, 56});
  add({"icmp first fragment", in4().fragment(0, true).icmp(8).payload(1472).build(), R::ok, kIcmp, 0, 0, 1472,
       Fragment::first});
  add({"fragmentation needed", error4().icmp_error(3, 4, sent4, 1300).build(), R::ok, kTcp, 443, 40000, 548,
       Fragment::none, true});
  add({"port unreachable, shortest quote", error4().icmp_error(3, 3, sent4, 0, 28).build(), R::ok, kTcp, 443, 40000, 28,
       Fragment::none, true});
  add({"time exceeded", error4().icmp_error(11, 0, sent4).build(), R::ok, kTcp, 443, 40000, 548, Fragment::none, true});
  add({"quote with ip options",
       error4().icmp_error(12, 0, ip4(kServer4, kClient4).ip_options(Packet(8)).udp(9, 8).build()).build(), R::ok, kUdp,
       9, 8, 36, Fragment::none, true});
  add({"quote of a first fragment",
       error4().icmp_error(11, 1, ip4(kServer4, kClient4).fragment(0, true).udp(9, 8).payload(8).build()).build(),
       R::ok, kUdp, 9, 8, 36, Fragment::none, true});
  add({"packet too big", error6().icmp_error(2, 0, sent6, 1280).build(), R::ok, kUdp, 443, 40000, 548, Fragment::none,
       true});
  add({"quote with extension headers",
       error6().icmp_error(1, 4, ip6(kServer6, kClient6).extension(0).extension(60, 16).tcp(9, 8).build()).build(),
       R::ok, kTcp, 9, 8, 84, Fragment::none, true});

  // No session to be had from these: they stay ICMP.
  add({"quote too short", error4().icmp_error(3, 3, sent4, 0, 23).build(), R::ok, kIcmp, 0, 0, 23});
  add({"quote too short 6", error6().icmp_error(1, 0, sent6, 0, 43).build(), R::ok, kIcmp6, 0, 0, 43});
  add({"no quote", error4().icmp(3, 3).build(), R::ok, kIcmp, 0, 0, 0});
  add({"quote of a later fragment",
       error4().icmp_error(11, 1, ip4(kServer4, kClient4).fragment(8, false).protocol(17).payload(8).build()).build(),
       R::ok, kIcmp, 0, 0, 28});
  add({"quote of an echo", error4().icmp_error(3, 1, ip4(kServer4, kClient4).icmp(0).build()).build(), R::ok, kIcmp, 0,
       0, 28});
  add({"quote of another family", error4().icmp_error(3, 3, sent6).build(), R::ok, kIcmp, 0, 0, 548});
  add({"quote of somebody else's packet",
       error4().icmp_error(3, 4, ip4(kClient4, kServer4).tcp(443, 2).build()).build(), R::ok, kIcmp, 0, 0, 40});
  add({"quote with port 0", error4().icmp_error(3, 4, ip4(kServer4, kClient4).tcp(0, 2).build()).build(), R::ok, kIcmp,
       0, 0, 40});
  add({"redirect", error4().icmp_error(5, 1, sent4).build(), R::ok, kIcmp, 0, 0, 548});
  add({"source quench", error4().icmp_error(4, 0, sent4).build(), R::ok, kIcmp, 0, 0, 548});
}

void bad(std::vector<ParseRow>& rows) {
  auto add = [&](std::string name, R result, const PacketBuilder& b) {
    rows.push_back({std::move(name), b.build(), result});
  };
  add("arp", R::not_ip, eth().ethertype(0x0806).payload(28));
  add("802.3 length", R::not_ip, eth().ethertype(40).payload(40));
  add("three vlan tags", R::not_ip, eth().vlan(1).vlan(2).vlan(3).ip4(kClient4, kServer4).udp(1, 2));
  add("empty", R::truncated_l2, PacketBuilder());
  add("13 bytes", R::truncated_l2, in4().udp(1, 2).cut_to(13));
  add("vlan tag cut", R::truncated_l2, eth().vlan(1).ip4(kClient4, kServer4).udp(1, 2).cut_to(17));

  add("ethernet header alone", R::truncated_l3, in4().udp(1, 2).cut_to(14));
  add("ip4 header cut", R::truncated_l3, in4().udp(1, 2).cut_to(14 + 19));
  add("ip6 header cut", R::truncated_l3, in6().udp(1, 2).cut_to(14 + 39));
  add("ip4 shorter than it says", R::truncated_l3, in4().udp(1, 2).payload(9).cut(1));
  add("ip6 shorter than it says", R::truncated_l3, in6().udp(1, 2).payload(9).cut(1));
  add("version 5", R::bad_ip_version, in4().ip_version(5).udp(1, 2));
  add("version 6 as ip4", R::bad_ip_version, in6().ethertype(0x0800).udp(1, 2));
  add("version 4 as ip6", R::bad_ip_version, in4().ethertype(0x86dd).udp(1, 2));
  add("header length 16", R::bad_ip_header_length, in4().ip_header_words(4).udp(1, 2));
  add("header length beyond the frame", R::bad_ip_header_length, in4().ip_header_words(8).udp(1, 2));
  add("ip checksum", R::bad_ip_checksum, in4().ip_checksum(1).udp(1, 2));
  add("total length in the header", R::bad_ip_length, in4().ip_length(19).udp(1, 2));
  add("total length 0", R::bad_ip_length, in4().ip_length(0).udp(1, 2));
  add("jumbogram", R::bad_ip_length, in6().ip_length(65496).udp(1, 2));

  add("extension header cut", R::bad_extension_header, in6().extension(0).ip_length(7).udp(1, 2));
  add("extension header longer than the packet", R::bad_extension_header,
      in6().extension(60).extension_units(2).udp(1, 2));
  add("hop-by-hop not first", R::bad_extension_header, in6().extension(60).extension(0).udp(1, 2));
  add("nine extension headers", R::bad_extension_header,
      in6()
          .extension(0)
          .extension(60)
          .extension(60)
          .extension(60)
          .extension(60)
          .extension(60)
          .extension(60)
          .extension(60)
          .extension(60)
          .udp(2, 3));
  add("routing header type 0", R::bad_extension_header, in6().routing(0, 1).udp(1, 2));
  add("two fragment headers", R::bad_extension_header, in6().fragment(0, true).fragment(0, true).udp(1, 2).payload(8));

  add("fragment beyond 65,535", R::bad_fragment, in4().fragment(65504, false).protocol(17).payload(12));
  add("fragment beyond 65,535, ip6", R::bad_fragment, in6().fragment(65528, false).protocol(17).payload(8));
  add("empty fragment", R::bad_fragment, in4().fragment(800, false).protocol(17));
  add("middle fragment of 7 bytes", R::bad_fragment, in4().fragment(800, true).protocol(17).payload(7));
  add("middle fragment of 12 bytes", R::bad_fragment, in4().fragment(800, true).protocol(17).payload(12));
  add("first fragment of 9 bytes", R::bad_fragment, in6().fragment(0, true).udp(1, 2).udp_length(80).payload(1));
  add("first fragment with half a tcp header", R::bad_fragment, in4().fragment(0, true).protocol(6).payload(16));
  add("first fragment without all tcp options", R::bad_fragment,
      in4().fragment(0, true).tcp(1, 2).tcp_header_words(8).payload(4));
  add("fragment over the tcp flags", R::bad_fragment, in4().fragment(8, false).protocol(6).payload(20));

  add("tcp header cut", R::truncated_l4, in4().protocol(6).payload(19));
  add("udp header cut", R::truncated_l4, in6().protocol(17).payload(7));
  add("icmp header cut", R::truncated_l4, in4().protocol(1).payload(7));
  add("icmp6 header cut", R::truncated_l4, in6().protocol(58).payload(7));
  add("tcp nothing", R::truncated_l4, in6().protocol(6));
  add("tcp data offset 4", R::bad_l4_length, in4().tcp(1, 2).tcp_header_words(4));
  add("tcp data offset beyond the packet", R::bad_l4_length, in6().tcp(1, 2).tcp_header_words(6).payload(3));
  add("udp length 7", R::bad_l4_length, in4().udp(1, 2).udp_length(7));
  add("udp length beyond the packet", R::bad_l4_length, in6().udp(1, 2).udp_length(19).payload(10));
  add("tcp4 checksum", R::bad_l4_checksum, in4().tcp(1, 2).l4_checksum(1));
  add("tcp6 checksum", R::bad_l4_checksum, in6().tcp(1, 2).l4_checksum(1));
  add("udp4 checksum", R::bad_l4_checksum, in4().udp(1, 2).l4_checksum(1).payload(5));
  add("udp6 without checksum", R::bad_l4_checksum, in6().udp(1, 2).l4_checksum(0).payload(5));
  add("icmp checksum", R::bad_l4_checksum, in4().icmp(8).l4_checksum(1));
  add("icmp6 checksum", R::bad_l4_checksum, in6().icmp(128).l4_checksum(1));
  add("tcp no flags", R::bad_l4_flags, in4().tcp(1, 2, 0));
  add("tcp congestion flags alone", R::bad_l4_flags, in4().tcp(1, 2, 0xc0));
  add("tcp syn and fin", R::bad_l4_flags, in6().tcp(1, 2, kSyn | kFin));
  add("tcp syn and rst", R::bad_l4_flags, in4().tcp(1, 2, kSyn | kRst | kAck));
  add("tcp source port 0", R::bad_port, in4().tcp(0, 2));
  add("tcp destination port 0", R::bad_port, in6().tcp(1, 0));
  add("udp source port 0", R::bad_port, in6().udp(0, 2));
  add("udp destination port 0", R::bad_port, in4().udp(1, 0));

  add("source multicast", R::bad_address, eth().ip4("224.0.0.1", kServer4).udp(1, 2));
  add("source reserved", R::bad_address, eth().ip4("240.0.0.1", kServer4).udp(1, 2));
  add("source broadcast", R::bad_address, eth().ip4("255.255.255.255", kServer4).udp(1, 2));
  add("source loopback", R::bad_address, eth().ip4("127.0.0.1", kServer4).tcp(1, 2));
  add("source unspecified", R::bad_address, eth().ip4("0.0.0.0", kServer4).udp(68, 67));
  add("source is destination", R::bad_address, eth().ip4(kServer4, kServer4).tcp(1, 2, kSyn));
  add("source multicast 6", R::bad_address, eth().ip6("ff02::1", kServer6).udp(1, 2));
  add("source loopback 6", R::bad_address, eth().ip6("::1", kServer6).udp(1, 2));
  add("source unspecified 6", R::bad_address, eth().ip6("::", "ff02::1:ff00:1").icmp(135).payload(16));
  add("source is destination 6", R::bad_address, eth().ip6(kServer6, kServer6).udp(1, 2));
  add("source is destination, later fragment", R::bad_address,
      eth().ip4(kServer4, kServer4).fragment(80, false).protocol(17).payload(8));

  add("gre", R::unsupported_protocol, in4().protocol(47).payload(20));
  add("no next header", R::unsupported_protocol, in6());
  add("icmp6 over ip4", R::unsupported_protocol, in4().protocol(58).payload(20));
  add("icmp over ip6", R::unsupported_protocol, in6().protocol(1).payload(20));
  add("authentication header", R::unsupported_protocol, in6().protocol(51).payload(24));
}

}  // namespace

std::vector<ParseRow> parse_rows() {
  std::vector<ParseRow> rows;
  good(rows);
  icmp(rows);
  bad(rows);
  return rows;
}

}  // namespace statecast::test
