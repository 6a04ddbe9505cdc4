// SPDX-License-Identifier: BSD-3-Clause
// What is wrong with a profile although each of its values is right by itself.
#include <algorithm>
#include <map>

#include "config/pktgen_config.h"
#include "config/validate.h"

namespace statecast {

namespace {

using Step = Loading::Step;
using Stream = PktgenStreamConfig;

constexpr size_t kPortsMax = 16, kStreamsMax = 64, kMembersMax = 250, kWorkersMax = 64;
constexpr unsigned kSessionsPerAddressBits = 15;
constexpr size_t kEthernetOverhead = 14 + 4;  // header and FCS

// A list of 1 to `most` items, of which no two have the same `key`.
template <class Items, class Value>
void listed(Loading& l, const YamlNode& list, const Items& items, size_t most, const char* key, Value value) {
  if (items.empty()) l.error(list, "expected at least one");
  if (items.size() > most) l.error(list, "are " + std::to_string(items.size()) + "; at most " + std::to_string(most));
  std::map<decltype(value(items[0])), size_t> first;
  for (size_t i = 0; i < items.size(); ++i) {
    auto [it, is_new] = first.try_emplace(value(items[i]), i);
    if (is_new) continue;
    Step index(l, i), name(l, key);
    l.error(at(at(list, i), key), "is the same as that of [" + std::to_string(it->second) + "]");
  }
}

class Checks {
 public:
  Checks(Loading& l, const YamlNode& tree, const PktgenConfig& c) : l_(l), tree_(tree), c_(c) {}

  void all() {
    {
      Step key(l_, "dpdk");
      cores();
    }
    {
      Step key(l_, "ports");
      listed(l_, at(tree_, "ports"), c_.ports, kPortsMax, "name", [](auto& p) { return p.name; });
      listed(l_, at(tree_, "ports"), c_.ports, kPortsMax, "device", [](auto& p) { return p.device; });
      for (size_t i = 0; i < c_.ports.size(); ++i) port(i);
    }
    {
      Step key(l_, "streams");
      listed(l_, at(tree_, "streams"), c_.streams, kStreamsMax, "name", [](auto& s) { return s.name; });
      for (size_t i = 0; i < c_.streams.size(); ++i) stream(i);
    }
    if (has_members()) {
      Step key(l_, "member_side");
      member_side();
    }
    Step key(l_, "search");
    for (auto [name, rate] : {std::pair("from", &c_.search.from), std::pair("to", &c_.search.to)}) {
      if (rate->unit != RateConfig::Unit::bits) continue;
      Step step(l_, name);
      l_.error(at(at(tree_, "search"), name), "expected packets, got bits");
    }
  }

 private:
  bool has_members() const { return !c_.member_side.port.empty(); }
  const PktgenPortConfig* find_port(const std::string& name) const {
    for (auto& p : c_.ports)
      if (p.name == name) return &p;
    return nullptr;
  }
  void says(const YamlNode& map, const char* key, const std::string& what) {
    Step step(l_, key);
    l_.error(at(map, key), what);
  }

  void cores() {
    auto& cores = c_.dpdk.cores;
    const YamlNode& node = at(tree_, "dpdk");
    if (cores.empty() || cores.size() > kWorkersMax)
      says(node, "cores", "are " + std::to_string(cores.size()) + "; expected 1 to " + std::to_string(kWorkersMax));
    for (size_t i = 0; i < cores.size(); ++i)
      if (std::find(cores.begin(), cores.begin() + static_cast<long>(i), cores[i]) !=
          cores.begin() + static_cast<long>(i))
        says(node, "cores", std::to_string(cores[i]) + " is there twice");
  }

