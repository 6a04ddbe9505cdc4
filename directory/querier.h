// SPDX-License-Identifier: BSD-3-Clause
// Querier: a proxy's side of the directory. Turns "I have no lease for this session" into one outstanding question,
// asks the replicas in turn (retry after max(30 ms, 2 x RTT), three tries), and turns answers into cache events.
//
//   querier.ask(key, group, now);                         // no-op while one question of this session is out
//   querier.ask(key, group, now, {QueryForm::query_and_forward, packet, worker});    // the packet travels along
//   querier.on_message(from, bytes, now);                 // QueryAnswer, Entry, Purge
//   for (CacheEvent e; querier.next_event(e);) apply(e);  // to the session cache, by its one writer
//   for (DirectoryOutput o; querier.next_output(o);) send(o);  // after the events: an Ack says that the cache has it
//
// A lease counts from when the question left, minus safety_margin(); "none" counts when R-W+1 in-sync replicas say so;
// an unconfirmed or timed-out answer is `unanswered` and is never cached as negative. A packet that travels with a
// query is not kept here: it comes back with the answer, and goes along to the next replica, or out with the event.
// Threads: one. Ownership: owns its questions; `packet` of an event is valid until the next call.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/units.h"
#include "directory/messages.h"
#include "directory/outbox.h"
#include "directory/view.h"

namespace statecast {

struct CacheEvent {
  enum class Kind : uint8_t {
    lease,        // set or renew the entry: member/stateless until lease_ends, lease_bytes more to spend
    tombstone,    // the entry becomes DROP until lease_ends
    none,         // confirmed: no mapping; negative entry, and the group's answer for unknown sessions
    no_bytes,     // every share is spent: drop until the time ends or a refresh
    unavailable,  // the owner is dead: drop, cached for at most 1 s (lease_ends)
    unanswered,   // gave up: nothing cached (miss_timeout)
    purge,        // drop the entry if its version is not newer
    packet,       // Entry's packet for the client (comes after its `lease`)
  };
  Kind kind = Kind::none;
  SessionKey key;
  GroupId group;
  Target target = Target::member;
  MemberId member;
  Version version;
  Instant lease_ends{};
  uint64_t lease_bytes = 0;  // kUnlimitedBytes: no bound
  // Kind::packet: for the client. Otherwise the one that was asked about, to go on before those that are held; empty
  // where it was forwarded.
  Bytes packet;
  uint8_t asker = 0;  // as ask() was told
};
// A packet that is to travel with the query.
struct Traveller {
  QueryForm form = QueryForm::query;
  Bytes packet;       // at most kQueryPacketMax; empty where form is query
  uint8_t asker = 0;  // whatever the caller wants to know again with the event
};

struct QuerierOptions {
  ProxyId self;
  View view;
  uint32_t boot = 0;                              // of this proxy: an Entry must echo it
  std::function<uint64_t(Instant)> timestamp_us;  // this proxy's stamp clock
  std::function<bool(GroupId)> partition_available;
  // Whether a replica has been heard lately, and how far it is. Both may be empty: then the querier goes by the answers
  // that it gets itself.
  std::function<bool(ProxyId)> reachable;
  std::function<Duration(ProxyId)> rtt;
  size_t questions_max = 100'000;
  Duration lease_cap = 10s;
};

struct QuerierCounters {
  uint64_t questions = 0;       // asked for
  uint64_t questions_full = 0;  // refused: bound reached
  uint64_t queries = 0;         // messages sent
  uint64_t retries = 0;         // of these, after a timeout
  uint64_t answers_stale = 0;   // to no try of an open question, or late for a purge
  uint64_t leases_over = 0;     // answers and entries whose lease was over on arrival
  uint64_t entries = 0, entries_refused = 0, entries_repeated = 0;
  uint64_t purges = 0;
  uint64_t packets_lost = 0;  // travelled with a query, and neither went on nor came back
};

class Querier {
 public:
  Querier(QuerierOptions options, uint64_t seed);

