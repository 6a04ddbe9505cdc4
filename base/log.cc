// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <string>

namespace statecast {

namespace {

struct LevelName {
  std::string_view name;
  spdlog::level::level_enum level;
};
constexpr LevelName kLevels[] = {
    {"trace", spdlog::level::trace}, {"debug", spdlog::level::debug}, {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},   {"error", spdlog::level::err},   {"off", spdlog::level::off},
};

}  // namespace

Result<> set_up_log(std::string_view program, std::string_view level) {
  for (const LevelName& known : kLevels) {
    if (known.name != level) continue;
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    auto logger = std::make_shared<spdlog::logger>(std::string(program), std::move(sink));
    logger->set_level(known.level);
    logger->flush_on(spdlog::level::trace);  // nothing is lost when the program dies
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v", spdlog::pattern_time_type::utc);
    spdlog::set_default_logger(std::move(logger));
    return {};
  }
  return fail(Code::invalid,
              "log level '" + std::string(level) + "' is unknown: use trace, debug, info, warn, error or off");
}

}  // namespace statecast
