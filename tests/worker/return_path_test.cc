// SPDX-License-Identifier: BSD-3-Clause
// The way back, row by row: what a member may send, and what nobody gets through.
#include <functional>

#include "tests/support/eal.h"
#include "tests/worker/world.h"

namespace statecast::test {
namespace {

constexpr char kClient[] = "198.51.100.7", kWeb[] = "203.0.113.10", kPlain[] = "203.0.113.20";
constexpr GroupId kWebGroup{10}, kPlainGroup{20};

struct Row {
  const char* name;
  std::function<In(World&)> packet;
  Verdict verdict;
  Counter reason;
};

Packet reply(const char* source = kWeb) {
  return ip4(source, kClient).ttl(33).tcp(443, 40000).payload(200).build();
}
Packet from_client(const char* destination = kWeb) {
  return ip4(kClient, destination).tcp(40000, 443).payload(60).build();
}

// Flips one byte of the envelope (42: Ethernet, IPv4 and UDP before it), checksum aside: IPv4 UDP may go without.
In flipped(In in, size_t at) {
  in.frame[42 + at] ^= 1;
  in.frame[40] = in.frame[41] = 0;
  return in;
}

std::vector<Row> rows() {
  return {
      {"reply", [](World& w) { return w.from_member(kM1, kWebGroup, reply()); }, Verdict::to_client,
       Counter::deliver_client_reply},
      {"reply, IPv6",
       [](World& w) {
         return w.from_member(kM2, kWebGroup,
                              ip6("2001:db8:1::10", "2001:db8:9::7").tcp(443, 40000).payload(9).build());
       },
       Verdict::to_client, Counter::deliver_client_reply},
      {"forged: tag", [](World& w) { return flipped(w.from_member(kM1, kWebGroup, reply()), 40); }, Verdict::drop,
       Counter::open_drop_bad_tag},
      {"forged: inner header", [](World& w) { return flipped(w.from_member(kM1, kWebGroup, reply()), 60); },
       Verdict::drop, Counter::open_drop_bad_tag},
      {"forged: group", [](World& w) { return flipped(w.from_member(kM1, kWebGroup, reply()), 6); }, Verdict::drop,
       Counter::open_drop_bad_tag},
      {"a sender that is not configured", [](World& w) { return flipped(w.from_member(kM1, kWebGroup, reply()), 13); },
       Verdict::drop, Counter::open_drop_unknown_peer},
      {"source of another group", [](World& w) { return w.from_member(kM1, kWebGroup, reply(kPlain)); }, Verdict::drop,
       Counter::open_drop_wrong_source},
      {"source of no group", [](World& w) { return w.from_member(kM1, kWebGroup, reply("10.2.0.11")); }, Verdict::drop,
       Counter::open_drop_wrong_source},
      {"not a member of the group", [](World& w) { return w.from_member(kM2, kPlainGroup, reply(kPlain)); },
       Verdict::drop, Counter::open_drop_not_member},
      {"a member of no group", [](World& w) { return w.from_member(kM3, kWebGroup, reply()); }, Verdict::drop,
       Counter::open_drop_not_member},
      {"garbage inside", [](World& w) { return w.from_member(kM1, kWebGroup, Packet(40, 0x45)); }, Verdict::drop,
       Counter::open_drop_bad_inner},
      {"client's packet without an option", [](World& w) { return w.from_member(kM1, kWebGroup, from_client()); },
       Verdict::drop, Counter::open_drop_wrong_source},
      {"forward_to", [](World& w) { return w.from_member(kM1, kWebGroup, from_client(), {.forward_to = kM2}); },
       Verdict::forward, Counter::resolve_forward_handed_over},
      {"forward_to a stranger",
       [](World& w) { return w.from_member(kM1, kWebGroup, from_client(), {.forward_to = kM3}); }, Verdict::drop,
       Counter::open_drop_forward_to},
      {"forward_to, to no address of the group",
       [](World& w) { return w.from_member(kM1, kWebGroup, from_client("198.51.100.9"), {.forward_to = kM2}); },
       Verdict::drop, Counter::open_drop_wrong_destination},
      {"not_mine", [](World& w) { return w.from_member(kM1, kWebGroup, from_client(), {.not_mine = Version{}}); },
       Verdict::hold, Counter::resolve_hold_not_mine},
      {"lease with the client's packet",
       [](World& w) {
         return w.from_member(kM1, kWebGroup, from_client(),
                              {.lease = LeaseInstruction{{0, 1, 0}, 5000, 1000, {77, 1}}});
       },
       Verdict::to_control, Counter::open_control_lease},
      {"lease with a reply",
       [](World& w) {
         return w.from_member(kM1, kWebGroup, reply(), {.lease = LeaseInstruction{{0, 1, 0}, 5000, 1000, {77, 1}}});
       },
       Verdict::to_client, Counter::deliver_client_reply},
  };
}

TEST(ReturnPath, Rows) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    World w;
    auto out = w.run({row.packet(w)});
    EXPECT_STREQ(to_string(row.verdict), to_string(out[0].verdict));
    EXPECT_STREQ(counter_name(row.reason), counter_name(out[0].reason));
  }
}

