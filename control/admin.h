// SPDX-License-Identifier: BSD-3-Clause
// Admin socket: how the command line reaches a live program. A unix stream socket, one JSON object per line in, one or
// more JSON objects per line out; the last has "last": true. An error is {"error": "...", "code": "...", "last": true}.
//
//   auto server = AdminServer::listen("/run/statecast/agent-1.sock");
//   server->on("status", [&](const Json&, AdminReply reply) { reply(status_json(), AdminLast::yes); });
//   poll({server->fd(), ...}); server->serve();
//
//   admin_request(path, {{"command", "revoke"}, {"id", text}}, [](const Json& line) { print(line); });
//
// A reply may come later (revoke answers `stored`, then `silent`): keep a copy of `reply`. A reply to a client that has
// gone, or after the last, is dropped; when every copy is gone without a last line, the client is told so. What a
// handler throws is answered as an error. No client can block the program or make it hold more than the bounds below.
// Threads: one. Ownership: the server owns its socket and removes the path when it ends; replies may outlive it.
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

inline constexpr size_t kAdminClientsMax = 32;      // more: the longest idle one goes, or the new one is refused
inline constexpr size_t kAdminLineMax = 64 * 1024;  // of a request
inline constexpr size_t kAdminPendingMax = 64;      // requests of one client without their last line
inline constexpr size_t kAdminUnreadMax =
    32 * 1024 * 1024;  // bytes that a client has not read: more, and it is dropped

class AdminServer {
 public:
  // Creates the parent directory where missing, and the socket with mode 0600. A socket file that nobody listens at is
  // replaced; one that somebody listens at is a `conflict`.
  static Result<std::unique_ptr<AdminServer>> listen(const std::string& path);
  ~AdminServer();
  void on(const std::string& command, AdminHandler handler);
  int fd() const;  // readable (an epoll instance) when serve() has something to do
  void serve();    // never blocks

  struct State;  // of admin.cc

 private:
  explicit AdminServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// The line for an error: reply(admin_error(e), AdminLast::yes). The asker's Result has the same code and message.
Json admin_error(const Error& error);

// Sends one request and hands over each answer line until the last, or until on_line has seen enough; fails with the
// "error" of an answer, or when the program is silent for `patience` (each line starts it anew).
enum class AdminMore : bool { enough, wanted };
Result<> admin_stream(const std::string& path, const Json& request,
                      const std::function<AdminMore(const Json&)>& on_line, Duration patience = 5s);
Result<> admin_request(const std::string& path, const Json& request, const std::function<void(const Json&)>& on_line,
                       Duration patience = 5s);

}  // namespace statecast
