// SPDX-License-Identifier: BSD-3-Clause
// The miss table: its bounds row by row, then against a slow twin over random histories.
#include "dataplane/cache/miss_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

namespace statecast {
namespace {

constexpr Instant kStart{1h};
// Packets are opaque to the table: numbers do.
rte_mbuf* packet(uintptr_t n) {
  return reinterpret_cast<rte_mbuf*>(n);  // NOLINT(performance-no-int-to-ptr)
}
constexpr SessionKey key(uint64_t n) {
  return {n, n % 3};
}  // few buckets, long chains

std::unique_ptr<MissTable> make(MissTableOptions o) {
  return std::move(*MissTable::create(o));
}

struct Row {
  const char* name;
  MissTableOptions options;
  struct Step {
    uint64_t session;
    uint32_t group;
    uint32_t bytes;
    Hold want;
  };
  std::vector<Step> steps;
};

const Row kRows[] = {
    {"the first asks, later ones wait",
     {},
     {{1, 10, 60, Hold::first}, {1, 10, 60, Hold::held}, {2, 10, 60, Hold::first}}},
    {"four packets per session",
     {},
     {{1, 10, 60, Hold::first},
      {1, 10, 60, Hold::held},
      {1, 10, 60, Hold::held},
      {1, 10, 60, Hold::held},
      {1, 10, 60, Hold::full},
      {2, 10, 60, Hold::first}}},
    {"6 KB per session",
     {},
     {{1, 10, 3000, Hold::first}, {1, 10, 3000, Hold::held}, {1, 10, 145, Hold::full}, {1, 10, 144, Hold::held}}},
    {"a packet beyond 6 KB", {}, {{1, 10, 6145, Hold::full}, {1, 10, 6144, Hold::first}}},
    {"in all",
     {.packets = 3, .packets_per_group = 3},
     {{1, 10, 60, Hold::first},
      {2, 11, 60, Hold::first},
      {2, 11, 60, Hold::held},
      {1, 10, 60, Hold::full},
      {3, 12, 60, Hold::full}}},
    {"per group",
     {.packets = 10, .packets_per_group = 2},
     {{1, 10, 60, Hold::first},
      {2, 10, 60, Hold::first},
      {1, 10, 60, Hold::full},
      {3, 10, 60, Hold::full},
      {4, 11, 60, Hold::first}}},
};

TEST(MissTable, Bounds) {
  for (const Row& row : kRows) {
    auto t = make(row.options);
    size_t held = 0, i = 0;
    for (const auto& s : row.steps) {
      ++i;
      const Hold got = t->hold(key(s.session), GroupId{s.group}, packet(i), s.bytes, kStart);
      EXPECT_EQ(got, s.want) << row.name << ", step " << i;
      held += got != Hold::full;
    }
    EXPECT_EQ(t->packets(), held) << row.name;
  }
}

TEST(MissTable, ReleasesInOrderAndForgets) {
  auto t = make({});
  for (uintptr_t i = 1; i <= 4; ++i) t->hold(key(1), GroupId{10}, packet(i), 60, kStart);
  rte_mbuf* out[kMissPacketsPerSession];
  ASSERT_EQ(t->release(key(1), out), 4u);
  for (uintptr_t i = 0; i < 4; ++i) EXPECT_EQ(out[i], packet(i + 1));
  EXPECT_EQ(t->release(key(1), out), 0u);
  EXPECT_EQ(t->hold(key(1), GroupId{10}, packet(9), 60, kStart), Hold::first);
}

TEST(MissTable, APacketThatIsLentKeepsItsPlace) {
  auto t = make({});
  ASSERT_EQ(t->hold(key(1), GroupId{10}, packet(1), 6000, kStart), Hold::first);
  EXPECT_EQ(t->lend_first(key(1)), packet(1));
  EXPECT_EQ(t->hold(key(1), GroupId{10}, packet(2), 60, kStart), Hold::held) << "behind it";
  EXPECT_EQ(t->hold(key(1), GroupId{10}, packet(3), 100, kStart), Hold::full) << "its bytes count";
  EXPECT_EQ(t->packets(), 2u);
  rte_mbuf* out[kMissPacketsPerSession];
  ASSERT_EQ(t->release(key(1), out), 2u);
  EXPECT_EQ(out[0], nullptr);
  EXPECT_EQ(out[1], packet(2));
  EXPECT_EQ(t->packets(), 0u);
}

TEST(MissTable, ExpiresWholeSessionsOldestFirst) {
  auto t = make({});
  for (uint64_t s = 1; s <= 3; ++s) {
    for (uintptr_t i = 0; i < 3; ++i) t->hold(key(s), GroupId{10}, packet(10 * s + i), 60, kStart + Duration(s));
  }
  rte_mbuf* out[8];
  EXPECT_EQ(t->expire(kStart, out, 8), 0u);
  ASSERT_EQ(t->expire(kStart + 3ns, out, 8), 6u) << "a third session does not fit whole";
  EXPECT_EQ(out[0], packet(10));
  EXPECT_EQ(out[5], packet(22));
  EXPECT_EQ(t->expire(kStart + 2ns, out, 8), 0u);
  EXPECT_EQ(t->expire(kStart + 3ns, out, 8), 3u);
  EXPECT_EQ(t->packets(), 0u);
}

TEST(MissTable, BadOptions) {
  EXPECT_FALSE(MissTable::create({.packets = 0}));
  EXPECT_FALSE(MissTable::create({.packets_per_group = 0}));
}

// The same rules with a list and maps.
struct Twin {
  struct Held {
    GroupId group;
    Instant since;
    std::vector<std::pair<rte_mbuf*, uint32_t>> packets;
  };
  MissTableOptions options;
  std::map<SessionKey, Held> sessions;
  std::deque<SessionKey> order;

