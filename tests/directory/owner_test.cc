// SPDX-License-Identifier: BSD-3-Clause
// The owner against proxies played by the test: what it sends where and when, and what each answer turns into.
#include "directory/owner.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

namespace statecast {
namespace {

constexpr MemberId kSelf{7};
const NodeId kMe = NodeId::member(kSelf);
using Kind = OwnerEvent::Kind;
using Status = RequestAnswer::Status;

SessionId session(uint16_t port = 40000) {
  const uint8_t client[] = {198, 51, 100, 7}, server[] = {203, 0, 113, 10};
  return SessionId::tuple({10}, Protocol::tcp, {IpAddress::v4(client), {port}}, {IpAddress::v4(server), {443}});
}

struct Sent {
  ProxyId to;
  MessageHeader header;
  MessageBody body;
  std::vector<uint8_t> bytes;  // what body's packet views
  template <class T>
  const T& as() const {
    return std::get<T>(body);
  }
};

class OwnerTest : public ::testing::Test {
 protected:
  void make(uint32_t incarnation = 3, size_t sessions_max = 100) {
    owner.emplace(OwnerOptions{.self = kSelf,
                               .incarnation = incarnation,
                               .view = View({}, {{{1}, ""}, {{2}, ""}, {{3}, ""}}),
                               .reachable = [this](ProxyId p) { return !unreachable.contains(p); },
                               .rtt = [this](ProxyId) { return rtt; },
                               .sessions_max = sessions_max,
                               .waiting_max = waiting_max},
                  1);
  }
  void SetUp() override { make(); }

  std::optional<Sent> sent() {
    DirectoryOutput o;
    if (!owner->next_output(o)) return std::nullopt;
    Sent s{o.to.as_proxy(), {}, {}, std::move(o.message)};
    auto m = decode(s.bytes);
    if (!m) {
      ADD_FAILURE() << "sent what is no message";
      return std::nullopt;
    }
    s.header = m->header;
    s.body = m->body;
    return s;
  }
  std::vector<Sent> all_sent() {
    std::vector<Sent> out;
    for (auto s = sent(); s; s = sent()) out.push_back(std::move(*s));
    return out;
  }
  std::optional<OwnerEvent> event() {
    OwnerEvent e;
    if (!owner->next_event(e)) return std::nullopt;
    return e;
  }
  void answer(const Sent& s, const MessageBody& body) {
    EXPECT_TRUE(owner->on_message(NodeId::proxy(s.to), encode(s.header, body), now));
  }
  static InsertAnswer ok(const Sent& s, uint16_t term = 1) {
    InsertAnswer a{.status = InsertAnswer::Status::ok, .copies = 2, .version = s.as<Insert>().version};
    a.version.term = term;
    a.replicas = {{2}, {3}, {1}};
    return a;
  }
  void pass(Duration d) {
    const Instant until = now + d;
    while (owner->next_deadline() <= until) {
      now = std::max(now, owner->next_deadline());
      owner->on_deadline(now);
    }
    now = until;
  }
  // A session that the directory has, established.
  Sent establish(SessionId id = session()) {
    owner->insert({.id = id, .established = true}, now);
    auto s = sent();
    answer(*s, ok(*s));
    EXPECT_EQ(event()->kind, Kind::inserted);
    return *s;
  }
  // What it revokes anew when the fleet knows nothing of `kept` any more, at the next refresh.
  std::vector<Sent> revokes_after_loss_of(const Sent& kept) {
    pass(15s);
    for (auto& s : all_sent()) answer(s, RefreshAnswer{.unknown = {kept.as<Insert>().handle}});
    std::vector<Sent> out = all_sent();
    std::erase_if(out, [](const Sent& s) { return !std::holds_alternative<Revoke>(s.body); });
    return out;
  }

