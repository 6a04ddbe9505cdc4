// SPDX-License-Identifier: BSD-3-Clause
// Session cache: what a look-up costs per packet, beside what its parts and the obvious rival cost.
//
//   session_cache_bench                                            10 thousand and 1 million sessions
//   session_cache_bench --sessions=10000000                        (3 GB with rte_hash and the map)
//   session_cache_bench --sessions=100000000 --lines-only          (7 GB, of which the keys of this program are 2)
//   session_cache_bench --huge                                     DPDK's memory on reserved huge pages too
//
// lookup      SessionCache::lookup, bursts of 32, spends bytes of bounded leases; over either table
// ahead       the same with prefetch() of the next burst before it, as the pipeline does
// rte_hash    rte_hash_lookup_with_hash_bulk on the same keys, nothing read or written beside it
// map         std::unordered_map<SessionKey, record>, one find and one subtraction per packet
// insert      put() of new sessions while the load of the table's slots goes from 0.05 below the figure up to it
// "cold" goes over all sessions in random order, "hot" over 1,024 of them. Fixed seed. `packet`, `insert` and
// `bytes_per_session` (all memory of a full cache) are the figures; time is CPU time.
//
// CPU ns per packet, medians of 5 (3 at 10 million, 1 at 100), EPYC (Zen 5 class) virtual machine of 2 cores that
// others kept busy, the cache on transparent huge pages, DPDK on 4 KiB pages, 2026-11-26:
//                    10k hot  10k cold  1M hot  1M cold  10M cold  100M cold  bytes per session, 1M
//   lookup/lines        10.9      10.9    11.9     21.6      25.3      32.4       39.3
//   ahead/lines         11.3      11.4    11.9     17.1      21.4      39.4       39.3
//   lookup/rte_hash     15.7      14.9    23.7     33.5      41.8         -        95.3
//   rte_hash             7.5       6.8    15.5     17.2      24.4         -      (no record, nothing spent)
//   map                  5.0       4.7    16.1     61.9      81.6         -      (no locks, no versions: one thread)
//   insert               load 0.7 and 0.9: lines 248 and 331 at 1M, 299 and 493 at 10M; rte_hash 151 and 137 at 1M
// 100M is one run each, not at the same time (ahead: two, 39.4 and 39.8). 10M without huge pages (PR_SET_THP_DISABLE):
// lookup/lines 26.9, ahead/lines 24.5.
#include <benchmark/benchmark.h>
#include <rte_eal.h>
#include <rte_hash.h>
#include <unistd.h>

