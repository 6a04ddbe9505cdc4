// SPDX-License-Identifier: BSD-3-Clause
// Metrics: a plain-text Prometheus page over HTTP (prometheus-cpp).
//
//   MetricsPage page("127.0.0.1:9101", [&] { return std::vector<Metric>{{"statecast_rx_packets", "...", {}, 7}}; });
//
// Threads: `collect` is called from the page's own thread; it reads atomics or a copy. Ownership: the page owns its
// thread and ends it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace statecast {

struct Metric {
  std::string name;  // "statecast_" + counter name with '.' as '_'
  std::string help;
  std::map<std::string, std::string> labels;
  double value = 0;
  bool is_counter = true;  // else gauge
};

class MetricsPage {
 public:
  static Result<std::unique_ptr<MetricsPage>> serve(const std::string& address, std::function<std::vector<Metric>()> collect);
  ~MetricsPage();

 private:
  struct State;
  explicit MetricsPage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace statecast
