// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/trace.h"

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "config/config.h"
#include "tools/ctl/pcap_io.h"
#include "tools/ctl/trace_sessions.h"
#include "tools/ctl/trace_world.h"

namespace statecast {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json or_null(const std::optional<T>& v) {
  return v ? Json(*v) : Json(nullptr);
}

Json to_json(size_t n, const Traced& t) {
  Json session = nullptr;
  if (t.session) {
    const auto port = [](const std::optional<Port>& p) { return p ? Json(p->value) : Json(nullptr); };
    session = {{"client", to_string(t.session->client)},
               {"client_port", port(t.session->client_port)},
               {"server", to_string(t.session->server)},
               {"server_port", port(t.session->server_port)}};
  }
  return {{"n", n},
          {"group", or_null(t.group)},
          {"class", to_string(t.packet_class)},
          {"protocol", or_null(t.protocol)},
          {"session", session},
          {"verdict", t.verdict},
          {"member", or_null(t.member)},
          {"reason", t.reason},
          {"bytes_left", or_null(t.bytes_left)},
          {"expires_in_ms", or_null(t.expires_in_ms)}};
}

// "12  forward m1 (cache_hit)  web stateful tcp 198.51.100.7:40000 -> 203.0.113.10:443, 9000 bytes, 8123 ms left"
std::string to_line(size_t n, const Traced& t) {
  std::string line = std::to_string(n) + "  " + t.verdict;
  if (t.member) line += " " + *t.member;
  line += " (" + t.reason + ")  " + t.group.value_or("-") + " " + to_string(t.packet_class);
  if (t.protocol) line += " " + *t.protocol;
  if (t.session) {
    const auto end = [](const IpAddress& a, const std::optional<Port>& p) {
      return p ? to_string(Endpoint{a, *p}) : to_string(a);
    };
    line +=
        " " + end(t.session->client, t.session->client_port) + " -> " + end(t.session->server, t.session->server_port);
  }
  if (t.bytes_left) line += ", " + std::to_string(*t.bytes_left) + " bytes left";
  if (t.expires_in_ms) line += ", ends in " + std::to_string(*t.expires_in_ms) + " ms";
  return line;
}

// Without the fleet's secret the steps are the same; only which member a new session is given to differs.
FleetSecret secret_for(const ProxyConfig& config, std::ostream& notes) {
  if (auto secret = read_fleet_secret(config.fleet_secret)) return *secret;
  notes << "note: " << config.fleet_secret
        << " cannot be read; tracing under a secret of zeros, so that members chosen "
        << "for new sessions differ from the live ones\n";
  return {};
}

}  // namespace

Result<> run_trace(const TraceOptions& options, std::ostream& lines, std::ostream& notes) {
  auto config = load_proxy_config(options.config);
  if (!config) return fail(config.error());
  std::vector<PreloadedSession> sessions;
  if (!options.sessions.empty()) {
    auto loaded = load_trace_sessions(options.sessions, *config);
    if (!loaded) return fail(loaded.error());
    sessions = std::move(*loaded);
  }
  auto in = CaptureReader::open(options.capture);
  if (!in) return fail(in.error());
  std::unique_ptr<CaptureWriter> out;
  if (!options.out.empty()) {
    auto created = CaptureWriter::create(options.out);
    if (!created) return fail(created.error());
    out = std::move(*created);
  }

  std::unique_ptr<TraceWorld> world;
  CapturedPacket packet;
  for (size_t n = 0; (*in)->next(packet); ++n) {
    if (!world) {
      auto made = TraceWorld::create(*config, secret_for(*config, notes), packet.at, sessions);
      if (!made) return fail(made.error());
      world = std::move(*made);
    }
    const Traced t = world->run(packet, (*in)->link());
    if (options.json) {
      lines << to_json(n, t).dump() << '\n';
    } else {
      lines << to_line(n, t) << '\n';
    }
    if (out && !t.sent.empty()) out->write(t.sent, packet.at);
  }
  lines.flush();
  if (!(*in)->end_note().empty()) notes << "note: " << options.capture << ": " << (*in)->end_note() << '\n';
  if (!lines) return fail(Code::system, "the output could not be written");
  if (out) return out->close();
  return {};
}

void add_trace_command(CLI::App& app) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App* trace =
      app.add_subcommand("trace", "Tell for each packet of a capture what a proxy would do with it, and why");
  trace->add_option("--config", options->config, "The proxy's configuration")->required();
  trace->add_option("--pcap", options->capture, "Capture: pcap or pcapng, Ethernet or raw IP")->required();
  trace->add_option("--sessions", options->sessions,
                    "JSON: cache entries at the first packet, e.g. [{\"session\": \"tcp 198.51.100.7:40000 "
                    "203.0.113.10:443\", \"member\": \"m1\", \"bytes\": 9000, \"lifetime\": \"10s\"}]; member may be "
                    "DROP or STATELESS");
  trace->add_option("--out", options->out, "Write the frames that would be sent to this pcap");
  trace->add_flag("--json", options->json, "One JSON object per packet");
  trace->footer(
      "Verdicts: forward (sent on; to a member unless the proxy answers itself), query (held while the directory is\n"
      "asked), kernel (not for this proxy's packet path), drop. The reason is part of the counter's name.\n\n"
      "Examples:\n"
      "  statecast trace --config proxy.yaml --pcap in.pcap\n"
      "  statecast trace --config proxy.yaml --pcap in.pcapng --sessions s.json --out sent.pcap --json | jq .reason");
  trace->callback([options] {
    if (auto done = run_trace(*options, std::cout, std::cerr); !done) {
      std::cerr << "statecast trace: " << done.error().message << '\n';
      throw CLI::RuntimeError(1);
    }
  });
}

}  // namespace statecast
