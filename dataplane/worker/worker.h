// SPDX-License-Identifier: BSD-3-Clause
// Worker: the burst loop of one core.
//
//   Worker w(setup);
//   w.run();      // on its lcore, until w.stop()
//   w.turn();     // tests: one turn of the loop
//
// A turn: load the snapshot; carry out the control thread's orders; for each of its queues receive a burst (up to four,
// as long as they are full), read the clock *after* that, run the pipeline, act on the verdicts; give up old misses;
// hand the frames to the ports; tell the cache that no entry is in use. So after a turn nothing of an older look-up is
// still to be sent: turns() is what a revocation waits for before it reports silence. Threads: its own, but stop(),
// turns(), counters(), measure_stages() and stage_clock(). Ownership: owns the miss table and its packets.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dataplane/cache/miss_table.h"
#include "dataplane/worker/mailbox.h"
#include "dataplane/worker/pipeline.h"

namespace statecast {

// One device port, as a worker uses it.
struct WorkerPort {
  uint16_t port = 0;
  int rx_queue = -1;  // none: the device has fewer queues than there are workers
  uint16_t tx_queue = 0;
  std::atomic_flag* tx_lock = nullptr;  // where several workers share a TX queue
};

struct WorkerSetup {
  unsigned index = 0, workers = 1;
  std::vector<WorkerPort> ports;
  SnapshotBoard* board = nullptr;
  SessionCache* cache = nullptr;
  PeerTable* peers = nullptr;
  WorkerLink* link = nullptr;
  MissTableOptions misses;
  const std::atomic<bool>* negatives_exist = nullptr;
  const Pressure* pressure = nullptr;  // nullptr: never any
  uint64_t seed = 0;                   // new at each start
  Duration idle_sleep = 50us;          // 0: never
  Instant (*clock)() = [] { return MonotonicClock::now(); };
};

struct Outgoing;  // outer.h

class Worker {
 public:
  // Of one port, as long as each is full: some 10 us, for which orders and other ports wait.
  static constexpr unsigned kBurstsPerTurn = 4;

  static Result<std::unique_ptr<Worker>> create(const WorkerSetup& setup);
  ~Worker();

  void run();
  void stop() { stop_.store(true, std::memory_order_relaxed); }
  bool turn();  // false: there was nothing to do
  uint64_t turns() const { return turns_.load(std::memory_order_acquire); }
  const Counters& counters() const { return counters_; }
  size_t held() const { return misses_->packets(); }
  void measure_stages(bool on) { measure_stages_.store(on, std::memory_order_relaxed); }
  const StageClock& stage_clock() const { return stage_clock_; }

 private:
  struct TxBuffer {
    WorkerPort to;
    unsigned count = 0;
    rte_mbuf* packet[2 * kBurstMax];
  };

  Worker(const WorkerSetup& setup, std::unique_ptr<MissTable> misses, const Layout& layout);
  bool carry_out_orders();
  bool receive(const WorkerPort& from, Burst& b, Instant& now);
  void carry_out(const Order& order, Instant now);
  void rerun(rte_mbuf* const packets[], size_t n, Instant now);
  void send_sealed(rte_mbuf* packet, const Outgoing& out, Instant now);
  void complete(Burst& b, Instant now);  // from resolve on
  void finish(Burst& b, Instant now);
  void hold(Burst& b, unsigned i, Instant now);
  void tell_control(Burst& b, unsigned i);
  void to_control(Burst& b, unsigned i);
  void give_up_old_misses(Instant now);
  void transmit(uint16_t port, rte_mbuf* const packets[], unsigned n);
  void flush(TxBuffer& tx);
  bool post(const Note& note);

  WorkerSetup setup_;
  PipelineState state_;
  std::unique_ptr<MissTable> misses_;
  std::optional<UnknownGate> gate_;
  const Snapshot* snapshot_ = nullptr;
  Burst bursts_[2];           // of turn(); too large to be made anew each time
  std::vector<TxBuffer> tx_;  // by port number
  Counters counters_;
  TokenBucket want_neighbour_;
  Instant next_expiry_{};
  StageClock stage_clock_;
  std::atomic<bool> measure_stages_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> turns_{0};
};

}  // namespace statecast
