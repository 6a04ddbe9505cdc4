// SPDX-License-Identifier: BSD-3-Clause
// The log of a program: spdlog's default logger, set up once, one line per message on standard error.
//
//   if (auto r = set_up_log("statecast-proxy", config.log.level); !r) die(r.error());
//   spdlog::info("peer {} is heard", to_string(id));
//   // 2026-11-25T23:04:05.678Z info statecast-proxy: peer p2 is heard
//
// Threads: set_up_log before others start; then any thread may log, but never per packet. Ownership: spdlog's registry.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "base/result.h"

namespace statecast {

// `level`: trace, debug, info, warn, error or off.
Result<> set_up_log(std::string_view program, std::string_view level);

}  // namespace statecast
