// SPDX-License-Identifier: BSD-3-Clause
// The server's side of the admin socket. Everything is non-blocking: what a client does not take at once waits in its
// buffer until epoll says that it can, within kAdminUnreadMax; so a slow client costs memory up to a bound, never time.
#include "control/admin.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>

namespace statecast {

namespace {

constexpr uint64_t kListener = 0;  // epoll tag; clients count from 1

// Bytes taken from one client in one serve(), so that a client that writes without end does not keep the others
// waiting.
constexpr size_t kReadPerTurn = 2 * kAdminLineMax;

struct Client {
  int fd = -1;
  std::string in, out;
  size_t sent = 0;           // of `out`
  size_t pending = 0;        // requests whose last line is not written yet
  bool ended = false;        // it sends nothing more (shutdown or an overlong line): close after the answers
  uint64_t last_active = 0;  // turn of serve()
  uint32_t events = 0;       // registered with epoll
};

std::string words(int error) {
  return std::strerror(error);
}

const char* code_word(Code c) {
  switch (c) {
    case Code::invalid: return "invalid";
    case Code::not_found: return "not_found";
    case Code::conflict: return "conflict";
    case Code::unavailable: return "unavailable";
    case Code::denied: return "denied";
    case Code::system: return "system";
  }
  return "system";
}

bool somebody_listens(const sockaddr_un& address) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;  // unknown: leave the file alone
  bool yes = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN;
  ::close(fd);
  return yes;
}

}  // namespace

Json admin_error(const Error& error) {
  return {{"error", error.message}, {"code", code_word(error.code)}};
}

struct AdminServer::State {
  std::string path;
  struct stat file {};  // of the socket, to remove our own path only
  int listener = -1, epoll = -1;
  uint64_t next_client = kListener + 1, turn = 0;
  std::map<uint64_t, Client> clients;
  std::map<std::string, AdminHandler> handlers;

  ~State() {
    for (auto& [id, c] : clients) ::close(c.fd);
    if (listener >= 0) {
      struct stat now {};
      if (::lstat(path.c_str(), &now) == 0 && now.st_ino == file.st_ino && now.st_dev == file.st_dev)
        ::unlink(path.c_str());
      ::close(listener);
    }
    if (epoll >= 0) ::close(epoll);
  }

  // Registers for what the client is waited for: requests while it sends some, room while it has answers to take.
  void watch(uint64_t id, Client& c) {
    uint32_t events = (c.ended ? 0u : uint32_t{EPOLLIN}) | (c.out.empty() ? 0u : uint32_t{EPOLLOUT});
    if (events == c.events) return;
    epoll_event e{};
    e.events = events;
    e.data.u64 = id;
    ::epoll_ctl(epoll, EPOLL_CTL_MOD, c.fd, &e);
    c.events = events;
  }

  void drop(uint64_t id) {
    auto it = clients.find(id);
    if (it == clients.end()) return;
    ::close(it->second.fd);  // leaves epoll by itself
    clients.erase(it);
  }

  // Writes what the client takes now; false when it is gone.
  bool write(Client& c) {
    while (c.sent < c.out.size()) {
      ssize_t n = ::send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno == EAGAIN;
      c.sent += static_cast<size_t>(n);
    }
    c.out.clear();
    c.sent = 0;
    return true;
  }

  // False when the client is gone or done with.
  bool flush(uint64_t id, Client& c) {
    if (!write(c) || (c.ended && c.pending == 0 && c.out.empty())) return false;
    watch(id, c);
    return true;
  }

  void send_line(uint64_t id, Json line, AdminLast last) {
    auto it = clients.find(id);
    if (it == clients.end()) return;
    if (!line.is_object()) line = Json{{"value", std::move(line)}};
    if (last == AdminLast::yes) line["last"] = true;
    Client& c = it->second;
    std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    // A line of any length goes out when the client has read what came before.
    bool unread = !c.out.empty() && c.out.size() - c.sent + text.size() > kAdminUnreadMax;
    c.out += text;
    // A handler can reply from within its client's own turn, so the client stays in the map here: serve() drops it when
    // epoll says that its socket is dead.
    if (unread) {
      c.out.clear();
      c.sent = 0;
      c.ended = true;
      ::shutdown(c.fd, SHUT_RDWR);
    }
    if (!write(c) || (c.ended && c.pending == 0 && c.out.empty())) ::shutdown(c.fd, SHUT_RDWR);
    watch(id, c);
  }

  void accept_all() {
    for (;;) {
      int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      if (clients.size() >= kAdminClientsMax && !drop_idlest()) {
        static constexpr char kBusy[] =
            R"({"code":"unavailable","error":"too many clients at the admin socket: try again","last":true})"
            "\n";
        (void)!::send(fd, kBusy, sizeof kBusy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        ::close(fd);
        continue;
      }
      uint64_t id = next_client++;
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = id;
      if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        ::close(fd);
        continue;
      }
      Client& c = clients[id];
      c.fd = fd;
      c.last_active = turn;
      c.events = EPOLLIN;
    }
  }

  bool drop_idlest() {
    uint64_t found = kListener, oldest = UINT64_MAX;
    for (auto& [id, c] : clients)
      if (c.pending == 0 && c.out.empty() && c.last_active < oldest) oldest = c.last_active, found = id;
    if (found == kListener) return false;
    drop(found);
    return true;
  }
};

namespace {

// One request's way back. The last copy to go without a last line says so to the client.
class Answer {
 public:
  Answer(std::weak_ptr<AdminServer::State> server, uint64_t client) : server_(std::move(server)), client_(client) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() {
    try {
      if (!done_)
        send(admin_error({Code::unavailable, "the program ended this request without an answer"}), AdminLast::yes);
    } catch (const std::exception&) {  // out of memory while saying so: the client's patience ends it
    }
  }

