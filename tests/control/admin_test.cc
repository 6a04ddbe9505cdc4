// SPDX-License-Identifier: BSD-3-Clause
#include "control/admin.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace statecast {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/statecast-admin-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A program's loop around the server, in its own thread.
class Program {
 public:
  explicit Program(AdminServer& server) : server_(server), thread_([this] { run(); }) {}
  ~Program() {
    stop_ = true;
    thread_.join();
  }
  std::chrono::nanoseconds longest_turn() const { return longest_; }

 private:
  void run() {
    while (!stop_) {
      pollfd p{server_.fd(), POLLIN, 0};
      ::poll(&p, 1, 10);
      auto before = std::chrono::steady_clock::now();
      server_.serve();
      longest_ = std::max(longest_, std::chrono::nanoseconds(std::chrono::steady_clock::now() - before));
    }
  }
  AdminServer& server_;
  std::atomic<bool> stop_{false};
  std::chrono::nanoseconds longest_{0};
  std::thread thread_;
};

int connect_to(const std::string& path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  return fd;
}

std::string read_line(int fd) {
  std::string line;
  for (char c;;) {
    pollfd p{fd, POLLIN, 0};
    if (::poll(&p, 1, 5000) <= 0 || ::recv(fd, &c, 1, 0) != 1) return line + " (no more)";
    if (c == '\n') return line;
    line += c;
  }
}

std::unique_ptr<AdminServer> listen_at(const std::string& path) {
  auto s = AdminServer::listen(path);
  EXPECT_TRUE(s) << s.error().message;
  return s ? std::move(*s) : nullptr;
}

TEST(Admin, AnswersInOneLineOrMore) {
  TemporaryFolder folder;
  std::string path = folder / "deep/er/proxy-1.sock";
  auto server = listen_at(path);
  server->on("add", [](const Json& r, AdminReply reply) {
    reply({{"sum", r.at("a").get<int>() + r.at("b").get<int>()}}, AdminLast::yes);
  });
  server->on("count", [](const Json&, AdminReply reply) {
    for (int i = 1; i <= 3; ++i) reply({{"n", i}}, i == 3 ? AdminLast::yes : AdminLast::no);
    reply({{"n", 4}}, AdminLast::yes);  // after the last: dropped
  });
  Program program(*server);
  std::vector<Json> lines;
  auto keep = [&](const Json& l) { lines.push_back(l); };
  ASSERT_TRUE(admin_request(path, {{"command", "add"}, {"a", 2}, {"b", 40}}, keep));
  ASSERT_TRUE(admin_request(path, {{"command", "count"}}, keep));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].dump(), R"({"last":true,"sum":42})");
  EXPECT_EQ(lines[1].dump(), R"({"n":1})");
  EXPECT_EQ(lines[3].dump(), R"({"last":true,"n":3})");
}

struct ErrorRow {
  const char* name;
  Json request;
  Code code;
  std::string message;
};

TEST(Admin, ErrorsReachTheAsker) {
  TemporaryFolder folder;
  std::string path = folder / "agent-1.sock";
  auto server = listen_at(path);
  server->on("deny", [](const Json&, AdminReply reply) {
    reply(admin_error({Code::denied, "not yours"}), AdminLast::yes);
  });
  server->on("forget", [](const Json&, const AdminReply&) {});
  server->on("throws", [](const Json& r, AdminReply reply) { reply({{"id", r.at("id")}}, AdminLast::yes); });
  Program program(*server);
  const ErrorRow rows[] = {
      {"denied", {{"command", "deny"}}, Code::denied, "not yours"},
      {"unknown",
       {{"command", "fly"}},
       Code::not_found,
       "this program has no command \"fly\"; it has: deny, forget, throws"},
      {"no command", {{"id", 1}}, Code::invalid, "a request names its command: {\"command\": \"status\"}"},
      {"no object", Json::array(), Code::invalid, "a request is one JSON object on one line"},
      {"never answered",
       {{"command", "forget"}},
       Code::unavailable,
       "the program ended this request without an answer"},
      {"handler throws",
       {{"command", "throws"}},
       Code::invalid,
       "request not understood: [json.exception.out_of_range.403] key 'id' not found"},
  };
  for (auto& row : rows) {
    auto r = admin_request(path, row.request, [](const Json&) { FAIL(); });
    ASSERT_FALSE(r) << row.name;
    EXPECT_EQ(r.error().code, row.code) << row.name;
    EXPECT_EQ(r.error().message, row.message) << row.name;
  }
}

