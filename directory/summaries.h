// SPDX-License-Identifier: BSD-3-Clause
// Summaries: a proxy's copies of what the replicas have, for the time that it is asked about more sessions than it can
// ask for (node_summary.cc is the other side). Sans-IO.
//
//   Summaries summaries(view);
//   summaries.follow(now);                                   // under pressure; stop() when that is over
//   if (summaries.on_message(from, bytes, now)) ...          // SummaryBlocks, SummaryDelta
//   for (DirectoryOutput o; summaries.next_output(o);) send(o);
//   if (summaries.take_changed()) publish(summaries.map());  // AbsenceMap, for the workers
//
// Of each node it asks for the blocks of its filter, eight messages at a time and no more than 5 MB/s; then, every
// 250 ms, for the sessions that have come since. A node's word counts for 5 s from when the question left that was
// answered with everything up to the newest. What is lost is asked for again after 100 ms, then twice as long each
// time up to 1 s. With the next view nothing counts until it has been said in that view.
//
// Threads: one; the map may be read by any. Ownership: owns its sources, shares filters and times with the maps.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/units.h"
#include "dataplane/session/absence.h"
#include "directory/messages.h"
#include "directory/outbox.h"
#include "directory/view.h"

namespace statecast {

class Summaries {
 public:
  Summaries(ProxyId self, View view);

  void set_view(View view, Instant now);
  void follow(Instant now);
  void stop();
  bool following() const { return following_; }
  // True if it was one of its messages and well-formed.
  bool on_message(NodeId from, Bytes message, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;  // Instant::max(): none
  bool next_output(DirectoryOutput& out) { return outputs_.next(out); }

  bool take_changed() { return std::exchange(changed_, false); }
  std::unique_ptr<const AbsenceMap> map();

  struct Status {
    size_t sources = 0, fresh = 0;  // nodes that are followed, and whose word counts now
    size_t bytes = 0;               // of their filters
  };
  Status status(Instant now) const;

 private:
  static std::shared_ptr<std::atomic<Instant>> never() { return std::make_shared<std::atomic<Instant>>(Instant{}); }
  struct Source {
    // What counts.
    std::shared_ptr<SessionFilter> filter;
    std::shared_ptr<std::atomic<Instant>> fresh_until = never();  // another one wherever older maps go wrong
    std::vector<SlotRange> out_of_sync;
    uint32_t version = 0;
    uint64_t number = 0;  // sessions up to it are in the filter
    // What is on its way: the blocks of another version, by message.
    struct Coming {
      std::shared_ptr<SessionFilter> filter;
      uint32_t version = 0;
      uint64_t number = 0;          // the lowest that a message has named
      std::vector<bool> here;       // which messages
      size_t left = 0;              // how many are not
      size_t first = 0, asked = 0;  // the first that is not, and up to which the others have been asked for
    };
    std::optional<Coming> coming;
    // The question that is out.
    uint32_t request = 0;
    Instant asked{}, ask_at{};
    unsigned tries = 0;
    Duration rtt{};
  };

  std::shared_ptr<const std::vector<uint16_t>> placement() const;
  void ask(ProxyId id, Source& s, Instant now);
  void on_blocks(Source& s, const SummaryBlocks& m, Instant now);
  void on_delta(Source& s, const SummaryDelta& m, Instant now);
  static void end_freshness(Source& s);
  static void ask_later(Source& s, Instant when) {
    s.ask_at = when;
    s.tries = 0;
  }

  NodeId self_;
  View view_;
  std::shared_ptr<const std::vector<uint16_t>> placement_;  // of view_, by place in sources_; null: not made yet
  bool following_ = false, changed_ = false;
  std::map<ProxyId, Source> sources_;
  uint32_t last_request_ = 0;
  Outbox outputs_;
};

}  // namespace statecast
