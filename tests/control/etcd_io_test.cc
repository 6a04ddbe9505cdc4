// SPDX-License-Identifier: BSD-3-Clause
// The edge towards etcd where nobody answers, and where somebody answers nonsense. The real one:
// tests/e2e/etcd_test.py.
#include "control/etcd_io.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

namespace statecast::test {
namespace {

bool within(Duration d, const std::function<bool()>& what) {
  for (const Instant end = MonotonicClock::now() + d; MonotonicClock::now() < end; usleep(5'000))
    if (what()) return true;
  return false;
}

// Takes connections one after the other and answers whatever comes with the same bytes.
class Parrot {
 public:
  explicit Parrot(std::string words) : words_(std::move(words)), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    bound_ = bind(fd_, reinterpret_cast<sockaddr*>(&at), length) == 0 && listen(fd_, 8) == 0 &&
             getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length) == 0;
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] {
      for (;;) {
        const int c = accept(fd_, nullptr, nullptr);
        if (c < 0) return;
        char in[4096];
        if (read(c, in, sizeof in) > 0 && write(c, words_.data(), words_.size()) > 0) ++answered;
        close(c);
      }
    });
  }
  ~Parrot() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  Parrot(const Parrot&) = delete;
  Parrot& operator=(const Parrot&) = delete;
  bool bound() const { return bound_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::atomic<int> answered{0};

 private:
  std::string words_;
  int fd_;
  bool bound_ = false;
  uint16_t port_ = 0;
  std::thread thread_;
};

const MembershipOptions kOptions{.self = {1}, .zone = "a", .known = {ProxyId{1}}};

TEST(EtcdMembership, WhereNobodyAnswersTheNextEndpointIsAsked) {
  const std::string one = "http://127.0.0.1:1", two = "http://127.0.0.1:2";
  auto m = EtcdMembership::start({.endpoints = {one, two}, .ca = {}, .certificate = {}, .key = {}}, kOptions);
  ASSERT_TRUE(m);
  EXPECT_TRUE(within(5s, [&] { return (*m)->endpoint() == two; }));
  EXPECT_TRUE(within(5s, [&] { return (*m)->endpoint() == one; })) << "and again";
  const MembershipStatus s = (*m)->status();
  EXPECT_FALSE(s.reachable);
  EXPECT_NE(s.trouble.find("127.0.0.1:"), std::string::npos) << s.trouble;
  EXPECT_FALSE((*m)->newer_than(0));
  (*m)->report({.revision = 3, .in_sync = true, .heard = {}});
  const Instant before = MonotonicClock::now();
  m->reset();
  EXPECT_LT(MonotonicClock::now() - before, 2s) << "it ends at once";
}

TEST(EtcdMembership, NonsenseAndErrorsAreSaidAndSurvived) {
  struct Row {
    const char* words;
    const char* says;
  };
  const Row rows[] = {
      {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno leader",
       "HTTP 503 no leader"},
      {"SSH-2.0-OpenSSH_9.2\r\n", "127.0.0.1"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "127.0.0.1"},
  };
  for (const Row& r : rows) {
    Parrot parrot(r.words);
    ASSERT_TRUE(parrot.bound());
    auto m = EtcdMembership::start({.endpoints = {parrot.url()}, .ca = {}, .certificate = {}, .key = {}}, kOptions);
    ASSERT_TRUE(m);
    EXPECT_TRUE(within(10s, [&] { return (*m)->status().trouble.find(r.says) != std::string::npos; }))
        << r.words << " said as " << (*m)->status().trouble;
    EXPECT_GT(parrot.answered, 0);
    EXPECT_FALSE((*m)->status().reachable);
  }
}

}  // namespace
}  // namespace statecast::test
