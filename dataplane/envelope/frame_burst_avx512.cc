// SPDX-License-Identifier: BSD-3-Clause
// A frame's head is written as two rows of 64 bytes: the outer headers, and over the end of that row the envelope's
// header with the payload's first twelve bytes, which stay what they were.
#include "dataplane/envelope/frame_burst.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "dataplane/envelope/plain_words_avx512.h"

namespace statecast::internal {

namespace {

constexpr int kLanes = 8;
static_assert(OuterTemplateV4::kReadable == 64 && kOuterSizeV4 <= 64);
static_assert(sizeof(OuterTemplateV4::Receiver) == 16 && offsetof(OuterTemplateV4::Receiver, address_and_port) == 6);
static_assert(kEnvelopeSizeMin == 52 && kTagAt == 36);

// Outer headers as words of two bytes: which come from the template (0 to 31), which from receiver (32 to 39) and
// lengths (40 to 42).
alignas(64) constexpr uint16_t kOuterWords[32] = {32, 33, 34, 3,  4,  5,  6,  7,  40, 9,  10, 11, 41, 13, 14, 35,
                                                  36, 17, 37, 42, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

SC_AVX512 __m512i as_on_wire(uint64_t word) {
  return avx512::splat(__builtin_bswap64(word));
}
// The words that begin in the middle of one and end in the middle of the next.
SC_AVX512 __m512i halves(__m512i before, __m512i behind) {
  return _mm512_or_si512(_mm512_srli_epi64(before, 32), _mm512_slli_epi64(behind, 32));
}

// For G x 8 frames, of which the last ones may stand there twice.
template <int G>
SC_AVX512 void write(const HeaderWords& common, const Frames& f) {
  const __m512i sender = as_on_wire(common.sender), stamp_high = as_on_wire(common.stamp_high);
  const __m512i stamp_low = as_on_wire(common.stamp_low);
  SipVectors<G> s;
  PlainWords<G> words;
  __m512i header[G][5], payload[G][2];  // the upper half of the header's last word is zero
  for (int g = 0; g < G; ++g) {
    const int first = g * kLanes;
    const __m512i low = _mm512_loadu_si512(f.key + first), high = _mm512_loadu_si512(f.key + first + kLanes / 2);
    s.start(g, _mm512_permutex2var_epi64(low, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), high),
            _mm512_permutex2var_epi64(low, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), high));
    const __m512i sequence = _mm512_loadu_si512(f.sequence + first);
    const __m512i epoch = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(f.epoch + first)));
    header[g][0] = _mm512_loadu_si512(f.geneve + first);
    header[g][1] = sender;
    header[g][2] = _mm512_or_si512(stamp_high, _mm512_slli_epi64(epoch, 40));
    header[g][3] = _mm512_or_si512(stamp_low, _mm512_slli_epi64(sequence, 32));
    header[g][4] = _mm512_srli_epi64(sequence, 32);
    words.set(
        g, header[g], [&](int lane) { return f.payload[first + lane]; }, f.payload_size + first);
    for (size_t w = 0; w < 2; ++w) payload[g][w] = words.payload_word(g, w);
  }
  words.hash(s);
  __m512i tag[2][G];
  s.finish(tag[0], tag[1]);

  const __m512i outer_words = _mm512_load_si512(kOuterWords);
  for (int g = 0; g < G; ++g) {
    const __m512i columns[kLanes] = {header[g][0],
                                     header[g][1],
                                     header[g][2],
                                     header[g][3],
                                     _mm512_or_si512(header[g][4], _mm512_slli_epi64(tag[0][g], 32)),
                                     halves(tag[0][g], tag[1][g]),
                                     halves(tag[1][g], payload[g][0]),
                                     halves(payload[g][0], payload[g][1])};
    __m512i rows[kLanes];
    avx512::transpose(columns, rows);
    for (int l = 0; l < kLanes; ++l) {
      const int i = g * kLanes + l;
      uint8_t* at = f.payload[i] - kEnvelopeSizeMin;
      const __m128i receiver = _mm_loadu_si128(reinterpret_cast<const __m128i*>(f.to[i]));
      const __m128i lengths = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(f.lengths + i));
      const __m512i own = _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(receiver), lengths, 1));
      const __m512i outer = _mm512_load_si512(f.outer[i]->bytes());
      _mm512_storeu_si512(at - kOuterSizeV4, _mm512_permutex2var_epi16(outer, outer_words, own));
      _mm512_storeu_si512(at, rows[l]);
    }
  }
}

}  // namespace

[[gnu::target(SC_AVX512_TARGET)]] void frames_in_eight_lanes(const HeaderWords& words, Frames& f, size_t n) {
  if (n == 0) return;
  const size_t vectors = (n + kLanes - 1) / kLanes;
  for (size_t i = n; i < vectors * kLanes; ++i) {
    f.key[i] = f.key[n - 1];
    f.geneve[i] = f.geneve[n - 1];
    f.sequence[i] = f.sequence[n - 1];
    f.lengths[i] = f.lengths[n - 1];
    f.outer[i] = f.outer[n - 1];
    f.to[i] = f.to[n - 1];
    f.payload[i] = f.payload[n - 1];
    f.payload_size[i] = f.payload_size[n - 1];
    f.epoch[i] = f.epoch[n - 1];
  }
  switch (vectors) {
    case 1: return write<1>(words, f);
    case 2: return write<2>(words, f);
    case 3: return write<3>(words, f);
    default: return write<4>(words, f);
  }
}

}  // namespace statecast::internal
#pragma GCC diagnostic pop
#endif
