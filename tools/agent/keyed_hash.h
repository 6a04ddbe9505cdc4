// SPDX-License-Identifier: BSD-3-Clause
// RecentMap: a bounded map of what clients choose, which forgets what has not been put lately.
//
//   RecentMap<IpAddress, ProxyId> last_proxy(65'536, key);   last_proxy.put(client, p);
//
// Threads: one. Ownership: values.
#pragma once

#include <unordered_map>
#include <utility>

#include "dataplane/session/keyed_hash.h"

namespace statecast {

// Two generations of at most max/2 entries each: when the young one is full it becomes the old one, and what was old
// and not put since is forgotten. O(1), no clock.
template <class K, class V>
class RecentMap {
 public:
  RecentMap(size_t max, const KeyedHash::Key& key)
      : half_(max / 2), young_(16, KeyedHash(key)), old_(16, KeyedHash(key)) {}

  void put(const K& k, const V& v) {
    if (young_.size() >= half_ && !young_.contains(k)) {
      std::swap(young_, old_);
      young_.clear();
    }
    young_.insert_or_assign(k, v);
  }
  const V* find(const K& k) const {
    if (auto at = young_.find(k); at != young_.end()) return &at->second;
    if (auto at = old_.find(k); at != old_.end()) return &at->second;
    return nullptr;
  }
  size_t size() const { return young_.size() + old_.size(); }

 private:
  size_t half_;
  std::unordered_map<K, V, KeyedHash> young_, old_;
};

}  // namespace statecast
