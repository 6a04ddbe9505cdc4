// SPDX-License-Identifier: BSD-3-Clause
// Several proxies' membership against one etcd in memory: what each of them believes, what etcd is asked to hold, and
// the rules that hold whatever goes wrong between them.
#include "control/membership.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "tests/control/etcd_double.h"

namespace statecast::test {
namespace {

using nlohmann::json;

constexpr char kView[] = "/statecast/view";

class Fleet {
 public:
  explicit Fleet(unsigned known = 9, uint64_t seed = 1) : rng(seed) {
    for (uint32_t p = 1; p <= known; ++p) known_.insert(ProxyId{p});
  }

  struct Proxy {
    std::unique_ptr<Membership> m;
    bool cut = false;       // from etcd
    uint32_t revision = 0;  // that it works in
    std::optional<Instant> in_sync_at;
    std::map<uint32_t, int64_t> watches;
    struct Going {
      Instant at;
      StoreRequest request;
      bool fails;
    };
    std::vector<Going> going;
  };

  void start(uint32_t p) {
    proxies[p] = {};
    proxies[p].m = std::make_unique<Membership>(
        MembershipOptions{.self = {p}, .zone = "z" + std::to_string(p % 3), .known = known_}, now);
  }
  void stop(uint32_t p) { proxies.erase(p); }
  std::string registration(uint32_t p) const {
    auto v = etcd.values().find("/statecast/proxies/" + std::to_string(p));
    return v == etcd.values().end() ? "" : v->second.value;
  }

  void run(Duration d) {
    for (const Instant end = now + d; now < end; now += 10ms) step();
  }

  void step() {
    etcd.pass(now);
    for (auto& [id, p] : proxies) {
      Membership& m = *p.m;
      // What a node would do: it takes the newest view, and is in sync in it after a while.
      if (m.view().id().revision > p.revision) {
        p.revision = m.view().id().revision;
        p.in_sync_at = now + sync_time;
        auto [same, is_new] = adopted.emplace(p.revision, m.view().id().hash);
        EXPECT_TRUE(is_new || same->second == m.view().id().hash) << "two views of one revision";
      }
      MembershipReport r{.revision = p.revision, .in_sync = p.revision > 0 && *p.in_sync_at <= now};
      for (const auto& [other, q] : proxies) r.heard.insert(ProxyId{other});
      m.report(r, now);
      if (m.next_deadline() <= now) m.on_deadline(now);
      for (StoreRequest q; m.next_request(q);) {
        const bool fails = p.cut || away || rng.chance(loss);
        p.going.push_back({now + Duration(rng.below(20'000'000)), std::move(q), fails});
      }
      auto going = std::exchange(p.going, {});
      for (auto& g : going) {
        if (g.at > now) {
          p.going.push_back(std::move(g));
        } else if (g.fails || p.cut || away) {
          m.on_failure(g.request.number, "no route to host", now);
        } else if (g.request.stream) {
          const json in = json::parse(g.request.body);
          p.watches[g.request.number] = std::stoll(in["create_request"]["start_revision"].get<std::string>());
        } else {
          const std::string before = view();
          std::string answer = etcd.post(g.request.path, g.request.body, now);
          if (view() != before) check_change(before);
          if (answer.empty())
            m.on_failure(g.request.number, "requested lease not found", now);
          else
            m.on_answer(g.request.number, answer, now);
        }
      }
      for (auto w = p.watches.begin(); w != p.watches.end();) {
        if (p.cut || away) {
          m.on_failure(w->first, "connection reset", now);
          w = p.watches.erase(w);
        } else {
          if (etcd.has_news(w->second)) {
            w->second = etcd.revision() + 1;
            m.on_answer(w->first, R"({"result":{"events":[{}]}})", now);
          }
          ++w;
        }
      }
      std::erase_if(p.watches, [&](const auto& w) { return !m.wants(w.first); });
    }
  }

  std::string view() const {
    auto v = etcd.values().find(kView);
    return v == etcd.values().end() ? "" : v->second.value;
  }
  uint32_t revision() const { return view().empty() ? 0 : json::parse(view())["revision"].get<uint32_t>(); }
  std::set<uint32_t> nodes() const {
    std::set<uint32_t> out;
    if (view().empty()) return out;
    const json j = json::parse(view());
    for (const json& n : j["nodes"]) out.insert(n["id"].get<uint32_t>());
    return out;
  }
  // One view at a time: all of the last one that are registered had what it gave them, and those that are not are too
  // few to go on in it.
  void check_change(const std::string& before) {
    ++changes;
    if (before.empty()) return;
    const json last = json::parse(before);
    unsigned missing = 0;
    EXPECT_EQ(revision(), last["revision"].get<uint32_t>() + 1);
    for (const json& n : last["nodes"]) {
      const std::string r = registration(n["id"]);
      if (r.empty()) missing += !etcd.values().contains("/statecast/dead/" + n["id"].dump());
      if (r.empty()) continue;
      EXPECT_TRUE(json::parse(r)["in_sync"].get<bool>()) << before << " then " << view();
      EXPECT_EQ(json::parse(r)["revision"], last["revision"]) << before << " then " << view();
    }
    EXPECT_LT(missing, std::max(1u, std::min<unsigned>(2, last["nodes"].size()))) << before << " then " << view();
  }

