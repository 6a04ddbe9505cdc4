// SPDX-License-Identifier: BSD-3-Clause
// Owner: a member's side of the directory. Inserts, renews, refreshes, removes and revokes the sessions of one agent;
// retries elsewhere after max(100 ms, 2 x RTT), then with back-off; keeps versions and handles.
//
//   owner.insert({.id = id, .born_new = true, .ingress = p1, .packet = synack}, now);
//   owner.on_message(from, bytes, now);                     // InsertAnswer, RequestAnswer, RefreshAnswer, Notice
//   for (OwnerEvent e; owner.next_event(e);) ...
//   for (DirectoryOutput o; owner.next_output(o);) send(o);  // after the events: an Ack says that they are enforced
//
// Threads: one. Ownership: owns its session table; `packet` is copied.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/units.h"
#include "dataplane/session/keyed_hash.h"
#include "directory/messages.h"
#include "directory/outbox.h"
#include "directory/view.h"

namespace statecast {

// What becomes of the packet that is to be released once the insert is held.
enum class InsertForm : uint8_t {
  insert,              // it waits at the owner, for OwnerEvent::Kind::inserted
  insert_and_forward,  // travels with the insert, and the ingress proxy gets it with the session's entry
  insert_and_return,   // travels with the insert, and comes back with the answer; no copy is kept
};

struct OwnerEvent {
  enum class Kind : uint8_t {
    inserted,    // W replicas hold it (or fewer, accepted: `degraded`)
    busy,        // another owner's insert is under way; given up after three tries: wait for the kernel's next SYN/ACK
    conflict,    // another owner holds it (record.member), or a tombstone stands there (record.state)
    refused,     // the directory does not take it now
    revoked,     // a tombstone stands at this session: enforce it
    superseded,  // the directory took it from us (removed, or another owner): we own it no longer
    stored,      // request: W replicas have the tombstone
    silent,      // request: owner, replicas and holders have acknowledged
    done,        // request: remove or unrevoke carried out
    failed,      // request: denied, not found, or nobody answered (`failed_status`)
    lifted,      // somebody else has lifted the tombstone of this session: enforce it no longer
    raised,      // the fleet knows a higher incarnation of this member: incarnation() stands above it now, store it
  };
  Kind kind = Kind::inserted;
  SessionId id;
  uint32_t request = 0;          // as returned by remove, revoke, unrevoke
  std::optional<Record> record;  // conflict
  RequestAnswer::Status failed_status = RequestAnswer::Status::ok;
  uint32_t remaining_ms = 0;    // of a tombstone
  bool degraded = false;        // inserted, done: fewer than W copies
  uint8_t copies = 0;           // inserted, stored, done: as the answer said
  std::vector<uint8_t> packet;  // inserted: to be released now, by the owner itself
};
const char* to_string(OwnerEvent::Kind k);

struct OwnerOptions {
  MemberId self;
  uint32_t incarnation = 1;  // kept on disk by the agent, raised at each start; if lost, see OwnerEvent::Kind::raised
  View view;                 // proxies of the file; placement is unknown to members (no group secret): any proxy relays
  std::function<bool(ProxyId)> reachable;  // empty: all are
  std::function<Duration(ProxyId)> rtt;    // empty: unknown, taken as 0
  Duration half_open_lifetime = 10s;
  Duration established_lifetime = 60s;
  Duration closing_lifetime = 60s;
  Duration refresh_period = 15s;
  size_t refresh_listed_max = kRefreshEntriesMax;  // more sessions at one replica are refreshed by digests
  size_t sessions_max = 4'000'000;                 // more are `refused`
  size_t waiting_max = 4'096;                      // packets of InsertForm::insert; more go as insert_and_forward
};

struct OwnerInsert {
  SessionId id;
  bool established = false;  // else half-open
  bool born_new = false;
  ProxyId ingress;                                   // 0: plain insert
  ProxyId replica_hint;                              // 0: none; saves the relay's hop
  Bytes packet;                                      // SYN/ACK to release through `ingress`
  InsertForm form = InsertForm::insert_and_forward;  // of that packet
  uint64_t bucket_bytes = kUnlimitedBytes;
};

struct OwnerCounters {
  uint64_t inserts = 0;   // new or renewed, first sends
  uint64_t retries = 0;   // of any request, sent again
  uint64_t degraded = 0;  // inserts accepted with fewer than W copies
  uint64_t busy = 0, conflicts = 0, refused = 0;
  uint64_t refreshes = 0;      // messages, digests included
  uint64_t inserted_anew = 0;  // because a replica did not know the handle
  uint64_t refresh_unanswered = 0;
  uint64_t notices = 0;
};

class Owner {
 public:
  Owner(OwnerOptions options, uint64_t seed);

