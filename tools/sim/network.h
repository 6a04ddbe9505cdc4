// SPDX-License-Identifier: BSD-3-Clause
// Network: what becomes of a datagram between two machines of the simulation. Every machine is in a region; within one
// the way is short, between two it takes what the seed gave that pair. Faults are its state: loss, duplication,
// reordering, cuts of one direction, slow machines.
//
//   Network n({.regions = 3}, rng);
//   n.cut(p1, p2);                                   // p1's datagrams do not reach p2; p2's reach p1
//   for (Duration d : n.send(p2, p1, rng)) ...       // one arrival per copy; none: lost
//
// Threads: one. Ownership: value.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/rng.h"
#include "base/units.h"

namespace statecast::sim {

struct NetworkOptions {
  unsigned regions = 1;
  Duration delay_min = 100us, delay_max = 2ms;  // within a region, one way
  Duration far_min = 5ms, far_max = 120ms;      // between two, drawn for each pair
  double loss = 0, duplicate = 0, reorder = 0;  // of datagrams
  double late = 0;                              // of datagrams: up to 300 ms more, a queue somewhere
};

class Network {
 public:
  Network(const NetworkOptions& options, Rng& rng);

  struct Arrivals {
    Duration at[2];
    unsigned count = 0;
    const Duration* begin() const { return at; }
    const Duration* end() const { return at + count; }
  };
  Arrivals send(NodeId from, NodeId to, Rng& rng);
  // The way there and back without accidents, as keep-alives measure it.
  Duration rtt(NodeId a, NodeId b) const;

  // --- faults ---
  NetworkOptions& options() { return options_; }
  void cut(NodeId from, NodeId to) { cuts_.insert(pair(from, to)); }
  void mend(NodeId from, NodeId to) { cuts_.erase(pair(from, to)); }
  void mend_all() { cuts_.clear(); }
  bool reaches(NodeId from, NodeId to) const { return cuts_.empty() || !cuts_.contains(pair(from, to)); }
  void slow(NodeId who, Duration extra);  // each datagram that it sends or gets takes so much longer; 0: no longer

 private:
  static uint64_t pair(NodeId from, NodeId to) { return uint64_t(from.value) << 32 | to.value; }
  unsigned region(NodeId n) const { return (n.number() - 1) % options_.regions; }
  Duration way(NodeId a, NodeId b) const { return ways_[region(a) * options_.regions + region(b)]; }

  NetworkOptions options_;
  std::vector<Duration> ways_;  // regions x regions: the least that it takes
  std::unordered_set<uint64_t> cuts_;
  std::unordered_map<NodeId, Duration> slow_;
};

}  // namespace statecast::sim
