// SPDX-License-Identifier: BSD-3-Clause
// statecast directory: the view, the replicas of a session, its mapping. At a proxy.
#include <iostream>
#include <memory>

#include "config/values.h"
#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct DirectoryOptions : LiveOptions {
  std::vector<std::string> session;
  uint32_t member = 0;
  std::string lifetime = "60s";
};

Live find_proxy(const DirectoryOptions& o) {
  Live live = Live::find(o);
  if (!live.is_proxy())
    throw Failure({Code::invalid, "the directory is on the proxies: ask one, not the " + live.program() +
                                      " (--socket proxy-ID on that machine)"});
  return live;
}

void view(const DirectoryOptions& o) {
  Json v = find_proxy(o).ask({{"command", "directory.view"}});
  if (o.json) {
    std::cout << v.dump() << "\n";
    return;
  }
  std::cout << "view " << value_or<uint64_t>(v, "revision", 0) << " (" << value_or<std::string>(v, "hash", "-")
            << "), R = " << value_or(v, "replicas", 0) << ", W = " << value_or(v, "writes", 0) << "\n\n";
  Rows rows({"proxy", "zone"});
  for (auto& n : part(v, "nodes")) {
    auto zone = value_or<std::string>(n, "zone", "");
    rows.add({"p" + std::to_string(value_or(n, "id", 0)), zone.empty() ? "-" : zone});
  }
  rows.print(std::cout);
}

void placement(const DirectoryOptions& o) {
  Live live = find_proxy(o);
  std::string id = live.session_id(o.session);
  Json p = live.ask({{"command", "directory.placement"}, {"id", id}});
  if (o.json)
    std::cout << p.dump() << "\n";
  else
    print_facts(std::cout, live.session_name(id),
                {{"replicas", proxies_text(part(p, "replicas"))},
                 {"slot", std::to_string(value_or(p, "slot", 0))},
                 {"key", value_or<std::string>(p, "key", "-")}});
}

void get(const DirectoryOptions& o) {
  Live live = find_proxy(o);
  std::string id = live.session_id(o.session), name = live.session_name(id);
  Json r = live.ask({{"command", "directory.get"}, {"id", id}});
  if (o.json) {
    std::cout << r.dump() << "\n";
  } else if (!value_or(r, "replica", true)) {
    std::cout << name << "\n  not held here: its replicas are " << proxies_text(part(r, "replicas")) << "\n";
  } else if (!value_or(r, "found", false)) {
    std::cout << name << "\n  no mapping at the " << live.program() << "\n";
  } else {
    std::string target = value_or<std::string>(r, "target", "?");
    if (target == "member") target += " m" + std::to_string(value_or(r, "member", 0));
    print_facts(
        std::cout, name,
        {{"state", value_or<std::string>(r, "state", "?") + (value_or(r, "held", false) ? ", held" : ", placed")},
         {"target", target},
         {"owner", value_or<std::string>(r, "owner", "-")},
         {"version", version_text(part(r, "version"))},
         {"ends in", span_text(value_or(r, "remaining_ms", 0.0))},
         {"bucket", size_text(part(r, "bucket_bytes"))},
         {"key", value_or<std::string>(r, "key", "-")}});
  }
}

void say_done(const Json& answer, bool json, const std::string& what) {
  if (json) {
    std::cout << answer.dump() << "\n";
    return;
  }
  std::cout << what;
  if (part(answer, "ms").is_number()) std::cout << " in " << span_text(answer["ms"].get<double>());
  if (auto copies = value_or(answer, "copies", 0)) std::cout << ", " << copies << (copies == 1 ? " copy" : " copies");
  if (value_or(answer, "degraded", false)) std::cout << ", DEGRADED: too few replicas are reachable";
  std::cout << "\n";
}

void put(const DirectoryOptions& o) {
  auto lifetime = parse_duration(o.lifetime);
  if (!lifetime || *lifetime < 1s || *lifetime > 24h)
    throw CLI::ValidationError("--for", "expected a duration between 1s and 24h such as 60s, got " + o.lifetime);
  Live live = find_proxy(o);
  std::string id = live.session_id(o.session);
  Json request = {{"command", "directory.put"}, {"id", id}, {"member", o.member}, {"lifetime_ms", to_ms(*lifetime)}};
  say_done(live.ask(request), o.json, live.session_name(id) + ": mapped to m" + std::to_string(o.member));
}

void remove(const DirectoryOptions& o) {
  Live live = find_proxy(o);
  std::string id = live.session_id(o.session);
  say_done(live.ask({{"command", "directory.remove"}, {"id", id}}), o.json, live.session_name(id) + ": removed");
}

}  // namespace

void add_directory_command(CLI::App& app) {
  const std::string session = "web tcp 198.51.100.7:40000 203.0.113.10:443";
  CLI::App* directory = add_command(app, "directory", "The view, and the mapping of a session; at a proxy",
                                    "statecast directory view\nstatecast directory get " + session);
  directory->require_subcommand(1);
  auto o = std::make_shared<DirectoryOptions>();

  CLI::App* c = add_command(*directory, "view", "The proxies that hold the directory",
                            "statecast directory view --socket proxy-1");
  add_live_options(*c, *o);
  c->callback([o] { view(*o); });

  c = add_command(*directory, "placement", "Which proxies hold a session", "statecast directory placement " + session);
  add_session_argument(*c, o->session);
  add_live_options(*c, *o);
  c->callback([o] { placement(*o); });

  c = add_command(*directory, "get", "A session's mapping, as this proxy has it", "statecast directory get " + session);
  add_session_argument(*c, o->session);
  add_live_options(*c, *o);
  c->callback([o] { get(*o); });

  c = add_command(*directory, "put", "Map a session to a member by hand",
                  "statecast directory put " + session + " --member 7 --for 60s");
  add_session_argument(*c, o->session);
  c->add_option("--member", o->member, "The member's id")->required()->check(CLI::Range(1u, kId24Max));
  c->add_option("--for", o->lifetime, "How long the mapping lives unless its owner renews it")->capture_default_str();
  add_live_options(*c, *o);
  c->callback([o] { put(*o); });

  c = add_command(*directory, "remove", "Remove a session's mapping (it leaves a tombstone for 60 s)",
                  "statecast directory remove " + session);
  add_session_argument(*c, o->session);
  add_live_options(*c, *o);
  c->callback([o] { remove(*o); });
}

}  // namespace statecast::ctl
