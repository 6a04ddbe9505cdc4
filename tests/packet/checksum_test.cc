// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/checksum.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

// RFC 1071, 4.1, by the book.
uint16_t slow_checksum(Bytes bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 ? bytes[i] : uint64_t(bytes[i]) << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

TEST(Checksum, ExampleOfRfc1071) {
  Packet bytes = unhex("0001 f203 f4f5 f6f7");
  EXPECT_EQ(internet_checksum(bytes), static_cast<uint16_t>(~0xddf2));
}

TEST(Checksum, EqualsTheSlowOne) {
  Rng rng(1071);
  for (int i = 0; i < 5000; ++i) {
    Packet bytes(rng.below(100) + (i % 100 ? 0 : 65000));
    rng.fill(bytes);
    if (rng.chance(0.2)) std::fill(bytes.begin(), bytes.end(), uint8_t(0xff));
    ASSERT_EQ(internet_checksum(bytes), slow_checksum(bytes)) << hex(bytes);
    size_t half = bytes.size() / 2 & ~size_t(1);
    ChecksumSum parts;
    parts.add(Bytes(bytes).first(half));
    parts.add(Bytes(bytes).subspan(half));
    ASSERT_EQ(parts.checksum(), slow_checksum(bytes));
  }
}

TEST(Checksum, TransportAgreesWithTheBuilder) {
  for (size_t n : {0, 1, 2, 3, 100, 1399}) {
    for (bool v6 : {false, true}) {
      auto b = v6 ? ip6("2001:db8::1", "2001:db8::2") : ip4("192.0.2.1", "192.0.2.2");
      size_t header = v6 ? 40 : 20;
      IpAddress source = *IpAddress::parse(v6 ? "2001:db8::1" : "192.0.2.1");
      IpAddress destination = *IpAddress::parse(v6 ? "2001:db8::2" : "192.0.2.2");
      Packet tcp = PacketBuilder(b).tcp(1, 2).payload(n).build(), udp = PacketBuilder(b).udp(1, 2).payload(n).build();
      EXPECT_EQ(transport_checksum(source, destination, 6, Bytes(tcp).subspan(header)), 0);
      EXPECT_EQ(transport_checksum(source, destination, 17, Bytes(udp).subspan(header)), 0);
      tcp.back() ^= 1;
      EXPECT_NE(transport_checksum(source, destination, 6, Bytes(tcp).subspan(header)), 0);
    }
  }
}

TEST(Checksum, UdpNeverSaysNone) {
  // The two bytes of payload are chosen so that the sum is 0: it is sent as 0xffff.
  Packet udp = unhex("0001 0002 000a 0000 0000");
  IpAddress a = *IpAddress::parse("192.0.2.1"), b = *IpAddress::parse("192.0.2.2");
  uint16_t sum = transport_checksum(a, b, 17, udp);
  udp[8] = static_cast<uint8_t>(sum >> 8);
  udp[9] = static_cast<uint8_t>(sum);
  ASSERT_EQ(transport_checksum(a, b, 17, udp), 0);
  EXPECT_EQ(udp_checksum(a, b, udp), 0xffff);
}

TEST(Checksum, UpdateEqualsRecomputing) {
  Rng rng(1624);
  for (int i = 0; i < 20000; ++i) {
    Packet bytes(40);
    rng.fill(bytes);
    bytes[0] = bytes[1] = 0;  // the checksum's place
    bytes[2] |= 1;            // never all zero: that is where 0 and 0xffff part
    uint16_t sum = internet_checksum(bytes);
    size_t at = 4 + 2 * rng.below(16);
    auto word = [&](size_t where) { return static_cast<uint16_t>(bytes[where] << 8 | bytes[where + 1]); };
    uint32_t before = uint32_t(word(at)) << 16 | word(at + 2);
    if (rng.chance(0.1))
      bytes[at] = bytes[at + 1] = rng.chance(0.5) ? 0xff : 0;
    else
      rng.fill(MutableBytes(bytes).subspan(at, 2));
    uint16_t updated = checksum_updated(sum, static_cast<uint16_t>(before >> 16), word(at));
    ASSERT_EQ(updated, internet_checksum(bytes));
    rng.fill(MutableBytes(bytes).subspan(at, 4));
    uint32_t after = uint32_t(word(at)) << 16 | word(at + 2);
    ASSERT_EQ(checksum_updated32(sum, before, after), internet_checksum(bytes));
  }
}

}  // namespace
}  // namespace statecast::test
