// SPDX-License-Identifier: BSD-3-Clause
// The cache, over either table, against a slow twin over random histories: a map, linear expiry, bytes counted one by
// one. The twin knows nothing of words, slots or wraps; what it shares with the cache is the rules of session_cache.h,
// the length of a tick, and how many binary digits a mark has. A failure prints the seed; STATECAST_SEED=n runs
// that history again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_word.h"

namespace statecast {
namespace {

constexpr Instant kStart{2000h};
constexpr Duration kTick{int64_t(1) << kTickBits};
Instant floor_tick(Instant t) {
  return Instant(t.time_since_epoch() / kTick * kTick);
}

// Ends are kept to the millisecond, a lease's rounded down, a tombstone's up.
Instant kept(CacheTarget t, Instant ends) {
  using std::chrono::milliseconds;
  if (ends == Instant::max()) return ends;
  return t == CacheTarget::drop ? std::chrono::ceil<milliseconds>(ends) : std::chrono::floor<milliseconds>(ends);
}
// `x` with no more than so many leading binary digits.
uint64_t leading(unsigned digits, uint64_t x, bool up) {
  uint64_t unit = 1;
  while (x / unit >= uint64_t(1) << digits) unit *= 2;
  return (up ? (x + unit - 1) / unit : x / unit) * unit;
}

struct Twin {
  struct Entry {
    CacheTarget target;
    bool is_floor = false;
    MemberId member;
    Version version;
    bool removed;
    Instant ends;  // as given
    Instant over;  // when it reads as over
    std::optional<uint64_t> left;
    Instant half_time;
    uint64_t half_bytes;
    bool may_ask, asked;
  };
  std::map<SessionKey, Entry> entries;

  static Instant over_at(CacheTarget t, Instant ends) {
    return floor_tick(kept(t, ends)) + (t == CacheTarget::drop ? kTick : Duration(0));
  }
  static void arm(Entry& e, Instant now, bool may_ask, Instant until = Instant::max()) {
    const Instant half =
        floor_tick(now) + (std::min(e.over, floor_tick(kept(e.target, until))) - floor_tick(now)) / kTick / 2 * kTick;
    e.half_time = e.over - leading(6, uint64_t((e.over - half) / kTick), may_ask) * kTick;
    e.half_bytes = leading(3, e.left.value_or(0) / 2, true);
    e.may_ask = may_ask;
    e.asked = false;
  }
  static bool by_term(MemberId a, MemberId b) { return a != MemberId{} && b != MemberId{} && a != b; }
  static bool older(const CacheEntry& n, const Entry& o) {
    return by_term(n.member, o.member) ? n.version.term < o.version.term : n.version < o.version;
  }
  static bool newer(const CacheEntry& n, const Entry& o) {
    return by_term(n.member, o.member) ? n.version.term > o.version.term : n.version > o.version;
  }
  static bool is_lease(CacheTarget t) { return t == CacheTarget::member || t == CacheTarget::stateless; }

