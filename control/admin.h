// SPDX-License-Identifier: BSD-3-Clause
// Admin socket: how the command line reaches a live program. A unix stream socket, one JSON object per line in, one or
// more JSON objects per line out; the last has "last": true. An error is {"error": "...", "last": true}.
//
//   auto server = AdminServer::listen("/run/statecast/agent-1.sock");
//   server->on("status", [&](const Json&, AdminReply reply) { reply(status_json(), AdminLast::yes); });
//   poll({server->fd(), ...}); server->serve();
//
//   admin_request(path, {{"command", "revoke"}, {"id", text}}, [](const Json& line) { print(line); });
//
// A reply may come later (revoke answers `stored`, then `silent`); a reply to a client that has gone is dropped.
// Threads: one. Ownership: the server owns its socket and removes the path when it ends.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace statecast {

using Json = nlohmann::json;

enum class AdminLast : bool { no, yes };
using AdminReply = std::function<void(Json line, AdminLast last)>;
using AdminHandler = std::function<void(const Json& request, AdminReply reply)>;

class AdminServer {
 public:
  static Result<std::unique_ptr<AdminServer>> listen(const std::string& path);
  ~AdminServer();
  void on(const std::string& command, AdminHandler handler);
  int fd() const;  // readable (an epoll instance) when serve() has something to do
  void serve();    // never blocks

 private:
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Sends one request and hands over each answer line until the last; fails with the "error" of an answer, or when the
// program does not answer within `patience`.
Result<> admin_request(const std::string& path, const Json& request, const std::function<void(const Json&)>& on_line,
                       Duration patience = 5s);

}  // namespace statecast
