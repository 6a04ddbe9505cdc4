// SPDX-License-Identifier: BSD-3-Clause
// Send lines: all that a worker needs of a peer to send it a packet, copied together onto one cache line: keys,
// sequence, address, next hop. With 100,000 members the lines are what a packet misses on, so there is one.
//
//   SendLine& line = lines.of(peer);
//   if (!line.usable(s.generation)) if (Counter why = lines.renew(peer, s, peers, stream); why != Counter::count) drop;
//   frames.add(line.keys, ..., lines.outer(line), line.receiver);
//
// A line is renewed where the snapshot is another one or the peer's keys have changed since it was made.
// Threads: one worker's own. Ownership: values.
#pragma once

#include <vector>

#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/worker/burst.h"
#include "dataplane/worker/counters.h"
#include "dataplane/worker/snapshot.h"

namespace statecast {

struct alignas(64) SendLine {
  SendKeys keys;
  uint32_t generation = 0;  // low bits of the snapshot's, plus 1; 0: not usable
  OuterTemplateV4::Receiver receiver;
  uint16_t port = 0;

  bool usable(uint64_t of_snapshot) const { return generation == uint32_t(of_snapshot) + 1 && keys.fresh(); }
};
static_assert(sizeof(SendLine) == 64);

class SendLines {
 public:
  explicit SendLines(const Layout& layout);

  // NodeIndex::kNone has a line, too: one that never becomes usable.
  SendLine& of(uint32_t peer) { return lines_[peer < lines_.size() ? peer : lines_.size() - 1]; }
  // Which line each packet that is to be forwarded needs; they are on their way from memory.
  void find(const Burst& b, const Layout& layout, uint32_t peer[]) const;
  // Makes the line anew. Counter::count, or why nothing can be sent to this peer now.
  Counter renew(uint32_t peer, const Snapshot& s, PeerTable& peers, uint8_t stream);
  // This stream seals for the peer without its line: the numbers that the line has left would come behind those that
  // are taken now, and one day too far behind.
  void give_up_numbers(uint32_t peer) { of(peer).keys.left = 0; }
  // REQUIRES: an underlay of IPv4.
  const OuterTemplateV4& outer(const SendLine& line) const { return outer_[line.port]; }

 private:
  std::vector<SendLine> lines_;         // as Layout::peers, and one for nobody
  std::vector<OuterTemplateV4> outer_;  // by port
};

}  // namespace statecast
