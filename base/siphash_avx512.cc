// SPDX-License-Identifier: BSD-3-Clause
// Messages of any length in eight lanes, four vectors of them side by side. They are read 64 bytes at a time, one row
// per lane, and transposed, so that one word of eight messages is a vector; the row in which a message ends is read
// under a mask, never beyond its end. (Building each vector from eight loads cost more than the rounds.)
#include "base/siphash_lanes.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "base/siphash_avx512.h"

namespace statecast::internal {

namespace {

using avx512::transpose;

constexpr int kLanes = 8;
constexpr size_t kRow = 64, kWord = 8;

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

// Messages of 16 bytes: two words and the one with the length. REQUIRES: exactly G x 8.
template <int G>
SC_AVX512 void hash_of_16(const uint8_t* const keys[], const uint8_t* const messages[], SipTag out[]) {
  SipVectors<G> s;
  __m512i words[G][2];
  for (int g = 0; g < G; ++g) {
    const int first = g * kLanes;
    s.start(g, [&](int lane) { return keys[first + lane]; });
    const __m512i even = four_of_16([&](int i) { return messages[first + 2 * i]; });
    const __m512i odd = four_of_16([&](int i) { return messages[first + 2 * i + 1]; });
    words[g][0] = _mm512_unpacklo_epi64(even, odd);
    words[g][1] = _mm512_unpackhi_epi64(even, odd);
  }
  s.absorb([&](int g) SC_AVX512_LAMBDA { return words[g][0]; });
  s.absorb([&](int g) SC_AVX512_LAMBDA { return words[g][1]; });
  s.absorb([&](int) SC_AVX512_LAMBDA { return avx512::splat(uint64_t(16) << 56); });
  __m512i high[G], low[G];
  s.finish(high, low);
  for (int g = 0; g < G; ++g) {
    SipTag* at = out + g * kLanes;
    const __m512i half = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    const __m512i rest = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    _mm512_storeu_si512(at, _mm512_permutex2var_epi64(high[g], half, low[g]));
    _mm512_storeu_si512(at + kLanes / 2, _mm512_permutex2var_epi64(high[g], rest, low[g]));
  }
}

// REQUIRES: exactly G x 8 jobs.
template <int G>
SC_AVX512 void hash(const SipJob* jobs) {
  size_t shortest = ~size_t(0), longest = 0;
  for (int i = 0; i < G * kLanes; ++i) {
    const size_t n = jobs[i].length;
    shortest = n < shortest ? n : shortest;
    longest = n > longest ? n : longest;
  }
  const size_t fewest = shortest / kWord + 1, most = longest / kWord + 1;
  SipVectors<G> s;
  for (int g = 0; g < G; ++g) s.start(g, [&](int lane) { return jobs[g * kLanes + lane].key; });
  for (size_t block = 0; block * kLanes < most; ++block) {
    __m512i words[G][kLanes];
    for (int g = 0; g < G; ++g) {
      __m512i r[kLanes];
      for (int l = 0; l < kLanes; ++l) r[l] = row(jobs[g * kLanes + l], block);
      transpose(r, words[g]);
    }
    const size_t first = block * kLanes, end = most - first < kLanes ? most - first : kLanes;
    for (size_t w = 0; w < end; ++w) {
      auto word = [&](int g) SC_AVX512_LAMBDA { return words[g][w]; };
      if (first + w < fewest) {
        s.absorb(word);
        continue;
      }
      s.absorb_but(word, [&](int g) SC_AVX512_LAMBDA {
        __mmask8 over = 0;
        for (int l = 0; l < kLanes; ++l) {
          over = static_cast<__mmask8>(over | (words_of(jobs[g * kLanes + l]) <= first + w) << l);
        }
        return over;
      });
    }
  }
  s.finish([&](int g, int lane) { return jobs[g * kLanes + lane].out; });
}

}  // namespace

[[gnu::target(SC_AVX512_TARGET)]] void siphash128_eight_lanes(const SipJob* jobs, size_t n) {
  for (; n >= 4 * kLanes; jobs += 4 * kLanes, n -= 4 * kLanes) hash<4>(jobs);
  for (; n >= kLanes; jobs += kLanes, n -= kLanes) hash<1>(jobs);
}

[[gnu::target(SC_AVX512_TARGET)]] void siphash128_eight_lanes_of_16(const uint8_t* const keys[],
                                                                    const uint8_t* const messages[], size_t n,
                                                                    SipTag out[]) {
  for (; n >= 4 * kLanes; keys += 4 * kLanes, messages += 4 * kLanes, out += 4 * kLanes, n -= 4 * kLanes)
    hash_of_16<4>(keys, messages, out);
  for (; n >= kLanes; keys += kLanes, messages += kLanes, out += kLanes, n -= kLanes)
    hash_of_16<1>(keys, messages, out);
  if (n == 0) return;
  const uint8_t *key[kLanes], *message[kLanes];
  SipTag tags[kLanes];
  for (size_t i = 0; i < kLanes; ++i) {
    key[i] = keys[i < n ? i : 0];
    message[i] = messages[i < n ? i : 0];
  }
  hash_of_16<1>(key, message, tags);
  for (size_t i = 0; i < n; ++i) out[i] = tags[i];
}

}  // namespace statecast::internal
#pragma GCC diagnostic pop
#endif
