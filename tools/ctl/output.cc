// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/output.h"

#include <algorithm>
#include <cstdio>

namespace statecast::ctl {

namespace {

std::string formatted(const char* format, double v) {
  char text[64];
  std::snprintf(text, sizeof text, format, v);
  return text;
}

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789,") == std::string::npos;
}

}  // namespace

const Json& part(const Json& object, const char* key) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  auto it = object.find(key);
  return it == object.end() ? kNothing : *it;
}

void Rows::print(std::ostream& out) const {
  std::vector<size_t> widths(rows_[0].size());
  std::vector<bool> numeric(rows_[0].size(), true);
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t c = 0; c < rows_[r].size(); ++c) {
      widths[c] = std::max(widths[c], rows_[r][c].size());
      if (r > 0 && !is_number(rows_[r][c])) numeric[c] = false;
    }
  }
  for (auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      std::string space(widths[c] - row[c].size(), ' ');
      line += (c ? "  " : "") + (numeric[c] ? space + row[c] : row[c] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  }
}

void print_facts(std::ostream& out, const std::string& headline,
                 const std::vector<std::pair<std::string, std::string>>& facts) {
  size_t width = 0;
  for (auto& [name, value] : facts) width = std::max(width, name.size());
  out << headline << "\n";
  for (auto& [name, value] : facts) out << "  " << name << std::string(width - name.size() + 2, ' ') << value << "\n";
}

std::string yes_no(bool b) {
  return b ? "yes" : "no";
}

std::string count_text(uint64_t n) {
  std::string s = std::to_string(n);
  for (size_t at = s.size(); at > 3; at -= 3) s.insert(at - 3, ",");
  return s;
}

std::string span_text(double ms) {
  if (ms < 10) return formatted("%.2f ms", ms);
  if (ms < 1000) return formatted("%.0f ms", ms);
  if (ms < 60'000) return formatted("%.1f s", ms / 1000);
  auto s = static_cast<uint64_t>(ms / 1000);
  auto two = [](uint64_t a, const char* unit_a, uint64_t b, const char* unit_b) {
    return std::to_string(a) + unit_a + (b ? " " + std::to_string(b) + unit_b : "");
  };
  if (s < 3600) return two(s / 60, " min", s % 60, " s");
  if (s < 86'400) return two(s / 3600, " h", s / 60 % 60, " min");
  return two(s / 86'400, " d", s / 3600 % 24, " h");
}

std::string size_text(const Json& bytes) {
  if (!bytes.is_number() || bytes == UINT64_MAX) return "unlimited";
  auto n = bytes.get<uint64_t>();
  if (n < 1024 * 1024) return count_text(n) + " B";
  static constexpr const char* kUnits[] = {" MiB", " GiB", " TiB"};
  double v = static_cast<double>(n) / (1024 * 1024);
  size_t unit = 0;
  for (; v >= 1024 && unit < 2; ++unit) v /= 1024;
  return formatted("%.1f", v) + kUnits[unit];
}

std::string version_text(const Json& version) {
  if (!version.is_object()) return "-";
  return std::to_string(value_or<uint64_t>(version, "term", 0)) + "." +
         std::to_string(value_or<uint64_t>(version, "incarnation", 0)) + "." +
         std::to_string(value_or<uint64_t>(version, "counter", 0));
}

std::string proxies_text(const Json& ids) {
  std::string out;
  for (auto& id : ids)
    if (id.is_number()) out += (out.empty() ? "p" : ", p") + std::to_string(id.get<uint64_t>());
  return out.empty() ? "-" : out;
}

}  // namespace statecast::ctl
