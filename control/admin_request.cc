// SPDX-License-Identifier: BSD-3-Clause
// The asker's side of the admin socket: one connection, one request, lines until the last. It may block, for
// `patience`.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "control/admin.h"

namespace statecast {

namespace {

constexpr size_t kAnswerLineMax = 256 * 1024 * 1024;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

  // True when ready for `events` before the time is over.
  bool wait(short events, Instant until) const {
    for (;;) {
      int64_t left = to_ms(until - MonotonicClock::now());
      pollfd p{fd_, events, 0};
      int n = ::poll(&p, 1, left < 0 ? 0 : static_cast<int>(left) + 1);
      if (n < 0 && errno == EINTR) continue;
      return n > 0;
    }
  }

 private:
  int fd_;
};

// "statecast-proxy" from "/run/statecast/proxy-1.sock"
std::string program_of(const std::string& path) {
  std::string name = std::filesystem::path(path).filename();
  if (name.starts_with("proxy")) return "statecast-proxy";
  if (name.starts_with("agent")) return "statecast-agent";
  return "statecast program";
}

Code code_of(const Json& line) {
  auto it = line.find("code");
  std::string word = it != line.end() && it->is_string() ? it->get<std::string>() : "";
  for (Code c : {Code::invalid, Code::not_found, Code::conflict, Code::unavailable, Code::denied})
    if (admin_error({c, ""})["code"] == word) return c;
  return Code::system;
}

}  // namespace

Result<> admin_request(const std::string& path, const Json& request, const std::function<void(const Json&)>& on_line,
                       Duration patience) {
  return admin_stream(
      path, request, [&](const Json& line) { return on_line(line), AdminMore::wanted; }, patience);
}

Result<> admin_stream(const std::string& path, const Json& request,
                      const std::function<AdminMore(const Json&)>& on_line, Duration patience) {
  std::string program = program_of(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(Code::invalid, "\"" + path + "\" is no socket path: it has 1 to " +
                                   std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::memcpy(address.sun_path, path.c_str(), path.size());

  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) return fail(Code::system, std::strerror(errno));
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    switch (errno) {
      case ENOENT:
      case ECONNREFUSED:
        return fail(Code::unavailable, "no " + program + " answers at " + path +
                                           ": is it running? (its control_socket says where it listens)");
      case EACCES:
      case EPERM: return fail(Code::denied, "may not open " + path + ": run this as the user of the " + program);
      case EAGAIN:
        return fail(Code::unavailable, "the " + program + " at " + path + " is too busy to answer: try again");
      default: return fail(Code::system, path + ": " + std::strerror(errno));
    }
  }

  auto silent = [&] {
    return fail(Code::unavailable, "the " + program + " at " + path + " has not answered for " +
                                       std::to_string(to_ms(patience)) + " ms: is it stopped or overloaded?");
  };
  auto gone = [&] {
    return fail(Code::unavailable,
                "the " + program + " at " + path + " closed the connection before its answer was complete");
  };
  Instant until = MonotonicClock::now() + patience;
  std::string out = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  while (!out.empty()) {
    ssize_t n = ::send(socket.fd(), out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      out.erase(0, static_cast<size_t>(n));
    else if (n < 0 && errno == EAGAIN) {
      if (!socket.wait(POLLOUT, until)) return silent();
    } else if (n < 0 && errno != EINTR)
      break;  // it may have answered before it closed: read on
  }

  std::string in;
  size_t searched = 0;
  for (;;) {
    char chunk[64 * 1024];
    ssize_t n = ::recv(socket.fd(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if (!socket.wait(POLLIN, until)) return silent();
      continue;
    }
    if (n <= 0) return gone();
    in.append(chunk, static_cast<size_t>(n));
    size_t from = 0;
    for (size_t end; (end = in.find('\n', std::max(from, searched))) != std::string::npos; from = end + 1) {
      Json line = Json::parse(std::string_view(in).substr(from, end - from), nullptr, false);
      if (!line.is_object())
        return fail(Code::system, "the " + program + " at " + path + " sent a line that is no JSON object");
      if (auto error = line.find("error"); error != line.end())
        return fail(code_of(line), error->is_string() ? error->get<std::string>() : error->dump());
      if (on_line(line) == AdminMore::enough) return {};
      auto last = line.find("last");
      if (last != line.end() && last->is_boolean() && last->get<bool>()) return {};
      until = MonotonicClock::now() + patience;
    }
    in.erase(0, from);
    searched = in.size();
    if (in.size() > kAnswerLineMax)
      return fail(Code::system, "the " + program + " at " + path + " sent a line without end");
  }
}

}  // namespace statecast
