// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/rules.h"

namespace statecast {

namespace {

// The ID by the packet's ends, or by those of its quote, which goes the other way.
void set_id(SessionId& id, Bytes frame, const ParsedPacket& p, GroupId group, bool source_is_client) {
  const bool v6 = p.ip_version == 6;
  if (!v6 && source_is_client && !p.is_icmp_error() && p.l4_offset == p.l3_offset + 20) {
    id.set_tuple4(group, p.protocol, frame.data() + p.l3_offset + 12);
    return;
  }
  Bytes ip = frame.subspan(p.is_icmp_error() ? p.quoted_l3_offset : p.l3_offset);
  Bytes source = v6 ? ip.subspan(8, 16) : ip.subspan(12, 4), destination = v6 ? ip.subspan(24, 16) : ip.subspan(16, 4);
  if (source_is_client)
    id.set_tuple(group, p.protocol, source, p.source_port, destination, p.destination_port);
  else
    id.set_tuple(group, p.protocol, destination, p.destination_port, source, p.source_port);
}

bool port_matches(const std::vector<PortRange>& ports, uint16_t port) {
  for (const PortRange& r : ports)
    if (r.first <= port && port <= r.last) return true;
  return ports.empty();
}

}  // namespace

const char* to_string(PacketClass c) {
  switch (c) {
    case PacketClass::none: return "none";
    case PacketClass::stateful: return "stateful";
    case PacketClass::stateless: return "stateless";
    case PacketClass::bootstrapping: return "bootstrapping";
  }
  return "unknown";
}

SessionRules::SessionRules(std::vector<SessionRule> rules) : rules_(std::move(rules)) {
  auto add = [&](Protocol protocol, PortRange ports, PacketClass packet_class) {
    if (ports.last < ports.first) return;
    const uint8_t protocols = protocol == Protocol::none  ? 3
                              : protocol == Protocol::tcp ? 1
                              : protocol == Protocol::udp ? 2
                                                          : 0;
    if (plain_count_ < kPlainMax) {
      plain_[plain_count_] = {ports.first, static_cast<uint16_t>(ports.last - ports.first), protocols, packet_class};
    }
    ++plain_count_;
  };
  if (rules_.empty()) add(Protocol::none, {}, PacketClass::stateful);
  for (const SessionRule& r : rules_) {
    if (r.ports.empty()) add(r.protocol, {}, r.packet_class);
    for (const PortRange& ports : r.ports) add(r.protocol, ports, r.packet_class);
  }
}

PacketClass SessionRules::classify_carefully(Bytes frame, const ParsedPacket& p, GroupId group, Direction direction,
                                             SessionId& id) const {
  id.length = 0;
  if (p.protocol != Protocol::tcp && p.protocol != Protocol::udp) return PacketClass::none;
  bool has_ports = p.fragment != Fragment::later;
  // An ICMP error has the ports of the packet that it quotes, which goes the other way.
  bool source_is_client = (direction == Direction::from_client) != p.is_icmp_error();
  uint16_t port = source_is_client ? p.destination_port : p.source_port;

  PacketClass found = rules_.empty() ? PacketClass::stateful : PacketClass::none;
  for (const SessionRule& rule : rules_) {
    if (rule.protocol != Protocol::none && rule.protocol != p.protocol) continue;
    if (!has_ports && !rule.ports.empty())
      return PacketClass::none;  // it may be this rule's packet: no later rule may take it
    if (!port_matches(rule.ports, port)) continue;
    found = rule.packet_class;
    break;
  }
  if (found == PacketClass::none) return found;
  if (found == PacketClass::stateful && starts_a_session(p)) found = PacketClass::bootstrapping;
  if (has_ports) set_id(id, frame, p, group, source_is_client);
  return found;
}

}  // namespace statecast
