// SPDX-License-Identifier: BSD-3-Clause
// The agent's edges against the real kernel: the TUN device with its addresses, rules and routes; the socket table and
// the destruction of sockets, with packets written by hand as the client. Needs root: the test moves into a network
// namespace of its own, which ends with it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>

#include "dataplane/packet/parse.h"
#include "tests/support/packet_builder.h"
#include "tools/agent/sock_diag_io.h"
#include "tools/agent/state_io.h"
#include "tools/agent/tun_io.h"

namespace statecast::test {

namespace {

constexpr const char* kDevice = "agent-t0";
constexpr uint32_t kTable = 53'001;

struct Family {
  const char* name;
  const char* client;
  const char* server;
  bool dual_stack;  // the listener is an IPv6 socket, the session an IPv4 one
  uint16_t port;    // of the client: what earlier tests left in the kernel does not matter
};

class AgentIo : public testing::TestWithParam<Family> {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() == 0) own_namespace = unshare(CLONE_NEWNET) == 0;
  }
  void SetUp() override {
    if (!own_namespace) GTEST_SKIP() << "needs root, for a network namespace of its own";
    std::vector<Prefix> addresses = {*Prefix::parse("203.0.113.10"), *Prefix::parse("2001:db8:1::10"),
                                     *Prefix::parse("203.0.113.128/28")};
    auto made = TunDevice::create({.name = kDevice, .mtu = 1368, .table = kTable, .addresses = addresses});
    ASSERT_TRUE(made) << made.error().message;
    tun = std::move(*made);
    auto opened = SockDiag::open(addresses);
    ASSERT_TRUE(opened);
    diag.emplace(std::move(*opened));
    listener = listen_at(443);
  }
  void TearDown() override {
    if (listener >= 0) close(listener);
  }

