// SPDX-License-Identifier: BSD-3-Clause
// What a good file says, and that to_yaml() says the same again.
#include "config/config.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "config/values.h"

namespace statecast {
namespace {

std::string source(const std::string& path) {
  return std::string(std::getenv("STATECAST_SOURCE")) + "/" + path;
}

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Config, ProxySample) {
  auto c = load_proxy_config(source("config/samples/proxy.yaml"));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->id, ProxyId{1});
  EXPECT_EQ(c->control_socket, "/run/statecast/proxy-1.sock");
  EXPECT_EQ(c->dpdk.file_prefix, "statecast-p1");
  EXPECT_EQ(c->dpdk.cores, (std::vector<unsigned>{2, 3}));
  EXPECT_EQ(c->dpdk.idle_sleep, 50us);
  EXPECT_EQ(c->ports[0].role, PortConfig::Role::anycast);
  EXPECT_EQ(c->ports[0].addresses[1].length, 64);
  EXPECT_EQ(to_string(c->ports[1].gateways[0]), "10.0.0.254");
  EXPECT_EQ(to_string(c->proxies[2].address), "10.0.2.1:6081");
  EXPECT_EQ(c->members.size(), 3u);
  ASSERT_EQ(c->groups.size(), 2u);
  EXPECT_EQ(c->groups[0].members[2], (GroupMemberConfig{MemberId{9}, 100}));
  EXPECT_EQ(c->groups[0].addresses[0], *Prefix::parse("203.0.113.10/32"));
  EXPECT_EQ(c->groups[0].rules[0].ports[1], (RuleConfig::Ports{443, 443}));
  EXPECT_EQ(c->groups[1].rules[0].ports[0], (RuleConfig::Ports{27000, 27100}));
  EXPECT_EQ(c->groups[1].unknown, UnknownSession::admit);
  EXPECT_EQ(c->groups[1].partition, Partition::available);
  EXPECT_EQ(c->groups[1].lease, LeaseConfig{});
}

TEST(Config, AgentSample) {
  auto c = load_agent_config(source("config/samples/agent.yaml"));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->id, MemberId{7});
  EXPECT_EQ(to_string(c->bind), "0.0.0.0:0");
  EXPECT_EQ(c->state_dir, "/var/lib/statecast");
  EXPECT_EQ(c->proxies.size(), 3u);
  EXPECT_EQ(c->groups[0].session_bytes.value, UINT64_MAX);
  EXPECT_EQ(c->groups[1].udp_idle, 60s);
}

TEST(Config, SamplesSayWhoseTheyAre) {
  EXPECT_EQ(*config_kind(source("config/samples/proxy.yaml")), ConfigKind::proxy);
  EXPECT_EQ(*config_kind(source("config/samples/agent.yaml")), ConfigKind::agent);
}

TEST(Config, EffectiveConfigurationLoadsBackTheSame) {
  auto proxy = load_proxy_config(source("config/samples/proxy.yaml"));
  ASSERT_TRUE(proxy);
  auto again = parse_proxy_config(to_yaml(*proxy), "effective");
  ASSERT_TRUE(again) << again.error().message << "\n" << to_yaml(*proxy);
  EXPECT_TRUE(*proxy == *again) << to_yaml(*proxy);

  auto agent = load_agent_config(source("config/samples/agent.yaml"));
  ASSERT_TRUE(agent);
  auto agent_again = parse_agent_config(to_yaml(*agent), "effective");
  ASSERT_TRUE(agent_again) << agent_again.error().message << "\n" << to_yaml(*agent);
  EXPECT_TRUE(*agent == *agent_again) << to_yaml(*agent);
}

