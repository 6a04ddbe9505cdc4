// SPDX-License-Identifier: BSD-3-Clause
// Ways to break the protocol on purpose, so that the simulation's checkers can show that they bite. In the product
// broken() is a constant false and nothing of this is left; `statecast-sim-broken` is built with SC_BROKEN.
//
//   if (!broken(Broken::ignore_term)) ...
//
// Threads: set once, before anything runs.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace statecast {

enum class Broken : uint8_t {
  nothing,
  acknowledge_before_replicate,  // an insert is answered before any other replica has it
  believe_one_none,              // one replica's "none" is taken for R-W+1
  ignore_term,                   // of two records the higher incarnation and counter stand, whatever their terms
  lift_tombstone_on_restart,     // a restarted replica takes no tombstones when it syncs
  grant_without_permit,          // leases without permits of other replicas
  count_over_two_views,          // copies of the view before go on counting towards W
  answer_before_in_sync,         // a replica out of sync answers and grants
  forget_a_holder,               // not every proxy that was granted a lease is remembered
  grant_anothers_share,          // a replica grants the whole byte bucket
  absolute_clocks,               // leases end at a time of day
};
inline constexpr const char* kBrokenNames[] = {"nothing",
                                               "acknowledge-before-replicate",
                                               "believe-one-none",
                                               "ignore-term",
                                               "lift-tombstone-on-restart",
                                               "grant-without-permit",
                                               "count-over-two-views",
                                               "answer-before-in-sync",
                                               "forget-a-holder",
                                               "grant-anothers-share",
                                               "absolute-clocks"};

#ifdef SC_BROKEN
inline Broken g_broken = Broken::nothing;
inline Duration g_wall_ahead{};  // of the monotonic clock of the machine that runs
inline bool broken(Broken b) {
  return g_broken == b;
}
inline void set_wall_clock(Duration ahead) {
  g_wall_ahead = ahead;
}
inline Duration wall_clock(Instant now) {
  return now.time_since_epoch() + g_wall_ahead;
}
#else
constexpr bool broken(Broken) {
  return false;
}
constexpr void set_wall_clock(Duration) {}
constexpr Duration wall_clock(Instant) {
  return {};
}
#endif

}  // namespace statecast