  Instant now{100s};
  std::set<ProxyId> unreachable;
  Duration rtt{};
  size_t waiting_max = 100;
  std::optional<Owner> owner;
  const std::vector<uint8_t> packet{0x45, 1, 2, 3};
};

TEST_F(OwnerTest, AnInsertSaysAllAndGoesToTheHint) {
  owner->insert({.id = session(), .born_new = true, .ingress = {1}, .replica_hint = {3}, .packet = packet}, now);
  auto s = sent();
  ASSERT_TRUE(s);
  EXPECT_FALSE(sent());
  EXPECT_EQ(s->to, ProxyId{3});
  EXPECT_EQ(s->header.origin, kMe);
  EXPECT_EQ(s->header.hops, 0);
  const auto& i = s->as<Insert>();
  EXPECT_EQ(i.id, session());
  EXPECT_EQ(i.state, RecordState::half_open);
  EXPECT_EQ(i.member, kSelf);
  EXPECT_EQ(i.version, (Version{0, 3, 1}));
  EXPECT_EQ(i.lifetime_ms, 10'000u);
  EXPECT_EQ(i.bucket_bytes, kUnlimitedBytes);
  EXPECT_EQ(i.bucket_counter, 1u);
  EXPECT_TRUE(i.born_new);
  EXPECT_EQ(i.ingress, ProxyId{1});
  EXPECT_TRUE(std::ranges::equal(i.packet, packet));
  EXPECT_TRUE(owner->owns(session()));
  EXPECT_FALSE(owner->list()[0].acknowledged);

  answer(*s, ok(*s, 5));
  auto e = event();
  EXPECT_EQ(e->kind, Kind::inserted);
  EXPECT_EQ(e->id, session());
  EXPECT_EQ(e->copies, 2);
  EXPECT_FALSE(e->degraded);
  auto listed = owner->list();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_TRUE(listed[0].acknowledged);
  EXPECT_EQ(listed[0].version, (Version{5, 3, 1})) << "the coordinator sets the term";
  EXPECT_EQ(listed[0].replicas, (std::vector<ProxyId>{{2}, {3}, {1}}));
  answer(*s, ok(*s));
  EXPECT_FALSE(event()) << "a second copy of the answer";
}

TEST_F(OwnerTest, RetriesGoElsewhereWithTheSameNumberAndBackOff) {
  const Instant start = now;
  owner->insert({.id = session(), .ingress = {1}, .packet = packet}, now);
  auto first = sent();
  EXPECT_EQ(first->to, ProxyId{1}) << "without a hint the ingress proxy";
  std::vector<ProxyId> to;
  std::vector<Duration> at;
  while (at.size() < 5) {
    now = owner->next_deadline();
    owner->on_deadline(now);
    auto s = sent();
    ASSERT_TRUE(s);
    EXPECT_EQ(s->bytes, first->bytes) << "the same request";
    to.push_back(s->to);
    at.push_back(now - start);
  }
  EXPECT_EQ(at[0], 100ms);
  EXPECT_NE(to[0], first->to);
  EXPECT_EQ(std::set<ProxyId>(to.begin(), to.begin() + 3).size(), 3u);
  for (size_t i = 1; i < at.size(); ++i) {
    Duration wait = at[i] - at[i - 1], full = 100ms * (1 << i);
    EXPECT_GE(wait, full * 3 / 4) << i;
    EXPECT_LE(wait, full) << i;
  }
  answer(*first, ok(*first));
  EXPECT_EQ(event()->kind, Kind::inserted) << "whoever answers";
  EXPECT_EQ(owner->counters().retries, 5u);
}

TEST_F(OwnerTest, TheFirstRetryWaitsTwoRoundTrips) {
  rtt = 80ms;
  owner->insert({.id = session()}, now);
  EXPECT_EQ(owner->next_deadline(), now + 160ms);
  rtt = Duration::max();  // not known
  owner->insert({.id = session(2)}, now);
  EXPECT_EQ(owner->next_deadline(), now + 100ms);
}

TEST_F(OwnerTest, WhoIsUnreachableIsNotAsked) {
  unreachable = {{1}, {3}};
  owner->insert({.id = session(), .ingress = {1}, .replica_hint = {3}}, now);
  EXPECT_EQ(sent()->to, ProxyId{2});
  pass(150ms);
  EXPECT_EQ(sent()->to, ProxyId{2});
  unreachable = {{1}, {2}, {3}};
  pass(2s);
  EXPECT_FALSE(sent()) << "it waits";
  unreachable.clear();
  pass(2s);
  EXPECT_TRUE(sent());
}

TEST_F(OwnerTest, TryAgainIsAskedElsewhereAtOnce) {
  owner->insert({.id = session(), .ingress = {1}}, now);
  auto s = sent();
  std::set<ProxyId> asked{s->to};
  for (int i = 0; i < 3; ++i) {
    answer(*s, InsertAnswer{.status = InsertAnswer::Status::try_again});
    s = sent();
    ASSERT_TRUE(s);
    asked.insert(s->to);
  }
  EXPECT_EQ(asked.size(), 3u);
  answer(*s, InsertAnswer{.status = InsertAnswer::Status::try_again});
  EXPECT_FALSE(sent()) << "not in circles";
  pass(5s);
  EXPECT_TRUE(sent());
}

TEST_F(OwnerTest, ASynAckRetransmittedRaisesTheCounter) {
  owner->insert({.id = session(), .ingress = {1}, .packet = packet}, now);
  auto first = sent();
  now += 1s;
  owner->insert({.id = session(), .ingress = {2}, .packet = packet}, now);
  auto second = sent();
  EXPECT_EQ(second->to, ProxyId{2});
  EXPECT_NE(second->header.request, first->header.request);
  EXPECT_EQ(second->as<Insert>().version, (Version{0, 3, 2}));
  EXPECT_EQ(second->as<Insert>().handle, first->as<Insert>().handle);
  EXPECT_EQ(second->as<Insert>().bucket_counter, 1u) << "the bucket is not filled again";
  answer(*first, ok(*first));
  EXPECT_FALSE(event()) << "the older one is forgotten";
  answer(*second, ok(*second));
  EXPECT_EQ(event()->kind, Kind::inserted);
  EXPECT_EQ(owner->size(), 1u);
}

TEST_F(OwnerTest, AHalfOpenSessionIsForgottenWithItsRecord) {
  owner->insert({.id = session()}, now);
  pass(9'999ms);
  EXPECT_TRUE(owner->owns(session()));
  pass(1ms);
  EXPECT_FALSE(owner->owns(session()));
  all_sent();
  EXPECT_EQ(owner->next_deadline(), Instant::max());
}

TEST_F(OwnerTest, EstablishingExtends) {
  owner->insert({.id = session(), .ingress = {1}, .packet = packet}, now);
  auto s = sent();
  answer(*s, ok(*s));
  event();
  owner->establish(session(), now);
  auto e = sent();
  EXPECT_EQ(e->as<Insert>().state, RecordState::established);
  EXPECT_EQ(e->as<Insert>().lifetime_ms, 60'000u);
  EXPECT_EQ(e->as<Insert>().version, (Version{1, 3, 2}));
  EXPECT_EQ(e->as<Insert>().ingress, ProxyId{});
  EXPECT_TRUE(e->as<Insert>().packet.empty());
  EXPECT_EQ(e->to, ProxyId{2}) << "a replica, now that they are known";
  owner->establish(session(), now);
  EXPECT_FALSE(sent()) << "once";
  answer(*e, ok(*e));
  pass(20s);
  EXPECT_TRUE(owner->owns(session())) << "half-open time does not end it any more";
  owner->insert({.id = session(), .ingress = {1}, .packet = packet}, now);
  all_sent();
  EXPECT_EQ(owner->list()[0].state, RecordState::established) << "a late copy of the SYN/ACK does not take it back";
}

TEST_F(OwnerTest, BusyIsTriedThreeTimesAsANewInsert) {
  owner->insert({.id = session(), .born_new = true, .ingress = {1}, .packet = packet}, now);
  Duration limit = 100ms;
  uint64_t counter = 0;
  std::set<uint32_t> requests;
  for (int i = 0; i < 4; ++i) {
    auto s = sent();
    ASSERT_TRUE(s) << i;
    EXPECT_GT(s->as<Insert>().version.counter, counter) << "a withdrawn version is refused for good";
    EXPECT_TRUE(s->as<Insert>().born_new);
    EXPECT_TRUE(std::ranges::equal(s->as<Insert>().packet, packet));
    counter = s->as<Insert>().version.counter;
    requests.insert(s->header.request);
    const Instant busy_at = now;
    answer(*s, InsertAnswer{.status = InsertAnswer::Status::busy});
    if (i == 3) break;
    EXPECT_FALSE(sent()) << "not at once";
    EXPECT_LE(owner->next_deadline(), busy_at + limit);
    now = owner->next_deadline();
    owner->on_deadline(now);
    limit *= 2;
  }
  EXPECT_EQ(requests.size(), 4u);
  EXPECT_EQ(event()->kind, Kind::busy);
  EXPECT_FALSE(owner->owns(session()));
  EXPECT_FALSE(sent());
}

TEST_F(OwnerTest, TheWaitAfterBusyFollowsTheFarthestReplica) {
  rtt = 400ms;
  Duration longest{};
  for (uint16_t i = 0; i < 50; ++i) {
    owner->insert({.id = session()}, now);
    answer(*sent(), InsertAnswer{.status = InsertAnswer::Status::busy});
    const Duration wait = owner->next_deadline() - now;
    EXPECT_LE(wait, 2 * rtt);
    longest = std::max(longest, wait);
    pass(wait);
    answer(*sent(), InsertAnswer{.status = InsertAnswer::Status::conflict});
    EXPECT_EQ(event()->kind, Kind::conflict);
  }
  EXPECT_GT(longest, rtt);
}

TEST_F(OwnerTest, AConflictIsToldAndForgotten) {
  owner->insert({.id = session()}, now);
  auto s = sent();
  Record theirs{.group = {10}, .state = RecordState::revoked, .owner = NodeId::member({8}), .remaining_ms = 5000};
  answer(*s, InsertAnswer{.status = InsertAnswer::Status::conflict, .record = theirs});
  auto e = event();
  EXPECT_EQ(e->kind, Kind::conflict);
  EXPECT_EQ(e->record, theirs);
  EXPECT_EQ(e->remaining_ms, 5000u);
  EXPECT_FALSE(owner->owns(session()));
  EXPECT_EQ(owner->next_deadline(), Instant::max());
}

TEST_F(OwnerTest, DegradedCountsAsInserted) {
  owner->insert({.id = session()}, now);
  auto s = sent();
  auto a = ok(*s);
  a.status = InsertAnswer::Status::degraded;
  a.copies = 1;
  answer(*s, a);
  auto e = event();
  EXPECT_EQ(e->kind, Kind::inserted);
  EXPECT_TRUE(e->degraded);
  EXPECT_EQ(owner->counters().degraded, 1u);
}

TEST_F(OwnerTest, RefusedWaitsForTheKernelOrTriesAgainWhenEstablished) {
  owner->insert({.id = session()}, now);
  auto s = sent();
  answer(*s, InsertAnswer{.status = InsertAnswer::Status::refused});
  EXPECT_EQ(event()->kind, Kind::refused);
  pass(5s);
  EXPECT_FALSE(sent());
  owner->insert({.id = session(2), .established = true}, now);
  s = sent();
  answer(*s, InsertAnswer{.status = InsertAnswer::Status::refused});
  EXPECT_EQ(event()->kind, Kind::refused);
  pass(2s);
  auto again = all_sent();  // and its retries, whose number depends on when the wait was over
  ASSERT_FALSE(again.empty());
  s = again.back();
  EXPECT_EQ(s->as<Insert>().id, session(2));
  answer(*s, InsertAnswer{.status = InsertAnswer::Status::refused});
  EXPECT_FALSE(event()) << "told once";
  pass(2s);
  again = all_sent();
  ASSERT_FALSE(again.empty());
  answer(again.back(), ok(again.back()));
  EXPECT_EQ(event()->kind, Kind::inserted);
}

// The agent's disk was lost: it counts from 1 while the fleet has records of its third start.
TEST_F(OwnerTest, ALostIncarnationIsRaisedAboveWhatTheFleetKnows) {
  make(1);
  Record old{.group = {10}, .owner = kMe, .version = {4, 3, 90}};
  struct Row {
    InsertAnswer::Status status;
    RecordState state;
  };
  uint32_t expected = 1;
  for (Row row : {Row{InsertAnswer::Status::refused, RecordState::established},
                  Row{InsertAnswer::Status::conflict, RecordState::removed}}) {
    owner->insert({.id = session(), .born_new = true, .ingress = {1}, .packet = packet}, now);
    owner->insert({.id = session(2), .established = true}, now);
    auto first = sent(), second = sent();
    EXPECT_EQ(first->as<Insert>().version.incarnation, expected);
    old.state = row.state;
    old.target = is_tombstone(row.state) ? Target::drop : Target::member;
    old.member = is_tombstone(row.state) ? MemberId{} : kSelf;
    old.version.incarnation = expected + 2;
    answer(*first, InsertAnswer{.status = row.status, .record = old});
    expected += 3;
    auto e = event();
    ASSERT_TRUE(e);
    EXPECT_EQ(e->kind, Kind::raised);
    EXPECT_EQ(owner->incarnation(), expected);
    auto again = sent();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->as<Insert>().version.incarnation, expected);
    EXPECT_TRUE(again->as<Insert>().born_new);
    EXPECT_TRUE(std::ranges::equal(again->as<Insert>().packet, packet));
    answer(*again, ok(*again));
    EXPECT_EQ(event()->kind, Kind::inserted);
    answer(*second, InsertAnswer{.status = row.status, .record = old});
    again = sent();
    ASSERT_TRUE(again) << "what was out below it goes out again as well";
    EXPECT_EQ(again->as<Insert>().version.incarnation, expected);
    EXPECT_FALSE(event()) << "stored once";
    answer(*again, ok(*again));
    EXPECT_EQ(event()->kind, Kind::inserted);
  }
}

TEST_F(OwnerTest, NoOtherRecordRaisesTheIncarnation) {
  Record theirs{.group = {10}, .state = RecordState::established, .member = {8}, .owner = NodeId::member({8})};
  theirs.version = {4, 9, 90};
  Record revoked{.group = {10}, .state = RecordState::revoked, .target = Target::drop, .owner = kMe};
  revoked.version = {66, kId24Max, 7};
  Record newer{.group = {10}, .state = RecordState::established, .member = kSelf, .owner = kMe, .version = {4, 3, 90}};
  for (const Record& r : {theirs, revoked, newer}) {
    owner->insert({.id = session()}, now);
    answer(*sent(), InsertAnswer{.status = InsertAnswer::Status::conflict, .record = r});
    EXPECT_EQ(event()->kind, Kind::conflict);
    EXPECT_EQ(owner->incarnation(), 3u);
    EXPECT_FALSE(sent());
  }
}

TEST_F(OwnerTest, ManySessionsAreRefreshedByDigestsAndThePartsThatDifferListed) {
  make(3, 2000);
  for (uint16_t i = 0; i < 1500; ++i) establish(session(i));
  all_sent();
  pass(14s);
  EXPECT_FALSE(sent());
  pass(1s);
  auto round = all_sent();
  ASSERT_EQ(round.size(), 3u) << "one to each replica";
  RefreshDifference parts;
  for (size_t part = 0; part < kRefreshParts; ++part) {
    if (round[0].as<RefreshDigest>().digests[part] != 0) parts.parts.push_back(static_cast<uint8_t>(part));
  }
  EXPECT_TRUE(parts.parts.size() == 2 || parts.parts.size() == 3) << "1,500 handles in a row";
  answer(round[0], RefreshDifference{});
  answer(round[1], RefreshDifference{});
  EXPECT_FALSE(sent());
  answer(round[2], parts);
  std::set<uint32_t> handles;
  size_t datagrams = 0;
  for (int i = 0; i < 4; ++i) {
    pass(10ms);
    for (const Sent& s : all_sent()) {
      EXPECT_EQ(s.to, round[2].to);
      EXPECT_EQ(s.as<Refresh>().incarnation, 3u);
      for (auto& e : s.as<Refresh>().entries) EXPECT_TRUE(handles.insert(e.handle).second);
      ++datagrams;
      answer(s, RefreshAnswer{});
    }
  }
  EXPECT_EQ(handles.size(), 1500u);
  EXPECT_LE(datagrams, 25u + 3) << "60 in each, but for the last of a part";
}

TEST_F(OwnerTest, AnUnansweredRefreshIsRepeatedAndThenLeftToTheNextPeriod) {
  establish();
  pass(15s);
  auto round = all_sent();
  ASSERT_EQ(round.size(), 3u);
  for (auto& s : round)
    if (s.to != ProxyId{1}) answer(s, RefreshAnswer{});
  pass(3s);
  auto again = all_sent();
  EXPECT_EQ(again.size(), 2u);
  for (auto& s : again) EXPECT_EQ(s.to, ProxyId{1});
  EXPECT_EQ(owner->counters().refresh_unanswered, 1u);
  unreachable = {{1}};
  pass(12s);
  EXPECT_EQ(all_sent().size(), 2u) << "the unreachable one is left out";
}

// A replica that was cut off tells of a revocation that has been lifted since.
// Both have left the view, one says nothing any more, the other is known to be out of reach.
TEST_F(OwnerTest, WhereNoReplicaAnswersASessionIsInsertedAnewElsewhere) {
  owner->insert({.id = session(), .established = true}, now);
  auto first = sent();
  InsertAnswer held = ok(*first);
  held.replicas = {{2}, {3}};
  answer(*first, held);
  unreachable = {{3}};
  pass(16s);
  auto out = all_sent();
  ASSERT_GT(out.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::holds_alternative<Refresh>(out[i].body)) << i << ": to the one replica";
  ASSERT_TRUE(std::holds_alternative<Insert>(out[3].body));
  const auto& again = out[3].as<Insert>();
  EXPECT_EQ(again.id, session());
  EXPECT_EQ(again.handle, first->as<Insert>().handle);
  EXPECT_EQ(again.state, RecordState::established);
}

// An agent that is cut off has nobody to tell: it waits for the next period rather than keep an insert for each
// session.
TEST_F(OwnerTest, WithNobodyInReachNothingIsInsertedAnew) {
  establish();
  unreachable = {{1}, {2}, {3}};
  pass(50s);
  EXPECT_EQ(owner->counters().inserted_anew, 0u);
}

TEST_F(OwnerTest, ANoticeOlderThanWhatWasAcknowledgedRevokesNothing) {
  owner->insert({.id = session(), .established = true}, now);
  auto s = sent();
  answer(*s, ok(*s, 66));
  event();
  const uint32_t handle = s->as<Insert>().handle;
  auto notice = [&](uint16_t term) {
    owner->on_message(NodeId::proxy({1}),
                      encode({.request = 9, .origin = NodeId::proxy({1})},
                             Notice{handle, {term, kId24Max, 5}, RecordState::revoked, 60'000}),
                      now);
  };
  notice(65);
  EXPECT_FALSE(event());
  EXPECT_TRUE(owner->owns(session()));
  notice(130);
  ASSERT_EQ(event()->kind, Kind::revoked);
}

TEST_F(OwnerTest, ARefreshSaysInWhichViewItsReplicasWereTold) {
  owner->insert({.id = session(), .established = true}, now);
  auto s = sent();
  MessageHeader h = s->header;
  h.view = {.revision = 7, .hash = 77};
  owner->on_message(NodeId::proxy(s->to), encode(h, ok(*s)), now);
  pass(15s);
  auto refreshes = all_sent();
  EXPECT_EQ(refreshes.size(), 3u);
  for (auto& r : refreshes) EXPECT_EQ(r.header.view, h.view);
}

TEST_F(OwnerTest, AnUnknownHandleIsInsertedAnew) {
  auto first = establish();
  pass(15s);
  for (auto& s : all_sent()) answer(s, RefreshAnswer{.unknown = {first.as<Insert>().handle, 12345}});
  auto s = sent();
  ASSERT_TRUE(s);
  const auto& i = s->as<Insert>();
  EXPECT_FALSE(i.born_new) << "it is the old session";
  EXPECT_EQ(i.state, RecordState::established);
  EXPECT_GT(i.version.counter, first.as<Insert>().version.counter);
  EXPECT_EQ(i.bucket_counter, first.as<Insert>().bucket_counter);
  EXPECT_FALSE(sent()) << "once for all replicas";
  answer(*s, ok(*s));
  EXPECT_FALSE(event()) << "nobody waits for it";
}

TEST_F(OwnerTest, ARevokedHandleIsInsertedForItsTombstone) {
  auto first = establish();
  pass(15s);
  for (auto& s : all_sent()) answer(s, RefreshAnswer{.revoked = {first.as<Insert>().handle}});
  auto again = all_sent();
  ASSERT_EQ(again.size(), 1u) << "one serves all replicas";
  Record tombstone{.group = {10},
                   .state = RecordState::revoked,
                   .target = Target::drop,
                   .owner = NodeId::op(),
                   .remaining_ms = 5000};
  answer(again[0], InsertAnswer{.status = InsertAnswer::Status::conflict, .record = tombstone});
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::conflict);
  EXPECT_EQ(e->record, tombstone);
  EXPECT_EQ(e->remaining_ms, 5000u) << "what is left of it, not a default";
  EXPECT_FALSE(event()) << "once";
  EXPECT_FALSE(owner->owns(session()));
}

TEST_F(OwnerTest, ABucketIsSetAtAllReplicasAtOnce) {
  auto first = establish();
  owner->set_bucket(session(), 5000, now);
  pass(0s);
  auto round = all_sent();
  ASSERT_EQ(round.size(), 3u);
  std::set<ProxyId> to;
  for (auto& s : round) {
    to.insert(s.to);
    ASSERT_EQ(s.as<Refresh>().entries.size(), 1u);
    EXPECT_EQ(s.as<Refresh>().entries[0].handle, first.as<Insert>().handle);
    EXPECT_EQ(s.as<Refresh>().entries[0].bucket_bytes, 5000u);
    EXPECT_EQ(s.as<Refresh>().entries[0].counter, 2u);
    answer(s, RefreshAnswer{});
  }
  EXPECT_EQ(to.size(), 3u);
  pass(15s);
  for (auto& s : all_sent()) EXPECT_EQ(s.as<Refresh>().entries[0].counter, 2u) << "the same bucket";
  // Before the directory has the session, its insert says it.
  owner->insert({.id = session(2), .bucket_bytes = 100}, now);
  sent();
  owner->set_bucket(session(2), 200, now);
  auto s = sent();
  EXPECT_EQ(s->as<Insert>().bucket_bytes, 200u);
}

TEST_F(OwnerTest, ClosingIsForgottenAfterAMinuteAndMayBeBornAgain) {
  establish();
  owner->close(session(), now);
  auto s = sent();
  EXPECT_EQ(s->as<Insert>().state, RecordState::closing);
  EXPECT_EQ(s->as<Insert>().lifetime_ms, 60'000u);
  answer(*s, ok(*s));
  EXPECT_FALSE(event());
  pass(30s);
  EXPECT_FALSE(sent()) << "not refreshed";
  EXPECT_TRUE(owner->owns(session()));
  owner->insert({.id = session(), .born_new = true, .ingress = {1}, .packet = packet}, now);
  s = sent();
  EXPECT_EQ(s->as<Insert>().state, RecordState::half_open);
  owner->close(session(), now);
  s = sent();
  answer(*s, ok(*s));
  pass(60s);
  EXPECT_FALSE(owner->owns(session()));
}

TEST_F(OwnerTest, RemoveIsRepeatedUntilItIsDone) {
  auto first = establish();
  uint32_t request = owner->remove(session(), now);
  EXPECT_FALSE(owner->owns(session()));
  auto s = sent();
  EXPECT_EQ(s->header.request, request);
  EXPECT_GT(s->as<Remove>().version.counter, first.as<Insert>().version.counter);
  EXPECT_EQ(s->as<Remove>().version.term, 1);
  pass(100ms);
  auto again = sent();
  EXPECT_EQ(again->bytes, s->bytes);
  EXPECT_NE(again->to, s->to);
  answer(*again, RequestAnswer{.status = Status::ok, .copies = 3});
  auto e = event();
  EXPECT_EQ(e->kind, Kind::done);
  EXPECT_EQ(e->request, request);
  EXPECT_EQ(owner->next_deadline(), Instant::max());
}

TEST_F(OwnerTest, RequestsThatFail) {
  struct Row {
    Status status;
    Kind kind;
  };
  for (Row r : {Row{Status::denied, Kind::failed}, Row{Status::not_found, Kind::failed}}) {
    uint32_t request = owner->remove(session(), now);
    answer(*sent(), RequestAnswer{.status = r.status});
    auto e = event();
    ASSERT_TRUE(e);
    EXPECT_EQ(e->kind, r.kind);
    EXPECT_EQ(e->request, request);
    EXPECT_EQ(e->failed_status, r.status);
  }
  uint32_t request = owner->unrevoke(session(), now);
  pass(70s);
  auto e = event();
  ASSERT_TRUE(e) << "nobody answers";
  EXPECT_EQ(e->request, request);
  EXPECT_EQ(e->failed_status, Status::try_again);
  all_sent();
  EXPECT_EQ(owner->next_deadline(), Instant::max());
}

TEST_F(OwnerTest, ARevocationIsStoredThenSilent) {
  auto first = establish();
  uint32_t request = owner->revoke(session(), 60s, now);
  EXPECT_FALSE(owner->owns(session()));
  EXPECT_TRUE(owner->is_revoked(session()));
  auto s = sent();
  EXPECT_EQ(s->header.request, request);
  EXPECT_EQ(s->as<Revoke>().id, session());
  EXPECT_EQ(s->as<Revoke>().duration_ms, 60'000u);
  now += 2ms;
  answer(*s, RequestAnswer{.status = Status::stored, .copies = 2});
  auto e = event();
  EXPECT_EQ(e->kind, Kind::stored);
  EXPECT_EQ(e->copies, 2);
  // Until it is silent it asks again, with the same number and what is left of the time.
  pass(1s);
  auto again = sent();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->header.request, request);
  EXPECT_EQ(again->as<Revoke>().duration_ms, 58'998u);
  answer(*again, RequestAnswer{.status = Status::stored});
  EXPECT_FALSE(event()) << "told already";
  answer(*again, RequestAnswer{.status = Status::silent});
  EXPECT_EQ(event()->kind, Kind::silent);
  // Nothing about the session goes out any more, until the tombstone ends.
  owner->insert({.id = session()}, now);
  EXPECT_EQ(event()->kind, Kind::revoked);
  pass(58s);
  EXPECT_TRUE(all_sent().empty());
  pass(2s);
  EXPECT_FALSE(owner->is_revoked(session()));
  owner->insert({.id = session()}, now);
  EXPECT_TRUE(sent());
}

TEST_F(OwnerTest, NobodyDeniesARevocationThatIsStored) {
  owner->revoke(session(), 600s, now);
  auto s = sent();
  answer(*s, RequestAnswer{.status = Status::stored});
  EXPECT_EQ(event()->kind, Kind::stored);
  for (Status status : {Status::denied, Status::not_found}) answer(*s, RequestAnswer{.status = status});
  EXPECT_FALSE(event());
  answer(*s, RequestAnswer{.status = Status::silent});
  EXPECT_EQ(event()->kind, Kind::silent);
}

// Also where silence takes long: nobody asks for the revocation any more, which would revoke again.
TEST_F(OwnerTest, WhatIsLiftedIsNotAskedForAgain) {
  for (bool by_us : {true, false}) {
    make();
    const Sent mine = establish();
    uint32_t request = owner->revoke(session(), 600s, now);
    auto s = sent();
    answer(*s, RequestAnswer{.status = Status::stored});
    EXPECT_EQ(event()->kind, Kind::stored);
    if (by_us) {
      owner->unrevoke(session(), now);
      answer(*sent(), RequestAnswer{.status = Status::ok});
    } else {
      MessageHeader h{.request = 5, .origin = NodeId::proxy({1})};
      Notice lifted{mine.as<Insert>().handle, {66, 0, 1}, RecordState::removed, 60'000};
      EXPECT_TRUE(owner->on_message(NodeId::proxy({1}), encode(h, lifted), now));
      EXPECT_TRUE(std::holds_alternative<Ack>(sent()->body));
    }
    auto e = event();
    ASSERT_TRUE(e);
    EXPECT_EQ(e->kind, Kind::failed);
    EXPECT_EQ(e->request, request);
    EXPECT_EQ(event()->kind, by_us ? Kind::done : Kind::lifted);
    EXPECT_FALSE(owner->is_revoked(session()));
    pass(20s);
    for (const Sent& later : all_sent()) EXPECT_FALSE(std::holds_alternative<Revoke>(later.body));
  }
}

TEST_F(OwnerTest, SilentAloneSaysBoth) {
  owner->revoke(session(), 60s, now);
  answer(*sent(), RequestAnswer{.status = Status::silent});
  EXPECT_EQ(event()->kind, Kind::stored);
  EXPECT_EQ(event()->kind, Kind::silent);
  EXPECT_FALSE(event());
}

TEST_F(OwnerTest, ADegradedRevocationIsAskedForAgain) {
  owner->revoke(session(), 60s, now);
  answer(*sent(), RequestAnswer{.status = Status::degraded, .copies = 1});
  EXPECT_FALSE(event());
  pass(200ms);
  EXPECT_TRUE(sent());
}

// Where the packet is until the insert is held, and who releases it.
TEST_F(OwnerTest, FormsOfInserts) {
  owner->insert({.id = session(), .ingress = {2}, .packet = packet, .form = InsertForm::insert_and_forward}, now);
  auto s = sent();
  EXPECT_EQ(s->as<Insert>().ingress, ProxyId{2});
  EXPECT_FALSE(s->as<Insert>().returns);
  EXPECT_EQ(s->as<Insert>().packet.size(), packet.size());
  answer(*s, ok(*s));
  EXPECT_TRUE(event()->packet.empty()) << "the proxy has it";

  owner->insert({.id = session(2), .ingress = {2}, .packet = packet, .form = InsertForm::insert_and_return}, now);
  s = sent();
  EXPECT_EQ(s->as<Insert>().ingress, ProxyId{2});
  EXPECT_TRUE(s->as<Insert>().returns);
  EXPECT_EQ(s->as<Insert>().packet.size(), packet.size());
  pass(150ms);
  auto again = sent();
  EXPECT_TRUE(again->as<Insert>().packet.empty()) << "it is gone with the first";
  InsertAnswer back = ok(*s);
  back.packet = packet;
  answer(*s, back);
  EXPECT_EQ(event()->packet, packet);

  owner->insert({.id = session(3), .ingress = {2}, .packet = packet, .form = InsertForm::insert}, now);
  s = sent();
  EXPECT_EQ(s->to, ProxyId{2}) << "asked first all the same";
  EXPECT_EQ(s->as<Insert>().ingress, ProxyId{});
  EXPECT_TRUE(s->as<Insert>().packet.empty());
  EXPECT_EQ(owner->waiting(), 1u);
  answer(*s, ok(*s));
  EXPECT_EQ(event()->packet, packet);
  EXPECT_EQ(owner->waiting(), 0u);
}

TEST_F(OwnerTest, FewPacketsWaitForTheirInserts) {
  waiting_max = 2;
  make();
  for (uint16_t i = 0; i < 3; ++i)
    owner->insert({.id = session(i), .ingress = {2}, .packet = packet, .form = InsertForm::insert}, now);
  EXPECT_EQ(owner->waiting(), 2u);
  std::vector<Sent> all = all_sent();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all[1].as<Insert>().packet.empty());
  EXPECT_EQ(all[2].as<Insert>().packet.size(), packet.size()) << "goes as insert_and_forward";
  EXPECT_EQ(all[2].as<Insert>().ingress, ProxyId{2});
  owner->insert({.id = session(0), .ingress = {2}, .packet = packet, .form = InsertForm::insert_and_forward}, now);
  EXPECT_EQ(owner->waiting(), 1u) << "the kernel's retransmission takes its place";
  owner->remove(session(1), now);
  EXPECT_EQ(owner->waiting(), 0u);
}

TEST_F(OwnerTest, UnrevokeLifts) {
  owner->revoke(session(), 600s, now);
  const Sent revoke = *sent();
  answer(revoke, RequestAnswer{.status = Status::silent});
  event(), event();
  owner->unrevoke(session(), now);
  EXPECT_TRUE(owner->is_revoked(session())) << "until it is done";
  const Sent unrevoke = *sent();
  EXPECT_EQ(unrevoke.as<Unrevoke>().name, revoke.as<Revoke>().name);
  answer(unrevoke, RequestAnswer{.status = Status::ok});
  EXPECT_EQ(event()->kind, Kind::done);
  EXPECT_FALSE(owner->is_revoked(session()));
  owner->insert({.id = session()}, now);
  EXPECT_TRUE(sent());
}

TEST_F(OwnerTest, NoticesAreAcknowledgedAlways) {
  struct Row {
    const char* name;
    bool ours;
    Version version;
    RecordState state;
    std::optional<Kind> kind;
  };
  const Row rows[] = {
      {"revoked", true, {1, 3, 1}, RecordState::revoked, Kind::revoked},
      {"removed", true, {1, 3, 1}, RecordState::removed, Kind::superseded},
      {"another owner", true, {2, 1, 1}, RecordState::established, Kind::superseded},
      {"older than what we know", true, {1, 3, 0}, RecordState::removed, std::nullopt},
      {"a handle of nobody", false, {1, 3, 1}, RecordState::revoked, std::nullopt},
  };
  for (const Row& r : rows) {
    make();
    auto first = establish();
    uint32_t handle = first.as<Insert>().handle + (r.ours ? 0 : 50);
    MessageHeader header{.request = 99, .origin = NodeId::proxy({2})};
    for (int copy = 0; copy < 2; ++copy) {
      EXPECT_TRUE(owner->on_message(NodeId::proxy({2}), encode(header, Notice{handle, r.version, r.state, 5000}), now));
      auto ack = sent();
      ASSERT_TRUE(ack) << r.name;
      EXPECT_EQ(ack->to, ProxyId{2});
      EXPECT_EQ(ack->header.request, 99u);
      EXPECT_TRUE(std::holds_alternative<Ack>(ack->body));
    }
    auto e = event();
    ASSERT_EQ(e.has_value(), r.kind.has_value()) << r.name;
    if (e) {
      EXPECT_EQ(e->kind, *r.kind) << r.name;
      EXPECT_EQ(e->id, session());
      EXPECT_FALSE(owner->owns(session()));
    }
    EXPECT_FALSE(event()) << r.name;
    EXPECT_EQ(owner->is_revoked(session()), r.kind == Kind::revoked) << r.name;
  }
}

TEST_F(OwnerTest, ALiftedTombstoneIsTold) {
  auto first = establish();
  MessageHeader header{.request = 99, .origin = NodeId::proxy({2})};
  auto notice = [&](RecordState s) {
    owner->on_message(NodeId::proxy({2}), encode(header, Notice{first.as<Insert>().handle, {1, 3, 1}, s, 5000}), now);
  };
  notice(RecordState::revoked);
  EXPECT_EQ(event()->kind, Kind::revoked);
  notice(RecordState::removed);
  EXPECT_EQ(event()->kind, Kind::lifted);
  EXPECT_FALSE(owner->is_revoked(session()));
}

// A fleet that has lost what others revoked gets it under the name by which it will be lifted, or another would stand
// above that lift.
TEST_F(OwnerTest, WhatOthersRevokedIsSentAgainUnderTheirName) {
  const auto kept = establish(session(1));
  const auto cut = establish(session(2));
  const Notice notice{cut.as<Insert>().handle, {65, kId24Max, 4711}, RecordState::revoked, 600'000};
  owner->on_message(NodeId::proxy({2}), encode({.request = 99, .origin = NodeId::proxy({2})}, notice), now);
  EXPECT_EQ(owner->revocation_name(session(2)), 4711u);
  all_sent();
  const auto revokes = revokes_after_loss_of(kept);
  ASSERT_EQ(revokes.size(), 1u);
  EXPECT_EQ(revokes[0].as<Revoke>().name, 4711u);
}

// A fleet that has lost everything gets the tombstones again, not only the mappings.
TEST_F(OwnerTest, TombstonesAreSentAgainWhenReplicasHaveForgotten) {
  auto kept = establish(session(1));
  owner->revoke(session(2), 600s, now);
  const Sent revoke = *sent();
  const uint64_t name = revoke.as<Revoke>().name;
  answer(revoke, RequestAnswer{.status = Status::silent});
  event(), event();
  const auto revokes = revokes_after_loss_of(kept);
  ASSERT_EQ(revokes.size(), 1u);
  EXPECT_EQ(revokes[0].as<Revoke>().id, session(2));
  EXPECT_EQ(revokes[0].as<Revoke>().duration_ms, 585'000u);
  EXPECT_EQ(revokes[0].as<Revoke>().name, name) << "one unrevoke lifts it";
  answer(revokes[0], RequestAnswer{.status = Status::stored});
  EXPECT_FALSE(event());
}

TEST_F(OwnerTest, TheBoundOnSessionsHolds) {
  make(3, 2);
  owner->insert({.id = session(1)}, now);
  owner->insert({.id = session(2)}, now);
  owner->insert({.id = session(3)}, now);
  EXPECT_EQ(event()->kind, Kind::refused);
  EXPECT_EQ(owner->size(), 2u);
  owner->insert({.id = session(2)}, now);
  EXPECT_FALSE(event());
}

TEST_F(OwnerTest, WhatIsNotForAnOwnerIsNotTaken) {
  owner->insert({.id = session()}, now);
  auto s = sent();
  EXPECT_FALSE(owner->on_message(NodeId::member({8}), encode(s->header, ok(*s)), now));
  EXPECT_FALSE(owner->on_message(NodeId::proxy({1}), {}, now));
  EXPECT_FALSE(owner->on_message(NodeId::proxy({1}), encode(s->header, Query{{}, {1}}), now));
  auto other = *s;
  other.header.origin = NodeId::member({8});
  answer(other, ok(*s));
  answer(*s, RequestAnswer{});  // of another kind than the request
  EXPECT_FALSE(event());
  answer(*s, ok(*s));
  EXPECT_TRUE(event());
}

}  // namespace
}  // namespace statecast