  void send(Json line, AdminLast last) {
    auto server = server_.lock();
    if (done_ || !server) return;
    done_ = last == AdminLast::yes;
    if (auto it = server->clients.find(client_); it != server->clients.end() && done_) --it->second.pending;
    server->send_line(client_, std::move(line), last);
  }

 private:
  std::weak_ptr<AdminServer::State> server_;
  uint64_t client_;
  bool done_ = false;
};

void handle_line(const std::shared_ptr<AdminServer::State>& server, uint64_t client, std::string_view text) {
  ++server->clients[client].pending;
  auto answer = std::make_shared<Answer>(server, client);
  auto refuse = [&](Code code, std::string why) { answer->send(admin_error({code, std::move(why)}), AdminLast::yes); };
  if (server->clients[client].pending > kAdminPendingMax)
    return refuse(Code::unavailable, "too many requests of this client are waiting for their answers");
  Json request = Json::parse(text, nullptr, false);
  if (!request.is_object()) return refuse(Code::invalid, "a request is one JSON object on one line");
  auto command = request.find("command");
  if (command == request.end() || !command->is_string())
    return refuse(Code::invalid, "a request names its command: {\"command\": \"status\"}");
  auto handler = server->handlers.find(command->get_ref<const std::string&>());
  if (handler == server->handlers.end()) {
    std::string known;
    for (auto& [name, unused] : server->handlers) known += (known.empty() ? "" : ", ") + name;
    return refuse(Code::not_found,
                  "this program has no command \"" + command->get<std::string>() + "\"; it has: " + known);
  }
  try {
    handler->second(request, [answer](Json line, AdminLast last) { answer->send(std::move(line), last); });
  } catch (const std::exception& e) { refuse(Code::invalid, std::string("request not understood: ") + e.what()); }
}

// Reads what is there and runs each whole line. False when the client is to be dropped.
bool read_requests(const std::shared_ptr<AdminServer::State>& server, uint64_t id) {
  char chunk[16 * 1024];
  for (size_t taken = 0; taken < kReadPerTurn;) {
    Client& c = server->clients[id];
    if (c.ended) break;
    ssize_t n = ::recv(c.fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return false;
    if (n == 0) {
      c.ended = true;
      break;
    }
    taken += static_cast<size_t>(n);
    c.in.append(chunk, static_cast<size_t>(n));
    c.last_active = server->turn;
    size_t from = 0;
    for (size_t end; (end = c.in.find('\n', from)) != std::string::npos; from = end + 1) {
      if (end - from > kAdminLineMax) break;
      std::string line = c.in.substr(from, end - from);
      if (!line.empty() && line != "\r") handle_line(server, id, line);
    }
    c.in.erase(0, from);
    if (c.in.size() > kAdminLineMax) {
      ++c.pending;
      Answer(server, id).send(admin_error({Code::invalid, "a request line is at most 64 KiB"}), AdminLast::yes);
      c.in.clear();
      c.ended = true;
    }
  }
  return true;
}

}  // namespace

AdminServer::AdminServer(std::shared_ptr<State> state) : state_(std::move(state)) {}
AdminServer::~AdminServer() = default;

Result<std::unique_ptr<AdminServer>> AdminServer::listen(const std::string& path) {
  auto refuse = [&](Code code, const std::string& why) { return fail(code, path + ": " + why); };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return refuse(Code::invalid, "a socket path has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::memcpy(address.sun_path, path.c_str(), path.size());

  std::error_code error;
  if (auto parent = std::filesystem::path(path).parent_path(); !parent.empty())
    std::filesystem::create_directories(parent, error);
  if (error) return refuse(Code::system, "cannot create its directory: " + error.message());

  auto state = std::make_shared<State>();
  state->path = path;
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return refuse(Code::system, words(errno));
  ::fchmod(fd, 0600);  // before bind: the file never exists with more rights
  auto bind = [&] { return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0; };
  bool bound = bind();
  if (!bound && errno == EADDRINUSE) {
    struct stat there {};
    bool is_socket = ::lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode);
    if (!is_socket || somebody_listens(address)) {
      ::close(fd);
      return refuse(Code::conflict, is_socket ? "another program listens there: stop it, or choose another path"
                                              : "a file that is no socket is in the way");
    }
    ::unlink(path.c_str());
    bound = bind();
  }
  if (!bound || ::listen(fd, 16) != 0) {
    int why = errno;
    ::close(fd);
    return refuse(Code::system, words(why));
  }
  ::lstat(path.c_str(), &state->file);
  state->listener = fd;
  state->epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = kListener;
  if (state->epoll < 0 || ::epoll_ctl(state->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
    return refuse(Code::system, words(errno));
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
}

void AdminServer::on(const std::string& command, AdminHandler handler) {
  state_->handlers[command] = std::move(handler);
}

int AdminServer::fd() const {
  return state_->epoll;
}

void AdminServer::serve() {
  epoll_event events[kAdminClientsMax + 1];
  int n = ::epoll_wait(state_->epoll, events, kAdminClientsMax + 1, 0);
  ++state_->turn;
  for (int i = 0; i < n; ++i) {
    uint64_t id = events[i].data.u64;
    if (id == kListener) {
      state_->accept_all();
      continue;
    }
    if (!state_->clients.contains(id)) continue;
    bool alive = (events[i].events & (EPOLLERR | EPOLLHUP)) == 0 || (events[i].events & EPOLLIN) != 0;
    if (alive && (events[i].events & EPOLLIN)) alive = read_requests(state_, id);
    if (alive) alive = state_->flush(id, state_->clients[id]);
    if (!alive) state_->drop(id);
  }
}

}  // namespace statecast
