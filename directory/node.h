// SPDX-License-Identifier: BSD-3-Clause
// Node: one directory node, the replica of its slots and coordinator of what reaches it. Sans-IO: messages and time in,
// messages and the next deadline out; it owns no socket, clock or thread.
//
//   Node node(options, now);
//   node.on_message(from, bytes, now);
//   for (DirectoryOutput o; node.next_output(o);) send(o);      // o.to may be the node's own proxy: loop it back
//   wake_at(node.next_deadline());
//   node.set_view(next, now);                                   // revision + 1: the slots that move are handed over
//
// It answers Query, Insert, Remove, Revoke, Unrevoke, Refresh (from members, the operator, or relayed), and exchanges
// Place..SyncChunk with the other replicas. docs/directory.md is its prose twin; timers are set in node_timers.cc only.
// Threads: one. Ownership: owns its records.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "directory/messages.h"
#include "directory/view.h"

namespace statecast {

// What a node must know of a group.
struct DirectoryGroup {
  GroupId id;
  GroupSecret secret;
  bool partition_available = false;         // `partition: available`; else safe
  bool degraded_accept = true;              // `degraded: accept`; else refuse
  QueryForm query_form = QueryForm::query;  // of its proxies' questions
  bool admits = false;  // its members lease sessions to proxies themselves, before the directory knows of them
  Duration lease_cap = 10s;
  uint64_t grant_bytes_max = kUnlimitedBytes;  // per lease
  std::vector<MemberId> members;               // who may own sessions of it
};

struct NodeOptions {
  ProxyId self;
  View view;
  std::vector<DirectoryGroup> groups;
  uint64_t seed = 0;  // for its random times
  // The newest stamp that a verified envelope of this proxy carried (echoed in Entry).
  std::function<Stamp(ProxyId, Instant now)> newest_stamp;
  size_t records_max = 20'000'000;
};

struct NodeStatus {
  bool in_sync = false;  // in all of its slots
  size_t slots = 0, slots_out_of_sync = 0;
  ViewId view;
  bool in_view = false;      // this node is
  bool handed_over = false;  // every other node of the view that is heard is in sync in all of its slots
  bool degraded = false;     // fewer than W replicas reachable
  size_t records = 0, tombstones = 0, placed = 0;
  struct Peer {
    ProxyId id;
    bool heard, permit, out_of_sync;
    Duration rtt;
    uint64_t changes_pending;
  };
  std::vector<Peer> peers;
};

// A client's packet that came with a question, for the member that has its session. Replies go to `ingress`, where it
// came in.
struct ForwardedPacket {
  MemberId to;
  GroupId group;
  ProxyId ingress;
  std::vector<uint8_t> packet;
};

struct NodeMessage {
  NodeId from;
  Bytes bytes;
};

class Node {
 public:
  Node(NodeOptions options, Instant now);
  ~Node();

  // The next view; takes effect at once. An older one is refused. Revisions follow each other: a node that skips one
  // starts over in all of its slots, as after a restart. A node may be in no view: before it joins, or after it left.
  void set_view(View next, Instant now);
  // A message of a verified envelope from `from`, or of this proxy itself (its querier, the operator's socket).
  void on_message(NodeId from, Bytes message, Instant now) { on_messages({{{from, message}}}, now); }
  // The same, one after the other; what they will look for in memory is fetched while those before them are worked on.
  void on_messages(std::span<const NodeMessage> messages, Instant now);
  // This proxy has just heard the member (any verified envelope).
  void on_member_heard(MemberId member, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  bool next_output(DirectoryOutput& out);
  bool next_forwarded(ForwardedPacket& out);

  // For the command line and tests.
  std::optional<Record> find(const SessionKey& key, Instant now) const;  // placed or held
  bool is_held(const SessionKey& key) const;
  struct Granted {
    ProxyId proxy;
    Duration left;  // of its lease, or DROP
  };
  std::vector<Granted> holders_of(const SessionKey& key, Instant now) const;  // as far as this replica granted them
  NodeStatus status(Instant now) const;
  bool in_sync(Slot slot) const;      // this node is a replica of it, and in sync there
  size_t holders(Instant now) const;  // leases and DROPs granted; looks at every record: only where somebody asks
  struct Counter {
    const char* name;
    const char* help;
    uint64_t value;
  };
  std::vector<Counter> counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace statecast