// Structs far from the defaults, with every value drawn at random.
TEST(Config, RandomConfigurationsLoadBackTheSame) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto draw = [&](uint64_t low, uint64_t high) { return std::uniform_int_distribution<uint64_t>(low, high)(random); };
  auto base = load_proxy_config(source("config/samples/proxy.yaml"));
  ASSERT_TRUE(base);
  for (int round = 0; round < 200; ++round) {
    ProxyConfig c = *base;
    c.metrics = draw(0, 1) ? "[::1]:9101" : "";
    c.fleet_secret = draw(0, 1) ? "/a b/\"quoted\" \\ #: {x}" : "on";
    c.log.level = draw(0, 1) ? "off" : "trace";
    c.dpdk.huge_pages = draw(0, 1);
    c.dpdk.idle_sleep = std::chrono::microseconds(draw(0, 10'000));
    c.dpdk.packet_buffers = static_cast<uint32_t>(draw(1'024, 16'777'216));
    c.directory.replicas = static_cast<unsigned>(draw(1, 16));
    c.directory.writes = static_cast<unsigned>(draw(1, c.directory.replicas));
    c.proxies[1].zone = draw(0, 1) ? "3" : "null";
    if (draw(0, 1)) {
      c.directory.etcd = {.endpoints = {"http://10.0.0.5:2379", "https://[fd00::5]:2379"},
                          .prefix = "/a#b:{}",
                          .ca = draw(0, 1) ? "" : "/a b.pem",
                          .certificate = {},
                          .key = {},
                          .lease = std::chrono::seconds(draw(2, 60)),
                          .hold_down = std::chrono::milliseconds(draw(1'000, 600'000))};
      if (draw(0, 1)) c.directory.etcd.certificate = "/c", c.directory.etcd.key = "/k";
    }
    GroupConfig& g = c.groups[0];
    g.name = draw(0, 1) ? "true" : "1-2.3_x";
    g.lease.time = std::chrono::milliseconds(draw(1'000, 60'000));
    g.lease.bytes = ByteCount{draw(0, 1) ? UINT64_MAX : draw(65'536, UINT64_MAX - 1)};
    g.negative = std::chrono::nanoseconds(draw(10'000'000, 10'000'000'000));
    g.unknown = static_cast<UnknownSession>(draw(0, 2));
    g.degraded = static_cast<Degraded>(draw(0, 1));
    g.rules.clear();
    for (uint64_t n = draw(0, 3); n > 0; --n) {
      auto first = static_cast<uint16_t>(draw(1, 65535));
      g.rules.push_back({static_cast<ConfigProtocol>(draw(1, 2)), {}, static_cast<ConfigClass>(draw(0, 2))});
      if (draw(0, 1)) g.rules.back().ports.push_back({first, static_cast<uint16_t>(draw(first, 65535))});
    }
    auto again = parse_proxy_config(to_yaml(c), "effective");
    ASSERT_TRUE(again) << again.error().message << "\n" << to_yaml(c);
    ASSERT_TRUE(c == *again) << to_yaml(c) << "\nread back as\n" << to_yaml(*again);
  }
}

TEST(Config, PathsAreRelativeToTheFile) {
  char name[] = "/tmp/statecast-config-XXXXXX";
  std::string folder = ::mkdtemp(name);
  std::string text = contents(source("config/samples/agent.yaml"));
  text.replace(text.find("/etc/statecast/member-7.key"), 27, "keys/../member-7.key");
  std::ofstream(folder + "/agent.yaml") << text;
  auto c = load_agent_config(folder + "/agent.yaml");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->node_key, folder + "/member-7.key");
  EXPECT_EQ(c->state_dir, "/var/lib/statecast");
  std::filesystem::remove_all(folder);
}

TEST(Config, AgentOfProxiesOnIpv6BindsThere) {
  auto c = parse_agent_config(
      "{id: 1, node_key: k, proxies: [{id: 1, address: '2001:db8::1'}], groups: [{id: 1, name: a, addresses: "
      "192.0.2.1}]}",
      "x");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(to_string(c->bind), "[::]:0");
  EXPECT_EQ(to_string(c->proxies[0].address), "[2001:db8::1]:6081");
}

TEST(Config, TenThousandGroupsLoadInAboutASecond) {
  std::string text = contents(source("config/samples/proxy.yaml"));
  for (int i = 0; i < 10'000; ++i) {
    std::string n = std::to_string(i), address = "100." + std::to_string(64 + i / 2500) + "." +
                                                 std::to_string(i / 50 % 50) + "." + std::to_string(1 + i % 50);
    text += "  - id: " + std::to_string(1000 + i) + "\n    name: g" + n + "\n    addresses: [" + address +
            "]\n    members: [7, {id: 8, weight: 3}]\n    rules:\n      - {protocol: tcp, ports: [80, 443], class: "
            "stateful}\n"
            "    lease: {time: 5s, bytes: 1MiB}\n    unknown: drop\n";
  }
  auto before = std::chrono::steady_clock::now();
  auto c = parse_proxy_config(text, "large.yaml");
  auto took = std::chrono::steady_clock::now() - before;
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->groups.size(), 10'002u);
  RecordProperty("ms", static_cast<int>(took / std::chrono::milliseconds(1)));
  std::cout << "10,000 groups in " << took / std::chrono::milliseconds(1) << " ms\n";
  EXPECT_LT(took, std::chrono::seconds(20)) << "sanitizers and a busy machine included";
}

TEST(Config, ReferenceIsUpToDate) {
  EXPECT_EQ(contents(source("docs/configuration.md")), schema_markdown())
      << "docs/configuration.md differs from the schema; run: statecast check-config --schema-markdown > "
         "docs/configuration.md";
}

struct DurationRow {
  const char* text;
  std::optional<Duration> value;
  const char* printed;
};

TEST(Values, Durations) {
  const DurationRow rows[] = {
      {"10s", 10s, "10s"},
      {"250ms", 250ms, "250ms"},
      {"2min", 2min, "2min"},
      {"120s", 2min, "2min"},
      {"50us", 50us, "50us"},
      {"1h", 1h, "1h"},
      {"90min", 90min, "90min"},
      {"7ns", 7ns, "7ns"},
      {"0", 0s, "0s"},
      {"0ms", 0s, "0s"},
      {"1500ms", 1500ms, "1500ms"},
      {"10", {}, ""},
      {"", {}, ""},
      {"s", {}, ""},
      {"-1s", {}, ""},
      {"+1s", {}, ""},
      {" 1s", {}, ""},
      {"1 s", {}, ""},
      {"1.5s", {}, ""},
      {"10m", {}, ""},
      {"9223372036854775807ns", Duration::max(), "9223372036854775807ns"},
      {"9223372036854775808ns", {}, ""},
      {"2562048h", {}, ""},
      {"99999999999999999999s", {}, ""},
  };
  for (auto& r : rows) {
    auto d = parse_duration(r.text);
    EXPECT_EQ(d, r.value) << r.text;
    EXPECT_EQ(d ? duration_text(*d) : "", r.printed) << r.text;
  }
}

struct BytesRow {
  const char* text;
  std::optional<uint64_t> value;
  const char* printed;
};

TEST(Values, ByteCounts) {
  const BytesRow rows[] = {
      {"64KiB", 65'536, "64KiB"},
      {"1MiB", 1'048'576, "1MiB"},
      {"1024KiB", 1'048'576, "1MiB"},
      {"5", 5, "5B"},
      {"5B", 5, "5B"},
      {"0", 0, "0B"},
      {"unlimited", UINT64_MAX, "unlimited"},
      {"3TiB", 3ull << 40, "3TiB"},
      {"16777215TiB", 16'777'215ull << 40, "16777215TiB"},
      {"16777216TiB", {}, ""},
      {"18446744073709551615", {}, ""},
      {"64KB", {}, ""},
      {"-1", {}, ""},
      {"", {}, ""},
      {"1.5MiB", {}, ""},
  };
  for (auto& r : rows) {
    auto b = parse_byte_count(r.text);
    EXPECT_EQ(b.has_value(), r.value.has_value()) << r.text;
    if (!b || !r.value) continue;
    EXPECT_EQ(b->value, *r.value) << r.text;
    EXPECT_EQ(byte_count_text(*b), r.printed);
  }
}

}  // namespace
}  // namespace statecast
