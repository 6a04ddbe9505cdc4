// SPDX-License-Identifier: BSD-3-Clause
// Eight lanes of SipHash-2-4-128 in AVX-512 registers, G vectors of them side by side, since one alone is bound by the
// latency of a round. What hashes messages of its own shape includes this; like avx512.h, only where functions carry
// the target themselves.
//
//   SipVectors<4> s;
//   for (int g = 0; g < 4; ++g) s.start(g, [&](int lane) { return keys[8 * g + lane]; });
//   s.absorb([&](int g) { return words[g]; });         // one word of each message
//   s.finish([&](int g, int lane) { return out[8 * g + lane]; });
//
// Threads: pure functions. Ownership: values.
#pragma once

#include "base/avx512.h"
#include "base/siphash.h"

#if defined(__x86_64__)
namespace statecast::internal {

// 16 bytes from each of four places.
template <class At>
SC_AVX512 __m512i four_of_16(const At& at) {
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at(0))));
  v = _mm512_inserti64x2(v, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(1))), 1);
  v = _mm512_inserti64x2(v, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(2))), 2);
  return _mm512_inserti64x2(v, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at(3))), 3);
}

template <int kPart>
SC_AVX512 void store_part(uint8_t* out, __m512i v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_extracti64x2_epi64(v, kPart));
}

template <int G>
struct SipVectors {
  __m512i v0[G], v1[G], v2[G], v3[G];

  // `key(lane)`: 16 bytes.
  template <class Key>
  SC_AVX512 void start(int g, const Key& key) {
    const __m512i even = four_of_16([&](int i) { return key(2 * i); });
    const __m512i odd = four_of_16([&](int i) { return key(2 * i + 1); });
    start(g, _mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
  }
  // The keys as words, one of each lane.
  SC_AVX512 void start(int g, __m512i k0, __m512i k1) {
    v0[g] = _mm512_xor_si512(k0, avx512::splat(kSipInit[0]));
    v1[g] = _mm512_xor_si512(k1, avx512::splat(kSipInit[1]));
    v2[g] = _mm512_xor_si512(k0, avx512::splat(kSipInit[2]));
    v3[g] = _mm512_xor_si512(k1, avx512::splat(kSipInit[3]));
  }

  template <int kRounds>
  SC_AVX512 void rounds() {
#pragma GCC unroll 1  // the first-level instruction cache is smaller than all of it in a row
    for (int r = 0; r < kRounds; ++r) {
      for (int g = 0; g < G; ++g) {
        v0[g] = _mm512_add_epi64(v0[g], v1[g]);
        v2[g] = _mm512_add_epi64(v2[g], v3[g]);
        v1[g] = _mm512_xor_si512(_mm512_rol_epi64(v1[g], 13), v0[g]);
        v3[g] = _mm512_xor_si512(_mm512_rol_epi64(v3[g], 16), v2[g]);
        v0[g] = _mm512_rol_epi64(v0[g], 32);
        v0[g] = _mm512_add_epi64(v0[g], v3[g]);
        v2[g] = _mm512_add_epi64(v2[g], v1[g]);
        v3[g] = _mm512_xor_si512(_mm512_rol_epi64(v3[g], 21), v0[g]);
        v1[g] = _mm512_xor_si512(_mm512_rol_epi64(v1[g], 17), v2[g]);
        v2[g] = _mm512_rol_epi64(v2[g], 32);
      }
    }
  }

  template <class Word>
  SC_AVX512 void absorb(const Word& word) {
    for (int g = 0; g < G; ++g) v3[g] = _mm512_xor_si512(v3[g], word(g));
    rounds<2>();
    for (int g = 0; g < G; ++g) v0[g] = _mm512_xor_si512(v0[g], word(g));
  }
  // Lanes of `over(g)` keep their state: their message has ended.
  template <class Word, class Over>
  SC_AVX512 void absorb_but(const Word& word, const Over& over) {
    const SipVectors before = *this;
    absorb(word);
    for (int g = 0; g < G; ++g) {
      v0[g] = _mm512_mask_mov_epi64(v0[g], over(g), before.v0[g]);
      v1[g] = _mm512_mask_mov_epi64(v1[g], over(g), before.v1[g]);
      v2[g] = _mm512_mask_mov_epi64(v2[g], over(g), before.v2[g]);
      v3[g] = _mm512_mask_mov_epi64(v3[g], over(g), before.v3[g]);
    }
  }

  // The results as words, one of each lane.
  SC_AVX512 void finish(__m512i (&first)[G], __m512i (&second)[G]) {
    for (int g = 0; g < G; ++g) v2[g] = _mm512_xor_si512(v2[g], avx512::splat(0xee));
    rounds<4>();
    for (int g = 0; g < G; ++g) {
      first[g] = sum(g);
      v1[g] = _mm512_xor_si512(v1[g], avx512::splat(0xdd));
    }
    rounds<4>();
    for (int g = 0; g < G; ++g) second[g] = sum(g);
  }
  // `out(g, lane)`: 16 bytes.
  template <class Out>
  SC_AVX512 void finish(const Out& out) {
    __m512i first[G], second[G];
    finish(first, second);
    for (int g = 0; g < G; ++g) {
      const __m512i even = _mm512_unpacklo_epi64(first[g], second[g]);
      const __m512i odd = _mm512_unpackhi_epi64(first[g], second[g]);
      store_part<0>(out(g, 0), even), store_part<0>(out(g, 1), odd);
      store_part<1>(out(g, 2), even), store_part<1>(out(g, 3), odd);
      store_part<2>(out(g, 4), even), store_part<2>(out(g, 5), odd);
      store_part<3>(out(g, 6), even), store_part<3>(out(g, 7), odd);
    }
  }

 private:
  SC_AVX512 __m512i sum(int g) const {
    return _mm512_xor_si512(_mm512_xor_si512(v0[g], v1[g]), _mm512_xor_si512(v2[g], v3[g]));
  }
};

}  // namespace statecast::internal
#endif
