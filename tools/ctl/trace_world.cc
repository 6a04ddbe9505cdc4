// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/trace_world.h"

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "control/snapshot.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/worker/pipeline.h"

namespace statecast {
namespace {

constexpr uint16_t kHeadroom = 256;  // Ethernet, IPv6, UDP and the largest envelope before an inner packet are 166
constexpr uint16_t kDataRoom = UINT16_MAX;
constexpr uint16_t kFrameMax = kDataRoom - kHeadroom;
constexpr unsigned kBuffers = 63;  // one packet at a time, a chain of a few where it is large
constexpr Duration kSweepPeriod = 100ms;
constexpr uint32_t kSpareEntries = 1024;
constexpr size_t kAddressesMax = 65'536;
constexpr MacAddress kNextHopMac{{0x02, 0, 0, 0, 0, 0x01}};

// Once per process; it ends with the process and leaves nothing behind (--no-shconf).
Result<> start_eal() {
  static bool started = false;
  if (started) return {};
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  int cpu = 0;
  while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &cpus)) ++cpu;
  static std::vector<std::string> words;  // rte_eal_init keeps pointers into them
  words = {"statecast",
           "--no-huge",
           "-m",
           "64",
           "--no-pci",
           "--no-shconf",
           "--no-telemetry",
           "--log-level",
           "error",
           "--file-prefix",
           "statecast-trace-" + std::to_string(getpid()),
           "--lcores",
           "0@" + std::to_string(cpu)};
  static std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    return fail(Code::system, "DPDK's environment does not start (64 MiB of memory, no huge pages needed)");
  }
  started = true;
  return {};
}

// The address of a member's stand-in: its ID in the last 24 bits.
Endpoint stand_in_endpoint(const Layout& layout, uint32_t id) {
  IpAddress a;
  if (layout.underlay.address.is_v6()) {
    a.family = IpAddress::Family::v6;
    a.raw[0] = 0xfd;
  } else {
    a.family = IpAddress::Family::v4;
    a.raw[0] = 10;
  }
  for (size_t i = 0; i < 3; ++i) a.raw[a.size() - 1 - i] = static_cast<uint8_t>(id >> (8 * i));
  return {a, Port{kEnvelopePort}};
}

// Hands over what one table wants sent to the other.
void hand_over(PeerTable& from, const Endpoint& from_at, PeerTable& to, Instant now) {
  PeerTable::Datagram d;
  while (from.next_output(d)) {
    if (d.to != to.self()) continue;
    Envelope e;
    switch (to.open(Bytes(d.bytes).first(d.length), e)) {
      case OpenResult::hello: to.on_hello(e, from_at, now); break;
      case OpenResult::ok:
        to.heard(e, from_at, now);
        if (e.kind == PayloadKind::message) to.on_path_message(e, from_at, now);
        break;
      default: break;
    }
  }
}

// The hello between the proxy and a member's stand-in, so that envelopes to that member can be sealed.
Result<> exchange_hello(PeerTable& proxy, const Layout& layout, const FleetSecret& fleet, MemberId id, Instant now,
                        const PeerTable::Random& random) {
  PeerTable member(NodeId::member(id), 1, 1, now, random);
  member.add(proxy.self(), member_pair_key(member_node_key(fleet, id), layout.self), layout.underlay);
  const Endpoint member_at = stand_in_endpoint(layout, id.value);
  for (int turn = 0; turn < 8 && !proxy.ready(NodeId::member(id)); ++turn) {
    member.on_deadline(now);
    hand_over(member, member_at, proxy, now);
    hand_over(proxy, layout.underlay, member, now);
  }
  if (!proxy.ready(NodeId::member(id))) {
    return fail(Code::system, "no keys could be agreed with the stand-in of member " + std::to_string(id.value));
  }
  return {};
}

std::optional<std::string> protocol_name(const ParsedPacket& p) {
  switch (p.protocol) {
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
    case Protocol::icmp: return "icmp";
    case Protocol::icmp6: return "icmp6";
    case Protocol::none: break;
  }
  return std::to_string(p.protocol_number);
}

