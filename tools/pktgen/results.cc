// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/results.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace statecast {

namespace {

constexpr double kPercents[] = {0,  10,   20, 30, 40,   50,   60,    70,    75,     80,     85,      90,
                                95, 97.5, 98, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 99.9999, 100};

std::string format(const char* how, auto... values) {
  char text[256];
  std::snprintf(text, sizeof text, how, values...);
  return text;
}

nlohmann::json number_or_max(double v) {
  if (std::isinf(v)) return "max";
  return v;
}

nlohmann::json json_of(const LatencyResult& l) {
  nlohmann::json j{{"count", l.count}, {"min_ns", l.min}, {"mean_ns", l.mean}, {"max_ns", l.max}};
  for (auto [percent, value] : l.percentiles)
    if (percent == 50 || percent == 90 || percent == 99 || percent == 99.9 || percent == 99.99)
      j[format("p%g_ns", percent)] = value;
  nlohmann::json curve = nlohmann::json::array();
  for (auto [percent, value] : l.percentiles) curve.push_back({percent, value});
  j["percentiles"] = std::move(curve);
  return j;
}

nlohmann::json json_of(const StreamTotals& t) {
  return {{"sent", t.sent},
          {"sent_bytes", t.sent_bytes},
          {"received", t.received},
          {"received_bytes", t.received_bytes},
          {"lost", t.lost()},
          {"reordered", t.reordered},
          {"late", t.late},
          {"duplicate", t.duplicate},
          {"wrong_member", t.wrong_member}};
}

nlohmann::json json_of(const Trial& t) {
  StreamTotals good = t.good(Flow::forward), answers = t.good(Flow::answer);
  nlohmann::json j = json_of(good);
  j["what"] = t.what;
  j["seconds"] = t.seconds;
  j["rate_asked_pps"] = number_or_max(t.rate_asked);
  if (t.seconds > 0) {
    j["sent_pps"] = static_cast<double>(good.sent) / t.seconds;
    j["received_pps"] = static_cast<double>(good.received) / t.seconds;
    j["received_bps"] = static_cast<double>(good.received_bytes) * 8 / t.seconds;
  }
  if (answers.sent != 0) j["answers"] = json_of(answers);
  j["latency"] = json_of(t.latency);
  nlohmann::json flows = nlohmann::json::array();
  for (const FlowResult& f : t.flows) {
    nlohmann::json one = json_of(f.totals);
    one["stream"] = f.stream;
    one["flow"] = f.flow == Flow::answer ? "answer" : "forward";
    one["attack"] = f.attack;
    one["not_sent"] = f.not_sent;
    one["latency"] = json_of(f.latency);
    if (f.attack) one.erase("lost");
    flows.push_back(std::move(one));
  }
  j["flows"] = std::move(flows);
  nlohmann::json counters;
  for (auto& [name, value] : t.counters) counters[name] = value;
  j["counters"] = std::move(counters);
  nlohmann::json samples = nlohmann::json::array();
  for (const Sample& s : t.samples)
    samples.push_back({{"at", s.at_seconds},
                       {"sent_pps", s.sent_per_second},
                       {"received_pps", s.received_per_second},
                       {"received_bps", s.received_bits_per_second}});
  j["samples"] = std::move(samples);
  return j;
}

}  // namespace

LatencyResult latency_of(const Histogram& h) {
  LatencyResult l{.count = h.count(), .min = 0, .max = h.max(), .mean = h.mean(), .percentiles = {}};
  if (l.count == 0) return l;
  l.min = h.min();
  for (double p : kPercents) l.percentiles.push_back({p, p == 0 ? l.min : h.percentile(p)});
  return l;
}

StreamTotals Trial::good(Flow flow) const {
  StreamTotals sum;
  for (const FlowResult& f : flows) {
    if (f.attack || f.flow != flow) continue;
    sum.sent += f.totals.sent;
    sum.sent_bytes += f.totals.sent_bytes;
    sum.received += f.totals.received;
    sum.received_bytes += f.totals.received_bytes;
    sum.reordered += f.totals.reordered;
    sum.late += f.totals.late;
    sum.duplicate += f.totals.duplicate;
    sum.wrong_member += f.totals.wrong_member;
  }
  return sum;
}

