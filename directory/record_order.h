// SPDX-License-Identifier: BSD-3-Clause
// Which of two records of one session stands, and what versions owners, revocations and their lifts have.
//
//   if (supersedes(incoming, held)) ...
//
// Threads: pure functions. Ownership: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/rng.h"
#include "base/units.h"
#include "directory/messages.h"

namespace statecast {

// The term of a session's first owner, and what its insert has instead until W replicas hold it: so that where two
// owners have each inserted a session, out of reach of each other, what was promised stands.
inline constexpr uint16_t kDegradedTerm = 0;  // nothing is promised
inline constexpr uint16_t kUnsureTerm = 1;    // not here, but another coordinator may have counted W
inline constexpr uint16_t kFirstTerm = 2;

// The operator's or owner's unrevoke leaves a removal tombstone of incarnation 0, which no owner has.
inline bool is_lift(const Record& r) {
  return r.state == RecordState::removed && r.version.incarnation == 0;
}
// A revocation goes this many terms above what its coordinator knows, so that it stands above what that one may have
// missed: a mapping that passed on to other owners, or the unrevoke of an earlier revocation.
inline constexpr int kRevocationTerms = 64;
// Owners stay so far below the end of the terms that a revocation always finds room above them, and leave the last
// incarnation to it.
inline constexpr int kTermMax = 0xfffe;
inline constexpr int kOwnerTermMax = kTermMax - kRevocationTerms;
inline bool owner_may_say(const Version& v) {
  return v.term <= kOwnerTermMax && v.incarnation < kId24Max;
}
// Its version is above all that an owner can say in its term; the counter, its name (Revoke::name), tells it from
// another revocation in the same term, and an unrevoke says by it which one it lifts.
inline Version revocation_version(int term, uint64_t name) {
  return {static_cast<uint16_t>(std::min(term, kTermMax)), kId24Max, name};
}
inline Version lift_version(const Version& revocation) {
  return {static_cast<uint16_t>(revocation.term + 1), 0, revocation.counter};
}
inline uint64_t draw_revocation_name(Rng& rng) {
  return rng.between(1, kCounterMask);
}
// Of one owner's mappings: it has said this one first, whatever term it got.
inline bool said_before(const Record& a, const Record& b) {
  return a.owner == b.owner &&
         std::pair(a.version.incarnation, a.version.counter) < std::pair(b.version.incarnation, b.version.counter);
}
// Of two held records of one session the one that all replicas end with. Not reflexive: equal records do not supersede.
bool supersedes(const Record& incoming, const Record& existing);
// As it goes over the wire: with its remaining time.
inline uint32_t wire_remaining(Instant expires, Instant now) {
  return static_cast<uint32_t>(std::clamp<int64_t>(to_ms(expires - now), 0, UINT32_MAX));
}
Record wire_record(const Record& record, Instant expires, Instant now);

}  // namespace statecast
