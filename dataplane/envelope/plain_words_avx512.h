// SPDX-License-Identifier: BSD-3-Clause
// Plain words: what the tags of plain envelopes cover, as words of eight envelopes side by side, and their hash.
// Private to the files with eight lanes of envelopes.
//
//   PlainWords<4> words;
//   for (int g = 0; g < 4; ++g) words.set(g, header_words, [&](int lane) { return payloads[8 * g + lane]; }, sizes);
//   words.hash(lanes);                      // SipVectors<4>, started with the keys, not yet finished
//
// Words 0 to 3 and the lower half of 4 are the header before the tag, then come zeros up to the payload's length in the
// upper half of 6, then the payload; the word in which it ends also says, in its highest byte, how long the message
// was.
//
// Threads: pure functions. Ownership: values.
#pragma once

#include "base/siphash_avx512.h"
#include "dataplane/envelope/data_tags.h"

#if defined(__x86_64__)
namespace statecast::internal {

// For G x 8 envelopes.
template <int G>
class PlainWords {
 public:
  static constexpr int kLanes = 8;
  static constexpr size_t kBefore = (kEnvelopeSizeMin + sizeof(uint32_t)) / 8;  // words before the payload
  static constexpr size_t kHeaderWords = 5;                                     // the last one only half

  // `header`: the upper half of the last word may be anything. `payload(lane)`: kTaggedInnerBytes readable. `sizes`: of
  // the eight payloads.
  template <class Payload>
  SC_AVX512 void set(int g, const __m512i (&header)[kHeaderWords], const Payload& payload, const uint16_t* sizes) {
    for (size_t w = 0; w < kHeaderWords; ++w) words_[w][g] = header[w];
    words_[kHeaderWords - 1][g] = _mm512_and_si512(header[kHeaderWords - 1], avx512::splat(0xffff'ffff));
    words_[kHeaderWords][g] = _mm512_setzero_si512();
    __m512i rows[kLanes], columns[kLanes];
    for (int l = 0; l < kLanes; ++l) rows[l] = _mm512_loadu_si512(payload(l));
    avx512::transpose(rows, columns);
    for (size_t w = 0; w < kLanes; ++w) words_[kBefore + w][g] = columns[w];
    words_[kWordsMax - 1][g] = _mm512_setzero_si512();

    const __m512i size = _mm512_cvtepu16_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sizes)));
    words_[kBefore - 1][g] =
        _mm512_or_si512(_mm512_slli_epi64(size, 56), _mm512_slli_epi64(_mm512_srli_epi64(size, 8), 48));
    const __m512i tagged = _mm512_min_epu64(size, avx512::splat(kTaggedInnerBytes));
    const __m512i bytes = _mm512_add_epi64(tagged, avx512::splat(kBefore * 8));
    at_[g] = _mm512_srli_epi64(bytes, 3);
    const __m512i odd_bits = _mm512_slli_epi64(_mm512_and_si512(bytes, avx512::splat(7)), 3);
    past_[g] = _mm512_sllv_epi64(avx512::splat(~uint64_t(0)), odd_bits);
    length_[g] = _mm512_slli_epi64(bytes, 56);
  }

  // Before hash(), which changes the word in which a payload ends.
  SC_AVX512 __m512i payload_word(int g, size_t w) const { return words_[kBefore + w][g]; }

  SC_AVX512 void hash(SipVectors<G>& s) {
    __m512i fewest = at_[0], most = at_[0];
    for (int g = 1; g < G; ++g) {
      fewest = _mm512_min_epu64(fewest, at_[g]);
      most = _mm512_max_epu64(most, at_[g]);
    }
    const size_t first_end = _mm512_reduce_min_epu64(fewest), last_end = _mm512_reduce_max_epu64(most);
    for (size_t w = first_end; w <= last_end; ++w) {
      for (int g = 0; g < G; ++g) {
        const __mmask8 ends_here = _mm512_cmpeq_epi64_mask(at_[g], avx512::splat(w));
        const __m512i end = _mm512_or_si512(_mm512_andnot_si512(past_[g], words_[w][g]), length_[g]);
        words_[w][g] = _mm512_mask_mov_epi64(words_[w][g], ends_here, end);
      }
    }
    size_t w = 0;
#pragma GCC unroll 1
    for (; w <= first_end; ++w) s.absorb([&](int g) SC_AVX512_LAMBDA { return words_[w][g]; });
#pragma GCC unroll 1
    for (; w <= last_end; ++w) {
      s.absorb_but([&](int g) SC_AVX512_LAMBDA { return words_[w][g]; },
                   [&](int g) SC_AVX512_LAMBDA { return _mm512_cmplt_epu64_mask(at_[g], avx512::splat(w)); });
    }
  }

 private:
  static constexpr size_t kWordsMax = kBefore + kTaggedInnerBytes / 8 + 1;  // the last one has no byte of the payload
  static_assert(kEnvelopeSizeMin % 8 == 4 && kTagAt == (kHeaderWords - 1) * 8 + 4 && kBefore == kHeaderWords + 2);

  __m512i words_[kWordsMax][G];
  __m512i at_[G];                // the word in which the message ends
  __m512i past_[G], length_[G];  // of that word: what is no longer the message's, and the message's length
};

}  // namespace statecast::internal
#endif
