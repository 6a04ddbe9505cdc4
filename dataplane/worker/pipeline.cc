// SPDX-License-Identifier: BSD-3-Clause
// The steps stand in the order in which a packet meets them. Opening envelopes is in return_path.cc, writing outer
// headers in outer.cc, answers that the proxy makes itself in answers.cc.
#include "dataplane/worker/pipeline.h"

#include <rte_ether.h>

#include <bit>
#include <cstring>

#include "base/uninitialized.h"
#include "dataplane/envelope/frame_burst.h"
#include "dataplane/packet/icmp.h"
#include "dataplane/packet/neighbour.h"
#include "dataplane/packet/parse_burst.h"
#include "dataplane/worker/answers.h"
#include "dataplane/worker/client_links.h"
#include "dataplane/worker/outer.h"
#include "dataplane/worker/selection.h"

namespace statecast {

namespace {

constexpr double kEchoesPerSecond = 1000;
constexpr double kTooBigPerSecond = 1000;
// Not shared out among the workers: these frames carry nothing that a port spreads over its queues by. Well below what
// the mailbox to the control thread takes (4,096 notes), so that misses and messages keep their room.
constexpr double kNeighboursPerSecond = 1000;
constexpr double kUnverifiedPerSecond = 10;  // enough to notice a peer's restart, cheap under a flood

Counter parse_counter(ParseResult r) {
  switch (r) {
    case ParseResult::ok:
    case ParseResult::not_ip:
    case ParseResult::bad_l4_checksum: break;  // the latter only where ParseChecks asks; the packet path does not
    case ParseResult::truncated_l2: return Counter::parse_drop_truncated_l2;
    case ParseResult::truncated_l3: return Counter::parse_drop_truncated_l3;
    case ParseResult::bad_ip_version: return Counter::parse_drop_bad_ip_version;
    case ParseResult::bad_ip_header_length: return Counter::parse_drop_bad_ip_header_length;
    case ParseResult::bad_ip_checksum: return Counter::parse_drop_bad_ip_checksum;
    case ParseResult::bad_ip_length: return Counter::parse_drop_bad_ip_length;
    case ParseResult::bad_extension_header: return Counter::parse_drop_bad_extension_header;
    case ParseResult::bad_fragment: return Counter::parse_drop_bad_fragment;
    case ParseResult::truncated_l4: return Counter::parse_drop_truncated_l4;
    case ParseResult::bad_l4_length: return Counter::parse_drop_bad_l4_length;
    case ParseResult::bad_l4_flags: return Counter::parse_drop_bad_l4_flags;
    case ParseResult::bad_port: return Counter::parse_drop_bad_port;
    case ParseResult::bad_address: return Counter::parse_drop_bad_address;
    case ParseResult::unsupported_protocol: return Counter::parse_drop_unsupported_protocol;
  }
  return Counter::parse_drop_unknown_ethertype;
}

}  // namespace

const char* to_string(Verdict v) {
  switch (v) {
    case Verdict::pending: return "pending";
    case Verdict::forward: return "forward";
    case Verdict::to_client: return "to_client";
    case Verdict::to_kernel: return "to_kernel";
    case Verdict::to_control: return "to_control";
    case Verdict::hold: return "hold";
    case Verdict::drop: return "drop";
    case Verdict::handed_to_unit: return "handed_to_unit";
  }
  return "?";
}

PipelineState::PipelineState(const Layout& layout, unsigned workers)
    : lines(layout),
      echo(kEchoesPerSecond / workers),
      too_big(kTooBigPerSecond / workers),
      neighbours(kNeighboursPerSecond),
      unverified_rate(kUnverifiedPerSecond) {
  admission.reserve(layout.groups.size());
  for (const Group& g : layout.groups) admission.emplace_back(static_cast<double>(g.admit_per_second) / workers);
}

namespace {

void lap(const PipelineState& state, Stage stage) {
  if (state.stages) state.stages->lap(stage);
}

}  // namespace

void run_pipeline(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  run_front(b, s, state, now);
  run_back(b, s, state, now);
}

void run_front(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  if (state.stages) state.stages->start();
  parse_packets(b);  // 1
  lap(state, Stage::parse);
  find_groups(b, s);  // 2
  limit_neighbours(b, state, now);
  answer_echo(b, state, now);
  lap(state, Stage::group);
  open_envelopes(b, s, state, now);  //    the way back joins here
  lap(state, Stage::open);
  classify(b, s, state);  // 4
  lap(state, Stage::classify);
  identify(b, s, state, now);  // 5
  lap(state, Stage::identify);
}

void run_back(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  if (state.stages) state.stages->start();
  resolve(b, s, state, now);  // 6
  lap(state, Stage::resolve);
  encapsulate(b, s, state, now);  // 7
  lap(state, Stage::encapsulate);
  deliver(b, s);
  lap(state, Stage::deliver);
}

void rerun_pipeline(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  for (unsigned i = 0; i < b.count; ++i) {
    // It parsed when it was taken in, and nobody has touched it since.
    parse_ip(b.frame(i), b.parsed[i]);
    b.fragments |= b.parsed[i].fragment != Fragment::none;
    b.set_way(i, Way::client);
    b.reresolved[i] = true;
    b.group[i] = s.layout->group_table.find(destination_of(b.frame(i), b.parsed[i]));
    if (b.group[i] == kNoGroup) b.decide(i, Verdict::to_kernel, Counter::group_kernel_not_ours);
  }
  classify(b, s, state);
  identify(b, s, state, now);
  resolve(b, s, state, now);
  encapsulate(b, s, state, now);
  deliver(b, s);
}

void parse_packets(Burst& b) {
  const uint8_t* frames[kBurstMax];
  uint16_t lengths[kBurstMax];
  for (unsigned i = 0; i < b.count; ++i) {
    frames[i] = b.data(i);
    rte_prefetch0(frames[i]);
  }
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.packet[i]->nb_segs > 1) [[unlikely]] {
      if (rte_pktmbuf_linearize(b.packet[i]) != 0) b.drop(i, Counter::parse_drop_no_memory);
      frames[i] = b.data(i);
    }
    lengths[i] = b.packet[i]->data_len;
  }
  const uint32_t plain = parse_plain_burst(frames, lengths, b.count, b.parsed);
  const auto all = static_cast<uint32_t>((uint64_t(1) << b.count) - 1);
  for (uint32_t others = all & ~plain; others != 0; others &= others - 1) {
    const auto i = static_cast<unsigned>(std::countr_zero(others));
    if (!b.pending(i)) continue;
    ParseResult r = parse_frame_carefully(b.frame(i), b.parsed[i]);
    b.fragments |= b.parsed[i].fragment != Fragment::none;
    if (r == ParseResult::ok || r == ParseResult::unsupported_protocol) continue;  // the latter may be the kernel's
    bool neighbour = r == ParseResult::not_ip ? b.parsed[i].ethertype == kEthertypeArp
                                              : r == ParseResult::bad_address && is_neighbour_solicitation(b.parsed[i]);
    if (neighbour) {  // the latter from ::, while the asker looks whether its address is free
      b.decide(i, Verdict::to_control, Counter::group_control_neighbour);
    } else {
      b.drop(i, parse_counter(r));
    }
  }
}

