// SPDX-License-Identifier: BSD-3-Clause
// Configuration: what the YAML files of statecast-proxy and statecast-agent say, as structs with units in their types.
// YAML key == field name. docs/configuration.md is the reference for people, config/samples/ has one file per program.
//
//   Result<ProxyConfig> c = load_proxy_config("/etc/statecast/proxy.yaml");
//   if (!c) die(c.error().message);   // "proxy.yaml:12:9: groups[0].lease.time: expected a duration ..., got ..."
//
// Durations are written "10s", "250ms", "2min"; byte counts "64KiB", "1MiB", "unlimited"; ports 443 or "1000-2000".
// Unknown keys are errors; nothing starts on a bad file. [init] needs a restart, [live] is taken by reload.
// Threads: values. Ownership: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/units.h"

namespace statecast {

enum class ConfigClass : uint8_t { drop, stateful, stateless };
enum class ConfigProtocol : uint8_t { any, tcp, udp };
enum class UnknownSession : uint8_t { drop, stateless, admit };
enum class Partition : uint8_t { safe, available };
enum class Degraded : uint8_t { accept, refuse };
enum class ConfigInsertForm : uint8_t { insert, insert_and_forward, insert_and_return };
enum class ConfigQueryForm : uint8_t { query, query_and_forward, query_and_return };

struct RuleConfig {  // one of a group's ordered rules; the first match wins
  ConfigProtocol protocol = ConfigProtocol::any;
  struct Ports {
    uint16_t first, last;
    bool operator==(const Ports&) const = default;
  };
  std::vector<Ports> ports;                          // of the group's side; empty: all
  ConfigClass packet_class = ConfigClass::stateful;  // key `class`: stateful | stateless | drop
  bool operator==(const RuleConfig&) const = default;
};

struct GroupMemberConfig {
  MemberId id;
  uint32_t weight = 100;  // share of new sessions; 0: none
  bool operator==(const GroupMemberConfig&) const = default;
};

struct LeaseConfig {
  Duration time = 10s;          // hard cap, 1s..60s
  ByteCount bytes{UINT64_MAX};  // most that one grant gives; "unlimited"
  bool operator==(const LeaseConfig&) const = default;
};

struct GroupConfig {
  GroupId id;  // 1..2^24-1, the same on proxies and members
  std::string name;
  std::vector<Prefix> addresses;                   // anycast; /32 and /128 as a rule
  std::vector<GroupMemberConfig> members;          // proxy only
  std::vector<RuleConfig> rules;                   // empty: all TCP and UDP stateful
  UnknownSession unknown = UnknownSession::drop;   // answer to a confirmed unknown session
  uint32_t admit_per_second = 10'000;              // bound on `unknown: admit`
  ConfigQueryForm query = ConfigQueryForm::query;  // what a proxy without a lease does with the packet meanwhile
  uint32_t absent_per_second = 5'000;              // questions about sessions that the summaries lack
  Partition partition = Partition::safe;
  Degraded degraded = Degraded::accept;
  LeaseConfig lease;
  Duration negative = 250ms;  // life of a negative entry
  // agent only:
  ByteCount session_bytes{UINT64_MAX};  // bucket of a session per refresh; "unlimited"
  bool refill = true;                   // refresh the bucket each period; false: only on `statecast sessions refresh`
  Duration udp_idle = 60s;
  bool operator==(const GroupConfig&) const = default;
};

struct ProxyPeerConfig {
  ProxyId id;
  Endpoint address;  // unicast, on the underlay
  std::string zone;
  bool operator==(const ProxyPeerConfig&) const = default;
};

struct PortConfig {
  std::string name;
  std::string device;  // PCI address or vdev: "net_af_packet0,iface=eth1"
  enum class Role : uint8_t { both, anycast, underlay } role = Role::both;
  uint16_t queues = 0;  // 0: one per worker (where the device has them)
  struct Address {
    IpAddress address;
    uint8_t length;
    bool operator==(const Address&) const = default;
  };
  std::vector<Address> addresses;   // "10.1.1.1/24": the proxy's own, unicast
  std::vector<IpAddress> gateways;  // at most one per family: next hop of what is not on link
  bool answer_neighbours = true;    // answer ARP and neighbour discovery for own addresses
  uint16_t mtu = 1500;
  bool operator==(const PortConfig&) const = default;
};

struct DpdkConfig {
  bool huge_pages = true;
  uint32_t memory_mb = 512;
  std::vector<unsigned> cores = {0};  // one worker each
  std::string file_prefix;            // default: "statecast-p<ID>"
  Duration idle_sleep = 50us;         // after 32 empty polls; 0: never yield
  uint16_t rx_descriptors = 1024, tx_descriptors = 1024;
  uint32_t packet_buffers = 16'384;
  bool operator==(const DpdkConfig&) const = default;
};

struct CacheConfig {
  uint32_t sessions = 1'000'000;  // entries
  uint32_t negative = 65'536;
  uint32_t miss_packets = 16'384;  // held in all; at most 4 packets and 6 KB per session
  uint32_t miss_packets_per_group = 8'192;
  bool operator==(const CacheConfig&) const = default;
};

// Membership from etcd instead of from the list `proxies` alone.
struct EtcdConfig {
  std::vector<std::string> endpoints;  // "http://10.0.0.5:2379"; empty: the view is all of `proxies`
  std::string prefix = "/statecast";   // of its keys
  std::string ca, certificate, key;    // paths of PEM files; empty: none
  Duration lease = 5s, hold_down = 10s, settle = 2s;
  bool operator==(const EtcdConfig&) const = default;
};

struct DirectoryConfig {
  uint32_t revision = 1;
  unsigned replicas = 3;          // R
  unsigned writes = 2;            // W
  uint32_t records = 20'000'000;  // that this proxy holds at most
  EtcdConfig etcd;
  bool operator==(const DirectoryConfig&) const = default;
};

struct LogConfig {
  std::string level = "info";  // trace, debug, info, warn, error, off
  bool operator==(const LogConfig&) const = default;
};

struct ProxyConfig {
  ProxyId id;
  std::string fleet_secret;    // path
  std::string control_socket;  // default /run/statecast/proxy-<ID>.sock
  std::string metrics;         // "127.0.0.1:9101"; empty: off
  LogConfig log;
  DpdkConfig dpdk;
  CacheConfig cache;
  DirectoryConfig directory;
  std::vector<PortConfig> ports;
  std::vector<ProxyPeerConfig> proxies;  // all of the fleet, this one too
  std::vector<MemberId> members;         // all that may say hello
  std::vector<GroupConfig> groups;
  bool operator==(const ProxyConfig&) const = default;
};

struct AgentConfig {
  MemberId id;
  std::string node_key;                          // path
  std::string control_socket;                    // default /run/statecast/agent-<ID>.sock
  std::string state_dir = "/var/lib/statecast";  // incarnation and revocations
  std::string metrics;
  LogConfig log;
  std::string device = "statecast0";  // TUN
  Endpoint bind;                      // default 0.0.0.0:0, or [::]:0 where the proxies are on IPv6
  std::vector<ProxyPeerConfig> proxies;
  std::vector<GroupConfig> groups;  // those this member serves
  ConfigInsertForm insert = ConfigInsertForm::insert_and_forward;
  uint32_t insert_queue = 4'096;  // packets that wait for `insert: insert`
  bool operator==(const AgentConfig&) const = default;
};

// All errors of a file in one message, a line each. Paths in a file are relative to it.
Result<ProxyConfig> load_proxy_config(const std::string& path);
Result<AgentConfig> load_agent_config(const std::string& path);
// The same from text; `name` stands for the file in errors, and paths stay as they are.
Result<ProxyConfig> parse_proxy_config(const std::string& text, const std::string& name);
Result<AgentConfig> parse_agent_config(const std::string& text, const std::string& name);
// The effective configuration, defaults filled in, as YAML.
std::string to_yaml(const ProxyConfig& c);
std::string to_yaml(const AgentConfig& c);

// Whose file this is, by the keys at its top.
enum class ConfigKind : uint8_t { proxy, agent };
Result<ConfigKind> config_kind(const std::string& path);

// docs/configuration.md
std::string schema_markdown();

}  // namespace statecast
