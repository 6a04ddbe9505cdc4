// SPDX-License-Identifier: BSD-3-Clause
// Where the fields lie in the words of eight bytes of an untagged frame with a plain IPv4 header, low byte first:
//
//   1  MAC (4), ethertype (2), version and IHL, TOS       4  destination (2), ports (4), UDP length (2)
//   2  length (2), id (2), fragment (2), TTL, protocol     5  (6), TCP data offset, TCP flags
//   3  checksum (2), source (4), destination (2)
#include "dataplane/packet/parse_burst.h"

#include "dataplane/packet/parse_plain.h"

#if defined(__x86_64__)
#pragma GCC diagnostic push
#include "base/avx512.h"
#endif

namespace statecast {

namespace {

template <bool kFrames>
bool parse_one(Bytes bytes, ParsedPacket& out) {
  return kFrames ? parse_plain(bytes, out) : parse_plain_ip(bytes, out);
}

template <bool kFrames>
uint32_t parse_scalar(const uint8_t* const at[], const uint16_t lengths[], unsigned n, ParsedPacket parsed[]) {
  uint32_t plain = 0;
  for (unsigned i = 0; i < n; ++i) plain |= uint32_t(parse_one<kFrames>({at[i], lengths[i]}, parsed[i])) << i;
  return plain;
}

}  // namespace

#if defined(__x86_64__)
namespace {

using avx512::splat;

constexpr unsigned kLanes = 8;

// Bits [from, from + count) of each word.
template <unsigned from, unsigned count>
SC_AVX512 __m512i bits(__m512i v) {
  return _mm512_and_si512(_mm512_srli_epi64(v, from), splat((uint64_t(1) << count) - 1));
}
// 16-bit numbers in network order, as loaded.
SC_AVX512 __m512i host16(__m512i v) {
  return _mm512_or_si512(_mm512_slli_epi64(_mm512_and_si512(v, splat(0xff)), 8), _mm512_srli_epi64(v, 8));
}

// The words of eight frames, or of packets that start where a frame's IP header would: their bytes before that are
// zero.
template <bool kFrames>
SC_AVX512 void load_words(const uint8_t* const at[], const uint16_t lengths[], __m512i (&w)[kLanes]) {
  __m512i r[kLanes];
  for (unsigned i = 0; i < kLanes; ++i) {
    const unsigned length = lengths[i];
    const __mmask64 own = length >= 64 ? ~__mmask64(0) : (__mmask64(1) << length) - 1;
    r[i] = kFrames ? _mm512_maskz_loadu_epi8(own, at[i])
                   : _mm512_maskz_loadu_epi8(own << parsing::kEthernetSize, at[i] - parsing::kEthernetSize);
  }
  avx512::transpose(r, w);
}

// Eight frames or packets; a bit for each that is plain IPv4.
template <bool kFrames>
SC_AVX512 uint32_t parse_eight(const uint8_t* const at[], const uint16_t lengths[], ParsedPacket parsed[]) {
  using namespace parsing;
  __m512i w[kLanes];
  load_words<kFrames>(at, lengths, w);
  constexpr uint64_t kLayer2 = kFrames ? kEthernetSize : 0;
  const __m512i length = _mm512_cvtepu16_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lengths)));

  // What is said of the whole: untagged IPv4 without options or fragments, lengths that fit.
  constexpr uint64_t kTypes = kFrames ? 0x00ffffff00000000 : 0x00ff000000000000;
  __mmask8 good = _mm512_cmpeq_epi64_mask(_mm512_and_si512(w[1], splat(kTypes)), splat(0x0045000800000000 & kTypes));
  good = _mm512_mask_testn_epi64_mask(good, w[2], splat(0x0000ff3f00000000));
  const __m512i total = host16(bits<0, 16>(w[2]));
  const __m512i left = _mm512_sub_epi64(total, splat(kIp4Size));  // for layer 4; below zero it is no unsigned number
  good = _mm512_mask_cmp_epi64_mask(good, total, _mm512_sub_epi64(length, splat(kLayer2)), _MM_CMPINT_LE);
  good = _mm512_mask_cmp_epi64_mask(good, left, splat(kUdpSize), _MM_CMPINT_NLT);

  // Header checksum: the halves of all words of the header, folded.
  const __m512i low = splat(0xffffffff);
  __m512i sum = _mm512_add_epi64(_mm512_srli_epi64(w[1], 48), bits<0, 16>(w[4]));
  sum = _mm512_add_epi64(sum, _mm512_add_epi64(_mm512_and_si512(w[2], low), _mm512_srli_epi64(w[2], 32)));
  sum = _mm512_add_epi64(sum, _mm512_add_epi64(_mm512_and_si512(w[3], low), _mm512_srli_epi64(w[3], 32)));
  for (int i = 0; i < 3; ++i) sum = _mm512_add_epi64(bits<0, 16>(sum), _mm512_srli_epi64(sum, 16));
  good = _mm512_mask_cmpeq_epi64_mask(good, sum, splat(0xffff));

  const __m512i source = bits<16, 32>(w[3]), first = bits<16, 8>(w[3]);
  const __m512i destination = _mm512_or_si512(_mm512_srli_epi64(w[3], 48), _mm512_slli_epi64(bits<0, 16>(w[4]), 16));
  good = _mm512_mask_cmpneq_epi64_mask(good, source, destination);
  good = _mm512_mask_cmpneq_epi64_mask(good, first, splat(127));
  good = _mm512_mask_cmp_epu64_mask(good, _mm512_sub_epi64(first, splat(1)), splat(0xe0 - 1), _MM_CMPINT_LT);

  // Layer 4.
  const __m512i protocol = _mm512_srli_epi64(w[2], 56);
  const __mmask8 tcp = _mm512_mask_cmpeq_epi64_mask(good, protocol, splat(uint64_t(Protocol::tcp)));
  const __mmask8 udp = _mm512_mask_cmpeq_epi64_mask(good, protocol, splat(uint64_t(Protocol::udp)));
  const __m512i flags = _mm512_maskz_mov_epi64(tcp, _mm512_srli_epi64(w[5], 56));
  const __m512i header = _mm512_mask_mov_epi64(splat(kUdpSize), tcp, _mm512_slli_epi64(bits<52, 4>(w[5]), 2));
  const __m512i udp_length = host16(_mm512_srli_epi64(w[4], 48));
  __mmask8 tcp_good = _mm512_mask_cmp_epi64_mask(tcp, header, splat(kTcpSize), _MM_CMPINT_NLT);
  tcp_good = _mm512_mask_cmp_epi64_mask(tcp_good, header, left, _MM_CMPINT_LE);
  tcp_good = _mm512_mask_test_epi64_mask(
      tcp_good, _mm512_srlv_epi64(splat(good_flag_settings()), _mm512_and_si512(flags, splat(kTcpFlagsClassic))),
      splat(1));
  __mmask8 udp_good = _mm512_mask_cmp_epi64_mask(udp, udp_length, splat(kUdpSize), _MM_CMPINT_NLT);
  udp_good = _mm512_mask_cmp_epi64_mask(udp_good, udp_length, left, _MM_CMPINT_LE);
  good = tcp_good | udp_good;
  const __m512i source_port = host16(bits<16, 16>(w[4])), destination_port = host16(bits<32, 16>(w[4]));
  good = _mm512_mask_test_epi64_mask(good, source_port, source_port);
  good = _mm512_mask_test_epi64_mask(good, destination_port, destination_port);

  // The three words of a ParsedPacket (set_plain).
  alignas(64) uint64_t words[3][kLanes];
  constexpr uint64_t kL4At = kLayer2 + kIp4Size;
  const __m512i place = _mm512_slli_epi64(_mm512_add_epi64(header, splat(kL4At)), 48);
  _mm512_store_si512(words[0], _mm512_or_si512(place, splat(kL4At << 32 | kLayer2 << 16 | kEthertypeIp4)));
  __m512i second = _mm512_or_si512(_mm512_slli_epi64(flags, 48), _mm512_or_si512(total, splat(uint64_t(4) << 16)));
  second = _mm512_or_si512(second, _mm512_slli_epi64(protocol, 24));
  _mm512_store_si512(words[1], _mm512_or_si512(second, _mm512_slli_epi64(protocol, 32)));
  _mm512_store_si512(words[2],
                     _mm512_or_si512(_mm512_slli_epi64(destination_port, 32), _mm512_slli_epi64(source_port, 16)));
  for (unsigned i = 0; i < kLanes; ++i) {
    const uint64_t three[3] = {words[0][i], words[1][i], words[2][i]};
    std::memcpy(static_cast<void*>(&parsed[i]), three, sizeof three);
  }
  return good;
}

