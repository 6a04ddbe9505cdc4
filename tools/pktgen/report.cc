// SPDX-License-Identifier: BSD-3-Clause
// The page: a table of trials, and of each the throughput over time and the latency by percentile, as SVG.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/pktgen/results.h"

namespace statecast {

namespace {

constexpr double kWidth = 720, kHeight = 260, kLeft = 84, kRight = 40, kTop = 16, kBottom = 40;

std::string format(const char* how, auto... values) {
  char text[512];
  std::snprintf(text, sizeof text, how, values...);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

// 1, 2 or 5 times a power of ten, so that at most `most` steps make `span`.
double step_for(double span, int most) {
  double step = std::pow(10, std::floor(std::log10(span / most)));
  for (double f : {1.0, 2.0, 5.0, 10.0})
    if (span / (step * f) <= most) return step * f;
  return step * 10;
}

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  double pixel_low = 0, pixel_high = 1;
  double at(double v) const {
    double l = logarithmic ? std::log10(low) : low, h = logarithmic ? std::log10(high) : high;
    double x = logarithmic ? std::log10(std::max(v, low)) : v;
    return pixel_low + (h > l ? (x - l) / (h - l) : 0) * (pixel_high - pixel_low);
  }
};

struct Line {
  std::string name, colour;
  std::vector<std::pair<double, double>> points;
};
struct Tick {
  double value;
  std::string text;
};

std::string plot(const std::string& title, const Axis& x, const Axis& y, const std::vector<Tick>& x_ticks,
                 const std::vector<Tick>& y_ticks, const std::vector<Line>& lines, const std::string& x_name) {
  std::string out =
      format("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n", kWidth, kHeight, escaped(title).c_str());
  for (const Tick& t : y_ticks) {
    double p = y.at(t.value);
    out += format("<line class=\"grid\" x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/>", kLeft, p, kWidth - kRight, p);
    out +=
        format("<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", kLeft - 6, p + 4, escaped(t.text).c_str());
  }
  for (const Tick& t : x_ticks) {
    double p = x.at(t.value);
    out += format("<line class=\"grid\" x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/>", p, kTop, p, kHeight - kBottom);
    out += format("<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>\n", p, kHeight - kBottom + 16,
                  escaped(t.text).c_str());
  }
  out += format("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%s</text>\n", (kLeft + kWidth - kRight) / 2,
                kHeight - 6, escaped(x_name).c_str());
  double legend = kLeft + 10;
  for (const Line& l : lines) {
    out += "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" + l.colour + "\" points=\"";
    for (auto [px, py] : l.points) out += format("%.1f,%.1f ", x.at(px), y.at(py));
    out += "\"/>\n";
    out += format("<text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n", legend, kTop + 12, l.colour.c_str(),
                  escaped(l.name).c_str());
    legend += 14 + 7.5 * static_cast<double>(l.name.size());
  }
  return out + "</svg>\n";
}

std::string throughput_plot(const Trial& t) {
  Axis x{0, 0.001, false, kLeft, kWidth - kRight}, y{0, 1, false, kHeight - kBottom, kTop};
  Line sent{"sent", "#888", {}}, received{"received", "#0a6", {}};
  for (const Sample& s : t.samples) {
    x.high = std::max(x.high, s.at_seconds);
    y.high = std::max({y.high, s.sent_per_second * 1.2, s.received_per_second * 1.2});  // room for the legend
    sent.points.push_back({s.at_seconds, s.sent_per_second});
    received.points.push_back({s.at_seconds, s.received_per_second});
  }
  std::vector<Tick> xs, ys;
  double dx = step_for(x.high, 10), dy = step_for(y.high, 5);
  for (double v = 0; v <= x.high * 1.0001; v += dx) xs.push_back({v, format("%g", v)});
  for (double v = 0; v <= y.high; v += dy) ys.push_back({v, with_prefix(v, "pps")});
  return plot("throughput over time", x, y, xs, ys, {sent, received}, "seconds");
}

// Percentiles by how many nines they have, so that the tail is seen.
std::string latency_plot(const Trial& t) {
  constexpr double kRarest = 1e6;
  Axis x{1, kRarest, true, kLeft, kWidth - kRight}, y{1e18, 1, true, kHeight - kBottom, kTop};
  std::vector<Line> lines;
  const char* colours[] = {"#06c", "#c60", "#808", "#084", "#a22", "#555"};
  for (const FlowResult& f : t.flows) {
    if (f.attack || f.latency.count == 0) continue;
    Line l{f.stream + (f.flow == Flow::answer ? " (answers)" : ""), colours[lines.size() % std::size(colours)], {}};
    for (auto [percent, value] : f.latency.percentiles) {
      if (percent == 100) continue;
      double ns = std::max<double>(1, static_cast<double>(value));
      l.points.push_back({1 / (1 - percent / 100), ns});
      y.low = std::min(y.low, ns);
      y.high = std::max(y.high, ns);
    }
    lines.push_back(std::move(l));
  }
  if (lines.empty()) return "";
  y.low = std::pow(10, std::floor(std::log10(y.low)));
  y.high = std::max(std::pow(10, std::ceil(std::log10(y.high))), y.low * 10);
  std::vector<Tick> xs = {{1, "0 %"},          {10, "90 %"},          {100, "99 %"},     {1000, "99.9 %"},
                          {10'000, "99.99 %"}, {100'000, "99.999 %"}, {1e6, "99.9999 %"}},
                    ys;
  for (double v = y.low; v <= y.high * 1.001; v *= 10) ys.push_back({v, nanoseconds_text(v)});
  return plot("latency by percentile", x, y, xs, ys, lines, "percentile");
}

std::string row(const char* cell, const std::vector<std::string>& cells) {
  std::string out = "<tr>";
  for (auto& c : cells) out += std::string("<") + cell + ">" + escaped(c) + "</" + cell + ">";
  return out + "</tr>\n";
}

std::string percentile_text(const LatencyResult& l, double percent) {
  for (auto [p, v] : l.percentiles)
    if (p == percent) return nanoseconds_text(static_cast<double>(v));
  return "-";
}

std::string trial_table(const Results& r) {
  std::string out = "<table>\n" + row("th", {"trial", "asked", "sent", "received", "loss", "reordered", "duplicate",
                                             "wrong member", "bad tag", "p50", "p99", "p99.9", "max"});
  for (const Trial& t : r.trials) {
    StreamTotals g = t.good(Flow::forward), answers = t.good(Flow::answer);
    uint64_t sent = g.sent + answers.sent;
    double seconds = t.seconds > 0 ? t.seconds : 1;
    out += row("td", {t.what, with_prefix(t.rate_asked, "pps"), with_prefix(double(g.sent) / seconds, "pps"),
                      with_prefix(double(g.received) / seconds, "pps"),
                      format("%.4f %%", sent ? 100.0 * double(t.lost()) / double(sent) : 0.0),
                      std::to_string(g.reordered + answers.reordered), std::to_string(g.duplicate + answers.duplicate),
                      std::to_string(g.wrong_member + answers.wrong_member), std::to_string(t.counter("bad_tag")),
                      percentile_text(t.latency, 50), percentile_text(t.latency, 99), percentile_text(t.latency, 99.9),
                      nanoseconds_text(double(t.latency.max))});
  }
  return out + "</table>\n";
}

std::string flow_table(const Trial& t) {
  std::string out =
      "<table>\n" + row("th", {"stream", "", "sent", "received", "lost", "not sent", "p50", "p99", "max"});
  for (const FlowResult& f : t.flows) {
    if (f.totals.sent == 0 && f.totals.received == 0) continue;
    out += row("td", {f.stream,
                      f.flow == Flow::answer ? "answers"
                      : f.attack             ? "attack"
                                             : "",
                      std::to_string(f.totals.sent), std::to_string(f.totals.received),
                      f.attack ? "-" : std::to_string(f.totals.lost()), format("%.0f", f.not_sent),
                      percentile_text(f.latency, 50), percentile_text(f.latency, 99),
                      f.latency.count ? nanoseconds_text(double(f.latency.max)) : "-"});
  }
  return out + "</table>\n";
}

}  // namespace

std::string to_html(const Results& r) {
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>statecast-pktgen</title>\n<style>"
      "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
      "table{border-collapse:collapse;font-size:13px;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;"
      "text-align:right}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;font:12px "
      "system-ui,sans-serif}svg .grid{stroke:#ddd}pre{background:#f6f6f6;padding:1em;overflow:auto}</style></head>"
      "<body>\n<h1>statecast-pktgen</h1>\n";
  if (r.searched)
    out += "<p>Throughput by RFC 2544: <b>" + with_prefix(r.throughput, "pps") + "</b>" +
           (r.generator_limited ? " (all that the generator could send)" : "") + ".</p>\n";
  out += trial_table(r);
  for (const Trial& t : r.trials) {
    out += "<h2>" + escaped(t.what) + "</h2>\n" + throughput_plot(t) + latency_plot(t) + flow_table(t);
    std::string counters;
    for (auto& [name, value] : t.counters)
      if (value != 0) counters += (counters.empty() ? "" : ", ") + name + " " + std::to_string(value);
    if (!counters.empty()) out += "<p>" + escaped(counters) + "</p>\n";
  }
  out += format("<p>%u workers, clock of %.3f GHz.</p>\n", r.workers, r.cycles_per_second / 1e9);
  return out + "<h2>Profile</h2>\n<pre>" + escaped(r.profile) + "</pre>\n</body></html>\n";
}

}  // namespace statecast
