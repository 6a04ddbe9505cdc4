// SPDX-License-Identifier: BSD-3-Clause
// The sessions file of `statecast trace`: cache entries that are there when the capture starts. A JSON array, or one
// object per line, of
//
//   {"session": {"client": "198.51.100.7", "client_port": 40000, "server": "203.0.113.10", "server_port": 443},
//    "protocol": "tcp", "member": "m1", "bytes": 9000, "lifetime": "10s"}
//
//   session    as above, or as text: "tcp 198.51.100.7:40000 203.0.113.10:443"
//   protocol   "tcp" (also when absent) or "udp"; with a text session it stands there
//   member     "m1", "DROP" or "STATELESS"
//   bytes      a number, "64KiB" or "unlimited" (null or absent: unlimited)
//   lifetime   from the first packet on: "10s", or `lifetime_ms` with a number (absent: the group's lease time)
//
// A line that `statecast trace --json` has printed for a packet is such an object, too: `group` is checked against the
// server's address, `bytes_left` and `expires_in_ms` stand for bytes and lifetime; what else it says is not looked at.
// Threads: pure functions. Ownership: values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "tools/ctl/trace_world.h"

namespace statecast {

// An error names `name`, the place of the entry and the key.
Result<std::vector<PreloadedSession>> parse_trace_sessions(std::string_view text, const std::string& name,
                                                           const ProxyConfig& config);
Result<std::vector<PreloadedSession>> load_trace_sessions(const std::string& path, const ProxyConfig& config);

}  // namespace statecast
