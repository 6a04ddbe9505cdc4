// SPDX-License-Identifier: BSD-3-Clause
// Faults: what goes wrong in a run, drawn from its seed. Some last all the time (loss), some are episodes (a crash);
// each ends before heal() or by it.
//
//   Faults faults(world, work, {Fault::loss, Fault::crash}, rng);
//   faults.start(20s);  world.run(20s);  faults.heal();
//
// In most runs the fleet is whole again before the next proxy fails, so that every promise stands; in some it is not.
// Threads: one. Ownership: refers to world and workload, and outlives the world's events.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/sim/workload.h"

namespace statecast::sim {

enum class Fault : uint8_t {
  loss,
  late,
  reorder,
  duplicate,
  partition,
  asymmetric,
  drift,
  wall_step,
  crash,
  pause,
  slow,
  join,
  leave,
  flap,
  catchment,
  member_death,
  member_restart,
  member_amnesia,
};
inline constexpr size_t kFaults = 18;
struct FaultRow {
  Fault fault;
  const char* name;
  const char* help;
};
const std::vector<FaultRow>& fault_rows();
const char* to_string(Fault f);
Result<std::set<Fault>> parse_faults(const std::string& list);  // names with commas, `all`, `none`

class Faults {
 public:
  Faults(World& world, Workload& work, std::set<Fault> faults, uint64_t seed);

  void start(Duration length);
  void heal();  // all that is wrong ends now
  const std::set<Fault>& chosen() const { return faults_; }

 private:
  bool has(Fault f) const { return faults_.contains(f); }
  void plan(Fault f, Duration length);
  void happen(Fault f);
  void crash();
  void pause();
  void partition(bool both_ways);
  void slow();
  void join();
  void leave(bool comes_back);
  void come_back(uint32_t p);
  void take_out(uint32_t p);
  void member_fault(Fault f);
  void announce(const std::set<uint32_t>& nodes);
  void tell(uint32_t p, size_t view);
  void stop_when_handed_over(uint32_t p, int tries);
  bool may_fail() const;
  bool handed_over() const;
  uint32_t any(bool in_view) const;  // of those that run; 0: none
  std::set<uint32_t> nodes() const;
  Duration some(Duration least, Duration most);

  World& world_;
  Workload& work_;
  std::set<Fault> faults_;
  mutable Rng rng_;
  bool careful_;  // one proxy at a time
  bool over_ = false;
  std::set<uint32_t> cut_off_, slowed_, leaving_;
  Instant view_changed_{};
};

}  // namespace statecast::sim