  void expire(Instant now) {
    std::erase_if(entries, [&](const auto& e) { return e.second.over <= floor_tick(now); });
  }
  void set(const SessionKey& k, const CacheEntry& n, Instant now, Version version, bool is_floor = false) {
    Entry e{n.target, is_floor, n.member, version, n.removed, n.ends, over_at(n.target, n.ends),
            {},       {},       0,        true,    false};
    if (is_lease(n.target) && !is_floor && n.bytes != UINT64_MAX) e.left = n.bytes;
    arm(e, now, n.bytes != 0);
    entries[k] = e;
  }
  bool put(const SessionKey& k, CacheEntry n, Instant now) {
    expire(now);
    if (n.target == CacheTarget::drop) n.ends = std::max(n.ends, now);
    if (over_at(n.target, n.ends) <= floor_tick(now)) return false;
    auto it = entries.find(k);
    if (it == entries.end()) {
      set(k, n, now, n.version);
      return true;
    }
    Entry& o = it->second;
    const bool revocation = n.target == CacheTarget::drop && !n.removed;
    if (o.target == CacheTarget::drop && !o.is_floor) {
      if (n.target == CacheTarget::drop) {
        if (n.removed && !o.removed) return false;
        if (n.removed == o.removed && older(n, o)) return false;
        n.ends = std::max(n.ends, o.ends);
        set(k, n, now, std::max(n.version, o.version));
        return true;
      }
      if (!is_lease(n.target) || !o.removed || !newer(n, o)) return false;
      set(k, n, now, n.version);
      return true;
    }
    if (revocation) {
      set(k, n, now, std::max(n.version, o.version));
      return true;
    }
    if (n.target == CacheTarget::negative) {
      if (!o.is_floor && o.target != CacheTarget::negative) return false;
      set(k, n, now, std::max(n.version, o.version));
      return true;
    }
    if (older(n, o)) return false;
    if (o.is_floor || !is_lease(o.target) || n.target != o.target || n.member != o.member) {
      set(k, n, now, n.target == CacheTarget::drop ? std::max(n.version, o.version) : n.version);
      return true;
    }
    // A renewal.
    const bool is_newer = newer(n, o);
    o.version = n.version;
    if (n.bytes != 0) {
      o.ends = is_newer ? n.ends : std::max(n.ends, o.ends);
      o.over = over_at(o.target, o.ends);
    }
    if (n.bytes == UINT64_MAX) {
      o.left.reset();
    } else if (o.left) {
      *o.left += n.bytes;
    } else if (n.bytes != 0) {
      o.left = n.bytes;
    }
    arm(o, now, n.bytes != 0, n.bytes != 0 ? Instant::max() : n.ends);
    return true;
  }
  bool purge(const SessionKey& k, Version v, Instant now, Tombstones tombstones) {
    expire(now);
    auto it = entries.find(k);
    bool dropped = false;
    if (it != entries.end()) {
      Entry& o = it->second;
      if (o.version > v) return false;
      if (o.target == CacheTarget::drop && !o.is_floor) {
        if (tombstones == Tombstones::keep) return false;
        entries.erase(it);
        return true;
      }
      dropped = !o.is_floor;
    }
    set(k, {.target = CacheTarget::member, .version = v, .ends = now + 10s}, now, v, true);
    return dropped;
  }
  bool remove_negative(const SessionKey& k, Instant now, bool& in_doubt) {
    auto it = entries.find(k);
    in_doubt = it == entries.end() || it->second.over <= floor_tick(now);  // what is over may have been swept or not
    if (in_doubt || it->second.is_floor || it->second.target != CacheTarget::negative) return false;
    entries.erase(it);
    return true;
  }
  CacheHit lookup(const SessionKey& k, uint32_t bytes, Instant now) {
    auto it = entries.find(k);
    if (it == entries.end() || it->second.is_floor) return {};
    Entry& e = it->second;
    if (e.over <= floor_tick(now)) return {};
    switch (e.target) {
      case CacheTarget::drop: return {CacheVerdict::drop, {}, false};
      case CacheTarget::negative: return {CacheVerdict::negative, {}, false};
      case CacheTarget::unavailable: return {CacheVerdict::unavailable, {}, false};
      default: break;
    }
    CacheHit hit{e.target == CacheTarget::member ? CacheVerdict::forward : CacheVerdict::stateless, e.member, false};
    bool low = false;
    if (e.left) {
      if (*e.left == 0 || bytes > *e.left) {
        hit.verdict = CacheVerdict::spent;
        low = true;
      } else {
        *e.left -= bytes;
        low = *e.left <= e.half_bytes;
      }
    }
    if (bytes != 0 && !e.asked) {
      hit.ask_again = (low && e.may_ask) || floor_tick(now) >= e.half_time;
      e.asked = hit.ask_again;
    }
    return hit;
  }
};

constexpr SessionKey key(uint64_t n) {
  return {n * 0xbf58476d1ce4e5b9u, n * 0x9e3779b97f4a7c15u};
}

void history(SessionTable table, uint64_t seed) {
  SCOPED_TRACE("STATECAST_SEED=" + std::to_string(seed));
  std::mt19937_64 rng(seed);
  auto below = [&](uint64_t n) { return rng() % n; };
  auto made = SessionCache::create({.sessions = 256, .negative = 256, .readers = 1, .zero = Instant{}, .table = table});
  ASSERT_TRUE(made);
  SessionCache& cache = **made;
  Twin twin;
  Instant now = kStart + Duration(below(1'000'000'000)), swept = now;

  enum Op {
    look,
    lease,
    no_bytes,
    revoke,
    removal,
    negative,
    unavailable,
    stateless,
    purge,
    not_mine,
    drop_negative,
    sweep,
    little,
    much,
    kOps
  };
  uint64_t weights[kOps], sum = 0;
  for (uint64_t& w : weights) sum += w = below(3) == 0 ? 0 : 1 + below(6);  // swarm: some are absent in some runs
  weights[look] += 10;
  weights[lease] += 3;
  sum += 13;
  const uint64_t keys = 1 + below(20);

  for (int step = 0; step < 600; ++step) {
    uint64_t pick = below(sum);
    int op = 0;
    while (pick >= weights[op]) pick -= weights[op++];
    const uint64_t which = below(keys);
    const SessionKey k = key(which);
    const Version v{uint16_t(below(3)), uint32_t(below(2)), below(4)};
    CacheEntry e{.member = {uint32_t(1 + below(2))},
                 .group = {uint32_t(1 + which % 3)},
                 .version = v,
                 .ends = now + Duration(below(uint64_t(Duration(12s).count()))),
                 .bytes = below(4) == 0 ? UINT64_MAX : 1 + below(20'000)};
    SCOPED_TRACE("step " + std::to_string(step) + ", op " + std::to_string(op));
    switch (op) {
      case look: {
        const size_t n = 1 + below(kCacheBurstMax);
        SessionKey k_of[kCacheBurstMax];
        uint32_t bytes[kCacheBurstMax];
        CacheHit hits[kCacheBurstMax];
        for (size_t i = 0; i < n; ++i) {
          k_of[i] = key(below(keys + 1));
          bytes[i] = below(8) == 0 ? 0 : uint32_t(below(1500));
        }
        cache.lookup(k_of, bytes, n, now, hits);
        for (size_t i = 0; i < n; ++i) {
          CacheHit want = twin.lookup(k_of[i], bytes[i], now);
          // Whether what is over was swept yet is no rule.
          if (hits[i].verdict == CacheVerdict::expired) hits[i].verdict = CacheVerdict::miss;
          ASSERT_EQ(hits[i].verdict, want.verdict) << i;
          ASSERT_EQ(hits[i].member, want.member) << i;
          ASSERT_EQ(hits[i].ask_again, want.ask_again) << i;
        }
        break;
      }
      case no_bytes: e.bytes = 0; [[fallthrough]];
      case lease: ASSERT_EQ(cache.put(k, e, now), twin.put(k, e, now)); break;
      case revoke:
      case removal:
        e.target = CacheTarget::drop;
        e.removed = op == removal;
        if (below(2)) e.member = {};
        ASSERT_EQ(cache.put(k, e, now), twin.put(k, e, now));
        break;
      case negative:
      case unavailable:
      case stateless:
        e.target = op == negative      ? CacheTarget::negative
                   : op == unavailable ? CacheTarget::unavailable
                                       : CacheTarget::stateless;
        e.member = {};
        if (op == negative) e.version = {};
        ASSERT_EQ(cache.put(k, e, now), twin.put(k, e, now));
        break;
      case purge:
      case not_mine: {
        const Tombstones t = op == purge ? Tombstones::lift : Tombstones::keep;
        ASSERT_EQ(cache.remove_if_not_newer(k, v, now, t), twin.purge(k, v, now, t));
        break;
      }
      case drop_negative: {
        bool in_doubt = false;
        const bool want = twin.remove_negative(k, now, in_doubt);
        const bool got = cache.remove_negative(k);
        ASSERT_TRUE(in_doubt || got == want);
        break;
      }
      case sweep: cache.sweep(1 + below(2 * cache.slots()), now); break;
      case little: now += Duration(below(uint64_t(Duration(300ms).count()))); break;
      case much:
        now += Duration(below(uint64_t(Duration(8s).count())));
        if (now - swept > 4min) cache.sweep(2 * cache.slots(), swept = now);  // or all would count as expired
        break;
    }
    if (step % 50 == 0) {
      twin.expire(now);
      for (uint64_t i = 0; i < keys; ++i) {
        auto found = cache.find(key(i), now);
        auto it = twin.entries.find(key(i));
        ASSERT_EQ(found.has_value(), it != twin.entries.end() && !it->second.is_floor) << i;
        if (!found) continue;
        ASSERT_EQ(found->target, it->second.target);
        ASSERT_EQ(found->version, it->second.version);
        ASSERT_EQ(found->ends, kept(it->second.target, it->second.ends));
        ASSERT_EQ(found->bytes, it->second.left.value_or(UINT64_MAX));
      }
    }
  }
}

class SessionCacheTwin : public testing::TestWithParam<SessionTable> {};

TEST_P(SessionCacheTwin, RandomHistories) {
  if (const char* one = std::getenv("STATECAST_SEED")) return history(GetParam(), std::strtoull(one, nullptr, 10));
  const uint64_t first = std::random_device{}();
  for (uint64_t i = 0; i < 300 && !testing::Test::HasFailure(); ++i) history(GetParam(), first + i);
}

INSTANTIATE_TEST_SUITE_P(Tables, SessionCacheTwin, testing::Values(SessionTable::lines, SessionTable::rte_hash),
                         [](const auto& i) { return i.param == SessionTable::lines ? "lines" : "rte_hash"; });

}  // namespace
}  // namespace statecast
