// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/parse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>

#include "base/rng.h"
#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse_burst.h"
#include "dataplane/packet/parse_plain.h"
#include "tests/packet/parse_rows.h"

namespace statecast::test {
namespace {

constexpr ParseChecks kAll{.l4_checksum = true};

std::string name_of(ParseResult r) {
  return to_string(r);
}

TEST(Parse, Rows) {
  for (const ParseRow& row : parse_rows()) {
    SCOPED_TRACE(row.name);
    ParsedPacket p;
    ASSERT_EQ(name_of(parse_frame(row.packet, p, kAll)), name_of(row.result));
    if (row.result != ParseResult::ok) continue;
    EXPECT_EQ(p.protocol, row.protocol);
    EXPECT_EQ(p.source_port, row.source_port);
    EXPECT_EQ(p.destination_port, row.destination_port);
    EXPECT_EQ(p.l3_offset + p.l3_length - p.payload_offset, static_cast<int>(row.payload_size));
    EXPECT_EQ(p.fragment, row.fragment);
    EXPECT_EQ(p.is_icmp_error(), row.quotes);
  }
}

TEST(Parse, EveryResultHasARow) {
  std::set<ParseResult> seen;
  for (const ParseRow& row : parse_rows()) seen.insert(row.result);
  for (int r = 0; r <= static_cast<int>(ParseResult::unsupported_protocol); ++r)
    EXPECT_TRUE(seen.count(ParseResult(r))) << to_string(ParseResult(r));
}

TEST(Parse, ChecksumsOnlyWhereAsked) {
  for (const ParseRow& row : parse_rows()) {
    if (row.result != ParseResult::bad_l4_checksum) continue;
    ParsedPacket p;
    EXPECT_EQ(parse_frame(row.packet, p), ParseResult::ok) << row.name;
  }
}

// A bare IP packet gives what its frame gives, 14 bytes (and no tags) earlier.
TEST(Parse, IpAndFrameAgree) {
  for (const ParseRow& row : parse_rows()) {
    SCOPED_TRACE(row.name);
    ParsedPacket framed, bare;
    ParseResult result = parse_frame(row.packet, framed, kAll);
    if (row.packet.size() == framed.l3_offset || result == ParseResult::not_ip || result == ParseResult::truncated_l2 ||
        result == ParseResult::bad_ip_version)
      continue;
    ASSERT_EQ(parse_ip(Bytes(row.packet).subspan(framed.l3_offset), bare, kAll), result);
    EXPECT_EQ(bare.l3_offset, 0);
    EXPECT_EQ(bare.ethertype, framed.ethertype);
    EXPECT_EQ(bare.source_port, framed.source_port);
    EXPECT_EQ(bare.l3_length, framed.l3_length);
    if (result != ParseResult::ok) continue;
    EXPECT_EQ(bare.payload_offset, framed.payload_offset - framed.l3_offset);
    EXPECT_EQ(source_of(Bytes(row.packet).subspan(framed.l3_offset), bare), source_of(row.packet, framed));
  }
}

TEST(Parse, Fields) {
  ParsedPacket p;
  auto frame = eth()
                   .vlan(9)
                   .ip4("198.51.100.7", "203.0.113.10")
                   .ip_options({1})
                   .tcp(40000, 443, kSyn | kAck)
                   .mss(1400)
                   .payload(3)
                   .build();
  ASSERT_EQ(parse_frame(frame, p, kAll), ParseResult::ok);
  EXPECT_EQ(p.ethertype, 0x0800);
  EXPECT_EQ(p.ip_version, 4);
  EXPECT_EQ(p.l3_offset, 18);
  EXPECT_EQ(p.l4_offset, 18 + 24);
  EXPECT_EQ(p.payload_offset, 18 + 24 + 24);
  EXPECT_EQ(p.l3_length, 24 + 24 + 3);
  EXPECT_EQ(p.protocol_number, 6);
  EXPECT_EQ(p.tcp_flags, kSyn | kAck);
  EXPECT_EQ(to_string(source_of(frame, p)), "198.51.100.7");
  EXPECT_EQ(to_string(destination_of(frame, p)), "203.0.113.10");

  auto sent = ip6("2001:db8::10", "2001:db8:7::7").extension(60).udp(53, 5000).payload(100).build();
  auto error = ip6("2001:db8:1::1", "2001:db8::10").icmp_error(2, 0, sent, 1280).build();
  ASSERT_EQ(parse_ip(error, p, kAll), ParseResult::ok);
  EXPECT_EQ(p.icmp_type, 2);
  EXPECT_EQ(p.protocol_number, 58);
  EXPECT_EQ(p.protocol, Protocol::udp);
  EXPECT_EQ(p.tcp_flags, 0);
  EXPECT_EQ(p.quoted_l3_offset, 48);
  EXPECT_EQ(to_string(quoted_source_of(error, p)), "2001:db8::10");
  EXPECT_EQ(to_string(quoted_destination_of(error, p)), "2001:db8:7::7");
}

// What is left of the output when a packet is refused late: neighbour discovery and traces read it.
TEST(Parse, RefusedLateHasFields) {
  ParsedPacket p;
  auto dad = eth().ip6("::", "ff02::1:ff00:10").icmp(135).payload(16).build();
  ASSERT_EQ(parse_frame(dad, p, kAll), ParseResult::bad_address);
  EXPECT_EQ(p.icmp_type, 135);
  EXPECT_EQ(p.protocol, Protocol::icmp6);
  auto gre = eth().ip4("198.51.100.7", "203.0.113.10").protocol(47).payload(8).build();
  ASSERT_EQ(parse_frame(gre, p, kAll), ParseResult::unsupported_protocol);
  EXPECT_EQ(p.protocol_number, 47);
  EXPECT_EQ(p.l3_length, 28);
}

// Any cut of any row and any flip of bits in it: parse reads nothing outside (the bytes are copied to the end of an
// allocation of their own, for the address sanitizer), and what it says lies inside the packet.
TEST(Parse, StaysInsideWhateverComes) {
  const char* given = std::getenv("SEED");
  uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 20261125;
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  Rng rng(seed);
  for (const ParseRow& row : parse_rows()) {
    for (int i = 0; i < 300; ++i) {
      size_t size = rng.chance(0.5) ? row.packet.size() : rng.below(row.packet.size() + 1);
      std::vector<uint8_t> bytes(row.packet.begin(), row.packet.begin() + static_cast<ptrdiff_t>(size));
      for (uint64_t flips = rng.below(4); flips && !bytes.empty(); --flips)
        bytes[rng.below(std::min<size_t>(bytes.size(), 90))] ^= static_cast<uint8_t>(1u << rng.below(8));
      ParsedPacket p, careful;
      const ParseChecks checks{.l4_checksum = rng.chance(0.5)};
      ParseResult result = parse_frame(bytes, p, checks);
      ASSERT_EQ(name_of(result), name_of(parse_frame_carefully(bytes, careful, checks))) << row.name;
      ASSERT_TRUE(p == careful) << row.name << ": the short way and the careful one differ";
      if (result != ParseResult::ok) continue;
      size_t end = size_t(p.l3_offset) + p.l3_length;
      ASSERT_LE(end, bytes.size()) << row.name;
      ASSERT_LE(p.payload_offset, end) << row.name;
      ASSERT_LT(p.l3_offset, p.l4_offset) << row.name;
      ASSERT_LE(p.l4_offset, p.payload_offset) << row.name;
      if (p.is_icmp_error()) { ASSERT_LE(size_t(p.quoted_l3_offset) + (p.ip_version == 4 ? 24 : 44), end) << row.name; }
    }
  }
}

// Bursts of rows, whole, cut and damaged, in any order: the vector lanes find the same frames plain as the scalar way,
// and say the same of them.
TEST(Parse, BurstAgreesWithOneByOne) {
  const char* given = std::getenv("SEED");
  uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 20261126;
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  Rng rng(seed);
  const std::vector<ParseRow> rows = parse_rows();
  unsigned plain_seen = 0, others_seen = 0;
  for (int round = 0; round < 4000; ++round) {
    const auto n = static_cast<unsigned>(rng.below(kParseBurstMax + 1));
    std::vector<std::unique_ptr<uint8_t[]>> bytes;  // each of exactly its size, for the address sanitizer
    const uint8_t* frames[kParseBurstMax];
    uint16_t lengths[kParseBurstMax];
    for (unsigned i = 0; i < n; ++i) {
      const ParseRow& row = rows[rng.below(rows.size())];
      const size_t size = rng.chance(0.8) ? row.packet.size() : rng.below(row.packet.size() + 1);
      bytes.push_back(std::make_unique<uint8_t[]>(size));
      std::copy_n(row.packet.begin(), size, bytes.back().get());
      if (size != 0 && rng.chance(0.3))
        bytes.back()[rng.below(std::min<size_t>(size, 60))] ^= static_cast<uint8_t>(1u << rng.below(8));
      // Nearly all damage is caught by the header checksum alone: mend it, so that the other checks are met.
      if (size >= 34 && rng.chance(0.5)) {
        uint8_t* ip = bytes.back().get() + 14;
        ip[10] = ip[11] = 0;
        const uint16_t sum = internet_checksum(Bytes(ip, 20));
        ip[10] = static_cast<uint8_t>(sum >> 8);
        ip[11] = static_cast<uint8_t>(sum);
      }
      frames[i] = bytes.back().get();
      lengths[i] = static_cast<uint16_t>(size);
    }
    ParsedPacket one[kParseBurstMax], many[kParseBurstMax];
    const uint32_t want = parse_plain_burst_scalar(frames, lengths, n, one);
    ASSERT_EQ(want, parse_plain_burst(frames, lengths, n, many)) << "round " << round;
    // The same bytes behind their Ethernet header, as bare packets.
    const uint8_t* packets[kParseBurstMax];
    uint16_t rooms[kParseBurstMax];
    for (unsigned i = 0; i < n; ++i) {
      const uint16_t skip = std::min<uint16_t>(lengths[i], 14);
      packets[i] = frames[i] + skip;
      rooms[i] = static_cast<uint16_t>(lengths[i] - skip);
    }
    ParsedPacket bare[kParseBurstMax];
    const uint32_t plain = parse_plain_ip_burst(packets, rooms, n, bare);
    for (unsigned i = 0; i < n; ++i) {
      ParsedPacket p;
      ASSERT_EQ(plain >> i & 1, parse_plain_ip({packets[i], rooms[i]}, p)) << "round " << round << ", packet " << i;
      if (plain >> i & 1) { ASSERT_TRUE(p == bare[i]) << "round " << round << ", packet " << i; }
    }
    for (unsigned i = 0; i < n; ++i) {
      ++(want >> i & 1 ? plain_seen : others_seen);
      if (want >> i & 1) { ASSERT_TRUE(one[i] == many[i]) << "round " << round << ", frame " << i; }
    }
  }
  EXPECT_GT(plain_seen, 1000u);
  EXPECT_GT(others_seen, 5000u);
}

}  // namespace
}  // namespace statecast::test
