// SPDX-License-Identifier: BSD-3-Clause
// What a node takes on: requests at one time, and records.
#include "directory/node_state.h"

namespace statecast {

bool Node::State::pending_room(NodeId origin) {
  const size_t* of_origin = pending.find(origin);
  bool room =
      (!of_origin || *of_origin < kPendingPerOriginMax) && writes.size() < kPendingMax && open_requests < kPendingMax;
  if (!room) ++count.request_over_limit;
  return room;
}

// What is known already has its room. Mappings that have not become active, as a flood of connection set-ups makes
// them, get half of it and no more; and where it runs out, a group that has more than its equal part has to wait for
// the others.
bool Node::State::room_for(const Record& r, Instant now) {
  const size_t used = store.size() + placed.size(), most = options.records_max;
  auto known = [&] { return store.find(r.key, now) || placed.contains(r.key); };
  if (is_tombstone(r.state)) {
    if (used < most + most / 8 || known()) return true;
    ++count.store_full;
    return false;
  }
  if (r.state == RecordState::half_open && store.half_open() + placed.size() >= most / 2 && !known()) {
    ++count.store_half_open;
    return false;
  }
  if (used >= most - most / 8 && store.of_group(r.group) >= most / groups.size() && groups.size() > 1 && !known()) {
    ++count.store_group;
    return false;
  }
  if (used < most || known()) return true;
  ++count.store_full;
  return false;
}

}  // namespace statecast
