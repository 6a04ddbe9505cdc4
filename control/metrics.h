// SPDX-License-Identifier: BSD-3-Clause
// Metrics: a plain-text Prometheus page over HTTP (prometheus-cpp), at http://ADDRESS/metrics.
//
//   auto page = MetricsPage::serve("127.0.0.1:9101", [&] {
//     return std::vector<Metric>{{metric_name("rx.all.packets"), "Frames received from ports.", {}, 7}};
//   });
//   if (!page) die(page.error().message);
//
// Threads: `collect` is called from the page's own threads (one call at a time); it reads atomics or a copy, and is not
// called any more once the page is gone. Ownership: the page owns its threads and ends them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace statecast {

struct Metric {
  std::string name;  // metric_name(...)
  std::string help;
  std::map<std::string, std::string> labels;
  double value = 0;
  bool is_counter = true;  // else gauge
};

// The page's name of a counter: "statecast_" and its name with '_' for whatever Prometheus does not take in a name.
std::string metric_name(std::string_view counter);

class MetricsPage {
 public:
  // `address` is "127.0.0.1:9101" or "[::1]:9101"; port 0 takes a free one (see port()).
  static Result<std::unique_ptr<MetricsPage>> serve(const std::string& address,
                                                    std::function<std::vector<Metric>()> collect);
  ~MetricsPage();
  Port port() const;

 private:
  struct State;
  explicit MetricsPage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace statecast
