// SPDX-License-Identifier: BSD-3-Clause
// statecast check-config: what is wrong with a file, or what it says with all defaults filled in.
#include <iostream>
#include <memory>
#include <sstream>

#include "config/config.h"
#include "tools/ctl/command.h"

namespace statecast::ctl {

namespace {

struct CheckOptions {
  std::string file, kind;
  bool effective = false, schema = false, json = false;
};

struct Checked {
  const char* kind;
  std::string effective, summary;
};

std::string counted(size_t n, const char* one, const char* more) {
  return std::to_string(n) + " " + (n == 1 ? one : more);
}

Checked check(const CheckOptions& o) {
  ConfigKind kind = o.kind == "proxy" ? ConfigKind::proxy : ConfigKind::agent;
  if (o.kind.empty()) kind = or_fail(config_kind(o.file));
  if (kind == ConfigKind::proxy) {
    ProxyConfig c = or_fail(load_proxy_config(o.file));
    return {"proxy", to_yaml(c),
            "proxy " + std::to_string(c.id.value) + ", " + counted(c.proxies.size(), "proxy", "proxies") + " in all, " +
                counted(c.members.size(), "member", "members") + ", " + counted(c.groups.size(), "group", "groups")};
  }
  AgentConfig c = or_fail(load_agent_config(o.file));
  return {"agent", to_yaml(c),
          "member " + std::to_string(c.id.value) + ", " + counted(c.proxies.size(), "proxy", "proxies") + ", " +
              counted(c.groups.size(), "group", "groups")};
}

Json lines_of(const std::string& text) {
  Json lines = Json::array();
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

void run(const CheckOptions& o) {
  if (o.schema) {
    std::cout << schema_markdown();
    return;
  }
  if (o.file.empty()) throw CLI::RequiredError("FILE");
  try {
    Checked c = check(o);
    Json line = {{"file", o.file}, {"kind", c.kind}, {"ok", true}};
    if (o.effective) line["effective"] = c.effective;
    if (o.json)
      std::cout << line.dump() << "\n";
    else if (o.effective)
      std::cout << c.effective;
    else
      std::cout << o.file << ": good: " << c.summary << "\n";
  } catch (const Failure& f) {
    if (!o.json) throw;
    Json line = {{"file", o.file}, {"ok", false}, {"errors", lines_of(f.error.message)}};
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    throw CLI::RuntimeError(1);
  }
}

}  // namespace

void add_check_config_command(CLI::App& app) {
  CLI::App* c = add_command(app, "check-config", "Check a configuration file",
                            "statecast check-config /etc/statecast/proxy.yaml\n"
                            "statecast check-config agent.yaml --effective     # with all defaults filled in");
  auto o = std::make_shared<CheckOptions>();
  c->add_option("FILE", o->file, "proxy.yaml or agent.yaml");
  c->add_option("--kind", o->kind, "Whose file it is, where its keys leave that open")
      ->check(CLI::IsMember({"proxy", "agent"}));
  c->add_flag("--effective", o->effective, "Print the configuration with all defaults filled in, as YAML");
  c->add_flag("--schema-markdown", o->schema, "Print docs/configuration.md");
  add_json_option(*c, o->json);
  c->callback([o] { run(*o); });
}

}  // namespace statecast::ctl
