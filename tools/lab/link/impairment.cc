// SPDX-License-Identifier: BSD-3-Clause
#include "tools/lab/link/impairment.h"

namespace statecast {

void Line::offer(Bytes frame, Instant now) {
  if (impairment_.cut || rng_.chance(impairment_.loss)) {
    ++counters_.lost;
    return;
  }
  send_later(frame, now);
  if (!rng_.chance(impairment_.duplicate)) return;
  ++counters_.duplicated;
  send_later(frame, now);
}

void Line::send_later(Bytes frame, Instant now) {
  if (on_their_way_.size() >= kFramesMax) {
    ++counters_.overflowed;
    return;
  }
  const auto jitter = static_cast<int64_t>(rng_.below(static_cast<uint64_t>(impairment_.jitter.count()) + 1));
  on_their_way_.emplace(now + impairment_.delay + Duration(jitter), Frame(frame.begin(), frame.end()));
}

const Line::Frame* Line::due(Instant now) const {
  return next_due() <= now ? &on_their_way_.begin()->second : nullptr;
}

void Line::pop() {
  on_their_way_.erase(on_their_way_.begin());
  ++counters_.passed;
}

}  // namespace statecast
