// SPDX-License-Identifier: BSD-3-Clause
// Burst: up to 32 packets and what the stages have found out about each, as parallel arrays.
//
//   Burst b;
//   for (rte_mbuf* m : received) b.add(m, port);
//   parse_packets(b);  find_groups(b, snapshot); ...       // pipeline.h
//   for (unsigned i = 0; i < b.count; ++i) switch (b.verdict[i]) ...
//
// The contract: a packet enters with the verdict `pending`; the stage that decides about it sets verdict *and* reason
// with decide(), and later stages pass it by. A stage may overrule a `forward` or `to_client` of an earlier one when it
// fails to carry it out (no next hop). After the last stage none is pending, and reason[i] is the one counter to raise.
// A stage never frees a packet.
//
// Threads: one. Ownership: packets belong to whoever runs the stages.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/cache/session_cache.h"
#include "dataplane/packet/parse.h"
#include "dataplane/session/rules.h"
#include "dataplane/session/session_id.h"
#include "dataplane/worker/counters.h"

namespace statecast {

inline constexpr unsigned kBurstMax = 32;
inline constexpr uint32_t kNoGroup = UINT32_MAX;
inline constexpr uint16_t kNoPort = UINT16_MAX;  // offline: every way in is allowed

enum class Verdict : uint8_t {
  pending,
  forward,     // sealed to `member`: sent through the underlay
  to_client,   // bare: a member's reply, or an answer of the proxy itself
  to_kernel,   // not ours: the exception path
  to_control,  // a message or a neighbour frame, for the control thread
  hold,        // kept in the miss table while the directory is asked
  drop,
  handed_to_unit,  // reserved for dear steps that run elsewhere
};
const char* to_string(Verdict v);

// Which way a packet is going, set by find_groups and open_envelopes.
enum class Way : uint8_t {
  none,
  client,    // from a client to a group
  envelope,  // an envelope, not opened yet
  member,    // opened: from a member to a client
  echo,      // echo request to an address that this proxy answers for
};

// What starts as zero: nothing decided, nothing to be said.
struct BurstMarks {
  Verdict verdict[kBurstMax];
  Way way[kBurstMax];
  PacketClass packet_class[kBurstMax];
  bool has_key[kBurstMax];
  bool ask[kBurstMax];              // ask the directory about `key`, whatever the verdict
  bool not_mine[kBurstMax];         // a member handed the packet back: it does not own the session
  bool with_lease[kBurstMax];       // its envelope brought a lease for its session
  bool reresolved[kBurstMax];       // comes from the miss table: no second hold
  bool forget_negative[kBurstMax];  // a reply met a negative entry of its session: that one is wrong
  bool admitted[kBurstMax];         // options that the envelope to the member will carry
  bool forwarded[kBurstMax];
  uint32_t ways, verdicts;      // a bit for each that any packet has (or had): has()
  uint32_t news;                // a bit for each packet of which the control thread is to hear beside its verdict
  bool fragments;               // any packet is one
  MemberId hand_to[kBurstMax];  // a member handed the packet back and named this one (forward_to)
  MemberId member[kBurstMax];   // where verdict is forward
};

struct Burst : BurstMarks {
  Burst() : BurstMarks{} {}
  // For the next burst, in place: what is not a mark is set anew packet by packet.
  void clear() {
    static_cast<BurstMarks&>(*this) = {};
    count = 0;
  }

  unsigned count = 0;
  rte_mbuf* packet[kBurstMax];
  ParsedPacket parsed[kBurstMax];
  Counter reason[kBurstMax];
  uint32_t group[kBurstMax];     // index into Layout::groups, or kNoGroup
  SessionId id[kBurstMax];       // length 0: none
  SessionKey key[kBurstMax];     // valid where has_key
  Envelope envelope[kBurstMax];  // where an envelope was opened
  Endpoint from[kBurstMax];      // its outer source, where it is no data of a member
  uint16_t port[kBurstMax];      // where it came in; where it goes out once encapsulated or delivered

  // `in`: the port it came in through. REQUIRES: count < kBurstMax
  void add(rte_mbuf* m, uint16_t in = kNoPort) {
    unsigned i = count++;
    packet[i] = m;
    reason[i] = Counter::count;
    group[i] = kNoGroup;
    id[i].length = 0;
    port[i] = in;
  }
  void tell_control(unsigned i) { news |= 1u << i; }
  bool full() const { return count == kBurstMax; }
  bool pending(unsigned i) const { return verdict[i] == Verdict::pending; }
  void decide(unsigned i, Verdict v, Counter why) {
    verdict[i] = v;
    reason[i] = why;
    verdicts |= 1u << unsigned(v);
  }
  void set_way(unsigned i, Way w) {
    way[i] = w;
    ways |= 1u << unsigned(w);
  }
  // A member had it before: its envelope said something beside the reply.
  bool is_special(unsigned i) const { return not_mine[i] || with_lease[i] || hand_to[i].value != 0; }
  // False: no packet of the burst, so a stage need not look for one.
  bool has(Verdict v) const { return verdicts >> unsigned(v) & 1; }
  bool has(Way w) const { return ways >> unsigned(w) & 1; }
  void drop(unsigned i, Counter why) { decide(i, Verdict::drop, why); }
  Bytes frame(unsigned i) const { return {rte_pktmbuf_mtod(packet[i], const uint8_t*), packet[i]->data_len}; }
  uint8_t* data(unsigned i) const { return rte_pktmbuf_mtod(packet[i], uint8_t*); }
};

}  // namespace statecast