TEST(Admin, RepliesLaterAndToThoseWhoHaveGone) {
  TemporaryFolder folder;
  std::string path = folder / "agent-1.sock";
  auto server = listen_at(path);
  std::vector<AdminReply> kept;
  server->on("wait", [&](const Json&, AdminReply reply) {
    reply({{"event", "stored"}}, AdminLast::no);
    kept.push_back(std::move(reply));
  });
  int stays = connect_to(path), goes = connect_to(path);
  for (int fd : {stays, goes}) ASSERT_EQ(::send(fd, "{\"command\":\"wait\"}\n", 19, 0), 19);
  for (int i = 0; i < 3; ++i) server->serve();
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(read_line(stays), R"({"event":"stored"})");
  ::close(goes);
  for (int i = 0; i < 3; ++i) {
    for (auto& reply : kept) reply({{"event", "silent"}}, i == 2 ? AdminLast::yes : AdminLast::no);
    server->serve();
  }
  for (int i = 0; i < 3; ++i) EXPECT_NE(read_line(stays).find("silent"), std::string::npos);
  server.reset();
  for (auto& reply : kept) reply({{"event", "silent"}}, AdminLast::yes);  // the server has gone: nothing happens
  kept.clear();
  ::close(stays);
}

TEST(Admin, HalfClosedClientGetsItsAnswers) {
  TemporaryFolder folder;
  auto server = listen_at(folder / "s");
  AdminReply kept;
  server->on("wait", [&](const Json&, AdminReply reply) { kept = std::move(reply); });
  int fd = connect_to(folder / "s");
  ASSERT_EQ(::send(fd, "{\"command\":\"wait\"}\n", 19, 0), 19);
  ::shutdown(fd, SHUT_WR);
  for (int i = 0; i < 4; ++i) server->serve();
  kept({{"ok", 1}}, AdminLast::yes);
  for (int i = 0; i < 2; ++i) server->serve();
  EXPECT_EQ(read_line(fd), R"({"last":true,"ok":1})");
  char c;
  EXPECT_EQ(::recv(fd, &c, 1, 0), 0) << "closed after the last answer";
  ::close(fd);
}

