// SPDX-License-Identifier: BSD-3-Clause
// Flood: what a fleet still answers, and what it costs, while packets of random session IDs come in at many times the
// rate of those that some proxy really has to ask about.
//
//   FloodResult r = run_flood({.bogus = 100, .summaries = true});
//   r.old.answered / r.old.met       // look-ups of sessions that are older than a second, answered at the first try
//
// Nodes, queriers, summaries and gates are the product's own; what a processor can do is not modelled, so this says how
// many questions there are and not how many a core can stand (bench/directory_bench does).
// Threads: one. Ownership: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/sim/world.h"

namespace statecast::sim {

struct FloodOptions {
  uint64_t seed = 1;
  unsigned proxies = 10, members = 5;
  SessionNumber sessions = 5'000;
  double lookups = 1'000;  // a second and fleet: packets of live sessions at a proxy that does not know them
  double bogus = 100;      // times as many of random sessions
  bool summaries = true;
  Duration length = 10s;
};

struct FloodResult {
  struct Lookups {
    uint64_t met = 0, answered = 0;
    double share() const { return met == 0 ? 1 : double(answered) / double(met); }
  };
  Lookups old;    // of sessions older than a second: at the first try
  Lookups young;  // of younger ones: within three retransmissions
  uint64_t bogus_packets = 0, bogus_absent = 0;
  uint64_t queries = 0, messages = 0, bytes = 0;  // between machines, all of them
  uint64_t summary_bytes = 0;                     // of these: of requests for summaries, and their answers
  size_t summary_memory = 0;                      // of one proxy: all filters that it keeps
  double seconds = 0;
};

FloodResult run_flood(const FloodOptions& options);
// Both with and without the bogus packets: what they add to the underlay is the difference.
std::string flood_report(const FloodOptions& options, bool json);

}  // namespace statecast::sim
