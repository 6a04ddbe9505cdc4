// SPDX-License-Identifier: BSD-3-Clause
// AgentCore: the member agent without its sockets. Datagrams of proxies, packets of the kernel, the kernel's socket
// table and time go in; datagrams, packets, and what else is to be done come out.
//
//   AgentCore core(options, now);
//   core.on_sockets(table, taken_at, now);  // once before anything else: sessions of before a restart
//
//   core.on_tunnel_datagram(bytes, from, now);
//   core.on_tun_packet(packet, now);
//
//   for (const AgentOutput& o : core.take_outputs(now)) carry_out(o);  // once per burst
//
//   wake_at(core.next_deadline());
//
// agent_core.cc tells the packets' story; agent_ownership.cc what the directory, the kernel's table and the operator
// say about sessions. Threads: one (counters() may be read by any). Ownership: owns its peers, directory client and
// session table.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/session/rules.h"
#include "dataplane/worker/token_bucket.h"
#include "directory/owner.h"
#include "tools/agent/agent_counters.h"
#include "tools/agent/agent_outputs.h"
#include "tools/agent/member_sessions.h"
#include "tools/agent/member_timers.h"
#include "tools/agent/revocations.h"

namespace statecast {

InsertForm insert_form(const AgentConfig& config);

struct AgentOptions {
  AgentConfig config;
  NodeKey node_key;
  uint32_t incarnation = 1;                    // raised at each start
  uint32_t boot = 0;                           // random
  uint64_t seed = 0;                           // random: retry times
  KeyedHash::Key hash_key{};                   // random: tables of what clients choose
  std::vector<Revocations::Left> revocations;  // those of before a restart
  size_t sessions_max = kMemberSessionsMax;
};

// A row of the kernel's socket table: a TCP socket with a group's address as its local end.
struct KernelSocket {
  enum class State : uint8_t { syn_received, open, time_wait };
  Endpoint local, remote;
  State state = State::open;
};

// What became of a request of the operator (revoke, unrevoke).
struct AgentEvent {
  enum class Kind : uint8_t { stored, silent, done, failed };
  uint32_t request = 0;
  Kind kind = Kind::done;
  RequestAnswer::Status failed_status = RequestAnswer::Status::ok;
};

class AgentCore {
 public:
  AgentCore(AgentOptions options, Instant now);

