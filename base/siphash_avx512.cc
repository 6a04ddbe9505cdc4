// SPDX-License-Identifier: BSD-3-Clause
// Eight lanes, four vectors of them side by side. Messages are read 64 bytes at a time, one row per lane, and
// transposed, so that one word of eight messages is a vector; the row in which a message ends is read under a mask,
// never beyond its end. (Building each vector from eight loads cost more than the rounds.)
#include "base/siphash_lanes.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "base/avx512.h"

namespace statecast::internal {

namespace {

using avx512::splat;
using avx512::transpose;

constexpr int kLanes = 8;
constexpr size_t kRow = 64, kWord = 8;

struct State {
  __m512i v0, v1, v2, v3;
};

template <int G, int kRounds>
SC_AVX512 void rounds(State (&s)[G]) {
  for (int r = 0; r < kRounds; ++r) {
    for (int g = 0; g < G; ++g) {
      s[g].v0 = _mm512_add_epi64(s[g].v0, s[g].v1);
      s[g].v2 = _mm512_add_epi64(s[g].v2, s[g].v3);
      s[g].v1 = _mm512_xor_si512(_mm512_rol_epi64(s[g].v1, 13), s[g].v0);
      s[g].v3 = _mm512_xor_si512(_mm512_rol_epi64(s[g].v3, 16), s[g].v2);
      s[g].v0 = _mm512_rol_epi64(s[g].v0, 32);
      s[g].v0 = _mm512_add_epi64(s[g].v0, s[g].v3);
      s[g].v2 = _mm512_add_epi64(s[g].v2, s[g].v1);
      s[g].v3 = _mm512_xor_si512(_mm512_rol_epi64(s[g].v3, 21), s[g].v0);
      s[g].v1 = _mm512_xor_si512(_mm512_rol_epi64(s[g].v1, 17), s[g].v2);
      s[g].v2 = _mm512_rol_epi64(s[g].v2, 32);
    }
  }
}

template <int G>
SC_AVX512 void absorb(State (&s)[G], const __m512i (&words)[G][kLanes], size_t w) {
  for (int g = 0; g < G; ++g) s[g].v3 = _mm512_xor_si512(s[g].v3, words[g][w]);
  rounds<G, 2>(s);
  for (int g = 0; g < G; ++g) s[g].v0 = _mm512_xor_si512(s[g].v0, words[g][w]);
}

// Words of the message, the one with its length and odd bytes included.
SC_AVX512 size_t words_of(const SipJob& j) {
  return j.length / kWord + 1;
}

// Bytes 64 x block and on of the padded message.
SC_AVX512 __m512i row(const SipJob& j, size_t block) {
  const size_t from = block * kRow, end = words_of(j) * kWord;
  if (from >= end) return _mm512_setzero_si512();
  const size_t left = j.length > from ? j.length - from : 0;
  const __mmask64 own = left >= kRow ? ~__mmask64(0) : (__mmask64(1) << left) - 1;
  __m512i r = _mm512_maskz_loadu_epi8(own, j.message + from);
  if (end - from > kRow) return r;
  return _mm512_mask_mov_epi8(r, __mmask64(1) << (end - from - 1), _mm512_set1_epi8(static_cast<char>(j.length)));
}

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

// REQUIRES: exactly G x 8 jobs.
template <int G>
SC_AVX512 void hash(const SipJob* jobs) {
  size_t fewest = ~size_t(0), most = 0;
  for (int i = 0; i < G * kLanes; ++i) {
    const size_t n = words_of(jobs[i]);
    fewest = n < fewest ? n : fewest;
    most = n > most ? n : most;
  }
  State s[G];
  for (int g = 0; g < G; ++g) {
    const SipJob* j = jobs + g * kLanes;
    const __m512i even = four_of_16([&](int i) { return j[2 * i].key; });
    const __m512i odd = four_of_16([&](int i) { return j[2 * i + 1].key; });
    const __m512i k0 = _mm512_unpacklo_epi64(even, odd), k1 = _mm512_unpackhi_epi64(even, odd);
    s[g].v0 = _mm512_xor_si512(k0, splat(kSipInit[0]));
    s[g].v1 = _mm512_xor_si512(k1, splat(kSipInit[1]));
    s[g].v2 = _mm512_xor_si512(k0, splat(kSipInit[2]));
    s[g].v3 = _mm512_xor_si512(k1, splat(kSipInit[3]));
  }
  for (size_t block = 0; block * kLanes < most; ++block) {
    __m512i words[G][kLanes];
    for (int g = 0; g < G; ++g) {
      __m512i r[kLanes];
      for (int l = 0; l < kLanes; ++l) r[l] = row(jobs[g * kLanes + l], block);
      transpose(r, words[g]);
    }
    const size_t first = block * kLanes, end = most - first < kLanes ? most - first : kLanes;
    for (size_t w = 0; w < end; ++w) {
      if (first + w < fewest) {
        absorb(s, words, w);
        continue;
      }
      // Lanes whose message has ended keep their state.
      State before[G];
      for (int g = 0; g < G; ++g) before[g] = s[g];
      absorb(s, words, w);
      for (int g = 0; g < G; ++g) {
        __mmask8 over = 0;
        for (int l = 0; l < kLanes; ++l) {
          over = static_cast<__mmask8>(over | (words_of(jobs[g * kLanes + l]) <= first + w) << l);
        }
        s[g].v0 = _mm512_mask_mov_epi64(s[g].v0, over, before[g].v0);
        s[g].v1 = _mm512_mask_mov_epi64(s[g].v1, over, before[g].v1);
        s[g].v2 = _mm512_mask_mov_epi64(s[g].v2, over, before[g].v2);
        s[g].v3 = _mm512_mask_mov_epi64(s[g].v3, over, before[g].v3);
      }
    }
  }
  for (int g = 0; g < G; ++g) s[g].v2 = _mm512_xor_si512(s[g].v2, splat(0xee));
  rounds<G, 4>(s);
  __m512i first[G];
  for (int g = 0; g < G; ++g) {
    first[g] = _mm512_xor_si512(_mm512_xor_si512(s[g].v0, s[g].v1), _mm512_xor_si512(s[g].v2, s[g].v3));
    s[g].v1 = _mm512_xor_si512(s[g].v1, splat(0xdd));
  }
  rounds<G, 4>(s);
  for (int g = 0; g < G; ++g) {
    const __m512i second = _mm512_xor_si512(_mm512_xor_si512(s[g].v0, s[g].v1), _mm512_xor_si512(s[g].v2, s[g].v3));
    const __m512i even = _mm512_unpacklo_epi64(first[g], second), odd = _mm512_unpackhi_epi64(first[g], second);
    const SipJob* j = jobs + g * kLanes;
    store_part<0>(j[0].out, even), store_part<0>(j[1].out, odd);
    store_part<1>(j[2].out, even), store_part<1>(j[3].out, odd);
    store_part<2>(j[4].out, even), store_part<2>(j[5].out, odd);
    store_part<3>(j[6].out, even), store_part<3>(j[7].out, odd);
  }
}

}  // namespace

[[gnu::target(SC_AVX512_TARGET)]] void siphash128_eight_lanes(const SipJob* jobs, size_t n) {
  for (; n >= 4 * kLanes; jobs += 4 * kLanes, n -= 4 * kLanes) hash<4>(jobs);
  for (; n >= kLanes; jobs += kLanes, n -= kLanes) hash<1>(jobs);
}

}  // namespace statecast::internal
#pragma GCC diagnostic pop
#endif
