// SPDX-License-Identifier: BSD-3-Clause
// Selection: which member takes a packet that no mapping speaks for. Weighted rendezvous over the group's reachable
// members: every proxy comes to the same choice without a word between them, and a member that comes or goes moves only
// its own share.
//
//   const GroupMember* m = select_member(group, snapshot.peers, key.low);   // bootstrapping: by session key
//   m = select_member(group, snapshot.peers, source_hash(group, source));   // stateless: by source address
//
// Threads: pure functions. Ownership: none.
#pragma once

#include <vector>

#include "dataplane/worker/snapshot.h"

namespace statecast {

// nullptr when no member with a weight is reachable.
const GroupMember* select_member(const Group& group, const std::vector<PeerHop>& peers, uint64_t hash);

// Keyed by the group's secret, so that nobody outside can aim at one member.
uint64_t source_hash(const Group& group, const IpAddress& source);

}  // namespace statecast
