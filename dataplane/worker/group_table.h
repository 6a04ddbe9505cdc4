// SPDX-License-Identifier: BSD-3-Clause
// Group table: destination address -> group, by longest prefix, both families.
//
//   GroupTable t({{*Prefix::parse("203.0.113.10"), 0}, {*Prefix::parse("2001:db8::/48"), 1}});
//   t.find(address) == 0;   // kNoGroup where none
//
// Group addresses are host prefixes as a rule, so one hash table over (length, masked address) is looked into for each
// length that occurs, longest first. For IPv4 it is a perfect one (hash, displace): keys are spread over buckets, and
// each bucket has a multiplier that sends its keys to places of their own. So a look is one load and one comparison
// that a processor can foresee; chains would be a wrong guess every few packets. rte_lpm and rte_fib are faster where
// addresses lie side by side, but take 32 to 64 MiB per table, which three proxies on one small machine do not have.
// Threads: immutable after construction. Ownership: value.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/address.h"

namespace statecast {

class GroupTable {
 public:
  GroupTable() : GroupTable(std::vector<std::pair<Prefix, uint32_t>>{}) {}
  explicit GroupTable(const std::vector<std::pair<Prefix, uint32_t>>& prefixes);  // REQUIRES: groups below 2^24

  // The group's index, or UINT32_MAX.
  uint32_t find(const IpAddress& a) const { return a.is_v4() ? find_v4(a.raw.data()) : find_v6(a.raw.data()); }
  // The same from the bytes of a packet: 4 and 16.
  uint32_t find_v4(const uint8_t* address) const {
    uint32_t a;
    std::memcpy(&a, address, 4);
    a = __builtin_bswap32(a);
    for (const LengthV4& length : lengths_v4_) {
      const uint64_t key = length.tag | (a & length.mask);
      const EntryV4 entry = v4_[place(key)];
      if ((entry & kKeyMask) == key) return static_cast<uint32_t>(entry >> 40);
    }
    return UINT32_MAX;
  }
  uint32_t find_v6(const uint8_t* address) const;

 private:
  // Group (24 bits), length + 1 (8), masked address (32); 0: empty.
  using EntryV4 = uint64_t;
  static constexpr uint64_t kKeyMask = (uint64_t(1) << 40) - 1;
  struct KeyV6 {
    uint64_t high = 0, low = 0;
    uint32_t length = 0;
    bool operator==(const KeyV6&) const = default;
  };
  struct EntryV6 {
    KeyV6 key;
    uint32_t group = UINT32_MAX;  // as long as it is empty
  };
  struct LengthV4 {
    uint32_t mask;
    uint64_t tag;  // length + 1, where a key has it
  };
  static KeyV6 key_v6(uint64_t high, uint64_t low, uint8_t length);
  static uint64_t hash(uint64_t key) {
    const uint64_t h = key * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
  }
  size_t bucket(uint64_t hash) const { return hash & (multipliers_.size() - 1); }
  size_t place(uint64_t hash, uint32_t multiplier) const { return hash * multiplier >> shift_v4_; }
  size_t place(uint64_t key) const {
    const uint64_t h = hash(key);
    return place(h, multipliers_[bucket(h)]);
  }
  void fill_v4(const std::vector<EntryV4>& entries);
  bool displace(const std::vector<EntryV4>& entries);
  size_t home(const KeyV6& key) const;

  std::vector<EntryV4> v4_;
  unsigned shift_v4_ = 63;             // 64 - log2 of its size
  std::vector<uint32_t> multipliers_;  // by bucket
  size_t mask_v6_;
  std::vector<EntryV6> v6_;
  std::vector<LengthV4> lengths_v4_;  // longest first, both
  std::vector<uint8_t> lengths_v6_;
};

}  // namespace statecast
