// SPDX-License-Identifier: BSD-3-Clause
// The querier against replicas played by the test: which one is asked when, and what each answer turns into.
#include "directory/querier.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

namespace statecast {
namespace {

constexpr ProxyId kSelf{9};  // no replica, unless a test says so
constexpr GroupId kGroup{10};
constexpr uint32_t kBoot = 77;
const SessionKey kKey{0x1234'0000'0000'0001, 5};
const std::vector<uint8_t> kPacket(40, 0x45);
using Kind = CacheEvent::Kind;
using Status = QueryAnswer::Status;

struct Sent {
  ProxyId to;
  MessageHeader header;
  MessageBody body;
  std::vector<uint8_t> packet;  // of a query
};

class QuerierTest : public ::testing::Test {
 protected:
  void make(unsigned nodes = 3, ProxyId self = kSelf) {
    std::vector<ViewNode> list;
    for (uint32_t i = 1; i <= nodes; ++i) list.push_back({{i}, ""});
    view = View({.revision = 1}, list);
    auto r = view.replicas(kKey.slot());
    replicas.assign(r.begin(), r.end());
    querier.emplace(QuerierOptions{.self = self,
                                   .view = view,
                                   .boot = kBoot,
                                   .timestamp_us = [](Instant t) { return uint64_t(t.time_since_epoch() / 1us); },
                                   .partition_available = [this](GroupId) { return available; },
                                   .reachable = [this](ProxyId p) { return !unreachable.contains(p); },
                                   .questions_max = 100},
                    1);
  }
  void SetUp() override { make(); }

  bool ask(SessionKey key = kKey) { return querier->ask(key, kGroup, now); }
  std::optional<Sent> sent() {
    DirectoryOutput o;
    if (!querier->next_output(o)) return std::nullopt;
    auto m = decode(o.message);
    if (!m) {
      ADD_FAILURE() << "sent what is no message";
      return std::nullopt;
    }
    Sent s{o.to.as_proxy(), m->header, m->body, {}};
    if (auto* q = std::get_if<Query>(&s.body)) s.packet.assign(q->packet.begin(), q->packet.end());
    return s;
  }
  std::optional<CacheEvent> event() {
    CacheEvent e;
    if (!querier->next_event(e)) return std::nullopt;
    return e;
  }
  // Waits for the querier's own next deadline.
  void wait() {
    ASSERT_NE(querier->next_deadline(), Instant::max());
    now = std::max(now, querier->next_deadline());
    querier->on_deadline(now);
  }
  static QueryAnswer live(uint32_t lease_ms = 1000, uint64_t bytes = 5000) {
    return {.key = kKey,
            .status = Status::live,
            .member = {7},
            .state = RecordState::established,
            .version = {1, 2, 3},
            .lease_ms = lease_ms,
            .lease_bytes = bytes};
  }
  static QueryAnswer word(Status s, RecordState state = RecordState::established) {
    return {.key = kKey, .status = s, .state = state, .version = {1, 2, 3}, .remaining_ms = 5000};
  }
  void answer(const Sent& q, const QueryAnswer& a) {
    EXPECT_TRUE(querier->on_message(NodeId::proxy(q.to), encode(q.header, a), now));
  }
  void push(ProxyId from, uint32_t request, const MessageBody& body, NodeId origin = NodeId::member({7})) {
    EXPECT_TRUE(querier->on_message(NodeId::proxy(from), encode({.request = request, .origin = origin}, body), now));
  }
  Entry entry(Duration age = 0ms, std::vector<uint8_t>* packet = nullptr) {
    Entry e{.key = kKey, .group = kGroup, .member = {7}, .version = {1, 2, 4}, .lease_ms = 2000, .lease_bytes = 900};
    e.echo = {kBoot, uint64_t((now - age).time_since_epoch() / 1us)};
    if (packet) e.packet = *packet;
    return e;
  }
  Purge purge(RecordState state, Version version = {1, 2, 4}) { return {kKey, kGroup, version, state, 600'000}; }

  Instant now{100s};
  View view;
  std::vector<ProxyId> replicas;
  bool available = false;
  std::set<ProxyId> unreachable;
  std::optional<Querier> querier;
};

// --- a packet that travels along ---

TEST_F(QuerierTest, ThePacketGoesAlongUntilTheQuestionIsSettledAndThenGoesOn) {
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_return, kPacket, 3}));
  for (Status s : {Status::ask_another, Status::none, Status::none}) {
    auto q = sent();
    ASSERT_TRUE(q);
    EXPECT_EQ(std::get<Query>(q->body).form, QueryForm::query_and_return);
    ASSERT_EQ(q->packet, kPacket);
    EXPECT_FALSE(event());
    QueryAnswer a = word(s);
    a.packet = kPacket;
    answer(*q, a);
  }
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::none);
  EXPECT_EQ(std::vector(e->packet.begin(), e->packet.end()), kPacket);
  EXPECT_EQ(e->asker, 3);
  EXPECT_EQ(querier->counters().packets_lost, 0u);
}

TEST_F(QuerierTest, APacketThatWasForwardedDoesNotComeBack) {
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_forward, kPacket, 0}));
  auto q = sent();
  ASSERT_TRUE(q);
  EXPECT_EQ(std::get<Query>(q->body).form, QueryForm::query_and_forward);
  answer(*q, live());
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::lease);
  EXPECT_TRUE(e->packet.empty());
  EXPECT_EQ(querier->counters().packets_lost, 0u);
}

