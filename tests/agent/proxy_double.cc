// SPDX-License-Identifier: BSD-3-Clause
// proxy_double: what an agent needs of a fleet, in one small program, to try and measure the agent alone: proxy 1,
// whose clients are the programs of its own network namespace (through a TUN device), and a directory that says yes.
//
//   agent_proxy_double NODE_KEY_FILE BIND_ENDPOINT DEVICE CLIENT_ADDRESS GROUP_ID
//
// Runs until SIGTERM. Threads: one.
#include <poll.h>
#include <signal.h>
#include <sodium.h>

#include <cstdio>
#include <cstring>

#include "dataplane/envelope/peers.h"
#include "directory/messages.h"
#include "tools/agent/agent_outputs.h"
#include "tools/agent/tun_io.h"
#include "tools/agent/udp_io.h"

namespace statecast::test {

namespace {

volatile sig_atomic_t stopped = 0;

class ProxyDouble {
 public:
  ProxyDouble(const NodeKeyFile& key, GroupId group, TunDevice& tun, UdpSocket& udp)
      : member_(NodeId::member(key.member)),
        group_(group),
        tun_(tun),
        udp_(udp),
        peers_(NodeId::proxy(ProxyId{1}), randombytes_random(), 2, MonotonicClock::now()) {
    peers_.add(member_, member_pair_key(key.key, ProxyId{1}), std::nullopt);
  }

  void run() {
    while (!stopped) {
      pollfd fds[2] = {{tun_.fd(), POLLIN, 0}, {udp_.fd(), POLLIN, 0}};
      poll(fds, 2, 20);
      now_ = MonotonicClock::now();
      if (fds[0].revents) tun_.read([&](Bytes b) { seal(PayloadKind(b[0] >> 4 == 4 ? 0 : 1), group_, b); });
      if (fds[1].revents) udp_.receive([&](Bytes b, const Endpoint& from) { open(b, from); });
      peers_.on_deadline(now_);
      for (PeerTable::Datagram d; peers_.next_output(d);) {
        MutableBytes room = out_.open(d.length);
        std::memcpy(room.data(), d.bytes.data(), d.length);
        out_.close(AgentOutput::Kind::to_proxy, d.length, d.at);
      }
      for (const AgentOutput& o : out_.take()) udp_.queue(o.bytes, o.to);
      udp_.flush();
      tun_.flush();
    }
  }

 private:
  void seal(PayloadKind kind, GroupId group, Bytes payload) {
    auto to = peers_.endpoint(member_);
    if (!to) return;
    MutableBytes room = out_.open(kEnvelopeSizeMin + payload.size());
    std::memcpy(room.data() + kEnvelopeSizeMin, payload.data(), payload.size());
    if (peers_.seal(member_, 0, group, kind, {}, peers_.timestamp_us(now_), room.subspan(kEnvelopeSizeMin),
                    room.first(kEnvelopeSizeMin)) > 0)
      out_.close(AgentOutput::Kind::to_proxy, room.size(), *to);
  }
  void answer(const MessageHeader& h, const MessageBody& body) {
    auto bytes = encode(h, body);
    seal(PayloadKind::message, GroupId{0}, bytes);
  }
  void open(Bytes b, const Endpoint& from) {
    Envelope e;
    OpenResult r = peers_.open(b, e);
    if (r == OpenResult::hello) return peers_.on_hello(e, from, now_);
    if (r != OpenResult::ok) return peers_.on_unverified(claimed_sender(b), from, now_);
    peers_.heard(e, from, now_);
    if (e.kind != PayloadKind::message) return tun_.write(e.payload);
    if (peers_.on_path_message(e, from, now_)) return;
    auto m = decode(e.payload);
    if (!m) return;
    if (auto* i = std::get_if<Insert>(&m->body)) {
      answer(m->header,
             InsertAnswer{
                 .status = InsertAnswer::Status::ok, .copies = 1, .version = i->version, .replicas = {ProxyId{1}}});
      if (!i->packet.empty()) tun_.write(i->packet);
    } else if (std::holds_alternative<Refresh>(m->body)) {
      answer(m->header, RefreshAnswer{});
    } else if (std::holds_alternative<Revoke>(m->body)) {
      answer(m->header, RequestAnswer{RequestAnswer::Status::stored, 1});
      answer(m->header, RequestAnswer{RequestAnswer::Status::silent, 1});
    } else {
      answer(m->header, RequestAnswer{});
    }
  }

  NodeId member_;
  GroupId group_;
  TunDevice& tun_;
  UdpSocket& udp_;
  PeerTable peers_;
  AgentOutputs out_;
  Instant now_{};
};

int run(char** argv) {
  auto key = read_node_key(argv[1]);
  auto bind = Endpoint::parse(argv[2]);
  auto client = Prefix::parse(argv[4]);
  if (!key || !bind || !client) return 2;
  auto tun = TunDevice::create({.name = argv[3], .mtu = kInnerMtuV4, .table = 53'002, .addresses = {*client}});
  auto udp = UdpSocket::open(*bind);
  if (!tun || !udp) {
    std::fprintf(stderr, "%s\n", (!tun ? tun.error() : udp.error()).message.c_str());
    return 1;
  }
  signal(SIGTERM, [](int) { stopped = 1; });
  ProxyDouble(*key, GroupId{static_cast<uint32_t>(std::stoul(argv[5]))}, **tun, **udp).run();
  return 0;
}

}  // namespace

}  // namespace statecast::test

int main(int argc, char** argv) {
  if (argc != 6 || sodium_init() < 0) return 2;
  return statecast::test::run(argv);
}