namespace {

// A port in promiscuous mode (net_af_packet's always is) also shows what a switch floods to everybody. What this proxy
// takes for itself must be addressed to the port; only neighbour frames, and what is left to the kernel, may go to a
// group of stations.
// Addresses are compared as words of eight bytes; the two bytes more are shifted out.
uint64_t station_of(const MacAddress& mac) {
  uint64_t word = 0;
  std::memcpy(&word, mac.raw.data(), 6);
  return word;
}
bool is_for_station(const uint8_t* frame, uint64_t station) {
  uint64_t destination;
  std::memcpy(&destination, frame, sizeof destination);
  return ((destination ^ station) << 16) == 0;
}
bool is_for_many(const uint8_t* frame) {
  return (frame[0] & 1) != 0;
}

// Whose a packet is that is neither TCP nor UDP to a group.
void find_way(Burst& b, unsigned i, const Layout& layout, const PortLayout* port) {
  const ParsedPacket& p = b.parsed[i];
  const IpAddress& own = layout.underlay.address;
  if (p.protocol == Protocol::udp && p.destination_port == layout.underlay.port.value && !p.is_icmp_error() &&
      p.fragment == Fragment::none && p.ip_version == uint8_t(own.family) && b.group[i] == kNoGroup &&
      std::memcmp(b.data(i) + p.l3_offset + (own.is_v4() ? 16 : 24), own.raw.data(), own.size()) == 0) {
    b.set_way(i, Way::envelope);
    if (port && !port->underlay) b.drop(i, Counter::group_drop_wrong_port);
    return;
  }
  const bool icmp = p.protocol == Protocol::icmp || p.protocol == Protocol::icmp6, echo = is_echo_request(p);
  if (b.group[i] != kNoGroup) {
    if (port && !port->anycast) return b.drop(i, Counter::group_drop_wrong_port);
    if (p.protocol == Protocol::none) return b.drop(i, Counter::parse_drop_unsupported_protocol);
    if (icmp && !echo) return b.drop(i, Counter::group_drop_icmp);
    b.set_way(i, Way::echo);
    return;
  }
  const IpAddress to = destination_of(b.frame(i), p);
  if (is_neighbour_solicitation(p) || is_neighbour_advertisement(p)) {
    b.decide(i, Verdict::to_control, Counter::group_control_neighbour);
  } else if (echo && port && port->answer_neighbours && layout.is_own(to)) {
    b.set_way(i, Way::echo);
  } else {
    b.decide(i, Verdict::to_kernel, Counter::group_kernel_not_ours);
  }
}

}  // namespace