  size_t count(std::optional<GroupId> g = {}) const {
    size_t n = 0;
    for (const auto& [k, h] : sessions) n += !g || h.group == *g ? h.packets.size() : 0;
    return n;
  }
  Hold hold(const SessionKey& k, GroupId g, rte_mbuf* p, uint32_t bytes, Instant now) {
    auto it = sessions.find(k);
    const GroupId of = it == sessions.end() ? g : it->second.group;
    uint32_t sum = bytes;
    if (it != sessions.end()) {
      for (auto& [q, b] : it->second.packets) sum += b;
      if (it->second.packets.size() == 4) return Hold::full;
    }
    if (sum > 6144 || count() >= options.packets || count(of) >= options.packets_per_group) return Hold::full;
    if (it == sessions.end()) {
      sessions[k] = {g, now, {{p, bytes}}};
      order.push_back(k);
      return Hold::first;
    }
    it->second.packets.emplace_back(p, bytes);
    return Hold::held;
  }
  std::vector<rte_mbuf*> release(const SessionKey& k) {
    std::vector<rte_mbuf*> out;
    auto it = sessions.find(k);
    if (it == sessions.end()) return out;
    for (auto& [p, b] : it->second.packets) out.push_back(p);
    sessions.erase(it);
    std::erase(order, k);
    return out;
  }
  std::vector<rte_mbuf*> expire(Instant older_than, size_t n) {
    std::vector<rte_mbuf*> out;
    while (!order.empty()) {
      const Held& h = sessions[order.front()];
      if (h.since > older_than || out.size() + h.packets.size() > n) break;
      auto got = release(SessionKey(order.front()));
      out.insert(out.end(), got.begin(), got.end());
    }
    return out;
  }
};

TEST(MissTable, AgainstTheSlowTwin) {
  const uint32_t seed = std::random_device{}();
  for (uint32_t run = 0; run < 200; ++run) {
    SCOPED_TRACE("seed " + std::to_string(seed + run));
    std::mt19937 rng(seed + run);
    auto below = [&](uint32_t n) { return uint32_t(rng() % n); };
    const MissTableOptions o{.packets = 1 + below(40), .packets_per_group = 1 + below(20)};
    auto table = make(o);
    Twin twin{o, {}, {}};
    const uint32_t sessions = 1 + below(30), groups = 1 + below(4);
    const uint32_t weights[3] = {1 + below(8), below(4), below(3)};  // swarm: some operations are absent in some runs
    Instant now = kStart;
    for (uintptr_t step = 1; step <= 500; ++step) {
      now += Duration(below(3));
      const SessionKey k = key(below(sessions));
      uint32_t pick = below(weights[0] + weights[1] + weights[2]);
      if (pick < weights[0]) {
        const GroupId g{1 + uint32_t(k.high) % groups};
        const uint32_t bytes = below(10) == 0 ? below(7000) : 40 + below(1460);
        ASSERT_EQ(table->hold(k, g, packet(step), bytes, now), twin.hold(k, g, packet(step), bytes, now));
      } else {
        rte_mbuf* out[16];
        size_t n;
        std::vector<rte_mbuf*> want;
        if (pick < weights[0] + weights[1]) {
          n = table->release(k, out);
          want = twin.release(k);
        } else {
          const size_t room = 4 + below(13);
          const Instant older_than = now - Duration(below(50));
          n = table->expire(older_than, out, room);
          want = twin.expire(older_than, room);
        }
        ASSERT_EQ(std::vector<rte_mbuf*>(out, out + n), want);
      }
      ASSERT_EQ(table->packets(), twin.count());
      ASSERT_EQ(table->sessions(), twin.sessions.size());
    }
  }
}

}  // namespace
}  // namespace statecast