TEST_F(QuerierTest, APacketIsLostWithItsQueryAndCounted) {
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_forward, kPacket, 0}));
  auto first = sent();
  wait();
  auto second = sent();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->packet, std::vector<uint8_t>{}) << "nobody has kept it";
  EXPECT_EQ(std::get<Query>(second->body).form, QueryForm::query);
  answer(*second, live());
  EXPECT_EQ(event()->kind, Kind::lease);
  EXPECT_EQ(querier->counters().packets_lost, 1u);
}

TEST_F(QuerierTest, APacketThatMeetsAnOpenQuestionWaitsForItsAnswer) {
  ASSERT_TRUE(ask());
  auto q = sent();
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_return, kPacket, 2}));
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_return, kPacket, 1}));
  EXPECT_EQ(querier->counters().packets_lost, 1u) << "one at a time";
  EXPECT_FALSE(sent());
  answer(*q, live());
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(std::vector(e->packet.begin(), e->packet.end()), kPacket);
}

TEST_F(QuerierTest, AnEntryLetsAWaitingPacketGoOn) {
  ASSERT_TRUE(ask());
  ASSERT_TRUE(querier->ask(kKey, kGroup, now, {QueryForm::query_and_return, kPacket, 2}));
  push(replicas[0], 5, entry());
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::lease);
  EXPECT_EQ(std::vector(e->packet.begin(), e->packet.end()), kPacket);
  EXPECT_EQ(e->asker, 2);
  EXPECT_EQ(querier->counters().packets_lost, 0u);
}

// ---

TEST_F(QuerierTest, NoneCountsOnlyFromReplicasOfItsOwnView) {
  ASSERT_TRUE(ask());
  for (int i = 0; i < 2; ++i) {
    auto q = sent();
    ASSERT_TRUE(q);
    q->header.view.revision = 2;
    answer(*q, word(Status::none));
  }
  EXPECT_FALSE(event()) << "R-W+1 words, but of another view";
  auto q = sent();
  ASSERT_TRUE(q);
  q->header.view.revision = 2;
  answer(*q, live());
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, CacheEvent::Kind::lease) << "who grants is in sync, whatever its view";
}

TEST_F(QuerierTest, OpenQuestionsFollowTheView) {
  make(3, {9});
  ASSERT_TRUE(ask());
  auto before = sent();
  ASSERT_TRUE(before);
  querier->set_view(View({.revision = 2}, {{{4}, ""}, {{5}, ""}, {{6}, ""}}), now);
  auto after = sent();
  ASSERT_TRUE(after);
  EXPECT_GE(after->to.value, 4u);
  EXPECT_EQ(after->header.view.revision, 2u);
  EXPECT_TRUE(querier->on_message(NodeId::proxy(before->to), encode(before->header, word(Status::none)), now));
  EXPECT_FALSE(event()) << "what the former replicas say comes too late";
  answer(*after, word(Status::none));
  after = sent();
  ASSERT_TRUE(after);
  answer(*after, word(Status::none));
  ASSERT_TRUE(event());
  // Where the replicas are the same, the question goes on.
  ASSERT_TRUE(ask());
  before = sent();
  querier->set_view(View({.revision = 3}, {{{4}, ""}, {{5}, ""}, {{6}, ""}}), now);
  EXPECT_FALSE(sent());
  answer(*before, live());
  EXPECT_TRUE(event());
}

