// SPDX-License-Identifier: BSD-3-Clause
// Stage clock: how many cycles of the time stamp counter each step of the pipeline took, for whoever asks at run time.
//
//   worker.measure_stages(true);                 // any thread; else a step costs one branch more per burst
//   const StageClock& c = worker.stage_clock();
//   c.cycles(Stage::resolve) / c.packets();
//
// Steps overlap in the processor, so that the end of one may be counted with the next; their sum is right.
// Threads: start(), lap() and add_packets() from the worker; the getters from any. Ownership: value.
#pragma once

#include <rte_cycles.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <iterator>

namespace statecast {

enum class Stage : uint8_t { parse, group, open, classify, identify, resolve, encapsulate, deliver, finish, count };
inline constexpr const char* kStageNames[] = {"parse",   "group",       "open",    "classify", "identify",
                                              "resolve", "encapsulate", "deliver", "finish"};
static_assert(std::size(kStageNames) == size_t(Stage::count));

class StageClock {
 public:
  void start() { at_ = rte_rdtsc(); }
  void lap(Stage s) {
    const uint64_t now = rte_rdtsc();
    add(cycles_[size_t(s)], now - at_);
    at_ = now;
  }
  void add_packets(uint64_t n) { add(packets_, n); }

  uint64_t cycles(Stage s) const { return cycles_[size_t(s)].load(std::memory_order_relaxed); }
  uint64_t packets() const { return packets_.load(std::memory_order_relaxed); }

 private:
  static void add(std::atomic<uint64_t>& to, uint64_t n) {  // one writer
    to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::array<std::atomic<uint64_t>, size_t(Stage::count)> cycles_{};
  std::atomic<uint64_t> packets_{0};
  uint64_t at_ = 0;
};

}  // namespace statecast
