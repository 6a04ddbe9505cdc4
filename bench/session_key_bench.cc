// SPDX-License-Identifier: BSD-3-Clause
// Session keys of a burst of 32: SipHash-2-4-128 in one, four and eight lanes against libsodium, for IDs of IPv4 (16
// bytes) and IPv6 (40 bytes) tuples and for the 64 bytes that a tag covers of a packet. Beside them what tables of
// flows are hashed by elsewhere: CRC-32 by instruction and Toeplitz in software, both without a secret that would hold,
// and of 32 bits. items_per_second is keys.
#include <benchmark/benchmark.h>
#include <rte_hash_crc.h>
#include <rte_thash.h>
#include <sodium.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "base/siphash.h"

namespace statecast {
namespace {

constexpr size_t kBurst = 32;

struct Burst {
  explicit Burst(size_t length) {
    Rng rng(1);
    for (size_t i = 0; i < kBurst; ++i) {
      messages[i].resize(length);
      rng.fill(messages[i]);
      rng.fill(keys[i]);
      jobs[i] = {keys[i].data(), messages[i].data(), length, out[i].data()};
    }
  }
  std::array<std::vector<uint8_t>, kBurst> messages;
  std::array<SipTag, kBurst> keys, out;
  std::array<SipJob, kBurst> jobs;
};

void ours(benchmark::State& state, SipLanes lanes) {
  if (lanes > best_sip_lanes()) return state.SkipWithError("this machine lacks the lanes");
  Burst b(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    siphash128_many(b.jobs, lanes);
    benchmark::DoNotOptimize(b.out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBurst));
}

// 16 bytes, as session keys are made of most IDs.
void ours_of_16(benchmark::State& state, SipLanes lanes) {
  if (lanes > best_sip_lanes()) return state.SkipWithError("this machine lacks the lanes");
  Burst b(16);
  const uint8_t *keys[kBurst], *messages[kBurst];
  for (size_t i = 0; i < kBurst; ++i) keys[i] = b.keys[i].data(), messages[i] = b.messages[i].data();
  for (auto _ : state) {
    siphash128_many_of_16(keys, messages, kBurst, b.out.data(), lanes);
    benchmark::DoNotOptimize(b.out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBurst));
}

void libsodium(benchmark::State& state) {
  Burst b(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    for (const SipJob& j : b.jobs) crypto_shorthash_siphashx24(j.out, j.message, j.length, j.key);
    benchmark::DoNotOptimize(b.out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBurst));
}

void crc(benchmark::State& state) {
  Burst b(static_cast<size_t>(state.range(0)));
  uint32_t out[kBurst];
  for (auto _ : state) {
    for (size_t i = 0; i < kBurst; ++i) out[i] = rte_hash_crc(b.jobs[i].message, uint32_t(b.jobs[i].length), 0);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBurst));
}

void toeplitz(benchmark::State& state) {
  Burst b(static_cast<size_t>(state.range(0)));
  std::array<uint8_t, 72> key{}, converted{};  // four bytes more than the longest message
  Rng(2).fill(key);
  rte_convert_rss_key(reinterpret_cast<uint32_t*>(key.data()), reinterpret_cast<uint32_t*>(converted.data()),
                      int(key.size()));
  uint32_t out[kBurst];
  for (auto _ : state) {
    for (size_t i = 0; i < kBurst; ++i) {
      uint32_t words[16];
      std::memcpy(words, b.jobs[i].message, b.jobs[i].length);
      out[i] = rte_softrss_be(words, uint32_t(b.jobs[i].length / 4), converted.data());
    }
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBurst));
}

BENCHMARK_CAPTURE(ours, one_lane, SipLanes::one)->Arg(16)->Arg(40)->Arg(64);
BENCHMARK_CAPTURE(ours, four_lanes, SipLanes::four)->Arg(16)->Arg(40)->Arg(64);
BENCHMARK_CAPTURE(ours, eight_lanes, SipLanes::eight)->Arg(16)->Arg(40)->Arg(64);
BENCHMARK_CAPTURE(ours_of_16, eight_lanes, SipLanes::eight);
BENCHMARK(libsodium)->Arg(16)->Arg(40)->Arg(64);
BENCHMARK(crc)->Arg(16)->Arg(40)->Arg(64);
BENCHMARK(toeplitz)->Arg(16)->Arg(40)->Arg(64);

}  // namespace
}  // namespace statecast

BENCHMARK_MAIN();
