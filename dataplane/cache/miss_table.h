// SPDX-License-Identifier: BSD-3-Clause
// Miss table: the packets that a worker holds while the directory is asked about their session.
//
//   auto misses = MissTable::create({.packets = 16'384, .packets_per_group = 8'192});
//   switch (misses->hold(key, group, packet, bytes, now)) {
//     case Hold::first: ask(key, group); break;     // nothing was held of this session
//     case Hold::held: break;                       // the question is out
//     case Hold::full: drop(packet, miss_full);     // a bound of the session, the group or the table
//   }
//   size_t n = misses->release(key, out);           // resolved, or given up: the caller's again, in order
//   misses->lend_first(key);                        // `first` travels with the question: null in its place from then
//   on
//
// Bounds (design, "Miss"): 4 packets and 6 KB per session, and `packets` in all and per group, so that one group's
// unknown sessions do not take the place of another's. A packet that is larger than 6 KB is not held.
// Threads: one (a worker's own). Ownership: packets that are held are the table's in name only: who destroys a table
// that is not empty has taken them out before (expire with a late time). No allocation after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "dataplane/session/session_id.h"

struct rte_mbuf;  // opaque here

namespace statecast {

inline constexpr size_t kMissPacketsPerSession = 4;
inline constexpr uint32_t kMissBytesPerSession = 6 * 1024;

struct MissTableOptions {
  uint32_t packets = 16'384;
  uint32_t packets_per_group = 8'192;
};

enum class Hold : uint8_t { held, first, full };

class MissTable {
 public:
  static Result<std::unique_ptr<MissTable>> create(const MissTableOptions& options);

  // Full: the packet stays the caller's.
  Hold hold(const SessionKey& key, GroupId group, rte_mbuf* packet, uint32_t bytes, Instant now);
  // The caller's again; its place stays its own, so that what comes behind it is held. REQUIRES: hold() said `first`.
  rte_mbuf* lend_first(const SessionKey& key);
  // Takes the session's packets out, in the order in which they came; returns how many, those lent (null) among them.
  size_t release(const SessionKey& key, rte_mbuf* out[kMissPacketsPerSession]);
  // Takes out whole sessions whose first packet came at or before `older_than`, oldest first, as long as they fit in
  // `n` (at least 4). The safety net for answers that never come; returns how many packets.
  size_t expire(Instant older_than, rte_mbuf* out[], size_t n);

  size_t packets() const { return packets_; }  // held now
  size_t sessions() const { return sessions_in_use_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Session {
    SessionKey key;
    Instant since;
    rte_mbuf* packets[kMissPacketsPerSession];
    uint32_t group;         // place in groups_
    uint32_t next;          // in its bucket, or among the free ones
    uint32_t older, newer;  // by age
    uint32_t bytes;
    uint32_t count;
  };
  struct Group {
    GroupId id;
    uint32_t packets;
    uint32_t next;
  };

  explicit MissTable(const MissTableOptions& options);
  uint32_t* session_bucket(const SessionKey& key) { return &session_buckets_[key.low & (session_buckets_.size() - 1)]; }
  uint32_t* group_bucket(GroupId g) { return &group_buckets_[(g.value * 0x9e3779b1u) & (group_buckets_.size() - 1)]; }
  uint32_t find_session(const SessionKey& key);
  uint32_t find_group(GroupId id);
  uint32_t add_group(GroupId id);
  void leave_group(uint32_t group, uint32_t packets);
  size_t take(uint32_t session, rte_mbuf* out[]);

  MissTableOptions options_;
  std::vector<Session> sessions_;  // every one holds a packet, so as many as there may be packets suffice
  std::vector<Group> groups_;      // those that hold packets; as many suffice, too
  std::vector<uint32_t> session_buckets_, group_buckets_;
  uint32_t free_session_ = kNone, free_group_ = kNone;
  uint32_t oldest_ = kNone, newest_ = kNone;
  size_t packets_ = 0, sessions_in_use_ = 0;
};

}  // namespace statecast
