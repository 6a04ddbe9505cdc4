// SPDX-License-Identifier: BSD-3-Clause
// The agent's loop: sleeps until a descriptor or a deadline, reads bursts, takes the time, hands them to the core, and
// carries out what the core wants done.
//
//   AgentLoop loop({core, *tun, *udp, *diag, *admin, commands, state_dir});
//   loop.run();                      // until SIGTERM or SIGINT
//
// Threads: one. Ownership: all parts outlive the loop.
#pragma once

#include <string>

#include "base/result.h"
#include "control/admin.h"
#include "tools/agent/agent_admin.h"
#include "tools/agent/agent_core.h"
#include "tools/agent/sock_diag_io.h"
#include "tools/agent/tun_io.h"
#include "tools/agent/udp_io.h"

namespace statecast {

struct AgentParts {
  AgentCore& core;
  TunDevice& tun;
  UdpSocket& udp;
  SockDiag& sockets;
  AdminServer& server;
  AgentAdmin& commands;
  std::string state_dir;
};

class AgentLoop {
 public:
  explicit AgentLoop(AgentParts parts) : parts_(std::move(parts)) {}
  Result<> run();

 private:
  void from_proxies();
  void from_kernel();
  void carry_out(Instant now);
  void destroy_socket(const SessionTuple& session);
  void read_sockets();
  void save_revocations();
  void save_incarnation();

  AgentParts parts_;
  bool disk_failed_ = false;  // said once, not each second
};

}  // namespace statecast