TEST_F(QuerierTest, ALeaseCountsFromWhenTheQuestionLeft) {
  ASSERT_TRUE(ask());
  auto q = sent();
  ASSERT_TRUE(q);
  EXPECT_EQ(q->to, replicas[0]);
  EXPECT_EQ(q->header.origin, NodeId::proxy(kSelf));
  EXPECT_EQ(q->header.view, view.id());
  EXPECT_EQ(std::get<Query>(q->body).group, kGroup);
  const Instant left = now;
  now += 20ms;
  answer(*q, live());
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::lease);
  EXPECT_EQ(e->key, kKey);
  EXPECT_EQ(e->group, kGroup);
  EXPECT_EQ(e->member, MemberId{7});
  EXPECT_EQ(e->version, (Version{1, 2, 3}));
  EXPECT_EQ(e->lease_bytes, 5000u);
  EXPECT_EQ(e->lease_ends, left + 1000ms - 20ms) << "1 % and 10 ms early";
  EXPECT_EQ(querier->outstanding(), 0u);
  EXPECT_EQ(querier->next_deadline(), Instant::max());
  EXPECT_FALSE(event());
}

TEST_F(QuerierTest, ALeaseIsNeverLongerThanTheCap) {
  ask();
  answer(*sent(), live(3'600'000));
  EXPECT_EQ(event()->lease_ends, now + 10s - safety_margin(10s));
}

TEST_F(QuerierTest, OneQuestionPerSession) {
  EXPECT_TRUE(ask());
  EXPECT_TRUE(ask());
  EXPECT_TRUE(sent());
  EXPECT_FALSE(sent());
  EXPECT_EQ(querier->outstanding(), 1u);
}

TEST_F(QuerierTest, TheBoundOnQuestionsHolds) {
  for (uint64_t i = 0; i < 100; ++i) EXPECT_TRUE(ask({i << 48, i}));
  EXPECT_FALSE(ask({1, 999}));
  EXPECT_TRUE(ask({1ull << 48, 1})) << "one that is out already";
  EXPECT_EQ(querier->counters().questions_full, 1u);
}

TEST_F(QuerierTest, ItselfIsAskedFirst) {
  make(3, replicas[2]);
  ask();
  EXPECT_EQ(sent()->to, replicas[2]);
}

TEST_F(QuerierTest, SilenceGoesOnToTheNextReplicaThreeTimes) {
  const Instant start = now;
  ask();
  std::set<ProxyId> asked{sent()->to};
  wait();
  EXPECT_EQ(now, start + 30ms);
  asked.insert(sent()->to);
  wait();
  asked.insert(sent()->to);
  EXPECT_EQ(asked.size(), 3u);
  EXPECT_FALSE(event());
  wait();
  EXPECT_EQ(now, start + 90ms);
  EXPECT_EQ(event()->kind, Kind::unanswered);
  EXPECT_FALSE(sent());
  EXPECT_EQ(querier->outstanding(), 0u);
  ask();
  EXPECT_EQ(querier->outstanding(), 1u) << "may be asked again";
}

TEST_F(QuerierTest, OneReplicaIsAskedThreeTimes) {
  make(1);
  ask();
  EXPECT_EQ(sent()->to, ProxyId{1});
  wait();
  EXPECT_EQ(sent()->to, ProxyId{1});
  wait();
  EXPECT_EQ(sent()->to, ProxyId{1});
  wait();
  EXPECT_EQ(event()->kind, Kind::unanswered);
}

TEST_F(QuerierTest, WithoutReplicasNothingIsKnown) {
  make(0);
  ask();
  EXPECT_FALSE(sent());
  EXPECT_EQ(event()->kind, Kind::unanswered);
}

TEST_F(QuerierTest, PatienceGrowsWithTheRoundTrip) {
  ask();
  auto q = sent();
  now += 25ms;
  answer(*q, live());
  event();
  // Another session of the same slot: 25 ms are farther than the two that are not known yet, so it comes last.
  ask({kKey.high, 6});
  EXPECT_NE(sent()->to, replicas[0]);
  wait();
  sent();
  const Instant third = querier->next_deadline();
  now = third;
  querier->on_deadline(now);
  EXPECT_EQ(sent()->to, replicas[0]);
  EXPECT_EQ(querier->next_deadline(), third + 50ms);
}

