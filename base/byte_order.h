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

// A number of sizeof(T) bytes in network order at any address. As one load and a swap: compilers do not see that a loop
// over the bytes is one.
template <class T>
T load_big_endian(const void* at) {
  static_assert(std::endian::native == std::endian::little && std::is_unsigned_v<T>);
  T v;
  std::memcpy(&v, at, sizeof v);
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
  return v;
}

template <class T>
struct BigEndian {
  unsigned char raw[sizeof(T)];

  static constexpr BigEndian of(T v) {
    BigEndian b{};
    if (!std::is_constant_evaluated()) {
      const T swapped = load_big_endian<T>(&v);
      std::memcpy(b.raw, &swapped, sizeof swapped);
      return b;
    }
    for (size_t i = 0; i < sizeof(T); ++i) b.raw[i] = static_cast<unsigned char>(v >> (8 * (sizeof(T) - 1 - i)));
    return b;
  }
  constexpr T get() const {
    if (!std::is_constant_evaluated()) return load_big_endian<T>(raw);
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
