// SPDX-License-Identifier: BSD-3-Clause
#include "config/validate.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "config/value_forms.h"

namespace statecast {

namespace {

using Step = Loading::Step;

constexpr uint16_t kUnderlayMtuMin = 1500;  // the inner MTU is this less the envelope, for every proxy and agent alike

bool is_unicast(const IpAddress& a) {
  if (a.is_v4()) return a.raw[0] != 0 && a.raw[0] != 127 && a.raw[0] < 224;
  static const IpAddress kLoopback = *IpAddress::parse("::1"), kAny = *IpAddress::parse("::");
  return a.is_v6() && a.raw[0] != 0xff && a != kLoopback && a != kAny;
}

bool is_link_local(const IpAddress& a) {
  return a.is_v6() && a.raw[0] == 0xfe && (a.raw[1] & 0xc0) == 0x80;
}

Prefix network_of(const PortConfig::Address& a) {
  Prefix p{a.address, a.length};
  for (size_t bit = a.length; bit < a.address.size() * 8; ++bit)
    p.address.raw[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
  return p;
}

// Reports the second of two equal values among list[i].key (or list[i] itself when key is empty).
template <class Items, class Value>
void distinct(Loading& l, const YamlNode& list, const Items& items, const char* key, const char* whose, Value value) {
  std::map<decltype(value(items[0])), size_t> first;
  for (size_t i = 0; i < items.size(); ++i) {
    auto [it, is_new] = first.try_emplace(value(items[i]), i);
    if (is_new) continue;
    Step index(l, i);
    std::string where = std::string(whose) + "[" + std::to_string(it->second) + "]";
    if (*key) {
      Step name(l, key);
      l.error(at(at(list, i), key), "is the same as that of " + where);
    } else {
      l.error(at(list, i), "is the same as " + where);
    }
  }
}

bool not_empty(Loading& l, const YamlNode& node, size_t n, const char* what) {
  if (n == 0) l.error(node, std::string("expected at least one ") + what);
  return n != 0;
}

// One prefix of one group, and where it stands.
struct GroupPrefix {
  Prefix prefix;
  size_t group, index;
  bool operator<(const GroupPrefix& o) const {
    return std::tie(prefix.address, prefix.length, group, index) <
           std::tie(o.prefix.address, o.prefix.length, o.group, o.index);
  }
};

// The same prefix twice is an error. Prefixes of different groups may nest (the longest wins); within one group the
// inner one says nothing, so it is a slip of the pen.
void group_addresses(Loading& l, const YamlNode& list, const std::vector<GroupConfig>& groups) {
  std::vector<GroupPrefix> all;
  for (size_t g = 0; g < groups.size(); ++g)
    for (size_t i = 0; i < groups[g].addresses.size(); ++i) all.push_back({groups[g].addresses[i], g, i});
  std::sort(all.begin(), all.end());  // an outer prefix comes before what it contains
  std::vector<const GroupPrefix*> around;
  for (const GroupPrefix& p : all) {
    while (!around.empty() && !around.back()->prefix.contains(p.prefix.address)) around.pop_back();
    auto says = [&](const std::string& what) {
      Step group(l, p.group), key(l, "addresses"), index(l, p.index);
      l.error(at(at(at(list, p.group), "addresses"), p.index), prefix_text(p.prefix) + " " + what);
    };
    for (const GroupPrefix* o : around) {
      const std::string owner = "groups[" + std::to_string(o->group) + "] (" + groups[o->group].name + ")";
      if (o->prefix == p.prefix)
        says("is an address of " + owner + " already");
      else if (o->group == p.group)
        says("lies in " + prefix_text(o->prefix) + " of the same group");
      else
        continue;
      break;
    }
    if (p.prefix.length == 0)
      says("is every address; expected the group's own");
    else if (!is_unicast(p.prefix.address))
      says("is no unicast address");
    around.push_back(&p);
  }
}

void groups(Loading& l, const YamlNode& tree, const std::vector<GroupConfig>& groups) {
  const YamlNode& list = at(tree, "groups");
  Step key(l, "groups");
  if (!not_empty(l, list, groups.size(), "group")) return;
  distinct(l, list, groups, "id", "groups", [](const GroupConfig& g) { return g.id; });
  distinct(l, list, groups, "name", "groups", [](const GroupConfig& g) { return g.name; });
  group_addresses(l, list, groups);
  for (size_t g = 0; g < groups.size(); ++g) {
    Step index(l, g);
    {
      Step addresses(l, "addresses");
      not_empty(l, at(at(list, g), "addresses"), groups[g].addresses.size(), "address");
    }
    auto& rules = groups[g].rules;
    for (size_t r = 0; r + 1 < rules.size(); ++r) {
      if (rules[r].protocol != ConfigProtocol::any || !rules[r].ports.empty()) continue;
      Step rules_key(l, "rules"), next(l, r + 1);
      l.error(at(at(at(list, g), "rules"), r + 1),
              "is never reached: rules[" + std::to_string(r) + "] matches everything");
      break;
    }
  }
}

void proxies(Loading& l, const YamlNode& tree, const std::vector<ProxyPeerConfig>& proxies) {
  const YamlNode& list = at(tree, "proxies");
  Step key(l, "proxies");
  if (!not_empty(l, list, proxies.size(), "proxy")) return;
  distinct(l, list, proxies, "id", "proxies", [](const ProxyPeerConfig& p) { return p.id; });
  distinct(l, list, proxies, "address", "proxies", [](const ProxyPeerConfig& p) { return p.address; });
  for (size_t i = 0; i < proxies.size(); ++i) {
    if (is_unicast(proxies[i].address.address)) continue;
    Step index(l, i), address(l, "address");
    l.error(at(at(list, i), "address"), to_string(proxies[i].address.address) + " is no unicast address");
  }
}

void port(Loading& l, const YamlNode& node, const PortConfig& p) {
  {
    Step key(l, "addresses");
    if (!not_empty(l, at(node, "addresses"), p.addresses.size(), "address such as \"10.1.1.1/24\"")) return;
    for (size_t i = 0; i < p.addresses.size(); ++i) {
      if (is_unicast(p.addresses[i].address)) continue;
      Step index(l, i);
      l.error(at(at(node, "addresses"), i), to_string(p.addresses[i].address) + " is no unicast address");
    }
  }
  Step key(l, "gateways");
  std::set<IpAddress::Family> families;
  for (size_t i = 0; i < p.gateways.size(); ++i) {
    Step index(l, i);
    const IpAddress& gateway = p.gateways[i];
    const YamlNode& place = at(at(node, "gateways"), i);
    if (!families.insert(gateway.family).second)
      l.error(place,
              std::string("is the second gateway for ") + (gateway.is_v4() ? "IPv4" : "IPv6") + "; expected one");
    bool on_link = is_link_local(gateway), own = false;
    for (auto& a : p.addresses) {
      on_link = on_link || network_of(a).contains(gateway);
      own = own || a.address == gateway;
    }
    if (!on_link) l.error(place, to_string(gateway) + " is not on the link: no network of the port's addresses has it");
    if (own) l.error(place, to_string(gateway) + " is the port's own address");
  }
}

void ports(Loading& l, const YamlNode& tree, const ProxyConfig& c) {
  const YamlNode& list = at(tree, "ports");
  Step key(l, "ports");
  if (!not_empty(l, list, c.ports.size(), "port")) return;
  distinct(l, list, c.ports, "name", "ports", [](const PortConfig& p) { return p.name; });
  distinct(l, list, c.ports, "device", "ports", [](const PortConfig& p) { return p.device; });
  std::map<IpAddress, size_t> owners;
  for (size_t i = 0; i < c.ports.size(); ++i) {
    Step index(l, i);
    const YamlNode& node = at(list, i);
    port(l, node, c.ports[i]);
    if (c.ports[i].role != PortConfig::Role::anycast && c.ports[i].mtu < kUnderlayMtuMin) {
      Step mtu(l, "mtu");
      l.error(at(node, "mtu"),
              std::to_string(c.ports[i].mtu) +
                  " is too small for the underlay: full envelopes are 1500 bytes; expected at least 1500");
    }
    for (size_t a = 0; a < c.ports[i].addresses.size(); ++a) {
      const IpAddress& address = c.ports[i].addresses[a].address;
      auto [it, is_new] = owners.try_emplace(address, i);
      Step addresses(l, "addresses"), which(l, a);
      const YamlNode& place = at(at(node, "addresses"), a);
      if (!is_new)
        l.error(place, to_string(address) + " is an address of ports[" + std::to_string(it->second) + "] already");
      for (auto& g : c.groups)
        for (auto& prefix : g.addresses)
          if (prefix.contains(address))
            l.error(place,
                    to_string(address) + " is an address of group " + g.name + "; expected one of the proxy's own");
    }
  }
  auto has = [&](PortConfig::Role role) {
    return std::any_of(c.ports.begin(), c.ports.end(),
                       [&](const PortConfig& p) { return p.role == role || p.role == PortConfig::Role::both; });
  };
  if (!has(PortConfig::Role::underlay))
    l.error(list, "no port has the role underlay or both: envelopes could not travel");
  if (!has(PortConfig::Role::anycast))
    l.error(list, "no port has the role anycast or both: clients could not be served");
}

// The proxy is one of its own list, at an address that one of its underlay ports has.
void self(Loading& l, const YamlNode& tree, const ProxyConfig& c) {
  auto own = std::find_if(c.proxies.begin(), c.proxies.end(), [&](const ProxyPeerConfig& p) { return p.id == c.id; });
  if (own == c.proxies.end()) {
    Step key(l, "id");
    return l.error(at(tree, "id"),
                   "proxy " + std::to_string(c.id.value) + " is not among `proxies`: add it there, with its address");
  }
  for (auto& p : c.ports)
    for (auto& a : p.addresses)
      if (p.role != PortConfig::Role::anycast && a.address == own->address.address) return;
  size_t i = static_cast<size_t>(own - c.proxies.begin());
  Step key(l, "proxies"), index(l, i), address(l, "address");
  l.error(at(at(at(tree, "proxies"), i), "address"),
          to_string(own->address.address) +
              " is this proxy's own address, but no port with the role underlay or both has it");
}

void members(Loading& l, const YamlNode& tree, const ProxyConfig& c) {
  {
    Step key(l, "members");
    not_empty(l, at(tree, "members"), c.members.size(), "member");
    distinct(l, at(tree, "members"), c.members, "", "members", [](MemberId m) { return m; });
  }
  std::unordered_set<MemberId> known(c.members.begin(), c.members.end());
  const YamlNode& list = at(tree, "groups");
  Step key(l, "groups");
  for (size_t g = 0; g < c.groups.size(); ++g) {
    auto& in = c.groups[g].members;
    const YamlNode& node = at(at(list, g), "members");
    Step index(l, g), members_key(l, "members");
    if (!not_empty(l, node, in.size(), "member")) continue;
    distinct(l, node, in, "id", "members", [](const GroupMemberConfig& m) { return m.id; });
    for (size_t m = 0; m < in.size(); ++m) {
      if (known.contains(in[m].id)) continue;
      Step member(l, m);
      l.error(at(at(node, m), "id"),
              "member " + std::to_string(in[m].id.value) + " is not in the list `members` of the file");
    }
  }
}

void sizes(Loading& l, const YamlNode& tree, const ProxyConfig& c) {
  {
    const YamlNode& node = at(tree, "dpdk");
    Step section(l, "dpdk"), key(l, "cores");
    const YamlNode& cores = at(node, "cores");
    // One stream of envelopes per worker, up to 64 per proxy (design, "Streams").
    if (not_empty(l, cores, c.dpdk.cores.size(), "core") && c.dpdk.cores.size() > 64)
      l.error(cores, "are " + std::to_string(c.dpdk.cores.size()) + "; a proxy has at most 64 workers");
    distinct(l, cores, c.dpdk.cores, "", "cores", [](unsigned core) { return core; });
  }
  if (c.directory.writes > c.directory.replicas) {
    const YamlNode& node = at(tree, "directory");
    Step section(l, "directory"), key(l, "writes");
    l.error(at(node, "writes"),
            std::to_string(c.directory.writes) + " is more than replicas, " + std::to_string(c.directory.replicas));
  }
  if (const EtcdConfig& e = c.directory.etcd; e != EtcdConfig{}) {
    const YamlNode& node = at(at(tree, "directory"), "etcd");
    Step section(l, "directory"), etcd(l, "etcd");
    if (e.endpoints.empty()) {
      Step key(l, "endpoints");
      l.error(node, "is missing; without it the rest of this section is for nothing");
    }
    if (e.certificate.empty() != e.key.empty()) {
      Step key(l, e.key.empty() ? "certificate" : "key");
      l.error(node, "is there without the other of the two, certificate and key");
    }
    if (e.lease % 1s != 0s) {
      Step key(l, "lease");
      l.error(at(node, "lease"), "is not of whole seconds, as etcd's leases are");
    }
  }
  if (c.cache.miss_packets_per_group > c.cache.miss_packets) {
    const YamlNode& node = at(tree, "cache");
    Step section(l, "cache"), key(l, "miss_packets_per_group");
    l.error(at(node, "miss_packets_per_group"), std::to_string(c.cache.miss_packets_per_group) +
                                                    " is more than miss_packets, " +
                                                    std::to_string(c.cache.miss_packets));
  }
}

}  // namespace

void validate(Loading& l, const YamlNode& tree, const ProxyConfig& c) {
  sizes(l, tree, c);
  ports(l, tree, c);
  proxies(l, tree, c.proxies);
  self(l, tree, c);
  groups(l, tree, c.groups);
  members(l, tree, c);
}

void validate(Loading& l, const YamlNode& tree, const AgentConfig& c) {
  proxies(l, tree, c.proxies);
  groups(l, tree, c.groups);
  if (c.bind.address.is_none()) return;
  for (size_t i = 0; i < c.proxies.size(); ++i) {
    if (c.proxies[i].address.address.family == c.bind.address.family) continue;
    Step key(l, "proxies"), index(l, i), address(l, "address");
    l.error(at(at(at(tree, "proxies"), i), "address"),
            to_string(c.proxies[i].address.address) + " is not of the family of bind, " + to_string(c.bind.address));
  }
}

}  // namespace statecast
