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
      const uint32_t mask = prefix.length == 0 ? 0 : ~uint32_t(0) << (32 - prefix.length);
      const LengthV4 length{mask, uint64_t(prefix.length + 1u) << 32};
      const uint64_t key = length.tag | (load32(raw) & mask);
      size_t at = home(key);
      while (v4_[at] != 0 && (v4_[at] & kKeyMask) != key) at = (at + 1) & mask_;
      v4_[at] = uint64_t(group) << 40 | key;
      auto same = [&](const LengthV4& l) { return l.tag == length.tag; };
      if (std::none_of(lengths_v4_.begin(), lengths_v4_.end(), same)) lengths_v4_.push_back(length);
    } else {
      const KeyV6 key = key_v6(load64(raw), load64(raw + 8), prefix.length);
      size_t at = home(key);
      while (v6_[at].group != UINT32_MAX && v6_[at].key != key) at = (at + 1) & mask_;
      v6_[at] = {key, group};
      if (std::find(lengths_v6_.begin(), lengths_v6_.end(), prefix.length) == lengths_v6_.end())
        lengths_v6_.push_back(prefix.length);
    }
  }
  std::sort(lengths_v4_.begin(), lengths_v4_.end(), [](const LengthV4& a, const LengthV4& b) { return a.tag > b.tag; });
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
