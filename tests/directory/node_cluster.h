// SPDX-License-Identifier: BSD-3-Clause
// Cluster: N directory nodes with a proxy each, members and an operator on a simulated network with virtual time.
// Everything follows from the seed: the same seed gives the same run.
//
//   Cluster c({.seed = 7});
//   c.run(12s);                                              // in sync, permits
//   auto r = c.insert({.member = 1, .id = c.session(40000), .via = 1, .ingress = 2});
//   c.run(50ms);
//   EXPECT_EQ(c.insert_answer(r)->status, InsertAnswer::Status::ok);
//
// The proxies here only keep what the node grants them (leases with their ends, bytes) and acknowledge purges, as the
// real ones do; the members acknowledge notices.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <vector>

#include "directory/node.h"
#include "directory/summaries.h"

namespace statecast {

struct ClusterOptions {
  uint64_t seed = 1;
  unsigned nodes = 3, replicas = 3, writes = 2;
  unsigned members = 3;
  Duration delay_min = 100us, delay_max = 1ms;
  double loss = 0, duplicate = 0;
  double late = 0;  // of messages: up to 300 ms
  bool partition_available = false;
  bool degraded_accept = true;
  bool admits = false;
  Duration lease_cap = 10s;
};

struct InsertSpec {
  uint32_t member = 1;
  SessionId id;
  uint32_t via = 1;
  uint32_t ingress = 0;
  RecordState state = RecordState::half_open;
  bool born_new = false;
  bool returns = false;
  Duration lifetime = 10s;
  uint64_t bucket = kUnlimitedBytes;
  uint64_t bucket_counter = 0;
  std::optional<uint64_t> counter;  // another than the member's next
  std::optional<uint32_t> request;  // the same again
  std::optional<uint32_t> incarnation;
  uint16_t term = 0;
};

// What a proxy may still do with a session.
struct CachedLease {
  MemberId member;
  Version version;
  Instant ends;
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options);

  const GroupId group{10};
  ClusterOptions options;
  GroupSecret secret;
  View view;  // the newest
  Instant now{std::chrono::hours(1)};
  std::mt19937_64 rng;

  SessionId session(uint16_t client_port) const;
  SessionKey key(const SessionId& id) const { return session_key(id, secret); }

  // --- nodes and network ---
  Node& node(uint32_t p) { return *proxies_.at(p).node; }
  Summaries& summaries(uint32_t p) { return *proxies_.at(p).summaries; }  // of this proxy: follow() starts it
  bool up(uint32_t p) const { return proxies_.at(p).node && !proxies_.at(p).paused; }
  void stop(uint32_t p);   // crash: the node and the proxy's cache are gone
  void start(uint32_t p);  // with a new boot
  void restart(uint32_t p) { stop(p), start(p); }
  void pause(uint32_t p) { proxies_.at(p).paused = true; }
  void resume(uint32_t p);
  // The next view. Nodes that do not run yet are started; each takes it when it is told.
  void next_view(const std::set<uint32_t>& nodes);
  void tell(uint32_t p);  // all views up to the newest, one by one
  bool told(uint32_t p) const { return told_.at(p) + 1 == views_.size(); }
  void change_view(const std::set<uint32_t>& nodes);  // and everybody is told
  void cut(uint32_t a, uint32_t b) { cut_.insert(std::minmax(a, b)); }
  void part(const std::set<uint32_t>& here, const std::set<uint32_t>& there);
  void isolate(uint32_t p);  // from the other proxies; members still reach it
  void heal() { cut_.clear(); }
  void kill_member(uint32_t m) { dead_members_.insert(m); }
  void revive_member(uint32_t m) { dead_members_.erase(m); }
  void silence_member(uint32_t m) { silent_members_.insert(m); }  // alive, but acknowledges nothing
  // Messages for which this says no are lost.
  std::function<bool(NodeId from, NodeId to, const Message&)> filter;
  // Another part of a proxy: what it says yes to is its own.
  std::function<bool(uint32_t p, NodeId from, Bytes message)> taker;
  // Changes messages on their way: for canaries, which break a rule so that the checkers show that they bite.
  std::function<void(NodeId from, NodeId to, Message&)> tamper;

  void run(Duration d);
  bool run_until(const std::function<bool()>& done, Duration limit);

