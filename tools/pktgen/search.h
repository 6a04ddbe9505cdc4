// SPDX-License-Identifier: BSD-3-Clause
// ThroughputSearch: RFC 2544, section 26.1, as a machine without clock or ports: it says at which rate to try, is told
// what came of it, and ends with the highest rate that passed.
//
//   ThroughputSearch search({.from = 0, .to = 14.88e6, .loss = 0, .resolution = 0.01});
//   while (auto rate = search.next()) search.take(measure(*rate));
//   search.best();                                       // packets per second; 0: nothing passed
//
// The first trial is at `to`. After a failure the interval between the highest rate that passed and the lowest that
// failed is halved until it is no wider than resolution * the first trial's rate. A trial in which the generator itself
// could not send what was asked (it or its port is the bottleneck) counts for the rate that it did send.
// Threads: one. Ownership: value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace statecast {

struct SearchOptions {
  double from = 0;  // packets per second, taken to pass
  double to = 0;
  double loss = 0;           // share of packets that a trial may lose
  double resolution = 0.01;  // of the first trial's rate
};

struct TrialOutcome {
  double rate_sent = 0;  // packets per second that really left
  uint64_t sent = 0, lost = 0;
};

class ThroughputSearch {
 public:
  explicit ThroughputSearch(const SearchOptions& o) : o_(o), passed_(o.from), failed_(o.to) {}

  // The rate of the next trial; nullopt: the search is over. REQUIRES: take() between two calls.
  std::optional<double> next() {
    if (trials_ == 0) return asked_ = o_.to;
    if (first_passed_ || failed_ - passed_ <= o_.resolution * span_) return std::nullopt;
    return asked_ = passed_ + (failed_ - passed_) / 2;
  }
  void take(const TrialOutcome& t) {
    bool limited = t.rate_sent < asked_ * kSentShare;
    double rate = limited ? t.rate_sent : asked_;
    bool pass = t.sent > 0 && static_cast<double>(t.lost) <= o_.loss * static_cast<double>(t.sent);
    if (trials_++ == 0) {
      span_ = rate;
      first_passed_ = pass;
      failed_ = rate;
      generator_limited_ = pass && limited;
    }
    if (pass) {
      best_ = std::max(best_, rate);
      passed_ = std::max(passed_, rate);
    } else {
      failed_ = std::min(failed_, rate);
    }
    // The generator sent less than it was asked for and nothing was lost: it will not do better further up.
    if (pass && limited && !first_passed_) failed_ = std::min(failed_, std::max(passed_, asked_));
  }

  double best() const { return best_; }
  unsigned trials() const { return trials_; }
  bool generator_limited() const { return generator_limited_; }  // the device passed all that could be sent

 private:
  static constexpr double kSentShare = 0.98;
  SearchOptions o_;
  double passed_, failed_, best_ = 0, asked_ = 0, span_ = 0;
  unsigned trials_ = 0;
  bool first_passed_ = false, generator_limited_ = false;
};

}  // namespace statecast
