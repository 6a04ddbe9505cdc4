// SPDX-License-Identifier: BSD-3-Clause
// Snapshot: the configuration that the packets of one burst see. The Layout is what a configuration file says and stays
// until a reload; the Snapshot around it adds what moves: addresses of peers, next hops, who is reachable.
//
//   const Snapshot* s = board.load();   // once per burst; valid until the worker loads again
//   const Group& g = s->layout->groups[b.group[i]];
//   const PeerHop& hop = s->peers[s->layout->peer_index.find(NodeId::member(m))];
//
// Threads: immutable once published; SnapshotBoard hands over between the control thread and the workers.
// Ownership: the board owns the published snapshots and frees one when every worker has loaded a newer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/units.h"
#include "dataplane/session/rules.h"
#include "dataplane/session/session_id.h"
#include "dataplane/worker/group_table.h"

namespace statecast {

// NodeId -> index; built once. Open addressing, a probe or two; members of small numbers, as operators give them out,
// stand in an array besides, since every packet looks one up.
class NodeIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  NodeIndex() : NodeIndex(std::vector<NodeId>{}) {}
  explicit NodeIndex(const std::vector<NodeId>& ids);
  uint32_t find(NodeId id) const { return id.is_member() ? find(id.as_member()) : probe(id); }
  uint32_t find(MemberId id) const {
    return id.value < members_.size() ? members_[id.value] : probe(NodeId::member(id));
  }
  void prefetch(MemberId id) const {
    if (id.value < members_.size()) {
      __builtin_prefetch(&members_[id.value]);
    } else {
      __builtin_prefetch(&table_[home(NodeId::member(id))]);
    }
  }

 private:
  uint32_t probe(NodeId id) const {
    for (size_t at = home(id);; at = (at + 1) & (table_.size() - 1)) {
      if (table_[at].first == id) return table_[at].second;
      if (table_[at].first.value == 0) return kNone;
    }
  }
  size_t home(NodeId id) const { return (id.value * 0x9e3779b1u >> 7) & (table_.size() - 1); }
  std::vector<std::pair<NodeId, uint32_t>> table_;
  std::vector<uint32_t> members_;  // by number
};

enum class UnknownAnswer : uint8_t { drop, stateless, admit };

struct GroupMember {
  MemberId id;
  uint32_t weight = 100;
  uint32_t peer = NodeIndex::kNone;  // index into Snapshot::peers
};

struct alignas(64) Group {
  // What each packet wants, on the first line.
  GroupId id;
  GroupSecret secret;
  SessionRules rules;
  std::string name;
  std::vector<GroupMember> members;  // by id
  UnknownAnswer unknown = UnknownAnswer::drop;
  bool packet_travels = false;  // a session's first packet without a lease goes along with the question
  uint32_t admit_per_second = 10'000;
  uint32_t absent_per_second = 5'000;
  Duration negative = 250ms;
  Duration lease_cap = 10s;

  bool has_member(MemberId m) const;
};

struct PortLayout {
  std::string name;
  MacAddress mac;
  bool anycast = true, underlay = true;  // what may come in here
  bool answer_neighbours = true;
  uint16_t mtu = 1500;
  struct Address {
    IpAddress address;
    uint8_t length;
    bool on_link(const IpAddress& a) const;
  };
  std::vector<Address> addresses;   // the proxy's own
  std::vector<IpAddress> gateways;  // at most one per family
};

struct Layout {
  ProxyId self;
  Endpoint underlay;              // where envelopes to this proxy go, and come from
  std::vector<PortLayout> ports;  // by port number of the device
  std::vector<Group> groups;
  GroupTable group_table;
  std::vector<NodeId> peers;  // proxies and members
  NodeIndex peer_index;
  std::vector<ProxyId> replica_hint;  // by slot: the replica that an agent had better ask; empty: none

  // Inner packets larger than this do not fit an envelope on this underlay.
  size_t inner_mtu() const;
  bool is_own(const IpAddress& a) const;
};

// Where frames for an address go.
struct NextHop {
  bool known = false;
  uint16_t port = 0;
  MacAddress mac;
};

struct PeerHop {
  Endpoint endpoint;  // family none: not known
  NextHop hop;
  bool reachable = false;  // heard within the last second (members: in the selection)
};

struct Snapshot {
  uint64_t generation = 0;
  std::shared_ptr<const Layout> layout;
  std::vector<PeerHop> peers;                         // as Layout::peers
  std::unordered_map<IpAddress, NextHop> neighbours;  // on-link addresses and gateways that have answered

  // The next hop towards an address on the client's side.
  NextHop towards_client(const IpAddress& a) const;
};

// Publishes snapshots to workers without locks: a worker says with each load that it has let go of the older ones.
class SnapshotBoard {
 public:
  explicit SnapshotBoard(unsigned workers) : seen_(workers) {}

  // Control thread. Frees what no worker can still be using.
  void publish(std::unique_ptr<Snapshot> next);
  bool published() const { return !owned_.empty(); }
  const Snapshot& newest() const { return *owned_.back(); }  // REQUIRES: published()
  size_t kept() const { return owned_.size(); }

  // Worker `w`, once per burst. REQUIRES: something has been published.
  const Snapshot* load(unsigned w) {
    const Snapshot* s = current_.load(std::memory_order_acquire);
    seen_[w].generation.store(s->generation, std::memory_order_release);
    return s;
  }

 private:
  struct alignas(64) Seen {
    std::atomic<uint64_t> generation{0};
  };
  std::atomic<const Snapshot*> current_{nullptr};
  std::vector<Seen> seen_;
  std::vector<std::unique_ptr<Snapshot>> owned_;  // oldest first
  uint64_t generation_ = 0;
};

}  // namespace statecast
