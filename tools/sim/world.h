// SPDX-License-Identifier: BSD-3-Clause
// World: proxies (Node, Querier, SessionCache: the product's own), members (Owner, and a kernel that answers SYNs) and
// clients, in virtual time, on a Network. Options and a seed; the same two give the same run. Each machine has a
// monotonic clock of its own that drifts, and a wall clock that may step.
//
//   World w({.seed = 7, .network = {.loss = 0.05}});
//   w.run(3s);                         // in sync, permits
//   w.syn(4, 1, 2);                    // client 4's SYN reaches proxy 1, which takes member 2
//   w.run(100ms);
//   EXPECT_EQ(w.client(4).open, MemberId{2});
//
// One event costs what its machine does and O(log) of the queue: nothing walks all machines or sessions. Whoever wants
// to see what happens is an Observer (observer.h). world.cc is time and network, world_proxy.cc and world_member.cc are
// the machines.
// Threads: one. Ownership: owns everything but its observers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "control/pressure_meter.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/worker/unknown_gate.h"
#include "directory/node.h"
#include "directory/owner.h"
#include "directory/querier.h"
#include "directory/summaries.h"
#include "tools/sim/network.h"
#include "tools/sim/observer.h"
#include "tools/sim/slots.h"

namespace statecast::sim {

struct WorldOptions {
  uint64_t seed = 1;
  unsigned proxies = 3;  // of the first view
  unsigned spares = 0;   // that may join later
  unsigned members = 3, replicas = 3, writes = 2;
  NetworkOptions network;
  bool partition_available = false;
  bool clock_drift = true;
  uint64_t bucket_bytes = kUnlimitedBytes;
  size_t refresh_listed_max = kRefreshEntriesMax;
  uint32_t cache_entries = 4'096;           // of each proxy
  size_t records_max = 1 << 18;             // of each node
  SessionNumber ports_per_client = 60'000;  // sessions from one address
  QueryForm query_form = QueryForm::query;
  bool gated = false;  // proxies ask for summaries under pressure, and drop what those call absent
};

class World {
 public:
  explicit World(WorldOptions options);

  struct Client {
    uint32_t connection = 0;       // the latest that it tried; a closed one's packets name an older one
    uint32_t sent = 0;             // packets
    bool dialing = false;          // its SYN is out
    std::optional<MemberId> open;  // whose SYN/ACK it has taken
  };
  struct Kernel {
    enum class State { none, half_open, established } state = State::none;
    uint32_t connection = 0;
    bool held = false;  // its insert is
    int retransmits = 0;
    ProxyId ingress;
    Instant born{};
    uint32_t newest = 0;  // number of the client's packets
  };

  // --- time ---
  void run(Duration d);
  void at(Instant when, std::function<void()> what);
  void after(Duration d, std::function<void()> what) { at(now_ + d, std::move(what)); }

  // --- clients ---
  void syn(SessionNumber s, uint32_t proxy, uint32_t member);        // `member`: chosen where the cache knows nothing
  void stray_syn(SessionNumber s, uint32_t proxy, uint32_t member);  // somebody else's, in the client's name
  void data(SessionNumber s, uint32_t proxy, uint32_t bytes = 100);
  void ask(SessionNumber s, uint32_t proxy);                                   // a question, whatever the cache says
  void bogus(const SessionKey& key, const IpAddress& source, uint32_t proxy);  // a packet of a session that is nobody's

  // --- members and the operator ---
  void close(SessionNumber s, uint32_t member);
  uint32_t revoke(SessionNumber s, uint32_t member, Duration duration = 600s);
  void unrevoke(SessionNumber s, uint32_t member);
  void revoke_as_operator(SessionNumber s, uint32_t proxy);
  void set_bucket(SessionNumber s, uint32_t member, uint64_t bytes);

  // --- faults ---
  void crash(uint32_t proxy) { take_down(proxy, ProxyChange::crashed); }  // its memory is gone
  void stop(uint32_t proxy) { take_down(proxy, ProxyChange::stopped); }   // the same, after it has handed over
  void start(uint32_t proxy);                                             // with the newest view
  void restart(uint32_t proxy) { crash(proxy), start(proxy); }
  void pause(uint32_t proxy) { proxies_[proxy].paused = true, proxy_changed(proxy, ProxyChange::paused); }
  void resume(uint32_t proxy);
  void next_view(const std::set<uint32_t>& nodes);  // nobody is told yet
  enum class Telling { one_by_one, newest_only };
  void tell(uint32_t proxy, Telling how = Telling::one_by_one);
  enum class Disk { kept, lost };                                // revocations are on it
  void restart_member(uint32_t member, Disk disk = Disk::kept);  // the agent: the kernel keeps its sockets
  void kill_member(uint32_t member);                             // the machine: sockets are gone
  void start_member(uint32_t member);
  void lose_incarnation(uint32_t member) { members_[member].incarnation = 0; }
  void isolate(uint32_t proxy);  // from the other proxies
  void heal() { network_.mend_all(); }
  void step_wall_clock(NodeId who, Duration by);
  Network& network() { return network_; }

