// SPDX-License-Identifier: BSD-3-Clause
// The schema as data: one Table per struct of config.h, one Key per field. The loader reads by it, to_yaml() writes by
// it, error messages say what was expected by it, and docs/configuration.md is printed from it; so they cannot differ.
//
//   table.add(scalar("time", &LeaseConfig::time, duration_value(1s, 60s), {.reload = live, .audience = tuning,
//                    .sentence = "Hard cap on a lease."}));
//
// A default is what a default-constructed struct holds: it is written down once, in config.h.
// Threads: tables are built once and constant. Ownership: static.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/pktgen_config.h"
#include "config/yaml_tree.h"

namespace statecast {

enum class Reload : uint8_t { init, live };                   // init: needs a restart
enum class Audience : uint8_t { operators, tuning, expert };  // who should touch it
// Whose file may have it. A generator's profile has tables of its own: every key in them counts.
enum class Program : uint8_t { proxy = 1, agent = 2, both = 3, pktgen = 7 };

struct KeyNotes {
  Reload reload = Reload::init;
  Audience audience = Audience::operators;
  Program program = Program::both;
  bool required = false;
  std::string fallback;  // said instead of the default, where that depends on other keys
  std::string sentence;
};

// How a value is written: its type in a word, what an error says was expected, and the way in and out.
template <class V>
struct ValueForm {
  std::string type;      // "duration"
  std::string range;     // "1s to 60s"; may be empty
  std::string expected;  // "a duration between 1s and 60s such as \"10s\""
  std::function<std::optional<V>(std::string_view)> parse;
  std::function<std::string(const V&)> show;
};

// One file being read: collects errors with their places.
class Loading {
 public:
  Loading(Program whose, std::string file) : program(whose), file_(std::move(file)) {}

  const Program program;
  void error(const YamlNode& at, const std::string& what);
  bool ok() const { return errors_.empty(); }
  Error all() const;

  // Names what is being read, for as long as it lives: ".lease" or "[3]".
  class Step {
   public:
    Step(Loading& l, std::string_view key) : loading_(l) { l.path_.push_back({key, 0}); }
    Step(Loading& l, size_t index) : loading_(l) { l.path_.push_back({{}, index}); }
    ~Step() { loading_.path_.pop_back(); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Loading& loading_;
  };

 private:
  static constexpr size_t kErrorsShown = 20;
  struct Part {
    std::string_view key;  // empty: an index
    size_t index;
  };
  std::string file_;
  std::vector<Part> path_;
  std::vector<std::string> errors_;
  size_t not_shown_ = 0;
};

// YAML text being written, by indentation.
class YamlText {
 public:
  void line(const std::string& text) { text_ += indent_and_dash() + text + "\n"; }
  void in() { depth_ += 2; }
  void out() { depth_ -= 2; }
  void item() { dash_ = true; }  // the next line starts a list item
  std::string take() { return std::move(text_); }

 private:
  std::string indent_and_dash();
  std::string text_;
  size_t depth_ = 0;
  bool dash_ = false;
};

class AnyTable;

template <class T>
struct Key {
  std::string name, type, range;
  KeyNotes notes;
  std::string expected;
  std::function<void(Loading&, const YamlNode&, T&)> read;
  std::function<void(YamlText&, const std::string& name, const T&)> write;
  std::function<std::string(const T&)> show;  // scalars and their lists: the value in one line
  const AnyTable* section = nullptr;          // of a section or a list of sections
};

// What the reference needs of a table, whatever its struct.
struct KeyRow {
  std::string name, type, range, fallback;
  const KeyNotes* notes;
  const AnyTable* section;
};
class AnyTable {
 public:
  std::string title;  // "groups[].lease"
  std::string intro;  // a sentence or two above the table; may be empty
  virtual ~AnyTable() = default;
  virtual std::vector<KeyRow> rows() const = 0;
  static std::string anchor(const std::string& title);  // of its headline in the reference
};

template <class T>
class Table : public AnyTable {
 public:
  std::vector<Key<T>> keys;
  std::function<bool(std::string_view, T&)> short_form;  // "7" for {id: 7}; may be empty
  std::string expected;                                  // "a map with id, name, ..."
  std::function<bool(std::string_view)> elsewhere;       // a key of the other program's file; may be empty

