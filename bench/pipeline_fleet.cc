// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_fleet.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/envelope/outer.h"
#include "dataplane/packet/checksum.h"

namespace statecast::bench {

namespace {

constexpr uint32_t kFirstMember = 10u << 24, kProxy = 10u << 24 | 255u << 16 | 1, kGateway = 10u << 24 | 254u << 16 | 1;
const MacAddress kGatewayMac{{2, 0, 0, 0, 0, 0x0a}};
constexpr size_t kKeysMax = 64;
// Longer than it takes to fill the cache and to measure; within what the cache's coarse clock allows without sweeps.
constexpr Duration kLease = 240s;

IpAddress address(uint32_t host_order) {
  uint8_t raw[4] = {uint8_t(host_order >> 24), uint8_t(host_order >> 16), uint8_t(host_order >> 8),
                    uint8_t(host_order)};
  return IpAddress::v4(raw);
}
uint32_t number(const uint8_t* p) {
  return uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | p[3];
}
Endpoint member_endpoint(uint32_t m) {
  return {address(kFirstMember + m), Port{6081}};
}

FleetSecret fleet_secret() {
  FleetSecret fleet;
  for (size_t i = 0; i < fleet.raw.size(); ++i) fleet.raw[i] = static_cast<uint8_t>(i);
  return fleet;
}

}  // namespace

Result<std::unique_ptr<Fleet>> Fleet::create(const FleetOptions& options, const MacAddress& port_mac) {
  const Instant now = MonotonicClock::now();
  SessionCacheOptions c = options.cache;
  c.sessions = options.sessions + options.room;
  c.readers = options.workers;
  c.zero = now;
  auto cache = SessionCache::create(c);
  if (!cache) return fail(cache.error());
  std::unique_ptr<Fleet> fleet(new Fleet(options, std::move(*cache), now));
  fleet->make_layout(port_mac);
  fleet->say_hello(now);
  return fleet;
}

Fleet::Fleet(const FleetOptions& options, std::unique_ptr<SessionCache> cache, Instant)
    : options_(options),
      // Every member has a group, and every group some members.
      members_per_group_(std::max(1u, options.members / options.groups)),
      cache_(std::move(cache)),
      board_(options.workers) {}

void Fleet::make_layout(const MacAddress& port_mac) {
  const FleetSecret secret = fleet_secret();
  layout_ = std::make_shared<Layout>();
  layout_->self = ProxyId{1};
  layout_->underlay = {address(kProxy), Port{6081}};
  layout_->ports.push_back(
      {.name = "memory", .mac = port_mac, .addresses = {{address(kProxy), 16}}, .gateways = {address(kGateway)}});
  for (uint32_t m = 1; m <= options_.members; ++m) layout_->peers.push_back(NodeId::member(MemberId{m}));
  layout_->peer_index = NodeIndex(layout_->peers);
  std::vector<std::pair<Prefix, uint32_t>> prefixes;
  for (uint32_t g = 0; g < options_.groups; ++g) {
    Group group{.id = {g + 1},
                .secret = group_secret(secret, {g + 1}, 0),
                .rules = SessionRules({{Protocol::tcp, {{kServerPort, kServerPort}}, PacketClass::stateful}}),
                .name = "g" + std::to_string(g + 1),
                .members = {}};
    for (uint32_t i = 0; i < members_per_group_; ++i) {
      MemberId m{1 + (g * members_per_group_ + i) % options_.members};
      group.members.push_back({m, 100, m.value - 1});
    }
    std::sort(group.members.begin(), group.members.end(),
              [](const GroupMember& a, const GroupMember& b) { return a.id.value < b.id.value; });
    layout_->groups.push_back(std::move(group));
    prefixes.emplace_back(Prefix{address(kFirstGroup + g), 32}, g);
  }
  layout_->group_table = GroupTable(prefixes);
  layout_->replica_hint.assign(65'536, ProxyId{1});
}

// Carries the datagrams of all to and fro until every member's address is proven.
void Fleet::say_hello(Instant now) {
  const FleetSecret secret = fleet_secret();
  const NodeId self = NodeId::proxy(ProxyId{1});
  const Instant start = now - 10s;  // the hellos are over when the traffic begins
  proxy_ = std::make_unique<PeerTable>(self, 77, static_cast<uint8_t>(options_.workers + 1), start);
  for (uint32_t m = 1; m <= options_.members; ++m) {
    PairKey pair = member_pair_key(member_node_key(secret, MemberId{m}), ProxyId{1});
    proxy_->add(NodeId::member(MemberId{m}), pair, std::nullopt);
    members_.push_back(std::make_unique<PeerTable>(NodeId::member(MemberId{m}), 100 + m, 2, start));
    members_.back()->add(self, pair, layout_->underlay);
  }
  Instant at = start;
  auto take = [&](PeerTable& to, const PeerTable::Datagram& d, const Endpoint& source) {
    Envelope e;
    OpenResult r = to.open(Bytes(d.bytes).first(d.length), e);
    if (r == OpenResult::hello) to.on_hello(e, source, at);
    if (r == OpenResult::ok) {
      to.heard(e, source, at);
      to.on_path_message(e, source, at);
    }
  };
  for (int i = 0; i < 20; ++i, at += 10ms) {
    proxy_->on_deadline(at);
    for (uint32_t m = 1; m <= options_.members; ++m) {
      members_[m - 1]->on_deadline(at);
      for (PeerTable::Datagram d; members_[m - 1]->next_output(d);) take(*proxy_, d, member_endpoint(m));
    }
    for (PeerTable::Datagram d; proxy_->next_output(d);) {
      take(*members_[d.to.as_member().value - 1], d, layout_->underlay);
    }
  }
  auto snapshot = std::make_unique<Snapshot>();
  snapshot->layout = layout_;
  snapshot->neighbours[address(kGateway)] = {true, 0, kGatewayMac};
  for (uint32_t m = 1; m <= options_.members; ++m) {
    auto endpoint = proxy_->endpoint(NodeId::member(MemberId{m}));
    SC_ASSERT(endpoint && proxy_->ready(NodeId::member(MemberId{m})) && members_[m - 1]->ready(self));
    snapshot->peers.push_back({*endpoint, {true, 0, kGatewayMac}, true});
  }
  board_.publish(std::move(snapshot));
}

Session Fleet::session(uint32_t n) const {
  const uint32_t g = n % options_.groups;
  const uint32_t of_group = n / options_.groups % members_per_group_;
  return {kFirstClient + n, g, MemberId{1 + (g * members_per_group_ + of_group) % options_.members}};
}

void Fleet::keys(const uint32_t n[], size_t count, SessionKey out[]) const {
  SC_ASSERT(count <= kKeysMax);
  SessionId ids[kKeysMax];
  const SessionId* id_at[kKeysMax];
  const GroupSecret* secret_at[kKeysMax];
  for (size_t i = 0; i < count; ++i) {
    const Session s = session(n[i]);
    const Group& g = layout_->groups[s.group];
    ids[i] = SessionId::tuple(g.id, Protocol::tcp, {address(s.client), Port{kClientPort}},
                              {address(kFirstGroup + s.group), Port{kServerPort}});
    id_at[i] = &ids[i];
    secret_at[i] = &g.secret;
  }
  session_keys(id_at, secret_at, out, count);
}

CacheEntry Fleet::lease(uint32_t n, Instant now) const {
  const Session s = session(n);
  return {.member = s.member,
          .group = {s.group + 1},
          .version = {1, 1, n + 1u},
          .ends = now + kLease,
          .bytes = uint64_t(1) << 26};
}

void Fleet::fill(Instant now) {
  uint32_t n[kKeysMax];
  SessionKey key[kKeysMax];
  for (uint32_t at = 0; at < options_.sessions;) {
    const auto count = std::min<uint32_t>(kKeysMax, options_.sessions - at);
    for (uint32_t i = 0; i < count; ++i) n[i] = at + i;
    keys(n, count, key);
    for (uint32_t i = 0; i < count; ++i) {
      bool taken = cache_->put(key[i], lease(n[i], now), now);
      SC_ASSERT(taken);
    }
    at += count;
  }
}

bool Fleet::check(Bytes frame) {
  constexpr size_t kOuter = 14 + 20 + 8;
  if (frame.size() < kOuter + kEnvelopeSizeMin + 40 || number(&frame[26]) != kProxy) return false;
  const uint32_t m = number(&frame[30]) - kFirstMember;
  if (m < 1 || m > options_.members || internet_checksum(frame.subspan(14, 20)) != 0) return false;
  Envelope e;
  if (members_[m - 1]->open(frame.subspan(kOuter), e) != OpenResult::ok || e.payload.size() < 40) return false;
  const uint32_t n = number(&e.payload[12]) - kFirstClient;
  if (n >= options_.sessions) return false;
  const Session s = session(n);
  return s.member.value == m && e.group.value == s.group + 1 && number(&e.payload[16]) == kFirstGroup + s.group;
}

bool Fleet::check_reply(Bytes frame) const {
  if (frame.size() != 14 + 46 || std::memcmp(frame.data(), kGatewayMac.raw.data(), 6) != 0) return false;
  const uint32_t n = number(&frame[30]) - kFirstClient;
  return n < options_.sessions && number(&frame[26]) == kFirstGroup + session(n).group &&
         internet_checksum(frame.subspan(14, 20)) == 0;
}

size_t Fleet::reply(uint32_t n, Instant now, MutableBytes frame) {
  constexpr size_t kInner = 46, kOuter = 14 + 20 + 8;
  const Session s = session(n);
  MutableBytes inner = frame.subspan(kOuter + kEnvelopeSizeMin, kInner);
  Writer w(inner);
  w.u16(0x4500);
  w.u16(kInner);
  w.u32(0x00004000);
  w.u16(64 << 8 | 6);
  w.u16(0);
  w.u32(kFirstGroup + s.group);
  w.u32(s.client);
  w.u16(kServerPort);
  w.u16(kClientPort);
  w.u64(0);
  w.u32(0x50100400);  // ACK
  w.zeros(kInner - w.size());
  uint16_t sum = internet_checksum(Bytes(inner).first(20));
  inner[10] = static_cast<uint8_t>(sum >> 8);
  inner[11] = static_cast<uint8_t>(sum);

  PeerTable& member = *members_[s.member.value - 1];
  size_t sealed = member.seal(NodeId::proxy(ProxyId{1}), 0, {s.group + 1}, PayloadKind::ipv4, {},
                              member.timestamp_us(now), inner, frame.subspan(kOuter, kEnvelopeSizeMin));
  SC_ASSERT(sealed == kEnvelopeSizeMin);
  OuterAddresses outer{layout_->ports[0].mac, kGatewayMac, member_endpoint(s.member.value), layout_->underlay};
  size_t length = write_outer(outer, frame.subspan(kOuter, kEnvelopeSizeMin + kInner), frame.first(kOuter));
  SC_ASSERT(length == kOuter);
  return kOuter + kEnvelopeSizeMin + kInner;
}

}  // namespace statecast::bench
