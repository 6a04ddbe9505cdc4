// SPDX-License-Identifier: BSD-3-Clause
// Versions of records that were a while ago, and of which late copies are refused.
//
//   VersionMemory withdrawn;
//   withdrawn.remember({key, owner, version}, now + 15s, now);
//   if (withdrawn.contains({key, owner, version})) refuse();
//
// At most kMost; of more, those that are over first go first. What is over is forgotten with the next one that comes.
// Threads: one. Ownership: value.
#pragma once

#include <cstddef>
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

  bool contains(const VersionKey& v) const { return known_.contains(v); }
  void remember(const VersionKey& v, Instant until, Instant now) {
    if (known_.insert(v).second) ends_.emplace(until, v);
    while (!ends_.empty() && (ends_.size() > kMost || ends_.begin()->first <= now)) {
      known_.erase(ends_.begin()->second);
      ends_.erase(ends_.begin());
    }
  }

 private:
  std::set<VersionKey> known_;
  std::set<std::pair<Instant, VersionKey>> ends_;
};

}  // namespace statecast
