// SPDX-License-Identifier: BSD-3-Clause
// Refresh between a real owner and real nodes: what it costs where nothing has changed, and that whatever one of them
// has lost is found and mended.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include "directory/node.h"
#include "directory/owner.h"

namespace statecast {
namespace {

constexpr MemberId kMember{1};
constexpr GroupId kGroup{10};

// One owner and the nodes of one view, who are all replicas of each slot; messages arrive at once.
class RefreshTest : public testing::Test {
 protected:
  explicit RefreshTest(uint32_t proxies = 1) {
    std::vector<ViewNode> nodes;
    for (uint32_t p = 1; p <= proxies; ++p) nodes.push_back({ProxyId{p}, "z" + std::to_string(p)});
    view_ = View({.revision = 1, .replicas = 3, .writes = 2}, std::move(nodes));
    for (const ViewNode& n : view_.nodes()) start_node(n.id);
    owner_ = std::make_unique<Owner>(OwnerOptions{.self = kMember, .view = view_}, 2);
    run(2s);
  }
  void start_node(ProxyId p) {
    DirectoryGroup group{.id = kGroup, .secret = secret_};
    group.members = {kMember};
    nodes_[p] = std::make_unique<Node>(NodeOptions{.self = p, .view = view_, .groups = {group}, .seed = ++seed_}, now_);
  }

