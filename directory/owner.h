// SPDX-License-Identifier: BSD-3-Clause
// Owner: a member's side of the directory. Inserts, renews, refreshes, removes and revokes the sessions of one agent;
// retries elsewhere after max(100 ms, 2 x RTT), then with back-off; keeps versions and handles.
//
//   owner.insert({.id = id, .ingress = p1, .packet = synack, .born_new = true}, now);
//   owner.on_message(from, bytes, now);                     // InsertAnswer, RequestAnswer, RefreshAnswer, Notice
//   for (OwnerEvent e; owner.next_event(e);) ...
//
// Threads: one. Ownership: owns its session table; `packet` is copied.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/units.h"
#include "directory/messages.h"
#include "directory/view.h"

namespace statecast {

struct OwnerEvent {
  enum class Kind : uint8_t {
    inserted,        // W replicas hold it (or degraded, accepted)
    busy,            // another owner's insert is under way; given up after three tries: wait for the kernel's next SYN/ACK
    conflict,        // another owner holds it (record.member), or a tombstone stands there (record.state)
    refused,         // the directory does not take it now
    revoked,         // a tombstone stands at this session: enforce it
    superseded,      // the directory took it from us (removed, or another owner): we own it no longer
    stored,          // request: W replicas have the tombstone
    silent,          // request: owner, replicas and holders have acknowledged
    done,            // request: remove or unrevoke carried out
    failed,          // request: denied, not found, or nobody answered (`failed_status`)
  };
  Kind kind = Kind::inserted;
  SessionId id;
  uint32_t request = 0;              // as returned by remove, revoke, unrevoke
  std::optional<Record> record;      // conflict
  RequestAnswer::Status failed_status = RequestAnswer::Status::ok;
  uint32_t remaining_ms = 0;         // of a tombstone
};

struct OwnerOptions {
  MemberId self;
  uint32_t incarnation = 1;  // kept on disk by the agent, raised at each start
  View view;                 // proxies of the file; placement is unknown to members (no group secret): any proxy relays
  std::function<bool(ProxyId)> reachable;
  Duration half_open_lifetime = 10s;
  Duration established_lifetime = 60s;
  Duration closing_lifetime = 60s;
  Duration refresh_period = 15s;
};

struct OwnerInsert {
  SessionId id;
  bool established = false;       // else half-open
  bool born_new = false;
  ProxyId ingress;                // 0: plain insert
  ProxyId replica_hint;           // 0: none; saves the relay's hop
  Bytes packet;                   // SYN/ACK to release through `ingress`
  uint64_t bucket_bytes = kUnlimitedBytes;
};

class Owner {
 public:
  Owner(OwnerOptions options, uint64_t seed);
  ~Owner();

  // Also renews: an insert of a session that is ours already raises its counter (a SYN/ACK retransmission).
  void insert(const OwnerInsert& insert, Instant now);
  void establish(const SessionId& id, Instant now);                       // the handshake is complete: extend
  void set_bucket(const SessionId& id, uint64_t bytes, Instant now);      // refresh now, with a new bucket
  void close(const SessionId& id, Instant now);                           // the kernel has ended it: closing
  uint32_t remove(const SessionId& id, Instant now);                      // tombstone; request number
  uint32_t revoke(const SessionId& id, Duration duration, Instant now);
  uint32_t unrevoke(const SessionId& id, Instant now);

  bool on_message(NodeId from, Bytes message, Instant now);  // true if it was one for an owner and well-formed
  void on_deadline(Instant now);
  Instant next_deadline() const;
  bool next_output(DirectoryOutput& out);
  bool next_event(OwnerEvent& out);

  size_t size() const;
  bool owns(const SessionId& id) const;  // inserted or being inserted
  struct Listed { SessionId id; RecordState state; Version version; std::vector<ProxyId> replicas; bool acknowledged; };
  std::vector<Listed> list() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace statecast
