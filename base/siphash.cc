// SPDX-License-Identifier: BSD-3-Clause
#include "base/siphash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/avx512.h"
#include "base/siphash_lanes.h"

namespace statecast {

namespace {

static_assert(std::endian::native == std::endian::little, "words are loaded as they lie in memory");

#define SC_INLINE [[gnu::always_inline]] inline

using internal::sip_last_word;
using internal::sip_load;

// n < 8 bytes, lowest first
SC_INLINE uint64_t load_short(const uint8_t* p, size_t n) {
  uint64_t v = 0;
  for (size_t i = 0; i < n; ++i) v |= uint64_t(p[i]) << (8 * i);
  return v;
}

SC_INLINE void sip_round(uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3) {
  v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
  v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
  v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
  v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
}

SC_INLINE void absorb(uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3, uint64_t word) {
  v3 ^= word;
  sip_round(v0, v1, v2, v3);
  sip_round(v0, v1, v2, v3);
  v0 ^= word;
}

SC_INLINE void finalize(uint64_t v0, uint64_t v1, uint64_t v2, uint64_t v3, uint8_t* out) {
  v2 ^= 0xee;
  for (int i = 0; i < 4; ++i) sip_round(v0, v1, v2, v3);
  uint64_t first = v0 ^ v1 ^ v2 ^ v3;
  v1 ^= 0xdd;
  for (int i = 0; i < 4; ++i) sip_round(v0, v1, v2, v3);
  uint64_t second = v0 ^ v1 ^ v2 ^ v3;
  std::memcpy(out, &first, 8);
  std::memcpy(out + 8, &second, 8);
}

void one_lane(const SipJob& j) {
  uint64_t k0 = sip_load(j.key), k1 = sip_load(j.key + 8);
  uint64_t v0 = k0 ^ kSipInit[0], v1 = k1 ^ kSipInit[1], v2 = k0 ^ kSipInit[2], v3 = k1 ^ kSipInit[3];
  const uint8_t* p = j.message;
  for (size_t words = j.length / 8; words; --words, p += 8) absorb(v0, v1, v2, v3, sip_load(p));
  absorb(v0, v1, v2, v3, sip_last_word(j.message, j.length));
  finalize(v0, v1, v2, v3, j.out);
}

#if defined(__x86_64__)
// `whole` takes multiples of kLanes; one or two that are left over are done sooner one by one, and more of them
// together with the last one repeated into the void.
template <size_t kLanes, class Whole>
void in_lanes(std::span<const SipJob> jobs, Whole whole) {
  const size_t left = jobs.size() % kLanes;
  if (jobs.size() > left) whole(jobs.data(), jobs.size() - left);
  const SipJob* rest = jobs.data() + (jobs.size() - left);
  if (left <= 2) {
    for (size_t i = 0; i < left; ++i) one_lane(rest[i]);
    return;
  }
  uint8_t nowhere[16];
  SipJob full[kLanes];
  for (size_t i = 0; i < kLanes; ++i) {
    full[i] = rest[i < left ? i : left - 1];
    if (i >= left) full[i].out = nowhere;
  }
  whole(full, kLanes);
}
#endif

SipLanes detect_lanes() {
#if defined(__x86_64__)
  if (avx512::available()) return SipLanes::eight;
  if (__builtin_cpu_supports("avx2")) return SipLanes::four;
#endif
  return SipLanes::one;
}

}  // namespace

SipTag siphash128(SipKey key, Bytes message) {
  SipTag out;
  one_lane({key.data(), message.data(), message.size(), out.data()});
  return out;
}

SipHasher128::SipHasher128(SipKey key) {
  uint64_t k0 = sip_load(key.data()), k1 = sip_load(key.data() + 8);
  v0_ = k0 ^ kSipInit[0], v1_ = k1 ^ kSipInit[1], v2_ = k0 ^ kSipInit[2], v3_ = k1 ^ kSipInit[3];
}

void SipHasher128::update(Bytes part) {
  const uint8_t* p = part.data();
  size_t n = part.size();
  size_t have = length_ & 7;
  length_ += n;
  if (have) {
    size_t take = n < 8 - have ? n : 8 - have;
    held_ |= load_short(p, take) << (8 * have);
    p += take, n -= take;
    if (have + take < 8) return;
    absorb(v0_, v1_, v2_, v3_, held_);
    held_ = 0;
  }
  for (; n >= 8; p += 8, n -= 8) absorb(v0_, v1_, v2_, v3_, sip_load(p));
  held_ = load_short(p, n);
}

void SipHasher128::finish(uint8_t out[16]) {
  absorb(v0_, v1_, v2_, v3_, length_ << 56 | held_);
  finalize(v0_, v1_, v2_, v3_, out);
}

SipTag SipHasher128::finish() {
  SipTag out;
  finish(out.data());
  return out;
}

SipLanes best_sip_lanes() {
  static const SipLanes best = detect_lanes();
  return best;
}

void siphash128_many(std::span<const SipJob> jobs, SipLanes lanes) {
#if defined(__x86_64__)
  if (lanes == SipLanes::eight) return in_lanes<8>(jobs, internal::siphash128_eight_lanes);
  if (lanes == SipLanes::four) return in_lanes<4>(jobs, internal::siphash128_four_lanes);
#endif
  for (const SipJob& j : jobs) one_lane(j);
}

void siphash128_many_of_16(const uint8_t* const keys[], const uint8_t* const messages[], size_t n, SipTag out[],
                           SipLanes lanes) {
#if defined(__x86_64__)
  if (lanes == SipLanes::eight) {
    const size_t left = n % 8, together = left <= 2 ? n - left : n;  // as above
    internal::siphash128_eight_lanes_of_16(keys, messages, together, out);
    for (size_t i = together; i < n; ++i) one_lane({keys[i], messages[i], 16, out[i].data()});
    return;
  }
#endif
  constexpr size_t kStep = 32;
  SipJob jobs[kStep];
  for (size_t done = 0; done < n; done += kStep) {
    const size_t step = std::min(kStep, n - done);
    for (size_t i = 0; i < step; ++i) jobs[i] = {keys[done + i], messages[done + i], 16, out[done + i].data()};
    siphash128_many({jobs, step}, lanes);
  }
}

void siphash128_many_of_16(const uint8_t* const keys[], const uint8_t* const messages[], size_t n, SipTag out[]) {
  siphash128_many_of_16(keys, messages, n, out, best_sip_lanes());
}

void siphash128_many(std::span<const SipJob> jobs) {
  siphash128_many(jobs, best_sip_lanes());
}

}  // namespace statecast
