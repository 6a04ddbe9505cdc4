// SPDX-License-Identifier: BSD-3-Clause
// statecast-pktgen: main() says what the command line means and what is printed.
#include <sodium.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "config/values.h"
#include "tools/pktgen/testbed.h"

namespace statecast {
namespace {

std::atomic<bool> stop_requested{false};

struct Arguments {
  std::string profile;
  bool loop = false, check = false, json = false, quiet = false, search = false;
  std::vector<std::string> devices;
  std::string duration, rate, report;
  std::vector<std::string> sizes;
  std::optional<uint32_t> sessions;
  std::vector<unsigned> cores;
  bool huge_pages = false;
};

int die(const Arguments& args, const Error& e) {
  if (args.json) std::printf("%s\n", nlohmann::json{{"error", e.message}}.dump().c_str());
  std::fprintf(stderr, "statecast-pktgen: %s\n", e.message.c_str());
  return 1;
}

// Without a profile: one stream of UDP over IPv4 in and out of the named devices.
PktgenConfig profile_of_devices(const std::vector<std::string>& devices) {
  PktgenConfig c;
  c.dpdk.file_prefix = "statecast-pktgen-" + std::to_string(getpid());
  for (size_t i = 0; i < devices.size(); ++i)
    c.ports.push_back({.name = "port" + std::to_string(i), .device = devices[i], .addresses = {}, .gateway = {}});
  PktgenStreamConfig s;
  s.name = "udp";
  s.destinations = {*Endpoint::parse("203.0.113.10:443")};
  c.streams.push_back(s);
  return c;
}

Result<PktgenConfig> profile(const Arguments& args) {
  if (int(!args.profile.empty()) + int(args.loop) + int(!args.devices.empty()) != 1)
    return fail(Code::invalid, "say one of: a profile, --loop, --device; --help has examples");
  Result<PktgenConfig> c = args.loop               ? profile_of_devices({"net_ring0"})
                           : !args.devices.empty() ? profile_of_devices(args.devices)
                                                   : load_pktgen_config(args.profile);
  if (!c) return c;
  if (!args.duration.empty()) {
    auto d = parse_duration(args.duration);
    if (!d || *d < 100ms) return fail(Code::invalid, "--duration: expected 100ms or more such as \"10s\"");
    c->duration = *d;
  }
  std::optional<RateConfig> rate;
  if (!args.rate.empty()) {
    rate = parse_rate(args.rate);
    if (!rate) return fail(Code::invalid, "--rate: expected a rate such as \"1Mpps\", \"10Gbps\" or \"max\"");
  }
  std::vector<FrameSizeConfig> sizes;
  for (const std::string& text : args.sizes) {
    auto s = parse_frame_size(text);
    if (!s) return fail(Code::invalid, "--size: expected 64 to 9618 such as \"64\" or \"7x64\"");
    sizes.push_back(*s);
  }
  for (PktgenStreamConfig& s : c->streams) {
    if (s.kind != PktgenStreamConfig::Kind::good) continue;
    if (rate) s.rate = *rate, s.ramp_time = {};
    if (!sizes.empty()) s.sizes = sizes, s.capture.clear();
    if (args.sessions) s.sessions = *args.sessions;
  }
  if (!args.cores.empty()) c->dpdk.cores = args.cores;
  if (args.huge_pages) c->dpdk.huge_pages = true;
  // What the command line changed goes through the same checks.
  return parse_pktgen_config(to_yaml(*c), args.profile.empty() ? "command line" : args.profile);
}

int run(const Arguments& args) {
  auto config = profile(args);
  if (!config) return die(args, config.error());
  if (args.check) {
    std::printf("%s", args.json ? nlohmann::json{{"ok", true}}.dump().append("\n").c_str() : to_yaml(*config).c_str());
    return 0;
  }
  auto end = [](int) { stop_requested.store(true, std::memory_order_relaxed); };
  std::signal(SIGINT, end);
  std::signal(SIGTERM, end);

  auto bed = Testbed::start(*config, stop_requested);
  if (!bed) return die(args, bed.error());
  auto live = [&](const std::string& line) {
    if (!args.quiet) std::fprintf(stderr, "%s\n", line.c_str());
  };
  if (auto r = (*bed)->set_up(live, stop_requested); !r) return die(args, r.error());
  Results results = (*bed)->measure_all(args.search, live, stop_requested);
  bed->reset();

  if (!args.report.empty()) {
    std::ofstream out(args.report);
    out << to_html(results);
    if (!out.flush()) return die(args, {Code::system, args.report + ": cannot be written"});
  }
  if (args.json) {
    std::printf("%s\n", to_json(results).c_str());
    return 0;
  }
  for (const Trial& t : results.trials) std::printf("%s", summary(t).c_str());
  if (results.searched)
    std::printf("throughput: %s%s\n", with_prefix(results.throughput, "pps").c_str(),
                results.generator_limited ? " (all that the generator could send)" : "");
  return 0;
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  statecast::Arguments args;
  CLI::App app(
      "statecast-pktgen: sends streams of packets, counts what comes back, and says how long it took. With a member "
      "side in its profile it drives a statecast-proxy in both directions.");
  app.footer(
      "Examples:\n"
      "  statecast-pktgen --loop                                 a port of memory: what the generator itself can do\n"
      "  statecast-pktgen --loop --search --report loop.html     RFC 2544, and a page with plots\n"
      "  statecast-pktgen --device net_memif0,role=client,socket=/run/m.sock --rate 1Mpps --size 7x64 4x594 1518\n"
      "                                                          against dpdk-testpmd or any other forwarder\n"
      "  statecast-pktgen profile.yaml --json                    streams, attacks, members (docs/benchmarking.md)\n"
      "  statecast-pktgen profile.yaml --check                   what the profile means, defaults filled in");
  app.add_option("profile", args.profile, "profile (docs/configuration.md, \"Profile of a generator\")");
  app.add_flag("--loop", args.loop, "no profile: one stream over a port of memory that sends everything back");
  app.add_option("--device", args.devices, "no profile: one stream out of the first of these DPDK devices")->take_all();
  app.add_option("--duration", args.duration, "of a measurement or trial, such as 10s");
  app.add_option("--rate", args.rate, "of each good stream: 14.88Mpps, 10Gbps, max");
  app.add_option("--size", args.sizes, "sizes of frames with FCS, each with a weight: 64, or 7x64 4x594 1518")
      ->take_all();
  app.add_option("--sessions", args.sessions, "sessions of each good stream")->check(CLI::Range(1u, 500'000'000u));
  app.add_option("--cores", args.cores, "CPU cores, one worker each")->delimiter(',');
  app.add_flag("--huge-pages", args.huge_pages, "take memory from huge pages");
  app.add_flag("--search", args.search, "search the throughput (RFC 2544), then latency at the profile's loads");
  app.add_option("--report", args.report, "write a page with tables and plots to this HTML file");
  app.add_flag("--json", args.json, "everything as JSON on standard output");
  app.add_flag("--quiet", args.quiet, "no line each second on standard error");
  app.add_flag("--check", args.check, "read the profile, print it with all defaults, send nothing");
  CLI11_PARSE(app, argc, argv);
  if (sodium_init() < 0) {
    std::fprintf(stderr, "statecast-pktgen: libsodium does not start\n");
    return 1;
  }
  return statecast::run(args);
}
