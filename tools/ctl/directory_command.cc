// SPDX-License-Identifier: BSD-3-Clause
// statecast directory: the view, the replicas of a session, its mapping. At a proxy.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "config/values.h"
#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct DirectoryOptions : LiveOptions {
  std::vector<std::string> session;
  uint32_t member = 0, proxy = 0;
  std::string lifetime = "60s";
};

Live find_proxy(const DirectoryOptions& o) {
  Live live = Live::find(o);
  if (!live.is_proxy())
    throw Failure({Code::invalid, "the directory is on the proxies: ask one, not the " + live.program() +
                                      " (--socket proxy-ID on that machine)"});
  return live;
}

constexpr Duration kMovePatience = 5min;

std::string registered_text(const Json& membership, int id, uint64_t revision) {
  for (auto& p : part(membership, "proxies")) {
    if (value_or(p, "id", 0) != id) continue;
    const auto its = value_or<uint64_t>(p, "revision", 0);
    if (its != revision) return its == 0 ? "starts" : "in view " + std::to_string(its);
    return value_or(p, "leaving", false) ? "leaves" : value_or(p, "in_sync", false) ? "in sync" : "out of sync";
  }
  return "no";
}

void view(const DirectoryOptions& o) {
  Live live = find_proxy(o);
  Json v = live.ask({{"command", "directory.view"}});
  if (o.json) {
    std::cout << v.dump() << "\n";
    return;
  }
  std::cout << "view " << value_or<uint64_t>(v, "revision", 0) << " (" << value_or<std::string>(v, "hash", "-")
            << "), R = " << value_or(v, "replicas", 0) << ", W = " << value_or(v, "writes", 0) << "; " << live.program()
            << " is a replica of " << value_or<uint64_t>(v, "slots", 0) << " slots, "
            << value_or<uint64_t>(v, "slots_out_of_sync", 0) << " of them being handed over\n\n";
  const Json& m = part(v, "membership");
  const bool etcd = value_or<std::string>(m, "source", "file") == "etcd";
  const int self = value_or(live.status(), "id", 0);
  std::vector<std::string> titles{"proxy", "zone", "permit", "changes", "rtt"};
  if (etcd) titles.push_back("registered");
  Rows rows(titles);
  for (auto& n : part(v, "nodes")) {
    const int id = value_or(n, "id", 0);
    auto zone = value_or<std::string>(n, "zone", "");
    std::vector<std::string> row{"p" + std::to_string(id), zone.empty() ? "-" : zone, id == self ? "itself" : "-", "-",
                                 "-"};
    for (auto& p : part(v, "peers")) {
      if (value_or(p, "id", 0) != id) continue;
      row[2] = !value_or(p, "heard", false)        ? "not heard"
               : value_or(p, "out_of_sync", false) ? "out of sync"
               : value_or(p, "permit", false)      ? "yes"
                                                   : "no";
      row[3] = std::to_string(value_or<uint64_t>(p, "changes_pending", 0));
      row[4] = part(p, "rtt_us").is_number() ? span_text(p["rtt_us"].get<double>() / 1000) : "-";
    }
    if (etcd) row.push_back(registered_text(m, id, value_or<uint64_t>(v, "revision", 0)));
    rows.add(row);
  }
  rows.print(std::cout);
  if (!etcd) return;
  std::cout << "\nmembership: etcd at " << value_or<std::string>(m, "endpoint", "?")
            << (value_or(m, "reachable", false) ? "" : ", not reachable: the view stays as it is") << "\n";
  for (auto& p : part(m, "proxies"))
    if (!value_or(p, "in_view", true))
      std::cout << "p" << value_or(p, "id", 0) << " is registered, but not in the view"
                << (value_or(p, "leaving", false) ? ": it has left" : "") << "\n";
  for (const char* what : {"trouble", "waits"})
    if (part(m, what).is_string())
      std::cout << (*what == 't' ? "trouble: " : "waits: ") << m[what].get<std::string>() << "\n";
}

