// SPDX-License-Identifier: BSD-3-Clause
// Churn: what a proxy's control thread does to the session cache while workers forward: new sessions, renewals,
// revocations, sweeps; each at a rate, as far as one thread gets.
//
//   Churn churn(fleet, {.inserts = 1'000'000, .renewals = 100'000});
//   rig.meanwhile = [&] { churn.turn(); };
//   churn.done().inserts / seconds                    // what was reached
//
// Threads: the cache's one writer. Ownership: views.
#pragma once

#include "base/rng.h"
#include "bench/pipeline_fleet.h"

namespace statecast::bench {

struct ChurnRates {
  double inserts = 0, renewals = 0, revocations = 0;  // per second
};

class Churn {
 public:
  Churn(Fleet& fleet, const ChurnRates& rates, uint64_t seed);
  void turn();
  const ChurnRates& done() const { return done_; }  // numbers, not rates
  double seconds() const;

 private:
  void insert(Instant now);
  void renew(Instant now);
  void revoke(Instant now);

  Fleet& fleet_;
  const ChurnRates rates_;
  Rng rng_;
  ChurnRates done_;
  Instant start_, swept_;
};

}  // namespace statecast::bench
