// SPDX-License-Identifier: BSD-3-Clause
// Profiles of a generator: samples, values, and the exact words about bad ones.
#include "config/pktgen_config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace statecast {
namespace {

const std::string kGood = R"(ports:
  - {name: a, device: net_ring0, addresses: [10.0.0.9], gateway: 10.0.0.1}
  - {name: b, device: net_ring1}
streams:
  - name: web
    protocol: tcp
    setup: syn
    port: a
    clients: 10.1.0.0/24
    destinations: ["203.0.113.10:443"]
    rate: 1Mpps
  - {name: v6, destinations: ["[2001:db8::1]:443"]}
member_side:
  port: b
  members:
    - {node_key: m7.key, address: 10.0.0.7}
    - {node_key: m8.key, address: 10.0.0.8}
  proxies: [{id: 1, address: 10.0.0.1}]
)";

std::string error_of(const std::string& text) {
  auto c = parse_pktgen_config(text, "f");
  return c ? "" : c.error().message;
}

TEST(PktgenConfig, ErrorsNamePlaceKeyAndWhatWasExpected) {
  struct Row {
    const char* name;
    std::string from, to, error;
  };
  const Row rows[] = {
      {"unknown key", "rate: 1Mpps", "rates: 1Mpps", "f:11:5: streams[0].rates: unknown key; did you mean \"rate\"?"},
      {"no rate", "rate: 1Mpps", "rate: fast",
       "f:11:11: streams[0].rate: expected a rate such as \"14.88Mpps\", \"500kpps\", \"10Gbps\" or \"max\", got "
       "\"fast\""},
      {"port of a stream", "    port: a\n", "    port: c\n", "f:8:11: streams[0].port: there is no port of this name"},
      {"name twice", "name: v6", "name: web", "f:12:12: streams[1].name: is the same as that of [0]"},
      {"device twice", "net_ring1", "net_ring0", "f:3:23: ports[1].device: is the same as that of [0]"},
      {"gateway without an own address", "addresses: [10.0.0.9]", "addresses: [\"fd00::1\"]",
       "f:2:67: ports[0].gateway: there is no address of its family to ask from"},
      {"both families", "[\"203.0.113.10:443\"]", "[\"203.0.113.10:443\", \"[fd00::1]:443\"]",
       "f:10:19: streams[0].destinations: are of both families; expected one"},
      {"clients of the other family", "10.1.0.0/24", "\"fd00::/64\"",
       "f:9:14: streams[0].clients: is not of the family of the destinations"},
      {"too few clients", "10.1.0.0/24\n", "10.1.0.0/32\n    sessions: 32769\n",
       "f:9:14: streams[0].clients: has too few addresses: 2 are needed"},
      {"syn over UDP", "protocol: tcp", "protocol: udp", "f:7:12: streams[0].setup: syn is for protocol tcp only"},
      {"setup without members", "  port: b\n  members", "  members",
       "f:7:12: streams[0].setup: needs a member_side that has a port"},
      {"setup of an attack", "setup: syn", "setup: insert\n    kind: syn_flood",
       "f:7:12: streams[0].setup: is for streams of kind good only"},
      {"frame too large", "rate: 1Mpps", "sizes: [64, 1519]",
       "f:11:12: streams[0].sizes: 1519 is too large for port a (mtu 1500)"},
      {"ramp of another unit", "rate: 1Mpps", "rate: 1Mpps\n    ramp_from: 1Gbps\n    ramp_time: 1s",
       "f:12:16: streams[0].ramp_from: expected a rate in the unit of `rate`, which is not max"},
      {"member twice", "address: 10.0.0.8", "address: 10.0.0.7",
       "f:17:35: member_side.members[1].address: is the same as that of [0]"},
      {"proxy of the other family", "address: 10.0.0.1}", "address: \"fd00::1\"}",
       "f:18:30: member_side.proxies[0].address: is not of the family of the members' addresses"},
      {"a core twice", "streams:", "dpdk: {cores: [1, 2, 1]}\nstreams:", "f:4:15: dpdk.cores: 1 is there twice"},
      {"no core", "streams:", "dpdk: {cores: []}\nstreams:", "f:4:15: dpdk.cores: are 0; expected 1 to 64"},
      {"search by bits",
       "member_side:", "search: {to: 1Gbps}\nmember_side:", "f:13:14: search.to: expected packets, got bits"},
      {"size", "rate: 1Mpps", "sizes: 63",
       "f:11:12: streams[0].sizes: expected a frame's size of 64 to 9618 bytes such as \"64\", or with a weight "
       "\"7x64\", got \"63\""},
  };
  ASSERT_EQ(error_of(kGood), "");
  for (const Row& r : rows) {
    std::string text = kGood;
    size_t at = text.find(r.from);
    ASSERT_NE(at, std::string::npos) << r.name;
    text.replace(at, r.from.size(), r.to);
    EXPECT_EQ(error_of(text), r.error) << r.name;
  }
  EXPECT_EQ(error_of("ports: []\nstreams: []\n"),
            "f:1:8: ports: expected at least one\nf:1:8: ports: expected at least one\nf:2:10: streams: expected at "
            "least one");
}

TEST(PktgenConfig, RatesAndSizes) {
  using Unit = RateConfig::Unit;
  struct Row {
    const char* text;
    std::optional<RateConfig> value;
    const char* printed;
  };
  const Row rows[] = {
      {"max", RateConfig{}, "max"},
      {"1pps", RateConfig{Unit::packets, 1}, "1pps"},
      {"14.88Mpps", RateConfig{Unit::packets, 14.88e6}, "14.88Mpps"},
      {"0.5Gbps", RateConfig{Unit::bits, 5e8}, "500Mbps"},
      {"1234567pps", RateConfig{Unit::packets, 1234567}, "1.234567Mpps"},
      {"0pps", RateConfig{Unit::packets, 0}, "0pps"},
      {"10", {}, ""},
      {"1e6pps", {}, ""},
      {"-1pps", {}, ""},
      {"1 Mpps", {}, ""},
      {"1mpps", {}, ""},
      {"0.0000001pps", {}, ""},
      {"9999Gpps", {}, ""},
  };
  for (const Row& r : rows) {
    EXPECT_EQ(parse_rate(r.text), r.value) << r.text;
    if (r.value) { EXPECT_EQ(rate_text(*r.value), r.printed); }
  }
  EXPECT_EQ(parse_frame_size("7x64"), (FrameSizeConfig{7, 64}));
  EXPECT_EQ(parse_frame_size("1518"), (FrameSizeConfig{1, 1518}));
  for (const char* bad : {"", "x64", "0x64", "64x", "7x", "63", "9619", "7 x 64"}) EXPECT_FALSE(parse_frame_size(bad));
}

TEST(PktgenConfig, SamplesLoadAndEffectiveConfigurationReadsBack) {
  const char* root = std::getenv("STATECAST_SOURCE");
  ASSERT_NE(root, nullptr);
  for (const char* name : {"pktgen-loop.yaml", "pktgen-proxy.yaml"}) {
    auto c = load_pktgen_config(std::string(root) + "/config/samples/" + name);
    ASSERT_TRUE(c) << c.error().message;
    auto again = parse_pktgen_config(to_yaml(*c), "effective");
    ASSERT_TRUE(again) << again.error().message << "\n" << to_yaml(*c);
    EXPECT_TRUE(*again == *c) << to_yaml(*c) << "\nread back as\n" << to_yaml(*again);
  }
}

}  // namespace
}  // namespace statecast
