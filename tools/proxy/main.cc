// SPDX-License-Identifier: BSD-3-Clause
// statecast-proxy: main() is the table of contents of a proxy's life.
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "config/config.h"
#include "control/admin.h"
#include "control/etcd_io.h"
#include "control/metrics.h"
#include "control/proxy_control.h"
#include "control/snapshot.h"
#include "dataplane/worker/ports.h"

namespace statecast {
namespace {

std::atomic<bool> stop_requested{false};

struct Arguments {
  std::string config;
  bool check = false, json = false;
};

// One line that says what to do, on stderr, or as JSON on stdout for who asked for that.
int die(const Arguments& args, const Error& e) {
  if (args.json) std::printf("%s\n", nlohmann::json{{"error", e.message}}.dump().c_str());
  std::fprintf(stderr, "statecast-proxy: %s\n", e.message.c_str());
  return 1;
}

template <class T>
T random_value() {
  T v{};
  while (getrandom(&v, sizeof v, 0) != static_cast<ssize_t>(sizeof v)) {}
  return v;
}

void handle_signals() {
  auto end = [](int) { stop_requested.store(true, std::memory_order_relaxed); };
  std::signal(SIGINT, end);
  std::signal(SIGTERM, end);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

EalSetup eal_setup(const ProxyConfig& config) {
  EalSetup setup{.file_prefix = config.dpdk.file_prefix,
                 .huge_pages = config.dpdk.huge_pages,
                 .memory_mb = config.dpdk.memory_mb,
                 .cores = config.dpdk.cores,
                 .devices = {}};
  if (setup.file_prefix.empty()) setup.file_prefix = "statecast-p" + std::to_string(config.id.value);
  for (const PortConfig& p : config.ports) setup.devices.push_back(p.device);
  return setup;
}

Result<std::vector<StartedPort>> start_ports(const ProxyConfig& config, unsigned workers) {
  auto pool = create_pool(
      config.dpdk.packet_buffers,
      std::max_element(config.ports.begin(), config.ports.end(), [](auto& a, auto& b) { return a.mtu < b.mtu; })->mtu);
  if (!pool) return fail(pool.error());
  std::vector<StartedPort> started;
  for (const PortConfig& p : config.ports) {
    auto port = start_port({.device = p.device,
                            .queues = p.queues,
                            .mtu = p.mtu,
                            .rx_descriptors = config.dpdk.rx_descriptors,
                            .tx_descriptors = config.dpdk.tx_descriptors},
                           workers, *pool);
    if (!port) return fail(port.error().in("port " + p.name));
    // Ports are known by their place in the file from here on.
    if (port->port != started.size())
      return fail(Code::system, "port " + p.name + ": DPDK numbers it " + std::to_string(port->port));
    spdlog::info("port {}: {}, {}, {} receive and {} transmit queues", p.name, p.device, to_string(port->mac),
                 port->rx_queues, port->tx_queues);
    started.push_back(std::move(*port));
  }
  return started;
}

// Registers this proxy, whose ports are ready, and waits for a view. nullptr: the view is the file's.
Result<std::unique_ptr<EtcdMembership>> join(const ProxyConfig& config, View& view) {
  const EtcdConfig& etcd = config.directory.etcd;
  if (etcd.endpoints.empty()) return nullptr;
  MembershipOptions options{.self = config.id,
                            .prefix = etcd.prefix,
                            .replicas = config.directory.replicas,
                            .writes = config.directory.writes,
                            .lease = etcd.lease,
                            .hold_down = etcd.hold_down,
                            .settle = etcd.settle};
  for (const ProxyPeerConfig& p : config.proxies) {
    options.known.insert(p.id);
    if (p.id == config.id) options.zone = p.zone;
  }
  auto membership = EtcdMembership::start(
      {.endpoints = etcd.endpoints, .ca = etcd.ca, .certificate = etcd.certificate, .key = etcd.key}, options);
  if (!membership) return fail(membership.error());
  for (Instant said = MonotonicClock::now(); !stop_requested;) {
    if (auto first = (*membership)->newer_than(0)) {
      view = std::move(*first);
      break;
    }
    if (const Instant now = MonotonicClock::now(); now - said >= 5s) {
      said = now;
      const MembershipStatus s = (*membership)->status();
      spdlog::warn("waiting for a view from etcd: {}", !s.trouble.empty() ? s.trouble
                                                       : !s.waits.empty() ? s.waits
                                                                          : "none yet");
    }
    usleep(20'000);
  }
  return membership;
}

int run(const Arguments& args) {
  // What the operator wants.
  auto config = load_proxy_config(args.config);
  if (!config) return die(args, config.error());
  auto fleet = read_fleet_secret(config->fleet_secret);
  if (!fleet) return die(args, fleet.error().in("fleet_secret"));
  View view = make_view(*config);  // unless etcd has it
  if (auto layout = make_layout(*config, *fleet, view, {}); !layout) return die(args, layout.error().in(args.config));
  if (args.check) {
    if (args.json)
      std::printf("%s\n", nlohmann::json{{"ok", true}}.dump().c_str());
    else
      std::printf("%s: fine\n", args.config.c_str());
    return 0;
  }
  if (auto r = set_up_log("statecast-proxy", config->log.level); !r) return die(args, r.error());
  handle_signals();

  // The admin socket first: a second proxy of this name stops here, before it touches a port.
  auto admin = AdminServer::listen(config->control_socket);
  if (!admin) return die(args, admin.error().in("control_socket"));

  // DPDK and its ports.
  unsigned workers = static_cast<unsigned>(config->dpdk.cores.size());
  if (auto r = start_eal(eal_setup(*config)); !r) return die(args, r.error());
  auto ports = start_ports(*config, workers);
  if (!ports) return die(args, ports.error());

  auto membership = join(*config, view);
  if (!membership) return die(args, membership.error().in("directory.etcd"));
  if (stop_requested) return 0;

  // What workers and the control thread share.
  Instant now = MonotonicClock::now();
  std::vector<MacAddress> macs;
  for (const StartedPort& p : *ports) macs.push_back(p.mac);
  auto layout = make_layout(*config, *fleet, view, macs);
  if (!layout) return die(args, layout.error());
  PeerTable peers(NodeId::proxy(config->id), random_value<uint32_t>(), static_cast<uint8_t>(workers + 1), now);
  add_peers(*config, *fleet, peers);
  Duration lease_cap = 10s;
  for (const GroupConfig& g : config->groups) lease_cap = std::max(lease_cap, g.lease.time);
  auto cache = SessionCache::create({.sessions = config->cache.sessions,
                                     .negative = config->cache.negative,
                                     .readers = workers,
                                     .zero = now,
                                     .floor_time = lease_cap,
                                     .seed = random_value<uint64_t>()});
  if (!cache) return die(args, cache.error());
  std::atomic<bool> negatives_exist{false};
  Pressure pressure;
  Neighbours neighbours((*layout)->ports);
  SnapshotBoard board(workers);
  board.publish(make_snapshot(*layout, peers, neighbours, now));
  Wakeup wakeup;

  // Workers with their mailboxes; the miss table's bounds are shared out among them.
  std::vector<std::unique_ptr<WorkerLink>> links;
  std::vector<std::unique_ptr<Worker>> loops;
  std::vector<WorkerView> views;
  for (unsigned i = 0; i < workers; ++i) {
    auto link = WorkerLink::create("worker" + std::to_string(i), &wakeup, ProxyControl::is_urgent);
    if (!link) return die(args, link.error());
    links.push_back(std::move(*link));
    WorkerSetup setup{.index = i,
                      .workers = workers,
                      .ports = {},
                      .board = &board,
                      .cache = cache->get(),
                      .peers = &peers,
                      .link = links.back().get(),
                      .misses = {.packets = std::max(config->cache.miss_packets / workers, 4u),
                                 .packets_per_group = std::max(config->cache.miss_packets_per_group / workers, 4u)},
                      .negatives_exist = &negatives_exist,
                      .pressure = &pressure,
                      .seed = random_value<uint64_t>(),
                      .idle_sleep = config->dpdk.idle_sleep};
    for (const StartedPort& p : *ports) setup.ports.push_back(p.for_worker(i));
    auto worker = Worker::create(setup);
    if (!worker) return die(args, worker.error());
    loops.push_back(std::move(*worker));
    Worker* loop = loops.back().get();
    views.push_back({.link = links.back().get(),
                     .counters = &loop->counters(),
                     .turns = [loop] { return loop->turns(); },
                     .measure_stages = [loop](bool on) { loop->measure_stages(on); },
                     .stage_clock = &loop->stage_clock()});
  }

  // The control thread is this one.
  ProxyControl control({.config = &*config,
                        .layout = *layout,
                        .view = view,
                        .groups = make_directory_groups(*config, *fleet),
                        .peers = &peers,
                        .cache = cache->get(),
                        .board = &board,
                        .neighbours = &neighbours,
                        .wakeup = &wakeup,
                        .admin = admin->get(),
                        .membership = membership->get(),
                        .workers = std::move(views),
                        .negatives_exist = &negatives_exist,
                        .pressure = &pressure,
                        .seed = random_value<uint64_t>()},
                       now);
  std::unique_ptr<MetricsPage> page;
  if (!config->metrics.empty()) {
    auto served = MetricsPage::serve(config->metrics, [&control] { return control.metrics(); });
    if (!served) return die(args, served.error().in("metrics"));
    page = std::move(*served);
  }
  for (unsigned i = 0; i < workers; ++i) {
    if (auto r = launch(*loops[i], i); !r) return die(args, r.error());
  }
  spdlog::info("proxy {} runs: {} workers, {} ports, {} groups", config->id.value, workers, ports->size(),
               config->groups.size());
  control.run(stop_requested);

  // The end: nobody waits for a worker any more, so the workers may go.
  spdlog::info("proxy {} ends", config->id.value);
  page.reset();
  for (auto& loop : loops) loop->stop();
  wait_for_workers();
  loops.clear();
  links.clear();
  stop_ports(*ports);
  return 0;
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  statecast::Arguments args;
  CLI::App app(
      "statecast-proxy: takes the packets of anycast addresses and brings each to the member that holds its "
      "session.\n\n"
      "  statecast-proxy --config /etc/statecast/proxy.yaml\n"
      "  statecast-proxy --config proxy.yaml --check      read the file and the keys, start nothing\n\n"
      "It runs in the foreground until SIGTERM or SIGINT. `statecast status` asks it how it is.");
  app.add_option("--config", args.config, "configuration file (docs/configuration.md)")->required();
  app.add_flag("--check", args.check, "read the configuration and the keys, and say whether they are fine");
  app.add_flag("--json", args.json, "errors, and the outcome of --check, as JSON on standard output");
  CLI11_PARSE(app, argc, argv);
  return statecast::run(args);
}
