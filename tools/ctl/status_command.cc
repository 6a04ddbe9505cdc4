// SPDX-License-Identifier: BSD-3-Clause
// statecast status: how a live proxy or agent fares.
#include <iostream>
#include <memory>

#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct StatusOptions : LiveOptions {
  bool counters = false;
};

std::string number(const Json& object, const char* key) {
  return count_text(value_or<uint64_t>(object, key, 0));
}
std::string text(const Json& object, const char* key) {
  return value_or<std::string>(object, key, "-");
}
bool flag(const Json& object, const char* key) {
  return value_or(object, key, false);
}
std::string node(const char* kind, const Json& object) {
  return kind + std::to_string(value_or(object, "id", 0));
}

std::string ago(const Json& object, const char* key) {
  const Json& ms = part(object, key);
  return ms.is_number() && ms.get<double>() >= 0 ? span_text(ms.get<double>()) + " ago" : "never";
}

void print_rows(const Rows& rows) {
  if (rows.empty()) return;
  rows.print(std::cout);
  std::cout << "\n";
}

// Every counter that is not zero, or only those of drops: what a person looks for first.
void print_counters(const Json& status, bool all) {
  Rows rows({all ? "counter" : "dropped", ""});
  for (auto& [name, value] : part(status, "counters").items())
    if (value.is_number() && value.get<double>() > 0 && (all || name.find(".drop.") != std::string::npos))
      rows.add({name, count_text(value.get<uint64_t>())});
  if (rows.empty()) return;
  std::cout << "\n";
  rows.print(std::cout);
}

void print_proxy(const Json& s) {
  const Json &view = part(s, "view"), &directory = part(s, "directory"), &cache = part(s, "cache");
  std::cout << "statecast-proxy " << value_or(s, "id", 0) << "   up " << span_text(value_or(s, "uptime_ms", 0.0))
            << (flag(s, "in_sync") ? "   in sync" : "   OUT OF SYNC") << (flag(s, "degraded") ? "   DEGRADED" : "")
            << (flag(s, "partitioned") ? "   PARTITIONED" : "")
            << (flag(part(s, "pressure"), "on") ? "   UNDER PRESSURE" : "") << "\nview " << number(view, "revision")
            << " (" << text(view, "hash") << "), R = " << number(view, "replicas") << ", W = " << number(view, "writes")
            << "\n\n";
  Rows peers({"peer", "heard", "permit", "in sync", "rtt", "changes pending"});
  for (auto& p : part(s, "peers"))
    peers.add({node("p", p), yes_no(flag(p, "heard")), yes_no(flag(p, "permit")), yes_no(!flag(p, "out_of_sync")),
               part(p, "rtt_us").is_number() ? span_text(value_or(p, "rtt_us", 0.0) / 1000) : "-",
               number(p, "changes_pending")});
  print_rows(peers);
  Rows members({"member", "reachable", "address", "heard"});
  for (auto& m : part(s, "members"))
    members.add({node("m", m), yes_no(flag(m, "reachable")), text(m, "address"), ago(m, "heard_ms")});
  print_rows(members);
  Rows groups({"group", "id", "members", "reachable"});
  for (auto& g : part(s, "groups"))
    groups.add({text(g, "name"), std::to_string(value_or(g, "id", 0)), count_text(part(g, "members").size()),
                number(g, "reachable")});
  print_rows(groups);
  std::cout << "directory  " << number(directory, "records") << " records, " << number(directory, "tombstones")
            << " tombstones, " << number(directory, "placed") << " placed, " << number(directory, "holders")
            << " holders, " << number(s, "questions") << " questions out\n"
            << "cache      " << number(cache, "entries") << " of " << number(cache, "capacity") << " entries, "
            << number(cache, "negative") << " negative, " << number(cache, "evicted") << " evicted\n";
}

void print_agent(const Json& s) {
  std::cout << "statecast-agent " << value_or(s, "member", 0) << "   up " << span_text(value_or(s, "uptime_ms", 0.0))
            << "   incarnation " << value_or<uint64_t>(s, "incarnation", 0) << "   device " << text(s, "device")
            << "\n\n";
  Rows proxies({"proxy", "heard", "address", "last"});
  for (auto& p : part(s, "proxies"))
    proxies.add({node("p", p), yes_no(flag(p, "heard")), text(p, "address"), ago(p, "heard_ms")});
  print_rows(proxies);
  Rows groups({"group", "id", "addresses"});
  for (auto& g : part(s, "groups")) {
    std::string addresses;
    for (auto& a : part(g, "addresses"))
      if (a.is_string()) addresses += (addresses.empty() ? "" : ", ") + a.get<std::string>();
    groups.add({text(g, "name"), std::to_string(value_or(g, "id", 0)), addresses});
  }
  print_rows(groups);
  std::string sessions;
  for (auto& [state, n] : part(s, "sessions").items())
    if (n.is_number()) sessions += (sessions.empty() ? "" : ", ") + count_text(n.get<uint64_t>()) + " " + state;
  std::cout << "sessions  " << sessions << "\nrevoked   " << number(s, "revocations") << "\n";
}

}  // namespace

void add_status_command(CLI::App& app) {
  CLI::App* c = add_command(app, "status", "How a live proxy or agent fares",
                            "statecast status\n"
                            "statecast status --socket proxy-1 --counters\n"
                            "statecast status --json | jq .counters");
  auto o = std::make_shared<StatusOptions>();
  add_live_options(*c, *o);
  c->add_flag("--counters", o->counters, "Every counter that is not zero, not only those of drops");
  c->callback([o] {
    Live live = Live::find(*o);
    const Json& s = live.status();
    if (o->json) {
      std::cout << s.dump() << "\n";
      return;
    }
    live.is_proxy() ? print_proxy(s) : print_agent(s);
    print_counters(s, o->counters);
  });
}

}  // namespace statecast::ctl
