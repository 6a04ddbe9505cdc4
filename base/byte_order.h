// SPDX-License-Identifier: BSD-3-Clause
// Big-endian integers as types, for structs that lie over packet bytes. Alignment 1, trivially copyable;
// conversion is always spelled out, because an implicit one hides which side of the wire a number is on.
//
//   struct UdpHeader { Be16 source, destination, length, checksum; };
//   uint16_t n = header.length.get();   header.length = Be16::of(n);
//
// Threads: values. Ownership: none.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace statecast {

template <class T>
struct BigEndian {
  unsigned char raw[sizeof(T)];

  static constexpr BigEndian of(T v) {
    BigEndian b{};
    for (size_t i = 0; i < sizeof(T); ++i) b.raw[i] = static_cast<unsigned char>(v >> (8 * (sizeof(T) - 1 - i)));
    return b;
  }
  constexpr T get() const {
    T v = 0;
    for (unsigned char c : raw) v = static_cast<T>(v << 8 | c);
    return v;
  }
  constexpr bool operator==(const BigEndian&) const = default;
};

using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
using Be64 = BigEndian<uint64_t>;
static_assert(sizeof(Be16) == 2 && alignof(Be64) == 1 && std::is_trivially_copyable_v<Be32>);

}  // namespace statecast
