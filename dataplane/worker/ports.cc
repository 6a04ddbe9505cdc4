// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/ports.h"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace statecast {

namespace {

bool is_pci(const std::string& device) {
  return device.find(':') != std::string::npos && device.rfind("net_", 0) != 0;
}

std::string error_text(int error) {
  return rte_strerror(error < 0 ? -error : error);
}

// The CPUs that this process may use: the control thread goes wherever there is room.
std::string allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string list;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "0";
  for (unsigned c = 0; c < CPU_SETSIZE; ++c) {
    if (CPU_ISSET(c, &set)) list += (list.empty() ? "" : ",") + std::to_string(c);
  }
  return list;
}

}  // namespace

std::vector<std::string> eal_arguments(const EalSetup& setup) {
  std::string lcores = "0@(" + allowed_cpus() + ")";
  for (size_t i = 0; i < setup.cores.size(); ++i) {
    lcores += "," + std::to_string(i + 1) + "@" + std::to_string(setup.cores[i]);
  }
  std::vector<std::string> args = {"statecast-proxy",
                                   "--file-prefix",
                                   setup.file_prefix,
                                   "--lcores",
                                   lcores,
                                   "--main-lcore",
                                   "0",
                                   "--no-telemetry",
                                   "-m",
                                   std::to_string(setup.memory_mb)};
  // Either way nothing is left behind in the file system.
  if (setup.huge_pages) {
    args.insert(args.end(), {"--in-memory", "--iova-mode=va"});
  } else {
    args.insert(args.end(), {"--no-huge", "--no-shconf"});
  }
  bool pci = false;
  for (const std::string& device : setup.devices) {
    if (!is_pci(device)) continue;
    args.insert(args.end(), {"-a", device});
    pci = true;
  }
  if (!pci) args.push_back("--no-pci");
  return args;
}

Result<> start_eal(const EalSetup& setup) {
  std::vector<std::string> args = eal_arguments(setup);
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    std::string all;
    for (const std::string& a : args) all += " " + a;
    return fail(
        Code::system,
        "DPDK did not start (" + error_text(rte_errno) + ") with:" + all +
            (setup.huge_pages ? "; are enough huge pages reserved? (dpdk.huge_pages: false does without)" : ""));
  }
  return {};
}

Result<rte_mempool*> create_pool(uint32_t packets, uint16_t mtu) {
  // Room for the largest frame of the port and one VLAN tag; the rest of 2 KiB costs nothing.
  uint32_t room = RTE_PKTMBUF_HEADROOM + std::max<uint32_t>(2048, mtu + 64u);
  rte_mempool* pool = rte_pktmbuf_pool_create(kPoolName, packets, 256, 0, static_cast<uint16_t>(room), SOCKET_ID_ANY);
  if (!pool) {
    return fail(Code::system, "no memory for " + std::to_string(packets) + " packet buffers (" + error_text(rte_errno) +
                                  "): raise dpdk.memory_mb or lower dpdk.packet_buffers");
  }
  return pool;
}

WorkerPort StartedPort::for_worker(unsigned worker) const {
  uint16_t tx = static_cast<uint16_t>(worker % tx_queues);
  return {.port = port,
          .rx_queue = worker < rx_queues ? static_cast<int>(worker) : -1,
          .tx_queue = tx,
          .tx_lock = tx_locks ? &tx_locks[tx] : nullptr};
}

Result<StartedPort> start_port(const PortSetup& setup, unsigned workers, rte_mempool* pool) {
  std::string name = setup.device.substr(0, setup.device.find(','));
  StartedPort started;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &started.port) != 0) {
    int error = rte_dev_probe(setup.device.c_str());
    if (error != 0 || rte_eth_dev_get_port_by_name(name.c_str(), &started.port) != 0) {
      return fail(Code::system, "DPDK cannot open device '" + setup.device + "' (" + error_text(error) +
                                    "): is the name right, the driver installed, the interface up?");
    }
  }
  auto failed = [&](const char* what, int error) {
    return fail(Code::system, "device '" + setup.device + "': " + what + ": " + error_text(error));
  };

  rte_eth_dev_info info{};
  if (int e = rte_eth_dev_info_get(started.port, &info)) return failed("cannot be queried", e);
  uint16_t wanted = setup.queues ? setup.queues : static_cast<uint16_t>(workers);
  started.rx_queues = std::min<uint16_t>({wanted, static_cast<uint16_t>(workers), info.max_rx_queues});
  started.tx_queues = std::min<uint16_t>(static_cast<uint16_t>(workers), info.max_tx_queues);
  if (started.rx_queues == 0 || started.tx_queues == 0) return failed("has no queues", ENODEV);
  if (started.tx_queues < workers) started.tx_locks = std::make_unique<std::atomic_flag[]>(started.tx_queues);

  rte_eth_conf conf{};
  if (started.rx_queues > 1) {
    // One core per session and direction; fragments go by addresses alone, so that they meet.
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) & info.flow_type_rss_offloads;
    if (conf.rx_adv_conf.rss_conf.rss_hf == 0) conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
  }
  if (info.max_mtu != 0) conf.rxmode.mtu = std::min(setup.mtu, info.max_mtu);
  if (int e = rte_eth_dev_configure(started.port, started.rx_queues, started.tx_queues, &conf))
    return failed("configure", e);
  uint16_t rx = setup.rx_descriptors, tx = setup.tx_descriptors;
  if (int e = rte_eth_dev_adjust_nb_rx_tx_desc(started.port, &rx, &tx)) return failed("descriptors", e);
  int socket = rte_eth_dev_socket_id(started.port);
  unsigned node = socket < 0 ? SOCKET_ID_ANY : static_cast<unsigned>(socket);
  for (uint16_t q = 0; q < started.rx_queues; ++q) {
    if (int e = rte_eth_rx_queue_setup(started.port, q, rx, node, nullptr, pool)) return failed("receive queue", e);
  }
  for (uint16_t q = 0; q < started.tx_queues; ++q) {
    if (int e = rte_eth_tx_queue_setup(started.port, q, tx, node, nullptr)) return failed("transmit queue", e);
  }
  if (int e = rte_eth_dev_start(started.port)) return failed("start", e);
  // Neighbour solicitations come to multicast addresses.
  if (rte_eth_allmulticast_enable(started.port) != 0) rte_eth_promiscuous_enable(started.port);

  rte_ether_addr mac{};
  if (int e = rte_eth_macaddr_get(started.port, &mac)) return failed("address", e);
  std::memcpy(started.mac.raw.data(), mac.addr_bytes, 6);
  return started;
}

Result<> launch(Worker& worker, unsigned index) {
  auto run = [](void* w) {
    static_cast<Worker*>(w)->run();
    return 0;
  };
  if (int e = rte_eal_remote_launch(run, &worker, index + 1)) {
    return fail(Code::system, "worker " + std::to_string(index) + " did not start: " + error_text(e));
  }
  return {};
}

void wait_for_workers() {
  rte_eal_mp_wait_lcore();
}

void stop_ports(const std::vector<StartedPort>& ports) {
  for (const StartedPort& p : ports) {
    rte_eth_dev_stop(p.port);
    rte_eth_dev_close(p.port);
  }
  rmdir(rte_eal_get_runtime_dir());  // empty, made all the same
}

}  // namespace statecast
