// SPDX-License-Identifier: BSD-3-Clause
// View and placement: the list of directory nodes (= proxies) with a revision and a content hash, and the pure function
// that places each of the 65,536 slots on R of them (rendezvous hashing, distinct zones first).
//
//   View view({.revision = 1, .replicas = 3, .writes = 2}, {{ProxyId{1}, "a"}, {ProxyId{2}, "b"}, {ProxyId{3}, "c"}});
//   for (ProxyId p : view.replicas(key.slot())) ...
//
// Threads: immutable after construction, share freely. Ownership: value; copies share the placement.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/prefetch.h"
#include "base/units.h"

namespace statecast {

struct ViewNode {
  ProxyId id;
  std::string zone;
  auto operator<=>(const ViewNode&) const = default;
};

struct ViewId {
  uint32_t revision = 0;
  uint32_t hash = 0;  // of the sorted content; equal revision with another hash is an alarm
  auto operator<=>(const ViewId&) const = default;
};

inline constexpr unsigned kSlots = 65'536;
inline constexpr unsigned kReplicasMax = 16;  // R

struct ViewOptions {
  uint32_t revision = 1;
  unsigned replicas = 3;  // R, before min(R, nodes, kReplicasMax)
  unsigned writes = 2;    // W, before min(W, R)
};

// How much `node` is for the slot: of all nodes those with the highest scores have it, distinct zones first.
uint64_t placement_score(Slot slot, ProxyId node);

class View {
 public:
  View() = default;
  // Nodes in any order; a second node with the same ID is ignored (the configuration refuses it).
  View(ViewOptions options, std::vector<ViewNode> nodes);

  ViewId id() const { return id_; }
  unsigned replica_count() const { return replica_count_; }                  // R
  unsigned write_count() const { return write_count_; }                      // W
  unsigned read_count() const { return replica_count_ - write_count_ + 1; }  // R - W + 1
  // Of how many other replicas a grant needs permits: max(R - W, 1); of none where R = 1.
  unsigned permit_count() const { return replica_count_ == 1 ? 0 : std::max(replica_count_ - write_count_, 1u); }
  std::span<const ViewNode> nodes() const { return nodes_; }  // by id
  std::span<const ProxyId> replicas(Slot slot) const {
    return placement_ ? std::span(*placement_).subspan(size_t(slot.value) * replica_count_, replica_count_)
                      : std::span<const ProxyId>{};
  }
  bool is_replica(ProxyId p, Slot slot) const {
    for (ProxyId r : replicas(slot)) {
      if (r == p) return true;
    }
    return false;
  }
  void prefetch(Slot slot) const {
    if (placement_) statecast::prefetch(&(*placement_)[size_t(slot.value) * replica_count_]);
  }
  bool contains(ProxyId p) const;
  // The same nodes have the slot in both, and count their copies alike: what W of them have in one view they have in
  // the other.
  bool same_placement(const View& other, Slot slot) const;

 private:
  ViewId id_;
  unsigned replica_count_ = 0, write_count_ = 0;
  std::vector<ViewNode> nodes_;
  std::shared_ptr<const std::vector<ProxyId>> placement_;  // slot-major, replica_count_ each
};

}  // namespace statecast
