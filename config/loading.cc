// SPDX-License-Identifier: BSD-3-Clause
// What reading and writing by the tables needs, whatever the struct: errors with places, suggestions, YAML text.
#include <algorithm>

#include "config/schema.h"

namespace statecast {

void Loading::error(const YamlNode& at, const std::string& what) {
  if (errors_.size() == kErrorsShown) {
    ++not_shown_;
    return;
  }
  std::string path;
  for (const Part& p : path_) {
    if (p.key.empty())
      path += "[" + std::to_string(p.index) + "]";
    else
      path += (path.empty() ? "" : ".") + std::string(p.key.substr(0, 64));
  }
  errors_.push_back(file_ + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + path +
                    (path.empty() ? "" : ": ") + what);
}

Error Loading::all() const {
  std::string text;
  for (auto& e : errors_) text += (text.empty() ? "" : "\n") + e;
  if (not_shown_) text += "\n" + file_ + ": and " + std::to_string(not_shown_) + " more";
  return {Code::invalid, text};
}

namespace {

// Levenshtein's distance; the words are short.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string suggestion(std::string_view wrong, const std::vector<std::string_view>& known) {
  wrong = wrong.substr(0, 64);
  std::string_view best;
  size_t nearest = SIZE_MAX;
  for (std::string_view k : known)
    if (size_t d = distance(wrong, k); d < nearest) nearest = d, best = k;
  if (nearest <= std::max<size_t>(2, best.size() / 3)) return " did you mean \"" + std::string(best) + "\"?";
  std::string all;
  for (std::string_view k : known) all += (all.empty() ? " known are: " : ", ") + std::string(k);
  return all;
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null: return "nothing";
    case YamlNode::Kind::list: return "a list";
    case YamlNode::Kind::map: return "a map";
    case YamlNode::Kind::scalar: break;
  }
  bool is_long = node.text.size() > 60;
  return "\"" + (is_long ? node.text.substr(0, 57) + "..." : node.text) + "\"";
}

std::string yaml_scalar(const std::string& text) {
  static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
  bool plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos &&
               text.find_first_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/") != std::string::npos &&
               text[0] != '-' && text[0] != '.';
  for (const char* word : {"null", "Null", "NULL", "true", "false", "yes", "no", "on", "off", "y", "n"})
    plain = plain && text != word;
  // A dotted quad and its prefix need no quotes to be read as text.
  bool address = text.find('.') != std::string::npos && text.find_first_not_of("0123456789./:") == std::string::npos;
  if (plain || address) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string YamlText::indent_and_dash() {
  if (!dash_) return std::string(depth_, ' ');
  dash_ = false;
  return std::string(depth_ - 2, ' ') + "- ";
}

}  // namespace statecast
