// SPDX-License-Identifier: BSD-3-Clause
// Placement. For each slot every node has a score, a hash of (slot, node); the best R have the slot, and among them
// nodes of zones not yet taken go first. A node that comes or goes moves only the slots that it wins or leaves: 1/n.
// Rejected: a ring of virtual nodes (needs hundreds of points per node for the same balance, and zones complicate the
// walk). Computed once per view: 65,536 x n scores, about 20 ms for 100 nodes.
#include "directory/view.h"

#include <algorithm>
#include <string_view>

#include "base/mix.h"

namespace statecast {

namespace {

constexpr uint64_t mix(uint64_t x) {
  return mix64(x + 0x9e3779b97f4a7c15);
}

// FNV-1a over the canonical content, mixed and folded. Names a view among an operator's own; not for adversaries.
class ContentHash {
 public:
  void byte(uint8_t b) { h_ = (h_ ^ b) * 0x100000001b3; }
  void u32(uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) byte(static_cast<uint8_t>(v >> shift));
  }
  void text(std::string_view s) {
    u32(static_cast<uint32_t>(s.size()));
    for (char c : s) byte(static_cast<uint8_t>(c));
  }
  uint32_t value() const {
    uint64_t m = mix(h_);
    return static_cast<uint32_t>(m ^ m >> 32);
  }

 private:
  uint64_t h_ = 0xcbf29ce484222325;
};

}  // namespace

uint64_t placement_score(Slot slot, ProxyId node) {
  return mix(mix(node.value) ^ slot.value);
}

View::View(ViewOptions options, std::vector<ViewNode> nodes) : nodes_(std::move(nodes)) {
  std::sort(nodes_.begin(), nodes_.end());
  nodes_.erase(std::unique(nodes_.begin(), nodes_.end(), [](const auto& a, const auto& b) { return a.id == b.id; }),
               nodes_.end());
  replica_count_ = std::min({std::max(options.replicas, 1u), kReplicasMax, static_cast<unsigned>(nodes_.size())});
  write_count_ = std::min(std::max(options.writes, 1u), replica_count_);

  ContentHash hash;
  hash.u32(options.replicas);
  hash.u32(options.writes);
  for (const ViewNode& n : nodes_) {
    hash.u32(n.id.value);
    hash.text(n.zone);
  }
  id_ = {options.revision, hash.value()};

  // Zones as small numbers, so that a slot compares no strings.
  std::vector<std::string_view> names;
  std::vector<size_t> zone(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    auto at = std::find(names.begin(), names.end(), nodes_[i].zone);
    zone[i] = static_cast<size_t>(at - names.begin());
    if (at == names.end()) names.push_back(nodes_[i].zone);
  }

  std::vector<ProxyId> placement;
  placement.reserve(size_t(kSlots) * replica_count_);
  std::vector<uint64_t> score(nodes_.size());
  std::vector<bool> taken(nodes_.size()), zone_taken(names.size());
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    for (size_t i = 0; i < nodes_.size(); ++i) score[i] = placement_score({static_cast<uint16_t>(slot)}, nodes_[i].id);
    std::fill(taken.begin(), taken.end(), false);
    std::fill(zone_taken.begin(), zone_taken.end(), false);
    for (unsigned r = 0; r < replica_count_; ++r) {
      // The best score in a fresh zone; once there is none, the best of the rest. Of equal scores the lower ID.
      size_t best = nodes_.size();
      bool best_fresh = false;
      for (size_t i = 0; i < nodes_.size(); ++i) {
        if (taken[i]) continue;
        bool fresh = !zone_taken[zone[i]];
        if (best == nodes_.size() || fresh > best_fresh || (fresh == best_fresh && score[i] > score[best])) {
          best = i;
          best_fresh = fresh;
        }
      }
      taken[best] = true;
      zone_taken[zone[best]] = true;
      placement.push_back(nodes_[best].id);
    }
  }
  placement_ = std::make_shared<const std::vector<ProxyId>>(std::move(placement));
}

bool View::contains(ProxyId p) const {
  auto it = std::lower_bound(nodes_.begin(), nodes_.end(), p, [](const ViewNode& n, ProxyId id) { return n.id < id; });
  return it != nodes_.end() && it->id == p;
}

bool View::same_placement(const View& other, Slot slot) const {
  auto a = replicas(slot), b = other.replicas(slot);
  return write_count_ == other.write_count_ && a.size() == b.size() &&
         std::is_permutation(a.begin(), a.end(), b.begin());
}

}  // namespace statecast
