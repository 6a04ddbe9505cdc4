// SPDX-License-Identifier: BSD-3-Clause
// The kernel's socket table (sock_diag): which TCP sockets have a group's address as their local end, and the end of
// one.
//
//   auto diag = SockDiag::open(addresses);
//   std::vector<KernelSocket> table = *diag->read();
//   diag->destroy(tuple);
//
// IPv4 sessions of dual-stack listeners stand in the table as IPv6 sockets with mapped addresses; they are given as
// IPv4. Threads: one. Ownership: owns its netlink socket.
#pragma once

#include <vector>

#include "base/result.h"
#include "tools/agent/agent_core.h"
#include "tools/agent/netlink_io.h"

namespace statecast {

class SockDiag {
 public:
  static Result<SockDiag> open(std::vector<Prefix> addresses);

  Result<std::vector<KernelSocket>> read();
  // Ends the TCP socket of this session, also one in SYN_RECV; its peer gets a reset from the kernel, which the core
  // keeps. False when there is none.
  Result<bool> destroy(const SessionTuple& session);

 private:
  SockDiag(NetlinkSocket netlink, std::vector<Prefix> addresses)
      : netlink_(std::move(netlink)), addresses_(std::move(addresses)) {}
  Result<> read_family(uint8_t family, std::vector<KernelSocket>& out);

  NetlinkSocket netlink_;
  std::vector<Prefix> addresses_;
};

}  // namespace statecast
