// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/group_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace statecast {

namespace {

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}
uint32_t load32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}

}  // namespace

GroupTable::KeyV6 GroupTable::key_v6(uint64_t high, uint64_t low, uint8_t length) {
  high &= length == 0 ? 0 : length >= 64 ? ~0ull : ~0ull << (64 - length);
  low &= length <= 64 ? 0 : ~0ull << (128 - length);
  return {high, low, length};
}

size_t GroupTable::home(const KeyV6& k) const {
  uint64_t h = (k.high ^ k.length) * 0x9e3779b97f4a7c15ull;
  h = (h ^ h >> 32 ^ k.low) * 0xd6e8feb86659fd93ull;
  return (h ^ h >> 32) & mask_;
}

GroupTable::GroupTable(const std::vector<std::pair<Prefix, uint32_t>>& prefixes)
    : mask_(std::bit_ceil(2 * prefixes.size() + 2) - 1), v4_(mask_ + 1), v6_(mask_ + 1) {
  for (const auto& [prefix, group] : prefixes) {
    const uint8_t* raw = prefix.address.raw.data();
    if (prefix.address.is_v4()) {
      const uint64_t key = key_v4(load32(raw), prefix.length);
      size_t at = home(key);
      while (v4_[at] != 0 && (v4_[at] & kKeyMask) != key) at = (at + 1) & mask_;
      v4_[at] = uint64_t(group) << 40 | key;
    } else {
      const KeyV6 key = key_v6(load64(raw), load64(raw + 8), prefix.length);
      size_t at = home(key);
      while (v6_[at].group != UINT32_MAX && v6_[at].key != key) at = (at + 1) & mask_;
      v6_[at] = {key, group};
    }
    auto& lengths = prefix.address.is_v4() ? lengths_v4_ : lengths_v6_;
    if (std::find(lengths.begin(), lengths.end(), prefix.length) == lengths.end()) lengths.push_back(prefix.length);
  }
  std::sort(lengths_v4_.rbegin(), lengths_v4_.rend());
  std::sort(lengths_v6_.rbegin(), lengths_v6_.rend());
}

uint32_t GroupTable::find_v6(const uint8_t* address) const {
  const uint64_t high = load64(address), low = load64(address + 8);
  for (uint8_t length : lengths_v6_) {
    const KeyV6 key = key_v6(high, low, length);
    for (size_t at = home(key); v6_[at].group != UINT32_MAX; at = (at + 1) & mask_) {
      if (v6_[at].key == key) return v6_[at].group;
    }
  }
  return UINT32_MAX;
}

}  // namespace statecast
