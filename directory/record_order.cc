// SPDX-License-Identifier: BSD-3-Clause
#include "directory/record_order.h"

#include <algorithm>
#include <tuple>

#include "directory/broken.h"

namespace statecast {

// A total order, so that late copies die out and all replicas end with the same record.
bool supersedes(const Record& in, const Record& ex) {
  auto rank = [](const Record& r) {
    bool revoked = r.state == RecordState::revoked;
    if (broken(Broken::ignore_term))
      return std::tuple(uint16_t{0}, revoked, 0u, r.version.incarnation, r.version.counter, is_tombstone(r.state));
    return std::tuple(r.version.term, revoked, ~r.owner.value, r.version.incarnation, r.version.counter,
                      is_tombstone(r.state));
  };
  return rank(in) > rank(ex);
}

Record wire_record(const Record& record, Instant expires, Instant now) {
  Record r = record;
  r.remaining_ms = wire_remaining(expires, now);
  return r;
}

}  // namespace statecast
