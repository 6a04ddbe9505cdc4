// SPDX-License-Identifier: BSD-3-Clause
// Counters: one number per line of counters.def, kept by each worker for itself.
//
//   Counters mine;
//   mine.add(Counter::rx_packets, n);                 // the worker that owns it
//   uint64_t all = a.get(Counter::rx_packets) + b.get(Counter::rx_packets);   // anybody, any time
//
// Threads: one writer each, so that an add is a plain load and store; readers see whole numbers, possibly a little old.
// Ownership: value.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace statecast {

enum class Counter : uint16_t {
#define COUNTER(symbol, name, severity, unit, sentence) symbol,
#include "dataplane/counters.def"
#undef COUNTER
  count
};
inline constexpr size_t kCounterCount = static_cast<size_t>(Counter::count);

const char* counter_name(Counter c);  // "resolve.forward.cache_hit.packets"
const char* counter_help(Counter c);  // the sentence

class alignas(64) Counters {
 public:
  void add(Counter c, uint64_t n = 1) {
    auto& v = value_[static_cast<size_t>(c)];
    v.store(v.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t get(Counter c) const { return value_[static_cast<size_t>(c)].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kCounterCount> value_{};
};

}  // namespace statecast
