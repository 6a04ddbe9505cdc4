// SPDX-License-Identifier: BSD-3-Clause
// The agent's commands on its admin socket: status, sessions.list, sessions.get, sessions.refresh, revoke, unrevoke;
// and its metrics. Translates between JSON and AgentCore.
//
//   AgentAdmin admin(core, clock);  admin.serve(server);
//   admin.pass_events_on();          // after each burst: stored and silent, to whoever revoked
//
// Threads: one, the core's; `metrics` may be called from any. Ownership: the core and the server outlive it.
#pragma once

#include <functional>
#include <unordered_map>

#include "control/admin.h"
#include "control/metrics.h"
#include "tools/agent/agent_core.h"

namespace statecast {

class AgentAdmin {
 public:
  AgentAdmin(AgentCore& core, std::function<Instant()> clock) : core_(core), clock_(std::move(clock)) {}

  void serve(AdminServer& server);
  void pass_events_on();

 private:
  struct Waiting {
    Instant asked;
    AdminReply reply;
  };
  Json status() const;
  Json sessions_list(size_t limit) const;
  Json session(const SessionId& id) const;
  void revoke(const Json& request, const AdminReply& reply);
  void unrevoke(const Json& request, const AdminReply& reply);
  void refresh(const Json& request, const AdminReply& reply);

  AgentCore& core_;
  std::function<Instant()> clock_;
  std::unordered_map<uint32_t, Waiting> waiting_;  // by request number
};

std::vector<Metric> agent_metrics(const AgentCounters& counters);

}  // namespace statecast
