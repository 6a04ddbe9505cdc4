// SPDX-License-Identifier: BSD-3-Clause
// SimWorld: proxies (Node, Querier, a plain session cache), members (Owner, a kernel that answers SYNs) and clients, on
// a network that loses, doubles, delays and reorders, in virtual time. Options and a seed; the same two give the same
// run. Each proxy and member has a clock of its own that drifts by up to 200 ppm.
//
//   SimWorld w({.seed = 7, .loss = 0.05});
//   w.run(3s);                         // in sync, permits
//   w.syn(4, 1, 2);                    // client 4's SYN reaches proxy 1, which takes member 2
//   w.run(100ms);
//   EXPECT_EQ(w.client(4).open, MemberId{2});
//
// Checkers see what happens through SimObserver and are no part of the world (sim_checkers.h).
// Threads: one. Ownership: owns everything but its observers.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "directory/node.h"
#include "directory/owner.h"
#include "directory/querier.h"

namespace statecast::test {

struct SimOptions {
  uint64_t seed = 1;
  unsigned proxies = 3, members = 3, replicas = 3, writes = 2;
  double loss = 0, duplicate = 0;
  Duration delay_min = 100us, delay_max = 2ms;
  bool partition_available = false;
  bool clock_drift = true;
  uint64_t bucket_bytes = kUnlimitedBytes;
};

using SessionNumber = uint16_t;  // a client; its port

struct SimCacheEntry {
  Target target = Target::member;
  bool negative = false;
  MemberId member;
  Version version;
  Instant ends;  // the proxy's clock
  uint64_t bytes_left = 0;
};

// What the world tells. Times are true time.
class SimObserver {
 public:
  virtual ~SimObserver() = default;
  virtual void on_owner_event(MemberId, SessionNumber, const OwnerEvent&) {}
  virtual void on_cache_event(ProxyId, SessionNumber, const CacheEvent&) {}
  virtual void on_passed(ProxyId, SessionNumber, MemberId, uint64_t /*bytes*/) {}  // a client's packet went to a member
  virtual void on_bucket(SessionNumber, uint64_t /*bytes*/) {}                     // the owner gives so much
  virtual void on_member_restart(MemberId) {}                                      // its requests are forgotten
};

class SimWorld {
 public:
  explicit SimWorld(SimOptions options);

  struct Client {
    std::optional<MemberId> open;  // whose SYN/ACK it has taken
  };
  struct Kernel {
    enum class State { none, half_open, established } state = State::none;
    Instant retransmit{};  // of the SYN/ACK
    int retransmits = 0;
    ProxyId ingress;
    Instant born{};
  };

  // --- what happens ---
  void run(Duration d);
  void syn(SessionNumber s, uint32_t proxy, uint32_t member);  // `member`: chosen where the cache knows nothing
  void data(SessionNumber s, uint32_t proxy, uint64_t bytes = 100);
  void ask(SessionNumber s, uint32_t proxy);  // a question, whatever the cache says
  void close(SessionNumber s, uint32_t member);
  uint32_t revoke(SessionNumber s, uint32_t member, Duration duration = 600s);
  void set_bucket(SessionNumber s, uint32_t member, uint64_t bytes);
  void crash(uint32_t proxy);
  void restart(uint32_t proxy);
  void restart_member(uint32_t member);  // the agent: the kernel keeps its sockets, the incarnation rises
  void lose_incarnation(uint32_t member) { members_.at(member).incarnation = 0; }
  void isolate(uint32_t proxy) { isolated_.insert(proxy); }  // from the other proxies
  void heal() { isolated_.clear(); }
  void set_loss(double loss, double duplicate) { options_.loss = loss, options_.duplicate = duplicate; }

