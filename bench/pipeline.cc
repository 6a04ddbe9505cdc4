// SPDX-License-Identifier: BSD-3-Clause
// The whole packet path of one proxy on in-memory ports, measured: the real worker, cache and envelopes, all sessions
// equally likely, so that caches help as little as they can.
//
//   build/bench/pipeline --sessions 1000000 --seconds 3 --json
//   build/bench/pipeline --profile return --members 1000
//   build/bench/pipeline --profile junk --table rte_hash
//
// A figure is the median over slices of some 2,000 packets, in TSC time: what disturbs single slices does not count.
// `floor_ns` is the same port with a loop that only receives and sends, in the same run.
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/siphash.h"
#include "bench/pipeline_fleet.h"
#include "bench/pipeline_port.h"
#include "bench/pipeline_sources.h"
#include "dataplane/worker/ports.h"

namespace statecast::bench {
namespace {

constexpr unsigned kTurnsPerSlice = 64;

struct Options {
  uint32_t sessions = 1'000'000, groups = 1, members = 1;
  unsigned cores = 1;
  double seconds = 2;
  std::string profile = "forward", table = "default";
  uint64_t seed = 1;
  bool json = false;
};

// Of the slices of one measurement.
struct Figure {
  double median = 0, best = 0;  // best: only a tenth was faster
};

// ns per packet of `turn`, which handles one burst and says how many packets that were.
template <class Turn>
Figure measure(double seconds, Turn turn) {
  const double ns_per_cycle = 1e9 / double(rte_get_tsc_hz());
  const uint64_t end = rte_get_tsc_cycles() + uint64_t(seconds * double(rte_get_tsc_hz()));
  std::vector<double> slices;
  slices.reserve(1 << 18);
  for (uint64_t now = rte_get_tsc_cycles(); now < end;) {
    uint64_t packets = 0;
    for (unsigned t = 0; t < kTurnsPerSlice; ++t) packets += turn();
    const uint64_t after = rte_get_tsc_cycles();
    if (packets == 0) break;
    slices.push_back(double(after - now) * ns_per_cycle / double(packets));
    now = after;
  }
  if (slices.empty()) return {};
  std::sort(slices.begin(), slices.end());
  return {slices[slices.size() / 2], slices[slices.size() / 10]};
}

Figure measure_floor(MemoryPort& port, double seconds) {
  return measure(seconds, [&] {
    rte_mbuf* packets[kBurstMax];
    uint16_t n = rte_eth_rx_burst(port.number(), 0, packets, kBurstMax);
    uint16_t sent = rte_eth_tx_burst(port.number(), 0, packets, n);
    if (sent < n) rte_pktmbuf_free_bulk(packets + sent, n - sent);
    return n;
  });
}

int run(const Options& o) {
  EalSetup eal{.file_prefix = "statecast-bench" + std::to_string(getpid()), .memory_mb = 512};
  eal.memory_mb += uint32_t(uint64_t(o.sessions) * (o.table == "rte_hash" ? 160 : 0) / 1'000'000);
  eal.cores.clear();
  for (unsigned c = 0; c < o.cores; ++c) eal.cores.push_back(c);
  if (auto r = start_eal(eal); !r) return std::fprintf(stderr, "%s\n", r.error().message.c_str()), 1;
  auto pool = create_pool(16'383, 1500);
  if (!pool) return std::fprintf(stderr, "%s\n", pool.error().message.c_str()), 1;
  auto port = MemoryPort::start(uint16_t(o.cores), *pool);
  if (!port) return std::fprintf(stderr, "%s\n", port.error().message.c_str()), 1;
  FleetOptions fo{.sessions = o.sessions, .groups = o.groups, .members = o.members, .workers = o.cores, .cache = {}};
  auto fleet = Fleet::create(fo, (*port)->mac());
  if (!fleet) return std::fprintf(stderr, "%s\n", fleet.error().message.c_str()), 1;
  Fleet& f = **fleet;
  f.fill(MonotonicClock::now());

  Wakeup wakeup;
  auto link = WorkerLink::create("bench", &wakeup, [](Bytes) { return false; });
  if (!link) return std::fprintf(stderr, "%s\n", link.error().message.c_str()), 1;
  WorkerSetup setup{.index = 0,
                    .workers = o.cores,
                    .ports = {{.port = (*port)->number(), .rx_queue = 0}},
                    .board = &f.board(),
                    .cache = &f.cache(),
                    .peers = &f.peers(),
                    .link = link->get(),
                    .misses = {}};
  auto worker = Worker::create(setup);
  if (!worker) return std::fprintf(stderr, "%s\n", worker.error().message.c_str()), 1;

  ClientFrames clients(f, (*port)->mac(), o.seed);
  (*port)->set_source(0, &clients);
  for (int i = 0; i < 1000; ++i) (*worker)->turn();
  const Figure floor = measure_floor(**port, o.seconds / 4);
  (*port)->set_sampling(0, 997, 4096);
  const Figure all = measure(o.seconds, [&] {
    (*worker)->turn();
    return kBurstMax;
  });

  StageClock clock;
  (*worker)->measure_stages(&clock);
  uint64_t packets = 0;
  measure(o.seconds / 4, [&] {
    (*worker)->turn();
    packets += kBurstMax;
    return kBurstMax;
  });
  (*worker)->measure_stages(nullptr);
  nlohmann::ordered_json stages;
  for (size_t i = 0; i < size_t(Stage::count); ++i) {
    stages[kStageNames[i]] = double(clock.cycles(Stage(i))) * 1e9 / double(rte_get_tsc_hz()) / double(packets);
  }

  uint64_t verified = 0, failed = 0;
  for (const auto& frame : (*port)->take_sample(0)) ++(f.check(frame) ? verified : failed);
  nlohmann::ordered_json report;
  report["profile"] = o.profile;
  report["sessions"] = o.sessions;
  report["ns_per_packet"] = all.median;
  report["floor_ns"] = floor.median;
  report["best_ns_per_packet"] = all.best;
  report["best_floor_ns"] = floor.best;
  report["mpps"] = 1000 / all.median;
  report["stages"] = stages;
  report["verified"] = verified;
  report["failed"] = failed;
  for (size_t c = 0; c < kCounterCount; ++c) {
    if (uint64_t v = (*worker)->counters().get(Counter(c))) report["counters"][counter_name(Counter(c))] = v;
  }
  std::printf("%s\n", report.dump(o.json ? -1 : 2).c_str());
  return failed != 0 || verified == 0;
}

}  // namespace
}  // namespace statecast::bench

int main(int argc, char** argv) {
  statecast::bench::Options o;
  CLI::App app("Measures the packet path on in-memory ports.");
  app.add_option("--sessions", o.sessions, "live sessions, all equally likely");
  app.add_option("--groups", o.groups);
  app.add_option("--members", o.members);
  app.add_option("--seconds", o.seconds);
  app.add_flag("--json", o.json);
  CLI11_PARSE(app, argc, argv);
  return statecast::bench::run(o);
}
