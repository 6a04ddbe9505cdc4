// SPDX-License-Identifier: BSD-3-Clause
// Pipeline: the packet's story, one function per step, each over a whole burst. Start here.
//
//   client to member                         member to client
//   parse_packets      1 bytes -> fields     parse_packets     fields of the outer packet
//   find_groups        2 whose is it         find_groups       an envelope for this proxy
//   classify           4 which class         open_envelopes    peer, tag, window; then the inner packet's source
//   identify           5 session key         (identify)        only where the envelope says something of the session
//   resolve            6 which member        deliver           bare, to the client
//   encapsulate        7 envelope, send
//
// (3, the group's packet filters, comes with their configuration.) Both ways run through the same list in one burst:
// see run_pipeline. Stages need no port, clock or control thread: `statecast trace` and the tests call them on packets
// of any mempool.
//
// The tunnel is transparent, as a load balancer at layer 4: neither way changes TTL or hop limit of the inner packet.
//
// Threads: one worker. Ownership: as burst.h says, a stage frees nothing.
#pragma once

#include <optional>
#include <vector>

#include "dataplane/cache/session_cache.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/worker/burst.h"
#include "dataplane/worker/fragments.h"
#include "dataplane/worker/send_lines.h"
#include "dataplane/worker/snapshot.h"
#include "dataplane/worker/stage_clock.h"
#include "dataplane/worker/token_bucket.h"
#include "dataplane/worker/unknown_gate.h"

namespace statecast {

// What a worker keeps from burst to burst.
struct PipelineState {
  PipelineState(const Layout& layout, unsigned workers);

  SessionCache* cache = nullptr;
  PeerTable* peers = nullptr;  // nullptr offline: encapsulate then stops before the envelope
  uint8_t stream = 0;
  bool watch_negatives = false;  // negative entries exist: replies look for one of their session
  UnknownGate* gate = nullptr;   // under pressure only: which unknown sessions are worth asking about

  StageClock* stages = nullptr;  // measures the steps, where somebody wants to know
  SendLines lines;               // by peer
  FragmentTable fragments;
  std::vector<TokenBucket> admission;  // by group: this worker's share of admit_per_second
  TokenBucket echo;                    // echo replies
  TokenBucket too_big;                 // fragmentation needed, packet too big
  TokenBucket neighbours;              // ARP and neighbour discovery for the control thread

  // The newest envelope that did not verify, as it claims: the control thread may want to say hello (a peer restarted).
  struct Unverified {
    NodeId sender;
    Endpoint from;
  };
  std::optional<Unverified> unverified;
  TokenBucket unverified_rate;
};

// All of the steps below in their order. Afterwards no packet is pending.
void run_pipeline(Burst& b, const Snapshot& s, PipelineState& state, Instant now);
// The same in two halves, up to identify and from resolve on. Between them the cache's lines are on their way from
// memory: who has another burst does its front meanwhile.
void run_front(Burst& b, const Snapshot& s, PipelineState& state, Instant now);
void run_back(Burst& b, const Snapshot& s, PipelineState& state, Instant now);
// The same for bare client packets that come out of the miss table: from find_groups on, no second hold.
void rerun_pipeline(Burst& b, const Snapshot& s, PipelineState& state, Instant now);

// 1. Reads: the frame. Writes: parsed. Drops: one reason per ParseResult. Next: find_groups.
//    What is not IP is decided here: ARP goes to the control thread.
void parse_packets(Burst& b);

// 2. Reads: parsed, port. Writes: group, way. Drops: frames to another station, wrong port, ICMP that is no error and
// no echo request.
//    Decides: neighbour discovery to the control thread, what is not ours to the kernel.
void find_groups(Burst& b, const Snapshot& s);

// Reads: what is decided to go to the control thread as a neighbour frame. Drops: IPv6
//    whose hop limit is not 255 (it came through a router: RFC 4861, 7.1), and what is beyond the rate.
void limit_neighbours(Burst& b, PipelineState& state, Instant now);

// Envelopes. Reads: way == envelope. Writes: envelope, from; then the packet starts at the inner IP header, parsed is
//    that of the inner packet, and way is `member` (a reply) or `client` (handed back by a member: hand_to, not_mine,
//    or a lease for its session). Drops: malformed .. replayed, not a member, wrong source, wrong destination.
//    Decides: messages to the control thread; replies to_client (deliver may overrule).
void open_envelopes(Burst& b, const Snapshot& s, PipelineState& state, Instant now);

// 4. Reads: parsed, group, way == client, and replies whose session matters. Writes: packet_class, id.
//    Drops: no rule takes it.
void classify(Burst& b, const Snapshot& s, const PipelineState& state);

// 5. Reads: id; fragments. Writes: key, has_key, and for later fragments what the first one taught.
//    Drops: later fragments whose first did not pass here.
void identify(Burst& b, const Snapshot& s, PipelineState& state, Instant now);

// 6. Reads: key, packet_class. Writes: hit, member, ask, admitted, forget_negative. Spends the packet's bytes.
//    Decides: forward, hold. Drops: revoked, spent, unavailable, unknown session, no member.
void resolve(Burst& b, const Snapshot& s, PipelineState& state, Instant now);

// 7. Reads: verdict == forward, member. Writes: the packet: outer headers and envelope before the inner packet; port.
//    `parsed` stays what it was of the packet as it came.
//    Overrules with drop: no endpoint, keys, next hop or room; too big, where it is not answered (then to_client).
void encapsulate(Burst& b, const Snapshot& s, PipelineState& state, Instant now);

// Echo requests: the answer is made of the request and leaves where that came in. Drops: beyond the rate.
void answer_echo(Burst& b, PipelineState& state, Instant now);

// Reads: verdict == to_client. Writes: Ethernet header towards the client's next hop, port.
//    Overrules with drop: no next hop, larger than the port's MTU.
void deliver(Burst& b, const Snapshot& s);

}  // namespace statecast
