// SPDX-License-Identifier: BSD-3-Clause
#include "tests/agent/agent_world.h"

#include <gtest/gtest.h>

namespace statecast::test {

namespace {

AgentConfig config_of(const WorldOptions& o) {
  AgentConfig c;
  c.id = kSelf;
  c.insert = o.insert;
  for (uint32_t p : {1u, 2u, 3u}) {
    ProxyPeerConfig peer;
    peer.id = ProxyId{p};
    peer.address = {*IpAddress::parse("10.1.0." + std::to_string(p)), Port{6'081}};
    c.proxies.push_back(peer);
  }
  GroupConfig web;
  web.id = kWeb;
  web.name = "web";
  web.addresses = {*Prefix::parse(kServer), *Prefix::parse(kServer6)};
  web.session_bytes = o.session_bytes;
  web.unknown = o.unknown;
  GroupConfig plain;
  plain.id = kPlainGroup;
  plain.name = "plain";
  plain.addresses = {*Prefix::parse(kPlain)};
  RuleConfig rule;
  rule.packet_class = ConfigClass::stateless;
  plain.rules = {rule};
  c.groups = {web, plain};
  return c;
}

}  // namespace

AgentWorld::AgentWorld(WorldOptions o) {
  FleetSecret fleet;
  fleet.raw.fill(9);
  NodeKey key = member_node_key(fleet, kSelf);
  core = std::make_unique<AgentCore>(AgentOptions{.config = config_of(o),
                                                  .node_key = key,
                                                  .incarnation = 4,
                                                  .boot = 77,
                                                  .seed = 1,
                                                  .hash_key = {1, 2, 3},
                                                  .revocations = o.revocations,
                                                  .sessions_max = o.sessions_max},
                                     now);
  for (uint32_t p : {1u, 2u, 3u}) {
    Proxy x;
    x.peers = std::make_unique<PeerTable>(NodeId::proxy(ProxyId{p}), 1'000 + p, uint8_t{2}, now);
    x.address = {*IpAddress::parse("10.1.0." + std::to_string(p)), Port{6'081}};
    x.peers->add(NodeId::member(kSelf), member_pair_key(key, ProxyId{p}), std::nullopt);
    proxies_.emplace(p, std::move(x));
  }
  core->on_sockets(o.sockets, now, now);
  pump();
}

void AgentWorld::connect() {
  pass(2s);
  for (auto& p : core->proxies(now)) ASSERT_TRUE(p.heard) << "proxy " << p.id.value << " has not completed its hello";
  clear();
}

void AgentWorld::clear() {
  to_kernel.clear();
  replies.clear();
  inserts.clear();
  messages.clear();
  destroyed.clear();
  table_reads = saves = incarnation_saves = 0;
}

std::vector<uint8_t> AgentWorld::sealed(uint32_t id, const Packet& packet, EnvelopeOptions options, GroupId group) {
  PeerTable& peers = *proxy(id).peers;
  size_t header = kEnvelopeSizeMin + options_size(options);
  std::vector<uint8_t> out(header + packet.size());
  std::copy(packet.begin(), packet.end(), out.begin() + static_cast<ptrdiff_t>(header));
  PayloadKind kind = packet[0] >> 4 == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
  size_t n = peers.seal(NodeId::member(kSelf), 0, group, kind, options, peers.timestamp_us(now), packet,
                        MutableBytes(out).first(header));
  EXPECT_EQ(n, header);
  return out;
}

void AgentWorld::from_client(uint32_t id, const Packet& packet, EnvelopeOptions options, GroupId group) {
  send(id, sealed(id, packet, options, group));
  pump();
}

void AgentWorld::from_kernel(const Packet& packet) {
  core->on_tun_packet(packet, now);
  pump();
}

void AgentWorld::message(uint32_t id, const MessageHeader& header, const MessageBody& body) {
  PeerTable& peers = *proxy(id).peers;
  std::vector<uint8_t> m = encode(header, body), out(2'000);
  size_t n = peers.seal_message(NodeId::member(kSelf), 0, peers.timestamp_us(now), m, out);
  ASSERT_GT(n, 0u);
  out.resize(n);
  send(id, out);
  pump();
}

void AgentWorld::raw(Bytes datagram) {
  core->on_tunnel_datagram(datagram, proxy(1).address, now);
  pump();
}

void AgentWorld::sockets(const std::vector<KernelSocket>& table) {
  core->on_sockets(table, now, now);
  pump();
}

void AgentWorld::send(uint32_t id, Bytes datagram) {
  if (silent[id]) return;
  to_agent_.emplace_back(id, std::vector<uint8_t>(datagram.begin(), datagram.end()));
}

void AgentWorld::pass(Duration d) {
  Instant end = now + d;
  for (int steps = 0; steps < 100'000; ++steps) {
    Instant next = core->next_deadline();
    for (auto& [id, p] : proxies_) next = std::min(next, p.peers->next_deadline());
    now = std::max(now, std::min(end, next));
    core->on_deadline(now);
    for (auto& [id, p] : proxies_) p.peers->on_deadline(now);
    pump();
    if (next >= end) break;
  }
  now = end;
}

void AgentWorld::pump() {
  for (int rounds = 0; rounds < 1'000; ++rounds) {
    bool quiet = true;
    while (!to_agent_.empty()) {
      auto [id, datagram] = std::move(to_agent_.front());
      to_agent_.pop_front();
      core->on_tunnel_datagram(datagram, proxy(id).address, now);
    }
    std::vector<std::pair<Endpoint, Packet>> datagrams;
    for (const AgentOutput& o : core->take_outputs(now)) {
      quiet = false;
      switch (o.kind) {
        case AgentOutput::Kind::to_proxy: datagrams.emplace_back(o.to, Packet(o.bytes.begin(), o.bytes.end())); break;
        case AgentOutput::Kind::to_kernel: to_kernel.emplace_back(o.bytes.begin(), o.bytes.end()); break;
        case AgentOutput::Kind::destroy_socket: destroyed.push_back(o.session); break;
        case AgentOutput::Kind::read_sockets: ++table_reads; break;
        case AgentOutput::Kind::save_revocations: ++saves; break;
        case AgentOutput::Kind::save_incarnation: ++incarnation_saves; break;
      }
    }
    for (auto& [to, bytes] : datagrams)
      for (auto& [id, p] : proxies_)
        if (p.address == to) at_proxy(id, bytes);
    for (auto& [id, p] : proxies_)
      for (PeerTable::Datagram d; p.peers->next_output(d);) send(id, Bytes(d.bytes).first(d.length));
    if (quiet && to_agent_.empty()) return;
  }
  FAIL() << "the world does not come to rest";
}

void AgentWorld::at_proxy(uint32_t id, Bytes datagram) {
  EXPECT_LE(datagram.size(), 1'500u - 20 - 8) << "the kernel would fragment it, and proxies take no fragments";
  if (silent[id]) return;
  PeerTable& peers = *proxy(id).peers;
  Envelope e;
  switch (peers.open(datagram, e)) {
    case OpenResult::ok: break;
    case OpenResult::hello: return peers.on_hello(e, agent_address_, now);
    case OpenResult::bad_tag:
    case OpenResult::unknown_peer: return peers.on_unverified(claimed_sender(datagram), agent_address_, now);
    default: FAIL() << "the agent sent something that does not open";
  }
  peers.heard(e, agent_address_, now);
  if (e.kind != PayloadKind::message) {
    Packet payload(e.payload.begin(), e.payload.end());
    e.payload = {};
    replies.push_back({ProxyId{id}, e, payload});
    return;
  }
  if (!peers.on_path_message(e, agent_address_, now)) on_proxy_message(id, e);
}

void AgentWorld::on_proxy_message(uint32_t id, const Envelope& e) {
  auto m = decode(e.payload);
  ASSERT_TRUE(m) << "the agent sent a message that does not decode";
  if (auto* i = std::get_if<Insert>(&m->body)) {
    Packet packet(i->packet.begin(), i->packet.end());
    i->packet = {};
    inserts.push_back({ProxyId{id}, m->header, *i, packet});
    InsertAnswer ok{.status = InsertAnswer::Status::ok,
                    .copies = 3,
                    .version = i->version,
                    .replicas = {ProxyId{1}, ProxyId{2}, ProxyId{3}}};
    if (i->returns) ok.packet = packet;
    std::optional<InsertAnswer> a = answer ? answer(*i) : ok;
    if (!a) return;
    PeerTable& peers = *proxy(id).peers;
    std::vector<uint8_t> bytes = encode(m->header, *a), out(2'000);
    size_t n = peers.seal_message(NodeId::member(kSelf), 0, peers.timestamp_us(now), bytes, out);
    send(id, Bytes(out).first(n));
    return;
  }
  messages.push_back(*m);
}

void AgentWorld::handshake(uint32_t id, uint16_t port) {
  from_client(id, syn(port));
  from_kernel(syn_ack(port));
  from_client(id, client_ack(port));
}

const AgentWorld::Got* AgentWorld::reply_with(const std::function<bool(const EnvelopeOptions&)>& f) const {
  for (const Got& g : replies)
    if (f(g.envelope.options)) return &g;
  return nullptr;
}

// --- packets ---

SessionId tcp_session(uint16_t port) {
  return SessionId::tuple(kWeb, Protocol::tcp, {*IpAddress::parse(kClient), Port{port}},
                          {*IpAddress::parse(kServer), Port{443}});
}
SessionId udp_session(uint16_t port) {
  return SessionId::tuple(kWeb, Protocol::udp, {*IpAddress::parse(kClient), Port{port}},
                          {*IpAddress::parse(kServer), Port{53}});
}
Packet syn(uint16_t port) {
  return ip4(kClient, kServer).tcp(port, 443, kSyn, kClientIsn, 0).build();
}
Packet syn_ack(uint16_t port, uint32_t isn) {
  return ip4(kServer, kClient).tcp(443, port, kSyn | kAck, isn, kClientIsn + 1).build();
}
Packet client_ack(uint16_t port, size_t payload) {
  return ip4(kClient, kServer).tcp(port, 443, kAck, kClientIsn + 1, kServerIsn + 1).payload(payload).build();
}
Packet server_data(uint16_t port, size_t payload) {
  return ip4(kServer, kClient).tcp(443, port, kAck, kServerIsn + 1, kClientIsn + 1).payload(payload).build();
}
Packet server_reset(uint16_t port, uint32_t acknowledgement) {
  return ip4(kServer, kClient).tcp(443, port, kRst | kAck, 0, acknowledgement).build();
}
Packet client_udp(uint16_t port) {
  return ip4(kClient, kServer).udp(port, 53).payload("question").build();
}
Packet server_udp(uint16_t port) {
  return ip4(kServer, kClient).udp(53, port).payload("answer").build();
}
KernelSocket kernel_socket(uint16_t port, KernelSocket::State state) {
  return {{*IpAddress::parse(kServer), Port{443}}, {*IpAddress::parse(kClient), Port{port}}, state};
}

}  // namespace statecast::test
