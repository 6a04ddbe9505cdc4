// SPDX-License-Identifier: BSD-3-Clause
// Group table beside a linear search; selection: shares, agreement, and what moves when a member goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/rng.h"
#include "dataplane/worker/client_links.h"
#include "dataplane/worker/group_table.h"
#include "dataplane/worker/selection.h"

namespace statecast {
namespace {

TEST(GroupTable, AgreesWithALinearSearch) {
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  Rng rng(kSeed);
  std::vector<std::pair<Prefix, uint32_t>> prefixes;
  std::map<Prefix, uint32_t> distinct;
  auto random_address = [&](bool v4) {
    std::array<uint8_t, 16> raw{};
    rng.fill(raw);
    // Few distinct values, so that prefixes nest and addresses hit.
    for (size_t i = 0; i < 16; ++i) raw[i] &= i < 3 ? 3 : 0x0f;
    return v4 ? IpAddress::v4(Bytes(raw).first(4)) : IpAddress::v6(raw);
  };
  for (uint32_t i = 0; i < 10'000; ++i) {
    bool v4 = rng.chance(0.5);
    Prefix p{random_address(v4), static_cast<uint8_t>(v4 ? rng.between(8, 32) : rng.between(8, 128))};
    for (unsigned bit = p.length; bit < (v4 ? 32u : 128u); ++bit) {
      p.address.raw[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
    }
    if (distinct.emplace(p, i).second) prefixes.emplace_back(p, i);
  }
  GroupTable table(prefixes);
  unsigned hits = 0;
  for (int i = 0; i < 2'000; ++i) {
    IpAddress a = random_address(rng.chance(0.5));
    uint32_t expected = UINT32_MAX;
    int best = -1;
    for (const auto& [p, group] : prefixes) {
      if (p.contains(a) && p.length > best) {
        best = p.length;
        expected = group;
      }
    }
    ASSERT_EQ(expected, table.find(a)) << to_string(a);
    hits += expected != UINT32_MAX;
  }
  EXPECT_GT(hits, 500u);
  EXPECT_EQ(UINT32_MAX, GroupTable().find(*IpAddress::parse("192.0.2.1")));
}

Group group_of(const std::vector<uint32_t>& weights) {
  Group g;
  for (uint32_t i = 0; i < weights.size(); ++i) g.members.push_back({MemberId{i + 1}, weights[i], i});
  return g;
}

TEST(NodeIndex, FindsWhatIsThere) {
  constexpr uint64_t kSeed = 11;
  SCOPED_TRACE(kSeed);
  Rng rng(kSeed);
  for (int round = 0; round < 200; ++round) {
    // Small numbers, large ones, and proxies of the same numbers.
    std::map<NodeId, uint32_t> twin;
    std::vector<NodeId> ids;
    const uint64_t most = rng.chance(0.5) ? 300 : kId24Max;
    for (uint64_t n = rng.below(200); n > 0; --n) {
      const auto number = static_cast<uint32_t>(rng.between(1, most));
      const NodeId id = rng.chance(0.7) ? NodeId::member({number}) : NodeId::proxy({number});
      if (twin.emplace(id, uint32_t(ids.size())).second) ids.push_back(id);
    }
    const NodeIndex index(ids);
    for (auto [id, at] : twin) {
      ASSERT_EQ(index.find(id), at) << to_string(id);
      if (id.is_member()) { ASSERT_EQ(index.find(id.as_member()), at) << to_string(id); }
    }
    for (int i = 0; i < 200; ++i) {
      const NodeId id = NodeId::member({static_cast<uint32_t>(rng.between(1, most))});
      ASSERT_EQ(index.find(id), twin.contains(id) ? twin[id] : NodeIndex::kNone) << to_string(id);
    }
  }
}

TEST(Selection, SharesFollowTheWeights) {
  Group g = group_of({100, 200, 0, 100});
  std::vector<PeerHop> peers(4, PeerHop{.reachable = true});
  Rng rng(3);
  constexpr int kPackets = 40'000;
  std::map<uint32_t, int> share;
  for (int i = 0; i < kPackets; ++i) ++share[select_member(g, peers, rng.next())->id.value];
  EXPECT_EQ(0, share[3]) << "weight 0: none";
  for (auto [id, part] : {std::pair{1u, 0.25}, {2u, 0.5}, {4u, 0.25}}) {
    double deviation = std::sqrt(kPackets * part * (1 - part));
    EXPECT_NEAR(kPackets * part, share[id], 5 * deviation) << id;
  }
}

TEST(Selection, OnlyTheShareOfALostMemberMoves) {
  Group g = group_of({100, 100, 100});
  std::vector<PeerHop> all(3, PeerHop{.reachable = true}), without = all;
  without[1].reachable = false;
  Rng rng(4);
  for (int i = 0; i < 10'000; ++i) {
    uint64_t hash = rng.next();
    MemberId before = select_member(g, all, hash)->id, after = select_member(g, without, hash)->id;
    if (before != MemberId{2}) { ASSERT_EQ(before, after); }
    ASSERT_NE(MemberId{2}, after);
  }
  for (PeerHop& p : without) p.reachable = false;
  EXPECT_EQ(nullptr, select_member(g, without, 1));
}

// Random links, gateways known and unknown, clients near their edges: the burst's way says what the one-by-one way
// says.
TEST(ClientLinks, AgreeWithTowardsClient) {
  constexpr uint64_t kSeed = 9;
  SCOPED_TRACE(kSeed);
  Rng rng(kSeed);
  auto v4 = [](uint32_t a) {
    const uint8_t raw[4] = {uint8_t(a >> 24), uint8_t(a >> 16), uint8_t(a >> 8), uint8_t(a)};
    return IpAddress::v4(raw);
  };
  unsigned known = 0, unknown = 0;
  for (int round = 0; round < 500; ++round) {
    auto layout = std::make_shared<Layout>();
    Snapshot s;
    for (uint64_t port = rng.between(1, 3); port > 0; --port) {
      PortLayout p{.name = "p", .anycast = rng.chance(0.8)};
      for (uint64_t n = rng.below(5); n > 0; --n) {
        p.addresses.push_back({v4(static_cast<uint32_t>(rng.below(16) << 28 | rng.below(4))),
                               static_cast<uint8_t>(rng.chance(0.1) ? 0 : rng.between(1, 32))});
      }
      if (rng.chance(0.7)) p.gateways.push_back(v4(static_cast<uint32_t>(rng.below(4))));
      layout->ports.push_back(p);
    }
    for (uint32_t a = 0; a < 4; ++a) {
      if (rng.chance(0.5)) s.neighbours[v4(a)] = {true, static_cast<uint16_t>(a), {}};
    }
    s.layout = layout;
    const ClientLinks links(s);
    for (int i = 0; i < 40; ++i) {
      const IpAddress to = v4(static_cast<uint32_t>(rng.below(16) << 28 | rng.below(6)));
      uint8_t ip[20] = {0x45};
      std::copy_n(to.raw.begin(), 4, ip + 16);
      ParsedPacket p;
      p.ip_version = 4;
      const NextHop got = links.towards(ip, p), want = s.towards_client(to);
      ASSERT_EQ(got.known, want.known) << "round " << round << ", " << to_string(to);
      if (want.known) { ASSERT_EQ(got.port, want.port) << "round " << round << ", " << to_string(to); }
      ++(want.known ? known : unknown);
    }
  }
  EXPECT_GT(known, 1000u);
  EXPECT_GT(unknown, 1000u);
}

}  // namespace
}  // namespace statecast
