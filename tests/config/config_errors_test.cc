// SPDX-License-Identifier: BSD-3-Clause
// Bad files, and the exact words about them. Each row is the good file with one text replaced.
#include <gtest/gtest.h>

#include "config/config.h"

namespace statecast {
namespace {

const std::string kProxy = R"(id: 1
fleet_secret: fleet.secret
ports:
  - name: all
    device: net_af_packet0,iface=eth1
    addresses: [10.0.0.1/24, "2001:db8::1/64"]
    gateways: [10.0.0.254]
proxies:
  - {id: 1, address: 10.0.0.1:6081}
  - {id: 2, address: 10.0.1.1:6081}
members: [7, 8]
groups:
  - id: 10
    name: web
    addresses: [203.0.113.10]
    members: [7, {id: 8, weight: 50}]
    lease: {time: 10s}
    rules:
      - {protocol: tcp, ports: [443]}
  - id: 11
    name: game
    addresses: [203.0.112.0/24]
    members: [7]
)";

const std::string kAgent = R"(id: 7
node_key: member.key
bind: 0.0.0.0:0
proxies:
  - {id: 1, address: 10.0.0.1:6081}
groups:
  - {id: 10, name: web, addresses: [203.0.113.10]}
)";

struct Row {
  const char* name;
  std::string from, to;  // of the good file
  std::string error;
};

void check(const std::string& good, const std::vector<Row>& rows, bool agent) {
  auto load = [&](const std::string& text) {
    std::string message;
    if (agent) {
      if (auto c = parse_agent_config(text, "f"); !c) message = c.error().message;
    } else if (auto c = parse_proxy_config(text, "f"); !c) {
      message = c.error().message;
    }
    return message;
  };
  EXPECT_EQ(load(good), "");
  for (const Row& row : rows) {
    std::string text = good;
    size_t at = text.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.name;
    text.replace(at, row.from.size(), row.to);
    EXPECT_EQ(load(text), row.error) << row.name;
  }
}

TEST(ConfigErrors, Values) {
  check(kProxy,
        {
            {"duration", "10s", "abc",
             "f:17:19: groups[0].lease.time: expected a duration between 1s and 60s such as \"10s\", got \"abc\""},
            {"duration without unit", "10s", "10",
             "f:17:19: groups[0].lease.time: expected a duration between 1s and 60s such as \"10s\", got \"10\""},
            {"duration out of range", "10s", "2min",
             "f:17:19: groups[0].lease.time: expected a duration between 1s and 60s such as \"10s\", got \"2min\""},
            {"bytes", "time: 10s", "bytes: 64KB",
             "f:17:20: groups[0].lease.bytes: expected a number of bytes of at least 64KiB such as \"1MiB\", or "
             "\"unlimited\", got \"64KB\""},
            {"id 0", "id: 10", "id: 0",
             "f:13:9: groups[0].id: expected a whole number between 1 and 16777215, got \"0\""},
            {"id too large", "id: 10", "id: 16777216",
             "f:13:9: groups[0].id: expected a whole number between 1 and 16777215, got \"16777216\""},
            {"name that is a number", "name: web", "name: 42",
             "f:14:11: groups[0].name: expected a name of 1 to 64 letters, digits, '-', '_' or '.' that is not a "
             "number, got \"42\""},
            {"host bits", "203.0.112.0/24", "203.0.112.1/24",
             "f:22:17: groups[1].addresses[0]: expected an address or a prefix without host bits such as "
             "\"203.0.113.10\" or \"2001:db8:1::/48\", got \"203.0.112.1/24\""},
            {"word", "protocol: tcp", "protocol: sctp",
             "f:19:20: groups[0].rules[0].protocol: expected one of \"any\", \"tcp\", \"udp\", got \"sctp\""},
            {"port 0", "[443]", "[0]",
             "f:19:33: groups[0].rules[0].ports[0]: expected a port such as 443, or a range such as \"1000-2000\", got "
             "\"0\""},
            {"port range backwards", "[443]", "2000-1000",
             "f:19:32: groups[0].rules[0].ports: expected a port such as 443, or a range such as \"1000-2000\", got "
             "\"2000-1000\""},
            {"list for a scalar", "name: web", "name: [web]",
             "f:14:11: groups[0].name: expected a name of 1 to 64 letters, digits, '-', '_' or '.' that is not a "
             "number, got a list"},
            {"nothing for a scalar", "name: web", "name:",
             "f:14:5: groups[0].name: expected a name of 1 to 64 letters, digits, '-', '_' or '.' that is not a "
             "number, got nothing"},
            {"scalar for a section", "{time: 10s}", "10s",
             "f:17:12: groups[0].lease: expected a map with time and bytes, got \"10s\""},
            {"map for a list of sections", "ports:\n  - name: all\n   ", "ports:\n    name: all\n   ",
             "f:4:5: ports: expected a list of which each is a map with name, device, addresses and more, got a map"},
            {"address without length", "10.0.0.1/24", "10.0.0.1",
             "f:6:17: ports[0].addresses[0]: expected an address with its network's length such as \"10.1.1.1/24\", "
             "got \"10.0.0.1\""},
            {"member by name", "members: [7]", "members: [m7]",
             "f:23:15: groups[1].members[0]: expected a member such as {id: 7, weight: 100}, or its id alone, got "
             "\"m7\""},
            {"two errors", "id: 10\n    name: web", "id: x\n    name: 3",
             "f:13:9: groups[0].id: expected a whole number between 1 and 16777215, got \"x\"\n"
             "f:14:11: groups[0].name: expected a name of 1 to 64 letters, digits, '-', '_' or '.' that is not a "
             "number, got \"3\""},
        },
        false);
}

