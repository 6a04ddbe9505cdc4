// SPDX-License-Identifier: BSD-3-Clause
// EtcdMembership: membership (membership.h) on a thread of its own, with libcurl to etcd's JSON gateway. One endpoint
// at a time; after a failure the next.
//
//   auto m = EtcdMembership::start({.endpoints = {"http://10.0.0.5:2379"}}, options);
//   auto view = m->newer_than(0);                          // nullopt: none yet
//   m->report({.revision = 4, .in_sync = true, .heard = heard});
//
// Nobody waits for etcd here: what is read is what was known last. While a view is being made newer_than() says that
// there is none and a report is left for the next one, so call both often; the others wait until it is made. Threads:
// any. Ownership: its thread, which ends with it; the registration ends with its lease.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/membership.h"

namespace statecast {

struct EtcdSetup {
  std::vector<std::string> endpoints;  // "http://10.0.0.5:2379", "https://..."
  std::string ca, certificate, key;    // paths of PEM files; empty: the system's authorities, no certificate of ours
};

class EtcdMembership {
 public:
  static Result<std::unique_ptr<EtcdMembership>> start(EtcdSetup setup, MembershipOptions options);
  ~EtcdMembership();

  std::optional<View> newer_than(uint32_t revision) const;
  bool handed_over() const;
  MembershipStatus status() const;
  std::string endpoint() const;  // the one in use
  void report(MembershipReport report);
  void leave(bool leaving);
  void forget(ProxyId dead);

 private:
  struct Shared;
  explicit EtcdMembership(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace statecast
