// SPDX-License-Identifier: BSD-3-Clause
// Session cache: session key -> cache entry, with what is left of its lease in bytes and time. Many readers without
// locks, one writer.
//
//   auto cache = SessionCache::create({.sessions = 1'000'000, .readers = 2});  // after rte_eal_init
//   cache->lookup(keys, bytes, n, now, out);    // a burst: spends the packets' bytes, tells what to do with each
//   cache->put(key, entry, now);                // writer: from a CacheEvent
//
// One 64-bit word per entry is all that packets change, by compare-and-swap: {destination, coarse expiry rounded down,
// flags, bytes left}. Version and what else only the writer needs lie in a cold array by slot number. Where the words
// stand is the table's affair: `lines` is made for this, at most 40 bytes per entry in all; `rte_hash` is the
// reference. Bound: a packet passes only if all its bytes are left, so that bytes passed never exceed bytes granted
// (the design would allow one burst per core more). Threads: lookup() and quiescent() from registered readers
// (workers), each with its own number; everything else from the one writer (control thread); stats() from anywhere.
// Readers call quiescent() once a burst, also an empty one (rte_hash reclaims by it; lines needs no word from its
// readers). Ownership: owns its table.
#pragma once

#include <cstdint>
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
  Instant ends{};               // lease time, the safety margin already taken off
  uint64_t bytes = UINT64_MAX;  // granted; UINT64_MAX: no bound; 0: no bytes to be had until `ends` or a renewal
  // target drop only. false: a revocation; nothing lifts it but its end and Tombstones::lift. true: a removal
  // tombstone, which a lease of a newer version passes.
  bool removed = false;
};

enum class CacheVerdict : uint8_t {
  miss,         // nothing known: ask
  forward,      // to `member`; its bytes are spent
  stateless,    // handle without state; its bytes are spent
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

enum class SessionTable : uint8_t { lines, rte_hash };

struct SessionCacheOptions {
  uint32_t sessions = 1'000'000;  // leases, tombstones, unavailable owners
  uint32_t negative = 65'536;     // negative entries, in a space of their own
  uint32_t readers = 1;
  Instant zero{};             // start of the coarse clock
  Duration floor_time = 10s;  // how long a purge keeps older leases out: the longest lease cap
  uint64_t seed = 1;          // of the samples that eviction draws
  SessionTable table = SessionTable::lines;
};

// What a purge does to a DROP entry: a member's `not mine` must not lift a tombstone, the directory's word does.
enum class Tombstones : uint8_t { lift, keep };

inline constexpr size_t kCacheBurstMax = 64;

class SessionCache {
 public:
  // REQUIRES: rte_eal_init done. Works without huge pages.
  static Result<std::unique_ptr<SessionCache>> create(const SessionCacheOptions& options);
  ~SessionCache();

  // Starts loading what lookup() of the same keys will read; for when there is other work to do before it. rte_hash
  // shows nobody its buckets, so there it does nothing.
  void prefetch(const SessionKey keys[], size_t n) const;
  // n <= 64. `bytes[i]`: inner packet's IP length, spent where the verdict is forward or stateless. 0 only looks: it
  // neither spends nor asks again.
  void lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]);
  void register_reader(unsigned reader);
  void unregister_reader(unsigned reader);
  void quiescent(unsigned reader);

  // Adds or renews; false if the entry was not taken: it is over, older than what stands there, or there is no room.
  //   - A version older than a live entry's is ignored. Versions of two members compare by term alone.
  //   - A renewal (same destination) *adds* the bytes to what is left, and the time ends at the later of the two, or
  //     at the new one if the version is newer. Another destination replaces both. After its end nothing is left.
  //   - A revocation stands over every lease; a removal tombstone over those that are not newer. `negative` gives way
  //     to everything and displaces nothing live.
  // When full: an expired entry makes room, else the one with the lowest recent rate of a sample, groups beyond their
  // fair share first; never a tombstone that lasts.
  bool put(const SessionKey& key, const CacheEntry& entry, Instant now);
  // Drops the entry if its version is not newer than `version`, and keeps older leases out for `floor_time` (an answer
  // that was on its way when the purge overtook it). True if something was dropped.
  bool remove_if_not_newer(const SessionKey& key, const Version& version, Instant now,
                           Tombstones tombstones = Tombstones::lift);
  bool remove_negative(const SessionKey& key);
  // On ask_again, before asking: true if the entry still had granted bytes in reserve (a grant beyond the word's field
  // of 128 MiB) and goes on with those.
  bool refill(const SessionKey& key, Instant now);

  // bytes = left; `ends` is rounded to milliseconds, a lease's down, a tombstone's up.
  std::optional<CacheEntry> find(const SessionKey& key, Instant now) const;
  // Frees what is over; looks at up to `count` slots, going round. Returns how many it freed. The coarse clock comes
  // round after 9 minutes; should no round of sweeps end within half of that (a long pause of the process), lookups
  // treat every entry as expired until one does.
  size_t sweep(size_t count, Instant now);
  size_t slots() const;         // how many a round of sweeps goes over
  size_t memory_bytes() const;  // hot, cold and the writer's lists

  struct Stats {
    uint64_t entries, negative, evicted, insert_failed;
  };
  Stats stats() const;

  struct State;  // session_ledger.h

 private:
  explicit SessionCache(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace statecast