void find_groups(Burst& b, const Snapshot& s) {
  const Layout& layout = *s.layout;
  const GroupTable& table = layout.group_table;
  const Group* groups = layout.groups.data();
  uint16_t of = kNoPort;
  const PortLayout* port = nullptr;  // offline there are no ports, and every way in is allowed
  uint64_t station = 0;
  // In a loop of its own, so that of many groups the entries of several packets are waited for at once.
  for (unsigned i = 0; i < b.count; ++i) {
    if (!b.pending(i)) continue;
    const ParsedPacket& p = b.parsed[i];
    const uint8_t* ip = b.data(i) + p.l3_offset;
    b.group[i] = p.ip_version == 4 ? table.find_v4(ip + 16) : table.find_v6(ip + 24);
  }
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.verdict[i] == Verdict::drop) continue;  // else at least the Ethernet header is there
    if (b.port[i] != of) {
      of = b.port[i];
      port = of < layout.ports.size() ? &layout.ports[of] : nullptr;
      if (port) station = station_of(port->mac);
    }
    const uint8_t* frame = b.data(i);
    const bool to_station = !port || is_for_station(frame, station);
    if (!to_station && !is_for_many(frame)) b.drop(i, Counter::group_drop_not_for_us);
    if (!b.pending(i)) continue;
    const ParsedPacket& p = b.parsed[i];
    const uint32_t group = b.group[i];
    if (group != kNoGroup) __builtin_prefetch(&groups[group]);
    if (group != kNoGroup && (p.protocol == Protocol::tcp || p.protocol == Protocol::udp)) [[likely]] {
      // What nearly all are; an ICMP error stands for the session that it quotes.
      b.way[i] = Way::client;
      if (port && !port->anycast) b.drop(i, Counter::group_drop_wrong_port);
    } else {
      find_way(b, i, layout, port);
    }
    if (!to_station && b.pending(i)) b.drop(i, Counter::group_drop_not_for_us);
  }
  b.ways |= 1u << unsigned(Way::client);
}

