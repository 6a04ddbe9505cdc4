// SPDX-License-Identifier: BSD-3-Clause
// What only the writer of the session cache reads: the cold part of an entry (20 bytes by slot number), and the table
// of destinations that the words name.
//
// A destination stands for (target, member, group), so that an entry need not hold them. Destinations are never given
// back: there are 524,288, about as many as 5 for each of 100,000 members.
// Threads: the writer's. Readers see at() of a destination whose word they have loaded. Ownership: their own tables.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/cache/huge_array.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_spend.h"
#include "dataplane/cache/session_word.h"

namespace statecast {

// Bytes per second in a byte: three bits behind the point of the logarithm.
constexpr uint8_t rate_code(float rate) {
  const auto bits = int32_t(std::bit_cast<uint32_t>(rate + 1) >> 20) - (127 << 3);
  return uint8_t(bits > 255 ? 255 : bits < 0 ? 0 : bits);
}
constexpr float rate_of(uint8_t code) {
  return std::bit_cast<float>((uint32_t(code) + (127 << 3)) << 20) - 1;
}
static_assert(rate_of(rate_code(0)) == 0 && rate_of(rate_code(1e6f)) > 0.87e6f && rate_of(rate_code(1e6f)) <= 1e6f);

// Samples leave out some low bits: of a tick, and of bytes.
inline constexpr unsigned kSampledTickBits = 3, kSampledBytesBits = 3;
inline constexpr int64_t kEndsMax = (int64_t(1) << 38) - 1;

struct Cold {
  uint32_t order_low, order_high;  // of the version: incarnation 24, counter 40
  uint32_t ends_low;               // milliseconds since the cache's zero, up to 8.7 years
  uint32_t ends_high : 6;
  uint32_t sampled : 24;  // the word's bytes when the rate was taken; of a negative entry: its place in the list
  uint32_t removed : 1;
  uint32_t reserved : 1;  // bytes were granted that the word has no room for
  uint16_t term;
  uint8_t rate;        // over the last window
  uint8_t sampled_at;  // tick

  int64_t ends() const { return int64_t(ends_high) << 32 | ends_low; }
  void set_ends(int64_t ms) {
    ends_low = uint32_t(ms);
    ends_high = uint32_t(ms >> 32) & 0x3f;
  }
  Version version() const { return {term, order_high >> 8, uint64_t(order_high & 0xff) << 32 | order_low}; }
  void set_version(const Version& v) {
    term = v.term;
    order_high = v.incarnation << 8 | uint32_t(v.counter >> 32 & 0xff);
    order_low = uint32_t(v.counter);
  }
};
static_assert(sizeof(Cold) == 20);

// Which slots are in use, a bit each: to draw entries and to go over them where few slots are in use.
class UsedSlots {
 public:
  bool create(size_t slots) {
    slots_ = slots;
    return bits_.allocate(slots / 64 + 1);
  }
  bool holds(size_t slot) const { return slot < slots_ && (bits_[slot / 64] >> slot % 64 & 1); }
  void set(size_t slot) { bits_[slot / 64] |= uint64_t(1) << slot % 64; }
  void clear(size_t slot) { bits_[slot / 64] &= ~(uint64_t(1) << slot % 64); }
  // The first in use from `slot` on; `end` if there is none before.
  size_t next(size_t slot, size_t end) const {
    while (slot < end) {
      if (const uint64_t rest = bits_[slot / 64] >> slot % 64)
        return std::min(end, slot + size_t(std::countr_zero(rest)));
      slot = slot / 64 * 64 + 64;
    }
    return end;
  }
  // This slot, or where it is free one of its 63 neighbours in use, by the number `which`; size() where none is in use.
  // (The next one in use would not do: those that stand behind others would hardly ever be drawn.)
  size_t pick(size_t slot, uint32_t which) const {
    uint64_t word = bits_[slot / 64];
    if (word >> slot % 64 & 1) return slot;
    if (word == 0) return slots_;
    for (which %= unsigned(std::popcount(word)); which > 0; --which) word &= word - 1;
    return slot / 64 * 64 + size_t(std::countr_zero(word));
  }
  size_t size() const { return slots_; }
  size_t bytes() const { return bits_.bytes(); }

 private:
  HugeArray<uint64_t> bits_;
  size_t slots_ = 0;
};

class Destinations {
 public:
  struct Group {
    uint32_t id;
    uint32_t entries;  // in the session space
  };

  bool create() { return at_.allocate(kDestinations); }
  const std::atomic<uint32_t>* readers_view() const { return &at_[0]; }
  WordTarget target(uint32_t d) const { return destination_target(at_[d].load(std::memory_order_relaxed)); }
  MemberId member(uint32_t d) const { return destination_member(at_[d].load(std::memory_order_relaxed)); }
  Group& group(uint32_t d) { return groups_[group_of_[d]]; }
  const Group& group(uint32_t d) const { return groups_[group_of_[d]]; }

  // Nothing when all are in use.
  std::optional<uint32_t> intern(WordTarget target, MemberId member, GroupId group) {
    const uint64_t name = uint64_t(make_destination(target, member)) << 32 | group.value;
    if (name == last_name_) return last_;
    auto [known, is_new] = known_.try_emplace(name, uint32_t(group_of_.size()));
    if (is_new) {
      if (group_of_.size() == kDestinations) {
        known_.erase(known);
        return std::nullopt;
      }
      auto [place, is_new_group] = group_places_.try_emplace(group.value, uint32_t(groups_.size()));
      if (is_new_group) groups_.push_back({group.value, 0});
      at_[known->second].store(make_destination(target, member), std::memory_order_relaxed);
      group_of_.push_back(place->second);
    }
    last_name_ = name;
    return last_ = known->second;
  }
  size_t memory_bytes() const {
    constexpr size_t kNode = 40;  // of a hash map, about
    return group_of_.size() * (sizeof(uint32_t) + kNode) + group_of_.capacity() * sizeof(uint32_t) +
           groups_.capacity() * sizeof(Group) + group_places_.size() * kNode;
  }

 private:
  HugeArray<std::atomic<uint32_t>> at_;
  std::vector<uint32_t> group_of_ = std::vector<uint32_t>(kFirstDestination);
  std::vector<Group> groups_;
  std::unordered_map<uint64_t, uint32_t> known_;
  std::unordered_map<uint32_t, uint32_t> group_places_;
  uint64_t last_name_ = UINT64_MAX;
  uint32_t last_ = 0;
};

}  // namespace statecast
