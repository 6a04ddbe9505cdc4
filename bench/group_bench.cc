// SPDX-License-Identifier: BSD-3-Clause
// Destination address to group, bursts of 32 addresses drawn among all groups: ours, DPDK's two tables for longest
// prefixes (whole bursts at a time) and a plain hash map, which knows no prefixes. items_per_second is packets.
#include <benchmark/benchmark.h>
#include <rte_fib.h>
#include <rte_lpm.h>

#include <cstring>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "dataplane/worker/group_table.h"
#include "tests/support/eal.h"

namespace statecast {
namespace {

constexpr size_t kBurst = 32, kAddresses = 1 << 16;
constexpr uint32_t kFirstGroup = 198u << 24 | 18u << 16, kTbl8s = 256;

std::vector<uint32_t> addresses(uint32_t groups) {
  Rng rng(1);
  std::vector<uint32_t> all(kAddresses);
  for (uint32_t& a : all) a = kFirstGroup + uint32_t(rng.below(groups));
  return all;
}

// `find`: of a burst of addresses (host order), their groups. Each answer is compared once before anything is timed.
template <class Find>
void look_up(benchmark::State& state, Find find) {
  const auto all = addresses(uint32_t(state.range(0)));
  uint32_t found[kBurst];
  for (size_t at = 0; at < all.size(); at += kBurst) {
    find(&all[at], found);
    for (size_t i = 0; i < kBurst; ++i) { SC_ASSERT(found[i] == all[at + i] - kFirstGroup); }
  }
  size_t at = 0;
  for (auto _ : state) {
    find(&all[at], found);
    benchmark::DoNotOptimize(found);
    at = (at + kBurst) % all.size();
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kBurst});
}

void ours(benchmark::State& state) {
  std::vector<std::pair<Prefix, uint32_t>> prefixes;
  for (uint32_t g = 0; g < uint32_t(state.range(0)); ++g) {
    const uint32_t raw = __builtin_bswap32(kFirstGroup + g);
    prefixes.emplace_back(Prefix{IpAddress::v4(Bytes(reinterpret_cast<const uint8_t*>(&raw), 4)), 32}, g);
  }
  const GroupTable table(prefixes);
  look_up(state, [&](const uint32_t a[], uint32_t found[]) {
    for (size_t i = 0; i < kBurst; ++i) {
      const uint32_t raw = __builtin_bswap32(a[i]);  // as it stands in a packet
      found[i] = table.find_v4(reinterpret_cast<const uint8_t*>(&raw));
    }
  });
}
BENCHMARK(ours)->Arg(1)->Arg(10'000);

void lpm(benchmark::State& state) {
  const auto groups = uint32_t(state.range(0));
  const rte_lpm_config config{.max_rules = groups + 1, .number_tbl8s = kTbl8s, .flags = 0};
  rte_lpm* table = rte_lpm_create("groups", SOCKET_ID_ANY, &config);
  if (!table) return state.SkipWithError("no memory");
  for (uint32_t g = 0; g < groups; ++g) rte_lpm_add(table, kFirstGroup + g, 32, g);
  look_up(state, [&](const uint32_t a[], uint32_t found[]) {
    rte_lpm_lookup_bulk(table, a, found, kBurst);
    for (size_t i = 0; i < kBurst; ++i) found[i] &= 0xffffff;  // the rest says that there is one
  });
  rte_lpm_free(table);
}
BENCHMARK(lpm)->Arg(1)->Arg(10'000);

void fib(benchmark::State& state) {
  const auto groups = uint32_t(state.range(0));
  rte_fib_conf config{};
  config.type = RTE_FIB_DIR24_8;
  config.default_nh = UINT32_MAX >> 1;
  config.max_routes = int(groups + 1);
  config.dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = kTbl8s};
  rte_fib* table = rte_fib_create("groups", SOCKET_ID_ANY, &config);
  if (!table) return state.SkipWithError("no memory");
  for (uint32_t g = 0; g < groups; ++g) rte_fib_add(table, kFirstGroup + g, 32, g);
  look_up(state, [&](const uint32_t a[], uint32_t found[]) {
    uint64_t hops[kBurst];
    rte_fib_lookup_bulk(table, const_cast<uint32_t*>(a), hops, kBurst);
    for (size_t i = 0; i < kBurst; ++i) found[i] = uint32_t(hops[i]);
  });
  rte_fib_free(table);
}
BENCHMARK(fib)->Arg(1)->Arg(10'000);

void map(benchmark::State& state) {
  std::unordered_map<uint32_t, uint32_t> table;
  for (uint32_t g = 0; g < uint32_t(state.range(0)); ++g) table[kFirstGroup + g] = g;
  look_up(state, [&](const uint32_t a[], uint32_t found[]) {
    for (size_t i = 0; i < kBurst; ++i) found[i] = table.find(a[i])->second;
  });
}
BENCHMARK(map)->Arg(1)->Arg(10'000);

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (!statecast::start_eal(512)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