  // Also renews: an insert of a session that is ours already raises its counter (a SYN/ACK retransmission). The bucket
  // of a session that is ours stays as it is; set_bucket changes it.
  void insert(const OwnerInsert& insert, Instant now);
  void establish(const SessionId& id, Instant now);                   // the handshake is complete: extend
  void set_bucket(const SessionId& id, uint64_t bytes, Instant now);  // refresh now, with a new bucket
  void close(const SessionId& id, Instant now);                       // the kernel has ended it: closing
  uint32_t remove(const SessionId& id, Instant now);                  // tombstone; request number
  uint32_t revoke(const SessionId& id, Duration duration, Instant now);
  uint32_t unrevoke(const SessionId& id, Instant now);
  // A revocation of before a restart, by the name that it had (0: not known): goes out without events, a bounded number
  // at a time.
  void restore_revocation(const SessionId& id, uint64_t name, Duration remaining, Instant now);

  bool on_message(NodeId from, Bytes message, Instant now);  // true if it was one for an owner and well-formed
  void on_deadline(Instant now);
  Instant next_deadline() const;  // Instant::max(): none
  bool next_output(DirectoryOutput& out) { return outputs_.next(out); }
  bool next_event(OwnerEvent& out);

  uint32_t incarnation() const { return options_.incarnation; }
  size_t size() const { return sessions_.size(); }
  size_t waiting() const { return waiting_; }                                       // packets of InsertForm::insert
  bool owns(const SessionId& id) const { return handles_.contains(id); }            // inserted or being inserted
  bool is_revoked(const SessionId& id) const { return revoked_ids_.contains(id); }  // as far as this agent knows
  uint64_t revocation_name(const SessionId& id) const;                              // Revoke::name; 0: not revoked
  const OwnerCounters& counters() const { return counters_; }
  struct Listed {
    SessionId id;
    RecordState state;
    Version version;
    std::vector<ProxyId> replicas;
    bool acknowledged;
    uint64_t bucket_counter;
  };
  std::vector<Listed> list() const;  // by handle

 private:
  struct Session {
    SessionId id;
    RecordState state = RecordState::half_open;
    Version version;
    Version acknowledged_version;
    uint64_t bucket_bytes = kUnlimitedBytes;
    uint64_t bucket_counter = 0;
    bool acknowledged = false;
    std::vector<ProxyId> replicas;
    ViewId view;                  // in which they are these
    uint32_t request = 0;         // of the insert that is out; 0: none
    std::optional<Instant> ends;  // half-open and closing: forgotten then
    uint64_t counted = 0;         // in the digests of its replicas; 0: not, as long as it is not established everywhere
  };
  // What is refreshed at one replica, by the view in which it was told to be one.
  struct Told {
    RefreshDigests digests{};
    size_t sessions = 0;
    std::vector<Refresh::Entry> entries;  // to be sent
  };
  struct Refreshed {
    std::map<ViewId, Told> told;
    std::optional<Instant> due;
    std::set<uint8_t> parts;  // to be listed
    bool silent = false;      // the last refresh was not answered
  };
  // A request that is out until it is answered.
  struct Pending {
    enum class Kind : uint8_t { insert, refresh, digest, remove, revoke, unrevoke };
    Kind kind = Kind::insert;
    MessageBody body;             // the same at each send (but for what is left of a revocation)
    std::vector<uint8_t> packet;  // owned bytes of an Insert's packet
    InsertForm form = InsertForm::insert_and_forward;
    bool waits() const { return form == InsertForm::insert && !packet.empty(); }
    SessionId id;
    uint32_t handle = 0;  // insert
    ProxyId hint;         // insert: tried first
    ViewId view;          // said in its header; refresh: in which the owner learned of this replica
    ProxyId to;           // the last one it went to; refresh: the replica
    unsigned sends = 0, turned_away = 0, busy = 0;
    bool quiet = false;         // insert: nobody waits for `inserted`; revoke: sent again, nobody waits either
    bool stored = false;        // revoke
    bool told_refused = false;  // insert: `refused` was emitted
    bool withdrawn = false;     // insert: waits, then goes out as a new one
    Instant due{};
    std::optional<Instant> gives_up;
  };
  enum class TimerKind : uint8_t { pending, session, refresh, list, buckets, revoked };
  struct Timer {
    Instant at;
    TimerKind kind;
    uint32_t number;  // request, handle or proxy
    auto operator<=>(const Timer&) const = default;
  };
  struct Revocation {
    SessionId id;
    Instant ends;
    uint64_t name;  // by which an unrevoke lifts it
  };
  struct StartInsert {
    bool born_new = false, quiet = false;
    ProxyId ingress, hint;
    Bytes packet;
    InsertForm form = InsertForm::insert_and_forward;
  };

