// SPDX-License-Identifier: BSD-3-Clause
#include "tests/worker/world.h"

#include <rte_mempool.h>

#include <cstring>

#include "dataplane/worker/ports.h"

namespace statecast::test {

namespace {

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}
Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}
Endpoint endpoint(MemberId m) {
  return {ip(("10.2.0.1" + std::to_string(m.value)).c_str()), Port{5555}};
}

std::shared_ptr<const Layout> make_test_layout(const FleetSecret& fleet) {
  auto l = std::make_shared<Layout>();
  l->self = ProxyId{1};
  l->underlay = *Endpoint::parse("10.2.0.1:6081");
  l->ports.push_back({.name = "wan",
                      .mac = kWanMac,
                      .anycast = true,
                      .underlay = false,
                      .addresses = {{ip("192.0.2.1"), 24}, {ip("2001:db8:2::1"), 64}},
                      .gateways = {ip("192.0.2.254"), ip("2001:db8:2::fe")}});
  l->ports.push_back({.name = "under",
                      .mac = kUnderMac,
                      .anycast = false,
                      .underlay = true,
                      .addresses = {{ip("10.2.0.1"), 24}},
                      .gateways = {}});
  l->peers = {NodeId::member(kM1), NodeId::member(kM2), NodeId::member(kM3)};
  l->peer_index = NodeIndex(l->peers);
  auto group = [&](uint32_t id, const char* name, const std::vector<SessionRule>& rules,
                   const std::vector<MemberId>& members, UnknownAnswer unknown) {
    Group g{
        .id = {id}, .secret = group_secret(fleet, {id}, 0), .rules = SessionRules(rules), .name = name, .members = {}};
    for (MemberId m : members) g.members.push_back({m, 100, l->peer_index.find(NodeId::member(m))});
    g.unknown = unknown;
    l->groups.push_back(g);
  };
  using C = PacketClass;
  group(10, "web",
        {{Protocol::tcp, {{443, 443}}, C::stateful},
         {Protocol::udp, {}, C::stateful},
         {Protocol::tcp, {{81, 81}}, C::none}},
        {kM1, kM2}, UnknownAnswer::drop);
  group(20, "plain", {{Protocol::none, {}, C::stateless}}, {kM1}, UnknownAnswer::drop);
  group(30, "game", {{Protocol::udp, {}, C::stateful}}, {kM2}, UnknownAnswer::admit);
  group(40, "other", {{Protocol::tcp, {}, C::stateful}}, {kM1, kM2}, UnknownAnswer::stateless);
  l->group_table = GroupTable({{prefix("203.0.113.10"), 0},
                               {prefix("2001:db8:1::10"), 0},
                               {prefix("203.0.113.20"), 1},
                               {prefix("203.0.113.30"), 2},
                               {prefix("203.0.113.40/29"), 3}});
  l->replica_hint.assign(65'536, ProxyId{1});
  return l;
}

}  // namespace

World::World(uint32_t sessions) : now(Instant{} + 1000s) {
  pool_ = rte_mempool_lookup(kPoolName);
  if (!pool_) pool_ = create_pool(4095, 1500).value();
  FleetSecret fleet;
  for (size_t i = 0; i < fleet.raw.size(); ++i) fleet.raw[i] = static_cast<uint8_t>(i);
  cache_ = SessionCache::create({.sessions = sessions, .negative = 64, .readers = 1, .zero = now}).value();
  cache_->register_reader(0);
  snapshot_.layout = make_test_layout(fleet);
  snapshot_.neighbours[ip("192.0.2.254")] = {true, kWan, kGatewayMac};
  snapshot_.neighbours[ip("2001:db8:2::fe")] = {true, kWan, kGatewayMac};

  proxy_ = std::make_unique<PeerTable>(NodeId::proxy(ProxyId{1}), 77, 2, now);
  for (MemberId m : {kM1, kM2, kM3}) {
    PairKey pair = member_pair_key(member_node_key(fleet, m), ProxyId{1});
    proxy_->add(NodeId::member(m), pair, std::nullopt);
    members_.push_back(std::make_unique<PeerTable>(NodeId::member(m), 100 + m.value, 2, now));
    members_.back()->add(NodeId::proxy(ProxyId{1}), pair, snapshot_.layout->underlay);
    say_hello(*members_.back(), endpoint(m));
    MacAddress mac{{2, 0, 0, 0, 0, static_cast<uint8_t>(0xb0 + m.value)}};
    snapshot_.peers.push_back({*proxy_->endpoint(NodeId::member(m)), {true, kUnder, mac}, true});
  }
  state_ = std::make_unique<PipelineState>(*snapshot_.layout, 1);
  state_->cache = cache_.get();
  state_->peers = proxy_.get();
}

