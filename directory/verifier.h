// SPDX-License-Identifier: BSD-3-Clause
// Verifier: compares what all replicas of a view hold, two by two, and reports where they differ. Sans-IO.
//
//   Verifier v(self, view, now);
//   if (v.on_message(from, bytes, now)) ...                     // AuditAnswer
//   for (DirectoryOutput o; v.next_output(o);) send(o);         // to the nodes, this proxy's own among them
//   if (v.report().done) print(v.report());
//
// For each two nodes it asks both for digests of the slots that they share, 64 parts at a time, and follows those that
// differ down to single slots. What differs may be on its way: after 6 s these slots are compared again, and where they
// still differ their records are listed and compared one by one. Nothing is repaired (the nodes do that by themselves,
// node_compare.cc). A node that is silent, out of sync or in another view is named, not compared.
//
// Threads: one. Ownership: value.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "directory/messages.h"
#include "directory/outbox.h"
#include "directory/view.h"

namespace statecast {

struct VerifyReport {
  struct Difference {
    Slot slot;
    ProxyId a, b;
    std::optional<AuditAnswer::Entry> at_a, at_b;  // not both none
  };
  bool done = false;
  uint32_t revision = 0;
  size_t pairs = 0, pairs_compared = 0;
  size_t slots = 0;                             // compared, each for each pair that shares it
  size_t slots_differing = 0;                   // at the first look
  std::map<ProxyId, std::string> not_compared;  // and why
  std::vector<Difference> differences;          // of those that still differ, at most kVerifyListed
  bool more = false;                            // there are more than these
};

inline constexpr size_t kVerifyListed = 100;

class Verifier {
 public:
  Verifier(ProxyId self, View view, Instant now);

  // True if it was an answer to it.
  bool on_message(NodeId from, Bytes message, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;  // Instant::max(): none
  bool next_output(DirectoryOutput& out) { return outputs_.next(out); }
  const VerifyReport& report() const { return report_; }

 private:
  // One look at some slots of two nodes, or at the records of one slot.
  struct Look {
    size_t pair;
    uint16_t first, last;
    bool listed = false;
  };
  struct Side {
    ProxyId node;
    uint32_t request = 0;  // 0: has answered
    AuditAnswer answer;
    std::vector<AuditAnswer::Entry> entries;
  };
  struct Pair {
    ProxyId a, b;
  };

  void begin(Instant now);
  void ask(size_t side, uint32_t place, Instant now);
  void conclude(Instant now);
  void skip(ProxyId node, std::string why, Instant now);
  void compare_entries();

  NodeId self_;
  View view_;
  std::vector<Pair> pairs_;
  std::deque<Look> looks_;      // to be had; the first is under way
  std::vector<Look> suspects_;  // slots that differed
  bool again_ = false;          // these are looked at again
  std::optional<Instant> pause_;
  Side sides_[2];
  Instant due_ = Instant::max();
  unsigned tries_ = 0;
  uint32_t last_request_ = 0;
  Outbox outputs_;
  VerifyReport report_;
};

}  // namespace statecast
