// SPDX-License-Identifier: BSD-3-Clause
// The agent's counters, expanded from agent_counters.def.
//
//   AgentCounters counters;
//   counters.add(AgentCounter::client_drop_revoked);
//   counters.get(AgentCounter::client_drop_revoked);
//
// Threads: one thread adds, any thread reads. Ownership: value.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace statecast {

enum class AgentCounter : uint8_t {
#define COUNTER(symbol, name, severity, unit, sentence) symbol,
#include "tools/agent/agent_counters.def"
#undef COUNTER
  count_
};
inline constexpr size_t kAgentCounterCount = static_cast<size_t>(AgentCounter::count_);

struct AgentCounterInfo {
  const char* name;
  const char* severity;
  const char* unit;
  const char* sentence;
};
inline constexpr std::array<AgentCounterInfo, kAgentCounterCount> kAgentCounters = {{
#define COUNTER(symbol, name, severity, unit, sentence) {name, #severity, #unit, sentence},
#include "tools/agent/agent_counters.def"
#undef COUNTER
}};

class AgentCounters {
 public:
  // A load and a store instead of an atomic add: there is one writer.
  void add(AgentCounter c, uint64_t n = 1) {
    auto& v = values_[static_cast<size_t>(c)];
    v.store(v.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t get(AgentCounter c) const { return values_[static_cast<size_t>(c)].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kAgentCounterCount> values_{};
};

}  // namespace statecast
