// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/data_tags.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "dataplane/envelope/plain_words_avx512.h"

namespace statecast::internal {

namespace {

constexpr int kLanes = 8;

// For G x 8 envelopes, of which the last ones may stand there twice.
template <int G>
SC_AVX512 void hash(const PlainTags& tags) {
  SipVectors<G> s;
  PlainWords<G> words;
  for (int g = 0; g < G; ++g) {
    s.start(g, [&](int lane) { return tags.key[g * kLanes + lane]; });
    const uint8_t* const* header = tags.header + g * kLanes;
    __m512i rows[kLanes], columns[kLanes];
    for (int l = 0; l < kLanes; ++l) rows[l] = _mm512_loadu_si512(header[l]);
    avx512::transpose(rows, columns);
    const __m512i before_tag[] = {columns[0], columns[1], columns[2], columns[3], columns[4]};
    words.set(
        g, before_tag, [&](int lane) { return header[lane] + kEnvelopeSizeMin; }, tags.payload_size + g * kLanes);
  }
  words.hash(s);
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