void limit_neighbours(Burst& b, PipelineState& state, Instant now) {
  if (!b.has(Verdict::to_control)) return;
  constexpr size_t kHopLimit = 7;  // place in the IPv6 header
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.verdict[i] != Verdict::to_control || b.reason[i] != Counter::group_control_neighbour) continue;
    const ParsedPacket& p = b.parsed[i];
    if (p.ip_version == 6 && b.frame(i)[p.l3_offset + kHopLimit] != 255) {
      b.drop(i, Counter::group_drop_neighbour_hop_limit);
    } else if (!state.neighbours.take(now)) {
      b.drop(i, Counter::group_drop_neighbour_rate);
    }
  }
}

void classify(Burst& b, const Snapshot& s, const PipelineState& state) {
  const Group* groups = s.layout->groups.data();
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.way[i] == Way::client && b.pending(i)) {
      if (b.parsed[i].fragment == Fragment::later) continue;  // has no ports: identify
      const Group& g = groups[b.group[i]];
      b.packet_class[i] = g.rules.classify(b.frame(i), b.parsed[i], g.id, Direction::from_client, b.id[i]);
      if (b.packet_class[i] == PacketClass::none) b.drop(i, Counter::classify_drop_no_rule);
    } else if (b.way[i] == Way::member && b.verdict[i] == Verdict::to_client &&
               (state.watch_negatives || b.with_lease[i])) {
      const Group& g = s.layout->groups[b.group[i]];
      g.rules.classify(b.frame(i), b.parsed[i], g.id, Direction::from_member, b.id[i]);
    }
  }
}

void identify(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  const SessionId* ids[kBurstMax];
  const GroupSecret* secrets[kBurstMax];
  unsigned index[kBurstMax];
  Uninitialized<SessionKey, kBurstMax> keys;
  unsigned n = 0;
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.id[i].length == 0 || b.verdict[i] == Verdict::drop || b.packet_class[i] == PacketClass::stateless) continue;
    ids[n] = &b.id[i];
    secrets[n] = &s.layout->groups[b.group[i]].secret;
    index[n++] = i;
  }
  if (n == b.count) [[likely]] {
    session_keys(ids, secrets, b.key, n);
    state.cache->prefetch(b.key, n);
    std::memset(b.has_key, true, n);
  } else if (n != 0) {
    session_keys(ids, secrets, keys.at, n);
    state.cache->prefetch(keys.at, n);
    for (unsigned k = 0; k < n; ++k) {
      b.key[index[k]] = keys.at[k];
      b.has_key[index[k]] = true;
    }
  }
  if (!b.fragments) return;
  // In the burst's order, so that a first fragment teaches those right behind it.
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.way[i] != Way::client || !b.pending(i) || b.parsed[i].fragment == Fragment::none) continue;
    FragmentKey f = fragment_key(b.frame(i), b.parsed[i]);
    if (b.parsed[i].fragment == Fragment::first) {
      state.fragments.learn(f, b.id[i], b.key[i], b.packet_class[i], now);
    } else if (const auto* known = state.fragments.find(f, now)) {
      b.id[i] = known->session;
      b.key[i] = known->key;
      b.packet_class[i] = known->packet_class;
      b.has_key[i] = known->packet_class != PacketClass::stateless;
    } else {
      b.drop(i, Counter::identify_drop_fragment_elsewhere);
    }
  }
}

