// SPDX-License-Identifier: BSD-3-Clause
// statecast stages: where a live proxy's workers spend their time, step by step.
#include <cstdio>
#include <iostream>
#include <memory>
#include <thread>

#include "config/values.h"
#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct StagesOptions : LiveOptions {
  std::string duration = "1s";
};

std::string nanoseconds(double ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", ns);
  return text;
}

// What came between two answers, worker by worker: {"packets": n, "steps": [{"step": "parse", "ns_per_packet": 4.9}]}.
Json difference(const Json& before, const Json& after) {
  const double ns_per_cycle = 1e9 / value_or(after, "cycles_per_second", 1e9);
  Json workers = Json::array();
  for (size_t i = 0; i < part(after, "workers").size(); ++i) {
    const Json &from = part(before, "workers").at(i), &to = part(after, "workers").at(i);
    const auto packets = value_or<uint64_t>(to, "packets", 0) - value_or<uint64_t>(from, "packets", 0);
    Json steps = Json::array();
    double sum = 0;
    for (size_t k = 0; k < part(to, "steps").size(); ++k) {
      const Json& step = part(to, "steps").at(k);
      const auto spent =
          value_or<uint64_t>(step, "cycles", 0) - value_or<uint64_t>(part(from, "steps").at(k), "cycles", 0);
      const double ns = packets == 0 ? 0 : double(spent) * ns_per_cycle / double(packets);
      steps.push_back({{"step", value_or<std::string>(step, "step", "?")}, {"ns_per_packet", ns}});
      sum += ns;
    }
    steps.push_back({{"step", "all"}, {"ns_per_packet", sum}});
    workers.push_back({{"worker", i}, {"packets", packets}, {"steps", steps}});
  }
  return workers;
}

// A column for each worker, a row for each step.
void print(const Json& workers) {
  if (workers.empty()) return;
  std::vector<std::string> head = {"ns per packet"}, packets = {"packets"};
  for (const Json& w : workers) {
    head.push_back("worker " + std::to_string(value_or(w, "worker", 0)));
    packets.push_back(count_text(value_or<uint64_t>(w, "packets", 0)));
  }
  Rows rows(head);
  for (size_t k = 0; k < part(workers.at(0), "steps").size(); ++k) {
    std::vector<std::string> row = {value_or<std::string>(part(workers.at(0), "steps").at(k), "step", "?")};
    for (const Json& w : workers) row.push_back(nanoseconds(value_or(part(w, "steps").at(k), "ns_per_packet", 0.0)));
    rows.add(row);
  }
  rows.add(packets);
  rows.print(std::cout);
}

}  // namespace

void add_stages_command(CLI::App& app) {
  CLI::App* c = add_command(app, "stages", "Where a live proxy's workers spend their time: ns per packet of each step",
                            "statecast stages\n"
                            "statecast stages --socket proxy-1 --for 10s --json");
  auto o = std::make_shared<StagesOptions>();
  add_live_options(*c, *o);
  c->add_option("--for", o->duration, "How long to measure, as in 500ms or 10s")->capture_default_str();
  c->callback([o] {
    auto duration = parse_duration(o->duration);
    if (!duration || *duration <= Duration(0) || *duration > std::chrono::hours(1))
      throw CLI::ValidationError("--for", "expected a duration of up to 1h such as 500ms or 10s, got " + o->duration);
    Live live = Live::find(*o);
    if (!live.is_proxy()) throw Failure({Code::invalid, live.program() + " has no packet steps: ask a proxy"});
    const Json before = live.ask({{"command", "stages"}, {"on", true}});
    std::this_thread::sleep_for(*duration);
    const Json workers = difference(before, live.ask({{"command", "stages"}, {"on", false}}));
    if (o->json)
      std::cout << Json{{"workers", workers}}.dump() << "\n";
    else
      print(workers);
  });
}

}  // namespace statecast::ctl