// Out of the view: until what it held is with the others. In again: until it is in sync.
void move(const DirectoryOptions& o, bool leaves) {
  Live live = find_proxy(o);
  const int self = value_or(live.status(), "id", 0);
  live.ask({{"command", leaves ? "directory.leave" : "directory.join"}});
  std::string said;
  for (auto start = std::chrono::steady_clock::now();;) {
    const Json v = live.ask({{"command", "directory.view"}});
    const Json& m = part(v, "membership");
    const auto& nodes = part(v, "nodes");
    const bool in_view =
        std::any_of(nodes.begin(), nodes.end(), [&](const Json& n) { return value_or(n, "id", 0) == self; });
    const bool done = leaves ? value_or(m, "handed_over", false)
                             : in_view && registered_text(m, self, value_or<uint64_t>(v, "revision", 0)) == "in sync";
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    std::string now = done ? (leaves ? "left, and handed over: it may be stopped" : "in the view, and in sync")
                      : in_view == leaves ? "waits for the next view"
                      : leaves            ? "out of the view; the others are taking over"
                                          : "in the view; it is taking over";
    if (in_view == leaves && part(m, "waits").is_string()) now += ": " + m["waits"].get<std::string>();
    if (!value_or(m, "reachable", true)) now += " (etcd is not reachable)";
    if (now != said || done) {
      if (o.json)
        std::cout << Json{{"event", done ? "done" : "waits"},
                          {"ms", ms},
                          {"revision", part(v, "revision")},
                          {"text", now}}
                         .dump()
                  << std::endl;
      else
        std::cout << now << " (" << span_text(ms) << ")" << std::endl;
      said = now;
    }
    if (done) return;
    if (ms > double(to_ms(kMovePatience)))
      throw Failure({Code::unavailable, "not done after " + duration_text(kMovePatience) + "; it goes on by itself"});
    std::this_thread::sleep_for(200ms);
  }
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

// "p1 for 8.2 s, p3 for 120 ms"
std::string holders_text(const Json& holders) {
  std::string out;
  for (auto& h : holders)
    out += (out.empty() ? "p" : ", p") + std::to_string(value_or(h, "proxy", 0)) + " for " +
           span_text(value_or(h, "left_ms", 0.0));
  return out.empty() ? "none of this replica's" : out;
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
         {"holders", holders_text(part(r, "holders"))},
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

// Ends with 1 where something differs, or could not be compared.
void verify(const DirectoryOptions& o) {
  Live live = find_proxy(o);
  if (!o.json)
    std::cout << "comparing what the replicas hold, two by two; what differs is looked at again after 6 s" << std::endl;
  Json r;
  live.stream(
      {{"command", "directory.verify"}},
      [&](const Json& line) {
        r = line;
        return AdminMore::enough;
      },
      kMovePatience);
  const Json &differences = part(r, "differences"), &silent = part(r, "not_compared");
  if (o.json) {
    std::cout << r.dump() << "\n";
  } else {
    std::cout << "view " << value_or<uint64_t>(r, "revision", 0) << ": " << value_or<uint64_t>(r, "pairs_compared", 0)
              << " of " << value_or<uint64_t>(r, "pairs", 0) << " pairs of proxies compared, "
              << value_or<uint64_t>(r, "slots_compared", 0) << " slots; "
              << (differences.empty()
                      ? "no difference"
                      : std::to_string(differences.size()) + (differences.size() == 1 ? " difference" : " differences"))
              << (value_or(r, "more", false) ? ", and more" : "") << "\n";
    for (const auto& [id, why] : silent.items())
      std::cout << "p" << id << " " << why.get<std::string>() << ": not compared\n";
    Rows rows({"slot", "key", "proxy", "state", "owner", "version"});
    for (const Json& d : differences) {
      for (size_t i = 0; i < 2; ++i) {
        const Json& held = part(d, "held").at(i);
        rows.add(
            {i == 0 ? std::to_string(value_or(d, "slot", 0)) : "", i == 0 ? value_or<std::string>(d, "key", "-") : "",
             "p" + std::to_string(part(d, "proxies").at(i).get<int>()), value_or<std::string>(held, "state", "nothing"),
             value_or<std::string>(held, "owner", "-"), version_text(part(held, "version"))});
      }
    }
    if (!rows.empty()) {
      std::cout << "\n";
      rows.print(std::cout);
    }
  }
  if (!differences.empty() || !silent.empty()) throw CLI::RuntimeError(1);
}

void forget(const DirectoryOptions& o) {
  const Json m = find_proxy(o).ask({{"command", "directory.forget"}, {"proxy", o.proxy}});
  if (o.json)
    std::cout << m.dump() << "\n";
  else
    std::cout << "said: the view goes on without p" << o.proxy << "\n";
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

  c = add_command(*directory, "verify",
                  "Compare what all replicas hold, and list what differs; ends with 1 if something does",
                  "statecast directory verify --socket proxy-1");
  add_live_options(*c, *o);
  c->callback([o] { verify(*o); });

  c = add_command(*directory, "leave",
                  "Take this proxy out of the view, and wait until the others have what it holds (membership by etcd)",
                  "statecast directory leave --socket proxy-3      then stop it");
  add_live_options(*c, *o);
  c->callback([o] { move(*o, true); });

  c = add_command(*directory, "join", "Take this proxy into the view again, after a leave",
                  "statecast directory join --socket proxy-3");
  add_live_options(*c, *o);
  c->callback([o] { move(*o, false); });

  c = add_command(
      *directory, "forget",
      "Say that a proxy is dead, and not only cut off, where so many are missing that the view stays as it is "
      "(membership by etcd). If it lives after all, what it and others like it acknowledge may be lost",
      "statecast directory forget 3 --socket proxy-1");
  c->add_option("proxy", o->proxy, "The dead proxy's id")->required()->check(CLI::Range(1u, kId24Max));
  add_live_options(*c, *o);
  c->callback([o] { forget(*o); });

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