const char* verdict_name(Verdict v) {
  switch (v) {
    case Verdict::forward:
    case Verdict::to_client: return "forward";
    case Verdict::hold: return "query";
    case Verdict::to_kernel:
    case Verdict::to_control: return "kernel";  // out of the packet path, to this machine
    case Verdict::pending:
    case Verdict::handed_to_unit:
    case Verdict::drop: break;
  }
  return "drop";
}

// "resolve.forward.cache_hit.packets" -> "cache_hit"
std::string reason_of(Counter c) {
  std::string name = counter_name(c);
  for (int i = 0; i < 2; ++i) name.erase(0, name.find('.') + 1);
  return name.substr(0, name.find('.'));
}

}  // namespace

struct TraceWorld::State {
  std::shared_ptr<const Layout> layout;
  std::unique_ptr<PeerTable> peers;
  std::unique_ptr<SessionCache> cache;
  std::unique_ptr<PipelineState> pipeline;
  Snapshot snapshot;
  rte_mempool* pool = nullptr;
  Instant now{}, swept{};

  ~State() {
    cache.reset();
    rte_mempool_free(pool);
  }

  // The frame in a buffer, or in a chain of them where it is larger than one (a capture behind a NIC's offloads).
  rte_mbuf* load(Bytes frame) {
    rte_mbuf* first = nullptr;
    do {
      rte_mbuf* m = rte_pktmbuf_alloc(pool);
      if (!m) break;
      m->data_off = kHeadroom;
      const size_t n = std::min<size_t>(frame.size(), kFrameMax);
      if (n > 0) std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(n)), frame.data(), n);
      frame = frame.subspan(n);
      if (!first) {
        first = m;
      } else if (rte_pktmbuf_chain(first, m) != 0) {
        rte_pktmbuf_free(m);
        break;
      }
    } while (!frame.empty());
    return first;
  }

  void advance(Instant at) {
    now = std::max(now, at);
    if (now - swept < kSweepPeriod) return;
    swept = now;
    cache->sweep(2 * cache->slots(), now);  // two rounds: after a long gap the first one only finds out what is over
  }

  // Whoever is next to these addresses has answered.
  void answer_for(const IpAddress& a) {
    if (snapshot.neighbours.size() >= kAddressesMax) snapshot.neighbours.clear();
    snapshot.neighbours[a] = {.known = true, .port = 0, .mac = kNextHopMac};
  }
};

TraceWorld::TraceWorld(std::unique_ptr<State> state) : state_(std::move(state)) {}
TraceWorld::~TraceWorld() = default;

Result<std::unique_ptr<TraceWorld>> TraceWorld::create(const ProxyConfig& config, const FleetSecret& fleet,
                                                       Instant start, const std::vector<PreloadedSession>& sessions) {
  auto s = std::make_unique<State>();
  if (auto eal = start_eal(); !eal) return fail(eal.error());
  static unsigned made = 0;
  const std::string pool_name = "trace_" + std::to_string(made++);
  s->pool = rte_pktmbuf_pool_create(pool_name.c_str(), kBuffers, 0, 0, kDataRoom, SOCKET_ID_ANY);
  if (!s->pool) return fail(Code::system, "no memory for packet buffers");

  auto layout = make_layout(config, fleet, make_view(config), {});
  if (!layout) return fail(layout.error());
  s->layout = *layout;
  s->snapshot.layout = *layout;
  for (NodeId id : s->layout->peers) {
    s->snapshot.peers.push_back({.endpoint = stand_in_endpoint(*s->layout, id.number()),
                                 .hop = {.known = true, .port = 0, .mac = kNextHopMac},
                                 .reachable = true});
  }
  for (const PortLayout& p : s->layout->ports) {
    for (const IpAddress& gateway : p.gateways) s->answer_for(gateway);
  }

  // Not secrets of anybody: fixed, so that a trace comes out the same each time.
  auto rng = std::make_shared<Rng>(1);
  const PeerTable::Random random = [rng](MutableBytes out) { rng->fill(out); };
  s->peers = std::make_unique<PeerTable>(NodeId::proxy(config.id), 1, 2, start, random);
  add_peers(config, fleet, *s->peers);
  for (MemberId m : config.members) {
    if (auto done = exchange_hello(*s->peers, *s->layout, fleet, m, start, random); !done) return fail(done.error());
  }

  const SessionCacheOptions options{.sessions = static_cast<uint32_t>(sessions.size()) + kSpareEntries,
                                    .negative = static_cast<uint32_t>(sessions.size()) + kSpareEntries,
                                    .readers = 1,
                                    .zero = start};
  auto cache = SessionCache::create(options);
  if (!cache) return fail(cache.error());
  s->cache = std::move(*cache);
  s->now = s->swept = start;
  for (const PreloadedSession& p : sessions) {
    CacheEntry e = p.entry;
    e.ends = start + p.lifetime;
    const uint32_t group = s->layout->group_table.find(session_tuple(p.id)->server.address);
    if (group == UINT32_MAX) return fail(Code::invalid, to_string(p.id) + ": no group has this server address");
    s->cache->put(session_key(p.id, s->layout->groups[group].secret), e, start);
  }

  s->pipeline = std::make_unique<PipelineState>(*s->layout, 1);
  s->pipeline->cache = s->cache.get();
  s->pipeline->peers = s->peers.get();
  return std::unique_ptr<TraceWorld>(new TraceWorld(std::move(s)));
}

