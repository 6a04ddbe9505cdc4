// SPDX-License-Identifier: BSD-3-Clause
// Checkers: what must never happen (design), each an account of its own of what the world says, all the time.
//
//   Checkers check(world);                        // before anything runs
//   ...
//   for (const Breach& b : check.breaches()) ...  // rule, session, what
//
// An acknowledged insert may be lost where W replicas of its slot died between two in-sync states: that is judged from
// outages, which the checkers keep themselves (from a crash until the proxy is in sync again, or out of a view whose
// nodes all are). A group that prefers availability promises less: there a replica that is cut off takes inserts alone,
// and one that passes another owner's record stands above what the others took. Whose a session is, and that it stays,
// is checked in `safe` groups only.
// Threads: one. Ownership: the world outlives them.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "tools/sim/world.h"

namespace statecast::sim {

struct Breach {
  Instant at;
  SessionNumber session = 0;
  std::string rule, what;
};

class Checkers : public Observer {
 public:
  explicit Checkers(World& world);

  void on_asked(ProxyId p, SessionNumber s) override;
  void on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) override;
  void on_passed(ProxyId p, const Packet& packet, MemberId m) override;
  void on_proxy(ProxyId p, ProxyChange change) override;
  void on_insert(MemberId m, SessionNumber s) override;
  void on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) override;
  void on_kernel(MemberId m, const Packet& packet) override;
  void on_socket_destroyed(MemberId m, SessionNumber s, OwnerEvent::Kind why) override;
  void on_close(MemberId m, SessionNumber s) override;
  void on_bucket(SessionNumber s, uint64_t bytes) override;
  void on_revoke(MemberId m, SessionNumber s) override;
  void on_unrevoke(MemberId m, SessionNumber s) override;
  void on_operator_answer(SessionNumber s, RequestAnswer::Status status) override;
  void on_member(MemberId m, MemberChange change) override;

  // Acknowledged, not degraded, established, and still its owner's.
  struct Acknowledged {
    MemberId member;
    SessionNumber session;
  };
  std::vector<Acknowledged> acknowledged_established() const;
  bool is_stored(SessionNumber s) const { return s < sessions_.size() && sessions_[s].stored; }
  bool is_lifted(SessionNumber s) const { return s < sessions_.size() && sessions_[s].lifted; }
  bool is_silent(SessionNumber s) const { return s < sessions_.size() && sessions_[s].silent; }
  size_t silent() const;
  SessionNumber sessions() const { return static_cast<SessionNumber>(sessions_.size()); }
  // Whether somebody still waits to hear that this revocation is silent.
  bool silence_is_awaited(SessionNumber s) const { return sessions_[s].awaits_silent; }
  // Enough replicas of its slot were gone at once, since then.
  bool may_be_lost(SessionNumber s, Instant since) const;
  bool may_be_lost(SessionNumber s) const { return may_be_lost(s, sessions_[s].stored_at); }

  const std::vector<Breach>& breaches() const { return breaches_; }
  void breach(SessionNumber s, const std::string& rule, const std::string& what);
  // How often each rule had something to judge: a checker that never looks proves nothing.
  const std::map<std::string, uint64_t>& looks() const { return looks_; }

 private:
  struct Ack {
    MemberId member;
    bool promised = false;  // not degraded
    bool established = false;
    uint32_t connection = 0;
    Instant at;    // of the first acknowledgement of this socket
    Instant ends;  // half-open: its record may end then
    Instant inserted;
  };
  struct Session {
    std::vector<Ack> acks;
    bool revoked = false, stored = false, silent = false, awaits_silent = false;
    bool lifting = false, lifted = false;  // unrevoke is called; is done
    bool by_operator = false;              // at some time: its owner's unrevoke may not be about that
    MemberId revoked_by;
    Instant stored_at{};
    uint64_t given = 0, passed = 0;
  };
  struct Outage {
    ProxyId proxy;
    Instant begins, ends = Instant::max();
  };

  Session& session(SessionNumber s);
  Ack* ack(SessionNumber s, MemberId m);
  bool owns(const Ack& a, SessionNumber s) const;
  void look_for_lost();
  void watch();
  void check_memory();
  void check_no_lease(SessionNumber s);

  World& world_;
  std::vector<Session> sessions_;
  std::vector<std::unordered_map<SessionNumber, Instant>> asked_;  // by proxy: questions that are open, since when
  std::vector<Outage> outages_;
  std::vector<Breach> breaches_;
  mutable std::map<std::string, uint64_t> looks_;
  SessionNumber next_look_ = 0;
};

}  // namespace statecast::sim
