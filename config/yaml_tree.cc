// SPDX-License-Identifier: BSD-3-Clause
// yaml-cpp's event parser rather than its YAML::Node: events carry the place of every value, the document's depth can
// be bounded while it is read, and 10,000 groups load in a third of the time.
#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <stdexcept>

namespace statecast {

namespace {

// Thrown out of yaml-cpp's parser to end it; caught in parse_yaml.
struct NotTaken : std::runtime_error {
  NotTaken(const YAML::Mark& m, const char* what) : std::runtime_error(what), mark(m) {}
  YAML::Mark mark;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode root;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++) throw NotTaken(mark, "a second document starts here; expected one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, "", anchor, YamlNode::Kind::null); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw NotTaken(mark, kAnchors); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    leaf(mark, tag, anchor, YamlNode::Kind::scalar).text = value;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back(&leaf(mark, tag, anchor, YamlNode::Kind::list));
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back(&leaf(mark, tag, anchor, YamlNode::Kind::map));
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  static constexpr const char* kAnchors = "anchors and aliases are not taken: write the value out";

  // A node at the end of the innermost open list or map. Only that one grows, so pointers to it and its parents hold.
  YamlNode& leaf(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (anchor != YAML::NullAnchor) throw NotTaken(mark, kAnchors);
    if (!tag.empty() && tag != "?" && tag != "!") throw NotTaken(mark, "tags are not taken: write the value alone");
    if (open_.size() >= kYamlDepthMax) throw NotTaken(mark, "nested too deep");
    YamlNode& node = open_.empty() ? root : open_.back()->items.emplace_back();
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    // yaml-cpp places what is not there at whatever comes next; a person looks at the key.
    if (kind == YamlNode::Kind::null && !open_.empty() && open_.back()->kind == YamlNode::Kind::map) {
      auto& items = open_.back()->items;
      if (items.size() % 2 == 0) node.line = items[items.size() - 2].line, node.column = items[items.size() - 2].column;
    }
    return node;
  }

  std::vector<YamlNode*> open_;
  int documents_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view name) const {
  for (size_t i = 0; kind == Kind::map && i < entry_count(); ++i)
    if (key(i).text == name) return &value(i);
  return nullptr;
}

Result<YamlNode> parse_yaml(const std::string& text, const std::string& file) {
  auto at = [&](const YAML::Mark& m, const std::string& what) {
    if (m.is_null()) return fail(Code::invalid, file + ": " + what);
    return fail(Code::invalid,
                file + ":" + std::to_string(m.line + 1) + ":" + std::to_string(m.column + 1) + ": " + what);
  };
  if (text.size() > kYamlSizeMax) return fail(Code::invalid, file + ": larger than 64 MiB");
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return fail(Code::invalid, file + ": the file is empty");
    while (parser.HandleNextDocument(builder)) {}
    return std::move(builder.root);
  } catch (const NotTaken& e) { return at(e.mark, e.what()); } catch (const YAML::Exception& e) {
    return at(e.mark, "not YAML: " + e.msg);
  } catch (const std::exception& e) { return fail(Code::invalid, file + ": not YAML: " + e.what()); }
}

}  // namespace statecast