#include <algorithm>
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
  std::vector<SessionKey> packets(std::min<size_t>(std::max<size_t>(keys.size(), kHot), 1 << 23) / kBurst * kBurst);
  for (SessionKey& p : packets) p = keys[rng() % among];
  return packets;
}
void report(benchmark::State& state, const char* of, double each) {
  state.counters[of] =
      benchmark::Counter(double(state.iterations()) * each, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

const char* name_of(SessionTable t) {
  return t == SessionTable::lines ? "lines" : "rte_hash";
}
std::unique_ptr<SessionCache> make_cache(SessionTable table, size_t sessions) {
  auto made = SessionCache::create(
      {.sessions = uint32_t(sessions), .negative = 64, .readers = 1, .zero = kStart, .table = table});
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
          .bytes = uint64_t(100) << 20};
}

void lookup(benchmark::State& state, SessionTable table, size_t sessions, Reach reach, bool ahead) {
  std::vector<SessionKey> packets;
  auto cache = make_cache(table, sessions);
  {
    const auto keys = make_keys(sessions);
    packets = make_packets(keys, reach);
    for (size_t i = 0; i < sessions; ++i) cache->put(keys[i], lease(i), kStart);
  }
  uint32_t bytes[kBurst];
  std::fill_n(bytes, kBurst, 10);
  CacheHit hits[kBurst];
  size_t at = 0, forwarded = 0, looked = 0;
  cache->register_reader(0);
  for (auto _ : state) {
    const size_t next = at + kBurst == packets.size() ? 0 : at + kBurst;
    if (ahead) cache->prefetch(&packets[next], kBurst);
    cache->lookup(&packets[at], bytes, kBurst, kStart + 1s, hits);
    cache->quiescent(0);
    benchmark::DoNotOptimize(hits);
    forwarded += hits[0].verdict == CacheVerdict::forward;
    ++looked;
    at = next;
  }
  cache->unregister_reader(0);
  if (forwarded < looked * 99 / 100) state.SkipWithError("not forwarded");
  report(state, "packet", kBurst);
  state.counters["bytes_per_session"] = double(cache->memory_bytes()) / double(sessions);
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

void insert(benchmark::State& state, SessionTable table, size_t sessions, double load) {
  const auto keys = make_keys(sessions);
  size_t timed = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto cache = make_cache(table, sessions);
    const auto from = size_t((load - 0.05) * double(cache->slots()));
    const auto to = std::min(sessions, size_t(load * double(cache->slots())));
    for (size_t i = 0; i < from; ++i) cache->put(keys[i], lease(i), kStart);
    timed += to - from;
    state.ResumeTiming();
    for (size_t i = from; i < to; ++i) cache->put(keys[i], lease(i), kStart);
    state.PauseTiming();
    if (cache->stats().evicted != 0) state.SkipWithError("evicted");
    cache.reset();
    state.ResumeTiming();
  }
  report(state, "insert", double(timed) / double(state.iterations()));
}

struct Options {
  std::vector<size_t> sizes;
  bool lines_only = false, huge = false;
};

void add_benchmarks(size_t sessions, const Options& o) {
  const std::string n = "/" + std::to_string(sessions);
  std::vector<SessionTable> tables{SessionTable::lines};
  if (!o.lines_only) tables.push_back(SessionTable::rte_hash);
  // Large tables are filled once for a figure, not once more for each guess at how long to run.
  auto add = [&](const std::string& name, int64_t iterations, auto f, auto... args) {
    auto* b = benchmark::RegisterBenchmark(name.c_str(), f, args...);
    if (sessions >= 4'000'000) b->Iterations(iterations);
  };
  constexpr int64_t kBursts = 1 << 18;
  for (Reach reach : {Reach::hot, Reach::cold}) {
    const std::string name = n + (reach == Reach::hot ? "/hot" : "/cold");
    for (SessionTable t : tables) add("lookup/" + (name_of(t) + name), kBursts, lookup, t, sessions, reach, false);
    add("ahead/lines" + name, kBursts, lookup, SessionTable::lines, sessions, reach, true);
    if (o.lines_only) continue;
    add("rte_hash" + name, kBursts, plain_rte_hash, sessions, reach);
    add("map" + name, kBursts, map, sessions, reach);
  }
  for (double load : {0.7, 0.9}) {
    if (sessions < 1 << 17) break;  // a table of lines is never so small that this load could be had
    for (SessionTable t : tables) {
      add("insert/" + (name_of(t) + n) + "/load" + std::to_string(int(load * 100)), 1, insert, t, sessions, load);
    }
  }
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  statecast::Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--sessions=", 11) == 0)
      options.sizes.push_back(std::strtoull(argv[i] + 11, nullptr, 10));
    if (std::strcmp(argv[i], "--lines-only") == 0) options.lines_only = true;
    if (std::strcmp(argv[i], "--huge") == 0) options.huge = true;
  }
  if (options.sizes.empty()) options.sizes = {10'000, 1'000'000};

  const size_t largest = options.lines_only ? 0 : *std::max_element(options.sizes.begin(), options.sizes.end());
  std::vector<std::string> words = {"bench",
                                    "--no-pci",
                                    "--lcores",
                                    "0",
                                    "--no-telemetry",
                                    "--log-level",
                                    "error",
                                    "-m",
                                    std::to_string(64 + largest * 140 / 1'000'000)};
  if (options.huge) {
    words.insert(words.end(), {"--in-memory", "--iova-mode=va"});
  } else {
    words.insert(words.end(), {"--no-huge", "--file-prefix", "statecast-bench" + std::to_string(getpid())});
  }
  std::vector<char*> eal;
  for (std::string& w : words) eal.push_back(w.data());
  if (rte_eal_init(int(eal.size()), eal.data()) < 0) return 1;

  for (size_t s : options.sizes) statecast::add_benchmarks(s, options);
  benchmark::RunSpecifiedBenchmarks();
  rte_eal_cleanup();
}
