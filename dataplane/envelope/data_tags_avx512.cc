// SPDX-License-Identifier: BSD-3-Clause
// A plain envelope as words of eight bytes: 0 to 3 and the lower half of 4 are the header before the tag, then zeros up
// to the payload's length in the upper half of 6, then the payload; the word in which it ends also says, in its highest
// byte, how long the message was.
#include "dataplane/envelope/data_tags.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "base/siphash_avx512.h"

namespace statecast::internal {

namespace {

constexpr int kLanes = 8;
constexpr size_t kBefore = (kEnvelopeSizeMin + sizeof(uint32_t)) / 8;  // words before the payload
constexpr size_t kWordsMax = kBefore + kTaggedInnerBytes / 8 + 1;      // the last one has no byte of the payload
constexpr size_t kHeaderWords = 5;                                     // the last one only half
static_assert(kEnvelopeSizeMin % 8 == 4 && kTagAt == (kHeaderWords - 1) * 8 + 4 && kBefore == kHeaderWords + 2);

// For G x 8 envelopes, of which the last ones may stand there twice.
template <int G>
SC_AVX512 void hash(const PlainTags& tags) {
  SipVectors<G> s;
  __m512i words[kWordsMax][G];
  __m512i at[G];               // the word in which the message ends
  __m512i past[G], length[G];  // of that word: what is no longer the message's, and the message's length
  __m512i fewest = avx512::splat(kWordsMax), most = _mm512_setzero_si512();
  for (int g = 0; g < G; ++g) {
    s.start(g, [&](int lane) { return tags.key[g * kLanes + lane]; });
    const uint8_t* const* header = tags.header + g * kLanes;
    __m512i rows[kLanes], columns[kLanes];
    for (int l = 0; l < kLanes; ++l) rows[l] = _mm512_loadu_si512(header[l]);
    avx512::transpose(rows, columns);
    for (size_t w = 0; w < kHeaderWords; ++w) words[w][g] = columns[w];
    words[kHeaderWords - 1][g] = _mm512_and_si512(columns[kHeaderWords - 1], avx512::splat(0xffff'ffff));
    words[kHeaderWords][g] = _mm512_setzero_si512();
    for (int l = 0; l < kLanes; ++l) rows[l] = _mm512_loadu_si512(header[l] + kEnvelopeSizeMin);
    avx512::transpose(rows, columns);
    for (size_t w = 0; w < kLanes; ++w) words[kBefore + w][g] = columns[w];
    words[kWordsMax - 1][g] = _mm512_setzero_si512();

    const auto* sizes = reinterpret_cast<const __m128i*>(tags.payload_size + g * kLanes);
    const __m512i size = _mm512_cvtepu16_epi64(_mm_loadu_si128(sizes));  // of the payload
    words[kBefore - 1][g] =
        _mm512_or_si512(_mm512_slli_epi64(size, 56), _mm512_slli_epi64(_mm512_srli_epi64(size, 8), 48));
    const __m512i tagged = _mm512_min_epu64(size, avx512::splat(kTaggedInnerBytes));
    const __m512i bytes = _mm512_add_epi64(tagged, avx512::splat(kBefore * 8));
    at[g] = _mm512_srli_epi64(bytes, 3);
    fewest = _mm512_min_epu64(fewest, at[g]);
    most = _mm512_max_epu64(most, at[g]);
    const __m512i odd_bits = _mm512_slli_epi64(_mm512_and_si512(bytes, avx512::splat(7)), 3);
    past[g] = _mm512_sllv_epi64(avx512::splat(~uint64_t(0)), odd_bits);
    length[g] = _mm512_slli_epi64(bytes, 56);
  }
  const size_t first_end = _mm512_reduce_min_epu64(fewest), last_end = _mm512_reduce_max_epu64(most);
  for (size_t w = first_end; w <= last_end; ++w) {
    for (int g = 0; g < G; ++g) {
      const __mmask8 ends_here = _mm512_cmpeq_epi64_mask(at[g], avx512::splat(w));
      const __m512i end = _mm512_or_si512(_mm512_andnot_si512(past[g], words[w][g]), length[g]);
      words[w][g] = _mm512_mask_mov_epi64(words[w][g], ends_here, end);
    }
  }
  size_t w = 0;
#pragma GCC unroll 1
  for (; w <= first_end; ++w) s.absorb([&](int g) SC_AVX512_LAMBDA { return words[w][g]; });
#pragma GCC unroll 1
  for (; w <= last_end; ++w) {
    s.absorb_but([&](int g) SC_AVX512_LAMBDA { return words[w][g]; },
                 [&](int g) SC_AVX512_LAMBDA { return _mm512_cmplt_epu64_mask(at[g], avx512::splat(w)); });
  }
  s.finish([&](int g, int lane) { return tags.out[g * kLanes + lane]; });
}

}  // namespace

[[gnu::target(SC_AVX512_TARGET)]] void plain_tags_in_eight_lanes(PlainTags& tags, size_t n) {
  if (n == 0) return;
  uint8_t nowhere[sizeof(SipTag)];
  const size_t vectors = (n + kLanes - 1) / kLanes;
  for (size_t i = n; i < vectors * kLanes; ++i) {
    tags.key[i] = tags.key[n - 1];
    tags.header[i] = tags.header[n - 1];
    tags.payload_size[i] = tags.payload_size[n - 1];
    tags.out[i] = nowhere;
  }
  switch (vectors) {
    case 1: return hash<1>(tags);
    case 2: return hash<2>(tags);
    case 3: return hash<3>(tags);
    default: return hash<4>(tags);
  }
}

}  // namespace statecast::internal
#pragma GCC diagnostic pop
#endif
