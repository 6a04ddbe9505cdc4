// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_port.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <cstring>

#include "base/check.h"
#include "dataplane/worker/ports.h"

namespace statecast::bench {

Result<std::unique_ptr<MemoryPort>> MemoryPort::start(uint16_t queues, rte_mempool* pool) {
  auto started = start_port({.device = "net_null0,no-rx=1", .queues = queues}, queues, pool);
  if (!started) return fail(started.error());
  auto p = std::make_unique<MemoryPort>();
  p->port_ = started->port;
  p->mac_ = started->mac;
  p->queues_ = std::vector<Queue>(queues);
  for (uint16_t q = 0; q < queues; ++q) {
    p->queues_[q].pool = pool;
    if (!rte_eth_add_rx_callback(p->port_, q, on_receive, &p->queues_[q]) ||
        !rte_eth_add_tx_callback(p->port_, q, on_send, &p->queues_[q])) {
      return fail(Code::system, "no callbacks on the memory port");
    }
  }
  return p;
}

MemoryPort::~MemoryPort() {
  rte_eth_dev_stop(port_);
  rte_eth_dev_close(port_);
}

void MemoryPort::set_sampling(uint16_t queue, unsigned every, size_t most) {
  Queue& q = queues_[queue];
  q.every = every;
  q.next_sample = q.sent + every;
  q.sampled = 0;
  q.sample.assign(most, Sample{});
}

std::vector<std::vector<uint8_t>> MemoryPort::take_sample(uint16_t queue) {
  Queue& q = queues_[queue];
  q.next_sample = UINT64_MAX;
  std::vector<std::vector<uint8_t>> frames;
  for (size_t i = 0; i < q.sampled; ++i) frames.emplace_back(q.sample[i].bytes, q.sample[i].bytes + q.sample[i].length);
  q.sampled = 0;
  return frames;
}

uint16_t MemoryPort::on_receive(uint16_t, uint16_t, rte_mbuf* packets[], uint16_t, uint16_t most, void* queue) {
  auto& q = *static_cast<Queue*>(queue);
  constexpr uint16_t kMost = 32;
  uint8_t* frames[kMost];
  uint16_t lengths[kMost];
  const uint16_t room = most < kMost ? most : kMost;
  if (!q.source || rte_pktmbuf_alloc_bulk(q.pool, packets, room) != 0) return 0;
  for (unsigned i = 0; i < room; ++i) frames[i] = rte_pktmbuf_mtod(packets[i], uint8_t*);
  const auto n = static_cast<uint16_t>(q.source->make(frames, lengths, room));
  if (n < room) rte_pktmbuf_free_bulk(packets + n, room - n);
  for (unsigned i = 0; i < n; ++i) packets[i]->data_len = lengths[i], packets[i]->pkt_len = lengths[i];
  q.received += n;
  return n;
}

uint16_t MemoryPort::on_send(uint16_t, uint16_t, rte_mbuf* packets[], uint16_t n, void* queue) {
  auto& q = *static_cast<Queue*>(queue);
  q.sent += n;
  if (q.delays) [[unlikely]] {
    const uint64_t now = rte_rdtsc();
    for (unsigned i = 0; i < n; ++i) {
      uint64_t arrived;
      std::memcpy(&arrived, rte_pktmbuf_mtod_offset(packets[i], const uint8_t*, packets[i]->data_len - 8), 8);
      SC_ASSERT(now - arrived < rte_get_tsc_hz() * 60);  // else it is no stamp
      q.delays->record(now - arrived);
    }
  }
  if (q.sent >= q.next_sample && q.sampled < q.sample.size()) [[unlikely]] {
    q.next_sample = q.sent + q.every;
    SC_ASSERT(packets[0]->data_len <= kFrameMax);
    Sample& s = q.sample[q.sampled++];
    s.length = packets[0]->data_len;
    std::memcpy(s.bytes, rte_pktmbuf_mtod(packets[0], const uint8_t*), s.length);
  }
  return n;
}

}  // namespace statecast::bench
