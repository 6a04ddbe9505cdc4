// SPDX-License-Identifier: BSD-3-Clause
// One run: a fleet, a workload and faults, all from one seed; then everything is mended, and the fleet has to converge.
// What the caller does not say is drawn from the seed, so that many seeds are many kinds of fleet.
//
//   RunResult r = run_one({.seed = 7});
//   for (const Breach& b : r.breaches) ...
//
// Threads: one per run. Ownership: values.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tools/sim/checkers.h"
#include "tools/sim/faults.h"
#include "tools/sim/trace.h"

namespace statecast::sim {

struct RunOptions {
  uint64_t seed = 1;
  std::optional<unsigned> proxies, members, replicas, writes;
  std::optional<SessionNumber> sessions;
  std::optional<std::set<Fault>> faults;
  std::optional<Duration> duration;  // of faults and workload
  std::optional<Duration> pace;      // between two steps of a session
  std::optional<QueryForm> query_form;
  bool ends_empty = false;  // at the end every session closes, and memory has to be given back
  TraceOptions trace;
};

struct RunResult {
  uint64_t seed = 0;
  WorldOptions world;
  WorkloadOptions workload;
  std::set<Fault> faults;
  Duration duration{}, virtual_time{};
  Duration in_sync_after{};  // the last fault
  std::vector<Breach> breaches;
  std::vector<std::string> trace;
  Workload::Counts counts;
  uint64_t acknowledged = 0, silent = 0, views = 0, events = 0;
  std::vector<World::Traffic> traffic;  // in the time of the workload, by type
  World::Asked asked;
  std::map<std::string, uint64_t> looks;  // how often each checker looked
  uint64_t digest = 0;                    // of all that was observed
};

RunResult run_one(const RunOptions& options);

// The command that plays it again.
std::string replay_command(const RunOptions& options, const std::string& program);

}  // namespace statecast::sim
