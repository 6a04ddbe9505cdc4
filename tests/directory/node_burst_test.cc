// SPDX-License-Identifier: BSD-3-Clause
// A burst of messages does what the same messages do one by one: looking ahead changes nothing but the time it takes. A
// failure prints the seed; STATECAST_SEED=n runs that history again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "base/rng.h"
#include "directory/node.h"

namespace statecast {
namespace {

constexpr ProxyId kSelf{1};
constexpr GroupId kGroup{10};

GroupSecret secret() {
  GroupSecret s;
  s.raw.fill(7);
  return s;
}

NodeOptions options(uint64_t seed) {
  return {.self = kSelf,
          .view = View({.revision = 1, .replicas = 3, .writes = 2}, {{kSelf, "a"}}),
          .groups = {{.id = kGroup, .secret = secret(), .members = {{3}, {1}, {2}}}},
          .seed = seed,
          .newest_stamp = {},
          .records_max = 40};
}

SessionId session(uint32_t n) {
  return SessionId::tuple(kGroup, Protocol::tcp, Endpoint{*IpAddress::parse("10.0.0.1"), Port{uint16_t(1000 + n)}},
                          *Endpoint::parse("203.0.113.10:443"));
}

struct Sent {
  NodeId from;
  std::vector<uint8_t> bytes;
};

// From members of the group and one that is none, the proxy itself, the operator, and nobody.
Sent some_message(Rng& rng, uint32_t request) {
  const auto n = static_cast<uint32_t>(rng.below(60));
  const MemberId member{1 + static_cast<uint32_t>(rng.below(4))};
  const NodeId owner = NodeId::member(member), proxy = NodeId::proxy(kSelf);
  const Version version{0, 1, rng.below(50)};
  MessageHeader h{.request = request, .origin = owner, .view = {1, 0}};
  switch (rng.below(8)) {
    case 0:
    case 1:
      return {owner, encode(h, Insert{.id = session(n),
                                      .state = RecordState(1 + rng.below(3)),
                                      .member = member,
                                      .version = version,
                                      .handle = n,
                                      .lifetime_ms = 1000,
                                      .bucket_bytes = rng.chance(0.5) ? kUnlimitedBytes : 100'000,
                                      .bucket_counter = version.counter,
                                      .ingress = rng.chance(0.3) ? kSelf : ProxyId{}})};
    case 2:
    case 3: h.origin = proxy; return {proxy, encode(h, Query{session_key(session(n), secret()), kGroup})};
    case 4:
      return {owner, encode(h, Refresh{.incarnation = 1, .entries = {{n, 5, 1000}, {n + 1, 60, 2000}, {n + 2, 0, 0}}})};
    case 5: return {owner, encode(h, Remove{.id = session(n), .version = version})};
    case 6:
      h.origin = NodeId::op();
      return {NodeId::op(), rng.chance(0.5) ? encode(h, Revoke{.id = session(n), .key = {}, .group = {}, .name = n + 1})
                                            : encode(h, Unrevoke{.id = session(n), .key = {}, .group = {}})};
    default: {
      std::vector<uint8_t> noise(rng.below(60));
      rng.fill(noise);
      return {rng.chance(0.5) ? owner : proxy, noise};
    }
  }
}

// At most so many.
void take_outputs(Node& node, size_t most, std::vector<DirectoryOutput>& all) {
  for (DirectoryOutput o; most > 0 && node.next_output(o); --most) all.push_back(o);
}

void run(uint64_t seed) {
  Rng rng(seed);
  Instant now{1000h};
  Node one_by_one(options(seed), now), in_bursts(options(seed), now);
  std::vector<DirectoryOutput> expected, got;
  for (int step = 0; step < 60; ++step) {
    now += Duration(static_cast<int64_t>(rng.below(uint64_t(Duration(300ms).count()))));
    for (Node* node : {&one_by_one, &in_bursts}) {
      while (node->next_deadline() <= now) node->on_deadline(now);
    }
    std::vector<Sent> sent;
    for (uint64_t n = rng.below(80); n > 0; --n)
      sent.push_back(some_message(rng, static_cast<uint32_t>(rng.below(300))));
    std::vector<NodeMessage> burst;
    for (const Sent& s : sent) {
      one_by_one.on_message(s.from, s.bytes, now);
      burst.push_back({s.from, s.bytes});
    }
    in_bursts.on_messages(burst, now);
    take_outputs(one_by_one, SIZE_MAX, expected);
    take_outputs(in_bursts, rng.below(80), got);
  }
  take_outputs(in_bursts, SIZE_MAX, got);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].to, expected[i].to);
    ASSERT_EQ(got[i].message, expected[i].message);
  }
  const auto counted = one_by_one.counters(), in_bursts_counted = in_bursts.counters();
  for (size_t i = 0; i < counted.size(); ++i)
    ASSERT_EQ(in_bursts_counted[i].value, counted[i].value) << counted[i].name;
  ASSERT_EQ(one_by_one.status(now).records, in_bursts.status(now).records);
}

TEST(NodeBurst, DoesWhatItsMessagesDoOneByOne) {
  const char* given = std::getenv("STATECAST_SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1, runs = given ? 1 : 40;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    run(seed);
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "STATECAST_SEED=" << seed;
  }
}

}  // namespace
}  // namespace statecast
