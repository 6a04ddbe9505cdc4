// SPDX-License-Identifier: BSD-3-Clause
// AVX-512: what the files with eight lanes share. Include it only where functions carry the target themselves.
//
//   SC_AVX512 __m512i f(...)                      // inlined into functions of the same target
//   avx512::transpose(rows, words);               // eight rows of 64 bytes -> word i of all eight
//
// Threads: pure functions. Ownership: values.
#pragma once

#if defined(__x86_64__)
// GCC 12 takes the undefined operands inside its own intrinsics for our mistake (GCC bug 105593): files that include
// this push the diagnostics state before and pop it at their end.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

#define SC_AVX512_TARGET "avx512f,avx512bw,avx512dq"
#define SC_AVX512 [[gnu::target(SC_AVX512_TARGET), gnu::always_inline]] inline
// Behind the parameters of a lambda that handles vectors.
#define SC_AVX512_LAMBDA __attribute__((target(SC_AVX512_TARGET), always_inline))

namespace statecast::avx512 {

// The machine has what SC_AVX512_TARGET names.
inline bool available() {
  static const bool has =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return has;
}

SC_AVX512 __m512i splat(uint64_t v) {
  return _mm512_set1_epi64(static_cast<int64_t>(v));
}

// row[lane] has eight words; word[i] gets word i of all eight rows.
SC_AVX512 void transpose(const __m512i (&row)[8], __m512i (&word)[8]) {
  __m512i even[4], odd[4];
  for (int i = 0; i < 4; ++i) {
    even[i] = _mm512_unpacklo_epi64(row[2 * i], row[2 * i + 1]);
    odd[i] = _mm512_unpackhi_epi64(row[2 * i], row[2 * i + 1]);
  }
  const __m512i e0 = _mm512_shuffle_i64x2(even[0], even[1], 0x44), e1 = _mm512_shuffle_i64x2(even[2], even[3], 0x44);
  const __m512i e2 = _mm512_shuffle_i64x2(even[0], even[1], 0xee), e3 = _mm512_shuffle_i64x2(even[2], even[3], 0xee);
  const __m512i o0 = _mm512_shuffle_i64x2(odd[0], odd[1], 0x44), o1 = _mm512_shuffle_i64x2(odd[2], odd[3], 0x44);
  const __m512i o2 = _mm512_shuffle_i64x2(odd[0], odd[1], 0xee), o3 = _mm512_shuffle_i64x2(odd[2], odd[3], 0xee);
  word[0] = _mm512_shuffle_i64x2(e0, e1, 0x88), word[2] = _mm512_shuffle_i64x2(e0, e1, 0xdd);
  word[4] = _mm512_shuffle_i64x2(e2, e3, 0x88), word[6] = _mm512_shuffle_i64x2(e2, e3, 0xdd);
  word[1] = _mm512_shuffle_i64x2(o0, o1, 0x88), word[3] = _mm512_shuffle_i64x2(o0, o1, 0xdd);
  word[5] = _mm512_shuffle_i64x2(o2, o3, 0x88), word[7] = _mm512_shuffle_i64x2(o2, o3, 0xdd);
}

}  // namespace statecast::avx512
#endif
