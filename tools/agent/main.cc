// SPDX-License-Identifier: BSD-3-Clause
// statecast-agent: the program of a member. This file is its table of contents.
#include <sodium.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "control/admin.h"
#include "control/metrics.h"
#include "tools/agent/agent_admin.h"
#include "tools/agent/agent_core.h"
#include "tools/agent/agent_loop_io.h"
#include "tools/agent/sock_diag_io.h"
#include "tools/agent/state_io.h"
#include "tools/agent/tun_io.h"
#include "tools/agent/udp_io.h"

namespace statecast {

namespace {

constexpr uint32_t kTableBase = 0x5c000000;  // routing table of a member: this and its ID

template <class T>
T random_value() {
  T v{};
  randombytes_buf(&v, sizeof v);
  return v;
}

std::vector<Prefix> group_addresses(const AgentConfig& config) {
  std::vector<Prefix> out;
  for (const auto& g : config.groups) out.insert(out.end(), g.addresses.begin(), g.addresses.end());
  return out;
}

bool underlay_is_v6(const AgentConfig& config) {
  return std::any_of(config.proxies.begin(), config.proxies.end(),
                     [](const auto& p) { return p.address.address.is_v6(); });
}

Result<> run(const std::string& config_path) {
  // What the files say.
  auto config = load_agent_config(config_path);
  if (!config) return fail(config.error());
  if (auto log = set_up_log("statecast-agent", config->log.level); !log) return fail(log.error().in("log.level"));
  auto key = read_node_key(config->node_key);
  if (!key) return fail(key.error().in("node_key"));
  if (key->member != config->id)
    return fail(Code::invalid, config->node_key + " is the key of member " + std::to_string(key->member.value) +
                                   ", the configuration is of member " + std::to_string(config->id.value));
  auto revocations = load_revocations(config->state_dir);
  if (!revocations) return fail(revocations.error().in("state_dir"));

  // The admin socket before anything that a second agent of this member would disturb.
  auto server = AdminServer::listen(config->control_socket);
  if (!server) return fail(server.error().in("control_socket"));
  auto incarnation = raise_incarnation(config->state_dir);
  if (!incarnation) return fail(incarnation.error().in("state_dir"));

  // The kernel: socket table, device, tunnel.
  auto sockets = SockDiag::open(group_addresses(*config));
  if (!sockets) return fail(sockets.error());
  auto tun = TunDevice::create({.name = config->device,
                                .mtu = static_cast<unsigned>(underlay_is_v6(*config) ? kInnerMtuV6 : kInnerMtuV4),
                                .table = kTableBase + config->id.value,
                                .addresses = group_addresses(*config)});
  if (!tun) return fail(tun.error());
  auto udp = UdpSocket::open(config->bind);
  if (!udp) return fail(udp.error().in("bind"));

  // The core, with the sessions of before.
  AgentCore core({.config = *config,
                  .node_key = key->key,
                  .incarnation = *incarnation,
                  .boot = random_value<uint32_t>(),
                  .seed = random_value<uint64_t>(),
                  .hash_key = random_value<KeyedHash::Key>(),
                  .revocations = *revocations},
                 MonotonicClock::now());
  auto table = sockets->read();
  if (!table) return fail(table.error());
  Instant now = MonotonicClock::now();
  core.on_sockets(*table, now, now);

  // Commands, metrics, and the loop until SIGTERM.
  AgentAdmin commands(core, MonotonicClock::now);
  commands.serve(**server);
  std::unique_ptr<MetricsPage> metrics;
  if (!config->metrics.empty()) {
    auto page = MetricsPage::serve(config->metrics, [&core] { return agent_metrics(core.counters()); });
    if (!page) return fail(page.error().in("metrics"));
    metrics = std::move(*page);
  }
  spdlog::info("member {} is up: device {}, incarnation {}, {} sockets found", config->id.value, config->device,
               *incarnation, table->size());
  AgentLoop loop({core, **tun, **udp, *sockets, **server, commands, config->state_dir});
  auto done = loop.run();
  spdlog::info("member {} ends", config->id.value);
  return done;
}

}  // namespace

}  // namespace statecast

int main(int argc, char** argv) {
  CLI::App app{"statecast-agent: takes this machine into the groups of its configuration as a member"};
  std::string config = "/etc/statecast/agent.yaml";
  app.add_option("-c,--config", config, "Configuration file")->capture_default_str();
  app.footer(
      "It needs CAP_NET_ADMIN: it makes a TUN device with the groups' addresses and routes their replies into it.\n"
      "Examples:\n"
      "  statecast-agent --config /etc/statecast/agent.yaml\n"
      "  statecast check-config /etc/statecast/agent.yaml      check the file first\n"
      "  statecast status --socket /run/statecast/agent-1.sock  ask the running agent");
  CLI11_PARSE(app, argc, argv);
  if (sodium_init() < 0) {
    std::fprintf(stderr, "statecast-agent: libsodium does not start\n");
    return 1;
  }
  if (auto done = statecast::run(config); !done) {
    std::fprintf(stderr, "statecast-agent: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
