// SPDX-License-Identifier: BSD-3-Clause
// Revocations: the sessions that this member has cut off, or was told to, and until when. They outlive the program on
// disk (state_io.h), because a restarted agent must not insert the socket of a revoked session again.
//
//   revocations.set(id, now + 10min);
//   if (revocations.contains(id, now)) drop();
//
// Threads: one. Ownership: value; bounded.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "dataplane/session/session_id.h"
#include "tools/agent/keyed_hash.h"

namespace statecast {

inline constexpr size_t kRevocationsMax = 100'000;

class Revocations {
 public:
  struct Left {
    SessionId id;
    Duration remaining;
  };

  explicit Revocations(const KeyedHash::Key& key) : ends_(16, KeyedHash(key)) {}

  // Whether set() would take it.
  bool has_room(const SessionId& id) const { return ends_.size() < kRevocationsMax || ends_.contains(id); }
  // False when it is full. A revocation that stands already is not shortened.
  bool set(const SessionId& id, Instant ends) {
    auto at = ends_.find(id);
    if (at == ends_.end() && ends_.size() >= kRevocationsMax) return false;
    if (at == ends_.end())
      ends_.emplace(id, ends);
    else if (at->second < ends)
      at->second = ends;
    return true;
  }
  bool lift(const SessionId& id) { return ends_.erase(id) > 0; }
  bool contains(const SessionId& id, Instant now) const {
    if (ends_.empty()) return false;
    auto at = ends_.find(id);
    return at != ends_.end() && now < at->second;
  }
  size_t lift_ended(Instant now) {
    return std::erase_if(ends_, [now](const auto& e) { return e.second <= now; });
  }
  size_t size() const { return ends_.size(); }
  std::vector<Left> left(Instant now) const {
    std::vector<Left> out;
    for (const auto& [id, ends] : ends_)
      if (now < ends) out.push_back({id, ends - now});
    return out;
  }

 private:
  std::unordered_map<SessionId, Instant, KeyedHash> ends_;
};

}  // namespace statecast
