// SPDX-License-Identifier: BSD-3-Clause
// Start-up of DPDK and of its ports: everything that happens once, before the burst loop.
//
//   start_eal({.file_prefix = "statecast-p1", .huge_pages = false, .memory_mb = 256, .cores = {0}});
//   auto pool = create_pool(16'384, 1500);
//   auto port = start_port({.device = "net_af_packet0,iface=eth1"}, workers, pool);
//
// A device is a PCI address or the arguments of a virtual one, as DPDK writes them. Checksums are made in software, so
// that every device serves. Worker i uses RX and TX queue i; where a device has fewer, the workers beyond share the TX
// queues under a lock and do not receive from it.
// Threads: main thread. Ownership: DPDK owns ports and pools until stop_ports.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/units.h"
#include "dataplane/worker/worker.h"

struct rte_mempool;

namespace statecast {

struct EalSetup {
  std::string file_prefix;
  bool huge_pages = false;
  uint32_t memory_mb = 256;
  std::vector<unsigned> cores = {0};  // worker i runs on lcore i + 1, pinned to cores[i]; lcore 0 floats
  std::vector<std::string> devices;   // of the ports: PCI addresses have to be known at once
};
Result<> start_eal(const EalSetup& setup);
// The arguments that start_eal hands to DPDK.
std::vector<std::string> eal_arguments(const EalSetup& setup);

// The one pool of packet buffers of the process.
inline constexpr char kPoolName[] = "packets";
Result<rte_mempool*> create_pool(uint32_t packets, uint16_t mtu);

struct PortSetup {
  std::string device;
  uint16_t queues = 0;  // 0: one per worker, where the device has them
  uint16_t mtu = 1500;
  uint16_t rx_descriptors = 1024, tx_descriptors = 1024;
};

struct StartedPort {
  uint16_t port = 0;
  MacAddress mac;
  uint16_t rx_queues = 1, tx_queues = 1;
  std::unique_ptr<std::atomic_flag[]> tx_locks;  // by TX queue; null where each worker has its own

  WorkerPort for_worker(unsigned worker) const;
};
Result<StartedPort> start_port(const PortSetup& setup, unsigned workers, rte_mempool* pool);
void stop_ports(const std::vector<StartedPort>& ports);

// Runs worker i on its lcore, pinned to cores[i]; wait_for_workers returns when all have stopped.
Result<> launch(Worker& worker, unsigned index);
void wait_for_workers();

}  // namespace statecast