  // --- requests; each returns its request number ---
  uint32_t insert(const InsertSpec& spec);
  uint32_t remove(uint32_t member, const SessionId& id, uint32_t via);
  uint32_t revoke(NodeId who, const SessionId& id, uint32_t via, Duration duration = 600s,
                  std::optional<uint32_t> again = {}, std::optional<uint32_t> name = {});
  uint32_t unrevoke(NodeId who, const SessionId& id, uint32_t via, uint32_t name = 0);
  uint32_t refresh(uint32_t member, uint32_t via, std::vector<Refresh::Entry> entries, uint32_t incarnation = 1,
                   std::optional<ViewId> told = {});  // the view in which the owner learned its replicas
  uint32_t query(uint32_t proxy, const SessionId& id, uint32_t replica, QueryForm form = QueryForm::query,
                 Bytes packet = {});
  void send(NodeId from, NodeId to, const MessageHeader& h, const MessageBody& body);
  uint64_t next_counter(uint32_t member) { return ++counters_[member]; }
  uint32_t handle_of(const SessionId& id) const { return static_cast<uint32_t>(key(id).low); }

  // --- what came of them ---
  std::optional<InsertAnswer> insert_answer(uint32_t request) const;
  std::vector<RequestAnswer::Status> request_answers(uint32_t request) const;
  bool answered(uint32_t request, RequestAnswer::Status s) const;
  std::optional<RefreshAnswer> refresh_answer(uint32_t request) const;
  std::optional<QueryAnswer> query_answer(uint32_t request) const;
  // Asks each replica in turn; the first that does not say `ask another`, else the last.
  std::optional<QueryAnswer> ask(uint32_t proxy, const SessionId& id);
  const CachedLease* lease(uint32_t proxy, const SessionKey& key) const;  // null: none that still runs
  unsigned packets_released(uint32_t request) const;                      // Entries with this insert's packet
  unsigned notices(uint32_t member) const;
  uint64_t counter(uint32_t p, const std::string& name);
  unsigned held_copies(const SessionKey& key);  // running nodes that hold a mapping of it

  struct Events {  // for checkers
    std::function<void(uint32_t request, const InsertAnswer&)> insert;
    std::function<void(uint32_t request, RequestAnswer::Status)> request;
    std::function<void(uint32_t proxy, const SessionKey&, uint64_t bytes, Instant ends)> granted;
  } events;
  const std::map<uint32_t, std::map<SessionKey, CachedLease>>& leases() const { return leases_; }

 private:
  struct Proxy {
    std::unique_ptr<Node> node;
    std::unique_ptr<Summaries> summaries;
    bool paused = false;
    std::vector<std::pair<NodeId, std::vector<uint8_t>>> buffered;
    uint32_t boot = 0;
  };
  struct Datagram {
    Instant at;
    uint64_t order;
    NodeId from, to;
    std::vector<uint8_t> bytes;
    uint32_t to_boot;
    bool operator<(const Datagram& o) const { return std::tie(at, order) > std::tie(o.at, o.order); }
  };
  void post(NodeId from, NodeId to, std::vector<uint8_t> bytes);
  void deliver(const Datagram& d);
  void to_proxy(uint32_t p, NodeId from, Bytes bytes, const Message& m);
  void to_member(uint32_t m, NodeId from, const Message& message);
  void drain(uint32_t p);
  void beat();
  uint32_t next_request() { return ++last_request_; }
  double chance() { return std::uniform_real_distribution<double>(0, 1)(rng); }

  static ViewNode view_node(uint32_t p) { return {ProxyId{p}, "zone" + std::to_string(p)}; }

  std::vector<View> views_;
  std::map<uint32_t, size_t> told_;  // views, up to which
  std::map<uint32_t, Proxy> proxies_;
  std::priority_queue<Datagram> network_;
  uint64_t order_ = 0;
  uint32_t last_request_ = 0;
  Instant next_beat_;
  std::set<std::pair<uint32_t, uint32_t>> cut_;
  std::set<uint32_t> dead_members_, silent_members_;
  std::map<uint32_t, uint64_t> counters_;
  std::map<uint32_t, InsertAnswer> insert_answers_;
  std::map<uint32_t, std::vector<RequestAnswer::Status>> request_answers_;
  std::map<uint32_t, RefreshAnswer> refresh_answers_;
  struct Question {
    Instant at;
    std::optional<QueryAnswer> answer;
  };
  std::map<uint32_t, Question> questions_;
  std::map<uint32_t, std::map<SessionKey, CachedLease>> leases_;
  std::map<uint32_t, std::map<SessionKey, Instant>> purged_;
  std::map<uint32_t, unsigned> released_, notices_;
};

}  // namespace statecast
