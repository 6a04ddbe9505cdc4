// SPDX-License-Identifier: BSD-3-Clause
// Session cache: what a look-up costs per packet, beside what its parts and the obvious rival cost.
//
//   session_cache_bench --sessions=10000 --sessions=1000000        (default)
//   session_cache_bench --sessions=10000000                        (needs about 3 GB)
//
// lookup      SessionCache::lookup, bursts of 32, spends bytes of bounded leases
// rte_hash    rte_hash_lookup_with_hash_bulk on the same keys, nothing read or written beside it
// map         std::unordered_map<SessionKey, record>, one find and one subtraction per packet
// "cold" goes over all sessions in random order, "hot" over 1,024 of them. insert: put() of new sessions.
// Fixed seed; without huge pages. `packet` and `insert` are the figures (CPU time).
//
// CPU ns per packet, burst 32, Xeon (Sapphire Rapids class) virtual machine of 2 cores that others were using, 4 KiB
// pages, 2026-11-25:
//              10k hot  10k cold  1M hot  1M cold
//   lookup          41        39      54       53
//   rte_hash        19        18      23       26
//   map             25        20      28       75      (no locks, no versions: what one thread alone could have)
//   insert                   128               193
#include <benchmark/benchmark.h>
#include <rte_eal.h>
#include <rte_hash.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/cache/session_cache.h"

