// SPDX-License-Identifier: BSD-3-Clause
// Four lanes of GCC's vector extensions, two vectors of them side by side. Lanes of different lengths run together:
// while all have words the round is plain, afterwards a lane that has ended keeps its state by a mask, and all finish
// at once.
#include "base/siphash_lanes.h"

#if defined(__x86_64__)

namespace statecast::internal {

namespace {

#define SC_TARGET [[gnu::target("avx2"), gnu::always_inline]] inline

constexpr int kLanes = 4, kVectors = 2;

using Vector = uint64_t __attribute__((vector_size(8 * kLanes)));

// Vectors are handed by reference: by value they would need an ABI of their own.
SC_TARGET void vector_rotate(Vector& v, int by) {
  v = (v << by) | (v >> (64 - by));
}

SC_TARGET void vector_round(Vector& v0, Vector& v1, Vector& v2, Vector& v3) {
  v0 += v1, vector_rotate(v1, 13), v1 ^= v0, vector_rotate(v0, 32);
  v2 += v3, vector_rotate(v3, 16), v3 ^= v2;
  v0 += v3, vector_rotate(v3, 21), v3 ^= v0;
  v2 += v1, vector_rotate(v1, 17), v1 ^= v2, vector_rotate(v2, 32);
}

// v = lane(0), lane(1), ...
template <class F>
SC_TARGET void vector_fill(Vector& v, const F& lane) {
  v = Vector{lane(0), lane(1), lane(2), lane(3)};
}

// The state of G vectors.
template <int G>
struct State {
  Vector v0[G], v1[G], v2[G], v3[G];
};

template <int G, int kRounds>
SC_TARGET void state_rounds(State<G>& s) {
  for (int r = 0; r < kRounds; ++r)
    for (int g = 0; g < G; ++g) vector_round(s.v0[g], s.v1[g], s.v2[g], s.v3[g]);
}

template <int G>
SC_TARGET void state_absorb(State<G>& s, const Vector (&words)[G]) {
  for (int g = 0; g < G; ++g) s.v3[g] ^= words[g];
  state_rounds<G, 2>(s);
  for (int g = 0; g < G; ++g) s.v0[g] ^= words[g];
}

// REQUIRES: exactly G x kLanes jobs.
template <int G>
SC_TARGET void hash_step(const SipJob* jobs) {
  State<G> s;
  Vector words[G];
  size_t fewest = ~size_t(0), most = 0;  // whole words; each message has one more, with its length and odd bytes
  uint64_t last[G * kLanes];
  for (int i = 0; i < G * kLanes; ++i) {
    size_t n = jobs[i].length / 8;
    fewest = n < fewest ? n : fewest;
    most = n > most ? n : most;
    last[i] = sip_last_word(jobs[i].message, jobs[i].length);
  }
  for (int g = 0; g < G; ++g) {
    const SipJob* j = jobs + g * kLanes;
    Vector k0, k1;
    vector_fill(k0, [&](int l) { return sip_load(j[l].key); });
    vector_fill(k1, [&](int l) { return sip_load(j[l].key + 8); });
    s.v0[g] = k0 ^ kSipInit[0], s.v1[g] = k1 ^ kSipInit[1], s.v2[g] = k0 ^ kSipInit[2], s.v3[g] = k1 ^ kSipInit[3];
  }
  for (size_t w = 0; w < fewest; ++w) {
    for (int g = 0; g < G; ++g) {
      const SipJob* j = jobs + g * kLanes;
      vector_fill(words[g], [&](int l) { return sip_load(j[l].message + 8 * w); });
    }
    state_absorb<G>(s, words);
  }
  if (fewest == most) {
    for (int g = 0; g < G; ++g) vector_fill(words[g], [&](int l) { return last[g * kLanes + l]; });
    state_absorb<G>(s, words);
  } else {
    for (size_t w = fewest; w <= most; ++w) {
      State<G> before = s;
      for (int g = 0; g < G; ++g) {
        const SipJob* j = jobs + g * kLanes;
        vector_fill(words[g],
                    [&](int l) { return w < j[l].length / 8 ? sip_load(j[l].message + 8 * w) : last[g * kLanes + l]; });
      }
      state_absorb<G>(s, words);
      for (int g = 0; g < G; ++g) {
        const SipJob* j = jobs + g * kLanes;
        Vector live;
        vector_fill(live, [&](int l) { return w <= j[l].length / 8 ? ~uint64_t(0) : uint64_t(0); });
        s.v0[g] = (s.v0[g] & live) | (before.v0[g] & ~live);
        s.v1[g] = (s.v1[g] & live) | (before.v1[g] & ~live);
        s.v2[g] = (s.v2[g] & live) | (before.v2[g] & ~live);
        s.v3[g] = (s.v3[g] & live) | (before.v3[g] & ~live);
      }
    }
  }
  for (int g = 0; g < G; ++g) s.v2[g] ^= 0xee;
  state_rounds<G, 4>(s);
  for (int g = 0; g < G; ++g) {
    words[g] = s.v0[g] ^ s.v1[g] ^ s.v2[g] ^ s.v3[g];
    s.v1[g] ^= 0xdd;
  }
  state_rounds<G, 4>(s);
  for (int g = 0; g < G; ++g) {
    Vector second = s.v0[g] ^ s.v1[g] ^ s.v2[g] ^ s.v3[g];
    for (int l = 0; l < kLanes; ++l) {
      uint64_t out[2] = {words[g][l], second[l]};
      std::memcpy(jobs[g * kLanes + l].out, out, 16);
    }
  }
}

}  // namespace

[[gnu::target("avx2")]] void siphash128_four_lanes(const SipJob* jobs, size_t n) {
  constexpr size_t kStep = size_t(kLanes) * kVectors;
  for (; n >= kStep; jobs += kStep, n -= kStep) hash_step<kVectors>(jobs);
  for (; n >= kLanes; jobs += kLanes, n -= kLanes) hash_step<1>(jobs);
}

}  // namespace statecast::internal
#endif
