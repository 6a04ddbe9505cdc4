// SPDX-License-Identifier: BSD-3-Clause
// Rig: a fleet, a memory port and one real worker per core, and how to measure them.
//
//   auto rig = Rig::create({.fleet = {.sessions = 1'000'000, .workers = 1}});
//   rig->source(0, &clients);
//   Figure f = rig->run(2.0)[0];       // ns per packet: median and best tenth of slices of some 2,000 packets
//
// Figures are TSC time per slice, so that what disturbs single slices (another process, an interrupt) does not count.
// Threads: create and run from main; run() starts the workers on their cores and returns when they are done.
// Ownership: owns everything but the sources.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/pipeline_fleet.h"
#include "bench/pipeline_port.h"
#include "dataplane/worker/worker.h"

namespace statecast::bench {

struct Figure {
  double median = 0, best = 0;  // ns per packet; best: only a tenth of the slices was faster
};

// What the machine did to a core meanwhile. A stall is a turn of more than half a millisecond, a hundred times what a
// burst takes: the kernel's interrupts, or a hypervisor that gives the core to others.
struct Disturbance {
  uint64_t preempted = 0, stalls = 0;
  double stalled_ms = 0;
};

struct RigOptions {
  FleetOptions fleet;
  bool huge_pages = false;
};

class Rig {
 public:
  static Result<std::unique_ptr<Rig>> create(const RigOptions& options);
  ~Rig();

  Fleet& fleet() { return *fleet_; }
  MemoryPort& port() { return *port_; }
  Worker& worker(unsigned i) { return *workers_[i]; }

  // What happens between slices, untimed, on the worker's core.
  std::function<void()> between = [] {};
  // What the main thread does meanwhile: called over and over.
  std::function<void()> meanwhile;

  // Workers 0 .. cores - 1, each on a core of its own. REQUIRES: each has a source.
  std::vector<Figure> run(double seconds, unsigned cores = 1);
  // Worker 0 turns over and over, busy or not, on its core. At real-time priority where the kernel lets us: that stands
  // in for a core that nobody else may use, as a proxy in poll mode has. Keep it under a second: then the kernel gives
  // others their share.
  Disturbance poll(double seconds);
  // A loop that only receives from worker 0's source and sends: what the port costs.
  Figure floor(double seconds);
  // ns per packet of each step, medians over slices.
  std::vector<std::pair<std::string, double>> stages(double seconds);

 private:
  Rig() = default;
  void drain(unsigned i);
  Figure measure(double seconds, unsigned (*turn)(Rig&, unsigned), unsigned i);

  std::unique_ptr<MemoryPort> port_;
  std::unique_ptr<Fleet> fleet_;
  Wakeup wakeup_;
  std::vector<std::unique_ptr<WorkerLink>> links_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace statecast::bench
