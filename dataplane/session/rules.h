// SPDX-License-Identifier: BSD-3-Clause
// Classify and identify: a group's ordered rules say which class a packet has and which session it belongs to.
//
//   SessionRules rules({{Protocol::tcp, {{443, 443}}, PacketClass::stateful}});
//   Classified c = rules.classify(frame, parsed, group, Direction::from_client);
//   c.packet_class;  c.id;         // the one form under which this packet is looked up
//
// The first rule that matches wins; a packet that none matches has the class `none` and is dropped. No rules at all:
// TCP and UDP are stateful. In a stateful rule a TCP SYN (without ACK, RST, FIN) is bootstrapping, in both directions.
// UDP bootstraps through `admit` (directory's answer "none"). ICMP is `none` but for errors that quote a session.
// Threads: immutable after construction. Ownership: value.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/packet/parse.h"
#include "dataplane/session/session_id.h"

namespace statecast {

enum class PacketClass : uint8_t { none, stateful, stateless, bootstrapping };
const char* to_string(PacketClass c);

enum class Direction : uint8_t { from_client, from_member };

struct PortRange {
  uint16_t first = 0, last = 65535;  // inclusive; of the group's side
  auto operator<=>(const PortRange&) const = default;
};

struct SessionRule {
  Protocol protocol = Protocol::none;                // none: any
  std::vector<PortRange> ports;                      // empty: any
  PacketClass packet_class = PacketClass::stateful;  // stateful or stateless; `none` drops
  auto operator<=>(const SessionRule&) const = default;
};

struct Classified {
  PacketClass packet_class = PacketClass::none;
  SessionId id;  // length 0 where the class is none, or the packet has no session (a later fragment)
};

class SessionRules {
 public:
  SessionRules() : SessionRules(std::vector<SessionRule>{}) {}
  explicit SessionRules(std::vector<SessionRule> rules);
  // `frame` and `p` as from parse (result ok). An ICMP error is classified by its quote, direction reversed. A later
  // fragment has no ports and no ID; a rule for its protocol that names ports leaves it without a class, because the
  // rules behind must not take what may be this one's (its first fragment is what tells).
  Classified classify(Bytes frame, const ParsedPacket& p, GroupId group, Direction direction) const {
    Classified c;
    c.packet_class = classify(frame, p, group, direction, c.id);
    return c;
  }
  // The same with the ID in place: of `id` only the bytes that count are written.
  PacketClass classify(Bytes frame, const ParsedPacket& p, GroupId group, Direction direction, SessionId& id) const {
    // What nearly all are, in line: a whole IPv4 packet without options from a client, and few rules.
    const bool udp = p.protocol == Protocol::udp;
    if (direction != Direction::from_client || (!udp && p.protocol != Protocol::tcp) || p.ip_version != 4 ||
        p.l4_offset != p.l3_offset + 20 || p.is_icmp_error() || p.fragment == Fragment::later ||
        plain_count_ > kPlainMax) {
      return classify_carefully(frame, p, group, direction, id);
    }
    for (unsigned r = 0; r < plain_count_; ++r) {
      const PlainRule& rule = plain_[r];
      if (rule.protocols >> udp & 1 && uint16_t(p.destination_port - rule.first) <= rule.span) {
        if (rule.packet_class == PacketClass::none) break;
        id.set_tuple4(group, p.protocol, frame.data() + p.l3_offset + 12);
        return rule.packet_class == PacketClass::stateful && starts_a_session(p) ? PacketClass::bootstrapping
                                                                                 : rule.packet_class;
      }
    }
    id.length = 0;
    return PacketClass::none;
  }

 private:
  // A rule with one range of ports, as the short way wants it; a rule with several is several of these.
  struct PlainRule {
    uint16_t first, span;  // ports first .. first + span
    uint8_t protocols;     // bit 0: TCP, bit 1: UDP
    PacketClass packet_class;
  };
  static constexpr unsigned kPlainMax = 4;

  static bool starts_a_session(const ParsedPacket& p) {  // an ICMP error has no flags, so it never does
    constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
    return p.protocol == Protocol::tcp && (p.tcp_flags & (kSyn | kAck | kRst | kFin)) == kSyn;
  }
  PacketClass classify_carefully(Bytes frame, const ParsedPacket& p, GroupId group, Direction direction,
                                 SessionId& id) const;

  std::array<PlainRule, kPlainMax> plain_{};
  unsigned plain_count_ = 0;  // more than kPlainMax: only the careful way
  std::vector<SessionRule> rules_;
};

}  // namespace statecast