template <bool kFrames>
bool is_ip4(const uint8_t* bytes, size_t length) {
  const size_t at = kFrames ? parsing::kEthernetSize : 0;
  return length > at && bytes[at] == 0x45;
}

template <bool kFrames>
[[gnu::target(SC_AVX512_TARGET)]] uint32_t parse_avx512(const uint8_t* const at[], const uint16_t lengths[], unsigned n,
                                                        ParsedPacket parsed[]) {
  uint32_t plain = 0;
  unsigned done = 0;
  for (; done + kLanes <= n; done += kLanes) {
    // Traffic of one kind comes together: where the first and the last are no IPv4, the lanes would be for nothing.
    if (!is_ip4<kFrames>(at[done], lengths[done]) && !is_ip4<kFrames>(at[done + 7], lengths[done + 7])) continue;
    plain |= parse_eight<kFrames>(at + done, lengths + done, parsed + done) << done;
  }
  for (uint32_t others = ~plain & static_cast<uint32_t>((uint64_t(1) << n) - 1); others; others &= others - 1) {
    const auto i = static_cast<unsigned>(__builtin_ctz(others));
    plain |= uint32_t(parse_one<kFrames>({at[i], lengths[i]}, parsed[i])) << i;
  }
  return plain;
}

}  // namespace
#pragma GCC diagnostic pop
#endif

namespace {

template <bool kFrames>
uint32_t parse(const uint8_t* const at[], const uint16_t lengths[], unsigned n, ParsedPacket parsed[]) {
#if defined(__x86_64__)
  if (avx512::available()) return parse_avx512<kFrames>(at, lengths, n, parsed);
#endif
  return parse_scalar<kFrames>(at, lengths, n, parsed);
}

}  // namespace

uint32_t parse_plain_burst(const uint8_t* const frames[], const uint16_t lengths[], unsigned n, ParsedPacket parsed[]) {
  return parse<true>(frames, lengths, n, parsed);
}
uint32_t parse_plain_burst_scalar(const uint8_t* const frames[], const uint16_t lengths[], unsigned n,
                                  ParsedPacket parsed[]) {
  return parse_scalar<true>(frames, lengths, n, parsed);
}
uint32_t parse_plain_ip_burst(const uint8_t* const packets[], const uint16_t lengths[], unsigned n,
                              ParsedPacket parsed[]) {
  return parse<false>(packets, lengths, n, parsed);
}

}  // namespace statecast
