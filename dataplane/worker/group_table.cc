// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/group_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

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
  return (h ^ h >> 32) & mask_v6_;
}

GroupTable::GroupTable(const std::vector<std::pair<Prefix, uint32_t>>& prefixes)
    : mask_v6_(std::bit_ceil(2 * prefixes.size() + 2) - 1), v6_(mask_v6_ + 1) {
  std::vector<EntryV4> entries_v4;
  for (const auto& [prefix, group] : prefixes) {
    const uint8_t* raw = prefix.address.raw.data();
    if (prefix.address.is_v4()) {
      const uint32_t mask = prefix.length == 0 ? 0 : ~uint32_t(0) << (32 - prefix.length);
      const LengthV4 length{mask, uint64_t(prefix.length + 1u) << 32};
      const uint64_t key = length.tag | (load32(raw) & mask);
      entries_v4.push_back(uint64_t(group) << 40 | key);
      auto same = [&](const LengthV4& l) { return l.tag == length.tag; };
      if (std::none_of(lengths_v4_.begin(), lengths_v4_.end(), same)) lengths_v4_.push_back(length);
    } else {
      const KeyV6 key = key_v6(load64(raw), load64(raw + 8), prefix.length);
      size_t at = home(key);
      while (v6_[at].group != UINT32_MAX && v6_[at].key != key) at = (at + 1) & mask_v6_;
      v6_[at] = {key, group};
      if (std::find(lengths_v6_.begin(), lengths_v6_.end(), prefix.length) == lengths_v6_.end())
        lengths_v6_.push_back(prefix.length);
    }
  }
  std::sort(lengths_v4_.begin(), lengths_v4_.end(), [](const LengthV4& a, const LengthV4& b) { return a.tag > b.tag; });
  std::sort(lengths_v6_.rbegin(), lengths_v6_.rend());
  fill_v4(entries_v4);
}

void GroupTable::fill_v4(const std::vector<EntryV4>& entries) {
  // Three fifths full at most, and about four keys to a bucket: then multipliers are found at once, as a rule.
  size_t places = std::bit_ceil(entries.size() * 5 / 3 + 2);
  do {
    v4_.assign(places, 0);
    shift_v4_ = 64 - unsigned(std::countr_zero(places));
    multipliers_.assign(std::max<size_t>(1, places / 4), 1);
    places *= 2;
  } while (!displace(entries));
}

// Largest buckets first, while there is most room. False if a bucket finds no multiplier.
bool GroupTable::displace(const std::vector<EntryV4>& entries) {
  constexpr uint32_t kTries = 1 << 16;
  std::vector<std::vector<EntryV4>> buckets(multipliers_.size());
  for (EntryV4 e : entries) {
    auto& in = buckets[bucket(hash(e & kKeyMask))];
    const auto same =
        std::find_if(in.begin(), in.end(), [&](EntryV4 other) { return (other & kKeyMask) == (e & kKeyMask); });
    same == in.end() ? in.push_back(e) : void(*same = e);  // the last one has the prefix
  }
  std::vector<size_t> order(buckets.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buckets[a].size() > buckets[b].size(); });
  for (size_t b : order) {
    const auto fits = [&](uint32_t multiplier) {
      size_t done = 0;
      for (; done < buckets[b].size(); ++done) {
        EntryV4& place_of = v4_[place(hash(buckets[b][done] & kKeyMask), multiplier)];
        if (place_of != 0) break;
        place_of = buckets[b][done];
      }
      if (done == buckets[b].size()) return true;
      while (done-- > 0) v4_[place(hash(buckets[b][done] & kKeyMask), multiplier)] = 0;
      return false;
    };
    uint32_t tries = 0;
    do multipliers_[b] = (tries * 0x9e3779b1u) | 1;
    while (!fits(multipliers_[b]) && ++tries < kTries);
    if (tries == kTries) return false;
  }
  return true;
}

uint32_t GroupTable::find_v6(const uint8_t* address) const {
  const uint64_t high = load64(address), low = load64(address + 8);
  for (uint8_t length : lengths_v6_) {
    const KeyV6 key = key_v6(high, low, length);
    for (size_t at = home(key); v6_[at].group != UINT32_MAX; at = (at + 1) & mask_v6_) {
      if (v6_[at].key == key) return v6_[at].group;
    }
  }
  return UINT32_MAX;
}

}  // namespace statecast