uint64_t Trial::counter(const std::string& name) const {
  for (auto& [n, v] : counters)
    if (n == name) return v;
  return 0;
}

std::string with_prefix(double value, const char* unit) {
  if (std::isinf(value)) return "max";
  const char* prefix = value >= 1e9 ? "G" : value >= 1e6 ? "M" : value >= 1e3 ? "k" : "";
  value /= value >= 1e9 ? 1e9 : value >= 1e6 ? 1e6 : value >= 1e3 ? 1e3 : 1;
  return format("%.*f %s%s", value < 10 ? 3 : value < 100 ? 2 : 1, value, prefix, unit);
}

std::string nanoseconds_text(double ns) {
  if (ns >= 1e9) return format("%.2f s", ns / 1e9);
  if (ns >= 1e6) return format("%.2f ms", ns / 1e6);
  if (ns >= 1e3) return format("%.2f us", ns / 1e3);
  return format("%.0f ns", ns);
}

std::string summary(const Trial& t) {
  double seconds = t.seconds > 0 ? t.seconds : 1;
  std::string out = format("%s: %.2f s, asked %s", t.what.c_str(), t.seconds, with_prefix(t.rate_asked, "pps").c_str());
  for (Flow flow : {Flow::forward, Flow::answer}) {
    StreamTotals g = t.good(flow);
    if (flow == Flow::answer && g.sent == 0) break;
    out += format("%s sent %s, received %s (%s)\n", flow == Flow::answer ? "  answers:" : ",",
                  with_prefix(static_cast<double>(g.sent) / seconds, "pps").c_str(),
                  with_prefix(static_cast<double>(g.received) / seconds, "pps").c_str(),
                  with_prefix(static_cast<double>(g.received_bytes) * 8 / seconds, "bit/s").c_str());
    out += format("  lost %llu of %llu (%.4f %%), reordered %llu, duplicate %llu, wrong member %llu\n",
                  static_cast<unsigned long long>(g.lost()), static_cast<unsigned long long>(g.sent),
                  g.sent ? 100.0 * static_cast<double>(g.lost()) / static_cast<double>(g.sent) : 0.0,
                  static_cast<unsigned long long>(g.reordered), static_cast<unsigned long long>(g.duplicate),
                  static_cast<unsigned long long>(g.wrong_member));
  }
  if (uint64_t n = t.counter("envelopes"))
    out += format("  envelopes %llu, bad tag %llu\n", static_cast<unsigned long long>(n),
                  static_cast<unsigned long long>(t.counter("bad_tag")));
  auto latency = [&](const std::string& who, const LatencyResult& l) {
    if (l.count == 0) return;
    out += "  latency" + who + ": min " + nanoseconds_text(double(l.min)) + ", mean " + nanoseconds_text(l.mean);
    for (auto [percent, value] : l.percentiles)
      if (percent == 50 || percent == 99 || percent == 99.9)
        out += format(", p%g ", percent) + nanoseconds_text(double(value));
    out += ", max " + nanoseconds_text(double(l.max)) + "\n";
  };
  latency("", t.latency);
  if (t.flows.size() < 2) return out;
  for (const FlowResult& f : t.flows) {
    if (f.totals.sent == 0 && f.totals.received == 0) continue;
    out += format("  %-16s %-8s sent %llu, received %llu", f.stream.c_str(),
                  f.flow == Flow::answer ? "answers"
                  : f.attack             ? "attack"
                                         : "",
                  static_cast<unsigned long long>(f.totals.sent), static_cast<unsigned long long>(f.totals.received));
    out += f.latency.count ? ", p99 " + nanoseconds_text([&] {
                               for (auto [percent, value] : f.latency.percentiles)
                                 if (percent == 99) return double(value);
                               return 0.0;
                             }())
                           : "";
    out += "\n";
  }
  return out;
}

std::string to_json(const Results& r) {
  nlohmann::json j{{"program", "statecast-pktgen"},
                   {"workers", r.workers},
                   {"cycles_per_second", r.cycles_per_second},
                   {"profile", r.profile}};
  if (r.searched) j["throughput"] = {{"pps", r.throughput}, {"generator_limited", r.generator_limited}};
  j["trials"] = nlohmann::json::array();
  for (const Trial& t : r.trials) j["trials"].push_back(json_of(t));
  return j.dump(2);
}

}  // namespace statecast
