// SPDX-License-Identifier: BSD-3-Clause
#include "control/metrics.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

namespace statecast {
namespace {

std::string fetch(Port port) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port.value);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  std::string request = "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n", page;
  EXPECT_EQ(::send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  char chunk[4096];
  for (ssize_t n; (n = ::recv(fd, chunk, sizeof chunk, 0)) > 0;) page.append(chunk, static_cast<size_t>(n));
  ::close(fd);
  return page;
}

TEST(Metrics, PageHasWhatCollectGives) {
  std::atomic<int> calls{0};
  auto page = MetricsPage::serve("127.0.0.1:0", [&] {
    ++calls;
    return std::vector<Metric>{
        {metric_name("rx.all.packets"), "Frames received from ports.", {{"worker", "0"}}, 12345678901.0},
        {metric_name("rx.all.packets"), "Frames received from ports.", {{"worker", "1"}}, 7},
        {metric_name("cache.entries"), "Entries.", {}, 2.5, false},
    };
  });
  ASSERT_TRUE(page) << page.error().message;
  std::string text = fetch((*page)->port());
  for (const char* line : {
           "HTTP/1.1 200 OK",
           "# HELP statecast_rx_all_packets Frames received from ports.\n# TYPE statecast_rx_all_packets counter\n"
           "statecast_rx_all_packets{worker=\"0\"} 12345678901\nstatecast_rx_all_packets{worker=\"1\"} 7\n",
           "# TYPE statecast_cache_entries gauge\nstatecast_cache_entries 2.5\n",
       })
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n--- not in:\n" << text;
  EXPECT_EQ(calls, 1);
  auto second =
      MetricsPage::serve("127.0.0.1:" + std::to_string((*page)->port().value), [] { return std::vector<Metric>(); });
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("Address already in use"), std::string::npos) << second.error().message;
}

TEST(Metrics, EndsAtOnce) {
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0"}) {
    auto page = MetricsPage::serve(address, [] { return std::vector<Metric>(); });
    ASSERT_TRUE(page) << page.error().message;
    auto before = std::chrono::steady_clock::now();
    page->reset();
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(1500)) << address;
  }
}

TEST(Metrics, BadAddress) {
  for (const char* address : {"", "9101", "localhost:9101", "127.0.0.1", "127.0.0.1:99999"}) {
    auto page = MetricsPage::serve(address, [] { return std::vector<Metric>(); });
    ASSERT_FALSE(page) << address;
    EXPECT_EQ(page.error().message,
              std::string("expected ADDRESS:PORT such as \"127.0.0.1:9101\", got \"") + address + "\"");
  }
}

}  // namespace
}  // namespace statecast