  bool has(std::string_view name) const {
    for (auto& k : keys)
      if (k.name == name) return true;
    return false;
  }
  Table& add(Key<T> k) {
    keys.push_back(std::move(k));
    return *this;
  }
  void read(Loading& l, const YamlNode& node, T& out) const;
  void write(YamlText& y, Program program, const T& value) const;
  std::vector<KeyRow> rows() const override;
};

// The tables, in schema.cc and pktgen_schema.cc.
const Table<ProxyConfig>& proxy_table();
const Table<AgentConfig>& agent_table();
const Table<PktgenConfig>& pktgen_table();
const Table<ProxyPeerConfig>& proxy_peer_table();

// " did you mean "lease"?" or the list of known keys.
std::string suggestion(std::string_view wrong, const std::vector<std::string_view>& known);
// "\"abc\"", "nothing", "a list", "a map"
std::string describe(const YamlNode& node);
// The text as a YAML scalar, quoted where it must be.
std::string yaml_scalar(const std::string& text);

inline bool takes(Program key, Program file) {
  return (uint8_t(key) & uint8_t(file)) != 0;
}

template <class T>
void Table<T>::read(Loading& l, const YamlNode& node, T& out) const {
  if (short_form && node.kind == YamlNode::Kind::scalar && short_form(node.text, out)) return;
  if (node.kind != YamlNode::Kind::map && node.kind != YamlNode::Kind::null)
    return l.error(node, "expected " + expected + ", got " + describe(node));
  std::vector<bool> seen(keys.size());
  for (size_t i = 0; i < node.entry_count(); ++i) {
    const YamlNode& key_node = node.key(i);
    if (key_node.kind != YamlNode::Kind::scalar) {
      l.error(key_node, "expected a key, got " + describe(key_node));
      continue;
    }
    size_t k = 0;
    while (k < keys.size() && keys[k].name != key_node.text) ++k;
    typename Loading::Step step(l, key_node.text);
    bool elsewhere_only =
        k == keys.size() ? elsewhere && elsewhere(key_node.text) : !takes(keys[k].notes.program, l.program);
    if (elsewhere_only) {
      l.error(key_node,
              std::string("is a key of the ") + (l.program == Program::proxy ? "agent's file, not of the proxy's"
                                                                             : "proxy's file, not of the agent's"));
    } else if (k == keys.size()) {
      std::vector<std::string_view> known;
      for (auto& key : keys)
        if (takes(key.notes.program, l.program)) known.push_back(key.name);
      l.error(key_node, "unknown key;" + suggestion(key_node.text, known));
    } else if (seen[k]) {
      l.error(key_node, "is there twice");
    } else {
      seen[k] = true;
      keys[k].read(l, node.value(i), out);
    }
  }
  for (size_t k = 0; k < keys.size(); ++k)
    if (keys[k].notes.required && !seen[k] && takes(keys[k].notes.program, l.program)) {
      typename Loading::Step step(l, keys[k].name);
      l.error(node, "missing; expected " + keys[k].expected);
    }
}

template <class T>
void Table<T>::write(YamlText& y, Program program, const T& value) const {
  for (auto& key : keys)
    if (takes(key.notes.program, program)) key.write(y, key.name, value);
}

template <class T>
std::vector<KeyRow> Table<T>::rows() const {
  std::vector<KeyRow> out;
  for (auto& k : keys) {
    std::string fallback = k.notes.required            ? ""
                           : !k.notes.fallback.empty() ? k.notes.fallback
                           : k.show                    ? k.show(T{})
                                                       : "";
    out.push_back({k.name, k.type, k.range, fallback, &k.notes, k.section});
  }
  return out;
}

// Kinds of keys.

template <class T, class V>
Key<T> scalar(const char* name, V T::*member, ValueForm<V> form, KeyNotes notes) {
  Key<T> k{name, form.type, form.range, std::move(notes), form.expected, {}, {}, {}};
  k.read = [=](Loading& l, const YamlNode& node, T& out) {
    std::optional<V> v = node.kind == YamlNode::Kind::scalar ? form.parse(node.text) : std::nullopt;
    if (!v) return l.error(node, "expected " + form.expected + ", got " + describe(node));
    out.*member = *v;
  };
  k.show = [=](const T& t) { return form.show(t.*member); };
  k.write = [show = k.show](YamlText& y, const std::string& key, const T& t) { y.line(key + ": " + show(t)); };
  return k;
}

// A list of scalars; one scalar alone stands for a list of one.
template <class T, class V>
Key<T> scalars(const char* name, std::vector<V> T::*member, ValueForm<V> form, KeyNotes notes) {
  Key<T> k{
      name, "list of " + form.type, form.range, std::move(notes), "a list of which each is " + form.expected, {}, {},
      {}};
  k.read = [=, expected = k.expected](Loading& l, const YamlNode& node, T& out) {
    auto one = [&](const YamlNode& item, std::vector<V>& list) {
      std::optional<V> v = item.kind == YamlNode::Kind::scalar ? form.parse(item.text) : std::nullopt;
      if (!v) return l.error(item, "expected " + form.expected + ", got " + describe(item));
      list.push_back(*v);
    };
    std::vector<V> list;
    if (node.kind == YamlNode::Kind::map) return l.error(node, "expected " + expected + ", got " + describe(node));
    if (node.kind == YamlNode::Kind::scalar) one(node, list);
    for (size_t i = 0; node.kind == YamlNode::Kind::list && i < node.items.size(); ++i) {
      Loading::Step step(l, i);
      one(node.items[i], list);
    }
    out.*member = std::move(list);
  };
  k.show = [=](const T& t) {
    std::string s = "[";
    for (auto& v : t.*member) s += (s.size() > 1 ? ", " : "") + form.show(v);
    return s + "]";
  };
  k.write = [show = k.show](YamlText& y, const std::string& key, const T& t) { y.line(key + ": " + show(t)); };
  return k;
}

template <class T, class S>
Key<T> section(const char* name, S T::*member, const Table<S>& table, Program program, KeyNotes notes) {
  Key<T> k{name, "section", "", std::move(notes), table.expected, {}, {}, {}, &table};
  k.read = [member, &table](Loading& l, const YamlNode& node, T& out) { table.read(l, node, out.*member); };
  k.write = [member, program, &table](YamlText& y, const std::string& key, const T& t) {
    y.line(key + ":");
    y.in();
    table.write(y, program, t.*member);
    y.out();
  };
  return k;
}

template <class T, class S>
Key<T> sections(const char* name, std::vector<S> T::*member, const Table<S>& table, Program program, KeyNotes notes) {
  Key<T> k{name,  "list of sections", "", std::move(notes), "a list of which each is " + table.expected, {}, {}, {},
           &table};
  k.read = [member, &table, expected = k.expected](Loading& l, const YamlNode& node, T& out) {
    if (node.kind != YamlNode::Kind::list && node.kind != YamlNode::Kind::null)
      return l.error(node, "expected " + expected + ", got " + describe(node));
    (out.*member).clear();
    (out.*member).reserve(node.items.size());
    for (size_t i = 0; i < node.items.size(); ++i) {
      Loading::Step step(l, i);
      table.read(l, node.items[i], (out.*member).emplace_back());
    }
  };
  k.write = [member, program, &table](YamlText& y, const std::string& key, const T& t) {
    if ((t.*member).empty()) return y.line(key + ": []");
    y.line(key + ":");
    y.in();
    for (auto& s : t.*member) {
      y.item();
      y.in();
      table.write(y, program, s);
      y.out();
    }
    y.out();
  };
  return k;
}

}  // namespace statecast