namespace statecast {
namespace {

constexpr size_t kBurst = 32;
constexpr size_t kHot = 1024;
constexpr Instant kStart{1h};

enum class Reach : uint8_t { hot, cold };

std::vector<SessionKey> make_keys(size_t n) {
  std::mt19937_64 rng(1);
  std::vector<SessionKey> keys(n);
  for (SessionKey& k : keys) k = {rng(), rng()};
  return keys;
}
// Keys in the order in which packets bring them: a multiple of a burst.
std::vector<SessionKey> make_packets(const std::vector<SessionKey>& keys, Reach reach) {
  std::mt19937_64 rng(2);
  const size_t among = reach == Reach::hot ? std::min(kHot, keys.size()) : keys.size();
  std::vector<SessionKey> packets(std::min<size_t>(std::max<size_t>(keys.size(), kHot), 1 << 21) / kBurst * kBurst);
  for (SessionKey& p : packets) p = keys[rng() % among];
  return packets;
}
void report(benchmark::State& state, const char* of, double each) {
  state.counters[of] =
      benchmark::Counter(double(state.iterations()) * each, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

std::unique_ptr<SessionCache> make_cache(size_t sessions) {
  auto made = SessionCache::create({.sessions = uint32_t(sessions), .negative = 1024, .readers = 1, .zero = kStart});
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().message.c_str());
    std::exit(1);
  }
  return std::move(*made);
}
CacheEntry lease(uint64_t n) {
  return {.member = {uint32_t(1 + n % 100)},
          .group = {uint32_t(1 + n % 10)},
          .version = {1, 1, 1},
          .ends = kStart + 60s,
          .bytes = uint64_t(1) << 30};
}

void lookup(benchmark::State& state, size_t sessions, Reach reach) {
  const auto keys = make_keys(sessions);
  const auto packets = make_packets(keys, reach);
  auto cache = make_cache(sessions);
  for (size_t i = 0; i < sessions; ++i) cache->put(keys[i], lease(i), kStart);
  uint32_t bytes[kBurst];
  std::fill_n(bytes, kBurst, 100);
  CacheHit hits[kBurst];
  size_t at = 0;
  cache->register_reader(0);
  for (auto _ : state) {
    cache->lookup(&packets[at], bytes, kBurst, kStart + 1s, hits);
    cache->quiescent(0);
    benchmark::DoNotOptimize(hits);
    at = at + kBurst == packets.size() ? 0 : at + kBurst;
  }
  cache->unregister_reader(0);
  report(state, "packet", kBurst);
}

uint32_t low_bits(const void* key, uint32_t, uint32_t) {
  uint32_t h;
  std::memcpy(&h, static_cast<const char*>(key) + 8, sizeof h);
  return h;
}

void plain_rte_hash(benchmark::State& state, size_t sessions, Reach reach) {
  const auto keys = make_keys(sessions);
  const auto packets = make_packets(keys, reach);
  rte_hash_parameters p{};
  p.name = "rival";
  p.entries = uint32_t(sessions + 1024);
  p.key_len = sizeof(SessionKey);
  p.hash_func = low_bits;
  p.socket_id = SOCKET_ID_ANY;
  p.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  rte_hash* hash = rte_hash_create(&p);
  for (const SessionKey& k : keys) rte_hash_add_key(hash, &k);
  size_t at = 0;
  for (auto _ : state) {
    const void* key_at[kBurst];
    hash_sig_t bits[kBurst];
    int32_t slots[kBurst];
    for (size_t i = 0; i < kBurst; ++i) {
      key_at[i] = &packets[at + i];
      bits[i] = uint32_t(packets[at + i].low);
    }
    rte_hash_lookup_with_hash_bulk(hash, key_at, bits, kBurst, slots);
    benchmark::DoNotOptimize(slots);
    at = at + kBurst == packets.size() ? 0 : at + kBurst;
  }
  report(state, "packet", kBurst);
  rte_hash_free(hash);
}

void map(benchmark::State& state, size_t sessions, Reach reach) {
  struct Record {
    uint64_t left;
    Instant ends;
    MemberId member;
  };
  const auto keys = make_keys(sessions);
  const auto packets = make_packets(keys, reach);
  std::unordered_map<SessionKey, Record> table;
  table.reserve(sessions);
  for (const SessionKey& k : keys) table[k] = {uint64_t(1) << 40, kStart + 60s, {7}};
  size_t at = 0;
  for (auto _ : state) {
    MemberId to[kBurst];
    for (size_t i = 0; i < kBurst; ++i) {
      auto it = table.find(packets[at + i]);
      if (it->second.ends > kStart && it->second.left >= 100) {
        it->second.left -= 100;
        to[i] = it->second.member;
      }
    }
    benchmark::DoNotOptimize(to);
    at = at + kBurst == packets.size() ? 0 : at + kBurst;
  }
  report(state, "packet", kBurst);
}

void insert(benchmark::State& state, size_t sessions) {
  const auto keys = make_keys(sessions);
  for (auto _ : state) {
    state.PauseTiming();
    auto cache = make_cache(sessions);
    state.ResumeTiming();
    for (size_t i = 0; i < sessions; ++i) cache->put(keys[i], lease(i), kStart);
    state.PauseTiming();
    cache.reset();
    state.ResumeTiming();
  }
  report(state, "insert", double(sessions));
}

void add_benchmarks(size_t sessions) {
  const std::string n = "/" + std::to_string(sessions);
  for (Reach reach : {Reach::hot, Reach::cold}) {
    const std::string name = n + (reach == Reach::hot ? "/hot" : "/cold");
    benchmark::RegisterBenchmark(("lookup" + name).c_str(), lookup, sessions, reach);
    benchmark::RegisterBenchmark(("rte_hash" + name).c_str(), plain_rte_hash, sessions, reach);
    benchmark::RegisterBenchmark(("map" + name).c_str(), map, sessions, reach);
  }
  benchmark::RegisterBenchmark(("insert" + n).c_str(), insert, sessions);
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<size_t> sizes;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--sessions=", 11) == 0) sizes.push_back(std::strtoull(argv[i] + 11, nullptr, 10));
  }
  if (sizes.empty()) sizes = {10'000, 1'000'000};

  size_t largest = 0;
  for (size_t s : sizes) largest = std::max(largest, s);
  std::string memory = std::to_string(64 + largest * 160 / 1'000'000),
              prefix = "statecast-bench" + std::to_string(getpid());
  std::vector<std::string> words = {"bench", "--no-huge", "-m", memory,           "--no-pci",    "--file-prefix",
                                    prefix,  "--lcores",  "0",  "--no-telemetry", "--log-level", "error"};
  std::vector<char*> eal;
  for (std::string& w : words) eal.push_back(w.data());
  if (rte_eal_init(int(eal.size()), eal.data()) < 0) return 1;

  for (size_t s : sizes) statecast::add_benchmarks(s);
  benchmark::RunSpecifiedBenchmarks();
  rte_eal_cleanup();
}
