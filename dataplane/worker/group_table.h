// SPDX-License-Identifier: BSD-3-Clause
// Group table: destination address -> group, by longest prefix, both families.
//
//   GroupTable t({{*Prefix::parse("203.0.113.10"), 0}, {*Prefix::parse("2001:db8::/48"), 1}});
//   t.find(address) == 0;   // kNoGroup where none
//
// Group addresses are host prefixes as a rule, so one hash table over (length, masked address) is probed for each
// length that occurs, longest first: one or two cache lines. rte_lpm and rte_fib answer in the same time but take 32 to
// 64 MiB per table, which three proxies on one small machine do not have.
// Threads: immutable after construction. Ownership: value.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/address.h"

namespace statecast {

class GroupTable {
 public:
  GroupTable() : GroupTable(std::vector<std::pair<Prefix, uint32_t>>{}) {}
  explicit GroupTable(const std::vector<std::pair<Prefix, uint32_t>>& prefixes);

  uint32_t find(const IpAddress& a) const;  // the group's index, or UINT32_MAX

 private:
  struct Key {
    uint64_t high = 0, low = 0;
    uint32_t kind = 0;  // family << 8 | length; 0: empty
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    Key key;
    uint32_t group = 0;
  };
  static Key masked(const IpAddress& a, uint8_t length);
  size_t home(const Key& k) const;

  std::vector<Entry> table_;
  std::vector<uint8_t> lengths_v4_, lengths_v6_;  // longest first
};

}  // namespace statecast
