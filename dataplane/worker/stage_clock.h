// SPDX-License-Identifier: BSD-3-Clause
// Stage clock: how many cycles of the time stamp counter each step of the pipeline took, for whoever asks at run time.
//
//   StageClock clock;
//   state.stages = &clock;                       // nullptr: not measured, which costs a branch per step and burst
//   run_pipeline(...);
//   clock.cycles(Stage::resolve);
//
// Threads: one worker's own. Ownership: value.
#pragma once

#include <rte_cycles.h>

#include <array>
#include <cstdint>

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
    cycles_[size_t(s)] += now - at_;
    at_ = now;
  }
  uint64_t cycles(Stage s) const { return cycles_[size_t(s)]; }

 private:
  std::array<uint64_t, size_t(Stage::count)> cycles_{};
  uint64_t at_ = 0;
};

}  // namespace statecast
