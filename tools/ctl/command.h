// SPDX-License-Identifier: BSD-3-Clause
// What the subcommands of `statecast` share: how they fail, how they find a live program, how they name sessions.
//
//   CLI::App* c = add_command(app, "status", "How a live program fares", "statecast status");
//   auto o = std::make_shared<LiveOptions>();
//   add_live_options(*c, *o);
//   c->callback([o] { std::cout << Live::find(*o).status() << "\n"; });
//
// A command that cannot do what was asked throws Failure; main() prints it and ends with 1.
// Threads: one. Ownership: values.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/admin.h"

namespace statecast::ctl {

// The command was understood, and it did not work out.
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error e) : std::runtime_error(e.message), error(std::move(e)) {}
  Error error;
};

template <class T>
T or_fail(Result<T> r) {
  if (!r) throw Failure(r.error());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples);

struct LiveOptions {
  std::string socket;
  bool json = false;
};
void add_live_options(CLI::App& command, LiveOptions& options);
void add_json_option(CLI::App& command, bool& json);
// GROUP PROTOCOL CLIENT:PORT SERVER:PORT, as four words or one.
void add_session_argument(CLI::App& command, std::vector<std::string>& words);

// A live program, reached by its control socket.
class Live {
 public:
  // --socket, else STATECAST_SOCKET, else the only one that answers under /run/statecast.
  static Live find(const LiveOptions& options);

  // The last answer line of a request, without "last".
  Json ask(const Json& request) const;
  // Each answer line as it comes, without "last", until the last or until on_line has seen enough.
  void stream(const Json& request, const std::function<AdminMore(const Json&)>& on_line, Duration patience) const;

  // The session's canonical text; a group's name is looked up at the program.
  std::string session_id(const std::vector<std::string>& words) const;
  // The same text with the group's name, for people.
  std::string session_name(const std::string& id) const;

  const Json& status() const;  // asked once
  bool is_proxy() const;
  std::string program() const;  // "statecast-proxy 1"

 private:
  explicit Live(std::string path) : path_(std::move(path)) {}
  std::string path_;
  mutable Json status_;
};

// Every subcommand, one file each.
void add_keys_command(CLI::App& app);
void add_check_config_command(CLI::App& app);
void add_status_command(CLI::App& app);
void add_stages_command(CLI::App& app);
void add_sessions_command(CLI::App& app);
void add_revoke_commands(CLI::App& app);
void add_directory_command(CLI::App& app);

}  // namespace statecast::ctl
