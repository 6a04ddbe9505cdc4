// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/unknown_gate.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/mix.h"

namespace statecast {

namespace {

constexpr Duration kPerToken{static_cast<int64_t>(1e9 / UnknownGate::kPerPrefixPerSecond)};

// The first eight bytes of an address, of which `bits` count.
uint64_t prefix_of(const IpAddress& a, unsigned bits) {
  uint64_t word = 0;
  std::memcpy(&word, a.raw.data(), a.is_v4() ? 4 : 8);
  word = __builtin_bswap64(word) & ~uint64_t(0) << (64 - bits);
  return word ^ uint64_t(a.is_v4());
}

}  // namespace

UnknownGate::UnknownGate(const Layout& layout, unsigned workers, const Pressure& pressure, uint64_t seed)
    : pressure_(&pressure), seed_(seed), prefixes_(kPrefixes) {
  groups_.reserve(layout.groups.size());
  for (const Group& g : layout.groups) {
    const TokenBucket share(static_cast<double>(g.absent_per_second) / workers);
    groups_.push_back({share, share});
  }
  for (auto& generation : proven_) generation.resize(kProvenBits / 64);
}

uint64_t UnknownGate::hash(uint64_t prefix) const {
  return mix64(prefix ^ seed_);
}

void UnknownGate::see_proven(const IpAddress& source, Instant now) {
  if (now - proven_since_ >= kProvenFor) {
    std::swap(proven_[0], proven_[1]);
    std::fill(proven_[0].begin(), proven_[0].end(), 0);
    if (now - proven_since_ >= 2 * kProvenFor) std::fill(proven_[1].begin(), proven_[1].end(), 0);
    proven_since_ = now;
  }
  const uint64_t h = hash(prefix_of(source, 64)) % kProvenBits;
  proven_[0][h / 64] |= uint64_t(1) << (h % 64);
}

bool UnknownGate::is_proven(const IpAddress& source) const {
  const uint64_t h = hash(prefix_of(source, 64)) % kProvenBits;
  return ((proven_[0][h / 64] | proven_[1][h / 64]) >> (h % 64) & 1) != 0;
}

// A bucket as the time at which it will be full.
bool UnknownGate::take_of_prefix(const IpAddress& source, Instant now) {
  Instant& full = prefixes_[hash(prefix_of(source, source.is_v4() ? 24 : 48)) % kPrefixes];
  const Instant then = std::max(full, now) + kPerToken;
  if (then - now > kPerPrefixAtOnce * kPerToken) return false;
  full = then;
  return true;
}

bool UnknownGate::passes(const SessionKey& key, uint32_t group, const IpAddress& source, Instant now) {
  const AbsenceMap* map = pressure_->absence.load(std::memory_order_acquire);
  if (map == nullptr || !map->absent(key, now)) return true;
  if (is_proven(source)) return groups_[group].proven.take(now);
  return take_of_prefix(source, now) && groups_[group].others.take(now);
}

}  // namespace statecast