  // Open questions whose replicas are others now start over.
  void set_view(View view, Instant now);
  // False when the bound on questions is reached (the caller counts it). While a question of this key is out, true;
  // `with` waits for its answer then.
  bool ask(const SessionKey& key, GroupId group, Instant now, const Traveller& with = {});
  // Handles QueryAnswer, Entry, Purge; true if it was one of these and well-formed.
  bool on_message(NodeId from, Bytes message, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;  // Instant::max(): none
  bool next_output(DirectoryOutput& out) { return outputs_.next(out); }
  bool next_event(CacheEvent& out);
  size_t outstanding() const { return questions_.size(); }
  const QuerierCounters& counters() const { return counters_; }

 private:
  // What a replica has said to a question, over all its tries.
  enum class Word : uint8_t { unasked, waiting, none, ask_another, no_bytes };
  struct Asked {
    ProxyId replica;
    Word word = Word::unasked;
    bool otherwise = false;  // has once answered something else than "none": it can be reached
  };
  struct Question {
    GroupId group;
    std::vector<Asked> order;        // the replicas, best first
    unsigned tries = 0;              // first query and retries after a timeout; going on after an answer is none
    Instant deadline{};              // of the try that is out
    std::vector<uint32_t> requests;  // tries that may still be answered
    CacheEvent no_bytes;             // from the last such answer
    QueryForm form = QueryForm::query;
    uint8_t asker = 0;
    std::vector<uint8_t> packet;  // here, until the next query leaves or the event does
    uint32_t carrier = 0;         // the try with which it is out; 0: none
  };
  struct Try {
    SessionKey key;
    ProxyId replica;
    Instant sent;
  };
  struct Replica {
    Duration rtt{};
    bool rtt_known = false;
    Instant quiet_until{};  // did not answer: asked last until then
  };
  // A change that this proxy has acknowledged: what was granted before it counts no longer.
  struct Purged {
    Version version;
    RecordState state = RecordState::removed;
    Instant at{};
  };
  using Questions = std::unordered_map<SessionKey, Question>;

  void on_answer(ProxyId from, const MessageHeader& header, const QueryAnswer& answer, Instant now);
  void on_entry(NodeId from, const MessageHeader& header, const Entry& entry, Instant now);
  void on_purge(NodeId from, const MessageHeader& header, const Purge& purge, Instant now);

  std::vector<Asked> order(const SessionKey& key, Instant now) const;
  bool reachable(ProxyId p, Instant now) const;
  Duration rtt(ProxyId p) const;
  void heard(ProxyId p, Duration rtt);
  void send_query(const SessionKey& key, Question& q, Asked& to, Instant now);
  void go_on(Questions::iterator at, Instant now);  // after an answer that settles nothing
  void retry(Questions::iterator at, Instant now);  // after a timeout
  void conclude(Questions::iterator at);            // no more tries
  bool none_confirmed(const Question& q, bool last) const;
  bool known_unreachable(ProxyId p) const;
  void finish(Questions::iterator at, CacheEvent event);
  void keep_packet(Question& q, Bytes packet);
  void forget_tries(Question& q);
  void close(Questions::iterator at);
  bool purged_since(const SessionKey& key, const Version& version, Instant granted) const;
  void remember_purge(const Purge& purge, Instant now);
  bool repeated(NodeId from, const MessageHeader& header, Instant now);
  void emit(CacheEvent event);

  QuerierOptions options_;
  uint32_t next_request_;
  Questions questions_;
  std::unordered_map<uint32_t, Try> tries_;
  std::set<std::pair<Instant, SessionKey>> deadlines_;
  std::unordered_map<ProxyId, Replica> replicas_;

  std::unordered_map<SessionKey, Purged> purged_;
  std::deque<std::pair<Instant, SessionKey>> purged_order_;
  Instant purged_floor_{};  // a purge of then or earlier may have been forgotten

  std::set<std::array<uint32_t, 3>> entries_seen_;  // from, origin, request
  std::deque<std::pair<Instant, std::array<uint32_t, 3>>> entries_order_;

  Outbox outputs_;
  struct Queued {
    CacheEvent event;
    std::vector<uint8_t> packet;
  };
  std::deque<Queued> events_;
  std::vector<uint8_t> packet_;  // of the event handed out last
  QuerierCounters counters_;
};

const char* to_string(CacheEvent::Kind k);

}  // namespace statecast