  void on_tunnel_datagram(Bytes udp_payload, const Endpoint& from, Instant now);
  void on_tun_packet(Bytes packet, Instant now);
  // The kernel's table as it was at `taken_at` or later.
  void on_sockets(std::span<const KernelSocket> table, Instant taken_at, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  // All that is to be done since the last call; the views are good until the next call of any kind.
  std::span<const AgentOutput> take_outputs(Instant now);
  bool next_event(AgentEvent& out);

  // --- operator ---
  // From this call on no packet of the session passes, either way. The events that follow carry the number returned.
  Result<uint32_t> revoke(const SessionId& id, Duration duration, Instant now);
  Result<uint32_t> unrevoke(const SessionId& id, Instant now);
  Result<> refresh(const SessionId& id, uint64_t bucket_bytes, Instant now);

  // --- status ---
  struct ProxyStatus {
    ProxyId id;
    Endpoint address;
    bool heard;
    std::optional<Duration> silence;  // since the last verified envelope
  };
  std::vector<ProxyStatus> proxies(Instant now) const;
  const MemberSessions& sessions() const { return sessions_; }
  const Owner& owner() const { return owner_; }
  const Revocations& revocations() const { return revocations_; }
  AgentCounters& counters() { return counters_; }
  const AgentConfig& config() const { return config_; }
  uint32_t incarnation() const { return owner_.incarnation(); }
  Instant started_at() const { return started_at_; }

 private:
  struct Group {
    const GroupConfig* config;
    std::vector<SessionRule> rule_list;
    SessionRules rules;
    bool serves(const IpAddress& a) const;
    bool is_stateful(Protocol protocol, Port port) const;
  };
  // A client's packet on its way to the kernel.
  struct ClientPacket {
    const Envelope& envelope;
    const Group& group;
    Bytes packet;
    const ParsedPacket& parsed;
    SessionId id;
    ProxyId ingress;  // replies go to it
  };
  // The kernel's packet on its way to the client.
  struct KernelPacket {
    const Group& group;
    Bytes packet;
    const ParsedPacket& parsed;
    SessionId id;
  };

  // client to kernel
  void on_message(const Envelope& e, const Endpoint& from, Instant now);
  void on_client_packet(const Envelope& e, Instant now);
  void on_client_fragment(const Envelope& e, const Group& g, Bytes packet, const ParsedPacket& p, Instant now);
  void on_syn(const ClientPacket& in, Instant now);
  void on_session_packet(const ClientPacket& in, Instant now);
  void admit(const ClientPacket& in, Instant now);
  void stray(const ClientPacket& in, Instant now);
  void to_kernel_stateless(const ClientPacket& in);
  void to_kernel(const ClientPacket& in, AgentCounter why);
  void note_client_packet(MemberSession& s, const ClientPacket& in, Instant now);
  // kernel to client
  void on_kernel_fragment(const Group& g, Bytes packet, const ParsedPacket& p, Instant now);
  void on_kernel_tcp(const KernelPacket& out, Instant now);
  void on_syn_ack(const KernelPacket& out, const TcpSegment& t, Instant now);
  void on_kernel_udp(const KernelPacket& out, Instant now);
  void on_kernel_icmp(const KernelPacket& out, Instant now);
  void on_kernel_stateless(const KernelPacket& out, Instant now);
  void reply(const KernelPacket& out, ProxyId proxy, Instant now);
  // proxies
  bool is_heard(ProxyId p, Instant now) const;
  ProxyId exit_for(ProxyId preferred, Instant now);
  bool to_proxy(ProxyId p, GroupId group, PayloadKind kind, const EnvelopeOptions& options, Bytes payload, Instant now);
  const Group* find_group(GroupId id) const;
  const Group* find_group(const IpAddress& address) const;
  PayloadKind inner_kind(const ParsedPacket& p) const;

  // agent_ownership.cc
  void pump(Instant now);
  void on_owner_event(const OwnerEvent& e, Instant now);
  void on_conflict(const OwnerEvent& e, Instant now);
  void release(const MemberSession* s, const OwnerEvent& e, Instant now);
  void on_session_due(const SessionId& id, Instant now);
  void establish(MemberSession& s, Instant now);
  void close(MemberSession& s, Instant now);
  void remove_unknown(const SessionId& id, Instant now);
  void insert_udp(MemberSession& s, Bytes first_reply, Instant now);
  void destroy_socket(const SessionId& id);
  void enforce(const SessionId& id, Duration duration, uint64_t name, Instant now);
  void refill(Instant now);
  void restore(std::span<const KernelSocket> table, Instant now);
  void insert_restored(Instant now);
  std::optional<SessionId> session_of(const KernelSocket& k) const;

  AgentConfig config_;
  Instant started_at_;
  std::vector<Group> groups_;
  PeerTable peers_;
  Owner owner_;
  MemberSessions sessions_;
  MemberTimers timers_;
  Revocations revocations_;
  Instant now_;  // of the call under way
  AgentOutputs outputs_;
  AgentCounters counters_;
  std::deque<AgentEvent> events_;
  RecentMap<IpAddress, ProxyId> clients_;  // stateless: the last proxy that brought something of this client
  // Datagrams whose first fragment has passed, by direction.
  struct FirstFragment {
    ProxyId proxy;
    SessionId session;
    Instant passed;
  };
  RecentMap<SessionId, FirstFragment> fragments_;
  RecentMap<SessionId, Instant> removed_;  // mappings without a socket: when they were removed last
  std::deque<SessionId> restored_;         // to be inserted
  bool has_sockets_ = false;               // the first socket table has been read
  TokenBucket remove_, not_mine_;
  Instant unverified_at_{};  // when the next unverified datagram may start a hello
};

}  // namespace statecast