  SessionId session(uint32_t n) const {
    Endpoint client{*IpAddress::parse("10.0.0.0"), Port{static_cast<uint16_t>(1024 + n % 60'000)}};
    client.address.raw[3] = static_cast<uint8_t>(n / 60'000);
    return SessionId::tuple(kGroup, Protocol::tcp, client, *Endpoint::parse("203.0.113.10:443"));
  }
  SessionKey key(uint32_t n) const { return session_key(session(n), secret_); }
  void establish(uint32_t n) { owner_->insert({.id = session(n), .established = true}, now_), pump(); }
  const Node& first() const { return *nodes_.begin()->second; }
  // A tenth of the sessions 0..sessions-1 ends and as many begin, within a period.
  void turn_over(uint32_t sessions) {
    for (uint32_t i = 0; i < sessions / 10; ++i) {
      owner_->close(session(i * 10 + i % 10), now_);
      establish(sessions + i);
      run(1ms);
    }
    run(6s);
  }
  // Of the sessions 0..sessions-1, those that every node has as established.
  size_t alive(uint32_t sessions) const {
    size_t n = 0;
    for (uint32_t i = 0; i < sessions; ++i) {
      n += std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
        auto r = node.second->find(key(i), now_);
        return r && r->state == RecordState::established;
      });
    }
    return n;
  }

  void pump() {
    const NodeId me = NodeId::member(kMember);
    auto counted = [this](Bytes message) {
      const auto m = decode(message);
      datagrams_ += std::holds_alternative<Refresh>(m->body) || std::holds_alternative<RefreshDigest>(m->body) ||
                    std::holds_alternative<RefreshAnswer>(m->body) ||
                    std::holds_alternative<RefreshDifference>(m->body);
      return !lost_ || !lost_(m->body);
    };
    for (bool said = true; said;) {
      said = false;
      for (DirectoryOutput o; owner_->next_output(o); said = true)
        if (counted(o.message)) nodes_.at(o.to.as_proxy())->on_message(me, o.message, now_);
      for (auto& [p, node] : nodes_) {
        for (DirectoryOutput o; node->next_output(o); said = true) {
          if (o.to.is_proxy())
            nodes_.at(o.to.as_proxy())->on_message(NodeId::proxy(p), o.message, now_);
          else if (counted(o.message))
            owner_->on_message(NodeId::proxy(p), o.message, now_);
        }
      }
      for (OwnerEvent e; owner_->next_event(e);) {}
    }
  }
  void run(Duration d) {
    for (const Instant until = now_ + d; now_ < until;) {
      Instant next = owner_->next_deadline();
      for (const auto& [p, node] : nodes_) next = std::min(next, node->next_deadline());
      now_ = std::min(until, std::max(now_ + 1us, next));
      const bool heard = heard_ + 250ms <= now_;
      if (heard) heard_ = now_;
      for (auto& [p, node] : nodes_) {
        if (heard) node->on_member_heard(kMember, now_);
        if (node->next_deadline() <= now_) node->on_deadline(now_);
      }
      if (owner_->next_deadline() <= now_) owner_->on_deadline(now_);
      pump();
    }
  }

  View view_;
  GroupSecret secret_{};
  uint64_t seed_ = 0;
  Instant now_{1h}, heard_{};
  std::map<ProxyId, std::unique_ptr<Node>> nodes_;
  std::unique_ptr<Owner> owner_;
  size_t datagrams_ = 0;
  std::function<bool(const MessageBody&)> lost_;
};

constexpr uint32_t kSessions = 100'000;

TEST_F(RefreshTest, CostsTwoDatagramsAPeriodWhereNothingHasChanged) {
  for (uint32_t i = 0; i < kSessions; ++i) establish(i);
  run(16s);
  datagrams_ = 0;
  run(150s);
  EXPECT_LE(datagrams_, 2u * 10);
  EXPECT_EQ(alive(kSessions), kSessions) << "two lifetimes later";
  // Half of them end, and others come.
  for (uint32_t i = 0; i < kSessions / 2; ++i) owner_->close(session(i), now_), pump();
  for (uint32_t i = kSessions; i < kSessions + 5000; ++i) establish(i);
  run(150s);
  EXPECT_LE(datagrams_, 2u * 21);
  EXPECT_EQ(alive(kSessions), kSessions / 2);
  EXPECT_EQ(alive(kSessions + 5000), kSessions / 2 + 5000);
}

TEST_F(RefreshTest, TurnoverCostsNothingBesides) {
  for (uint32_t i = 0; i < kSessions; ++i) establish(i);
  run(16s);
  datagrams_ = 0;
  turn_over(kSessions);
  EXPECT_LE(datagrams_, 2u * 2);
  EXPECT_EQ(alive(kSessions + kSessions / 10), kSessions);
}

class RefreshAtThree : public RefreshTest {
 protected:
  RefreshAtThree() : RefreshTest(3) {}
};

// The goals: 3 datagrams per proxy and period where nothing changes, 300 in all for a turnover of a tenth.
TEST_F(RefreshAtThree, CostsTwoDatagramsAProxyAndPeriodAndTurnoverNothingBesides) {
  for (uint32_t i = 0; i < kSessions; ++i) establish(i);
  run(16s);
  ASSERT_EQ(alive(kSessions), kSessions);
  datagrams_ = 0;
  run(150s);
  RecordProperty("unchanged_datagrams_per_proxy_and_period", static_cast<int>(datagrams_ / 30));
  EXPECT_LE(datagrams_, 2u * 3 * 10);
  EXPECT_EQ(alive(kSessions), kSessions) << "two lifetimes later";
  datagrams_ = 0;
  turn_over(kSessions);
  RecordProperty("turnover_datagrams", static_cast<int>(datagrams_));
  EXPECT_LE(datagrams_, 2u * 3 * 2);
  EXPECT_EQ(alive(kSessions + kSessions / 10), kSessions);
}

TEST_F(RefreshTest, NobodyRefreshesForAnOwnerThatIsGone) {
  for (uint32_t i = 0; i < 1000; ++i) establish(i);
  run(40s);
  lost_ = [](const MessageBody&) { return true; };
  run(61s);
  EXPECT_EQ(alive(1000), 0u);
  EXPECT_EQ(first().status(now_).records, 0u);
}

TEST_F(RefreshTest, WhatTheNodeHasLostIsInsertedAnew) {
  for (uint32_t i = 0; i < 1000; ++i) establish(i);
  start_node(ProxyId{1});  // it has forgotten everything
  EXPECT_EQ(alive(1000), 0u);
  run(20s);
  EXPECT_EQ(alive(1000), 1000u);
}

TEST_F(RefreshTest, ABucketThatWasLostOnItsWayIsFound) {
  for (uint32_t i = 0; i < 1000; ++i) establish(i);
  run(16s);
  lost_ = [](const MessageBody& m) { return std::holds_alternative<Refresh>(m) || std::holds_alternative<Insert>(m); };
  for (uint32_t i = 0; i < 1000; i += 10) owner_->set_bucket(session(i), 123'456, now_);
  run(5s);  // three tries, all lost
  lost_ = nullptr;
  EXPECT_EQ(first().find(key(10), now_)->bucket_bytes, kUnlimitedBytes);
  run(16s);
  for (uint32_t i = 0; i < 1000; i += 10) EXPECT_EQ(first().find(key(i), now_)->bucket_bytes, 123'456u) << i;
  EXPECT_EQ(first().find(key(11), now_)->bucket_bytes, kUnlimitedBytes);
}

}  // namespace
}  // namespace statecast