TEST_F(QuerierTest, AWordThatSettlesNothingGoesOnAtOnce) {
  for (Status s : {Status::ask_another, Status::no_bytes, Status::none}) {
    make();
    ask();
    auto first = sent();
    now += 1ms;
    answer(*first, word(s));
    auto second = sent();
    ASSERT_TRUE(second) << int(s);
    EXPECT_NE(second->to, first->to);
    EXPECT_FALSE(event());
    const Instant left = now;
    now += 1ms;
    answer(*second, live());
    auto e = event();
    EXPECT_EQ(e->kind, Kind::lease);
    EXPECT_EQ(e->lease_ends, left + 980ms) << "from the second question";
  }
}

TEST_F(QuerierTest, NoneTakesTwoOfThree) {
  ask();
  answer(*sent(), word(Status::none));
  EXPECT_FALSE(event());
  answer(*sent(), word(Status::none));
  EXPECT_EQ(event()->kind, Kind::none);
  EXPECT_EQ(querier->outstanding(), 0u);
}

TEST_F(QuerierTest, ARemovedSessionIsOneThatIsNotThere) {
  ask();
  answer(*sent(), word(Status::tombstone, RecordState::removed));
  EXPECT_FALSE(event()) << "a newer mapping may stand at the others";
  answer(*sent(), word(Status::none));
  EXPECT_EQ(event()->kind, Kind::none);
}

TEST_F(QuerierTest, TheSameReplicaCountsOnce) {
  ask();
  auto q = sent();
  answer(*q, word(Status::none));
  EXPECT_FALSE(querier->next_deadline() == Instant::max());
  answer(*q, word(Status::none));  // a second copy
  EXPECT_FALSE(event());
  EXPECT_EQ(querier->counters().answers_stale, 1u);
}

TEST_F(QuerierTest, OneNoneIsNoneOnlyWhereAvailabilityComesFirst) {
  for (bool yes : {false, true}) {
    available = yes;
    make();
    ask();
    answer(*sent(), word(Status::none));
    for (int i = 0; i < 4 && querier->outstanding(); ++i) wait();
    EXPECT_EQ(event()->kind, yes ? Kind::none : Kind::unanswered);
  }
  // At once where the others are known to be gone.
  unreachable = {replicas[1], replicas[2]};
  make();
  ask();
  answer(*sent(), word(Status::none));
  EXPECT_EQ(event()->kind, Kind::none);
  // Not against a replica that answers otherwise: an insert may be under way there.
  unreachable.clear();
  make();
  ask();
  answer(*sent(), word(Status::none));
  answer(*sent(), word(Status::ask_another));
  for (int i = 0; i < 6 && querier->outstanding(); ++i) wait();
  EXPECT_EQ(event()->kind, Kind::unanswered);
}

TEST_F(QuerierTest, EveryShareIsAskedBeforeASessionIsOutOfBytes) {
  ask();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(event());
    answer(*sent(), word(Status::no_bytes));
  }
  auto e = event();
  EXPECT_EQ(e->kind, Kind::no_bytes);
  EXPECT_EQ(e->version, (Version{1, 2, 3}));
  // One that does not answer makes no difference.
  make();
  ask();
  answer(*sent(), word(Status::no_bytes));
  for (int i = 0; i < 4 && querier->outstanding(); ++i) wait();
  EXPECT_EQ(event()->kind, Kind::no_bytes);
}

TEST_F(QuerierTest, AskAnotherFromAllIsAskedAgainLater) {
  ask();
  for (int i = 0; i < 3; ++i) answer(*sent(), word(Status::ask_another));
  EXPECT_FALSE(event());
  EXPECT_FALSE(sent());
  wait();
  auto q = sent();
  ASSERT_TRUE(q);
  answer(*q, live());
  EXPECT_EQ(event()->kind, Kind::lease);
}

TEST_F(QuerierTest, TombstoneAndUnavailable) {
  ask();
  answer(*sent(), word(Status::tombstone, RecordState::revoked));
  auto e = event();
  EXPECT_EQ(e->kind, Kind::tombstone);
  EXPECT_EQ(e->target, Target::drop);
  EXPECT_EQ(e->lease_ends, now + 5s - safety_margin(5s));
  ask();
  answer(*sent(), word(Status::unavailable));
  e = event();
  EXPECT_EQ(e->kind, Kind::unavailable);
  EXPECT_EQ(e->lease_ends, now + 1s);
}

TEST_F(QuerierTest, ALateAnswerToAnOlderTryCountsFromThatTry) {
  ask();
  auto first = sent();
  const Instant left = now;
  wait();
  auto second = sent();
  now += 5ms;
  answer(*first, live());
  EXPECT_EQ(event()->lease_ends, left + 980ms);
  answer(*second, live());
  EXPECT_FALSE(event()) << "answered already";
}