  EtcdDouble etcd;
  Rng rng;
  Instant now = Instant(1h);
  std::map<uint32_t, Proxy> proxies;
  std::map<uint32_t, uint32_t> adopted;
  Duration sync_time = 300ms;
  bool away = false;
  double loss = 0;
  unsigned changes = 0;

 private:
  std::set<ProxyId> known_;
};

using Ids = std::set<uint32_t>;

TEST(Membership, WhoComesTogetherIsInTheFirstView) {
  Fleet f;
  for (uint32_t p : {3, 1, 2}) {
    f.start(p);
    f.run(500ms);
  }
  f.run(1s);
  EXPECT_EQ(f.revision(), 0u) << "the last has only just come";
  f.run(4s);
  EXPECT_EQ(f.revision(), 1u);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3}));
  for (const auto& [id, p] : f.proxies) {
    EXPECT_EQ(p.m->view().id(), f.proxies.at(1).m->view().id());
    EXPECT_EQ(p.m->view().replica_count(), 3u);
    const MembershipStatus s = p.m->status(f.now);
    EXPECT_TRUE(s.reachable);
    EXPECT_TRUE(s.registered);
    EXPECT_EQ(s.trouble, "");
    EXPECT_EQ(s.proxies.size(), 3u);
  }
  f.run(60s);
  EXPECT_EQ(f.changes, 1u) << "nothing to change";
}

TEST(Membership, JoinsOneAfterTheOtherAsTheLastIsInSync) {
  Fleet f;
  for (uint32_t p : {1, 2, 3}) f.start(p);
  f.run(6s);
  ASSERT_EQ(f.revision(), 1u);
  f.sync_time = 20s;
  f.start(4);
  f.run(4s);
  ASSERT_EQ(f.nodes(), (Ids{1, 2, 3, 4}));
  f.start(5);
  f.run(10s);
  EXPECT_EQ(f.revision(), 2u);
  EXPECT_NE(f.proxies.at(1).m->status(f.now).waits.find("is not in sync in view 2"), std::string::npos)
      << f.proxies.at(1).m->status(f.now).waits;
  f.run(15s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4, 5}));
  EXPECT_EQ(f.revision(), 3u);
}

TEST(Membership, WhoDiesLeavesAfterLeaseAndHoldDown) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4}) f.start(p);
  f.run(6s);
  f.stop(4);
  f.run(12s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4}));
  f.run(7s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3}));
  f.start(4);
  f.run(6s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4})) << "and comes back";
}

// Two that are silent may be two that are cut off, and acknowledge to each other what the others never hear of.
TEST(Membership, AsManyAsAcknowledgeAWriteAreOnlyTakenOutByAnOperatorsWord) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4, 5}) f.start(p);
  f.run(6s);
  f.stop(4);
  f.stop(5);
  f.run(6s);
  f.start(6);
  f.run(60s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4, 5}));
  EXPECT_NE(f.proxies.at(1).m->status(f.now).waits.find("proxies 4, 5 are not registered"), std::string::npos)
      << f.proxies.at(1).m->status(f.now).waits;
  f.proxies.at(2).m->forget(ProxyId{4}, f.now);
  f.run(3s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 6}));
  f.start(4);
  f.run(10s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4, 6})) << "it lives again";
  EXPECT_FALSE(f.etcd.values().contains("/statecast/dead/4"));
}

TEST(Membership, WhoDiesAfterTheOtherLeavesToo) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4}) f.start(p);
  f.run(6s);
  for (uint32_t p : {4, 3, 2}) {
    f.stop(p);
    f.run(20s);
  }
  EXPECT_EQ(f.nodes(), (Ids{1}));
}

TEST(Membership, AFlappingProxyMovesNothing) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4}) f.start(p);
  f.run(6s);
  for (int i = 0; i < 10; ++i) {
    f.stop(4);
    f.run(9s);
    f.start(4);
    f.run(1s);
  }
  f.run(10s);
  EXPECT_EQ(f.changes, 1u);
}