Traced TraceWorld::run(const CapturedPacket& packet, LinkType link) {
  State& s = *state_;
  Traced t;
  s.advance(packet.at);
  if (link == LinkType::other) {
    t.reason = "unsupported_link_type";
    return t;
  }
  std::vector<uint8_t> frame;
  if (link == LinkType::raw_ip) {
    // What a port would have delivered: the Ethertype follows the version nibble.
    frame.resize(12);
    const bool v6 = !packet.bytes.empty() && packet.bytes[0] >> 4 == 6;
    frame.push_back(v6 ? 0x86 : 0x08);
    frame.push_back(v6 ? 0xdd : 0x00);
  }
  frame.insert(frame.end(), packet.bytes.begin(), packet.bytes.end());

  ParsedPacket p;
  const ParseResult parsed = parse_frame(frame, p);
  const bool has_fields =
      parsed == ParseResult::ok || parsed == ParseResult::bad_address || parsed == ParseResult::unsupported_protocol;
  if (has_fields) {
    t.protocol = protocol_name(p);
    s.answer_for(source_of(frame, p));
    s.answer_for(destination_of(frame, p));
  }

  rte_mbuf* m = s.load(frame);
  if (!m) {
    t.reason = "no_memory";
    return t;
  }
  Burst b;
  b.add(m);
  run_pipeline(b, s.snapshot, *s.pipeline, s.now);

  if (b.group[0] != kNoGroup) t.group = s.layout->groups[b.group[0]].name;
  t.packet_class = b.packet_class[0];
  if (const auto tuple = b.id[0].length == 0 ? std::nullopt : session_tuple(b.id[0])) {
    t.session = {tuple->client.address, tuple->server.address, tuple->client.port, tuple->server.port};
    t.protocol = tuple->protocol == Protocol::tcp ? "tcp" : "udp";
  } else if (has_fields && !p.is_icmp_error() && (p.protocol == Protocol::tcp || p.protocol == Protocol::udp)) {
    t.session = {source_of(frame, p), destination_of(frame, p), {}, {}};
    if (p.fragment != Fragment::later) {
      t.session->client_port = Port{p.source_port};
      t.session->server_port = Port{p.destination_port};
    }
  }
  t.verdict = verdict_name(b.verdict[0]);
  t.reason = reason_of(b.reason[0]);
  if (b.verdict[0] == Verdict::forward) t.member = to_string(NodeId::member(b.member[0]));
  if (b.has_key[0]) {
    if (const auto entry = s.cache->find(b.key[0], s.now)) {
      if (entry->bytes != UINT64_MAX) t.bytes_left = entry->bytes;
      t.expires_in_ms = to_ms(entry->ends - s.now);
    }
  }
  if (b.verdict[0] == Verdict::forward || b.verdict[0] == Verdict::to_client) {
    const Bytes sent = b.frame(0);
    t.sent.assign(sent.begin(), sent.end());
  }
  rte_pktmbuf_free(b.packet[0]);
  return t;
}

}  // namespace statecast
