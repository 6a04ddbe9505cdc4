// SPDX-License-Identifier: BSD-3-Clause
// Line: one direction of an impaired link, sans-IO. Frames go in, and come out later, twice, in another order, or
// never, as a seed decides; the same seed and the same frames at the same times give the same.
//
//   Line line(seed);
//   line.set({.loss = 0.02, .delay = 2ms, .jitter = 5ms});
//   line.offer(frame, now);
//   while (const Frame* f = line.due(now)) { send(*f); line.pop(); }
//   wake_at(line.next_due());
//
// Threads: one. Ownership: copies of the frames.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "base/units.h"

namespace statecast {

struct Impairment {
  double loss = 0, duplicate = 0;  // probability of each frame
  Duration delay{}, jitter{};      // between delay and delay + jitter, so that jitter also changes the order
  bool cut = false;                // nothing passes
};

struct LineCounters {
  uint64_t passed = 0, lost = 0, duplicated = 0, overflowed = 0;
};

class Line {
 public:
  using Frame = std::vector<uint8_t>;
  static constexpr size_t kFramesMax = 20'000;  // on their way at once; what is beyond is dropped and counted

  explicit Line(uint64_t seed) : rng_(seed) {}

  // For what is offered from now on; frames on their way arrive.
  void set(const Impairment& impairment) { impairment_ = impairment; }
  void offer(Bytes frame, Instant now);
  // The next frame to be sent by now; nullptr: none. It stays until pop().
  const Frame* due(Instant now) const;
  void pop();  // REQUIRES: due() said something
  Instant next_due() const { return on_their_way_.empty() ? Instant::max() : on_their_way_.begin()->first; }
  const LineCounters& counters() const { return counters_; }

 private:
  void send_later(Bytes frame, Instant now);

  Rng rng_;
  Impairment impairment_;
  std::multimap<Instant, Frame> on_their_way_;  // those of one time in the order in which they came
  LineCounters counters_;
};

}  // namespace statecast
