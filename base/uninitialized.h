// SPDX-License-Identifier: BSD-3-Clause
// An array on the stack whose elements are not initialized, for bursts: of types with default values the compiler would
// write all of it first, for every burst.
//
//   Uninitialized<SessionKey, 32> keys;
//   keys.at[n++] = ...;              // write before you read
//
// Threads: value. Ownership: value.
#pragma once

#include <cstddef>
#include <type_traits>

namespace statecast {

template <class T, size_t kCount>
union Uninitialized {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  Uninitialized() {}
  T at[kCount];
};

}  // namespace statecast