namespace {

void select(Burst& b, unsigned i, const Snapshot& s, uint64_t hash, Counter why) {
  const GroupMember* m = select_member(s.layout->groups[b.group[i]], s.peers, hash);
  if (!m) return b.drop(i, Counter::resolve_drop_no_member);
  b.member[i] = m->id;
  b.decide(i, Verdict::forward, why);
}

void select_stateless(Burst& b, unsigned i, const Snapshot& s) {
  // An ICMP error belongs to the session that it quotes: the client is then the quote's destination.
  IpAddress client = source_of(b.frame(i), b.parsed[i]);
  if (b.parsed[i].is_icmp_error()) {
    if (auto tuple = session_tuple(b.id[i])) client = tuple->client.address;
  }
  select(b, i, s, source_hash(s.layout->groups[b.group[i]], client), Counter::resolve_forward_stateless);
}

// What the group's rules call stateless has no session, so there is nothing to ask or to lease. A packet that a member
// handed back goes on marked `forwarded`, or two members could pass it to and fro.
void resolve_stateless(Burst& b, unsigned i, const Snapshot& s) {
  if (b.with_lease[i]) return b.drop(i, Counter::open_drop_lease_stateless);
  b.forwarded[i] = b.forwarded[i] || b.not_mine[i] || b.hand_to[i].value != 0;
  if (b.hand_to[i].value == 0) return select_stateless(b, i, s);
  b.member[i] = b.hand_to[i];
  b.decide(i, Verdict::forward, Counter::resolve_forward_handed_over);
}

// The group's answer to a session that the directory confirmed not to know.
void answer_unknown(Burst& b, unsigned i, const Snapshot& s, PipelineState& state, Instant now) {
  switch (s.layout->groups[b.group[i]].unknown) {
    case UnknownAnswer::drop: return b.drop(i, Counter::resolve_drop_unknown_session);
    case UnknownAnswer::stateless: return select_stateless(b, i, s);
    case UnknownAnswer::admit: break;
  }
  if (!state.admission[b.group[i]].take(now)) return b.drop(i, Counter::resolve_drop_admit_rate);
  b.packet_class[i] = PacketClass::bootstrapping;
  b.admitted[i] = true;
  select(b, i, s, b.key[i].low, Counter::resolve_forward_admitted);
}

void note_ask(Burst& b, unsigned i, const CacheHit& hit) {
  if (!hit.ask_again) [[likely]]
    return;
  b.ask[i] = true;
  b.tell_control(i);
}

void resolve_one(Burst& b, unsigned i, const CacheHit& hit, const Snapshot& s, PipelineState& state, Instant now) {
  note_ask(b, i, hit);
  if (b.with_lease[i]) return b.decide(i, Verdict::to_control, Counter::open_control_lease);
  // A packet that a member handed back has spent its bytes already; all that can stop it is a revocation.
  if (b.hand_to[i].value != 0 || b.not_mine[i]) {
    if (hit.verdict == CacheVerdict::drop) return b.drop(i, Counter::resolve_drop_revoked);
    if (b.hand_to[i].value == 0) return b.decide(i, Verdict::hold, Counter::resolve_hold_not_mine);
    b.member[i] = b.hand_to[i];
    b.forwarded[i] = true;
    return b.decide(i, Verdict::forward, Counter::resolve_forward_handed_over);
  }
  bool bootstrapping = b.packet_class[i] == PacketClass::bootstrapping;
  switch (hit.verdict) {
    case CacheVerdict::forward:
      b.member[i] = hit.member;
      return b.decide(i, Verdict::forward, Counter::resolve_forward_cache_hit);
    case CacheVerdict::stateless: return select_stateless(b, i, s);
    case CacheVerdict::drop: return b.drop(i, Counter::resolve_drop_revoked);
    case CacheVerdict::spent:
      // Time to see whether it was refreshed: the packet waits for the answer, since a sender that has backed off sends
      // its next one late.
      if (hit.ask_again && !b.reresolved[i] && !bootstrapping)
        return b.decide(i, Verdict::hold, Counter::resolve_hold_query);
      return b.drop(i, Counter::resolve_drop_spent);
    case CacheVerdict::unavailable:
      if (bootstrapping) break;
      return b.drop(i, Counter::resolve_drop_unavailable);
    case CacheVerdict::negative:
      if (bootstrapping) break;
      return answer_unknown(b, i, s, state, now);
    case CacheVerdict::miss:
    case CacheVerdict::expired:
      if (bootstrapping) break;
      if (b.reresolved[i]) return b.drop(i, Counter::resolve_drop_miss_timeout);
      if (state.gate && !state.gate->passes(b.key[i], b.group[i], source_of(b.frame(i), b.parsed[i]), now)) {
        return b.drop(i, Counter::resolve_drop_absent);
      }
      return b.decide(i, Verdict::hold, Counter::resolve_hold_query);
  }
  select(b, i, s, b.key[i].low, Counter::resolve_forward_selected);
}

}  // namespace

