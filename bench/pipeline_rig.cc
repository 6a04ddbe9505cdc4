// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_rig.h"

#include <pthread.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "dataplane/worker/ports.h"

namespace statecast::bench {

namespace {

constexpr unsigned kTurnsPerSlice = 16;  // of up to 128 packets
constexpr uint32_t kPackets = 32'767;
constexpr double kStallMs = 0.5;

double nanoseconds(uint64_t cycles) {
  return double(cycles) * 1e9 / double(rte_get_tsc_hz());
}

}  // namespace

Result<std::unique_ptr<Rig>> Rig::create(const RigOptions& options) {
  const FleetOptions& f = options.fleet;
  EalSetup eal{.file_prefix = "statecast-bench" + std::to_string(getpid()),
               .huge_pages = options.huge_pages,
               .memory_mb = 256,
               .cores = {}};
  // The reference table lies in DPDK's memory; the other one brings its own.
  if (f.cache.table == SessionTable::rte_hash) {
    eal.memory_mb += static_cast<uint32_t>((uint64_t(f.sessions) + f.room) * 160 / 1'000'000);
  }
  for (unsigned c = 0; c < f.workers; ++c) eal.cores.push_back(c);
  if (auto r = start_eal(eal); !r) return fail(r.error());
  auto pool = create_pool(kPackets, 1500);
  if (!pool) return fail(pool.error());

  std::unique_ptr<Rig> rig(new Rig);
  auto port = MemoryPort::start(static_cast<uint16_t>(f.workers), *pool);
  if (!port) return fail(port.error());
  rig->port_ = std::move(*port);
  auto fleet = Fleet::create(f, rig->port_->mac());
  if (!fleet) return fail(fleet.error());
  rig->fleet_ = std::move(*fleet);
  for (unsigned i = 0; i < f.workers; ++i) {
    auto link = WorkerLink::create("bench" + std::to_string(i), &rig->wakeup_, [](Bytes) { return false; });
    if (!link) return fail(link.error());
    rig->links_.push_back(std::move(*link));
    WorkerSetup setup{.index = i,
                      .workers = f.workers,
                      .ports = {{.port = rig->port_->number(), .rx_queue = int(i), .tx_queue = uint16_t(i)}},
                      .board = &rig->fleet_->board(),
                      .cache = &rig->fleet_->cache(),
                      .peers = &rig->fleet_->peers(),
                      .link = rig->links_[i].get(),
                      .misses = {}};
    auto worker = Worker::create(setup);
    if (!worker) return fail(worker.error());
    rig->workers_.push_back(std::move(*worker));
  }
  return rig;
}

Rig::~Rig() {
  workers_.clear();
  links_.clear();
}

// What the worker asks its control thread: nobody is there to answer, but the mailbox stays empty.
void Rig::drain(unsigned i) {
  Note notes[64];
  for (size_t n; (n = links_[i]->take(notes, std::size(notes))) != 0;) {
    for (size_t k = 0; k < n; ++k) links_[i]->release(notes[k]);
  }
}

Figure Rig::measure(double seconds, unsigned (*turn)(Rig&, unsigned), unsigned i) {
  const uint64_t end = rte_get_tsc_cycles() + uint64_t(seconds * double(rte_get_tsc_hz()));
  std::vector<double> slices;
  slices.reserve(1 << 18);
  do {
    between();
    uint64_t packets = 0;
    const uint64_t before = rte_get_tsc_cycles();
    for (unsigned t = 0; t < kTurnsPerSlice; ++t) packets += turn(*this, i);
    const uint64_t cycles = rte_get_tsc_cycles() - before;
    SC_ASSERT(packets != 0);
    slices.push_back(nanoseconds(cycles) / double(packets));
    drain(i);
  } while (rte_get_tsc_cycles() < end);
  std::sort(slices.begin(), slices.end());
  return {slices[slices.size() / 2], slices[slices.size() / 10]};
}

std::vector<Figure> Rig::run(double seconds, unsigned cores) {
  struct Task {
    Rig* rig;
    unsigned i;
    double seconds;
    Figure result;
  };
  std::vector<Task> tasks;
  for (unsigned i = 0; i < cores; ++i) tasks.push_back({this, i, seconds, {}});
  for (Task& t : tasks) {
    auto body = [](void* task) {
      Task& me = *static_cast<Task*>(task);
      auto turn = [](Rig& rig, unsigned w) {
        const uint64_t before = rig.port_->received(static_cast<uint16_t>(w));
        rig.workers_[w]->turn();
        return static_cast<unsigned>(rig.port_->received(static_cast<uint16_t>(w)) - before);
      };
      me.result = me.rig->measure(me.seconds, turn, me.i);
      return 0;
    };
    SC_ASSERT(rte_eal_remote_launch(body, &t, t.i + 1) == 0);
  }
  while (meanwhile && rte_eal_get_lcore_state(1) == RUNNING) meanwhile();
  rte_eal_mp_wait_lcore();
  std::vector<Figure> figures;
  for (const Task& t : tasks) figures.push_back(t.result);
  return figures;
}

Disturbance Rig::poll(double seconds) {
  struct Task {
    Rig* rig;
    double seconds;
    Disturbance seen;
  } task{this, seconds, {}};
  auto body = [](void* argument) {
    auto preempted = [] {
      rusage usage{};
      getrusage(RUSAGE_THREAD, &usage);
      return static_cast<uint64_t>(usage.ru_nivcsw);
    };
    Task& me = *static_cast<Task*>(argument);
    const sched_param first{.sched_priority = 1}, ordinary{.sched_priority = 0};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
    const uint64_t before = preempted();
    uint64_t now = rte_get_tsc_cycles();
    const uint64_t end = now + uint64_t(me.seconds * double(rte_get_tsc_hz()));
    do {
      for (unsigned t = 0; t < kTurnsPerSlice; ++t) {
        me.rig->workers_[0]->turn();
        const uint64_t after = rte_get_tsc_cycles();
        if (const double ms = nanoseconds(after - now) / 1e6; ms > kStallMs) [[unlikely]] {
          ++me.seen.stalls;
          me.seen.stalled_ms += ms;
        }
        now = after;
      }
      me.rig->drain(0);
    } while (now < end);
    me.seen.preempted = preempted() - before;
    pthread_setschedparam(pthread_self(), SCHED_OTHER, &ordinary);
    return 0;
  };
  SC_ASSERT(rte_eal_remote_launch(body, &task, 1) == 0);
  rte_eal_mp_wait_lcore();
  return task.seen;
}

Figure Rig::floor(double seconds) {
  auto turn = [](Rig& rig, unsigned) -> unsigned {
    rte_mbuf* packets[kBurstMax];
    uint16_t n = rte_eth_rx_burst(rig.port_->number(), 0, packets, kBurstMax);
    uint16_t sent = rte_eth_tx_burst(rig.port_->number(), 0, packets, n);
    if (sent < n) rte_pktmbuf_free_bulk(packets + sent, n - sent);
    return n;
  };
  return measure(seconds, turn, 0);
}

std::vector<std::pair<std::string, double>> Rig::stages(double seconds) {
  constexpr size_t kStages = size_t(Stage::count);
  const StageClock& clock = workers_[0]->stage_clock();
  std::array<std::vector<double>, kStages> slices;
  std::array<uint64_t, kStages> before;
  for (size_t i = 0; i < kStages; ++i) before[i] = clock.cycles(Stage(i));
  uint64_t packets_before = clock.packets();
  workers_[0]->measure_stages(true);
  auto others = between;
  between = [&] {
    others();
    const auto packets = double(clock.packets() - packets_before);
    for (size_t i = 0; i < kStages; ++i) {
      const uint64_t cycles = clock.cycles(Stage(i));
      if (packets != 0) slices[i].push_back(nanoseconds(cycles - before[i]) / packets);
      before[i] = cycles;
    }
    packets_before = clock.packets();
  };
  run(seconds);
  between = others;
  workers_[0]->measure_stages(false);
  std::vector<std::pair<std::string, double>> out;
  for (size_t i = 0; i < kStages; ++i) {
    std::sort(slices[i].begin(), slices[i].end());
    out.emplace_back(kStageNames[i], slices[i].empty() ? 0 : slices[i][slices[i].size() / 2]);
  }
  return out;
}

}  // namespace statecast::bench