  Session* find(const SessionId& id);
  void start_insert(uint32_t handle, Session& s, const StartInsert& how, Instant now);
  void insert_again(Pending& p, Instant now);
  bool continue_above(const Pending& p, const InsertAnswer& a);
  void set_lifetime(uint32_t handle, Session& s, Instant now);
  uint32_t add_request(Pending p, Instant now);
  void send(uint32_t request, Pending& p, Instant now);
  ProxyId choose(const Pending& p) const;
  Duration patience(const Pending& p);
  Duration rtt(ProxyId p) const;  // 0: unknown
  Duration busy_unit(const Session& s) const;
  void schedule(uint32_t request, Pending& p, Instant due);
  void drop_pending(uint32_t request);
  void drop_revokes(const SessionId& id);
  void forget(uint32_t handle);
  void mark_revoked(const SessionId& id, uint32_t handle, Instant ends, uint64_t name);
  void lift(uint32_t handle);
  void emit(OwnerEvent event) { events_.push_back(std::move(event)); }

  void on_insert_answer(const MessageHeader& h, Pending& p, const InsertAnswer& a, Instant now);
  void on_request_answer(uint32_t request, Pending& p, const RequestAnswer& a, Instant now);
  void on_refresh_answer(ViewId view, const std::vector<Refresh::Entry>& listed, const RefreshAnswer& a, Instant now);
  void on_refresh_difference(ProxyId from, const RefreshDifference& d, Instant now);
  void on_silent_replica(ProxyId replica, Instant now);
  void insert_anew(uint32_t handle, Instant now);
  void resend_revocations(Instant now);
  void resend_more(Instant now);
  void on_notice(const Notice& n, Instant now);
  void on_pending_due(uint32_t request, Instant now);
  void join_refresh(uint32_t handle, Session& s, Instant now);
  void leave_refresh(uint32_t handle, Session& s);
  void refresh_due(ProxyId replica, Instant now);
  void list_all(ProxyId replica, Instant now);
  void list_due(ProxyId replica, Instant now);
  void list_part(ProxyId replica, size_t part, Instant now);
  void tell(ProxyId replica, Instant now);
  void refresh(ProxyId replica, ViewId view, std::vector<Refresh::Entry> entries, Instant now);
  bool reachable(ProxyId p) const { return !options_.reachable || options_.reachable(p); }

  OwnerOptions options_;
  Rng rng_;
  uint64_t counter_ = 0;
  uint32_t next_handle_;
  uint32_t next_request_;
  std::map<uint32_t, Session> sessions_;  // by handle
  std::unordered_map<SessionId, uint32_t, KeyedHash> handles_;
  std::map<uint32_t, Pending> pending_;  // by request
  std::map<ProxyId, Refreshed> refreshed_;
  std::map<uint32_t, Revocation> revoked_;
  std::unordered_map<SessionId, uint32_t, KeyedHash> revoked_ids_;
  std::optional<Instant> revocations_resent_;
  std::deque<uint32_t> resends_;  // revocations to be sent again, by handle
  size_t waiting_ = 0;
  size_t resends_out_ = 0;  // those under way
  std::set<Timer> timers_;
  Outbox outputs_;
  std::deque<OwnerEvent> events_;
  OwnerCounters counters_;
};

}  // namespace statecast
