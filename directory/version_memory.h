// SPDX-License-Identifier: BSD-3-Clause
// Versions of records that were a while ago, and of which late copies are refused.
//
//   VersionMemory withdrawn;
//   withdrawn.remember({key, owner, version}, now + 15s, now);
//   if (withdrawn.contains({key, owner, version}, now)) refuse();
//
// At most kMost; of more, those that are over first go first.
// Threads: one. Ownership: value.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/session/session_id.h"

namespace statecast {

// One version of one owner's record.
struct VersionKey {
  SessionKey key;
  NodeId owner;
  Version version;
  auto operator<=>(const VersionKey&) const = default;
};

class VersionMemory {
 public:
  static constexpr size_t kMost = 65'536;

  bool contains(const VersionKey& v, Instant now) const {
    const auto at = known_.find(v);
    return at != known_.end() && at->second > now;
  }
  // Until the later of what is known and this.
  void remember(const VersionKey& v, Instant until, Instant now) {
    while (!ends_.empty() && ends_.begin()->first <= now) forget_first();
    const auto [at, first] = known_.try_emplace(v, until);
    if (!first && at->second >= until) return;
    if (!first) ends_.erase({at->second, v});
    at->second = until;
    ends_.emplace(until, v);
    if (ends_.size() > kMost) forget_first();
  }

 private:
  void forget_first() {
    known_.erase(ends_.begin()->second);
    ends_.erase(ends_.begin());
  }
  std::map<VersionKey, Instant> known_;
  std::set<std::pair<Instant, VersionKey>> ends_;
};

}  // namespace statecast