TEST_F(QuerierTest, AnAnswerWhoseLeaseIsOverIsNone) {
  ask();
  auto first = sent();
  now += 25ms;
  answer(*first, live(30));
  EXPECT_FALSE(event());
  EXPECT_EQ(querier->counters().leases_over, 1u);
  EXPECT_TRUE(sent()) << "the next one is asked";
}

TEST_F(QuerierTest, WhatIsNotAnAnswerToUsIsIgnored) {
  ask();
  auto q = sent();
  auto wrong = *q;
  wrong.to = replicas[1];
  answer(wrong, live());  // from another replica
  wrong = *q;
  wrong.header.origin = NodeId::proxy({4});
  answer(wrong, live());  // another's question
  wrong = *q;
  wrong.header.request += 1;
  answer(wrong, live());
  QueryAnswer a = live();
  a.key.low += 1;
  answer(*q, a);  // another session
  EXPECT_FALSE(event());
  EXPECT_EQ(querier->counters().answers_stale, 4u);
  // Members do not answer questions, and what is no message, or none for a querier, is not taken.
  EXPECT_FALSE(querier->on_message(NodeId::member({7}), encode(q->header, live()), now));
  EXPECT_FALSE(querier->on_message(NodeId::proxy({1}), {}, now));
  EXPECT_FALSE(querier->on_message(NodeId::proxy({1}), encode(q->header, ChangeAck{}), now));
  answer(*q, live());
  EXPECT_TRUE(event());
}

TEST_F(QuerierTest, AnEntryIsALeaseAndThenItsPacket) {
  std::vector<uint8_t> packet{1, 2, 3};
  push({1}, 5, entry(100ms, &packet));
  auto e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::lease);
  EXPECT_EQ(e->lease_ends, now - 100ms + 2s - 30ms);
  EXPECT_EQ(e->lease_bytes, 900u);
  EXPECT_TRUE(e->packet.empty());
  e = event();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->kind, Kind::packet);
  EXPECT_TRUE(std::ranges::equal(e->packet, packet));
  EXPECT_FALSE(event());
  push({1}, 5, entry(100ms, &packet));
  EXPECT_FALSE(event()) << "its second copy is nothing";
  push({1}, 6, entry(100ms, &packet));
  EXPECT_EQ(event()->kind, Kind::lease) << "the next request is another one";
}

// Who granted it has no share of the bytes: the session would stand still until half of its time is over.
TEST_F(QuerierTest, AnEntryWithoutBytesIsAskedAboutAtOnce) {
  Entry e = entry();
  e.lease_bytes = 0;
  push({1}, 5, e);
  EXPECT_EQ(event()->kind, Kind::lease);
  EXPECT_EQ(querier->outstanding(), 1u);
  EXPECT_TRUE(sent());
  push({1}, 6, entry());
  EXPECT_EQ(querier->outstanding(), 0u) << "one with bytes answers that";
}

