// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/network.h"

#include <algorithm>

namespace statecast::sim {

namespace {
constexpr Duration kReorderMax = 50ms, kLateMax = 300ms;

Duration some(Duration max, Rng& rng) {
  return Duration(static_cast<int64_t>(rng.below(static_cast<uint64_t>(max.count()) + 1)));
}
}  // namespace

Network::Network(const NetworkOptions& options, Rng& rng) : options_(options) {
  options_.regions = std::max(options_.regions, 1u);
  ways_.assign(size_t(options_.regions) * options_.regions, options_.delay_min);
  for (unsigned a = 0; a < options_.regions; ++a) {
    for (unsigned b = a + 1; b < options_.regions; ++b)
      ways_[a * options_.regions + b] = ways_[b * options_.regions + a] =
          options_.far_min + some(options_.far_max - options_.far_min, rng);
  }
}

void Network::slow(NodeId who, Duration extra) {
  if (extra == Duration{})
    slow_.erase(who);
  else
    slow_[who] = extra;
}

Duration Network::rtt(NodeId a, NodeId b) const {
  return 2 * way(a, b) + options_.delay_max - options_.delay_min;
}

Network::Arrivals Network::send(NodeId from, NodeId to, Rng& rng) {
  Arrivals out;
  if (!reaches(from, to)) return out;
  Duration least = way(from, to);
  if (!slow_.empty()) {
    for (NodeId n : {from, to})
      if (auto it = slow_.find(n); it != slow_.end()) least += it->second;
  }
  for (int copies = options_.duplicate > 0 && rng.chance(options_.duplicate) ? 2 : 1; copies > 0; --copies) {
    if (options_.loss > 0 && rng.chance(options_.loss)) continue;
    Duration d = least + some(options_.delay_max - options_.delay_min, rng);
    if (options_.reorder > 0 && rng.chance(options_.reorder)) d += some(kReorderMax, rng);
    if (options_.late > 0 && rng.chance(options_.late)) d += some(kLateMax, rng);
    out.at[out.count++] = d;
  }
  return out;
}

}  // namespace statecast::sim
