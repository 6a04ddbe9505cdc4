// SPDX-License-Identifier: BSD-3-Clause
// Results: what was measured, as values, and how it is told: one line, JSON, or a page with plots.
//
//   std::puts(summary(results).c_str());   std::puts(to_json(results).c_str());   write(path, to_html(results));
//
// The page is one HTML file without scripts or anything from elsewhere; its plots are SVG that is written here.
// Threads: pure functions. Ownership: values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/pktgen/accounting.h"

namespace statecast {

struct LatencyResult {  // ns
  uint64_t count = 0, min = 0, max = 0;
  double mean = 0;
  std::vector<std::pair<double, uint64_t>> percentiles;  // percent, value
};
LatencyResult latency_of(const Histogram& h);

struct FlowResult {
  std::string stream;
  Flow flow = Flow::forward;
  bool attack = false;  // what arrives of it is no loss
  StreamTotals totals;
  double not_sent = 0;  // packets for which the generator was too late
  LatencyResult latency;
};

struct Sample {  // of the time in between
  double at_seconds = 0;
  double sent_per_second = 0, received_per_second = 0;  // packets of good streams and answers
  double received_bits_per_second = 0;
};

struct Trial {
  std::string what;  // "measurement", "throughput 3", "latency at 50 %"
  double seconds = 0;
  double rate_asked = 0;  // packets per second; infinity: no limit
  std::vector<FlowResult> flows;
  LatencyResult latency;  // of all good flows
  std::vector<Sample> samples;
  std::vector<std::pair<std::string, uint64_t>> counters;  // STATECAST_PKTGEN_WORKER_COUNTERS

  StreamTotals good(Flow flow) const;  // of all good streams, in one direction
  uint64_t lost() const { return good(Flow::forward).lost() + good(Flow::answer).lost(); }
  uint64_t counter(const std::string& name) const;
};

struct Results {
  std::string profile;  // effective, as YAML
  unsigned workers = 1;
  double cycles_per_second = 0;
  bool searched = false;
  double throughput = 0;  // found: packets per second with no more loss than allowed
  bool generator_limited = false;
  std::vector<Trial> trials;
};

std::string summary(const Trial& t);  // a few lines for a terminal
std::string to_json(const Results& r);
std::string to_html(const Results& r);

// "14.88 Mpps", "1.2 Gbit/s", "12.3 us"
std::string with_prefix(double value, const char* unit);
std::string nanoseconds_text(double ns);

}  // namespace statecast