TEST(Admin, SlowReaderNeitherBlocksNorGrowsWithoutBound) {
  TemporaryFolder folder;
  std::string path = folder / "s";
  auto server = listen_at(path);
  std::string kilobyte(1000, 'x');
  server->on("list", [&](const Json& r, AdminReply reply) {
    for (int i = 0, n = r.at("lines"); i < n; ++i) reply({{"text", kilobyte}}, AdminLast::no);
    reply({{"lines", r.at("lines")}}, AdminLast::yes);
  });
  Program program(*server);
  int slow = connect_to(path);
  std::string much = "{\"command\":\"list\",\"lines\":40000}\n";
  ASSERT_EQ(::send(slow, much.data(), much.size(), 0), static_cast<ssize_t>(much.size()));
  // Others are served meanwhile, a long answer too, and in full.
  int seen = 0;
  ASSERT_TRUE(admin_request(
      path, {{"command", "list"}, {"lines", 5000}}, [&](const Json&) { ++seen; }, 60s));
  EXPECT_EQ(seen, 5001);
  // The slow one was dropped at the bound: its end comes long before 40 MB.
  size_t got = 0;
  for (char chunk[65536];;) {
    ssize_t n = ::recv(slow, chunk, sizeof chunk, 0);
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  EXPECT_LT(got, kAdminUnreadMax);
  ::close(slow);
}

TEST(Admin, ManyClientsAreBounded) {
  TemporaryFolder folder;
  std::string path = folder / "s";
  auto server = listen_at(path);
  std::vector<AdminReply> kept;
  server->on("wait", [&](const Json&, AdminReply reply) { kept.push_back(std::move(reply)); });
  std::vector<int> idle, waiting;
  for (size_t i = 0; i < kAdminClientsMax; ++i) {
    idle.push_back(connect_to(path));
    server->serve();
  }
  // Idle ones make room, oldest first.
  for (size_t i = 0; i < kAdminClientsMax; ++i) {
    waiting.push_back(connect_to(path));
    ASSERT_EQ(::send(waiting.back(), "{\"command\":\"wait\"}\n", 19, 0), 19);
    server->serve();
    server->serve();
    EXPECT_EQ(read_line(idle[i]), " (no more)") << i;
  }
  EXPECT_EQ(kept.size(), kAdminClientsMax);
  // Waiting ones do not: the next is refused, in words.
  int more = connect_to(path);
  server->serve();
  EXPECT_NE(read_line(more).find("too many clients"), std::string::npos);
  ::close(more);
  for (int fd : idle) ::close(fd);
  for (int fd : waiting) ::close(fd);
}

TEST(Admin, BadBytes) {
  TemporaryFolder folder;
  std::string path = folder / "s";
  auto server = listen_at(path);
  server->on("echo", [](const Json& r, AdminReply reply) { reply(r, AdminLast::yes); });
  Program program(*server);
  struct Row {
    const char* name;
    std::string sent, answer;
  };
  const Row rows[] = {
      {"no JSON", "hello\n", "a request is one JSON object on one line"},
      {"deep", std::string(60'000, '[') + "\n", "a request is one JSON object on one line"},
      {"deep and whole", "{\"a\":" + std::string(30'000, '[') + std::string(30'000, ']') + "}\n", "names its command"},
      {"not UTF-8", "{\"command\":\"\xff\xfe\"}\n", "a request is one JSON object"},
      {"empty lines before", "\n\r\n\n{\"command\":\"echo\",\"x\":7}\n", "\"x\":7"},
      {"line too long", std::string(kAdminLineMax + 10, 'x'), "at most 64 KiB"},
      {"line too long, ended", std::string(kAdminLineMax + 10, 'x') + "\n", "at most 64 KiB"},
  };
  for (auto& row : rows) {
    int fd = connect_to(path);
    (void)!::send(fd, row.sent.data(), row.sent.size(), MSG_NOSIGNAL);
    EXPECT_NE(read_line(fd).find(row.answer), std::string::npos) << row.name;
    ::close(fd);
  }
}

TEST(Admin, SocketFile) {
  TemporaryFolder folder;
  std::string path = folder / "proxy-3.sock";
  {
    auto server = listen_at(path);
    struct stat s {};
    ASSERT_EQ(::stat(path.c_str(), &s), 0);
    EXPECT_EQ(s.st_mode & 0777, 0600u);
    auto second = AdminServer::listen(path);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::conflict);
    EXPECT_EQ(second.error().message, path + ": another program listens there: stop it, or choose another path");
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path)) << "removed at the end";

  // Left over by a program that was killed: replaced.
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  ::close(fd);
  auto nobody = admin_request(path, {{"command", "status"}}, [](const Json&) {});
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, Code::unavailable);
  EXPECT_EQ(nobody.error().message,
            "no statecast-proxy answers at " + path + ": is it running? (its control_socket says where it listens)");
  EXPECT_NE(listen_at(path), nullptr);

  std::ofstream(folder / "file") << "precious";
  auto in_the_way = AdminServer::listen(folder / "file");
  ASSERT_FALSE(in_the_way);
  EXPECT_EQ(in_the_way.error().message, (folder / "file") + ": a file that is no socket is in the way");
  EXPECT_EQ(AdminServer::listen(std::string(200, 'x')).error().code, Code::invalid);
}

TEST(Admin, SilentProgramIsNotWaitedForLonger) {
  TemporaryFolder folder;
  std::string path = folder / "agent-2.sock";
  auto server = listen_at(path);  // nobody calls serve()
  auto r = admin_request(
      path, {{"command", "status"}}, [](const Json&) {}, 50ms);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message,
            "the statecast-agent at " + path + " has not answered for 50 ms: is it stopped or overloaded?");
}

}  // namespace
}  // namespace statecast
