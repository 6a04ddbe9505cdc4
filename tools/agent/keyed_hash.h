// SPDX-License-Identifier: BSD-3-Clause
// Hashing of what clients choose (session IDs, addresses) under a random key, so that nobody outside can make a table's
// chains long; and RecentMap, a bounded map that forgets what has not been put lately.
//
//   std::unordered_map<SessionId, Session, KeyedHash> sessions(16, KeyedHash(random_key));
//   RecentMap<IpAddress, ProxyId> last_proxy(65'536, key);   last_proxy.put(client, p);
//
// Threads: one. Ownership: values.
#pragma once

#include <sodium/crypto_shorthash.h>

#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/address.h"
#include "base/bytes.h"
#include "dataplane/session/session_id.h"

namespace statecast {

class KeyedHash {
 public:
  using Key = std::array<uint8_t, crypto_shorthash_KEYBYTES>;
  explicit KeyedHash(const Key& key) : key_(key) {}
  size_t operator()(const SessionId& id) const { return of(id.bytes()); }
  size_t operator()(const IpAddress& a) const { return of(a.bytes()); }

  size_t of(Bytes b) const {
    static_assert(crypto_shorthash_BYTES == sizeof(uint64_t));
    uint64_t h = 0;
    crypto_shorthash(reinterpret_cast<unsigned char*>(&h), b.data(), b.size(), key_.data());
    return h;
  }

 private:
  Key key_;
};

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