  // --- what is ---
  Instant now() const { return now_; }
  Instant local(uint32_t p) const { return proxies_[p].clock.local(now_); }  // what the proxy's clock says
  SessionId id(SessionNumber s) const;
  IpAddress client_address(SessionNumber s) const;
  const SessionKey& key(SessionNumber s) const;
  const View& view() const { return views_.back(); }  // the newest
  const std::vector<View>& views() const { return views_; }
  bool in_view(uint32_t proxy) const { return view().contains({proxy}); }
  bool up(uint32_t proxy) const { return proxies_[proxy].node != nullptr; }
  bool paused(uint32_t proxy) const { return proxies_[proxy].paused; }
  bool told(uint32_t proxy) const { return proxies_[proxy].told + 1 == views_.size(); }
  bool member_up(uint32_t member) const { return members_[member].owner != nullptr; }
  Node& node(uint32_t p) { return *proxies_[p].node; }
  Querier& querier(uint32_t p) { return *proxies_[p].querier; }
  SessionCache& cache(uint32_t p) { return *proxies_[p].cache; }
  Owner& owner(uint32_t m) { return *members_[m].owner; }
  bool owns(uint32_t m, SessionNumber s) const { return members_[m].owner && members_[m].owner->owns(id(s)); }
  Kernel& kernel(uint32_t m, SessionNumber s) { return members_[m].kernel[s]; }
  const Kernel* find_kernel(uint32_t m, SessionNumber s) const;
  Client& client(SessionNumber s);
  bool in_sync();  // all that run, with permits from all that run
  std::optional<CacheEntry> cached(uint32_t p, SessionNumber s);
  std::optional<CacheEvent> last_event(uint32_t p, SessionNumber s) const;  // after ask()
  const std::vector<OwnerEvent>& owner_events(uint32_t m) const { return members_[m].events; }
  void keep_owner_events() { keeps_owner_events_ = true; }
  const WorldOptions& options() const { return options_; }
  uint32_t last_proxy() const { return static_cast<uint32_t>(proxies_.size()) - 1; }
  Rng& rng() { return rng_; }
  void observe(Observer* o) { observers_.push_back(o); }
  void observe_messages(Observer* o) { message_observer_ = o; }
  void tell_fault(const std::string& what) {
    for (Observer* o : observers_) o->on_fault(what);
  }

  struct Traffic {
    uint64_t messages = 0, bytes = 0;  // between machines, before loss
  };
  const std::vector<Traffic>& traffic() const { return traffic_; }  // by type on the wire
  uint64_t events() const { return order_; }
  struct Unknown {
    uint64_t met = 0, absent = 0;  // packets that a proxy would ask about; those that it dropped instead
  };
  const Unknown& unknown() const { return unknown_; }
  // What became of clients' packets about which a proxy had to ask. Those that did not arrive were lost, or their
  // sessions were over.
  struct Asked {
    uint64_t packets = 0, overtaken = 0;  // by a later one of their client
    std::vector<Duration> delays;         // of those that arrived, from the proxy to the kernel
  };
  const Asked& asked() const { return asked_; }
  size_t summary_memory(uint32_t p) const {
    return proxies_[p].gate ? proxies_[p].gate->summaries.status(local(p)).bytes : 0;
  }

