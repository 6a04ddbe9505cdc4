// SPDX-License-Identifier: BSD-3-Clause
// Observer: what the world tells whoever watches: checkers, the trace. Nothing that it says depends on being watched.
// Threads: one. Ownership: none.
#pragma once

#include <cstdint>
#include <string>

#include "directory/owner.h"
#include "directory/querier.h"

namespace statecast::sim {

using SessionNumber = uint32_t;  // names a client's address and port

// What of a client's packet matters here.
struct Packet {
  SessionNumber session = 0;
  uint32_t connection = 0;  // of the client's connections from this address and port, the how manyeth
  uint32_t bytes = 0;
  bool syn = false;
  bool forwarded = false;  // by a member to which it did not belong
  uint32_t number = 0;     // of the client's packets of this session
  uint32_t ingress = 0;    // proxy that asked, where a replica has forwarded it; else 0
  Instant met_nothing{};   // when a proxy had to ask about it
};

enum class ProxyChange : uint8_t { crashed, stopped, started, paused, resumed, told_view };
const char* to_string(ProxyChange c);

class Observer {
 public:
  virtual ~Observer() = default;
  // --- proxies ---
  virtual void on_asked(ProxyId, SessionNumber) {}  // a question opens; one that is open goes on
  virtual void on_cache_event(ProxyId, SessionNumber, const CacheEvent&) {}
  virtual void on_passed(ProxyId, const Packet&, MemberId) {}  // a client's packet leaves for a member
  virtual void on_proxy(ProxyId, ProxyChange) {}
  // --- members ---
  virtual void on_insert(MemberId, SessionNumber) {}
  virtual void on_owner_event(MemberId, SessionNumber, const OwnerEvent&) {}
  virtual void on_kernel(MemberId, const Packet&) {}  // a client's packet reaches the kernel
  virtual void on_socket_destroyed(MemberId, SessionNumber, OwnerEvent::Kind /*why*/) {}
  virtual void on_close(MemberId, SessionNumber) {}
  virtual void on_bucket(SessionNumber, uint64_t /*bytes*/) {}  // the owner gives so much
  virtual void on_revoke(MemberId, SessionNumber) {}            // the call; member 0: the operator
  virtual void on_unrevoke(MemberId, SessionNumber) {}
  virtual void on_operator_answer(SessionNumber, RequestAnswer::Status) {}
  enum class MemberChange : uint8_t { restarted, forgot, killed, started };  // forgot: restarted without its disk
  virtual void on_member(MemberId, MemberChange) {}
  // --- the run ---
  // A message leaves; `arrives`: at least one copy will.
  virtual void on_message(NodeId /*from*/, NodeId /*to*/, Bytes, bool /*arrives*/) {}
  virtual void on_fault(const std::string&) {}
};

}  // namespace statecast::sim
