// SPDX-License-Identifier: BSD-3-Clause
// AgentWorld: one AgentCore and three proxies, which are PeerTables with a script: hellos are answered, inserts are
// answered as the test says, the rest is recorded. No sockets, no clock but the test's.
//
//   AgentWorld w({.sessions_of_before = {...}});
//   w.connect();                                    // hellos
//   w.from_client(1, syn);                          // proxy 1 hands over a packet
//   w.from_kernel(syn_ack);
//   w.to_kernel  w.inserts  w.replies  ...          // what came out since the last clear()
//
// Threads: one. Ownership: owns everything.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/support/packet_builder.h"
#include "tools/agent/agent_core.h"

namespace statecast::test {

inline constexpr const char* kClient = "198.51.100.7";
inline constexpr const char* kServer = "203.0.113.10";
inline constexpr const char* kServer6 = "2001:db8:1::10";
inline constexpr const char* kPlain = "203.0.113.30";  // of the stateless group
inline constexpr GroupId kWeb{10}, kPlainGroup{30};
inline constexpr MemberId kSelf{7}, kOther{8};
inline constexpr uint32_t kClientIsn = 1'000, kServerIsn = 5'000;

struct WorldOptions {
  std::vector<KernelSocket> sockets;           // in the kernel at start
  std::vector<Revocations::Left> revocations;  // on disk at start
  ByteCount session_bytes{UINT64_MAX};
  UnknownSession unknown = UnknownSession::drop;
  size_t sessions_max = kMemberSessionsMax;
  ConfigInsertForm insert = ConfigInsertForm::insert_and_forward;
};

class AgentWorld {
 public:
  // An envelope that a proxy got, as it opened.
  struct Got {
    ProxyId proxy;
    Envelope envelope;
    Packet payload;
  };
  struct GotInsert {
    ProxyId proxy;
    MessageHeader header;
    Insert insert;
    Packet packet;
  };

  explicit AgentWorld(WorldOptions options = {});
  void connect();

  // --- what happens ---
  void from_client(uint32_t proxy, const Packet& packet, EnvelopeOptions options = {}, GroupId group = kWeb);
  void from_kernel(const Packet& packet);
  void message(uint32_t proxy, const MessageHeader& header, const MessageBody& body);
  void raw(Bytes datagram);  // from proxy 1's address
  std::vector<uint8_t> sealed(uint32_t proxy, const Packet& packet, EnvelopeOptions options = {}, GroupId group = kWeb);
  void sockets(const std::vector<KernelSocket>& table);
  void pass(Duration d);  // time, in steps of the deadlines; silent proxies stay silent
  void clear();
  // The whole handshake of kClient:port, through the proxy.
  void handshake(uint32_t proxy, uint16_t port = 40'000);

  // --- what came out ---
  std::vector<Packet> to_kernel;
  std::vector<Got> replies;  // inner packets, of any kind
  std::vector<GotInsert> inserts;
  std::vector<Message> messages;  // others
  std::vector<SessionTuple> destroyed;
  size_t table_reads = 0, saves = 0, incarnation_saves = 0;
  uint64_t count(AgentCounter c) { return core->counters().get(c); }
  const Got* reply_with(const std::function<bool(const EnvelopeOptions&)>& f) const;

  // How inserts are answered; by default with ok, by all three replicas.
  std::function<std::optional<InsertAnswer>(const Insert&)> answer;
  std::map<uint32_t, bool> silent;  // proxies that say nothing more

  Instant now = Instant{} + 100s;
  std::unique_ptr<AgentCore> core;

 private:
  struct Proxy {
    std::unique_ptr<PeerTable> peers;
    Endpoint address;
  };
  Proxy& proxy(uint32_t id) { return proxies_.at(id); }
  void pump();
  void at_proxy(uint32_t id, Bytes datagram);
  void on_proxy_message(uint32_t id, const Envelope& e);
  void send(uint32_t id, Bytes datagram);

  std::map<uint32_t, Proxy> proxies_;
  std::deque<std::pair<uint32_t, std::vector<uint8_t>>> to_agent_;
  Endpoint agent_address_{*IpAddress::parse("10.2.0.7"), Port{7'000}};
};

SessionId tcp_session(uint16_t port = 40'000);
SessionId udp_session(uint16_t port = 40'000);
Packet syn(uint16_t port = 40'000);
Packet syn_ack(uint16_t port = 40'000, uint32_t isn = kServerIsn);
Packet client_ack(uint16_t port = 40'000, size_t payload = 0);
Packet server_data(uint16_t port = 40'000, size_t payload = 100);
Packet server_reset(uint16_t port = 40'000, uint32_t acknowledgement = kClientIsn + 1);
Packet client_udp(uint16_t port = 40'000);
Packet server_udp(uint16_t port = 40'000);
KernelSocket kernel_socket(uint16_t port, KernelSocket::State state = KernelSocket::State::open);

}  // namespace statecast::test
