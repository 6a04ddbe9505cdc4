// SPDX-License-Identifier: BSD-3-Clause
// Hashing of what clients choose (session IDs, addresses) under a random key, so that nobody outside can make a table's
// chains long.
//
//   std::unordered_map<SessionId, Session, KeyedHash> sessions(16, KeyedHash(random_key));
//
// Threads: any. Ownership: a value.
#pragma once

#include <sodium/crypto_shorthash.h>

#include <array>
#include <cstdint>

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

}  // namespace statecast