World::~World() {
  cache_->unregister_reader(0);
}

// Carries the datagrams of both ends to and fro until the member's address is proven.
void World::say_hello(PeerTable& member, const Endpoint& at) {
  auto carry = [&](PeerTable& from, PeerTable& to, const Endpoint& source) {
    for (PeerTable::Datagram d; from.next_output(d);) {
      Envelope e;
      OpenResult r = to.open(Bytes(d.bytes).first(d.length), e);
      if (r == OpenResult::hello) to.on_hello(e, source, now);
      if (r == OpenResult::ok) {
        to.heard(e, source, now);
        to.on_path_message(e, source, now);
      }
    }
  };
  for (int i = 0;
       i < 200 && !(proxy_->endpoint(member.self()) && proxy_->ready(member.self()) && member.ready(proxy_->self()));
       ++i) {
    member.on_deadline(now);
    proxy_->on_deadline(now);
    carry(member, *proxy_, at);
    carry(*proxy_, member, snapshot_.layout->underlay);
    now += 10ms;
  }
  EXPECT_TRUE(proxy_->endpoint(member.self())) << "hello did not come through";
}

std::vector<Out> World::run(const std::vector<In>& in) {
  std::vector<Out> out;
  for (size_t at = 0; at < in.size(); at += kBurstMax) {
    Burst b;
    for (size_t i = at; i < in.size() && !b.full(); ++i) {
      rte_mbuf* m = rte_pktmbuf_alloc(pool_);
      EXPECT_TRUE(m);
      std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(in[i].frame.size())), in[i].frame.data(),
                  in[i].frame.size());
      b.add(m, in[i].port);
    }
    run_pipeline(b, snapshot_, *state_, now);
    cache_->quiescent(0);
    for (unsigned i = 0; i < b.count; ++i) {
      Bytes bytes = b.frame(i);
      out.push_back({b.verdict[i], b.reason[i], b.member[i], b.port[i], b.ask[i], Packet(bytes.begin(), bytes.end())});
      rte_pktmbuf_free(b.packet[i]);
    }
  }
  return out;
}

SessionKey World::key_of(const std::string& session) const {
  SessionId id = *parse_session_text(session);
  for (const Group& g : snapshot_.layout->groups) {
    if (g.id == id.group()) return session_key(id, g.secret);
  }
  ADD_FAILURE() << "no group of " << session;
  return {};
}

void World::put(const std::string& session, CacheEntry entry) {
  entry.group = parse_session_text(session)->group();
  if (entry.ends == Instant{}) entry.ends = now + 100s;
  EXPECT_TRUE(cache_->put(key_of(session), entry, now)) << session;
}

In World::envelope_frame(MemberId m, const Packet& envelope) {
  Endpoint from = endpoint(m);
  return {eth(kTestSourceMac, kToUnder)
              .ip(from.address, ip("10.2.0.1"))
              .udp(from.port.value, 6081)
              .payload(envelope)
              .build(),
          kUnder};
}

In World::from_member(MemberId m, GroupId group, const Packet& inner, const EnvelopeOptions& options) {
  size_t size = kEnvelopeSizeMin + options_size(options);
  Packet envelope(size + inner.size());
  std::copy(inner.begin(), inner.end(), envelope.begin() + static_cast<ptrdiff_t>(size));
  PayloadKind kind = inner[0] >> 4 == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
  EXPECT_EQ(size, member(m).seal(NodeId::proxy(ProxyId{1}), 0, group, kind, options, member(m).timestamp_us(now), inner,
                                 MutableBytes(envelope).first(size)));
  return envelope_frame(m, envelope);
}

OpenResult World::open_at(MemberId m, const Packet& frame, Envelope& out) {
  ParsedPacket p;
  EXPECT_EQ(ParseResult::ok, parse_frame(frame, p, {.l4_checksum = true}));
  EXPECT_EQ(Protocol::udp, p.protocol);
  EXPECT_EQ(6081, p.source_port);
  EXPECT_EQ(to_string(endpoint(m)), to_string(Endpoint{destination_of(frame, p), Port{p.destination_port}}));
  return member(m).open(Bytes(frame).subspan(p.payload_offset), out);
}

Packet with_ethernet(const MacAddress& to, const MacAddress& from, const Packet& ip) {
  Packet frame(to.raw.begin(), to.raw.end());
  frame.insert(frame.end(), from.raw.begin(), from.raw.end());
  bool v4 = ip[0] >> 4 == 4;
  frame.push_back(v4 ? 0x08 : 0x86);
  frame.push_back(v4 ? 0x00 : 0xdd);
  frame.insert(frame.end(), ip.begin(), ip.end());
  return frame;
}

}  // namespace statecast::test