TEST(Membership, EtcdMayBeAwayForMinutes) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4}) f.start(p);
  f.run(6s);
  f.away = true;
  f.run(180s);
  for (const auto& [id, p] : f.proxies) {
    EXPECT_FALSE(p.m->status(f.now).reachable);
    EXPECT_EQ(p.m->status(f.now).trouble, "no route to host");
    EXPECT_EQ(p.m->view().id().revision, 1u) << "the view stays";
  }
  ASSERT_EQ(f.registration(1), "") << "its leases are over";
  f.away = false;
  f.run(60s);
  EXPECT_EQ(f.changes, 1u);
  EXPECT_TRUE(f.proxies.at(1).m->status(f.now).registered);
}

// One comes back to etcd a while before the others do: it takes nobody for dead whom it hears.
TEST(Membership, WhoIsCutFromEtcdAloneStaysInTheView) {
  Fleet f;
  for (uint32_t p : {1, 2, 3}) f.start(p);
  f.run(6s);
  f.proxies.at(2).cut = f.proxies.at(3).cut = true;
  f.run(60s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3}));
  f.start(4);
  f.run(10s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3})) << "two might go on in the last view";
  f.proxies.at(3).cut = false;
  f.run(5s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4})) << "one cannot, so others may come";
  f.proxies.at(2).cut = false;
  f.run(5s);
  EXPECT_EQ(f.proxies.at(2).m->view().id().revision, 2u);
}

TEST(Membership, WhoLeavesGoesAtOnceAndSaysWhenItMayStop) {
  Fleet f;
  for (uint32_t p : {1, 2, 3, 4}) f.start(p);
  f.run(6s);
  f.sync_time = 5s;
  f.proxies.at(2).m->leave(true, f.now);
  f.run(2s);
  EXPECT_EQ(f.nodes(), (Ids{1, 3, 4}));
  EXPECT_FALSE(f.proxies.at(2).m->handed_over());
  f.run(8s);
  EXPECT_TRUE(f.proxies.at(2).m->handed_over());
  EXPECT_FALSE(f.proxies.at(1).m->handed_over());
  f.run(30s);
  EXPECT_EQ(f.nodes(), (Ids{1, 3, 4})) << "it is not taken in again";
  f.proxies.at(2).m->leave(false, f.now);
  f.run(10s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3, 4}));
}

TEST(Membership, TheLastOneDoesNotLeave) {
  Fleet f;
  f.start(1);
  f.run(6s);
  f.proxies.at(1).m->leave(true, f.now);
  f.run(10s);
  EXPECT_EQ(f.nodes(), (Ids{1}));
}

TEST(Membership, WhoIsNotInTheFilesIsNotTakenIn) {
  Fleet f(3);
  for (uint32_t p : {1, 2, 4}) f.start(p);
  f.run(10s);
  EXPECT_EQ(f.nodes(), (Ids{1, 2}));
  EXPECT_EQ(f.proxies.at(1).m->status(f.now).waits, "proxy 4 is registered, but not in this proxy's file");
}

TEST(Membership, WhatMakesNoSenseIsNamedAndChangesNothing) {
  struct Row {
    const char* name;
    const char* key;
    const char* value;
    const char* says;
  };
  const Row rows[] = {
      {"no JSON", kView, "nonsense", "no view that makes sense"},
      {"no nodes", kView, R"({"revision": 2, "replicas": 3, "writes": 2, "nodes": []})", "no view that makes sense"},
      {"W above R", kView, R"({"revision": 2, "replicas": 2, "writes": 3, "nodes": [{"id": 1}]})",
       "no view that makes sense"},
      {"node 0", kView, R"({"revision": 2, "replicas": 3, "writes": 2, "nodes": [{"id": 0}]})",
       "no view that makes sense"},
      {"another of the same revision", kView, R"({"revision": 1, "replicas": 3, "writes": 2, "nodes": [{"id": 1}]})",
       "another view of the same revision"},
      {"a number too large", kView, R"({"revision": 99999999999, "replicas": 3, "writes": 2, "nodes": [{"id": 1}]})",
       "no view that makes sense"},
      {"a number below 0", kView, R"({"revision": 2, "replicas": 3, "writes": 2, "nodes": [{"id": -1}]})",
       "no view that makes sense"},
      {"a registration", "/statecast/proxies/5", "[]", "no registration that makes sense"},
  };
  for (const Row& r : rows) {
    Fleet f;
    for (uint32_t p : {1, 2, 3}) f.start(p);
    f.run(6s);
    const ViewId before = f.proxies.at(1).m->view().id();
    f.etcd.set(r.key, r.value);
    f.run(10s);
    EXPECT_EQ(f.proxies.at(1).m->view().id(), before) << r.name;
    EXPECT_NE(f.proxies.at(1).m->status(f.now).trouble.find(r.says), std::string::npos)
        << r.name << ": " << f.proxies.at(1).m->status(f.now).trouble;
  }
}

