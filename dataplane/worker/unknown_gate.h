// SPDX-License-Identifier: BSD-3-Clause
// Unknown gate: which questions about sessions that the cache does not know are worth asking while there are more of
// them than the directory can answer. Most are about sessions that nobody has: random IDs of a flood.
//
//   pressure.on = true;  pressure.absence = map;              // control thread
//   gate.see_proven(source, now);                             // worker: a packet of a live session
//   if (!gate.passes(key, group, source, now)) drop;          // worker: a packet that would be held and asked about
//
// A session that the summaries do not call absent passes. An absent one is asked about all the same where its source
// has tokens left, since a summary is a little old and a session may be new: a bucket for each prefix of sources (/24,
// /48), inside one for the group. A source that has a live session here competes in a bucket of its own, which a flood
// from other addresses does not empty. Threads: Pressure: control writes, workers read. A gate: one worker. Ownership:
// the map is the control thread's, which keeps an old one until each worker has ended its turn.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/units.h"
#include "dataplane/session/absence.h"
#include "dataplane/worker/snapshot.h"
#include "dataplane/worker/token_bucket.h"

namespace statecast {

struct Pressure {
  std::atomic<bool> on{false};
  std::atomic<const AbsenceMap*> absence{nullptr};
};

class UnknownGate {
 public:
  static constexpr double kPerPrefixPerSecond = 10;
  static constexpr unsigned kPerPrefixAtOnce = 5;
  static constexpr Duration kProvenFor = 30s;  // to twice as long

  // `workers` share each group's absent_per_second. `seed`: so that nobody knows who shares a place with whom.
  UnknownGate(const Layout& layout, unsigned workers, const Pressure& pressure, uint64_t seed);

  bool active() const { return pressure_->on.load(std::memory_order_relaxed); }
  void see_proven(const IpAddress& source, Instant now);
  bool passes(const SessionKey& key, uint32_t group, const IpAddress& source, Instant now);

 private:
  static constexpr unsigned kProvenBits = 1u << 18;
  static constexpr unsigned kPrefixes = 1u << 14;
  struct GroupBuckets {
    TokenBucket proven, others;
  };
  uint64_t hash(uint64_t prefix) const;
  bool take_of_prefix(const IpAddress& source, Instant now);
  bool is_proven(const IpAddress& source) const;

  const Pressure* pressure_;
  uint64_t seed_;
  std::vector<GroupBuckets> groups_;  // as Layout::groups
  // Two generations: what was seen since `proven_since_`, and in the time before.
  std::array<std::vector<uint64_t>, 2> proven_;
  Instant proven_since_{};
  std::vector<Instant> prefixes_;  // when each one's bucket will be full again
};

}  // namespace statecast
