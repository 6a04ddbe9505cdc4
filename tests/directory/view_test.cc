// SPDX-License-Identifier: BSD-3-Clause
// Placement: the vectors, balance, little movement, zones, and a slow twin that sorts.
#include "directory/view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/rng.h"

namespace statecast {
namespace {

using nlohmann::json;

std::vector<ViewNode> nodes(uint32_t n, uint32_t zones = 1) {
  std::vector<ViewNode> out;
  for (uint32_t i = 1; i <= n; ++i) out.push_back({{i}, "zone" + std::to_string(i % zones)});
  return out;
}

// By the definition: all nodes by score, then a pass over fresh zones, then one over the rest.
std::vector<ProxyId> slow_replicas(std::vector<ViewNode> all, unsigned count, Slot slot) {
  std::sort(all.begin(), all.end(), [&](const ViewNode& a, const ViewNode& b) {
    uint64_t x = placement_score(slot, a.id), y = placement_score(slot, b.id);
    return x != y ? x > y : a.id < b.id;
  });
  std::vector<ProxyId> out;
  std::set<std::string> zones;
  for (const ViewNode& n : all)
    if (out.size() < count && zones.insert(n.zone).second) out.push_back(n.id);
  for (const ViewNode& n : all)
    if (out.size() < count && std::find(out.begin(), out.end(), n.id) == out.end()) out.push_back(n.id);
  return out;
}

TEST(View, SlowTwin) {
  Rng rng(7);
  for (int run = 0; run < 8; ++run) {
    auto all = nodes(static_cast<uint32_t>(rng.between(1, 12)), static_cast<uint32_t>(rng.between(1, 5)));
    unsigned replicas = static_cast<unsigned>(rng.between(1, 5));
    View view({.replicas = replicas}, all);
    for (unsigned slot = 0; slot < 65536; slot += 7) {
      Slot s{static_cast<uint16_t>(slot)};
      auto got = view.replicas(s);
      auto want = slow_replicas(all, std::min<unsigned>(replicas, static_cast<unsigned>(all.size())), s);
      ASSERT_EQ(std::vector<ProxyId>(got.begin(), got.end()), want) << "run " << run << " slot " << slot;
    }
  }
}

TEST(View, CountsAreBoundedByTheNodes) {
  struct Row {
    uint32_t nodes;
    unsigned replicas, writes, r, w, read;
  };
  const Row rows[] = {{5, 3, 2, 3, 2, 2}, {3, 3, 2, 3, 2, 2}, {2, 3, 2, 2, 2, 1},      {1, 3, 2, 1, 1, 1},
                      {0, 3, 2, 0, 0, 1}, {5, 1, 2, 1, 1, 1}, {40, 99, 50, 16, 16, 1}, {4, 0, 0, 1, 1, 1}};
  for (const Row& row : rows) {
    View v({.replicas = row.replicas, .writes = row.writes}, nodes(row.nodes));
    EXPECT_EQ(v.replica_count(), row.r) << row.nodes;
    EXPECT_EQ(v.write_count(), row.w) << row.nodes;
    EXPECT_EQ(v.read_count(), row.read) << row.nodes;
    for (unsigned slot = 0; slot < 65536; slot += 1009) {
      auto replicas = v.replicas({static_cast<uint16_t>(slot)});
      ASSERT_EQ(replicas.size(), row.r);
      ASSERT_EQ(std::set<ProxyId>(replicas.begin(), replicas.end()).size(), row.r);
      for (ProxyId p : replicas) EXPECT_TRUE(v.is_replica(p, {static_cast<uint16_t>(slot)}));
      EXPECT_FALSE(v.is_replica({999}, {static_cast<uint16_t>(slot)}));
    }
  }
}

TEST(View, AHundredNodesShareEvenly) {
  View v({.replicas = 3}, nodes(100, 4));
  std::map<ProxyId, unsigned> all, first;
  for (unsigned slot = 0; slot < 65536; ++slot) {
    auto replicas = v.replicas({static_cast<uint16_t>(slot)});
    ++first[replicas[0]];
    for (ProxyId p : replicas) ++all[p];
  }
  auto fullest = [](const auto& m) {
    return std::max_element(m.begin(), m.end(), [](auto& a, auto& b) { return a.second < b.second; })->second;
  };
  EXPECT_LE(fullest(all), 65536 * 3 / 100.0 * 1.15);
  EXPECT_LE(fullest(first), 65536 / 100.0 * 1.15);
}

TEST(View, ANodeThatComesOrGoesMovesItsShareOnly) {
  struct Row {
    uint32_t nodes, zones;
  };
  for (Row row : {Row{10, 1}, Row{20, 1}, Row{50, 1}, Row{21, 3}}) {
    View before({}, nodes(row.nodes, row.zones)), after({}, nodes(row.nodes + 1, row.zones));
    const ProxyId newcomer{row.nodes + 1};
    unsigned moved = 0;
    for (unsigned slot = 0; slot < 65536; ++slot) {
      Slot s{static_cast<uint16_t>(slot)};
      for (ProxyId p : after.replicas(s)) moved += !before.is_replica(p, s);
      if (row.zones == 1 && !after.is_replica(newcomer, s)) {
        // Where the newcomer (read backwards: who leaves) has no part, nothing changes, not even the order.
        ASSERT_TRUE(std::ranges::equal(before.replicas(s), after.replicas(s)));
      }
    }
    double share = double(moved) / (65536 * 3);
    EXPECT_LE(share, 1.3 / (row.nodes + 1)) << row.nodes << " nodes, " << row.zones << " zones";
    EXPECT_GE(share, 0.7 / (row.nodes + 1)) << row.nodes << " nodes, " << row.zones << " zones";
  }
}

TEST(View, DistinctZonesFirst) {
  std::map<ProxyId, std::string> zone;
  auto check = [&](std::vector<ViewNode> all, size_t zones_wanted) {
    for (auto& n : all) zone[n.id] = n.zone;
    View v({.replicas = 3}, all);
    for (unsigned slot = 0; slot < 65536; ++slot) {
      std::set<std::string> seen;
      for (ProxyId p : v.replicas({static_cast<uint16_t>(slot)})) seen.insert(zone[p]);
      ASSERT_EQ(seen.size(), zones_wanted) << slot;
    }
  };
  check(nodes(9, 3), 3);
  check(nodes(9, 2), 2);
  check(nodes(9, 1), 1);
  check({{{1}, "a"}, {{2}, "a"}, {{3}, "a"}, {{4}, "b"}}, 2);
}

TEST(View, SamePlacement) {
  const View three({.revision = 1}, nodes(3)), later({.revision = 2}, nodes(3)), four({.revision = 2}, nodes(4));
  const View other_w({.revision = 2, .writes = 3}, nodes(3));
  EXPECT_TRUE(three.contains({3}));
  EXPECT_FALSE(three.contains({4}));
  unsigned kept = 0;
  for (unsigned i = 0; i < kSlots; ++i) {
    Slot slot{static_cast<uint16_t>(i)};
    ASSERT_TRUE(three.same_placement(later, slot));
    ASSERT_FALSE(three.same_placement(other_w, slot)) << "copies are counted otherwise";
    bool same = three.same_placement(four, slot);
    ASSERT_EQ(same, !four.is_replica({4}, slot));
    kept += same;
  }
  EXPECT_NEAR(kept, kSlots / 4, kSlots / 40);
}

TEST(View, TheHashNamesTheContent) {
  const auto three = nodes(3);
  const ViewOptions options{.revision = 5, .replicas = 3, .writes = 2};
  const View v(options, three);
  EXPECT_EQ(v.id().revision, 5u);
  EXPECT_EQ(View(options, {three[2], three[0], three[1]}).id(), v.id()) << "order does not matter";
  struct Row {
    const char* name;
    ViewOptions options;
    std::vector<ViewNode> nodes;
  };
  const Row rows[] = {
      {"a node more", options, nodes(4)},
      {"another ID", options, {three[0], three[1], {{9}, three[2].zone}}},
      {"another zone", options, {three[0], three[1], {{3}, "elsewhere"}}},
      {"another R", {.revision = 5, .replicas = 2, .writes = 2}, three},
      {"another W", {.revision = 5, .replicas = 3, .writes = 1}, three},
  };
  for (const Row& r : rows) EXPECT_NE(View(r.options, r.nodes).id().hash, v.id().hash) << r.name;
  EXPECT_EQ(View({.revision = 6, .replicas = 3, .writes = 2}, three).id().hash, v.id().hash) << "revision is apart";
}

// Placement is a protocol: every program of a fleet has to find the same replicas.
TEST(View, Vectors) {
  const std::string path = std::string(VECTORS_DIR) + "/placement.json";
  struct Case {
    const char* name;
    ViewOptions options;
    std::vector<ViewNode> nodes;
  };
  if (std::getenv("STATECAST_WRITE_VECTORS")) {
    const Case cases[] = {
        {"one node", {}, nodes(1)},
        {"three nodes, one zone", {}, nodes(3)},
        {"five nodes, two zones", {}, nodes(5, 2)},
        {"twelve nodes, three zones, R = 5", {.revision = 9, .replicas = 5, .writes = 3}, nodes(12, 3)},
        {"large IDs", {.replicas = 2}, {{{1000}, "x"}, {{16777215}, "y"}, {{70000}, ""}}}};
    json out = {{"status", "draft"}, {"format", "docs/wire-format.md, Placement"}, {"views", json::array()}};
    for (const Case& c : cases) {
      View v(c.options, c.nodes);
      json j = {{"name", c.name},      {"replicas", c.options.replicas}, {"writes", c.options.writes},
                {"hash", v.id().hash}, {"nodes", json::array()},         {"slots", json::array()}};
      for (auto& n : c.nodes) j["nodes"].push_back({{"id", n.id.value}, {"zone", n.zone}});
      for (unsigned slot : {0u, 1u, 2u, 255u, 256u, 4711u, 32768u, 65534u, 65535u}) {
        json replicas = json::array();
        for (ProxyId p : v.replicas({static_cast<uint16_t>(slot)})) replicas.push_back(p.value);
        j["slots"].push_back({{"slot", slot}, {"replicas", replicas}});
      }
      out["views"].push_back(j);
    }
    std::ofstream(path) << out.dump(1) << "\n";
  }
  std::ifstream in(path);
  ASSERT_TRUE(in) << path;
  const json vectors = json::parse(in);
  for (const json& j : vectors["views"]) {
    std::vector<ViewNode> all;
    for (const json& n : j["nodes"]) all.push_back({{n["id"].get<uint32_t>()}, n["zone"].get<std::string>()});
    View v({.replicas = j["replicas"].get<unsigned>(), .writes = j["writes"].get<unsigned>()}, all);
    EXPECT_EQ(v.id().hash, j["hash"].get<uint32_t>()) << j["name"];
    for (const json& s : j["slots"]) {
      std::vector<uint32_t> got;
      for (ProxyId p : v.replicas({s["slot"].get<uint16_t>()})) got.push_back(p.value);
      EXPECT_EQ(got, s["replicas"].get<std::vector<uint32_t>>()) << j["name"] << " slot " << s["slot"];
    }
  }
}

}  // namespace
}  // namespace statecast