  void port(size_t i) {
    const PktgenPortConfig& p = c_.ports[i];
    if (p.gateway.is_none()) return;
    auto same_family = [&](const IpAddress& a) { return a.family == p.gateway.family; };
    bool asks = std::any_of(p.addresses.begin(), p.addresses.end(), same_family);
    if (p.name == c_.member_side.port)
      asks = asks || std::any_of(c_.member_side.members.begin(), c_.member_side.members.end(),
                                 [&](auto& m) { return same_family(m.address); });
    Step index(l_, i);
    if (!asks) says(at(at(tree_, "ports"), i), "gateway", "there is no address of its family to ask from");
  }

  void stream(size_t i) {
    const Stream& s = c_.streams[i];
    const YamlNode& node = at(at(tree_, "streams"), i);
    Step index(l_, i);
    const PktgenPortConfig* p = s.port.empty() && !c_.ports.empty() ? &c_.ports[0] : find_port(s.port);
    if (!p) return says(node, "port", "there is no port of this name");
    if (s.destinations.empty()) return says(node, "destinations", "expected at least one");
    if (s.destinations.size() > 256) says(node, "destinations", "are more than 256");
    auto family = s.destinations[0].address.family;
    for (auto& d : s.destinations)
      if (d.address.family != family) return says(node, "destinations", "are of both families; expected one");
    if (!s.clients.address.is_none()) {
      if (s.clients.address.family != family) says(node, "clients", "is not of the family of the destinations");
      unsigned host_bits = static_cast<unsigned>(s.clients.address.size() * 8 - s.clients.length);
      uint64_t addresses = (uint64_t(s.sessions) + (1u << kSessionsPerAddressBits) - 1) >> kSessionsPerAddressBits;
      if (host_bits < 32 && addresses > uint64_t(1) << host_bits)
        says(node, "clients", "has too few addresses: " + std::to_string(addresses) + " are needed");
    }
    if (s.sizes.empty()) says(node, "sizes", "expected at least one");
    for (auto& size : s.sizes)
      if (size.bytes > p->mtu + kEthernetOverhead)
        says(
            node, "sizes",
            std::to_string(size.bytes) + " is too large for port " + p->name + " (mtu " + std::to_string(p->mtu) + ")");
    setup(s, node);
    bool ramps = s.ramp_time > Duration{};
    if (ramps && (s.rate.unit != s.ramp_from.unit || s.rate.unit == RateConfig::Unit::unlimited))
      says(node, "ramp_from", "expected a rate in the unit of `rate`, which is not max");
  }

  void setup(const Stream& s, const YamlNode& node) {
    if (s.setup == Stream::Setup::none) return;
    if (s.kind != Stream::Kind::good) return says(node, "setup", "is for streams of kind good only");
    if (!has_members()) says(node, "setup", "needs a member_side that has a port");
    if (s.setup == Stream::Setup::syn && s.protocol != ConfigProtocol::tcp)
      says(node, "setup", "syn is for protocol tcp only");
  }

  void member_side() {
    const PktgenMemberSideConfig& m = c_.member_side;
    const YamlNode& node = at(tree_, "member_side");
    if (!find_port(m.port)) says(node, "port", "there is no port of this name");
    {
      Step key(l_, "members");
      listed(l_, at(node, "members"), m.members, kMembersMax, "node_key", [](auto& x) { return x.node_key; });
      listed(l_, at(node, "members"), m.members, kMembersMax, "address", [](auto& x) { return x.address; });
    }
    Step key(l_, "proxies");
    listed(l_, at(node, "proxies"), m.proxies, kMembersMax, "id", [](auto& x) { return x.id; });
    for (size_t i = 0; i < m.proxies.size(); ++i) {
      bool same = !m.members.empty() && m.members[0].address.family == m.proxies[i].address.address.family;
      Step index(l_, i);
      if (!same) says(at(at(node, "proxies"), i), "address", "is not of the family of the members' addresses");
    }
  }

  Loading& l_;
  const YamlNode& tree_;
  const PktgenConfig& c_;
};

}  // namespace

void validate(Loading& l, const YamlNode& tree, const PktgenConfig& c) {
  Checks(l, tree, c).all();
}

}  // namespace statecast
