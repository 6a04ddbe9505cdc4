// SPDX-License-Identifier: BSD-3-Clause
// The story of a packet at a member, client to kernel and back. Functions stand in the order in which packets meet
// them.
//
// What this file guards: in a stateful group the kernel sees bootstrapping packets and packets of sessions that this
// member owns, nothing else; nothing of a TCP session leaves before the directory holds its mapping (a SYN/ACK leaves
// inside the insert, never beside it); resets and unreachables of the kernel leave for owned sessions only. Of a UDP
// session the first reply leaves inside the insert where it fits; others may leave while the insert is under way, under
// the lease that the ingress proxy has from us.
#include "tools/agent/agent_core.h"

#include <algorithm>
#include <cstring>

namespace statecast {

namespace {

constexpr Duration kHeardWithin = 1s;         // a proxy unheard for longer is gone (design, "Members")
constexpr Duration kUnverifiedEvery = 100ms;  // hellos that unverified datagrams may start
constexpr double kNotMinePerSecond = 10'000;  // strays sent back
constexpr double kRemovePerSecond = 1'000;    // mappings without a socket
// A larger packet does not travel inside an insert: with the message around it (at most 104 bytes with an ID of IPv6;
// 81 as the entry that brings it to the ingress proxy) it must fit an underlay of 1,500 bytes, for proxies take no
// fragments. A SYN/ACK is always smaller.
constexpr size_t kInsertPacketMax = 1'280;
static_assert(kInsertPacketMax + 104 + kEnvelopeSizeMin + 8 + 40 <= 1'500);
constexpr size_t kClientsMax = 65'536;   // stateless clients remembered
constexpr size_t kFragmentsMax = 4'096;  // datagrams under way in fragments
constexpr size_t kRemovedMax = 4'096;    // mappings without a socket, being removed
constexpr Duration kFragmentsLife = 5s;  // from the first fragment to the last
constexpr uint8_t kDataStream = 0;       // of our envelopes; the last stream is PeerTable's own

std::vector<SessionRule> session_rules(const GroupConfig& g) {
  if (g.rules.empty()) {
    return {{Protocol::tcp, {}, PacketClass::stateful}, {Protocol::udp, {}, PacketClass::stateful}};
  }
  std::vector<SessionRule> out;
  for (const RuleConfig& r : g.rules) {
    SessionRule s;
    s.protocol = r.protocol == ConfigProtocol::tcp   ? Protocol::tcp
                 : r.protocol == ConfigProtocol::udp ? Protocol::udp
                                                     : Protocol::none;
    for (const auto& p : r.ports) s.ports.push_back({p.first, p.last});
    s.packet_class = r.packet_class == ConfigClass::stateful    ? PacketClass::stateful
                     : r.packet_class == ConfigClass::stateless ? PacketClass::stateless
                                                                : PacketClass::none;
    out.push_back(std::move(s));
  }
  return out;
}

View view_of(const AgentConfig& config) {
  std::vector<ViewNode> nodes;
  for (const auto& p : config.proxies) nodes.push_back({p.id, p.zone});
  return View({}, std::move(nodes));
}

// The identification of a fragment, found by its header: in IPv6 behind at most three headers that may stand before it.
uint32_t fragment_identification(Bytes packet, const ParsedPacket& p) {
  Bytes ip = packet.subspan(p.l3_offset);
  if (p.ip_version == 4) return uint32_t(ip[4]) << 8 | ip[5];
  uint8_t next = ip[6];
  size_t at = 40;
  for (int i = 0; i < 4 && at + 8 <= ip.size(); ++i) {
    if (next == 44) {
      Reader r(ip.subspan(at + 4));
      return r.u32();
    }
    next = ip[at];
    at += 8 * (size_t(ip[at + 1]) + 1);
  }
  return 0;
}

// Names a fragmented datagram within its group: addresses, protocol, identification. Not a session ID of any form, only
// its container.
SessionId fragment_name(GroupId group, Bytes packet, const ParsedPacket& p) {
  SessionId id;
  IpAddress from = source_of(packet, p), to = destination_of(packet, p);
  Writer w(id.raw);
  w.u8(0);
  w.u24(group.value);
  w.bytes(from.bytes());
  w.bytes(to.bytes());
  w.u8(p.protocol_number);
  w.u32(fragment_identification(packet, p));
  id.length = static_cast<uint8_t>(w.size());
  return id;
}

}  // namespace

InsertForm insert_form(const AgentConfig& config) {
  switch (config.insert) {
    case ConfigInsertForm::insert: return InsertForm::insert;
    case ConfigInsertForm::insert_and_return: return InsertForm::insert_and_return;
    case ConfigInsertForm::insert_and_forward: break;
  }
  return InsertForm::insert_and_forward;
}

AgentCore::AgentCore(AgentOptions options, Instant now)
    : config_(std::move(options.config)),
      started_at_(now),
      peers_(NodeId::member(config_.id), options.boot, 2, now),
      owner_({.self = config_.id,
              .incarnation = options.incarnation,
              .view = view_of(config_),
              .reachable = [this](ProxyId p) { return is_heard(p, now_); },
              .rtt =
                  [this](ProxyId p) {
                    Duration rtt = peers_.rtt(NodeId::proxy(p));
                    return rtt == Duration::max() ? Duration{} : rtt;
                  },
              .sessions_max = options.sessions_max,
              .waiting_max = config_.insert_queue},
             options.seed),
      sessions_(options.hash_key, options.sessions_max),
      revocations_(options.hash_key),
      now_(now),
      clients_(kClientsMax, options.hash_key),
      fragments_(kFragmentsMax, options.hash_key),
      removed_(kRemovedMax, options.hash_key),
      remove_(kRemovePerSecond),
      not_mine_(kNotMinePerSecond) {
  for (const GroupConfig& g : config_.groups) {
    auto rules = session_rules(g);
    groups_.push_back({&g, rules, SessionRules(rules)});
  }
  for (const ProxyPeerConfig& p : config_.proxies)
    peers_.add(NodeId::proxy(p.id), member_pair_key(options.node_key, p.id), p.address);
  for (const auto& r : options.revocations) revocations_.set(r.id, now + r.remaining, r.name);
}

// --- client to kernel ---

void AgentCore::on_tunnel_datagram(Bytes udp_payload, const Endpoint& from, Instant now) {
  now_ = now;
  counters_.add(AgentCounter::tunnel_rx_datagrams);
  counters_.add(AgentCounter::tunnel_rx_bytes, udp_payload.size());
  Envelope e;
  OpenResult result = peers_.open(udp_payload, e);
  switch (result) {
    case OpenResult::ok: break;
    case OpenResult::hello: return peers_.on_hello(e, from, now);
    case OpenResult::malformed: return counters_.add(AgentCounter::tunnel_drop_malformed);
    case OpenResult::replayed: return counters_.add(AgentCounter::tunnel_drop_replayed);
    case OpenResult::unknown_peer:
    case OpenResult::bad_tag:
      counters_.add(result == OpenResult::bad_tag ? AgentCounter::tunnel_drop_bad_tag
                                                  : AgentCounter::tunnel_drop_unknown_peer);
      if (now >= unverified_at_) {  // a proxy that has restarted, perhaps: a hello will tell
        unverified_at_ = now + kUnverifiedEvery;
        peers_.on_unverified(claimed_sender(udp_payload), from, now);
      }
      return;
  }
  if (!e.sender.is_proxy()) return counters_.add(AgentCounter::tunnel_drop_unknown_peer);
  peers_.heard(e, from, now);
  if (e.kind == PayloadKind::message)
    on_message(e, from, now);
  else
    on_client_packet(e, now);
}

void AgentCore::on_message(const Envelope& e, const Endpoint& from, Instant now) {
  if (peers_.on_path_message(e, from, now)) return;
  if (!owner_.on_message(e.sender, e.payload, now)) counters_.add(AgentCounter::tunnel_drop_bad_message);
}

void AgentCore::on_client_packet(const Envelope& e, Instant now) {
  counters_.add(AgentCounter::client_rx_packets);
  const Group* g = find_group(e.group);
  if (!g) return counters_.add(AgentCounter::client_drop_unknown_group);
  ParsedPacket p;
  if (parse_ip(e.payload, p) != ParseResult::ok || inner_kind(p) != e.kind)
    return counters_.add(AgentCounter::client_drop_malformed);
  if (!g->serves(destination_of(e.payload, p))) return counters_.add(AgentCounter::client_drop_not_to_group);
  if (!has_sockets_) return counters_.add(AgentCounter::client_drop_not_ready);  // what is ours is not known yet
  Bytes packet = e.payload.first(p.l3_length);
  if (p.fragment == Fragment::later) return on_client_fragment(e, *g, packet, p, now);

  Classified c = g->rules.classify(packet, p, g->config->id, Direction::from_client);
  ClientPacket in{e, *g, packet, p, c.id, e.options.ingress.value_or(e.sender.as_proxy())};
  if (revocations_.contains(c.id, now)) return counters_.add(AgentCounter::client_drop_revoked);
  switch (c.packet_class) {
    case PacketClass::none: return counters_.add(AgentCounter::client_drop_class_none);
    case PacketClass::stateless: return to_kernel_stateless(in);
    case PacketClass::bootstrapping:
      if (!p.is_icmp_error()) return on_syn(in, now);
      [[fallthrough]];  // an error about a SYN/ACK is a packet of its session
    case PacketClass::stateful: return on_session_packet(in, now);
  }
}

// A later fragment names no ports: it follows its first one, which has passed the rules of its session.
void AgentCore::on_client_fragment(const Envelope& e, const Group& g, Bytes packet, const ParsedPacket& p,
                                   Instant now) {
  const FirstFragment* first = fragments_.find(fragment_name(g.config->id, packet, p));
  if (!first || now - first->passed > kFragmentsLife) return counters_.add(AgentCounter::client_drop_fragment_alone);
  if (revocations_.contains(first->session, now)) return counters_.add(AgentCounter::client_drop_revoked);
  to_kernel({e, g, packet, p, first->session, first->proxy}, AgentCounter::client_session);
}

void AgentCore::on_syn(const ClientPacket& in, Instant now) {
  MemberSession* s = sessions_.find(in.id);
  if (!s) {
    s = sessions_.create(in.id, SessionPhase::syn);
    if (!s) return counters_.add(AgentCounter::client_drop_sessions_full);
    timers_.after_syn(*s, now);
  }
  note_client_packet(*s, in, now);
  // Of an established or closing session only the kernel can tell whether this SYN is a new life (TIME_WAIT) or gets a
  // challenge ACK. Its answer decides: a SYN/ACK is a new insert, anything else leaves as a packet of the session.
  s->replica_hint = in.envelope.options.replica_hint.value_or(ProxyId{});
  s->forwarded = in.envelope.options.forwarded;
  s->syn_sequence = tcp_segment(in.packet, in.parsed).sequence;
  s->syn.assign(in.packet.begin(), in.packet.end());
  to_kernel(in, AgentCounter::client_bootstrapping);
}

void AgentCore::on_session_packet(const ClientPacket& in, Instant now) {
  MemberSession* s = sessions_.find(in.id);
  if (s && is_tcp(s->phase) && !in.parsed.is_icmp_error()) {
    TcpSegment t = tcp_segment(in.packet, in.parsed);
    if (completes_handshake(*s, t)) establish(*s, now);
    s->in_window |= is_in_window(*s, t);
  }
  bool owned = s && s->phase != SessionPhase::syn && (s->phase != SessionPhase::half_open || s->held);
  if (!owned) {
    if (in.envelope.options.admitted && in.parsed.protocol == Protocol::udp && !in.parsed.is_icmp_error())
      return admit(in, now);
    if (in.group.config->unknown != UnknownSession::stateless) return stray(in, now);
    // The proxies hand us what no mapping exists for. A TCP packet of that kind would only draw a reset, and `not mine`
    // would come back to us at once.
    if (in.parsed.protocol == Protocol::tcp) return counters_.add(AgentCounter::client_drop_unknown_tcp);
    return to_kernel_stateless(in);
  }
  note_client_packet(*s, in, now);
  if (!is_tcp(s->phase)) s->in_window = true;
  if (s->phase == SessionPhase::udp) timers_.after_udp_packet(*s, in.group.config->udp_idle, now);
  to_kernel(in, AgentCounter::client_session);
}

// Takes a UDP session: the ingress proxy gets a lease from us at once, the directory hears of it with the first reply.
// The lease rides with the client's own packet, which tells the proxy what session it is about.
void AgentCore::admit(const ClientPacket& in, Instant now) {
  MemberSession* s = sessions_.create(in.id, SessionPhase::udp_new);
  if (!s) return counters_.add(AgentCounter::client_drop_sessions_full);
  counters_.add(AgentCounter::session_admitted);
  note_client_packet(*s, in, now);
  s->in_window = true;
  s->replica_hint = in.envelope.options.replica_hint.value_or(ProxyId{});
  timers_.after_admit(*s, now);

  const GroupConfig& g = *in.group.config;
  EnvelopeOptions options;
  options.lease = LeaseInstruction{
      .version = {.term = 0, .incarnation = incarnation(), .counter = 0},  // older than any entry of its insert
      .lease_ms = static_cast<uint32_t>(to_ms(std::min<Duration>(g.lease.time, 10s))),
      .lease_bytes = std::min(g.lease.bytes.value, g.session_bytes.value),
      .echo = peers_.newest_stamp(NodeId::proxy(in.ingress))};
  to_proxy(in.ingress, g.id, inner_kind(in.parsed), options, in.packet, now);
  to_kernel(in, AgentCounter::client_bootstrapping);
}

// Not ours, so not the kernel's either. The proxy that believed otherwise drops its entry and asks the directory; the
// packet goes back with the news, so that it is not lost. One that comes `forwarded` has been there: the directory says
// that the session is ours.
void AgentCore::stray(const ClientPacket& in, Instant now) {
  if (in.envelope.options.forwarded) {
    counters_.add(AgentCounter::client_stray_forwarded);
    return remove_unknown(in.id, now);
  }
  if (!not_mine_.take(now)) return counters_.add(AgentCounter::client_stray_limited);
  EnvelopeOptions options;
  options.not_mine = Version{};  // nothing is known of it here
  counters_.add(AgentCounter::client_stray_not_mine);
  to_proxy(in.envelope.sender.as_proxy(), in.group.config->id, inner_kind(in.parsed), options, in.packet, now);
}

void AgentCore::to_kernel_stateless(const ClientPacket& in) {
  clients_.put(source_of(in.packet, in.parsed), in.ingress);
  to_kernel(in, AgentCounter::client_stateless);
}

void AgentCore::to_kernel(const ClientPacket& in, AgentCounter why) {
  MutableBytes room = outputs_.open(in.packet.size());
  if (room.empty()) return counters_.add(AgentCounter::tunnel_tx_drop_no_room);
  std::memcpy(room.data(), in.packet.data(), in.packet.size());
  outputs_.close(AgentOutput::Kind::to_kernel, in.packet.size());
  counters_.add(why);
  counters_.add(AgentCounter::client_kernel_bytes, in.packet.size());
  if (in.parsed.fragment == Fragment::first)
    fragments_.put(fragment_name(in.group.config->id, in.packet, in.parsed), {in.ingress, in.id, now_});
}

void AgentCore::note_client_packet(MemberSession& s, const ClientPacket& in, Instant now) {
  s.proxy = in.ingress;
  s.last_packet = now;
  s.packets += 1;
  s.bytes += in.packet.size();
}

// --- kernel to client ---

void AgentCore::on_tun_packet(Bytes bytes, Instant now) {
  now_ = now;
  counters_.add(AgentCounter::reply_rx_packets);
  counters_.add(AgentCounter::reply_rx_bytes, bytes.size());
  ParsedPacket p;
  if (parse_ip(bytes, p) != ParseResult::ok) return counters_.add(AgentCounter::reply_drop_malformed);
  const Group* g = find_group(source_of(bytes, p));
  if (!g) return counters_.add(AgentCounter::reply_drop_not_from_group);
  Bytes packet = bytes.first(p.l3_length);
  if (p.fragment == Fragment::later) return on_kernel_fragment(*g, packet, p, now);

  Classified c = g->rules.classify(packet, p, g->config->id, Direction::from_member);
  KernelPacket out{*g, packet, p, c.id};
  if (revocations_.contains(c.id, now)) return counters_.add(AgentCounter::reply_drop_revoked);
  if (c.packet_class == PacketClass::none) return counters_.add(AgentCounter::reply_drop_class_none);
  if (c.packet_class == PacketClass::stateless) return on_kernel_stateless(out, now);
  if (p.is_icmp_error()) return on_kernel_icmp(out, now);
  if (p.protocol == Protocol::tcp) return on_kernel_tcp(out, now);
  on_kernel_udp(out, now);
}

void AgentCore::on_kernel_fragment(const Group& g, Bytes packet, const ParsedPacket& p, Instant now) {
  const FirstFragment* first = fragments_.find(fragment_name(g.config->id, packet, p));
  if (!first || now - first->passed > kFragmentsLife) return counters_.add(AgentCounter::reply_drop_fragment_alone);
  if (revocations_.contains(first->session, now)) return counters_.add(AgentCounter::reply_drop_revoked);
  reply({g, packet, p, first->session}, first->proxy, now);
}

void AgentCore::on_kernel_tcp(const KernelPacket& out, Instant now) {
  TcpSegment t = tcp_segment(out.packet, out.parsed);
  if (t.syn() && t.ack()) return on_syn_ack(out, t, now);
  MemberSession* s = sessions_.find(out.id);
  if (s && is_reset_of_syn(*s, t)) {  // a closed port: nothing was promised to anyone
    counters_.add(AgentCounter::reply_reset_bootstrapping);
    reply(out, s->proxy, now);
    return sessions_.erase(out.id);
  }
  if (!s || s->phase == SessionPhase::syn)
    return counters_.add(t.rst() ? AgentCounter::reply_drop_reset_unowned : AgentCounter::reply_drop_unowned);
  if (s->phase == SessionPhase::half_open && !s->held)
    return counters_.add(t.rst() ? AgentCounter::reply_drop_reset_unowned : AgentCounter::reply_drop_not_held);
  note_kernel_tcp(*s, t);
  reply(out, s->proxy, now);
}

// The mapping goes to the replicas, as a rule with the SYN/ACK inside (insert_form), which is released once W of them
// hold it. A retransmission of the kernel does the same again, which renews the mapping.
void AgentCore::on_syn_ack(const KernelPacket& out, const TcpSegment& t, Instant now) {
  MemberSession* s = sessions_.find(out.id);
  if (!s) s = sessions_.create(out.id, SessionPhase::half_open);  // its handshake was forgotten here, not in the kernel
  if (!s) return counters_.add(AgentCounter::client_drop_sessions_full);
  bool again = s->phase != SessionPhase::syn && s->syn_ack_sequence == t.sequence;
  if (!again) {
    s->held = false;
    s->kernel_seen = false;
  }
  sessions_.set_phase(*s, SessionPhase::half_open);
  s->syn_ack_sequence = t.sequence;
  note_kernel_tcp(*s, t);
  timers_.after_syn_ack(*s, now);
  counters_.add(AgentCounter::reply_insert);
  owner_.insert({.id = out.id,
                 .established = false,
                 .born_new = true,
                 .ingress = exit_for(s->proxy, now),
                 .replica_hint = s->replica_hint,
                 .packet = out.packet,
                 .form = insert_form(config_),
                 .bucket_bytes = out.group.config->session_bytes.value},
                now);
}

void AgentCore::on_kernel_udp(const KernelPacket& out, Instant now) {
  MemberSession* s = sessions_.find(out.id);
  if (!s) return counters_.add(AgentCounter::reply_drop_unowned);
  if (s->phase == SessionPhase::udp_new && out.parsed.fragment == Fragment::none) {
    if (out.packet.size() <= kInsertPacketMax) {
      counters_.add(AgentCounter::reply_insert);
      return insert_udp(*s, out.packet, now);
    }
    // It leaves beside its insert, as later replies do: the ingress proxy has its lease from us.
    counters_.add(AgentCounter::reply_beside_insert);
    insert_udp(*s, {}, now);
  }
  s->last_packet = now;
  if (s->phase == SessionPhase::udp) timers_.after_udp_packet(*s, out.group.config->udp_idle, now);
  reply(out, s->proxy, now);
}

void AgentCore::on_kernel_icmp(const KernelPacket& out, Instant now) {
  MemberSession* s = sessions_.find(out.id);
  bool owned = s && s->phase != SessionPhase::syn && (s->phase != SessionPhase::half_open || s->held);
  if (!owned) return counters_.add(AgentCounter::reply_drop_icmp_unowned);
  reply(out, s->proxy, now);
  if (s->phase == SessionPhase::udp_new) sessions_.erase(out.id);  // no program listens: nothing to insert
}

void AgentCore::on_kernel_stateless(const KernelPacket& out, Instant now) {
  const ProxyId* proxy = clients_.find(destination_of(out.packet, out.parsed));
  reply(out, proxy ? *proxy : ProxyId{}, now);
}

void AgentCore::reply(const KernelPacket& out, ProxyId proxy, Instant now) {
  ProxyId exit = exit_for(proxy, now);
  if (exit != proxy && proxy.value != 0) counters_.add(AgentCounter::reply_other_proxy);
  if (!to_proxy(exit, out.group.config->id, inner_kind(out.parsed), {}, out.packet, now)) return;
  counters_.add(AgentCounter::reply_tx_packets);
  if (out.parsed.fragment == Fragment::first)
    fragments_.put(fragment_name(out.group.config->id, out.packet, out.parsed), {exit, out.id, now});
}

// --- proxies ---

bool AgentCore::is_heard(ProxyId p, Instant now) const {
  Instant heard = peers_.last_heard(NodeId::proxy(p));
  return heard != Instant{} && now - heard <= kHeardWithin && peers_.ready(NodeId::proxy(p));
}

// The proxy itself while it is heard; else the nearest that is.
ProxyId AgentCore::exit_for(ProxyId preferred, Instant now) {
  if (preferred.value != 0 && is_heard(preferred, now)) return preferred;
  ProxyId best = preferred;
  Duration best_rtt = Duration::max();
  bool found = false;
  for (const ProxyPeerConfig& p : config_.proxies) {
    if (!is_heard(p.id, now)) continue;
    Duration rtt = peers_.rtt(NodeId::proxy(p.id));
    if (found && rtt >= best_rtt) continue;
    found = true;
    best = p.id;
    best_rtt = rtt;
  }
  return best;
}

bool AgentCore::to_proxy(ProxyId p, GroupId group, PayloadKind kind, const EnvelopeOptions& options, Bytes payload,
                         Instant now) {
  NodeId to = NodeId::proxy(p);
  std::optional<Endpoint> at = peers_.endpoint(to);
  if (!at) {
    counters_.add(AgentCounter::tunnel_tx_drop_no_keys);
    return false;
  }
  size_t header = kEnvelopeSizeMin + options_size(options);
  MutableBytes room = outputs_.open(header + payload.size());
  if (room.empty()) {
    counters_.add(AgentCounter::tunnel_tx_drop_no_room);
    return false;
  }
  std::memcpy(room.data() + header, payload.data(), payload.size());
  if (peers_.seal(to, kDataStream, group, kind, options, peers_.timestamp_us(now), room.subspan(header),
                  room.first(header)) != header) {
    counters_.add(AgentCounter::tunnel_tx_drop_no_keys);
    return false;
  }
  outputs_.close(AgentOutput::Kind::to_proxy, room.size(), *at);
  counters_.add(AgentCounter::tunnel_tx_datagrams);
  counters_.add(AgentCounter::tunnel_tx_bytes, room.size());
  return true;
}

// --- groups ---

bool AgentCore::Group::serves(const IpAddress& a) const {
  return std::any_of(config->addresses.begin(), config->addresses.end(),
                     [&](const Prefix& p) { return p.contains(a); });
}

bool AgentCore::Group::is_stateful(Protocol protocol, Port port) const {
  for (const SessionRule& r : rule_list) {
    if (r.protocol != Protocol::none && r.protocol != protocol) continue;
    bool match = r.ports.empty() || std::any_of(r.ports.begin(), r.ports.end(), [&](const PortRange& range) {
                   return port.value >= range.first && port.value <= range.last;
                 });
    if (match) return r.packet_class == PacketClass::stateful;
  }
  return false;
}

const AgentCore::Group* AgentCore::find_group(GroupId id) const {
  auto at = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) { return g.config->id == id; });
  return at == groups_.end() ? nullptr : &*at;
}

const AgentCore::Group* AgentCore::find_group(const IpAddress& address) const {
  const Group* best = nullptr;
  int longest = -1;
  for (const Group& g : groups_) {
    for (const Prefix& p : g.config->addresses) {
      if (!p.contains(address) || p.length <= longest) continue;
      best = &g;
      longest = p.length;
    }
  }
  return best;
}

PayloadKind AgentCore::inner_kind(const ParsedPacket& p) const {
  return p.ip_version == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
}

}  // namespace statecast