void resolve(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  Uninitialized<SessionKey, kBurstMax> keys;
  Uninitialized<CacheHit, kBurstMax> hits;
  uint32_t bytes[kBurstMax];
  unsigned index[kBurstMax];
  unsigned n = 0;
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.way[i] == Way::client && b.pending(i)) {
      if (b.packet_class[i] == PacketClass::stateless) resolve_stateless(b, i, s);
      if (b.pending(i) && !b.has_key[i]) b.drop(i, Counter::classify_drop_no_rule);
      if (!b.pending(i)) continue;
    } else if (b.way[i] == Way::client || !b.has_key[i]) {
      continue;
    }
    const bool pays = b.way[i] == Way::client && !b.is_special(i);
    bytes[n] = pays ? b.parsed[i].l3_length : 0;  // 0: a look that spends nothing
    index[n++] = i;
  }
  if (n == 0) return;
  if (n != b.count)
    for (unsigned k = 0; k < n; ++k) keys.at[k] = b.key[index[k]];
  state.cache->lookup(n == b.count ? b.key : keys.at, bytes, n, now, hits.at);
  if (state.gate) [[unlikely]] {
    for (unsigned k = 0; k < n; ++k) {
      const unsigned i = index[k];
      if (b.way[i] != Way::client || hits.at[k].verdict != CacheVerdict::forward) continue;
      state.gate->see_proven(source_of(b.frame(i), b.parsed[i]), now);
    }
  }
  for (unsigned k = 0; k < n; ++k) {
    unsigned i = index[k];
    if (b.way[i] == Way::member) {
      if (hits.at[k].verdict == CacheVerdict::negative) {
        b.forget_negative[i] = true;
        b.tell_control(i);
      }
    } else if (hits.at[k].verdict == CacheVerdict::forward && !b.is_special(i)) [[likely]] {
      note_ask(b, i, hits.at[k]);
      b.member[i] = hits.at[k].member;
      b.decide(i, Verdict::forward, Counter::resolve_forward_cache_hit);
    } else {
      resolve_one(b, i, hits.at[k], s, state, now);
    }
  }
}

namespace {

// What the envelope of packet i has to say. Nothing, as a rule.
bool has_options(const Burst& b, unsigned i) {
  return b.admitted[i] || b.forwarded[i] || b.packet_class[i] == PacketClass::bootstrapping;
}
PayloadKind kind_of(const Burst& b, unsigned i) {
  return b.parsed[i].ip_version == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
}
EnvelopeOptions options_of(const Burst& b, unsigned i, const Layout& layout) {
  EnvelopeOptions options;
  options.admitted = b.admitted[i];
  options.forwarded = b.forwarded[i];
  if (b.packet_class[i] == PacketClass::bootstrapping && b.has_key[i] && !layout.replica_hint.empty()) {
    options.replica_hint = layout.replica_hint[b.key[i].slot().value];
  }
  return options;
}

}  // namespace

