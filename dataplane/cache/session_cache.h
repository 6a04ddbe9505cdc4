// SPDX-License-Identifier: BSD-3-Clause
// Session cache: session key -> cache entry, with what is left of its lease in bytes and time. Many readers without
// locks, one writer.
//
//   SessionCache cache({.sessions = 1'000'000});
//   cache.lookup(keys, bytes, n, now, out);    // a burst: spends the packets' bytes, tells what to do with each
//   cache.put(key, entry, now);                // writer: from a CacheEvent
//
// On rte_hash (RW_CONCURRENCY_LF, RCU by rte_rcu_qsbr) with one 64-bit word per entry that packets change by atomics
// only: {destination, bytes left, coarse expiry rounded down, flags}. Version, owner and grant lie in a cold array by
// slot number.
// Bound: bytes passed <= bytes granted + one burst (32 packets) per core.
// Threads: lookup() from registered readers (worker threads); put(), remove(), sweep() from the control thread only.
// Readers call quiescent() once a burst. Ownership: owns its table.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/session/session_id.h"

namespace statecast {

enum class CacheTarget : uint8_t { member, drop, stateless, negative, unavailable };

struct CacheEntry {
  CacheTarget target = CacheTarget::member;
  MemberId member;
  GroupId group;
  Version version;
  Instant ends{};                        // lease time
  uint64_t bytes = UINT64_MAX;           // UINT64_MAX: no bound
};

enum class CacheVerdict : uint8_t {
  miss,         // nothing known: ask
  forward,      // to `member`; its bytes are spent
  stateless,    // handle without state
  drop,         // revoked or removed: DROP entry
  spent,        // live, but its bytes are spent: drop until refreshed
  expired,      // time ended: ask
  negative,     // confirmed unknown: the group's answer
  unavailable,  // the owner is dead
};

struct CacheHit {
  CacheVerdict verdict = CacheVerdict::miss;
  MemberId member;
  bool ask_again = false;  // half of the time or of the bytes is gone and this lookup is the first to see it: ask now
};

struct SessionCacheOptions {
  uint32_t sessions = 1'000'000;
  uint32_t negative = 65'536;
  uint32_t readers = 1;
  Instant zero{};  // start of the coarse clock
};

class SessionCache {
 public:
  static Result<std::unique_ptr<SessionCache>> create(const SessionCacheOptions& options);
  ~SessionCache();

  // n <= 64. `bytes[i]`: inner packet's IP length, spent where the verdict is forward or stateless.
  void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]);
  void register_reader(unsigned reader);
  void quiescent(unsigned reader);

  // Adds or renews. A version older than the entry's is ignored (false). A renewal sets the time and *adds* the bytes
  // to what is left. When full: replaces an expired entry, else the one with the lowest recent rate of a sample.
  bool put(const SessionKey& key, const CacheEntry& entry, Instant now);
  // Member's or directory's word: what remains is `ends`; used by purge (drop if version is not newer than `version`).
  bool remove_if_not_newer(const SessionKey& key, const Version& version);
  bool remove_negative(const SessionKey& key);
  std::optional<CacheEntry> find(const SessionKey& key, Instant now) const;  // for the command line; bytes = left
  // Frees what has been over for a while; looks at up to `count` entries, going round. Returns how many it freed.
  size_t sweep(size_t count, Instant now);
  // A group or member that was removed by reload, for the control thread's list.
  void for_each(const std::function<void(const SessionKey&, const CacheEntry&)>& f, Instant now) const;

  struct Stats { uint64_t entries, negative, evicted, insert_failed; };
  Stats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace statecast