TEST(ReturnPath, StatelessPacketsDoNotCircle) {
  World w;
  GroupId plain{20};
  Packet inner = from_client("203.0.113.20");
  auto out = w.run({w.from_member(kM1, plain, inner, {.not_mine = Version{}}),
                    w.from_member(kM1, plain, inner, {.forward_to = kM1}),
                    w.from_member(kM1, plain, inner, {.lease = LeaseInstruction{{0, 1, 0}, 5000, 1000, {77, 1}}})});
  EXPECT_STREQ(counter_name(Counter::resolve_forward_stateless), counter_name(out[0].reason));
  EXPECT_STREQ(counter_name(Counter::resolve_forward_handed_over), counter_name(out[1].reason));
  EXPECT_STREQ(counter_name(Counter::open_drop_lease_stateless), counter_name(out[2].reason));
  for (int i : {0, 1}) {
    Envelope e;
    ASSERT_EQ(OpenResult::ok, w.open_at(kM1, out[i].output, e));
    EXPECT_TRUE(e.options.forwarded) << i;
  }
}

TEST(ReturnPath, ReplyLeavesBareAndUntouched) {
  World w;
  auto out = w.run({w.from_member(kM1, kWebGroup, reply())});
  EXPECT_EQ(hex(with_ethernet(kGatewayMac, kWanMac, reply())), hex(out[0].output)) << "TTL 33 stays 33";
  EXPECT_EQ(kWan, out[0].port);
}

TEST(ReturnPath, ReplayedOnce) {
  World w;
  In in = w.from_member(kM1, kWebGroup, reply());
  auto out = w.run({in, in});
  EXPECT_EQ(Verdict::to_client, out[0].verdict);
  EXPECT_EQ(Counter::open_drop_replayed, out[1].reason);
  EXPECT_EQ(Counter::open_drop_replayed, w.run({in})[0].reason);
}

TEST(ReturnPath, HandedOverPacketIsMarkedForwarded) {
  World w;
  auto out = w.run({w.from_member(kM1, kWebGroup, from_client(), {.forward_to = kM2})});
  ASSERT_EQ(kM2, out[0].member);
  Envelope e;
  ASSERT_EQ(OpenResult::ok, w.open_at(kM2, out[0].output, e));
  EXPECT_TRUE(e.options.forwarded);
  EXPECT_EQ(hex(from_client()), hex(e.payload));
}

TEST(ReturnPath, RevokedSessionIsNotHandedOver) {
  World w;
  w.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.target = CacheTarget::drop, .version = {1, 1, 1}});
  auto out = w.run({w.from_member(kM1, kWebGroup, from_client(), {.forward_to = kM2}),
                    w.from_member(kM1, kWebGroup, from_client(), {.not_mine = Version{}})});
  EXPECT_EQ(Counter::resolve_drop_revoked, out[0].reason);
  EXPECT_EQ(Counter::resolve_drop_revoked, out[1].reason);
}

TEST(ReturnPath, WithoutNextHop) {
  World w;
  w.snapshot().neighbours.clear();
  EXPECT_EQ(Counter::deliver_drop_no_next_hop, w.run({w.from_member(kM1, kWebGroup, reply())})[0].reason);
}

TEST(ReturnPath, UnverifiedSenderIsReportedAtABoundedRate) {
  World w;
  w.run({flipped(w.from_member(kM1, kWebGroup, reply()), 40)});
  ASSERT_TRUE(w.state().unverified);
  EXPECT_EQ(NodeId::member(kM1), w.state().unverified->sender);
  w.state().unverified.reset();
  w.run({flipped(w.from_member(kM1, kWebGroup, reply()), 40)});
  EXPECT_FALSE(w.state().unverified) << "one per 100 ms";
}

}  // namespace
}  // namespace statecast::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::AddGlobalTestEnvironment(new statecast::EalEnvironment(128));
  return RUN_ALL_TESTS();
}