 private:
  struct Clock {
    double rate = 1;
    Duration ahead{}, wall{};  // of true time; the wall clock's of the monotonic one
    Instant local(Instant t) const {
      return Instant(ahead + Duration(static_cast<int64_t>(double(t.time_since_epoch().count()) * rate)));
    }
    Instant global(Instant l) const {  // at or just after the moment that reads l
      if (l == Instant::max()) return l;
      return Instant(Duration(static_cast<int64_t>(double((l.time_since_epoch() - ahead).count()) / rate) + 1000));
    }
  };
  struct Newest {
    uint32_t generation = 0;
    Stamp stamp;
  };
  struct Datagram {
    NodeId from, to;
    std::vector<uint8_t> bytes;  // empty: a client's packet
    Packet packet;
    bool not_mine = false;
    Stamp stamp;                                      // of a sending proxy
    uint32_t from_generation = 0, to_generation = 0;  // keys of before a receiver's start verify nothing
  };
  // What unknown sessions meet under pressure.
  struct Gate {
    Gate(ProxyId self, const View& view, uint64_t seed);
    Pressure pressure;
    PressureMeter meter;
    uint64_t met = 0;
    Summaries summaries;
    std::unique_ptr<const AbsenceMap> map;
    Layout layout;
    UnknownGate gate;
  };
  struct Proxy {
    std::unique_ptr<Node> node;
    std::unique_ptr<Querier> querier;
    std::unique_ptr<SessionCache> cache;
    std::unique_ptr<Gate> gate;
    std::unordered_map<SessionKey, std::vector<Packet>> held;  // waiting for an answer
    std::map<SessionKey, CacheEvent> last;                     // of sessions that ask() named
    std::vector<Newest> proxies, members;                      // what the newest of their envelopes said
    std::vector<Datagram> buffered;                            // while it is paused
    std::vector<std::pair<Packet, uint32_t>> buffered_clients;
    uint32_t boot = 0, generation = 0;
    size_t told = 0;  // views, up to which
    bool paused = false;
    Instant wakes = Instant::max();
    Clock clock;
  };
  struct Member {
    std::unique_ptr<Owner> owner;
    uint32_t incarnation = 0, generation = 0;
    std::unordered_map<SessionNumber, Kernel> kernel;
    struct Revoked {
      Instant ends;
      uint64_t name;
    };
    std::map<SessionNumber, Revoked> revoked;  // on disk
    std::unordered_map<SessionNumber, Instant> removed;
    std::unordered_map<SessionNumber, std::set<std::pair<uint32_t, uint64_t>>> buckets;  // given: incarnation, counter
    std::vector<Instant> heard;                                                          // proxies
    std::vector<OwnerEvent> events;
    Instant wakes = Instant::max();
    Clock clock;
  };
  struct Event {
    enum class Kind : uint8_t { datagram, wake_proxy, wake_member, beat, sweep, call } kind;
    uint32_t index;
    Instant at;
    uint64_t order;
    bool operator<(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }  // soonest on top
  };

  void push(Event::Kind kind, uint32_t index, Instant when);
  void happen(const Event& e);
  void send(NodeId from, NodeId to, std::vector<uint8_t> bytes);
  void send_packet(NodeId from, NodeId to, const Packet& packet, bool not_mine);
  void post(Datagram d);
  void schedule(Datagram d, Duration delay);
  void deliver(Datagram d);
  Instant enter(const Clock& c) const;

  // --- world_proxy.cc ---
  void proxy_takes(uint32_t p, Datagram& d);
  void client_packet(uint32_t p, const Packet& packet, uint32_t member);
  void take_back(uint32_t p, const Packet& packet, MemberId from);
  void hold(uint32_t p, Packet packet);
  bool is_absent(uint32_t p, const SessionKey& key, const IpAddress& source, Instant now);
  void drain_proxy(uint32_t p);
  void schedule_proxy(uint32_t p);
  void apply(uint32_t p, const CacheEvent& e);
  void pass(uint32_t p, const Packet& packet, MemberId to);
  void take_down(uint32_t p, ProxyChange how);
  void proxy_changed(uint32_t p, ProxyChange change);
  Stamp stamp_of(uint32_t p) const;

  // --- world_member.cc ---
  void member_takes(uint32_t m, Datagram& d);
  void member_packet(uint32_t m, const Packet& packet, ProxyId ingress);
  void insert(uint32_t m, SessionNumber s);
  void retransmit(uint32_t m, SessionNumber s, Instant born);
  void drain_member(uint32_t m);
  void note_bucket(uint32_t m, Bytes message);
  void schedule_member(uint32_t m);
  void on_owner_event(uint32_t m, const OwnerEvent& e);
  void destroy_socket(uint32_t m, SessionNumber s, OwnerEvent::Kind why);
  void beat(uint32_t m);

  SessionNumber number(const SessionKey& k) const { return numbers_.at(k); }

  WorldOptions options_;
  Rng rng_;
  Network network_;
  Instant now_{std::chrono::hours(1)};
  GroupSecret secret_;
  std::vector<View> views_;
  View everybody_;  // what the members' files list
  std::vector<Proxy> proxies_;
  std::vector<Member> members_;
  std::vector<Client> clients_;
  mutable std::vector<SessionKey> keys_;
  mutable std::unordered_map<SessionKey, SessionNumber> numbers_;
  std::vector<Event> events_;  // a heap
  uint64_t order_ = 0;
  Slots<Datagram> datagrams_;
  Slots<std::function<void()>> calls_;
  std::vector<Observer*> observers_;
  Observer* message_observer_ = nullptr;
  std::vector<Traffic> traffic_;
  Unknown unknown_;
  Asked asked_;
  uint32_t last_request_ = 0;
  std::map<uint32_t, SessionNumber> operator_requests_;
  bool keeps_owner_events_ = false;
};

}  // namespace statecast::sim
