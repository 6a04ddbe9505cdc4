// SPDX-License-Identifier: BSD-3-Clause
// Checkers of the simulation: each keeps its own account from what it sees and says what must never happen.
//
//   SimCheckers c(world);           // before anything runs
//   ...
//   for (auto& b : c.breaches()) ADD_FAILURE() << b;
//
// Threads: one. Ownership: the world outlives them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/directory/sim_world.h"

namespace statecast::test {

class SimCheckers : public SimObserver {
 public:
  explicit SimCheckers(SimWorld& world);

  void on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) override;
  void on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) override;
  void on_passed(ProxyId p, SessionNumber s, MemberId m, uint64_t bytes) override;
  void on_bucket(SessionNumber s, uint64_t bytes) override;
  void on_member_restart(MemberId m) override;

  // What members were told of: acknowledged, not degraded, and still theirs.
  struct Acknowledged {
    MemberId member;
    SessionNumber session;
  };
  std::vector<Acknowledged> acknowledged_established();
  const std::map<SessionNumber, MemberId>& silent() const { return silent_; }
  const std::map<SessionNumber, MemberId>& stored() const { return stored_; }
  const std::vector<std::string>& breaches() const { return breaches_; }
  void breach(SessionNumber s, const std::string& what);

 private:
  bool owns(MemberId m, SessionNumber s);

  SimWorld& world_;
  struct Ack {
    bool promised = false;  // not degraded
    bool established = false;
    Instant ends;  // half-open: its record ends then
    Instant at;    // an older socket's does not count
  };
  std::map<std::pair<SessionNumber, MemberId>, Ack> acks_;
  std::map<SessionNumber, MemberId> stored_, silent_;
  std::map<SessionNumber, uint64_t> given_, passed_;
  std::vector<std::string> breaches_;
};

}  // namespace statecast::test
