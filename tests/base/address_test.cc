// SPDX-License-Identifier: BSD-3-Clause
#include "base/address.h"

#include <gtest/gtest.h>

namespace statecast {
namespace {

TEST(Address, TextBothWays) {
  for (const char* text : {"0.0.0.0", "203.0.113.10", "255.255.255.255", "::", "::1", "2001:db8::10"}) {
    auto a = IpAddress::parse(text);
    ASSERT_TRUE(a) << text;
    EXPECT_EQ(to_string(*a), text);
    EXPECT_EQ(a->is_v4(), a->size() == 4) << text;
  }
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "2001:db8", "2001:db8::g", "1.2.3.4 ", "host"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
}

TEST(Address, Unicast) {
  for (const char* text : {"1.0.0.1", "10.0.0.1", "126.255.255.255", "223.255.255.255", "::2", "2001:db8::", "fe80::1"})
    EXPECT_TRUE(IpAddress::parse(text)->is_unicast()) << text;
  for (const char* text :
       {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"})
    EXPECT_FALSE(IpAddress::parse(text)->is_unicast()) << text;
  EXPECT_FALSE(IpAddress{}.is_unicast());
}

TEST(Endpoint, TextBothWays) {
  for (const char* text : {"10.0.0.1:6081", "[2001:db8::1]:443", "10.0.0.1:0", "[::]:65535"}) {
    auto e = Endpoint::parse(text);
    ASSERT_TRUE(e) << text;
    EXPECT_EQ(to_string(*e), text);
  }
  for (const char* text : {"10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:1x", "2001:db8::1:443",
                           "[10.0.0.1]:1", "[2001:db8::1]443", ":1", ""})
    EXPECT_FALSE(Endpoint::parse(text)) << text;
}

TEST(Prefix, TextAndContents) {
  struct Row {
    const char* prefix;
    const char* address;
    bool inside;
  };
  const Row rows[] = {
      {"203.0.113.0/24", "203.0.113.255", true},
      {"203.0.113.0/24", "203.0.114.0", false},
      {"203.0.112.0/23", "203.0.113.10", true},
      {"203.0.113.10/32", "203.0.113.10", true},
      {"203.0.113.10/32", "203.0.113.11", false},
      {"0.0.0.0/0", "255.1.2.3", true},
      {"0.0.0.0/0", "::", false},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
      {"::/0", "2001:db8::", true},
  };
  for (const Row& row : rows) {
    auto p = Prefix::parse(row.prefix);
    ASSERT_TRUE(p) << row.prefix;
    EXPECT_EQ(to_string(*p), row.prefix);
    EXPECT_EQ(p->contains(*IpAddress::parse(row.address)), row.inside) << row.prefix << " " << row.address;
  }
  EXPECT_EQ(to_string(*Prefix::parse("203.0.113.10")), "203.0.113.10/32");
  for (const char* text :
       {"203.0.113.1/24", "203.0.113.0/33", "2001:db8::/129", "203.0.113.0/", "203.0.113.0/-1", "/8"})
    EXPECT_FALSE(Prefix::parse(text)) << text;
}

TEST(MacAddress, TextBothWays) {
  EXPECT_EQ(to_string(*MacAddress::parse("02:00:5e:10:ff:01")), "02:00:5e:10:ff:01");
  for (const char* text : {"02:00:5e:10:ff", "02:00:5e:10:ff:01:02", "02-00-5e-10-ff-01", "02:00:5e:10:ff:zz", ""})
    EXPECT_FALSE(MacAddress::parse(text)) << text;
}

}  // namespace
}  // namespace statecast