void encapsulate(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  if (!state.peers || !b.has(Verdict::forward)) return;
  const Layout& layout = *s.layout;
  const size_t mtu = layout.inner_mtu(), outer = outer_size(layout.underlay.address.family);
  const bool v4 = layout.underlay.address.is_v4();
  const uint64_t timestamp_us = state.peers->timestamp_us(now);
  uint32_t peer[kBurstMax];
  state.lines.find(b, layout, peer);

  // As a rule the envelope has nothing more to say, and the frame is like all others.
  FrameBurst frames(*state.peers, state.stream, timestamp_us);
  unsigned others[kBurstMax], other_count = 0;
  uint64_t sequence[kBurstMax];
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.verdict[i] != Verdict::forward) continue;
    const size_t length = b.parsed[i].l3_length;
    rte_mbuf* m = b.packet[i];
    const size_t inner_at = m->data_off + size_t(b.parsed[i].l3_offset);
    if (length > mtu) [[unlikely]] {
      bare(b, i);
      answer_too_big(b, i, mtu, state, now);
      continue;
    }
    SendLine& line = state.lines.of(peer[i]);
    if (!line.usable(s.generation)) [[unlikely]] {
      const Counter why = state.lines.renew(peer[i], s, *state.peers, state.stream);
      if (why != Counter::count) {
        b.drop(i, why);
        continue;
      }
    }
    sequence[i] = line.keys.take();
    if (!v4 || has_options(b, i) || inner_at < FrameBurst::kBefore) [[unlikely]] {
      others[other_count++] = i;
      continue;
    }
    frames.add(line.keys, sequence[i], layout.groups[b.group[i]].id, kind_of(b, i), length,
               static_cast<uint8_t*>(m->buf_addr) + inner_at, state.lines.outer(line), line.receiver);
    m->data_off = static_cast<uint16_t>(inner_at - FrameBurst::kBefore);
    m->data_len = static_cast<uint16_t>(length + FrameBurst::kBefore);
    m->pkt_len = static_cast<uint32_t>(length + FrameBurst::kBefore);
    b.port[i] = line.port;
  }
  frames.finish();
  if (other_count == 0) [[likely]]
    return;

  SealBurst seals(*state.peers, state.stream, timestamp_us);
  unsigned to_sum[kBurstMax], to_sum_count = 0;
  for (unsigned k = 0; k < other_count; ++k) {
    const unsigned i = others[k];
    const SendLine& line = state.lines.of(peer[i]);
    const EnvelopeOptions options = options_of(b, i, layout);
    const size_t extra = options_size(options), before = kEnvelopeSizeMin + extra;
    if (b.packet[i]->data_off + size_t(b.parsed[i].l3_offset) < before + outer) {
      b.drop(i, Counter::encap_drop_no_headroom);
      continue;
    }
    bare(b, i);
    seals.add(line.keys, sequence[i], layout.groups[b.group[i]].id, kind_of(b, i), &options, extra,
              b.packet[i]->data_len, b.data(i));
    rte_pktmbuf_prepend(b.packet[i], static_cast<uint16_t>(before));
    b.port[i] = line.port;
    to_sum[to_sum_count++] = i;
  }
  seals.finish();
  // Over IPv6 the outer checksum covers the tags.
  for (unsigned k = 0; k < to_sum_count; ++k) {
    const PeerHop& to = s.peers[peer[to_sum[k]]];
    add_underlay_headers(b.packet[to_sum[k]], layout, to.hop, to.endpoint, layout.underlay.port.value);
  }
}

void deliver(Burst& b, const Snapshot& s) {
  if (!b.has(Verdict::to_client)) return;
  const ClientLinks links(s);
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.verdict[i] != Verdict::to_client || b.way[i] == Way::echo) continue;
    const ParsedPacket& p = b.parsed[i];
    const NextHop hop = links.towards(b.data(i) + p.l3_offset, p);
    if (!hop.known) {
      b.drop(i, Counter::deliver_drop_no_next_hop);
      b.tell_control(i);
    } else if (p.l3_length > s.layout->ports[hop.port].mtu) {
      b.drop(i, Counter::deliver_drop_mtu_exceeded);
    } else if (!add_ethernet(b.packet[i], *s.layout, hop, p.ip_version == 4 ? 0x0800 : 0x86dd)) {
      b.drop(i, Counter::encap_drop_no_headroom);
    } else {
      b.port[i] = hop.port;
    }
  }
}

}  // namespace statecast
