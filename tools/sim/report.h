// SPDX-License-Identifier: BSD-3-Clause
// What is printed of runs: JSON and text, both the same for the same seed. Threads: one. Ownership: none.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tools/sim/run.h"

namespace statecast::sim {

nlohmann::json to_json(const RunResult& r);
// The fleet, the faults, and what came of it, in a few lines.
const char* type_name(size_t type);  // of a message, by its number on the wire
std::string to_text(const RunResult& r);
// What a checker found, the trace before it, and how to see it again.
std::string breach_text(const RunResult& r, const std::string& replay);

}  // namespace statecast::sim
