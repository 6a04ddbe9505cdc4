// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/command.h"

#include <algorithm>
#include <filesystem>

#include "config/values.h"
#include "dataplane/session/session_id.h"
#include "tools/ctl/output.h"

namespace statecast::ctl {

namespace {

constexpr const char* kRunFolder = "/run/statecast";

// Sockets under /run/statecast that a program answers at, or refuses this user.
std::vector<std::string> answering_sockets() {
  std::vector<std::string> found;
  std::error_code error;
  for (auto& entry : std::filesystem::directory_iterator(kRunFolder, error)) {
    if (entry.path().extension() != ".sock") continue;
    auto answer = admin_request(
        entry.path(), {{"command", "status"}}, [](const Json&) {}, 2s);
    if (answer || answer.error().code != Code::unavailable) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (auto& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples) {
  CLI::App* c = parent.add_subcommand(name, what);
  std::string text = "Examples:\n  ";
  for (char ch : examples) text += ch == '\n' ? std::string("\n  ") : std::string(1, ch);
  c->footer(text);
  return c;
}

void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print JSON, one object per line");
}

void add_live_options(CLI::App& command, LiveOptions& options) {
  command
      .add_option("--socket", options.socket,
                  "The program's control socket: a path, or a name such as proxy-1 for /run/statecast/proxy-1.sock")
      ->envname("STATECAST_SOCKET");
  add_json_option(command, options.json);
}

void add_session_argument(CLI::App& command, std::vector<std::string>& words) {
  command.add_option("session", words, "GROUP PROTOCOL CLIENT:PORT SERVER:PORT; the group by name or number")
      ->required()
      ->expected(1, 4);
}

Live Live::find(const LiveOptions& options) {
  if (options.socket.find('/') != std::string::npos) return Live(options.socket);
  if (!options.socket.empty()) return Live(std::string(kRunFolder) + "/" + options.socket + ".sock");
  auto found = answering_sockets();
  if (found.size() == 1) return Live(found[0]);
  if (found.empty())
    throw Failure({Code::unavailable, std::string("no live program found under ") + kRunFolder +
                                          ": start statecast-proxy or statecast-agent, or say --socket PATH"});
  throw Failure(
      {Code::invalid, "several programs run here (" + joined(found, ", ") + "): say which with --socket PATH"});
}

Json Live::ask(const Json& request) const {
  Json answer;
  auto keep = [&](const Json& line) {
    answer = line;
    return AdminMore::wanted;
  };
  stream(request, keep, 5s);
  return answer;
}

void Live::stream(const Json& request, const std::function<AdminMore(const Json&)>& on_line, Duration patience) const {
  auto without_last = [&](Json line) {
    line.erase("last");
    return on_line(line);
  };
  or_fail(admin_stream(path_, request, without_last, patience));
}

const Json& Live::status() const {
  if (status_.is_null()) status_ = ask({{"command", "status"}});
  return status_;
}

bool Live::is_proxy() const {
  return value_or<std::string>(status(), "program", "") == "statecast-proxy";
}

std::string Live::program() const {
  if (is_proxy()) return "statecast-proxy " + std::to_string(value_or(status(), "id", 0));
  return "statecast-agent " + std::to_string(value_or(status(), "member", 0));
}

std::string Live::session_id(const std::vector<std::string>& words) const {
  std::string text = joined(words, " ");
  auto no_session = [&] {
    return Failure({Code::invalid, "\"" + text +
                                       "\" names no session: expected GROUP PROTOCOL CLIENT:PORT SERVER:PORT "
                                       "such as web tcp 198.51.100.7:40000 203.0.113.10:443"});
  };
  size_t space = text.find(' ');
  if (space == std::string::npos) throw no_session();
  std::string group = text.substr(0, space), number = group;
  if (!parse_whole_number(group, kId24Max)) {
    if (!parse_session_text("1" + text.substr(space))) throw no_session();  // before a program is asked for nothing
    std::vector<std::string> known;
    number.clear();
    for (auto& g : part(status(), "groups")) {
      known.push_back(value_or<std::string>(g, "name", ""));
      if (known.back() == group) number = std::to_string(value_or(g, "id", 0));
    }
    if (number.empty())
      throw Failure(
          {Code::not_found, "no group \"" + group + "\" at the " + program() + "; it has: " + joined(known, ", ")});
  }
  auto id = parse_session_text(number + text.substr(space));
  if (!id) throw no_session();
  return to_string(*id);
}

std::string Live::session_name(const std::string& id) const {
  size_t space = id.find(' ');
  if (space == std::string::npos) return id;
  for (auto& g : part(status(), "groups"))
    if (std::to_string(value_or(g, "id", 0)) == id.substr(0, space))
      return value_or<std::string>(g, "name", "") + id.substr(space);
  return id;
}

}  // namespace statecast::ctl
