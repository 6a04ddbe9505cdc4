// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/rules.h"

namespace statecast {

namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

bool starts_a_session(const ParsedPacket& p) {
  return p.protocol == Protocol::tcp && !p.is_icmp_error() && (p.tcp_flags & (kSyn | kAck | kRst | kFin)) == kSyn;
}

// The packet's ends from the group's point of view.
struct Ends {
  Endpoint client, server;
};

Ends ends_of(Bytes frame, const ParsedPacket& p, Direction direction) {
  bool quote = p.is_icmp_error();
  Endpoint source{quote ? quoted_source_of(frame, p) : source_of(frame, p), Port{p.source_port}};
  Endpoint destination{quote ? quoted_destination_of(frame, p) : destination_of(frame, p), Port{p.destination_port}};
  // An error goes the other way than the packet that it quotes.
  bool source_is_client = (direction == Direction::from_client) != quote;
  return source_is_client ? Ends{source, destination} : Ends{destination, source};
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

Classified SessionRules::classify(Bytes frame, const ParsedPacket& p, GroupId group, Direction direction) const {
  if (p.protocol != Protocol::tcp && p.protocol != Protocol::udp) return {};
  bool has_ports = p.fragment != Fragment::later;
  // The group's port: of the packet's own header, or of a quote's that goes the other way.
  bool at_destination = (direction == Direction::from_client) != p.is_icmp_error();
  uint16_t port = at_destination ? p.destination_port : p.source_port;

  PacketClass found = rules_.empty() ? PacketClass::stateful : PacketClass::none;
  for (const SessionRule& rule : rules_) {
    if (rule.protocol != Protocol::none && rule.protocol != p.protocol) continue;
    if (!has_ports && !rule.ports.empty()) return {};  // it may be this rule's packet: no later rule may take it
    if (!port_matches(rule.ports, port)) continue;
    found = rule.packet_class;
    break;
  }
  if (found == PacketClass::none) return {};
  if (found == PacketClass::stateful && starts_a_session(p)) found = PacketClass::bootstrapping;

  Classified c;
  c.packet_class = found;
  if (has_ports) {
    Ends ends = ends_of(frame, p, direction);
    c.id = SessionId::tuple(group, p.protocol, ends.client, ends.server);
  }
  return c;
}

}  // namespace statecast
