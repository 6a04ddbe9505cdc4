// SPDX-License-Identifier: BSD-3-Clause
// docs/configuration.md, printed from the tables (`statecast check-config --schema-markdown`).
#include <set>

#include "config/schema.h"

namespace statecast {

namespace {

constexpr const char* kIntroduction = R"(# Configuration

This page is printed from the program's own schema (`statecast check-config --schema-markdown`); a test compares the
two. Samples with comments: [proxy.yaml](../config/samples/proxy.yaml), [agent.yaml](../config/samples/agent.yaml); of a
generator's profile [pktgen-loop.yaml](../config/samples/pktgen-loop.yaml) and
[pktgen-proxy.yaml](../config/samples/pktgen-proxy.yaml).

    statecast check-config proxy.yaml               # says what is wrong, and where
    statecast check-config proxy.yaml --effective   # prints it with all defaults filled in

Files are YAML. Nothing starts on a bad file. An error names file, line, column and key, and says what was expected:

    proxy.yaml:12:11: groups[0].lease.time: expected a duration between 1s and 60s such as "10s", got "abc"

- **durations** are a whole number with a unit: `50us`, `250ms`, `10s`, `2min`, `1h`.
- **bytes** are a whole number, alone or with `KiB`, `MiB`, `GiB`, `TiB`; or `unlimited`.
- A list of plain values may be a single value: `ports: 443` is `ports: [443]`.
- Unknown keys are errors, and so are anchors, aliases and tags of YAML.
- Paths are relative to the file that names them.

In the tables, a key in **bold** must be there. *Change* is `init` where a running program would have to be restarted and
`live` where it could take a new value as it runs; this version reads its file at the start only. *For* says who should touch a
key: every `operator`; `tuning` when a measurement asks for it; `expert` almost never. Keys of `agent` or `proxy` only are
marked so.
)";

const char* word(Audience a) {
  switch (a) {
    case Audience::operators: return "operator";
    case Audience::tuning: return "tuning";
    case Audience::expert: return "expert";
  }
  return "";
}

void print(std::string& out, const AnyTable& table, std::set<const AnyTable*>& done, bool is_file) {
  if (!done.insert(&table).second) return;
  out += std::string("\n## ") + table.title + "\n\n";
  if (!table.intro.empty()) out += table.intro + "\n\n";
  out += "| key | type | default | range | change | for | |\n|---|---|---|---|---|---|---|\n";
  auto rows = table.rows();
  for (auto& r : rows) {
    std::string key = "`" + r.name + "`", type = r.type, sentence = r.notes->sentence;
    if (r.notes->required) key = "**" + key + "**";
    if (!is_file && r.notes->program == Program::proxy) sentence += " (proxy)";
    if (!is_file && r.notes->program == Program::agent) sentence += " (agent)";
    if (r.section) type = "[" + type + "](#" + AnyTable::anchor(r.section->title) + ")";
    bool is_word = r.fallback.empty() || !r.notes->fallback.empty();
    out += "| " + key + " | " + type + " | " + (is_word ? r.fallback : "`" + r.fallback + "`") + " | " + r.range +
           " | " + (r.notes->reload == Reload::init ? "init" : "live") + " | " + word(r.notes->audience) + " | " +
           sentence + " |\n";
  }
  for (auto& r : rows)
    if (r.section) print(out, *r.section, done, false);
}

}  // namespace

std::string AnyTable::anchor(const std::string& title) {
  std::string out;
  for (char c : title)
    if (c != '[' && c != ']' && c != '.') out += c;
  return out;
}

std::string schema_markdown() {
  std::string out = kIntroduction;
  std::set<const AnyTable*> done;
  print(out, proxy_table(), done, true);
  print(out, agent_table(), done, true);
  print(out, pktgen_table(), done, true);
  return out;
}

}  // namespace statecast
