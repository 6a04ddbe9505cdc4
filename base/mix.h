// SPDX-License-Identifier: BSD-3-Clause
// mix64: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64 bits in which every input bit reaches
// every output bit. Where nobody chooses the input, or a secret is mixed in: it is no keyed hash.
//
//   table[mix64(key ^ seed) % size]
//
// Threads: pure function.
#pragma once

#include <cstdint>

namespace statecast {

constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace statecast
