// SPDX-License-Identifier: BSD-3-Clause
// The tables, in the order of config.h.
#include "config/schema.h"

#include "config/value_forms.h"

namespace statecast {

namespace {

constexpr auto init = Reload::init;
constexpr auto live = Reload::live;
constexpr auto operators = Audience::operators;
constexpr auto tuning = Audience::tuning;
constexpr auto expert = Audience::expert;

// The port that Geneve has from IANA (RFC 8926).
constexpr uint16_t kGenevePort = 6081;

const Table<RuleConfig>& rule_table() {
  static const Table<RuleConfig> table = [] {
    Table<RuleConfig> t;
    t.title = "groups[].rules[]";
    t.intro =
        "A group's rules say which class a packet has; the first match wins, and what none matches is dropped. "
        "Without any rule, all TCP and UDP is stateful.";
    t.expected = "a rule such as {protocol: tcp, ports: [443], class: stateful}";
    t.add(scalar("protocol", &RuleConfig::protocol,
                 choice_value<ConfigProtocol>(
                     {{ConfigProtocol::any, "any"}, {ConfigProtocol::tcp, "tcp"}, {ConfigProtocol::udp, "udp"}}),
                 {.reload = live, .audience = operators, .sentence = "Which protocol the rule is about."}));
    t.add(
        scalars("ports", &RuleConfig::ports, ports_value(),
                {.reload = live, .audience = operators, .fallback = "all", .sentence = "Ports on the group's side."}));
    t.add(scalar(
        "class", &RuleConfig::packet_class,
        choice_value<ConfigClass>(
            {{ConfigClass::drop, "drop"}, {ConfigClass::stateful, "stateful"}, {ConfigClass::stateless, "stateless"}}),
        {.reload = live,
         .audience = operators,
         .sentence = "`stateful`: the session's member gets it; `stateless`: a member chosen by source address, "
                     "no state; `drop`: nobody."}));
    return t;
  }();
  return table;
}

const Table<GroupMemberConfig>& group_member_table() {
  static const Table<GroupMemberConfig> table = [] {
    Table<GroupMemberConfig> t;
    t.title = "groups[].members[]";
    t.intro = "A bare number stands for a member with the default weight: `members: [7, 8]`.";
    t.expected = "a member such as {id: 7, weight: 100}, or its id alone";
    t.short_form = [form = id_value<MemberId>()](std::string_view text, GroupMemberConfig& out) {
      auto id = form.parse(text);
      if (id) out.id = *id;
      return id.has_value();
    };
    t.add(scalar(
        "id", &GroupMemberConfig::id, id_value<MemberId>(),
        {.reload = live, .audience = operators, .required = true, .sentence = "A member of the list `members`."}));
    t.add(scalar("weight", &GroupMemberConfig::weight, number_value<uint32_t>(0, 1'000'000),
                 {.reload = live,
                  .audience = operators,
                  .sentence = "Its share of new sessions, relative to the others; 0: no new ones."}));
    return t;
  }();
  return table;
}

const Table<LeaseConfig>& lease_table() {
  static const Table<LeaseConfig> table = [] {
    Table<LeaseConfig> t;
    t.title = "groups[].lease";
    t.intro = "What a proxy is granted of a session: the shorter of a time and a number of bytes.";
    t.expected = "a map with time and bytes";
    t.add(
        scalar("time", &LeaseConfig::time, duration_value(1s, 60s, "10s"),
               {.reload = live,
                .audience = tuning,
                .sentence = "Hard cap on a lease's time. A revocation that cannot reach a proxy is in force there when "
                            "the lease has ended."}));
    t.add(scalar("bytes", &LeaseConfig::bytes, bytes_value(ByteCount{64 * 1024}, "1MiB"),
                 {.reload = live, .audience = tuning, .sentence = "Most bytes that one grant gives."}));
    return t;
  }();
  return table;
}

const Table<GroupConfig>& group_table() {
  static const Table<GroupConfig> table = [] {
    Table<GroupConfig> t;
    t.title = "groups[]";
    t.intro = "A group is a protected service. `id`, `addresses` and `rules` say the same on proxies and members.";
    t.expected = "a map with id, name, addresses and more";
    t.add(scalar("id", &GroupConfig::id, id_value<GroupId>(),
                 {.reload = live,
                  .audience = operators,
                  .required = true,
                  .sentence = "The group's number, the same on proxies and members; its secret is derived from it."}));
    t.add(scalar("name", &GroupConfig::name, name_value(),
                 {.reload = live,
                  .audience = operators,
                  .required = true,
                  .sentence = "What people and the command line call it."}));
    t.add(scalars("addresses", &GroupConfig::addresses, prefix_value(),
                  {.reload = live,
                   .audience = operators,
                   .required = true,
                   .sentence = "Its anycast addresses. Where groups nest, the longest prefix wins."}));
    t.add(sections("members", &GroupConfig::members, group_member_table(), Program::proxy,
                   {.reload = live,
                    .audience = operators,
                    .program = Program::proxy,
                    .required = true,
                    .sentence = "The members that serve it."}));
    t.add(sections("rules", &GroupConfig::rules, rule_table(), Program::both,
                   {.reload = live, .audience = operators, .sentence = "Ordered rules; see below."}));
    t.add(scalar(
        "unknown", &GroupConfig::unknown,
        choice_value<UnknownSession>({{UnknownSession::drop, "drop"},
                                      {UnknownSession::stateless, "stateless"},
                                      {UnknownSession::admit, "admit"}}),
        {.reload = live,
         .audience = operators,
         .sentence = "What becomes of a packet whose session the directory does not know: `drop`; `stateless`: to "
                     "a member chosen by source address; `admit`: it starts a session (UDP)."}));
    t.add(scalar(
        "admit_per_second", &GroupConfig::admit_per_second, number_value<uint32_t>(1, 100'000'000),
        {.reload = live,
         .audience = tuning,
         .sentence = "Most packets of unknown sessions that `unknown: admit` lets through per second and proxy."}));
    t.add(scalar("absent_per_second", &GroupConfig::absent_per_second, number_value<uint32_t>(1, 100'000'000),
                 {.reload = live,
                  .audience = tuning,
                  .sentence = "Under a flood of unknown sessions: most questions to the directory per second and proxy "
                              "about sessions that the summaries of its replicas lack. As many again for sources that "
                              "have a live session."}));
    t.add(scalar("query", &GroupConfig::query,
                 choice_value<ConfigQueryForm>({{ConfigQueryForm::query, "query"},
                                                {ConfigQueryForm::query_and_forward, "query_and_forward"},
                                                {ConfigQueryForm::query_and_return, "query_and_return"}}),
                 {.reload = live,
                  .audience = tuning,
                  .program = Program::proxy,
                  .sentence = "What becomes of a session's first packet at a proxy that has to ask the directory: "
                              "`query`: held until the answer; `query_and_forward`: sent along, and the replica hands "
                              "it to the member; `query_and_return`: sent along, and comes back with the answer. Over "
                              "an IPv6 underlay, under pressure, and for packets above 1,330 bytes always `query`."}));
    t.add(scalar("partition", &GroupConfig::partition,
                 choice_value<Partition>({{Partition::safe, "safe"}, {Partition::available, "available"}}),
                 {.reload = live,
                  .audience = operators,
                  .sentence = "What a replica that is cut off from the others does. `safe`: grants nothing, so that a "
                              "revocation always holds; `available`: goes on serving, so that one may not."}));
    t.add(scalar("degraded", &GroupConfig::degraded,
                 choice_value<Degraded>({{Degraded::accept, "accept"}, {Degraded::refuse, "refuse"}}),
                 {.reload = live,
                  .audience = operators,
                  .sentence = "What becomes of a new session when too few replicas can store it: `accept` (counted, "
                              "nothing promised) or `refuse`."}));
    t.add(section("lease", &GroupConfig::lease, lease_table(), Program::both,
                  {.reload = live, .audience = tuning, .sentence = "What a proxy is granted at a time; see below."}));
    t.add(scalar(
        "negative", &GroupConfig::negative, duration_value(10ms, 10s, "250ms"),
        {.reload = live, .audience = tuning, .sentence = "How long a proxy remembers that a session is unknown."}));
    t.add(scalar("session_bytes", &GroupConfig::session_bytes, bytes_value(ByteCount{64 * 1024}, "1MiB"),
                 {.reload = live,
                  .audience = operators,
                  .program = Program::agent,
                  .sentence = "Bytes that a session may pass, over all proxies, until its bucket is refreshed."}));
    t.add(scalar("refill", &GroupConfig::refill, bool_value(),
                 {.reload = live,
                  .audience = operators,
                  .program = Program::agent,
                  .sentence = "Refresh the bucket each period; `false`: only on `statecast sessions refresh`."}));
    t.add(scalar("udp_idle", &GroupConfig::udp_idle, duration_value(1s, 24h, "60s"),
                 {.reload = live,
                  .audience = operators,
                  .program = Program::agent,
                  .sentence = "A UDP session without packets ends after this."}));
    return t;
  }();
  return table;
}

const Table<PortConfig>& port_table() {
  static const Table<PortConfig> table = [] {
    Table<PortConfig> t;
    t.title = "ports[]";
    t.intro = "The DPDK ports of the proxy.";
    t.expected = "a map with name, device, addresses and more";
    t.add(
        scalar("name", &PortConfig::name, name_value(),
               {.reload = init, .audience = operators, .required = true, .sentence = "What status and logs call it."}));
    t.add(scalar("device", &PortConfig::device, device_value(),
                 {.reload = init,
                  .audience = operators,
                  .required = true,
                  .sentence = "DPDK device: a PCI address, or a virtual device with its arguments."}));
    t.add(scalar("role", &PortConfig::role,
                 choice_value<PortConfig::Role>({{PortConfig::Role::both, "both"},
                                                 {PortConfig::Role::anycast, "anycast"},
                                                 {PortConfig::Role::underlay, "underlay"}}),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "`anycast`: clients' packets; `underlay`: envelopes; `both`: one port for all."}));
    t.add(scalar("queues", &PortConfig::queues, number_value<uint16_t>(0, 64),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Pairs of receive and transmit queues; 0: one per worker, where the device has them."}));
    t.add(scalars("addresses", &PortConfig::addresses, interface_address_value(),
                  {.reload = init,
                   .audience = operators,
                   .required = true,
                   .sentence = "The proxy's own unicast addresses on this link, with the network's length."}));
    t.add(scalars("gateways", &PortConfig::gateways, address_value(),
                  {.reload = init,
                   .audience = operators,
                   .fallback = "none",
                   .sentence = "Next hop of what is not on the link; at most one per family."}));
    t.add(scalar(
        "answer_neighbours", &PortConfig::answer_neighbours, bool_value(),
        {.reload = init,
         .audience = expert,
         .sentence =
             "Answer ARP and neighbour discovery for the port's own addresses; `false` where the kernel does."}));
    t.add(scalar("mtu", &PortConfig::mtu, number_value<uint16_t>(1280, 9600),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "Largest IP packet of the link; at least 1500 where the role is `underlay` or `both`."}));
    return t;
  }();
  return table;
}

const Table<DpdkConfig>& dpdk_table() {
  static const Table<DpdkConfig> table = [] {
    Table<DpdkConfig> t;
    t.title = "dpdk";
    t.expected = "a map with huge_pages, memory_mb, cores and more";
    t.add(scalar("huge_pages", &DpdkConfig::huge_pages, bool_value(),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "Take memory from huge pages (see docs/nics.md); `false`: ordinary memory, slower."}));
    t.add(scalar("memory_mb", &DpdkConfig::memory_mb, number_value<uint32_t>(32, 1'048'576),
                 {.reload = init, .audience = operators, .sentence = "MiB that DPDK takes at the start."}));
    t.add(scalars("cores", &DpdkConfig::cores, number_value<unsigned>(0, 1023),
                  {.reload = init, .audience = operators, .sentence = "CPU cores, each with one worker; at most 64."}));
    t.add(scalar("file_prefix", &DpdkConfig::file_prefix, path_value("statecast-p1"),
                 {.reload = init,
                  .audience = expert,
                  .fallback = "statecast-p<ID>",
                  .sentence = "Keeps DPDK's files of several proxies on one machine apart."}));
    t.add(scalar("idle_sleep", &DpdkConfig::idle_sleep, duration_value(0s, 10ms, "50us"),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "A worker sleeps this long after 32 empty polls; 0: never, it keeps its core busy."}));
    t.add(scalar("rx_descriptors", &DpdkConfig::rx_descriptors, number_value<uint16_t>(64, 32'768),
                 {.reload = init, .audience = tuning, .sentence = "Of each receive queue."}));
    t.add(scalar("tx_descriptors", &DpdkConfig::tx_descriptors, number_value<uint16_t>(64, 32'768),
                 {.reload = init, .audience = tuning, .sentence = "Of each transmit queue."}));
    t.add(
        scalar("packet_buffers", &DpdkConfig::packet_buffers, number_value<uint32_t>(1'024, 16'777'216),
               {.reload = init,
                .audience = tuning,
                .sentence = "Packets that the proxy can hold at one time: in queues, in the miss table, under way."}));
    return t;
  }();
  return table;
}

const Table<CacheConfig>& cache_table() {
  static const Table<CacheConfig> table = [] {
    Table<CacheConfig> t;
    t.title = "cache";
    t.expected = "a map with sessions, negative and more";
    t.add(scalar("sessions", &CacheConfig::sessions, number_value<uint32_t>(1'024, 500'000'000),
                 {.reload = init, .audience = operators, .sentence = "Entries of the session cache."}));
    t.add(scalar("negative", &CacheConfig::negative, number_value<uint32_t>(1'024, 16'777'216),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Entries for sessions known to be unknown; space of their own."}));
    t.add(scalar("miss_packets", &CacheConfig::miss_packets, number_value<uint32_t>(64, 16'777'216),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Packets held for outstanding queries in all; at most 4 packets and 6 KB per session."}));
    t.add(scalar("miss_packets_per_group", &CacheConfig::miss_packets_per_group, number_value<uint32_t>(64, 16'777'216),
                 {.reload = init, .audience = tuning, .sentence = "The same, per group."}));
    return t;
  }();
  return table;
}

const Table<EtcdConfig>& etcd_table() {
  static const Table<EtcdConfig> table = [] {
    Table<EtcdConfig> t;
    t.title = "directory.etcd";
    t.intro =
        "Membership from etcd (version 3). The proxies of the list `proxies` that run and are registered there are the "
        "view; `revision` is not used then. What it says is the same in the files of all proxies, but for the "
        "endpoints.";
    t.expected = "a map with endpoints and more";
    t.add(scalars("endpoints", &EtcdConfig::endpoints, url_value(),
                  {.reload = init,
                   .audience = operators,
                   .fallback = "none: the view is the list `proxies`",
                   .sentence = "Where etcd listens for clients; one is asked at a time, after a failure the next."}));
    t.add(scalar("prefix", &EtcdConfig::prefix, key_prefix_value(),
                 {.reload = init, .audience = operators, .sentence = "Of this fleet's keys."}));
    t.add(scalar("ca", &EtcdConfig::ca, optional_path_value("/etc/statecast/etcd-ca.pem"),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "the system's",
                  .sentence = "Authority that etcd's certificate has to be of."}));
    t.add(scalar("certificate", &EtcdConfig::certificate, optional_path_value("/etc/statecast/etcd-client.pem"),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "none",
                  .sentence = "This proxy's certificate for etcd; with `key`."}));
    t.add(scalar("key", &EtcdConfig::key, optional_path_value("/etc/statecast/etcd-client.key"),
                 {.reload = init, .audience = operators, .fallback = "none", .sentence = "Its key."}));
    t.add(scalar("lease", &EtcdConfig::lease, duration_value(2s, 60s, "5s"),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Whole seconds; how long a proxy that has died stays registered."}));
    t.add(scalar("hold_down", &EtcdConfig::hold_down, duration_value(1s, 10min, "10s"),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "How long a proxy has to be neither registered nor heard before it is taken out of the "
                              "view, so that one that flaps moves nothing."}));
    t.add(scalar(
        "settle", &EtcdConfig::settle, duration_value(1s, 10min, "2s"),
        {.reload = init, .audience = tuning, .sentence = "How long one has to be registered before it is taken in."}));
    return t;
  }();
  return table;
}

const Table<DirectoryConfig>& directory_table() {
  static const Table<DirectoryConfig> table = [] {
    Table<DirectoryConfig> t;
    t.title = "directory";
    t.intro = "The same in the files of all proxies: with the list `proxies` this is the view.";
    t.expected = "a map with revision, replicas, writes and more";
    t.add(scalar("revision", &DirectoryConfig::revision, number_value<uint32_t>(1, UINT32_MAX),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "Number of the view; raise it with every change of `proxies` or of this section."}));
    t.add(scalar("replicas", &DirectoryConfig::replicas, number_value<unsigned>(1, 16),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "R: proxies that hold a session's mapping (where there are as many)."}));
    t.add(scalar(
        "writes", &DirectoryConfig::writes, number_value<unsigned>(1, 16),
        {.reload = init, .audience = expert, .sentence = "W: copies before a change counts as stored; at most R."}));
    t.add(scalar(
        "records", &DirectoryConfig::records, number_value<uint32_t>(1'024, 500'000'000),
        {.reload = init,
         .audience = tuning,
         .sentence = "Mappings and tombstones that this proxy holds for the fleet at most, of 93 bytes each; this "
                     "is each proxy's own. Half-open mappings get half of them; the last eighth is shared out "
                     "to the groups in equal parts."}));
    t.add(section("etcd", &DirectoryConfig::etcd, etcd_table(), Program::proxy,
                  {.reload = init, .sentence = "See below."}));
    return t;
  }();
  return table;
}

const Table<LogConfig>& log_table() {
  static const Table<LogConfig> table = [] {
    Table<LogConfig> t;
    t.title = "log";
    t.expected = "a map with level";
    t.add(scalar("level", &LogConfig::level, word_value({"trace", "debug", "info", "warn", "error", "off"}),
                 {.reload = live,
                  .audience = operators,
                  .sentence = "What is written to standard error: this and what is graver."}));
    return t;
  }();
  return table;
}

}  // namespace

const Table<ProxyPeerConfig>& proxy_peer_table() {
  static const Table<ProxyPeerConfig> table = [] {
    Table<ProxyPeerConfig> t;
    t.title = "proxies[]";
    t.intro = "All proxies of the fleet. The list says the same in the files of all proxies and agents.";
    t.expected = "a map with id and address";
    t.add(scalar("id", &ProxyPeerConfig::id, id_value<ProxyId>(),
                 {.reload = init, .audience = operators, .required = true, .sentence = "The proxy's number."}));
    t.add(scalar("address", &ProxyPeerConfig::address, endpoint_value(kGenevePort, "10.0.0.1:6081"),
                 {.reload = init,
                  .audience = operators,
                  .required = true,
                  .sentence = "Where it takes envelopes: its unicast address on the underlay and a UDP port (6081 "
                              "where none is written)."}));
    t.add(scalar("zone", &ProxyPeerConfig::zone, text_value("text", "the name of a zone"),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "none",
                  .sentence = "Replicas of a slot are placed in distinct zones first."}));
    return t;
  }();
  return table;
}

const Table<ProxyConfig>& proxy_table() {
  static const Table<ProxyConfig> table = [] {
    Table<ProxyConfig> t;
    t.title = "proxy.yaml";
    t.intro = "The file of `statecast-proxy`.";
    t.expected = "a map with id, fleet_secret, ports, proxies, members, groups and more";
    constexpr auto proxy = Program::proxy;
    t.elsewhere = [](std::string_view key) { return agent_table().has(key); };
    t.add(scalar("id", &ProxyConfig::id, id_value<ProxyId>(),
                 {.reload = init,
                  .audience = operators,
                  .required = true,
                  .sentence = "This proxy's number, one of `proxies`."}));
    t.add(scalar("fleet_secret", &ProxyConfig::fleet_secret, path_value("/etc/statecast/fleet.secret"),
                 {.reload = init,
                  .audience = operators,
                  .required = true,
                  .sentence = "File made by `statecast keys fleet`; relative to this file."}));
    t.add(scalar("control_socket", &ProxyConfig::control_socket, path_value("/run/statecast/proxy-1.sock"),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "/run/statecast/proxy-<ID>.sock",
                  .sentence = "Where the command line reaches the program."}));
    t.add(scalar("metrics", &ProxyConfig::metrics, listen_value(),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "off",
                  .sentence = "Address and port of the Prometheus page."}));
    t.add(section("log", &ProxyConfig::log, log_table(), proxy, {.reload = live, .sentence = "See below."}));
    t.add(section("dpdk", &ProxyConfig::dpdk, dpdk_table(), proxy,
                  {.reload = init, .sentence = "Memory and cores; see below."}));
    t.add(section("cache", &ProxyConfig::cache, cache_table(), proxy,
                  {.reload = init, .audience = tuning, .sentence = "Sizes of the session cache; see below."}));
    t.add(section("directory", &ProxyConfig::directory, directory_table(), proxy,
                  {.reload = init, .sentence = "Replication; see below."}));
    t.add(sections("ports", &ProxyConfig::ports, port_table(), proxy,
                   {.reload = init, .required = true, .sentence = "DPDK ports; see below."}));
    t.add(
        sections("proxies", &ProxyConfig::proxies, proxy_peer_table(), proxy,
                 {.reload = init, .required = true, .sentence = "All proxies of the fleet, this one too; see below."}));
    t.add(scalars("members", &ProxyConfig::members, id_value<MemberId>(),
                  {.reload = live, .required = true, .sentence = "All members that may say hello."}));
    t.add(sections("groups", &ProxyConfig::groups, group_table(), proxy,
                   {.reload = live, .required = true, .sentence = "The protected services; see below."}));
    return t;
  }();
  return table;
}

const Table<AgentConfig>& agent_table() {
  static const Table<AgentConfig> table = [] {
    Table<AgentConfig> t;
    t.title = "agent.yaml";
    t.intro = "The file of `statecast-agent`.";
    t.expected = "a map with id, node_key, proxies, groups and more";
    constexpr auto agent = Program::agent;
    t.elsewhere = [](std::string_view key) { return proxy_table().has(key); };
    t.add(scalar("id", &AgentConfig::id, id_value<MemberId>(),
                 {.reload = init, .audience = operators, .required = true, .sentence = "This member's number."}));
    t.add(scalar("node_key", &AgentConfig::node_key, path_value("/etc/statecast/member-7.key"),
                 {.reload = init,
                  .audience = operators,
                  .required = true,
                  .sentence = "File made by `statecast keys member`; relative to this file."}));
    t.add(scalar("control_socket", &AgentConfig::control_socket, path_value("/run/statecast/agent-7.sock"),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "/run/statecast/agent-<ID>.sock",
                  .sentence = "Where the command line reaches the program."}));
    t.add(scalar("state_dir", &AgentConfig::state_dir, path_value("/var/lib/statecast"),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "Keeps the incarnation and the revocations over restarts; one per agent."}));
    t.add(scalar("metrics", &AgentConfig::metrics, listen_value(),
                 {.reload = init,
                  .audience = operators,
                  .fallback = "off",
                  .sentence = "Address and port of the Prometheus page."}));
    t.add(section("log", &AgentConfig::log, log_table(), agent, {.reload = live, .sentence = "See below."}));
    t.add(scalar("device", &AgentConfig::device, interface_value(),
                 {.reload = init,
                  .audience = operators,
                  .sentence = "Name of the TUN device that gets the groups' addresses."}));
    t.add(scalar("bind", &AgentConfig::bind, bind_value(),
                 {.reload = init,
                  .audience = expert,
                  .fallback = "any address and port",
                  .sentence = "Underlay address and UDP port that the agent's envelopes leave from."}));
    t.add(scalar("insert", &AgentConfig::insert,
                 choice_value<ConfigInsertForm>({{ConfigInsertForm::insert, "insert"},
                                                 {ConfigInsertForm::insert_and_forward, "insert_and_forward"},
                                                 {ConfigInsertForm::insert_and_return, "insert_and_return"}}),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Where the first reply of a session (a SYN/ACK) is until the directory has the session: "
                              "`insert_and_forward`: in the insert, and then at the proxy, with the session's lease; "
                              "`insert_and_return`: in the insert and its answer; `insert`: here."}));
    t.add(scalar("insert_queue", &AgentConfig::insert_queue, number_value<uint32_t>(1, 1'000'000),
                 {.reload = init,
                  .audience = tuning,
                  .sentence = "Most replies that wait here with `insert: insert`; more go as `insert_and_forward`."}));
    t.add(sections("proxies", &AgentConfig::proxies, proxy_peer_table(), agent,
                   {.reload = init, .required = true, .sentence = "All proxies of the fleet; see below."}));
    t.add(sections("groups", &AgentConfig::groups, group_table(), agent,
                   {.reload = live, .required = true, .sentence = "The groups that this member serves; see below."}));
    return t;
  }();
  return table;
}

}  // namespace statecast
