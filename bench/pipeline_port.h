// SPDX-License-Identifier: BSD-3-Clause
// Memory port: a DPDK port that hands out frames made on the spot and takes back what is sent, with nothing behind it.
// On net_null (without its own reception): an RX callback fills the burst, a TX callback looks at a sample of what goes
// out; net_null frees it.
//
//   auto port = MemoryPort::start(queues, pool);
//   port->set_source(0, &clients);                        // per queue
//   worker.turn();                                        // receives, works, sends
//   for (const auto& frame : port->take_sample(0)) ...
//
// What the port costs (buffers, frames, callbacks) is the floor of every figure: floor() measures it.
// Threads: one per queue. Ownership: closes the port when it goes.
#pragma once

#include <rte_ethdev.h>

#include <memory>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/rng.h"
#include "tools/pktgen/histogram.h"

namespace statecast::bench {

inline constexpr uint16_t kFrameMax = 192;

// Where the frames of a queue come from. make() writes up to n frames and their lengths, and returns how many: all of
// them, but for sources that pace themselves.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual unsigned make(uint8_t* const frames[], uint16_t lengths[], unsigned n) = 0;
};

class MemoryPort {
 public:
  static Result<std::unique_ptr<MemoryPort>> start(uint16_t queues, rte_mempool* pool);
  ~MemoryPort();

  uint16_t number() const { return port_; }
  const MacAddress& mac() const { return mac_; }
  void set_source(uint16_t queue, FrameSource* source) { queues_[queue].source = source; }
  // Every so many frames that are sent, one is kept, until `most` are.
  void set_sampling(uint16_t queue, unsigned every, size_t most);
  std::vector<std::vector<uint8_t>> take_sample(uint16_t queue);
  // Of every frame that is sent the last eight bytes are the time stamp counter at its arrival: records the cycles
  // since. nullptr: no longer.
  void set_delays(uint16_t queue, Histogram* delays) { queues_[queue].delays = delays; }
  uint64_t received(uint16_t queue) const { return queues_[queue].received; }
  uint64_t sent(uint16_t queue) const { return queues_[queue].sent; }

 private:
  struct Sample {
    uint16_t length;
    uint8_t bytes[kFrameMax];
  };
  struct alignas(64) Queue {
    FrameSource* source = nullptr;
    rte_mempool* pool = nullptr;
    uint64_t received = 0, sent = 0;
    uint64_t next_sample = UINT64_MAX;
    unsigned every = 0;
    size_t sampled = 0;
    Histogram* delays = nullptr;
    std::vector<Sample> sample;  // as many as are wanted, touched beforehand: no page fault while it is measured
  };
  static uint16_t on_receive(uint16_t, uint16_t, rte_mbuf* packets[], uint16_t n, uint16_t most, void* queue);
  static uint16_t on_send(uint16_t, uint16_t, rte_mbuf* packets[], uint16_t n, void* queue);

  uint16_t port_ = 0;
  MacAddress mac_;
  std::vector<Queue> queues_;
};

}  // namespace statecast::bench
