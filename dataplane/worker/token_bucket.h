// SPDX-License-Identifier: BSD-3-Clause
// TokenBucket: so many per second, a burst of as many as gather in a tenth of a second (at least one).
//
//   TokenBucket echoes(1000);
//   if (!echoes.take(now)) drop();
//
// Threads: one object, one thread. Ownership: value.
#pragma once

#include <algorithm>

#include "base/units.h"

namespace statecast {

class TokenBucket {
 public:
  explicit TokenBucket(double per_second) : per_second_(per_second), tokens_(most()) {}

  bool take(Instant now) {
    if (now > last_) {
      tokens_ = std::min(most(), tokens_ + per_second_ * std::chrono::duration<double>(now - last_).count());
      last_ = now;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double most() const { return std::max(1.0, per_second_ / 10); }
  double per_second_;
  double tokens_;
  Instant last_{};
};

}  // namespace statecast
