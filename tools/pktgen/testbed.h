// SPDX-License-Identifier: BSD-3-Clause
// Testbed: a profile brought to life: DPDK, ports, workers, members; and what is done with it: set sessions up,
// measure, search.
//
//   auto bed = Testbed::start(config, stop);
//   if (auto r = (*bed)->set_up(stop); !r) die(r.error());
//   Results results = (*bed)->measure_all(search, live, stop);
//
// Threads: the main thread's; workers run on lcores until it goes. Ownership: owns workers, links, members and tables.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "config/pktgen_config.h"
#include "dataplane/worker/ports.h"
#include "tools/pktgen/generator.h"
#include "tools/pktgen/results.h"

namespace statecast {

class Testbed {
 public:
  using Say = std::function<void(const std::string&)>;  // a line for the terminal

  // An error also where a port has no link within `setup_patience`.
  static Result<std::unique_ptr<Testbed>> start(const PktgenConfig& config, const std::atomic<bool>& stop);
  ~Testbed();

  // Neighbours, hellos and sessions; an error says what did not come about in `setup_patience`.
  Result<> set_up(const Say& live, const std::atomic<bool>& stop);
  // One measurement, or with `search` the trials of a throughput search and the latencies at the profile's loads.
  Results measure_all(bool search, const Say& live, const std::atomic<bool>& stop);

 private:
  explicit Testbed(const PktgenConfig& config);
  Result<> start_all(const std::atomic<bool>& stop);
  Result<> wait_for_links(const std::atomic<bool>& stop);
  Result<> start_members();
  Result<> start_workers();
  void order(Generator::Do what);
  void pause(Duration d, const std::atomic<bool>& stop) const;
  // Streams at the profile's rates, or the good ones at `total` packets per second together.
  Trial measure(const std::string& what, std::optional<double> total, const Say& live, const std::atomic<bool>& stop);
  void prepare(std::optional<double> total, bool ramps);
  void watch(Trial& trial, const Say& live, const std::atomic<bool>& stop);
  void collect(Trial& trial) const;
  std::vector<const Accounts*> accounts() const;

  PktgenConfig config_;
  Plan plan_;
  std::vector<StartedPort> ports_;
  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<SessionStates> sessions_;
  std::unique_ptr<MemberSide> members_;
  std::vector<std::unique_ptr<Accounts>> accounts_;
  std::vector<std::unique_ptr<Generator>> workers_;
  TrialSetup trial_;
  unsigned senders_ = 1;
  bool eal_started_ = false;
  unsigned launched_ = 0;  // workers that run
  Rng rng_{0};
};

}  // namespace statecast
