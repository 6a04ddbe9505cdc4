// SPDX-License-Identifier: BSD-3-Clause
// Querier: a proxy's side of the directory. Turns "I have no lease for this session" into one outstanding question,
// asks the replicas in turn (retry after max(30 ms, 2 x RTT), hedged, three tries), and turns answers into cache events.
//
//   querier.ask(key, group, now);                        // no-op while one question of this session is out
//   querier.on_message(from, bytes, now);                // QueryAnswer, Entry, Purge
//   for (CacheEvent e; querier.next_event(e);) apply(e);  // to the session cache, by its one writer
//
// A lease counts from when the question left, minus safety_margin(); "none" counts when R-W+1 in-sync replicas say so;
// an unconfirmed or timed-out answer is `unanswered` and is never cached as negative.
// Threads: one. Ownership: owns its questions; `packet` of an event is valid until the next call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/units.h"
#include "directory/messages.h"
#include "directory/view.h"

namespace statecast {

struct CacheEvent {
  enum class Kind : uint8_t {
    lease,        // set or renew the entry: member/stateless until lease_ends, lease_bytes more to spend
    tombstone,    // the entry becomes DROP until lease_ends
    none,         // confirmed: no mapping; negative entry, and the group's answer for unknown sessions
    no_bytes,     // every share is spent: drop until the time ends or a refresh
    unavailable,  // the owner is dead: drop, cached for at most 1 s (lease_ends)
    unanswered,   // gave up: nothing cached (miss_timeout)
    purge,        // drop the entry if its version is not newer
    packet,       // Entry's packet for the client (comes after its `lease`)
  };
  Kind kind = Kind::none;
  SessionKey key;
  GroupId group;
  Target target = Target::member;
  MemberId member;
  Version version;
  Instant lease_ends{};
  uint64_t lease_bytes = 0;  // kUnlimitedBytes: no bound
  Bytes packet;
};

struct QuerierOptions {
  ProxyId self;
  View view;
  uint32_t boot = 0;                                    // of this proxy: an Entry must echo it
  std::function<uint64_t(Instant)> timestamp_us;        // this proxy's stamp clock
  std::function<bool(GroupId)> partition_available;
  size_t questions_max = 100'000;
  Duration lease_cap = 10s;
};

class Querier {
 public:
  Querier(QuerierOptions options, uint64_t seed);
  ~Querier();

  // False when the bound on questions is reached (the caller counts it). While a question of this key is out, true.
  bool ask(const SessionKey& key, GroupId group, Instant now);
  // Handles QueryAnswer, Entry, Purge; true if it was one of these and well-formed.
  bool on_message(NodeId from, Bytes message, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  bool next_output(DirectoryOutput& out);
  bool next_event(CacheEvent& out);
  size_t outstanding() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace statecast
