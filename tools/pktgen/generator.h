// SPDX-License-Identifier: BSD-3-Clause
// Generator: the loop of one core. A turn: obey the main thread; receive a burst from each of its queues and account
// for it; set sessions up; send what is due of each stream; play the members.
//
//   Generator g(setup);
//   rte_eal_remote_launch(run g ...);
//   g.order(Generator::Do::traffic);  while (!g.obeyed()) sleep;
//
// Frames are patched templates in buffers of a pool of their own; there is no allocation but from pools, no lock (but
// where workers share a transmit queue) and no system call in a turn; clocks are the TSC, and CLOCK_MONOTONIC where
// sessions are set up or members played.
// Threads: run() on its lcore; order(), obeyed(), accounts() and failure() from the main thread. Between order(rest)
// having been obeyed and the next order the counters stand still but for what still arrives. Ownership: the packets
// that wait for a full port.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dataplane/worker/ports.h"
#include "tools/pktgen/accounting.h"
#include "tools/pktgen/attacks.h"
#include "tools/pktgen/link.h"
#include "tools/pktgen/member_side.h"
#include "tools/pktgen/plan.h"

struct rte_mbuf;

namespace statecast {

// What streams do in a measurement; set by the main thread while the workers rest.
struct TrialSetup {
  uint64_t nonce = 0;
  std::vector<double> packets_per_second;  // of each stream, all workers together; infinity: no limit
  bool ramps = true;                       // as in the profile
};

struct GeneratorSetup {
  unsigned index = 0;
  unsigned senders = 1;  // workers that send streams: those before this number
  unsigned workers = 1;
  const Plan* plan = nullptr;
  SessionStates* sessions = nullptr;
  std::vector<WorkerPort> ports;
  std::vector<Link*> links;
  MemberSide* members = nullptr;  // of the worker that plays them
  uint32_t answer_every = 1;
  uint32_t setup_per_second = 20'000;
  rte_mempool* pool = nullptr;         // frames of streams: all zero behind the headers, whoever holds them
  rte_mempool* attack_pool = nullptr;  // frames of attacks, and what members and links say
  const TrialSetup* trial = nullptr;
  Accounts* accounts = nullptr;
  uint64_t seed = 1;
  Duration idle_sleep{};
};

class Generator {
 public:
  enum class Do : uint8_t {
    rest,     // receive and account, answer neighbours, play the members; send no stream
    set_up,   // and set sessions up
    prepare,  // take the TrialSetup, forget all counts; then rest
    traffic,  // send
    quit,
  };
  explicit Generator(const GeneratorSetup& setup);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  void run();
  void turn();

  void order(Do what);
  bool obeyed() const { return obeyed_.load(std::memory_order_acquire) == ordered_.load(std::memory_order_relaxed); }
  const Accounts& accounts() const { return *setup_.accounts; }
  // Of the last traffic phase, once it is over: how long it sent, and what it was too late for, of each stream.
  double sending_seconds() const { return sending_seconds_; }
  double forgiven(size_t stream) const;

 private:
  static constexpr unsigned kBurst = 32;
  struct Stream;
  struct Outbox {  // towards one port
    WorkerPort to;
    unsigned count = 0;
    rte_mbuf* waiting[4 * kBurst];
  };

  void obey(Do what, uint64_t now_cycles);
  void receive(size_t port);
  void on_frame(size_t port, rte_mbuf* m, uint64_t now_cycles);
  bool on_member_frame(rte_mbuf* m, const PacketLook& look, uint64_t now_cycles);
  void on_unmarked(size_t port, rte_mbuf* m, const PacketLook* look);
  void answer(rte_mbuf* m, const Brought& b, const Mark& mark, uint64_t now_cycles);
  void set_up_sessions(uint64_t now_cycles);
  void send_stream(Stream& s, uint64_t now_cycles);
  void send_bytes(size_t port, Bytes frame);
  void send(size_t port, rte_mbuf** packets, unsigned n);
  void flush(Outbox& out);
  void housekeeping(uint64_t now_cycles);
  rte_mbuf* take_buffer();

  GeneratorSetup setup_;
  double cycles_per_second_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Outbox> outboxes_;
  std::vector<uint32_t> answer_sequences_;  // by stream
  Do doing_ = Do::rest;
  uint64_t nonce_ = 0;
  uint64_t traffic_from_ = 0, last_housekeeping_ = 0, housekeeping_every_ = 0;
  uint32_t since_answer_ = 0;
  bool busy_ = false;
  double sending_seconds_ = 0;
  std::atomic<uint64_t> ordered_{0}, obeyed_{0};  // number << 8 | Do
};

}  // namespace statecast
