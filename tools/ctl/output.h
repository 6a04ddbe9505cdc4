// SPDX-License-Identifier: BSD-3-Clause
// Words and tables for people.
//
//   Rows rows({"proxy", "heard"});  rows.add({"p2", "yes"});  rows.print(std::cout);
//
// Threads: values. Ownership: none.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

namespace statecast::ctl {

using Json = nlohmann::json;

// The member `key` of an object, or `fallback` when it is not there or of another type: a program of another version
// may say less.
template <class T>
T value_or(const Json& object, const char* key, T fallback) {
  if (!object.is_object()) return fallback;
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  try {
    return it->get<T>();
  } catch (const Json::exception&) { return fallback; }
}
const Json& part(const Json& object, const char* key);  // null when it is not there

// Columns as wide as their widest cell, two spaces between; columns of numbers to the right.
class Rows {
 public:
  explicit Rows(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() < 2; }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "  name   value" lines under a headline, values aligned.
void print_facts(std::ostream& out, const std::string& headline,
                 const std::vector<std::pair<std::string, std::string>>& facts);

std::string yes_no(bool b);
std::string count_text(uint64_t n);             // "1,234,567"
std::string span_text(double ms);               // "0.12 ms", "9.1 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"
std::string size_text(const Json& bytes);       // "9,000 B", "1.5 MiB"; no number: "unlimited"
std::string version_text(const Json& version);  // "1.3.9" (term, incarnation, counter); "-" without one
std::string proxies_text(const Json& ids);      // "p1, p3"; "-" for none

}  // namespace statecast::ctl
