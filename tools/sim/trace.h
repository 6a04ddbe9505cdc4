// SPDX-License-Identifier: BSD-3-Clause
// Trace: what a run did, one line per event: time, who, what. Of one session also what its replicas have at that
// moment. The last lines are kept, and printed where a checker found something. Digest: a number over everything that
// is observed; two runs of one seed have the same.
//
//     1203.441 ms  s4  m2 inserted copies 2 | p1 held m2 half_open t1 i1 c7 9998 ms | p3 - | p5 placed ...
//
// Threads: one. Ownership: the world outlives it.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "tools/sim/world.h"

namespace statecast::sim {

struct TraceOptions {
  bool all = false;                      // every session's events
  std::optional<SessionNumber> session;  // this one's, and faults
  bool messages = false;                 // with `session`: what the machines say of it
  size_t lines_max = 100'000;            // the last ones
  bool on() const { return all || session.has_value(); }
};

class Trace : public Observer {
 public:
  Trace(World& world, TraceOptions options);

  void on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) override;
  void on_passed(ProxyId p, const Packet& packet, MemberId m) override;
  void on_proxy(ProxyId p, ProxyChange change) override;
  void on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) override;
  void on_kernel(MemberId m, const Packet& packet) override;
  void on_socket_destroyed(MemberId m, SessionNumber s, OwnerEvent::Kind why) override;
  void on_insert(MemberId m, SessionNumber s) override;
  void on_close(MemberId m, SessionNumber s) override;
  void on_revoke(MemberId m, SessionNumber s) override;
  void on_unrevoke(MemberId m, SessionNumber s) override;
  void on_operator_answer(SessionNumber s, RequestAnswer::Status status) override;
  void on_member(MemberId m, MemberChange change) override;
  void on_message(NodeId from, NodeId to, Bytes bytes, bool arrives) override;
  void on_fault(const std::string& what) override;

  std::vector<std::string> lines() const { return {lines_.begin(), lines_.end()}; }
  uint64_t digest() const { return digest_; }

 private:
  void note(uint64_t what, uint64_t who, uint64_t session);
  bool wants(SessionNumber s) const { return options_.all || options_.session == s; }
  void line(const std::string& text);
  void line(SessionNumber s, const std::string& text);
  std::string replicas(SessionNumber s);

  World& world_;
  TraceOptions options_;
  std::deque<std::string> lines_;
  uint64_t digest_ = 14695981039346656037u;
};

}  // namespace statecast::sim
