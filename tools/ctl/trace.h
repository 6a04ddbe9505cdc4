// SPDX-License-Identifier: BSD-3-Clause
// `statecast trace`: what a proxy would do with each packet of a capture, and why. The same steps as in a live proxy,
// offline, on the capture's own clock.
//
//   add_trace_command(app);                       // the subcommand, in the command line
//   auto done = run_trace({.config = "proxy.yaml", .capture = "in.pcap", .json = true}, std::cout, std::cerr);
//
// One line per packet, in order, none left out; broken packets are lines like all others. With `json` each is
//   {"n": 0, "group": "web", "class": "stateful", "protocol": "tcp", "session": {"client": .., "client_port": ..,
//    "server": .., "server_port": ..}, "verdict": "forward", "member": "m1", "reason": "cache_hit",
//    "bytes_left": 9000, "expires_in_ms": 8123}
// and what does not apply is null. `reason` is the third part of the counter that a live proxy would raise.
// Threads: one. Ownership: none.
#pragma once

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <string>

#include "base/result.h"

namespace statecast {

struct TraceOptions {
  std::string config;    // proxy.yaml
  std::string capture;   // pcap or pcapng
  std::string sessions;  // JSON; empty: the cache starts empty
  std::string out;       // pcap of what would be sent; empty: none
  bool json = false;
};

// Lines to `lines`, warnings to `notes`.
Result<> run_trace(const TraceOptions& options, std::ostream& lines, std::ostream& notes);

// Adds `trace` to the command line; its callback throws CLI::RuntimeError(1) when it fails, after saying why.
void add_trace_command(CLI::App& app);

}  // namespace statecast