  // --- what is ---
  Instant now() const { return now_; }
  Instant local(uint32_t p) const { return proxies_.at(p).clock.local(now_); }  // what the proxy's clock says
  SessionId id(SessionNumber s) const;
  SessionKey key(SessionNumber s) const { return session_key(id(s), secret_); }
  const View& view() const { return view_; }
  bool up(uint32_t proxy) const { return proxies_.at(proxy).node != nullptr; }
  Node& node(uint32_t p) { return *proxies_.at(p).node; }
  Querier& querier(uint32_t p) { return *proxies_.at(p).querier; }
  Owner& owner(uint32_t m) { return *members_.at(m).owner; }
  Kernel& kernel(uint32_t m, SessionNumber s) { return members_.at(m).kernel[s]; }
  Client& client(SessionNumber s) { return clients_[s]; }
  bool in_sync();  // all that run, with permits from all that run
  // An entry whose lease runs, or a negative one; nullptr else.
  const SimCacheEntry* cached(uint32_t p, SessionNumber s) const;
  std::optional<CacheEvent> last_event(uint32_t p, SessionNumber s) const;
  const std::vector<OwnerEvent>& owner_events(uint32_t m) const { return members_.at(m).events; }
  const SimOptions& options() const { return options_; }
  Rng& rng() { return rng_; }
  void observe(SimObserver* o) { observers_.push_back(o); }

 private:
  struct Clock {
    double rate = 1;
    Duration ahead{};
    Instant local(Instant t) const {
      return Instant(ahead + Duration(static_cast<int64_t>(double(t.time_since_epoch().count()) * rate)));
    }
    Instant global(Instant l) const {  // at or just after the moment that reads l
      if (l == Instant::max()) return l;
      return Instant(Duration(static_cast<int64_t>(double((l.time_since_epoch() - ahead).count()) / rate) + 1000));
    }
  };
  struct Proxy {
    std::unique_ptr<Node> node;
    std::unique_ptr<Querier> querier;
    std::map<SessionKey, SimCacheEntry> cache;
    std::map<SessionKey, std::vector<uint64_t>> held;  // sizes of packets that wait for an answer
    std::map<SessionKey, CacheEvent> last;
    std::map<ProxyId, Stamp> stamps;  // newest of the others
    uint32_t boot = 0;
    Clock clock;
  };
  struct Member {
    std::unique_ptr<Owner> owner;
    uint32_t incarnation = 1;
    std::map<SessionNumber, Kernel> kernel;
    std::vector<OwnerEvent> events;
    Clock clock;
  };
  struct Datagram {
    Instant at;
    uint64_t order;
    NodeId from, to;
    std::vector<uint8_t> bytes;
    Stamp stamp;       // of a sending proxy
    uint32_t to_boot;  // of a receiving one: keys of before its restart verify nothing
    bool operator<(const Datagram& o) const { return std::tie(at, order) > std::tie(o.at, o.order); }
  };

  void send(NodeId from, NodeId to, std::vector<uint8_t> bytes);
  void deliver(const Datagram& d);
  void drain_proxy(uint32_t p);
  void drain_member(uint32_t m);
  void apply(uint32_t p, const CacheEvent& e);
  bool pass(uint32_t p, SessionNumber s, SimCacheEntry& e, uint64_t bytes);
  void to_member(uint32_t m, SessionNumber s, ProxyId ingress, bool is_syn);
  void insert(uint32_t m, SessionNumber s);
  void timers();
  Instant next() const;
  Stamp stamp_of(uint32_t p) const;
  SessionNumber number(const SessionKey& k) const;

  SimOptions options_;
  Rng rng_;
  Instant now_{std::chrono::hours(1)};
  GroupSecret secret_;
  View view_;
  std::map<uint32_t, Proxy> proxies_;
  std::map<uint32_t, Member> members_;
  std::map<SessionNumber, Client> clients_;
  mutable std::map<SessionKey, SessionNumber> numbers_;
  std::set<uint32_t> isolated_;
  std::priority_queue<Datagram> network_;
  uint64_t order_ = 0;
  Instant next_beat_;
  std::vector<SimObserver*> observers_;
};

}  // namespace statecast::test