  bool v4() const { return std::string_view(GetParam().server).find(':') == std::string_view::npos; }
  uint16_t port(int n) const { return static_cast<uint16_t>(GetParam().port + n); }
  PacketBuilder packet() {
    return v4() ? ip4(GetParam().client, GetParam().server) : ip6(GetParam().client, GetParam().server);
  }
  SessionTuple session(uint16_t client_port) {
    return {Protocol::tcp,
            {*IpAddress::parse(GetParam().client), Port{client_port}},
            {*IpAddress::parse(GetParam().server), Port{443}}};
  }
  int listen_at(uint16_t server_port) {
    bool six = !v4() || GetParam().dual_stack;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int off = 0, on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in6 a6{};
    sockaddr_in a4{};
    if (six) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    a6.sin6_family = AF_INET6;
    a6.sin6_port = htons(server_port);
    a4.sin_family = AF_INET;
    a4.sin_port = htons(server_port);
    EXPECT_EQ(six ? bind(fd, reinterpret_cast<sockaddr*>(&a6), sizeof a6)
                  : bind(fd, reinterpret_cast<sockaddr*>(&a4), sizeof a4),
              0);
    EXPECT_EQ(listen(fd, 16), 0);
    return fd;
  }
  void write(const Packet& p) {
    tun->write(p);
    EXPECT_EQ(tun->flush(), 0u);
  }
  // The next TCP packet that the kernel sends to this port, within a second.
  std::optional<Packet> next(uint16_t client_port) {
    std::optional<Packet> out;
    for (int tries = 0; tries < 20 && !out; ++tries) {
      pollfd wait{tun->fd(), POLLIN, 0};
      poll(&wait, 1, 50);
      tun->read([&](Bytes b) {
        ParsedPacket p;
        if (parse_ip(b, p, {.l4_checksum = true}) == ParseResult::ok && p.protocol == Protocol::tcp &&
            p.destination_port == client_port && !out)
          out = Packet(b.begin(), b.end());
      });
    }
    return out;
  }
  TcpSegment segment(const Packet& p) {
    ParsedPacket parsed;
    EXPECT_EQ(parse_ip(p, parsed), ParseResult::ok);
    return tcp_segment(p, parsed);
  }
  // Sends a SYN and returns the kernel's SYN/ACK.
  TcpSegment open_half(uint16_t client_port) {
    write(packet().tcp(client_port, 443, kSyn, 1'000, 0).mss(1'300).build());
    auto answer = next(client_port);
    EXPECT_TRUE(answer) << "the kernel's SYN/ACK did not come out of the device";
    if (!answer) return {};
    TcpSegment t = segment(*answer);
    EXPECT_TRUE(t.syn() && t.ack());
    return t;
  }
  // The whole handshake; returns the accepted socket.
  int open_whole(uint16_t client_port, TcpSegment* syn_ack = nullptr) {
    TcpSegment t = open_half(client_port);
    if (syn_ack) *syn_ack = t;
    write(packet().tcp(client_port, 443, kAck, 1'001, t.sequence + 1).build());
    int fd = -1;
    for (int tries = 0; tries < 100 && fd < 0; ++tries) {
      fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) usleep(5'000);
    }
    EXPECT_GE(fd, 0);
    return fd;
  }
  std::optional<KernelSocket::State> state_of(uint16_t client_port) {
    auto table = diag->read();
    EXPECT_TRUE(table) << table.error().message;
    for (const KernelSocket& k : *table)
      if (k.remote == session(client_port).client && k.local == session(client_port).server) return k.state;
    return std::nullopt;
  }

  static inline bool own_namespace = false;
  std::unique_ptr<TunDevice> tun;
  std::optional<SockDiag> diag;
  int listener = -1;
};

TEST_P(AgentIo, RepliesComeBackIntoTheDevice) {
  int fd = open_whole(port(0));
  ASSERT_EQ(send(fd, "hello", 5, 0), 5);
  auto data = next(port(0));
  ASSERT_TRUE(data);
  EXPECT_EQ(std::string(data->end() - 5, data->end()), "hello");
  close(fd);
}

TEST_P(AgentIo, TheTableShowsEachStateAndNoSocketOfOtherAddresses) {
  EXPECT_EQ(state_of(port(1)), std::nullopt);
  open_half(port(1));
  EXPECT_EQ(state_of(port(1)), KernelSocket::State::syn_received);
  int fd = open_whole(port(2));
  EXPECT_EQ(state_of(port(2)), KernelSocket::State::open);
  auto other = SockDiag::open({*Prefix::parse("192.0.2.77"), *Prefix::parse("2001:db8:77::/64")});
  EXPECT_TRUE(other->read()->empty());
  close(fd);
}

TEST_P(AgentIo, DestroyEndsAConnectionAndItsResetComesOutOfTheDevice) {
  int fd = open_whole(port(3));
  auto done = diag->destroy(session(port(3)));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(*done);
  char byte;
  EXPECT_EQ(recv(fd, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNABORTED);
  auto reset = next(port(3));
  ASSERT_TRUE(reset);
  EXPECT_TRUE(segment(*reset).rst());
  EXPECT_EQ(state_of(port(3)), std::nullopt);
  close(fd);
}

TEST_P(AgentIo, DestroyEndsAHalfOpenConnectionQuietly) {
  open_half(port(4));
  auto done = diag->destroy(session(port(4)));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(*done);
  EXPECT_EQ(state_of(port(4)), std::nullopt);
}

TEST_P(AgentIo, DestroyOfNothingNeverHitsTheListener) {
  auto done = diag->destroy(session(port(5)));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(*done);
  int fd = open_whole(port(6));
  EXPECT_GE(fd, 0);
  close(fd);
}

TEST_P(AgentIo, LargeWritesComeOutInSegmentsAndSegmentsGoInAsOne) {
  TcpSegment t;
  int fd = open_whole(port(7), &t);
  std::string text(20'000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  // In: 16 segments in one burst.
  for (size_t at = 0, i = 0; at < text.size(); at += 1'250, ++i)
    tun->write(packet()
                   .tcp(port(7), 443, kAck, 1'001 + static_cast<uint32_t>(at), t.sequence + 1)
                   .payload(std::string_view(text).substr(at, 1'250))
                   .build());
  EXPECT_EQ(tun->flush(), 0u);
  std::string got(text.size() + 1, 0);
  usleep(20'000);
  ssize_t n = recv(fd, got.data(), got.size(), 0);
  ASSERT_EQ(n, static_cast<ssize_t>(text.size()));
  got.resize(static_cast<size_t>(n));
  EXPECT_EQ(got, text);
  // Out: one write. What the kernel may send before an acknowledgement is its initial window.
  ASSERT_GT(send(fd, text.data(), 8'000, 0), 0);
  std::map<uint32_t, std::string> parts;
  for (int tries = 0; tries < 20; ++tries) {
    pollfd wait{tun->fd(), POLLIN, 0};
    poll(&wait, 1, 20);
    tun->read([&](Bytes b) {
      ParsedPacket p;
      ASSERT_EQ(parse_ip(b, p, {.l4_checksum = true}), ParseResult::ok);
      EXPECT_LE(b.size(), 1'368u);
      Bytes payload = b.subspan(p.payload_offset);
      if (p.destination_port != port(7)) return;
      if (!payload.empty()) parts[tcp_segment(b, p).sequence] = std::string(payload.begin(), payload.end());
    });
  }
  std::string joined;
  for (auto& [sequence, part] : parts) joined += part;
  EXPECT_EQ(joined, text.substr(0, 8'000));
  EXPECT_GE(parts.size(), 6u);
  close(fd);
}

TEST_P(AgentIo, EverythingEndsWithTheDevice) {
  auto rules = [] {
    size_t n = 0;
    auto nl = NetlinkSocket::open(NETLINK_ROUTE);
    for (uint8_t family : {AF_INET, AF_INET6}) {
      NetlinkRequest r(RTM_GETRULE, 0);
      rtmsg m{};
      m.rtm_family = family;
      r.put(m);
      EXPECT_TRUE(nl->dump(r, [&](const nlmsghdr&) { ++n; }));
    }
    return n;
  };
  size_t with = rules();
  tun.reset();
  EXPECT_EQ(if_nametoindex(kDevice), 0u);
  EXPECT_EQ(with - rules(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Families, AgentIo,
                         testing::Values(Family{"v4", "198.51.100.7", "203.0.113.10", false, 40'000},
                                         Family{"v4_dual_stack", "198.51.100.7", "203.0.113.10", true, 41'000},
                                         Family{"v4_in_prefix", "198.51.100.7", "203.0.113.130", false, 42'000},
                                         Family{"v6", "2001:db8:9::7", "2001:db8:1::10", false, 43'000}),
                         [](const auto& i) { return i.param.name; });

// --- files ---

class AgentState : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(dir); }
  void TearDown() override { std::filesystem::remove_all(dir); }
  std::string dir = testing::TempDir() + "agent_state_" + std::to_string(getpid());
};

TEST_F(AgentState, IncarnationRisesAtEachStart) {
  EXPECT_EQ(*raise_incarnation(dir), 1u);
  EXPECT_EQ(*raise_incarnation(dir), 2u);
  std::ofstream(dir + "/incarnation") << "nonsense";
  EXPECT_FALSE(raise_incarnation(dir)) << "somebody has to look";
  ASSERT_TRUE(save_incarnation(dir, 41));
  EXPECT_EQ(*raise_incarnation(dir), 42u);
}

TEST_F(AgentState, RevocationsComeBackWithWhatIsLeftOfThem) {
  auto id = *parse_session_text("10 tcp 198.51.100.7:40000 203.0.113.10:443");
  auto six = *parse_session_text("10 tcp [2001:db8::7]:40000 [2001:db8:1::10]:443");
  EXPECT_TRUE(load_revocations(dir)->empty());
  ASSERT_TRUE(save_revocations(dir, {{id, 60s, 77}, {six, 30ms, 78}}));
  usleep(50'000);
  auto left = load_revocations(dir);
  ASSERT_TRUE(left) << left.error().message;
  ASSERT_EQ(left->size(), 1u);
  EXPECT_EQ((*left)[0].id, id);
  EXPECT_EQ((*left)[0].name, 77u);
  EXPECT_LE((*left)[0].remaining, 60s - 50ms);
  EXPECT_GE((*left)[0].remaining, 50s);
}

TEST_F(AgentState, ADamagedFileIsAnErrorNotAnEmptyList) {
  ASSERT_TRUE(save_revocations(dir, {}));
  for (const char* text :
       {"", "{", "[]", "{\"version\": 2}", "{\"version\": 1, \"boot_id\": \"x\", \"revocations\": [{}]}"}) {
    std::ofstream(dir + "/revocations.json") << text;
    EXPECT_FALSE(load_revocations(dir)) << text;
  }
}

}  // namespace

}  // namespace statecast::test
