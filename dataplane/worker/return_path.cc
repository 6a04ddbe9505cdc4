// SPDX-License-Identifier: BSD-3-Clause
// Opening envelopes, the first half of the way back. What a member may do with an inner packet:
//
//   reply       source is an address of the envelope's group, of which the sender is a member: goes to the client
//   forward_to  a client's packet for another member of the group: goes on the client way, to that member
//   not_mine    a client's packet of a session that the sender does not own: goes on the client way, held and asked
//   lease       with a reply: also a note to the control thread; with a client's packet: only that
//
// Everything else a member says is a message and the control thread's business. Order of checks: peer, tag, window (all
// in PeerTable::open), then membership, then the inner packet.
#include "dataplane/packet/parse_burst.h"
#include "dataplane/worker/outer.h"
#include "dataplane/worker/pipeline.h"

namespace statecast {

namespace {

Counter open_counter(OpenResult r) {
  switch (r) {
    case OpenResult::malformed: return Counter::open_drop_malformed;
    case OpenResult::unknown_peer: return Counter::open_drop_unknown_peer;
    case OpenResult::bad_tag: return Counter::open_drop_bad_tag;
    case OpenResult::replayed: return Counter::open_drop_replayed;
    case OpenResult::ok:
    case OpenResult::hello: break;
  }
  return Counter::open_control_hello;
}

// Makes the buffer of each of `opened` the inner packet, and parses it; drops what does not parse.
void unwrap(Burst& b, const unsigned opened[], unsigned n) {
  const uint8_t* packets[kBurstMax];
  uint16_t lengths[kBurstMax];
  ParsedPacket parsed[kBurstMax];
  for (unsigned k = 0; k < n; ++k) {
    packets[k] = b.envelope[opened[k]].payload.data();
    lengths[k] = static_cast<uint16_t>(b.envelope[opened[k]].payload.size());
  }
  const uint32_t plain = parse_plain_ip_burst(packets, lengths, n, parsed);
  for (unsigned k = 0; k < n; ++k) {
    const unsigned i = opened[k];
    ParsedPacket& p = parsed[k];
    const bool ok = plain >> k & 1 || parse_ip_carefully({packets[k], lengths[k]}, p) == ParseResult::ok;
    if (!ok || p.ip_version != (b.envelope[i].kind == PayloadKind::ipv4 ? 4 : 6)) {
      b.drop(i, Counter::open_drop_bad_inner);
      continue;
    }
    b.fragments |= p.fragment != Fragment::none;
    b.parsed[i] = p;
    rte_mbuf* m = b.packet[i];
    m->data_off = static_cast<uint16_t>(packets[k] - static_cast<const uint8_t*>(m->buf_addr));
    m->data_len = p.l3_length;
    m->pkt_len = p.l3_length;
  }
}

void accept_inner(Burst& b, unsigned i, const Layout& layout) {
  const Envelope& e = b.envelope[i];
  const bool v4 = b.parsed[i].ip_version == 4;
  const uint8_t* ip = b.data(i);
  uint32_t of_source = v4 ? layout.group_table.find_v4(ip + 12) : layout.group_table.find_v6(ip + 8);
  auto of_destination = [&] { return v4 ? layout.group_table.find_v4(ip + 16) : layout.group_table.find_v6(ip + 24); };
  bool handed_back = e.options.forward_to || e.options.not_mine;
  bool client_packet = handed_back || (e.options.lease && of_source == kNoGroup);
  uint32_t group = client_packet ? of_destination() : of_source;
  if (group == kNoGroup || layout.groups[group].id != e.group) {
    return b.drop(i, client_packet ? Counter::open_drop_wrong_destination : Counter::open_drop_wrong_source);
  }
  const Group& g = layout.groups[group];
  if (!g.has_member(e.sender.as_member())) return b.drop(i, Counter::open_drop_not_member);
  if (e.options.forward_to && !g.has_member(*e.options.forward_to)) return b.drop(i, Counter::open_drop_forward_to);

  b.group[i] = group;
  if (e.options.lease && !handed_back) {
    b.with_lease[i] = true;
    b.tell_control(i);
  }
  if (client_packet) {
    b.set_way(i, Way::client);
    b.hand_to[i] = e.options.forward_to.value_or(MemberId{});
    b.not_mine[i] = e.options.not_mine.has_value();
  } else {
    b.set_way(i, Way::member);
    b.decide(i, Verdict::to_client, Counter::deliver_client_reply);
  }
}

}  // namespace

void open_envelopes(Burst& b, const Snapshot& s, PipelineState& state, Instant now) {
  if (!b.has(Way::envelope)) return;
  Bytes datagrams[kBurstMax];
  Envelope* out[kBurstMax];
  OpenResult results[kBurstMax];
  unsigned index[kBurstMax], n = 0, opened[kBurstMax], inner = 0;
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.way[i] != Way::envelope || !b.pending(i)) continue;
    // Offline there are no keys.
    if (!state.peers) {
      b.drop(i, Counter::open_drop_unknown_peer);
      continue;
    }
    const ParsedPacket& p = b.parsed[i];
    datagrams[n] = b.frame(i).subspan(p.payload_offset, p.l3_offset + p.l3_length - p.payload_offset);
    out[n] = &b.envelope[i];
    index[n++] = i;
  }
  if (n != 0) state.peers->open_burst({datagrams, n}, out, results, now);
  for (unsigned k = 0; k < n; ++k) {
    const unsigned i = index[k];
    const OpenResult r = results[k];
    if (r == OpenResult::ok && b.envelope[i].kind != PayloadKind::message) [[likely]] {
      if (b.envelope[i].sender.is_member())
        opened[inner++] = i;
      else
        b.drop(i, Counter::open_drop_from_proxy);
      continue;
    }
    b.from[i] = {source_of(b.frame(i), b.parsed[i]), Port{b.parsed[i].source_port}};
    if (r == OpenResult::ok) {
      b.decide(i, Verdict::to_control, Counter::open_control_message);
    } else if (r == OpenResult::hello) {
      b.decide(i, Verdict::to_control, Counter::open_control_hello);
    } else {
      if ((r == OpenResult::bad_tag || r == OpenResult::unknown_peer) && state.unverified_rate.take(now)) {
        state.unverified = {claimed_sender(datagrams[k]), b.from[i]};
      }
      b.drop(i, open_counter(r));
    }
  }
  unwrap(b, opened, inner);
  for (unsigned k = 0; k < inner; ++k) {
    if (b.pending(opened[k])) accept_inner(b, opened[k], *s.layout);
  }
}

}  // namespace statecast
