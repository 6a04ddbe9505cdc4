// SPDX-License-Identifier: BSD-3-Clause
// SipHash in vector lanes, one message in each. Private to siphash.cc, which chooses at run time what the machine has.
//
//   internal::siphash128_eight_lanes(jobs, n);   // n a multiple of 8
//
// Functions with vectors in them carry the target themselves, and so does every helper that is inlined into them: each
// instruction set is a file of its own.
// Threads: pure functions. Ownership: views of the caller's bytes.
#pragma once

#include <cstring>

#include "base/siphash.h"

namespace statecast::internal {

// REQUIRES: avx512::available(); n a multiple of 8.
void siphash128_eight_lanes(const SipJob* jobs, size_t n);
// Of 16 bytes each.
void siphash128_eight_lanes_of_16(const uint8_t* const keys[], const uint8_t* const messages[], size_t n, SipTag out[]);
// REQUIRES: AVX2; n a multiple of 4.
void siphash128_four_lanes(const SipJob* jobs, size_t n);

[[gnu::always_inline]] inline uint64_t sip_load(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// The length and the bytes that do not fill a word, lowest first.
[[gnu::always_inline]] inline uint64_t sip_last_word(const uint8_t* message, size_t length) {
  uint64_t v = uint64_t(length) << 56;
  const uint8_t* p = message + (length & ~size_t(7));
  for (size_t i = 0; i < (length & 7); ++i) v |= uint64_t(p[i]) << (8 * i);
  return v;
}

}  // namespace statecast::internal
