// SPDX-License-Identifier: BSD-3-Clause
// What the directory says of a session, put into the session cache: the one translation between the two, for the proxy
// and for the simulator.
//
//   for (CacheEvent e; querier.next_event(e);) apply_to_cache(cache, e, group.negative, now);
//
// Threads: the cache's writer. Ownership: none.
#pragma once

#include <functional>

#include "dataplane/cache/session_cache.h"
#include "directory/querier.h"

namespace statecast {

// `negative`: how long a confirmed unknown session is one. An event of kind `packet` is the caller's.
void apply_to_cache(SessionCache& cache, const CacheEvent& e, Duration negative, Instant now);

// An entry asks once for each renewal. Where none comes, it has to ask once more before its lease is over.
void ask_again_later(SessionCache& cache, const SessionKey& key, Instant now);

// An insert that passes here, to be coordinated, relayed or stored, ends what this proxy believed of an unknown
// session. `secret_of` may say nullptr: not a group of ours.
void forget_negative(SessionCache& cache, Bytes message, const std::function<const GroupSecret*(GroupId)>& secret_of);

}  // namespace statecast
