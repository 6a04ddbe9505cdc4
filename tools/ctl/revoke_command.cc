// SPDX-License-Identifier: BSD-3-Clause
// statecast revoke and unrevoke: cut a session off everywhere, and lift that again.
#include <iostream>
#include <memory>

#include "config/values.h"
#include "tools/ctl/command.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

struct RevokeOptions : LiveOptions {
  std::vector<std::string> session;
  std::string duration = "10min", wait = "silent";
};

// `silent` may have to wait for the time that stands in for a missing acknowledgement: a permit (1 s), a lease's cap
// (60 s at most) and drift (design, "Revocation"), and longer while too few replicas have it.
constexpr Duration kSilentPatience = 90s;

const char* meaning(const std::string& event) {
  if (event == "enforced") return "this member drops it";
  if (event == "stored") return "enough replicas have it: no new lease anywhere";
  if (event == "silent") return "no proxy passes a packet of it any more";
  if (event == "degraded") return "too few replicas are reachable: those that are not may go on for a while";
  return "";
}

void print_event(const Json& line, bool json) {
  if (json) {
    std::cout << line.dump() << std::endl;  // as it comes
    return;
  }
  auto event = value_or<std::string>(line, "event", "?");
  std::string time = part(line, "ms").is_number() ? span_text(line["ms"].get<double>()) : "";
  std::string text = event + std::string(event.size() < 10 ? 10 - event.size() : 1, ' ');
  text += std::string(time.size() < 8 ? 8 - time.size() : 0, ' ') + time;
  if (*meaning(event)) text += std::string("   ") + meaning(event);
  if (auto copies = value_or(line, "copies", 0))
    text += " (" + std::to_string(copies) + (copies == 1 ? " copy)" : " copies)");
  std::cout << text << std::endl;
}

void revoke(const RevokeOptions& o) {
  auto duration = parse_duration(o.duration);
  if (!duration || *duration < 1s || *duration > std::chrono::hours(24 * 365))
    throw CLI::ValidationError("--for", "expected a duration of 1s or more such as 10min or 1h, got " + o.duration);
  Live live = Live::find(o);
  std::string id = live.session_id(o.session);
  live.stream(
      {{"command", "revoke"}, {"id", id}, {"duration_ms", to_ms(*duration)}},
      [&](const Json& line) {
        print_event(line, o.json);
        return value_or<std::string>(line, "event", "") == o.wait ? AdminMore::enough : AdminMore::wanted;
      },
      kSilentPatience);
}

void unrevoke(const RevokeOptions& o) {
  Live live = Live::find(o);
  std::string id = live.session_id(o.session);
  live.stream(
      {{"command", "unrevoke"}, {"id", id}},
      [&](const Json& line) {
        print_event(line, o.json);
        return AdminMore::wanted;
      },
      15s);
}

}  // namespace

void add_revoke_commands(CLI::App& app) {
  auto o = std::make_shared<RevokeOptions>();
  CLI::App* c = add_command(app, "revoke", "Cut a session off at every proxy; ask a proxy, or its member's agent",
                            "statecast revoke web tcp 198.51.100.7:40000 203.0.113.10:443\n"
                            "statecast revoke web tcp 198.51.100.7:40000 203.0.113.10:443 --for 1h --wait stored");
  add_session_argument(*c, o->session);
  c->add_option("--for", o->duration, "How long no packet and no new session of it passes")->capture_default_str();
  c->add_option("--wait", o->wait, "End at this event; the revocation goes on by itself")
      ->check(CLI::IsMember({"stored", "silent"}))
      ->capture_default_str();
  add_live_options(*c, *o);
  c->callback([o] { revoke(*o); });

  c = add_command(app, "unrevoke", "Lift a revocation before its time",
                  "statecast unrevoke web tcp 198.51.100.7:40000 203.0.113.10:443");
  add_session_argument(*c, o->session);
  add_live_options(*c, *o);
  c->callback([o] { unrevoke(*o); });
}

}  // namespace statecast::ctl
