// SPDX-License-Identifier: BSD-3-Clause
#include "control/snapshot.h"

#include <algorithm>

#include "dataplane/worker/mailbox.h"

namespace statecast {

namespace {

SessionRules make_rules(const GroupConfig& config) {
  std::vector<SessionRule> rules;
  for (const RuleConfig& r : config.rules) {
    SessionRule rule;
    rule.protocol = r.protocol == ConfigProtocol::tcp   ? Protocol::tcp
                    : r.protocol == ConfigProtocol::udp ? Protocol::udp
                                                        : Protocol::none;
    for (const auto& p : r.ports) rule.ports.push_back({p.first, p.last});
    rule.packet_class = r.packet_class == ConfigClass::stateful    ? PacketClass::stateful
                        : r.packet_class == ConfigClass::stateless ? PacketClass::stateless
                                                                   : PacketClass::none;
    rules.push_back(std::move(rule));
  }
  if (rules.empty()) rules.push_back({});  // all TCP and UDP stateful
  return SessionRules(std::move(rules));
}

UnknownAnswer make_unknown(UnknownSession u) {
  switch (u) {
    case UnknownSession::stateless: return UnknownAnswer::stateless;
    case UnknownSession::admit: return UnknownAnswer::admit;
    case UnknownSession::drop: break;
  }
  return UnknownAnswer::drop;
}

QueryForm make_query_form(ConfigQueryForm f) {
  switch (f) {
    case ConfigQueryForm::query_and_forward: return QueryForm::query_and_forward;
    case ConfigQueryForm::query_and_return: return QueryForm::query_and_return;
    case ConfigQueryForm::query: break;
  }
  return QueryForm::query;
}

PortLayout make_port(const PortConfig& config, const MacAddress& mac) {
  PortLayout p;
  p.name = config.name;
  p.mac = mac;
  p.anycast = config.role != PortConfig::Role::underlay;
  p.underlay = config.role != PortConfig::Role::anycast;
  p.answer_neighbours = config.answer_neighbours;
  p.mtu = config.mtu;
  for (const auto& a : config.addresses) p.addresses.push_back({a.address, a.length});
  p.gateways = config.gateways;
  return p;
}

static_assert(kTravelBytesMax == kQueryPacketMax);

}  // namespace

View make_view(const ProxyConfig& config) {
  std::vector<ViewNode> nodes;
  for (const ProxyPeerConfig& p : config.proxies) nodes.push_back({p.id, p.zone});
  return View(
      {.revision = config.directory.revision, .replicas = config.directory.replicas, .writes = config.directory.writes},
      std::move(nodes));
}

Result<std::shared_ptr<const Layout>> make_layout(const ProxyConfig& config, const FleetSecret& fleet, const View& view,
                                                  const std::vector<MacAddress>& macs) {
  auto layout = std::make_shared<Layout>();
  layout->self = config.id;
  for (const ProxyPeerConfig& p : config.proxies) {
    if (p.id == config.id) {
      layout->underlay = p.address;
    } else {
      layout->peers.push_back(NodeId::proxy(p.id));
    }
  }
  if (layout->underlay.address.is_none()) {
    return fail(Code::invalid,
                "the list of proxies has no entry for this proxy, id " + std::to_string(config.id.value));
  }
  for (MemberId m : config.members) layout->peers.push_back(NodeId::member(m));
  layout->peer_index = NodeIndex(layout->peers);

  for (size_t i = 0; i < config.ports.size(); ++i) {
    layout->ports.push_back(make_port(config.ports[i], i < macs.size() ? macs[i] : MacAddress{}));
  }

  std::vector<std::pair<Prefix, uint32_t>> prefixes;
  for (const GroupConfig& g : config.groups) {
    Group group;
    group.id = g.id;
    group.name = g.name;
    group.secret = group_secret(fleet, g.id, 0);
    group.rules = make_rules(g);
    for (const GroupMemberConfig& m : g.members) {
      group.members.push_back({m.id, m.weight, layout->peer_index.find(NodeId::member(m.id))});
    }
    std::sort(group.members.begin(), group.members.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    group.unknown = make_unknown(g.unknown);
    // Over IPv6 a query would be more than 128 bytes larger than the packet in it.
    group.packet_travels = g.query != ConfigQueryForm::query && layout->underlay.address.is_v4();
    group.admit_per_second = g.admit_per_second;
    group.absent_per_second = g.absent_per_second;
    group.negative = g.negative;
    group.lease_cap = g.lease.time;
    for (const Prefix& p : g.addresses) prefixes.emplace_back(p, static_cast<uint32_t>(layout->groups.size()));
    layout->groups.push_back(std::move(group));
  }
  layout->group_table = GroupTable(prefixes);

  layout->replica_hint = replica_hints(config.id, view);
  return layout;
}

std::vector<ProxyId> replica_hints(ProxyId self, const View& view) {
  std::vector<ProxyId> hints(kSlots);
  for (unsigned slot = 0; slot < kSlots && view.replica_count() > 0; ++slot) {
    const Slot s{static_cast<uint16_t>(slot)};
    hints[slot] = view.is_replica(self, s) ? self : view.replicas(s)[0];
  }
  return hints;
}

std::vector<DirectoryGroup> make_directory_groups(const ProxyConfig& config, const FleetSecret& fleet) {
  std::vector<DirectoryGroup> groups;
  for (const GroupConfig& g : config.groups) {
    DirectoryGroup d;
    d.id = g.id;
    d.secret = group_secret(fleet, g.id, 0);
    d.partition_available = g.partition == Partition::available;
    d.degraded_accept = g.degraded == Degraded::accept;
    d.query_form = make_query_form(g.query);
    d.admits = g.unknown == UnknownSession::admit;
    d.lease_cap = g.lease.time;
    d.grant_bytes_max = g.lease.bytes.value;
    for (const GroupMemberConfig& m : g.members) d.members.push_back(m.id);
    groups.push_back(std::move(d));
  }
  return groups;
}

void add_peers(const ProxyConfig& config, const FleetSecret& fleet, PeerTable& peers) {
  for (const ProxyPeerConfig& p : config.proxies) {
    if (p.id != config.id) peers.add(NodeId::proxy(p.id), proxy_pair_key(fleet, config.id, p.id), p.address);
  }
  for (MemberId m : config.members) {
    peers.add(NodeId::member(m), member_pair_key(member_node_key(fleet, m), config.id), std::nullopt);
  }
}

std::optional<Via> via_underlay(const Layout& layout, const IpAddress& a) {
  std::optional<Via> gateway;
  for (size_t i = 0; i < layout.ports.size(); ++i) {
    const PortLayout& p = layout.ports[i];
    const auto port = static_cast<uint16_t>(i);
    if (!p.underlay) continue;
    for (const auto& own : p.addresses) {
      if (own.on_link(a)) return Via{port, a};
    }
    for (const IpAddress& g : p.gateways) {
      if (g.family == a.family && !gateway) gateway = Via{port, g};
    }
  }
  return gateway;
}

std::unique_ptr<Snapshot> make_snapshot(const std::shared_ptr<const Layout>& layout, const PeerTable& peers,
                                        Neighbours& neighbours, Instant now) {
  auto s = std::make_unique<Snapshot>();
  s->layout = layout;
  for (size_t i = 0; i < layout->ports.size(); ++i) {
    for (const IpAddress& g : layout->ports[i].gateways)
      neighbours.want(static_cast<uint16_t>(i), g, Neighbours::Keep::always, now);
  }
  for (NodeId id : layout->peers) {
    PeerHop hop;
    if (auto endpoint = peers.endpoint(id)) {
      hop.endpoint = *endpoint;
      if (auto via = via_underlay(*layout, endpoint->address)) {
        neighbours.want(via->port, via->address, Neighbours::Keep::always, now);
        if (auto next = neighbours.find(via->address)) hop.hop = *next;
      }
      Instant heard = peers.last_heard(id);
      hop.reachable = heard != Instant{} && now - heard < kUnreachableAfter;
    }
    s->peers.push_back(hop);
  }
  s->neighbours = neighbours.known();
  return s;
}

bool same(const Snapshot& a, const Snapshot& b) {
  auto equal_hop = [](const NextHop& x, const NextHop& y) {
    return x.known == y.known && x.port == y.port && x.mac == y.mac;
  };
  auto equal_peer = [&](const PeerHop& x, const PeerHop& y) {
    return x.endpoint == y.endpoint && x.reachable == y.reachable && equal_hop(x.hop, y.hop);
  };
  if (a.layout != b.layout || a.neighbours.size() != b.neighbours.size()) return false;
  if (!std::equal(a.peers.begin(), a.peers.end(), b.peers.begin(), b.peers.end(), equal_peer)) return false;
  return std::all_of(a.neighbours.begin(), a.neighbours.end(), [&](const auto& n) {
    auto at = b.neighbours.find(n.first);
    return at != b.neighbours.end() && equal_hop(n.second, at->second);
  });
}

}  // namespace statecast
