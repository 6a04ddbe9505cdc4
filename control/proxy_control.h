// SPDX-License-Identifier: BSD-3-Clause
// The control thread of a proxy: everything that is not a packet of a burst. It owns the directory node and the
// querier, speaks hello and keep-alives through PeerTable, finds next hops, watches which members are reachable, and is
// the session cache's only writer. It translates between the siblings: worker notes and messages on one side, the
// sans-IO machines on the other.
//
//   ProxyControl control(setup);
//   control.run(stop);             // the program's main thread
//   control.step(now);             // tests: what run does between two sleeps
//
// One step: take the workers' notes (revocations first) and what is due; feed the machines; carry cache events to the
// cache and tell the workers; wait, where a session was withdrawn, until no worker can still be sending by the old
// entry; then send what the machines want sent, the acknowledgements among it.
//
// Threads: one; metrics() may be called from any. Ownership: owns its machines, refers to the rest.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "config/config.h"
#include "control/metrics.h"
#include "control/neighbours.h"
#include "control/pressure_meter.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/worker/mailbox.h"
#include "dataplane/worker/snapshot.h"
#include "dataplane/worker/stage_clock.h"
#include "dataplane/worker/unknown_gate.h"
#include "directory/node.h"
#include "directory/querier.h"
#include "directory/summaries.h"
#include "directory/verifier.h"

namespace statecast {

class AdminServer;
class EtcdMembership;

// A worker as the control thread sees it.
struct WorkerView {
  WorkerLink* link = nullptr;
  const Counters* counters = nullptr;
  std::function<uint64_t()> turns;           // Worker::turns
  std::function<void(bool)> measure_stages;  // Worker::measure_stages
  const StageClock* stage_clock = nullptr;
};

struct ProxyControlSetup {
  const ProxyConfig* config = nullptr;
  std::shared_ptr<const Layout> layout;
  View view;
  std::vector<DirectoryGroup> groups;
  PeerTable* peers = nullptr;
  SessionCache* cache = nullptr;
  SnapshotBoard* board = nullptr;
  Neighbours* neighbours = nullptr;
  Wakeup* wakeup = nullptr;
  AdminServer* admin = nullptr;          // nullptr: none
  EtcdMembership* membership = nullptr;  // nullptr: the view stays
  std::vector<WorkerView> workers;
  std::atomic<bool>* negatives_exist = nullptr;
  Pressure* pressure = nullptr;  // nullptr: unknown sessions are asked about whatever comes
  uint64_t seed = 0;             // new at each start
};

// What became of a request of the operator: each answer until one that is final (the callback says so by true).
using OperatorAnswer = std::function<bool(const MessageBody& answer)>;

class ProxyControl {
 public:
  ProxyControl(ProxyControlSetup setup, Instant now);
  ~ProxyControl();

  void run(const std::atomic<bool>& stop);
  void step(Instant now);
  Instant next_deadline() const;

  // Whether this message is about taking something away (or the liveness on which that rests): it goes first in every
  // queue.
  static bool is_urgent(Bytes message);

  // For the admin commands (proxy_admin.cc). A revocation gets its name here.
  void request(MessageBody body, OperatorAnswer on_answer, Instant now);
  // Compares what the replicas hold (verifier.h). False while another comparison is under way.
  bool verify(std::function<void(const VerifyReport&)> on_report, Instant now);
  const ProxyControlSetup& setup() const { return setup_; }
  const Node& node() const { return *node_; }
  const Querier& querier() const { return *querier_; }
  const Summaries& summaries() const { return *summaries_; }
  uint64_t counter(Counter c) const;
  bool partitioned() const { return partitioned_; }
  Instant started() const { return started_; }
  const Group* find_group(GroupId id) const;

  std::vector<Metric> metrics() const;  // as of the last 100 ms

 private:
  struct Request {
    MessageBody body;
    OperatorAnswer on_answer;
    Instant until;
    Instant again{};   // sent again then, until something final or under way is answered
    Duration pause{};  // after that
  };

  void take_notes(Instant now);
  void on_note(Note& note, Instant now);
  void on_message(NodeId from, Bytes message, Instant now);
  void hand_to_node(Instant now);
  void on_lease(const Note& note, Instant now);
  void on_not_mine(const Note& note, Instant now);
  void ask(const SessionKey& key, GroupId group, Instant now, const Traveller& with = {});
  QueryForm query_form(GroupId id) const;
  void pump(Instant now);
  bool apply_cache_events(Instant now);
  void apply(const CacheEvent& e, Instant now);
  void wait_for_workers();
  void send(const DirectoryOutput& o, Instant now);
  void send_request(uint32_t number, Request& r, Instant now);
  void answer_operator(Bytes message);
  void verify_further(Instant now);
  void send_datagrams(Instant now);
  void send_frames();
  void tick(Instant now);
  void refresh_snapshot(Instant now);
  void hear_members(Instant now);
  void weigh_pressure(Instant now);
  void publish_absence();
  void say_state(const NodeStatus& node);
  void follow_membership(const NodeStatus& node, Instant now);
  void set_view(View next, Instant now);
  void add_membership_metrics(std::vector<Metric>& all) const;
  void collect_metrics(Instant now);

  ProxyControlSetup setup_;
  NodeId self_;
  Instant started_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<Querier> querier_;
  std::unique_ptr<Summaries> summaries_;
  std::unique_ptr<Verifier> verifier_;  // null: none is under way
  std::function<void(const VerifyReport&)> on_verify_report_;
  std::unique_ptr<const AbsenceMap> absence_;  // what the workers see
  PressureMeter meter_;
  Counters counters_;                      // of this thread
  std::vector<DirectoryOutput> loopback_;  // from this node to itself
  std::vector<NodeMessage> for_node_;      // taken together, before the first of them is worked on
  std::deque<PeerTable::Datagram> waiting_for_hop_;
  std::unordered_map<uint32_t, Request> requests_;
  uint32_t next_request_ = 1;
  Rng names_;                                        // of revocations
  std::unordered_map<GroupId, size_t> group_index_;  // into Layout::groups
  std::unordered_map<NodeId, Instant> heard_;
  bool snapshot_stale_ = true;
  bool degraded_ = false, partitioned_ = false, in_sync_ = false;
  Instant next_tick_{}, next_metrics_{};

  mutable std::mutex metrics_mutex_;
  std::vector<Metric> metrics_;
};

// Registers the proxy's admin commands: status, sessions.get, revoke, unrevoke, directory.*.
void register_proxy_commands(AdminServer& server, ProxyControl& control);

}  // namespace statecast