TEST(ConfigErrors, Keys) {
  check(kProxy,
        {
            {"unknown, near", "lease:", "leese:", "f:17:5: groups[0].leese: unknown key; did you mean \"lease\"?"},
            {"unknown, far", "lease: {time", "lease: {duration",
             "f:17:13: groups[0].lease.duration: unknown key; known are: time, bytes"},
            {"agent's", "name: web", "name: web\n    udp_idle: 60s",
             "f:15:5: groups[0].udp_idle: is a key of the agent's file, not of the proxy's"},
            {"twice", "name: web", "name: web\n    name: web", "f:15:5: groups[0].name: is there twice"},
            {"missing", "    name: web\n", "",
             "f:13:5: groups[0].name: missing; expected a name of 1 to 64 letters, digits, '-', '_' or '.' that is not "
             "a number"},
            {"missing at the top", "members: [7, 8]\n", "",
             "f:1:1: members: missing; expected a list of which each is a whole number between 1 and 16777215"},
            {"a list as key", "id: 1\n", "[a]: 1\nid: 1\n", "f:1:1: expected a key, got a list"},
        },
        false);
}

TEST(ConfigErrors, AcrossValues) {
  check(
      kProxy,
      {
          {"group id twice", "id: 11", "id: 10", "f:20:9: groups[1].id: is the same as that of groups[0]"},
          {"group name twice", "name: game", "name: web", "f:21:11: groups[1].name: is the same as that of groups[0]"},
          {"group address twice", "[203.0.112.0/24]", "[203.0.112.0/24, 203.0.113.10]",
           "f:22:33: groups[1].addresses[1]: 203.0.113.10 is an address of groups[0] (web) already"},
          {"nested in the same group", "[203.0.112.0/24]", "[203.0.112.0/24, 203.0.112.7]",
           "f:22:33: groups[1].addresses[1]: 203.0.112.7 lies in 203.0.112.0/24 of the same group"},
          {"multicast group address", "203.0.113.10", "224.0.0.1",
           "f:15:17: groups[0].addresses[0]: 224.0.0.1 is no unicast address"},
          {"everything", "203.0.112.0/24", "0.0.0.0/0",
           "f:6:17: ports[0].addresses[0]: 10.0.0.1 is an address of group game; expected one of the proxy's "
           "own\nf:22:17: groups[1].addresses[0]: 0.0.0.0/0 is every address; expected the group's own"},
          {"no address", "[203.0.113.10]", "[]", "f:15:16: groups[0].addresses: expected at least one address"},
          {"unknown member", "{id: 8,", "{id: 9,",
           "f:16:23: groups[0].members[1]: member 9 is not in the list `members` of the file"},
          {"unknown member, short", "members: [7]", "members: [3]",
           "f:23:15: groups[1].members[0]: member 3 is not in the list `members` of the file"},
          {"member twice in a group", "{id: 8,", "{id: 7,",
           "f:16:23: groups[0].members[1].id: is the same as that of members[0]"},
          {"member twice", "[7, 8]", "[7, 8, 7]", "f:11:17: members[2]: is the same as members[0]"},
          {"group without members", "members: [7]", "members: []",
           "f:23:14: groups[1].members: expected at least one member"},
          {"itself missing", "id: 1\n", "id: 3\n",
           "f:1:5: id: proxy 3 is not among `proxies`: add it there, with its address"},
          {"proxy twice", "{id: 2", "{id: 1", "f:10:10: proxies[1].id: is the same as that of proxies[0]"},
          {"proxy address twice", "10.0.1.1:6081", "10.0.0.1:6081",
           "f:10:22: proxies[1].address: is the same as that of proxies[0]"},
          {"own address on no port", "10.0.0.1:6081", "10.0.0.9:6081",
           "f:9:22: proxies[0].address: 10.0.0.9 is this proxy's own address, but no port with the role underlay or "
           "both has it"},
          {"no underlay", "device:", "role: anycast\n    device:",
           "f:4:3: ports: no port has the role underlay or both: envelopes could not travel\n"
           "f:10:22: proxies[0].address: 10.0.0.1 is this proxy's own address, but no port with the role underlay or "
           "both has it"},
          {"underlay too small", "device:", "mtu: 1499\n    device:",
           "f:5:10: ports[0].mtu: 1499 is too small for the underlay: full envelopes are 1500 bytes; expected at least "
           "1500"},
          {"no anycast", "device:", "role: underlay\n    device:",
           "f:4:3: ports: no port has the role anycast or both: clients could not be served"},
          {"port without address", "[10.0.0.1/24, \"2001:db8::1/64\"]", "[]",
           "f:6:16: ports[0].addresses: expected at least one address such as \"10.1.1.1/24\"\n"
           "f:9:22: proxies[0].address: 10.0.0.1 is this proxy's own address, but no port with the role underlay or "
           "both has it"},
          {"gateway off link", "10.0.0.254", "10.0.9.254",
           "f:7:16: ports[0].gateways[0]: 10.0.9.254 is not on the link: no network of the port's addresses has it"},
          {"gateway itself", "10.0.0.254", "10.0.0.1",
           "f:7:16: ports[0].gateways[0]: 10.0.0.1 is the port's own address"},
          {"two gateways", "[10.0.0.254]", "[10.0.0.254, 10.0.0.253]",
           "f:7:28: ports[0].gateways[1]: is the second gateway for IPv4; expected one"},
          {"port address of a group", "10.0.0.1/24, ", "10.0.0.1/24, 203.0.112.3/24, ",
           "f:6:30: ports[0].addresses[1]: 203.0.112.3 is an address of group game; expected one of the proxy's own"},
          {"cores twice", "id: 1\n", "id: 1\ndpdk: {cores: [1, 1]}\n",
           "f:2:19: dpdk.cores[1]: is the same as cores[0]"},
          {"W over R", "id: 1\n", "id: 1\ndirectory: {replicas: 2, writes: 3}\n",
           "f:2:34: directory.writes: 3 is more than replicas, 2"},
          {"W over R by default", "id: 1\n", "id: 1\ndirectory: {replicas: 1}\n",
           "f:2:12: directory.writes: 2 is more than replicas, 1"},
          {"etcd without endpoints", "id: 1\n", "id: 1\ndirectory: {etcd: {prefix: /x}}\n",
           "f:2:19: directory.etcd.endpoints: is missing; without it the rest of this section is for nothing"},
          {"etcd's address without scheme", "id: 1\n", "id: 1\ndirectory: {etcd: {endpoints: [\"10.0.0.5:2379\"]}}\n",
           "f:2:32: directory.etcd.endpoints[0]: expected http:// or https:// with a host and a port, and no more, "
           "such as "
           "\"http://10.0.0.5:2379\", got \"10.0.0.5:2379\""},
          {"etcd's address with a path", "id: 1\n",
           "id: 1\ndirectory: {etcd: {endpoints: [\"http://10.0.0.5:2379/v3\"]}}\n",
           "f:2:32: directory.etcd.endpoints[0]: expected http:// or https:// with a host and a port, and no more, "
           "such as "
           "\"http://10.0.0.5:2379\", got \"http://10.0.0.5:2379/v3\""},
          {"etcd's prefix", "id: 1\n", "id: 1\ndirectory: {etcd: {endpoints: [\"http://a:1\"], prefix: sc}}\n",
           "f:2:55: directory.etcd.prefix: expected a prefix of 2 to 100 bytes with '/' before it and none after it, "
           "such as "
           "\"/statecast\", got \"sc\""},
          {"etcd's certificate without key", "id: 1\n",
           "id: 1\ndirectory: {etcd: {endpoints: [\"https://a:1\"], certificate: a.pem}}\n",
           "f:2:19: directory.etcd.certificate: is there without the other of the two, certificate and key"},
          {"etcd's lease", "id: 1\n", "id: 1\ndirectory: {etcd: {endpoints: [\"http://a:1\"], lease: 2500ms}}\n",
           "f:2:54: directory.etcd.lease: is not of whole seconds, as etcd's leases are"},
          {"miss table", "id: 1\n", "id: 1\ncache: {miss_packets: 100}\n",
           "f:2:8: cache.miss_packets_per_group: 8192 is more than miss_packets, 100"},
          {"rule never reached", "- {protocol: tcp,", "- {protocol: any}\n      - {protocol: tcp,",
           "f:20:9: groups[0].rules[1]: is never reached: rules[0] matches everything"},
      },
      false);
}

