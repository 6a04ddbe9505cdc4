// SPDX-License-Identifier: BSD-3-Clause
// Pressure meter: whether a proxy meets more unknown sessions than its directory should be asked about. On as soon as a
// tenth of a second has brought more than 2,000 a second; off when 10 s have passed without 1,000 a second.
//
//   if (meter.update(missed_so_far, now)) ...
//
// Threads: one. Ownership: value.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace statecast {

class PressureMeter {
 public:
  static constexpr double kOnPerSecond = 2'000, kOffPerSecond = 1'000;
  static constexpr Duration kSpan = 100ms, kCalm = 10s;

  // `missed`: packets of unknown sessions since the start.
  bool update(uint64_t missed, Instant now) {
    if (now - since_ < kSpan) return on_;
    const double rate = double(missed - before_) / std::chrono::duration<double>(now - since_).count();
    since_ = now;
    before_ = missed;
    if (rate > kOffPerSecond) busy_ = now;
    on_ = on_ ? now - busy_ < kCalm : rate > kOnPerSecond;
    return on_;
  }

 private:
  bool on_ = false;
  uint64_t before_ = 0;
  Instant since_{}, busy_{};
};

}  // namespace statecast
