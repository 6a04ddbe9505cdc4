// SPDX-License-Identifier: BSD-3-Clause
// Pacer: how many packets of a stream are due by now, at a constant rate or along a ramp.
//
//   Pacer pacer({.packets_per_second = 1e6, .ramp_from = 1e5, .ramp_seconds = 5});
//   uint64_t n = pacer.take(seconds_since_start, 32);      // at most 32 of what is due
//
// A generator that was held up sends what it owes, but never more than a millisecond's worth (or 64 packets): beyond
// that the debt is forgiven and counted, because a burst of a whole second would measure the generator, not the device.
// Threads: one. Ownership: value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace statecast {

struct PacerOptions {
  double packets_per_second = std::numeric_limits<double>::infinity();  // infinity: always due
  double ramp_from = 0;
  double ramp_seconds = 0;  // 0: no ramp
  double start_seconds = 0;
};

class Pacer {
 public:
  explicit Pacer(const PacerOptions& o) : o_(o) {}

  uint64_t take(double seconds, uint64_t most) {
    double t = seconds - o_.start_seconds;
    if (t < 0) return 0;
    if (o_.packets_per_second == std::numeric_limits<double>::infinity()) return most;
    double due = due_by(t);
    double debt = due - static_cast<double>(taken_) - forgiven_;
    double allowed = std::max(64.0, rate_at(t) * 1e-3);
    if (debt > allowed) {
      forgiven_ += debt - allowed;
      debt = allowed;
    }
    if (debt < 1) return 0;
    uint64_t n = std::min(static_cast<uint64_t>(debt), most);
    taken_ += n;
    return n;
  }
  void give_back(uint64_t n) {  // of the last take(): could not be sent yet
    if (o_.packets_per_second != std::numeric_limits<double>::infinity()) taken_ -= n;
  }
  void close(double seconds) {  // the end: what is due and was not taken will not be sent
    double t = seconds - o_.start_seconds;
    if (t < 0 || o_.packets_per_second == std::numeric_limits<double>::infinity()) return;
    forgiven_ = std::max(forgiven_, due_by(t) - static_cast<double>(taken_));
  }
  double forgiven() const { return forgiven_; }  // packets never sent because the generator was late

  double rate_at(double t) const {
    if (t >= o_.ramp_seconds) return o_.packets_per_second;
    return o_.ramp_from + (o_.packets_per_second - o_.ramp_from) * t / o_.ramp_seconds;
  }
  // Packets from the start to t: the integral of rate_at.
  double due_by(double t) const {
    double ramp = std::min(t, o_.ramp_seconds);
    double during = ramp > 0 ? (o_.ramp_from + rate_at_end_of(ramp)) / 2 * ramp : 0;
    return during + (t - ramp) * o_.packets_per_second;
  }

 private:
  double rate_at_end_of(double ramp) const {
    return o_.ramp_from + (o_.packets_per_second - o_.ramp_from) * ramp / o_.ramp_seconds;
  }
  PacerOptions o_;
  uint64_t taken_ = 0;
  double forgiven_ = 0;
};

}  // namespace statecast
