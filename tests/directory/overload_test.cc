// SPDX-License-Identifier: BSD-3-Clause
// Where a node's room runs out: who gets what is left of it. One node that is the only replica, with two groups.
#include <gtest/gtest.h>

#include "directory/node.h"

namespace statecast {
namespace {

constexpr ProxyId kProxy{1};
constexpr size_t kMost = 800;
using Status = InsertAnswer::Status;

class OverloadTest : public testing::Test {
 protected:
  OverloadTest() {
    NodeOptions o{.self = kProxy, .view = View({.revision = 1}, {{kProxy, "a"}}), .seed = 1, .records_max = kMost};
    for (uint32_t group : {10u, 20u}) {
      DirectoryGroup g{.id = GroupId{group}};
      g.members = {member(group)};
      o.groups.push_back(g);
    }
    node_.emplace(std::move(o), now_);
    node_->on_deadline(now_);
  }
  static MemberId member(uint32_t group) { return {group}; }
  static SessionId session(uint32_t group, uint32_t n) {
    return SessionId::tuple(GroupId{group}, Protocol::tcp,
                            Endpoint{*IpAddress::parse("10.0.0.1"), Port{static_cast<uint16_t>(1000 + n)}},
                            *Endpoint::parse("203.0.113.10:443"));
  }
  Status insert(uint32_t group, uint32_t n, RecordState state) {
    const NodeId owner = NodeId::member(member(group));
    MessageHeader h{.request = ++request_, .origin = owner, .view = {1, 0}};
    Insert m{.id = session(group, n), .state = state, .member = member(group), .handle = n, .lifetime_ms = 10'000};
    m.version = {0, 1, ++counter_};
    node_->on_message(owner, encode(h, m), now_);
    std::optional<Status> said;
    for (DirectoryOutput o; node_->next_output(o);) {
      auto answer = decode(o.message);
      if (auto* a = answer ? std::get_if<InsertAnswer>(&answer->body) : nullptr) said = a->status;
    }
    return said.value();
  }
  // How many of so many new sessions are taken.
  size_t taken(uint32_t group, uint32_t first, uint32_t count, RecordState state) {
    size_t n = 0;
    for (uint32_t i = 0; i < count; ++i) n += insert(group, first + i, state) == Status::ok;
    return n;
  }
  uint64_t counter(const std::string& name) const {
    for (const auto& c : node_->counters())
      if (c.name == name) return c.value;
    ADD_FAILURE() << name;
    return 0;
  }

  Instant now_{1h};
  uint32_t request_ = 0;
  uint64_t counter_ = 0;
  std::optional<Node> node_;
};

TEST_F(OverloadTest, ConnectionsThatAreOnlyBeingSetUpGetHalfOfTheRoom) {
  EXPECT_EQ(taken(10, 0, 2'000, RecordState::half_open), kMost / 2);
  EXPECT_EQ(counter("directory.store.half_open.records"), 2'000 - kMost / 2);
  EXPECT_EQ(insert(10, 0, RecordState::half_open), Status::ok) << "what is there already is renewed";
  // Those that become active leave their place to others.
  EXPECT_EQ(taken(10, 0, 100, RecordState::established), 100u);
  EXPECT_EQ(taken(10, 5'000, 200, RecordState::half_open), 100u);
  EXPECT_EQ(taken(20, 0, 100, RecordState::established), 100u) << "an active session finds room all the time";
  now_ += 11s;
  node_->on_deadline(now_);
  EXPECT_EQ(taken(20, 5'000, 10, RecordState::half_open), 10u);
}

TEST_F(OverloadTest, AGroupThatHasItsPartWaitsForTheOthers) {
  EXPECT_EQ(taken(10, 0, 2'000, RecordState::established), kMost - kMost / 8) << "nobody else wants more";
  EXPECT_EQ(counter("directory.store.group.records"), 2'000 - (kMost - kMost / 8));
  EXPECT_EQ(insert(10, 0, RecordState::closing), Status::ok) << "what is there already is renewed";
  EXPECT_EQ(taken(20, 0, 500, RecordState::established), kMost / 8) << "the other has what was kept for it";
  EXPECT_EQ(counter("directory.store.full.records"), 500 - kMost / 8);
}

TEST_F(OverloadTest, ATombstoneFindsRoomWhereNothingElseDoes) {
  taken(10, 0, 700, RecordState::established);
  taken(20, 0, 500, RecordState::established);
  ASSERT_EQ(insert(20, 600, RecordState::established), Status::refused);
  MessageHeader h{.request = 77'777, .origin = NodeId::op(), .view = {1, 0}};
  node_->on_message(NodeId::op(),
                    encode(h, Revoke{.id = session(20, 900), .group = GroupId{20}, .duration_ms = 60'000, .name = 1}),
                    now_);
  auto r = node_->find(session_key(session(20, 900), {}), now_);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->state, RecordState::revoked);
}

}  // namespace
}  // namespace statecast
