// SPDX-License-Identifier: BSD-3-Clause
// The tables of a profile, in the order of pktgen_config.h, and the forms of value that only profiles have.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "config/pktgen_config.h"
#include "config/schema.h"
#include "config/value_forms.h"

namespace statecast {

namespace {

constexpr auto tuning = Audience::tuning;
constexpr auto expert = Audience::expert;
constexpr uint16_t kFrameMin = 64, kFrameMax = 9618;

// A decimal number such as "0.99"; nothing else that strtod would take, and nothing too small to be written like that.
std::optional<double> parse_decimal(std::string_view t) {
  if (t.empty() || t.size() > 40 || t.find_first_not_of("0123456789.") != std::string_view::npos) return std::nullopt;
  std::string text(t);
  char* end = nullptr;
  double v = std::strtod(text.c_str(), &end);
  if (*end != 0 || !std::isfinite(v) || (v != 0 && v < 1e-6) || v > 1e15) return std::nullopt;
  return v;
}

// The shortest that reads back as the same number.
std::string decimal_text(double v) {
  char text[64];
  for (int digits = 0; digits < 25; ++digits) {
    std::snprintf(text, sizeof text, "%.*f", digits, v);
    if (parse_decimal(text) == v) break;
  }
  return text;
}

ValueForm<double> decimal_value(double min, double max) {
  std::string low = decimal_text(min), high = decimal_text(max);
  return {"decimal", low + " to " + high, "a number between " + low + " and " + high + " such as \"1.5\"",
          [=](std::string_view t) {
            auto v = parse_decimal(t);
            return v && *v >= min && *v <= max ? v : std::nullopt;
          },
          [](const double& v) { return decimal_text(v); }};
}

ValueForm<RateConfig> rate_value() {
  return {"rate", "0 or more, or max", "a rate such as \"14.88Mpps\", \"500kpps\", \"10Gbps\" or \"max\"",
          [](std::string_view t) { return parse_rate(t); }, [](const RateConfig& r) { return rate_text(r); }};
}

ValueForm<FrameSizeConfig> frame_size_value() {
  std::string range = std::to_string(kFrameMin) + " to " + std::to_string(kFrameMax);
  return {"size", range, "a frame's size of " + range + " bytes such as \"64\", or with a weight \"7x64\"",
          [](std::string_view t) { return parse_frame_size(t); },
          [](const FrameSizeConfig& s) {
            return s.weight == 1 ? std::to_string(s.bytes) : std::to_string(s.weight) + "x" + std::to_string(s.bytes);
          }};
}

ValueForm<MacAddress> mac_value() {
  return {"MAC address", "", "a MAC address such as \"02:00:00:00:00:01\"", MacAddress::parse,
          [](const MacAddress& m) { return "\"" + to_string(m) + "\""; }};
}

// As address_value, but none is written as "".
ValueForm<IpAddress> optional_address_value() {
  auto form = address_value();
  auto show = form.show;
  form.show = [show](const IpAddress& a) { return a.is_none() ? std::string("\"\"") : show(a); };
  auto parse = form.parse;
  form.parse = [parse](std::string_view t) { return t.empty() ? std::optional(IpAddress{}) : parse(t); };
  return form;
}

ValueForm<Prefix> optional_prefix_value() {
  auto form = prefix_value();
  auto show = form.show;
  form.show = [show](const Prefix& p) { return p.address.is_none() ? std::string("\"\"") : show(p); };
  auto parse = form.parse;
  form.parse = [parse](std::string_view t) { return t.empty() ? std::optional(Prefix{}) : parse(t); };
  return form;
}

const Table<PktgenDpdkConfig>& pktgen_dpdk_table() {
  static const Table<PktgenDpdkConfig> table = [] {
    using C = PktgenDpdkConfig;
    Table<C> t;
    t.title = "pktgen.dpdk";
    t.expected = "a map with huge_pages, memory_mb, cores and more";
    t.add(scalar("huge_pages", &C::huge_pages, bool_value(),
                 {.sentence = "Take memory from huge pages (faster, and NICs need them); `false`: ordinary memory."}));
    t.add(scalar("memory_mb", &C::memory_mb, number_value<uint32_t>(32, 1'048'576),
                 {.sentence = "MiB that DPDK takes at the start."}));
    t.add(
        scalars("cores", &C::cores, number_value<unsigned>(0, 1023),
                {.sentence = "CPU cores, each with one worker. Streams are shared out among them; with a "
                             "`member_side` and two cores or more the last one plays the members and nothing else."}));
    t.add(scalar("file_prefix", &C::file_prefix, path_value("statecast-pktgen"),
                 {.audience = expert, .sentence = "Keeps DPDK's files of several programs on one machine apart."}));
    t.add(scalar("idle_sleep", &C::idle_sleep, duration_value(0s, 10ms, "50us"),
                 {.audience = tuning,
                  .sentence = "A worker with nothing to do sleeps this long. It makes latencies look longer by as "
                              "much; 0: never, each worker keeps its core busy."}));
    t.add(scalar("rx_descriptors", &C::rx_descriptors, number_value<uint16_t>(64, 32'768),
                 {.audience = tuning, .sentence = "Of each receive queue."}));
    t.add(scalar("tx_descriptors", &C::tx_descriptors, number_value<uint16_t>(64, 32'768),
                 {.audience = tuning, .sentence = "Of each transmit queue."}));
    t.add(scalar(
        "packet_buffers", &C::packet_buffers, number_value<uint32_t>(1'024, 16'777'216),
        {.audience = tuning, .sentence = "Packets in queues and under way, to receive, and for each worker to send."}));
    return t;
  }();
  return table;
}

const Table<PktgenPortConfig>& pktgen_port_table() {
  static const Table<PktgenPortConfig> table = [] {
    using C = PktgenPortConfig;
    Table<C> t;
    t.title = "pktgen.ports[]";
    t.intro = "One port, where packets come back on it, or several. All that any of them receives is counted.";
    t.expected = "a map with name and device";
    t.add(scalar("name", &C::name, name_value(), {.required = true, .sentence = "What streams call it."}));
    t.add(
        scalar("device", &C::device, device_value(),
               {.required = true, .sentence = "DPDK device: a PCI address, or a virtual device with its arguments."}));
    t.add(scalars("addresses", &C::addresses, address_value(),
                  {.fallback = "none",
                   .sentence = "ARP and neighbour discovery are answered for these; a member's "
                               "address needs no entry."}));
    t.add(scalar("gateway", &C::gateway, optional_address_value(),
                 {.fallback = "none",
                  .sentence = "Next hop; its MAC address is asked for by ARP or neighbour discovery from the first "
                              "address of its family."}));
    t.add(scalar("peer_mac", &C::peer_mac, mac_value(),
                 {.sentence = "Destination MAC address where there is no `gateway`."}));
    t.add(scalar("mtu", &C::mtu, number_value<uint16_t>(1280, 9600), {.sentence = "Largest IP packet of the link."}));
    return t;
  }();
  return table;
}

const Table<PktgenStreamConfig>& pktgen_stream_table() {
  static const Table<PktgenStreamConfig> table = [] {
    using C = PktgenStreamConfig;
    Table<C> t;
    t.title = "pktgen.streams[]";
    t.intro =
        "Packets of kind `good` carry a mark (stream, session, sequence number, time, check value) and are expected "
        "to arrive; the other kinds are attacks, of which what arrives is counted apart.";
    t.expected = "a map with name, destinations and more";
    t.add(scalar("name", &C::name, name_value(), {.required = true, .sentence = "What reports call it."}));
    t.add(scalar("kind", &C::kind,
                 choice_value<C::Kind>({{C::Kind::good, "good"},
                                        {C::Kind::syn_flood, "syn_flood"},
                                        {C::Kind::random_sessions, "random_sessions"},
                                        {C::Kind::malformed, "malformed"},
                                        {C::Kind::forged_envelopes, "forged_envelopes"}}),
                 {.sentence = "`syn_flood`: TCP SYNs from random sources; `random_sessions`: packets of sessions that "
                              "nobody knows; `malformed`: broken headers, lengths and flags in turn; "
                              "`forged_envelopes`: envelopes in a member's name under a wrong key."}));
    t.add(scalar("port", &C::port, text_value("name", "the name of a port"),
                 {.fallback = "the first port", .sentence = "Leaves through this port."}));
    t.add(scalar("protocol", &C::protocol,
                 choice_value<ConfigProtocol>({{ConfigProtocol::tcp, "tcp"}, {ConfigProtocol::udp, "udp"}}),
                 {.sentence = "Transport protocol."}));
    t.add(scalar("sessions", &C::sessions, number_value<uint32_t>(1, 500'000'000),
                 {.sentence = "Sessions: 32,768 client ports per client address."}));
    t.add(
        scalar("setup", &C::setup,
               choice_value<C::Setup>({{C::Setup::none, "none"}, {C::Setup::syn, "syn"}, {C::Setup::insert, "insert"}}),
               {.sentence = "Before any data: `syn`: a SYN per session until its SYN/ACK is back (TCP, with a "
                            "`member_side`); `insert`: the members insert each session into the directory."}));
    t.add(scalar("popularity", &C::popularity,
                 choice_value<C::Popularity>({{C::Popularity::uniform, "uniform"},
                                              {C::Popularity::zipf, "zipf"},
                                              {C::Popularity::sequential, "sequential"}}),
                 {.sentence = "Which session a packet belongs to."}));
    t.add(scalar("zipf", &C::zipf, decimal_value(0, 10),
                 {.audience = tuning, .sentence = "Exponent of `popularity: zipf`; session k has a share of 1/k^s."}));
    t.add(scalar("clients", &C::clients, optional_prefix_value(),
                 {.fallback = "10.0.0.0/8 or 2001:db8:c::/48",
                  .sentence = "Source addresses are taken from the start of this network."}));
    t.add(scalars("destinations", &C::destinations, endpoint_value(0, "203.0.113.10:443"),
                  {.required = true,
                   .sentence = "Where packets go; session i has number i modulo their count. For `forged_envelopes` "
                               "a proxy's address and port."}));
    t.add(scalars("sizes", &C::sizes, frame_size_value(),
                  {.sentence = "Sizes of the Ethernet frames with FCS, each with a weight; IMIX is `[7x64, 4x594, "
                               "1x1518]`. One too small for headers and mark is raised to what they need."}));
    t.add(
        scalar("capture", &C::capture, text_value("path", "a path such as \"sizes.pcap\", or \"\" for none"),
               {.fallback = "none", .sentence = "Sizes as often as in this pcap or pcapng file, instead of `sizes`."}));
    t.add(scalar("rate", &C::rate, rate_value(), {.sentence = "Of this stream, all workers together."}));
    t.add(
        scalar("ramp_from", &C::ramp_from, rate_value(),
               {.fallback = "no ramp", .sentence = "With `ramp_time`: the rate at the start, in the unit of `rate`."}));
    t.add(scalar("ramp_time", &C::ramp_time, duration_value(0s, 24h, "10s"),
                 {.sentence = "Time from `ramp_from` to `rate`, in a straight line."}));
    t.add(scalar("start", &C::start, duration_value(0s, 24h, "5s"), {.sentence = "Begins so long after the others."}));
    return t;
  }();
  return table;
}

const Table<PktgenMemberConfig>& pktgen_member_table() {
  static const Table<PktgenMemberConfig> table = [] {
    using C = PktgenMemberConfig;
    Table<C> t;
    t.title = "pktgen.member_side.members[]";
    t.expected = "a map with node_key and address";
    t.add(scalar("node_key", &C::node_key, path_value("/etc/statecast/m7.key"),
                 {.required = true, .sentence = "The member's key, as `statecast keys` wrote it; names the member."}));
    t.add(scalar("address", &C::address, address_value(),
                 {.required = true, .sentence = "Its address on the underlay; neighbours' questions are answered."}));
    return t;
  }();
  return table;
}

const Table<PktgenMemberSideConfig>& pktgen_member_side_table() {
  static const Table<PktgenMemberSideConfig> table = [] {
    using C = PktgenMemberSideConfig;
    Table<C> t;
    t.title = "pktgen.member_side";
    t.intro =
        "Plays the members of a group: says hello to the proxies, verifies the tag of what they bring, checks that "
        "each session stays at its member, puts sessions into the directory, and answers through the tunnel. Without "
        "`port` there is none, as in front of a plain forwarder.";
    t.expected = "a map with port, group, members and proxies";
    t.add(scalar("port", &C::port, text_value("name", "the name of a port"),
                 {.fallback = "none", .sentence = "Envelopes come and go through this port."}));
    t.add(scalar("group", &C::group, id_value<GroupId>(), {.sentence = "Group that the destinations belong to."}));
    t.add(sections("members", &C::members, pktgen_member_table(), Program::pktgen,
                   {.sentence = "At most 250. Session i is inserted by member i modulo their count."}));
    t.add(sections("proxies", &C::proxies, proxy_peer_table(), Program::pktgen,
                   {.sentence = "All proxies of the fleet, as in an agent's file."}));
    t.add(scalar("answer_every", &C::answer_every, number_value<uint32_t>(0, 1'000'000),
                 {.sentence = "Each so-many-th data packet is answered; 0: none."}));
    t.add(scalar("verify_every", &C::verify_every, number_value<uint32_t>(1, 1'000'000),
                 {.audience = tuning,
                  .sentence = "Each so-many-th data packet's tag is verified; 1: all. A core verifies fewer packets "
                              "than a proxy's core sends."}));
    t.add(scalar("incarnation", &C::incarnation, number_value<uint32_t>(0, (1u << 24) - 1),
                 {.audience = expert,
                  .fallback = "tens of seconds since 2026",
                  .sentence = "Number of the members' start; a fleet takes only a higher one."}));
    return t;
  }();
  return table;
}

const Table<PktgenSearchConfig>& pktgen_search_table() {
  static const Table<PktgenSearchConfig> table = [] {
    using C = PktgenSearchConfig;
    Table<C> t;
    t.title = "pktgen.search";
    t.intro =
        "`statecast-pktgen --search`: RFC 2544's throughput, by halving, in trials of `duration` each; then latency at "
        "given loads. The streams keep their shares of the rate.";
    t.expected = "a map with from, to, loss_percent and more";
    t.add(scalar("from", &C::from, rate_value(),
                 {.fallback = "0", .sentence = "Taken to pass, of all streams together, in packets."}));
    t.add(scalar("to", &C::to, rate_value(),
                 {.sentence = "First trial, in packets; `max`: what the generator can send."}));
    t.add(scalar("loss_percent", &C::loss_percent, decimal_value(0, 100),
                 {.sentence = "A trial passes with at most this loss."}));
    t.add(
        scalar("resolution_percent", &C::resolution_percent, decimal_value(0.01, 50),
               {.audience = tuning, .sentence = "Ends when the interval is this small, relative to the first trial."}));
    t.add(scalars("loads", &C::loads, decimal_value(0.1, 100),
                  {.sentence = "Percent of the rate that was found, at which latency is measured."}));
    return t;
  }();
  return table;
}

}  // namespace

const Table<PktgenConfig>& pktgen_table() {
  static const Table<PktgenConfig> table = [] {
    using C = PktgenConfig;
    Table<C> t;
    t.title = "Profile of a generator";
    t.intro =
        "What `statecast-pktgen PROFILE.yaml` reads; [benchmarking.md](benchmarking.md) has the examples in their "
        "context. Nothing of it can be changed while the program runs. Rates: `500kpps`, `14.88Mpps`, `10Gbps` (of "
        "frames with FCS, without preamble and gap), `max`.";
    t.expected = "a map with ports and streams";
    t.add(scalar("seed", &C::seed, number_value<uint64_t>(0, UINT64_MAX),
                 {.sentence = "Of everything drawn at random: the same seed, the same packets."}));
    t.add(scalar("duration", &C::duration, duration_value(100ms, 24h, "10s"),
                 {.sentence = "Of one measurement (of one trial with `--search`)."}));
    t.add(scalar("warm_up", &C::warm_up, duration_value(0s, 1h, "500ms"),
                 {.sentence = "Traffic before a measurement that is not counted."}));
    t.add(scalar("drain", &C::drain, duration_value(0s, 1min, "200ms"),
                 {.sentence = "What is still under way may arrive for so long after the last packet."}));
    t.add(scalar("setup_patience", &C::setup_patience, duration_value(1s, 24h, "30s"),
                 {.sentence = "Sessions that are not set up by then end the run with an error."}));
    t.add(scalar("setup_per_second", &C::setup_per_second, number_value<uint32_t>(1, 10'000'000),
                 {.audience = tuning, .sentence = "Sessions set up per second."}));
    t.add(section("dpdk", &C::dpdk, pktgen_dpdk_table(), Program::pktgen, {.sentence = "See below."}));
    t.add(sections("ports", &C::ports, pktgen_port_table(), Program::pktgen,
                   {.required = true, .sentence = "See below."}));
    t.add(sections("streams", &C::streams, pktgen_stream_table(), Program::pktgen,
                   {.required = true, .sentence = "At most 64."}));
    t.add(section("member_side", &C::member_side, pktgen_member_side_table(), Program::pktgen,
                  {.sentence = "See below."}));
    t.add(section("search", &C::search, pktgen_search_table(), Program::pktgen, {.sentence = "See below."}));
    return t;
  }();
  return table;
}

std::optional<RateConfig> parse_rate(std::string_view text) {
  if (text == "max") return RateConfig{};
  struct Suffix {
    std::string_view text;
    RateConfig::Unit unit;
    double factor;
  };
  using Unit = RateConfig::Unit;
  static constexpr Suffix kSuffixes[] = {{"kpps", Unit::packets, 1e3}, {"Mpps", Unit::packets, 1e6},
                                         {"Gpps", Unit::packets, 1e9}, {"pps", Unit::packets, 1},
                                         {"kbps", Unit::bits, 1e3},    {"Mbps", Unit::bits, 1e6},
                                         {"Gbps", Unit::bits, 1e9},    {"bps", Unit::bits, 1}};
  for (const Suffix& s : kSuffixes) {
    if (!text.ends_with(s.text)) continue;
    auto n = parse_decimal(text.substr(0, text.size() - s.text.size()));
    if (!n || *n * s.factor > 1e12) return std::nullopt;
    return RateConfig{s.unit, *n * s.factor};
  }
  return std::nullopt;
}

std::string rate_text(const RateConfig& r) {
  if (r.unit == RateConfig::Unit::unlimited) return "max";
  std::string unit = r.unit == RateConfig::Unit::bits ? "bps" : "pps";
  for (auto [factor, prefix] : {std::pair(1e9, "G"), std::pair(1e6, "M"), std::pair(1e3, "k")}) {
    if (r.per_second < factor) continue;
    std::string text = decimal_text(r.per_second / factor) + prefix + unit;
    if (parse_rate(text) == r) return text;
  }
  return decimal_text(r.per_second) + unit;
}

std::optional<FrameSizeConfig> parse_frame_size(std::string_view text) {
  FrameSizeConfig s;
  if (size_t x = text.find('x'); x != std::string_view::npos) {
    auto weight = parse_whole_number(text.substr(0, x), 1'000'000);
    if (!weight || *weight == 0) return std::nullopt;
    s.weight = static_cast<uint32_t>(*weight);
    text = text.substr(x + 1);
  }
  auto bytes = parse_whole_number(text, kFrameMax);
  if (!bytes || *bytes < kFrameMin) return std::nullopt;
  s.bytes = static_cast<uint16_t>(*bytes);
  return s;
}

}  // namespace statecast
