// SPDX-License-Identifier: BSD-3-Clause
// Absence: what the summaries of the directory's replicas say of a session that no cache entry knows. A session is
// absent where as many replicas of its slot as would confirm "no mapping" have a summary that lacks it.
//
//   AbsenceMap map(placement, 3, 2, sources);
//   if (map.absent(key, now)) ...                 // nobody needs to be asked
//
// Threads: immutable, but for the filters and times that the sources share with their writer: absent() from any.
// Ownership: shares its placement, filters and times.
#pragma once

#include <atomic>
#include <bitset>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/units.h"
#include "dataplane/session/session_filter.h"

namespace statecast {

class AbsenceMap {
 public:
  static constexpr size_t kSlots = 65'536;

  // One replica's summary. Its word counts for the slots of `counts` (it is in sync there) and until `fresh_until`.
  struct Source {
    std::shared_ptr<const SessionFilter> filter;  // null: none yet
    std::shared_ptr<const std::atomic<Instant>> fresh_until;
    std::bitset<kSlots> counts;
  };
  // `placement`: slot-major, `replicas` indices into `sources` each. `agree`: how many must lack a session.
  AbsenceMap(std::shared_ptr<const std::vector<uint16_t>> placement, unsigned replicas, unsigned agree,
             std::vector<Source> sources)
      : placement_(std::move(placement)), replicas_(replicas), agree_(agree), sources_(std::move(sources)) {}

  bool absent(const SessionKey& key, Instant now) const {
    const uint16_t slot = key.slot().value;
    const uint16_t* of_slot = placement_->data() + size_t(slot) * replicas_;
    unsigned lacking = 0;
    for (unsigned r = 0; r < replicas_ && lacking < agree_; ++r) {
      const Source& s = sources_[of_slot[r]];
      if (!s.filter || !s.counts.test(slot) || s.fresh_until->load(std::memory_order_acquire) <= now) continue;
      if (s.filter->may_have(key)) return false;  // one that has it is enough to ask
      ++lacking;
    }
    return lacking >= agree_;
  }

 private:
  std::shared_ptr<const std::vector<uint16_t>> placement_;
  unsigned replicas_, agree_;
  std::vector<Source> sources_;
};

}  // namespace statecast