TEST(Membership, AViewThatEtcdHasLostIsWrittenAgainAboveTheLast) {
  Fleet f;
  for (uint32_t p : {1, 2, 3}) f.start(p);
  f.run(6s);
  ASSERT_EQ(f.revision(), 1u);
  f.etcd.erase(kView);
  f.run(10s);
  EXPECT_EQ(f.revision(), 2u);
  EXPECT_EQ(f.nodes(), (Ids{1, 2, 3}));
  EXPECT_EQ(f.proxies.at(3).m->view().id().revision, 2u);
}

// Something that etcd might say, or might not.
json any(Rng& rng, int depth) {
  const char* names[] = {"result", "kvs",   "ID", "TTL",   "header",       "events",    "canceled", "revision",
                         "key",    "value", "id", "nodes", "mod_revision", "succeeded", "error",    "zone"};
  switch (rng.below(depth > 0 ? 9 : 7)) {
    case 0: return nullptr;
    case 1: return rng.chance(0.5);
    case 2: return rng.next();
    case 3: return -1.5e300;
    case 4: return std::to_string(rng.next());
    case 5: return to_base64(rng.chance(0.5) ? kView : "/statecast/proxies/1");
    case 6: return "";
    case 7: {
      json list = json::array();
      for (uint64_t k = rng.below(4); k > 0; --k) list.push_back(any(rng, depth - 1));
      return list;
    }
    default: {
      json map = json::object();
      for (uint64_t k = rng.below(6); k > 0; --k) map[names[rng.below(std::size(names))]] = any(rng, depth - 1);
      return map;
    }
  }
}

TEST(Membership, AnswersOfAnySortAreSurvived) {
  uint64_t failures = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Rng rng(seed);
    Instant now(1h);
    Membership m({.self = {1}, .zone = "a", .known = {ProxyId{1}}}, now);
    for (int i = 0; i < 200; ++i) {
      std::vector<uint32_t> numbers;
      for (StoreRequest r; m.next_request(r);) numbers.push_back(r.number);
      for (uint32_t n : numbers) {
        json answer = any(rng, 4);
        if (rng.chance(0.5)) answer = {{"result", any(rng, 3)}, {"header", any(rng, 2)}, {"kvs", any(rng, 3)}};
        std::string text = answer.dump();
        if (rng.chance(0.1)) text.resize(rng.below(text.size() + 1));
        m.on_answer(n, text, now);
      }
      now += 600ms;
      m.on_deadline(now);
    }
    failures += m.status(now).failures;
  }
  EXPECT_GT(failures, 100u);
}

// Anything at any time; the checks of the fleet hold throughout, and when all is quiet the view is of those who live.
TEST(Membership, RandomHistoriesKeepOneViewAtATimeAndConverge) {
  unsigned changes = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Fleet f(9, seed);
    Rng rng(seed * 77);
    f.loss = 0.05;
    std::set<uint32_t> leaving;
    for (uint32_t p = 1; p <= 5; ++p) f.start(p);
    for (int i = 0; i < 60; ++i) {
      const auto p = static_cast<uint32_t>(rng.between(1, 9));
      const bool up = f.proxies.contains(p);
      f.sync_time = Duration(rng.below(5'000'000'000));
      switch (rng.below(8)) {
        case 0:
          if (f.proxies.size() > 3) f.stop(p), leaving.erase(p);
          break;
        case 1:
        case 2:
          if (!up) f.start(p);
          break;
        case 3:
          if (up) f.proxies.at(p).cut = rng.chance(0.5);
          break;
        case 4: f.away = rng.chance(0.3); break;
        case 5:
          if (up && f.proxies.size() - leaving.size() > 3) f.proxies.at(p).m->leave(true, f.now), leaving.insert(p);
          break;
        default: f.run(Duration(rng.below(8'000'000'000)));
      }
      f.run(1s);
    }
    f.away = false;
    f.loss = 0;
    Ids live;
    f.run(10s);
    for (uint32_t p : f.nodes())
      if (!f.proxies.contains(p)) f.proxies.begin()->second.m->forget(ProxyId{p}, f.now);
    for (auto& [id, p] : f.proxies) {
      p.cut = false;
      if (!leaving.contains(id)) live.insert(id);
    }
    f.run(60s);
    EXPECT_EQ(f.nodes(), live);
    for (const auto& [id, p] : f.proxies) EXPECT_EQ(p.m->view().id().revision, f.revision());
    changes += f.changes;
  }
  EXPECT_GT(changes, 100u) << "there was something to check";
}

}  // namespace
}  // namespace statecast::test
