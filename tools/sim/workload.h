// SPDX-License-Identifier: BSD-3-Clause
// Workload: what clients, applications and operators do: sessions open, send, move with their catchment, close, are
// revoked and unrevoked, get new byte buckets; some clients' SYNs arrive twice, some are forged. Every session takes a
// step at random times, from one event each.
//
//   Workload work(world, {.sessions = 40, .pace = 300ms}, rng);
//   work.start();  world.run(20s);  work.stop();
//
// Threads: one. Ownership: refers to the world, and outlives its events.
#pragma once

#include <vector>

#include "tools/sim/world.h"

namespace statecast::sim {

struct WorkloadOptions {
  SessionNumber sessions = 40;
  Duration pace = 300ms;    // between two steps of a session, on average
  bool moves = true;        // of catchments; otherwise a client has one proxy as long as that runs
  bool doubles = true;      // a SYN through two proxies, forged SYNs
  bool any_member = false;  // selection is not consistent by session key
  double revokes = 0.004, closes = 0.02, buckets = 0.03;  // per step
  double unrevokes = 0.3;                                 // of the revoked, once their clients have given up
};

class Workload {
 public:
  Workload(World& world, WorkloadOptions options, uint64_t seed);

  void start();
  void stop() { stopped_ = true; }
  void move_catchment(uint32_t from);  // all that one proxy had, to others
  struct Counts {
    uint64_t steps = 0, dials = 0, packets = 0, revocations = 0, closes = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Session {
    Instant dialed{}, silent_since{};  // the first SYN of this connection; no socket of ours at its member any more
    uint16_t proxy = 0;
  };
  void plan(SessionNumber s);
  void step(SessionNumber s);
  void open_step(SessionNumber s, Session& x, uint32_t member);
  uint32_t proxy_of(SessionNumber s);
  uint32_t any_proxy();
  uint32_t member_for(SessionNumber s);

  World& world_;
  WorkloadOptions options_;
  Rng rng_;
  std::vector<Session> sessions_;
  Counts counts_;
  bool stopped_ = false;
};

}  // namespace statecast::sim