TEST_F(QuerierTest, EntriesThatDoNotCount) {
  struct Row {
    const char* name;
    Entry entry;
  };
  auto changed = [&](auto change) {
    Entry e = entry();
    change(e);
    return e;
  };
  const Row rows[] = {
      {"echo of another boot", changed([](Entry& e) { e.echo.boot = kBoot + 1; })},
      {"echo from the future", changed([](Entry& e) { e.echo.timestamp_us += 100'001; })},
      {"lease over", entry(1971ms)},
      {"lease shorter than the margin", changed([](Entry& e) { e.lease_ms = 10; })},
      {"echo of long ago", changed([](Entry& e) { e.echo.timestamp_us = 0; })},
  };
  uint32_t request = 1;
  for (const Row& r : rows) {
    push({1}, request++, r.entry);
    EXPECT_FALSE(event()) << r.name;
  }
  push({1}, request++, changed([](Entry& e) { e.echo.timestamp_us += 100; }));
  ASSERT_TRUE(event()) << "sealed by a worker within this step";
  push({1}, request, entry(1969ms));
  EXPECT_TRUE(event()) << "a lease that is just not over";
}

TEST_F(QuerierTest, AnEntryAnswersTheOpenQuestion) {
  ask();
  auto q = sent();
  push({1}, 5, entry());
  EXPECT_EQ(event()->kind, Kind::lease);
  EXPECT_EQ(querier->outstanding(), 0u);
  answer(*q, word(Status::none));  // was true before the insert
  EXPECT_FALSE(event());
}

TEST_F(QuerierTest, APurgeIsAcknowledgedAtOnce) {
  struct Row {
    RecordState state;
    Kind kind;
  };
  for (Row r : {Row{RecordState::revoked, Kind::tombstone}, Row{RecordState::removed, Kind::purge},
                Row{RecordState::closing, Kind::purge}, Row{RecordState::established, Kind::purge}}) {
    make();
    for (int copy = 0; copy < 2; ++copy) {
      push({2}, 41, purge(r.state), NodeId::proxy({2}));
      auto e = event();
      ASSERT_TRUE(e);
      EXPECT_EQ(e->kind, r.kind);
      EXPECT_EQ(e->version, (Version{1, 2, 4}));
      EXPECT_EQ(e->lease_ends, r.kind == Kind::tombstone ? now + 10s : Instant{});
      auto ack = sent();
      ASSERT_TRUE(ack);
      EXPECT_EQ(ack->to, ProxyId{2});
      EXPECT_EQ(ack->header.request, 41u);
      EXPECT_EQ(ack->header.origin, NodeId::proxy({2}));
      EXPECT_TRUE(std::holds_alternative<Ack>(ack->body));
    }
  }
}

// A live answer that a purge has overtaken must not bring the lease back.
TEST_F(QuerierTest, WhatLeftBeforeAPurgeCountsNoLonger) {
  ask();
  auto before = sent();
  push({2}, 41, purge(RecordState::removed), NodeId::proxy({2}));
  EXPECT_EQ(event()->kind, Kind::purge);
  std::optional<Sent> again;
  for (auto s = sent(); s; s = sent())
    if (std::holds_alternative<Query>(s->body)) again = s;
  ASSERT_TRUE(again) << "asked anew";
  answer(*before, live());
  EXPECT_FALSE(event());
  answer(*again, live());
  EXPECT_EQ(event()->kind, Kind::lease);

  // Revoked: the tombstone is the answer.
  ask();
  before = sent();
  push({2}, 42, purge(RecordState::revoked), NodeId::proxy({2}));
  EXPECT_EQ(event()->kind, Kind::tombstone);
  EXPECT_EQ(querier->outstanding(), 0u);
  answer(*before, live());
  EXPECT_FALSE(event());
}

TEST_F(QuerierTest, AnEntryOlderThanThePurgeCountsNoLonger) {
  auto newer = entry(50ms);
  newer.version = {2, 1, 1};
  push({2}, 41, purge(RecordState::removed), NodeId::proxy({2}));
  event();
  push({1}, 1, entry(50ms));
  EXPECT_FALSE(event()) << "granted before the removal";
  push({1}, 2, newer);
  EXPECT_TRUE(event()) << "a newer owner's";
  push({2}, 42, purge(RecordState::revoked, {2, 1, 1}), NodeId::proxy({2}));
  event();
  newer.version = {3, 1, 1};
  push({1}, 3, newer);
  EXPECT_FALSE(event()) << "no version lifts a revocation";
  now += 10ms;
  push({1}, 4, entry());
  EXPECT_TRUE(event()) << "whoever grants with a later echo has had to know";
}

TEST_F(QuerierTest, ForgottenPurgesForgetNothing) {
  push({2}, 1, purge(RecordState::revoked), NodeId::proxy({2}));
  event();
  Entry old = entry(1ms);
  now += 1ms;
  for (uint32_t i = 0; i < 100'001; ++i) {  // more than are remembered
    Purge other = purge(RecordState::removed);
    other.key.low = 1000 + i;
    push({2}, 2 + i, other, NodeId::proxy({2}));
    event();
    sent();
  }
  push({1}, 7, old);
  EXPECT_FALSE(event());
  now += 1ms;
  push({1}, 8, entry());
  EXPECT_TRUE(event());
}

TEST_F(QuerierTest, AReplicaThatWasSilentIsAskedLastForASecond) {
  ask();
  EXPECT_EQ(sent()->to, replicas[0]);
  wait();
  answer(*sent(), live());
  event();
  ask();
  EXPECT_EQ(sent()->to, replicas[1]);
  now += 2s;
  querier->on_deadline(now);
  while (querier->outstanding()) wait();
  while (sent()) {}
  now += 2s;
  ask();
  EXPECT_EQ(sent()->to, replicas[0]);
}

}  // namespace
}  // namespace statecast