TEST(ConfigErrors, Agent) {
  check(
      kAgent,
      {
          {"proxy's key", "id: 7\n", "id: 7\nports: []\n",
           "f:2:1: ports: is a key of the proxy's file, not of the agent's"},
          {"proxy's key in a group", "name: web", "name: web, members: [7]",
           "f:7:25: groups[0].members: is a key of the proxy's file, not of the agent's"},
          {"no proxy", "\n  - {id: 1, address: 10.0.0.1:6081}", " []", "f:4:10: proxies: expected at least one proxy"},
          {"no group", "\n  - {id: 10, name: web, addresses: [203.0.113.10]}", " []",
           "f:6:9: groups: expected at least one group"},
          {"family", "10.0.0.1:6081", "'[2001:db8::1]:6081'",
           "f:5:22: proxies[0].address: 2001:db8::1 is not of the family of bind, 0.0.0.0"},
          {"multicast proxy", "10.0.0.1:6081", "224.0.0.5",
           "f:5:22: proxies[0].address: 224.0.0.5 is no unicast address"},
      },
      true);
}

TEST(ConfigErrors, NotTheYamlThatIsTaken) {
  std::string deep, wide = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  for (char c = 'b'; c < 'k'; ++c) {
    wide += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) wide += (i ? ", *" : "*") + std::string(1, static_cast<char>(c - 1));
    wide += "]\n";
  }
  const std::pair<std::string, std::string> rows[] = {
      {"", "f: the file is empty"},
      {"# nothing\n", "f: the file is empty"},
      {"~", "f:1:1: the file is empty; expected a map with id, fleet_secret, ports, proxies, members, groups and more"},
      {"[1]", "f:1:1: expected a map with id, fleet_secret, ports, proxies, members, groups and more, got a list"},
      {"id: 1\n---\nid: 2\n", "f:2:1: a second document starts here; expected one"},
      {"id: [1\n", "f:2:1: not YAML: end of sequence flow not found"},
      {"a: 'x\nb: 1\n", "f:1:"},
      {"a: 1\n b: 2\n", "f:2:3: not YAML: illegal map value"},
      {"a: !!binary x\n", "f:1:4: tags are not taken: write the value alone"},
      {wide, "f:1:4: anchors and aliases are not taken: write the value out"},
      {"a: *b\n", "f:1:4: not YAML: the referenced anchor is not defined"},
      {deep, "f:1:9: nested too deep"},
      {std::string("id: \0x", 6), "f:1:9: not YAML: bad character"},
  };
  for (auto& [text, error] : rows) {
    auto c = parse_proxy_config(text, "f");
    ASSERT_FALSE(c) << text;
    EXPECT_EQ(c.error().message.substr(0, error.size()), error) << text.substr(0, 100) << "\n" << c.error().message;
    EXPECT_EQ(c.error().code, Code::invalid);
  }
}

TEST(ConfigErrors, ManyErrorsAreCounted) {
  std::string text = "x0: 1\n";
  for (int i = 1; i < 50; ++i) text += "x" + std::to_string(i) + ": 1\n";
  auto c = parse_proxy_config(text, "f");
  ASSERT_FALSE(c);
  EXPECT_TRUE(c.error().message.ends_with("\nf: and 36 more")) << c.error().message;
}

TEST(ConfigErrors, Files) {
  auto c = load_proxy_config("/nonexistent/proxy.yaml");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().message, "/nonexistent/proxy.yaml: cannot be read: No such file or directory");
  c = load_proxy_config("/tmp");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().message, "/tmp: cannot be read: is a directory");
}

}  // namespace
}  // namespace statecast
