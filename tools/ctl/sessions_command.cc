// SPDX-License-Identifier: BSD-3-Clause
// statecast sessions: look one up, list a member's, set one's bucket anew.
#include <iostream>
#include <memory>

#include "config/values.h"
#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct SessionsOptions : LiveOptions {
  std::vector<std::string> session;
  std::string bytes;
  uint64_t limit = 1000;
};

void only_at_agent(const Live& live, const std::string& what) {
  if (live.is_proxy())
    throw Failure({Code::invalid, what + ": ask the agent of the member that owns it, not the " + live.program() +
                                      " (--socket agent-ID on that machine)"});
}

void print_cached(const Live& live, const std::string& id, const Json& s) {
  if (!value_or(s, "cached", false)) {
    std::cout << live.session_name(id) << "\n  not in the cache of the " << live.program()
              << ": its next packet asks the directory\n";
    return;
  }
  std::string target = value_or<std::string>(s, "target", "?");
  if (target == "member") target += " m" + std::to_string(value_or(s, "member", 0));
  print_facts(std::cout, live.session_name(id),
              {{"target", target},
               {"lease left", span_text(value_or(s, "expires_in_ms", 0.0)) + ", " + size_text(part(s, "bytes_left"))},
               {"version", version_text(part(s, "version"))},
               {"key", value_or<std::string>(s, "key", "-")}});
}

void print_owned(const Live& live, const std::string& id, const Json& s) {
  if (!value_or(s, "owned", true)) {
    std::cout << live.session_name(id) << "\n  not a session of the " << live.program() << "\n";
    return;
  }
  print_facts(std::cout, live.session_name(id),
              {{"state", value_or<std::string>(s, "state", "?") +
                             (value_or(s, "acknowledged", false) ? ", acknowledged" : ", not acknowledged")},
               {"last proxy",
                "p" + std::to_string(value_or(s, "proxy", 0)) + ", " + span_text(value_or(s, "idle_ms", 0.0)) + " ago"},
               {"passed", count_text(value_or<uint64_t>(s, "packets", 0)) + " packets, " +
                              size_text(Json(value_or<uint64_t>(s, "bytes", 0)))},
               {"version", version_text(part(s, "version"))},
               {"replicas", proxies_text(part(s, "replicas"))}});
}

void get(const SessionsOptions& o) {
  Live live = Live::find(o);
  std::string id = live.session_id(o.session);
  Json s = live.ask({{"command", "sessions.get"}, {"id", id}});
  if (o.json)
    std::cout << s.dump() << "\n";
  else if (live.is_proxy())
    print_cached(live, id, s);
  else
    print_owned(live, id, s);
}

void list(const SessionsOptions& o) {
  Live live = Live::find(o);
  only_at_agent(live, "proxies do not list sessions");
  Json answer = live.ask({{"command", "sessions.list"}, {"limit", o.limit}});
  if (o.json) {
    std::cout << answer.dump() << "\n";
    return;
  }
  Rows rows({"session", "state", "proxy", "idle", "packets", "bytes", "version", "replicas"});
  for (auto& s : part(answer, "sessions"))
    rows.add({live.session_name(value_or<std::string>(s, "id", "?")), value_or<std::string>(s, "state", "?"),
              "p" + std::to_string(value_or(s, "proxy", 0)), span_text(value_or(s, "idle_ms", 0.0)),
              count_text(value_or<uint64_t>(s, "packets", 0)), count_text(value_or<uint64_t>(s, "bytes", 0)),
              version_text(part(s, "version")), proxies_text(part(s, "replicas"))});
  if (!rows.empty()) {
    rows.print(std::cout);
    std::cout << "\n";
  }
  size_t shown = part(answer, "sessions").size();
  auto total = std::max<uint64_t>(value_or<uint64_t>(answer, "total", 0), shown);
  std::cout << count_text(total) << (total == 1 ? " session" : " sessions");
  if (shown < total) std::cout << ", " << count_text(shown) << " shown: --limit N shows more";
  std::cout << "\n";
}

void refresh(const SessionsOptions& o) {
  auto bytes = parse_byte_count(o.bytes);
  if (!bytes)
    throw CLI::ValidationError("--bytes", "expected a number of bytes such as 1MiB, or unlimited, got " + o.bytes);
  Live live = Live::find(o);
  std::string id = live.session_id(o.session);
  only_at_agent(live, "proxies do not set a session's bucket");
  Json request = {{"command", "sessions.refresh"}, {"id", id}, {"bytes", bytes->value}};
  if (bytes->value == UINT64_MAX) request["bytes"] = "unlimited";
  Json answer = live.ask(request);
  if (o.json)
    std::cout << answer.dump() << "\n";
  else
    std::cout << live.session_name(id) << ": bucket set to " << size_text(Json(bytes->value)) << "\n";
}

}  // namespace

void add_sessions_command(CLI::App& app) {
  CLI::App* sessions = add_command(app, "sessions", "Look up, list and refresh sessions",
                                   "statecast sessions get web tcp 198.51.100.7:40000 203.0.113.10:443\n"
                                   "statecast sessions list --socket agent-7");
  sessions->require_subcommand(1);
  auto o = std::make_shared<SessionsOptions>();

  CLI::App* c = add_command(*sessions, "get",
                            "One session: what is left of its lease (at a proxy), or its state (at its member's agent)",
                            "statecast sessions get web tcp 198.51.100.7:40000 203.0.113.10:443\n"
                            "statecast sessions get 10 udp [2001:db8::7]:5000 [2001:db8:1::10]:443 --json");
  add_session_argument(*c, o->session);
  add_live_options(*c, *o);
  c->callback([o] { get(*o); });

  c = add_command(*sessions, "list", "The sessions of a member, at its agent",
                  "statecast sessions list\nstatecast sessions list --socket agent-7 --limit 20");
  c->add_option("--limit", o->limit, "At most so many")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}))
      ->capture_default_str();
  add_live_options(*c, *o);
  c->callback([o] { list(*o); });

  c = add_command(*sessions, "refresh", "Set a session's byte bucket anew, at its member's agent",
                  "statecast sessions refresh web tcp 198.51.100.7:40000 203.0.113.10:443 --bytes 1MiB");
  add_session_argument(*c, o->session);
  c->add_option("--bytes", o->bytes, "Bytes such as 1MiB, or unlimited")->required();
  add_live_options(*c, *o);
  c->callback([o] { refresh(*o); });
}

}  // namespace statecast::ctl
