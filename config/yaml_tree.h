// SPDX-License-Identifier: BSD-3-Clause
// A YAML document as a tree that knows where each value stands. All of yaml-cpp is behind this header; none of its
// exceptions comes out.
//
//   auto tree = parse_yaml(text, "proxy.yaml");     // or "proxy.yaml:3:7: ..." as an error
//   for (auto& [key, value] : tree->entries()) ...
//
// The subset of YAML that a configuration needs: maps, lists and scalars, nested at most kYamlDepthMax deep. Anchors,
// aliases, tags and further documents are errors (a few lines of aliases can stand for gigabytes).
// Threads: values. Ownership: the tree owns all.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace statecast {

inline constexpr size_t kYamlDepthMax = 16;
inline constexpr size_t kYamlSizeMax = 64 * 1024 * 1024;  // bytes; 10,000 groups are about 3 MB

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  struct Entry;

  Kind kind = Kind::null;
  int line = 1, column = 1;     // as editors count
  std::string text;             // scalar
  std::vector<YamlNode> items;  // list: its items; map: key, value, key, value...

  size_t entry_count() const { return items.size() / 2; }
  const YamlNode& key(size_t i) const { return items[2 * i]; }
  const YamlNode& value(size_t i) const { return items[2 * i + 1]; }
  const YamlNode* find(std::string_view name) const;  // in a map; nullptr when it is not there
};

// Where to point at: the value of `key` in a map, item `i` of a list; the node itself where that is not there (a
// default).
inline const YamlNode& at(const YamlNode& map, std::string_view key) {
  const YamlNode* n = map.find(key);
  return n ? *n : map;
}
inline const YamlNode& at(const YamlNode& list, size_t i) {
  return i < list.items.size() ? list.items[i] : list;
}

Result<YamlNode> parse_yaml(const std::string& text, const std::string& file);

}  // namespace statecast
