// SPDX-License-Identifier: BSD-3-Clause
// SipHash-2-4 with a 128-bit result (Aumasson and Bernstein; libsodium calls it siphashx24): the hash behind session
// keys, envelope tags and key derivation. One message at a time, or many at once in vector lanes.
//
//   SipTag tag = siphash128(key, bytes);
//   SipHasher128 h(key);  h.update(header);  h.update(payload);  SipTag same = h.finish();
//   siphash128_many(jobs);                     // each job: its own key, length and place for the result
//
// A message alone is bound by latency (14 dependent steps per round), so the lanes run several vectors side by side.
// Per message of 16 bytes, bulks of 32, in ns, one core of a Zen 5 class machine, November 2026
// (bench/session_key_bench): eight lanes 2.2, four lanes 7.8, one 15, libsodium 15. The instruction set is chosen at
// run time.
//
// Threads: pure functions; a SipHasher128 belongs to one thread. Ownership: views of the caller's bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace statecast {

using SipKey = std::span<const uint8_t, 16>;  // a std::array<uint8_t, 16> converts
using SipTag = std::array<uint8_t, 16>;

SipTag siphash128(SipKey key, Bytes message);

// The same over a message that comes in parts: any division of the bytes gives the same result.
class SipHasher128 {
 public:
  explicit SipHasher128(SipKey key);
  void update(Bytes part);
  SipTag finish();  // once, at the end
  void finish(uint8_t out[16]);

 private:
  uint64_t v0_, v1_, v2_, v3_;
  uint64_t held_ = 0;  // the bytes that do not fill a word yet, lowest first
  uint64_t length_ = 0;
};

// One message of a bulk. `out` may lie anywhere but inside a message or key of the same bulk.
struct SipJob {
  const uint8_t* key;  // 16 bytes
  const uint8_t* message;
  size_t length;
  uint8_t* out;  // 16 bytes
};
void siphash128_many(std::span<const SipJob> jobs);

// Messages of 16 bytes, as the IDs of most sessions are; out[i] must not lie inside a message or key.
void siphash128_many_of_16(const uint8_t* const keys[], const uint8_t* const messages[], size_t n, SipTag out[]);

// What the state starts from, before the key; 0xee: 128-bit result.
inline constexpr uint64_t kSipInit[4] = {0x736f6d6570736575, 0x646f72616e646f6d ^ 0xee, 0x6c7967656e657261,
                                         0x7465646279746573};

// The same with the lanes named, for tests and benchmarks. REQUIRES: lanes <= best_sip_lanes().
enum class SipLanes { one = 1, four = 4, eight = 8 };
SipLanes best_sip_lanes();
void siphash128_many(std::span<const SipJob> jobs, SipLanes lanes);
void siphash128_many_of_16(const uint8_t* const keys[], const uint8_t* const messages[], size_t n, SipTag out[],
                           SipLanes lanes);

}  // namespace statecast
