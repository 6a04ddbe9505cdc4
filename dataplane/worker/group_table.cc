// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/group_table.h"

#include <algorithm>
#include <bit>

namespace statecast {

namespace {

// An address as the top bits of 128: an IPv4 address fills the first 32.
uint64_t big_endian(const uint8_t* p) {
  uint64_t v = 0;
  for (int i = 0; i < 8; ++i) v = v << 8 | p[i];
  return v;
}

}  // namespace

GroupTable::Key GroupTable::masked(const IpAddress& a, uint8_t length) {
  uint64_t high = big_endian(a.raw.data());
  uint64_t low = a.is_v6() ? big_endian(a.raw.data() + 8) : 0;
  high &= length == 0 ? 0 : length >= 64 ? ~0ull : ~0ull << (64 - length);
  low &= length <= 64 ? 0 : length >= 128 ? ~0ull : ~0ull << (128 - length);
  return {high, low, static_cast<uint32_t>(a.family) << 8 | length};
}

size_t GroupTable::home(const Key& k) const {
  uint64_t h = (k.high ^ k.kind) * 0x9e3779b97f4a7c15ull;
  h = (h ^ h >> 32 ^ k.low) * 0xd6e8feb86659fd93ull;
  return (h ^ h >> 32) & (table_.size() - 1);
}

GroupTable::GroupTable(const std::vector<std::pair<Prefix, uint32_t>>& prefixes)
    : table_(std::bit_ceil(2 * prefixes.size() + 2)) {
  for (const auto& [prefix, group] : prefixes) {
    Key key = masked(prefix.address, prefix.length);
    size_t at = home(key);
    while (table_[at].key.kind != 0 && table_[at].key != key) at = (at + 1) & (table_.size() - 1);
    table_[at] = {key, group};
    auto& lengths = prefix.address.is_v4() ? lengths_v4_ : lengths_v6_;
    if (std::find(lengths.begin(), lengths.end(), prefix.length) == lengths.end()) lengths.push_back(prefix.length);
  }
  std::sort(lengths_v4_.rbegin(), lengths_v4_.rend());
  std::sort(lengths_v6_.rbegin(), lengths_v6_.rend());
}

uint32_t GroupTable::find(const IpAddress& a) const {
  for (uint8_t length : a.is_v4() ? lengths_v4_ : lengths_v6_) {
    Key key = masked(a, length);
    for (size_t at = home(key); table_[at].key.kind != 0; at = (at + 1) & (table_.size() - 1)) {
      if (table_[at].key == key) return table_[at].group;
    }
  }
  return UINT32_MAX;
}

}  // namespace statecast
