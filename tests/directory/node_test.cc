// SPDX-License-Identifier: BSD-3-Clause
// Scenarios of one session's life among three directory nodes, as an operator would tell them.
#include <gtest/gtest.h>

#include "tests/directory/node_cluster.h"

namespace statecast {
namespace {

using In = InsertAnswer::Status;
using Re = RequestAnswer::Status;
using Qu = QueryAnswer::Status;

// Long enough after the start that each node knows all that it has granted.
constexpr Duration kSettled = 12s;

TEST(Node, ComesIntoSyncAtAColdStartAndGetsPermits) {
  Cluster c({});
  c.run(1s);
  for (uint32_t p = 1; p <= 3; ++p) {
    NodeStatus s = c.node(p).status(c.now);
    EXPECT_TRUE(s.in_sync) << p;
    EXPECT_FALSE(s.degraded);
    for (const auto& peer : s.peers) EXPECT_TRUE(peer.permit) << p << " from " << peer.id.value;
  }
}

TEST(Node, InsertIsHeldAtAllReplicasAndReleasesItsPacketThroughTheIngressProxy) {
  Cluster c({});
  c.run(1s);
  SessionId id = c.session(40000);
  uint32_t r = c.insert({.member = 1, .id = id, .via = 1, .ingress = 2});
  c.run(20ms);
  ASSERT_TRUE(c.insert_answer(r));
  EXPECT_EQ(c.insert_answer(r)->status, In::ok);
  EXPECT_EQ(c.insert_answer(r)->version.term, 1);
  EXPECT_EQ(c.insert_answer(r)->replicas.size(), 3u);
  EXPECT_EQ(c.packets_released(r), 1u);
  ASSERT_TRUE(c.lease(2, c.key(id)));
  EXPECT_EQ(c.lease(2, c.key(id))->member, MemberId{1});
  EXPECT_EQ(c.held_copies(c.key(id)), 3u);
  for (uint32_t replica = 1; replica <= 3; ++replica) {
    uint32_t q = c.query(3, id, replica);
    c.run(10ms);
    EXPECT_EQ(c.query_answer(q)->status, Qu::live);
  }
}

}  // namespace
}  // namespace statecast
