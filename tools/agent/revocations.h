// SPDX-License-Identifier: BSD-3-Clause
// Revocations: the sessions that this member has cut off, or was told to, and until when. They outlive the program on
// disk (state_io.h), because a restarted agent must not insert the socket of a revoked session again.
//
//   revocations.set(id, now + 10min, owner.revocation_name(id));
//   if (revocations.contains(id, now)) drop();
//
// Threads: one. Ownership: value; bounded.
#pragma once

#include <algorithm>
#include <cstdint>
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
    uint64_t name = 0;  // the directory's, so that it is the same revocation after a restart; 0: not known
  };

  explicit Revocations(const KeyedHash::Key& key) : standing_(16, KeyedHash(key)) {}

  // Whether set() would take it.
  bool has_room(const SessionId& id) const { return standing_.size() < kRevocationsMax || standing_.contains(id); }
  // False when it is full. A revocation that stands already is not shortened.
  bool set(const SessionId& id, Instant ends, uint64_t name) {
    auto at = standing_.find(id);
    if (at == standing_.end() && standing_.size() >= kRevocationsMax) return false;
    if (at == standing_.end()) at = standing_.emplace(id, Standing{}).first;
    at->second = {std::max(at->second.ends, ends), name};
    return true;
  }
  bool lift(const SessionId& id) { return standing_.erase(id) > 0; }
  bool contains(const SessionId& id, Instant now) const {
    if (standing_.empty()) return false;
    auto at = standing_.find(id);
    return at != standing_.end() && now < at->second.ends;
  }
  size_t lift_ended(Instant now) {
    return std::erase_if(standing_, [now](const auto& e) { return e.second.ends <= now; });
  }
  size_t size() const { return standing_.size(); }
  std::vector<Left> left(Instant now) const {
    std::vector<Left> out;
    for (const auto& [id, r] : standing_)
      if (now < r.ends) out.push_back({id, r.ends - now, r.name});
    return out;
  }

 private:
  struct Standing {
    Instant ends{};
    uint64_t name = 0;
  };
  std::unordered_map<SessionId, Standing, KeyedHash> standing_;
};

}  // namespace statecast
