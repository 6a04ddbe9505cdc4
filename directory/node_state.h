// SPDX-License-Identifier: BSD-3-Clause
// The inside of a Node, shared by the node*.cc files and by nothing else. node.cc reads in the order of a session's
// life; node_writes.cc (with node_write_table.cc) is about placed and held, node_changes.cc about tombstones and who
// must hear of them, node_peers.cc about permits and change lists, node_view.cc about going from one view to the next,
// node_sync.cc about falling out of sync and back; node_timers.cc has every timer. node_compare.cc is about finding
// what replicas lack, node_refresh.cc about what owners say, node_summary.cc about telling proxies what there is,
// node_overload.cc about what a node takes on.
// Threads, ownership: as Node.
#pragma once

#include <array>
#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/flat_map.h"
#include "base/inline_list.h"
#include "dataplane/session/session_filter.h"
#include "directory/broken.h"
#include "directory/node.h"
#include "directory/outbox.h"
#include "directory/peers.h"
#include "directory/store.h"
#include "directory/version_memory.h"

namespace statecast {

inline constexpr Duration kCompleteAfter = 100ms;  // a record only placed for as long: this replica completes it
inline constexpr Duration kRemovedLife = 60s;
inline constexpr Duration kMappingLifeMax = 120s;  // of a member's mapping without refresh
inline constexpr Duration kEstablishedLife = 60s;
inline constexpr Duration kRevokedLifeMax = 30 * 24h;
inline constexpr Duration kLongestRetry = 5s;    // of any request: a revocation outlives its late copies
inline constexpr Duration kLateCopies = 15s;     // so long they are refused, of what was withdrawn or lifted
inline constexpr Duration kOutcomeMemory = 30s;  // a request that comes again gets the same outcome
inline constexpr size_t kPendingPerOriginMax = 1024;
inline constexpr size_t kPendingMax = 65'536;      // writes, and requests
inline constexpr size_t kOutcomesMax = 65'536;     // of requests that are over; the oldest are forgotten first
inline constexpr Duration kSilentAskerLife = 10s;  // asked at least every 800 ms as long as anybody waits
inline constexpr size_t kWaitersMax = 8;           // copies and renewals of one insert under way
inline constexpr size_t kMembersListedMax = 300;   // of one heartbeat; more take turns
inline constexpr Duration kRetiredLife = 120s;     // what was of a slot that this node has left, since anybody asked
inline constexpr size_t kRetiredPlaces = 16'384;   // looked at per heartbeat when it ends
inline constexpr Duration kMovedMemory = kMappingLifeMax;
inline constexpr Duration kRefreshLate = kLongestRetry + kPermitLife;
inline constexpr size_t kFormersMax = 16;  // views
inline constexpr uint64_t kGrantMin = 64 * 1024;
inline constexpr size_t kLookedAhead = 32;  // messages

#define SC_NODE_COUNTERS(X)                                                                                            \
  X(query_live, "directory.query.live.questions", "questions answered with a lease")                                   \
  X(query_none, "directory.query.none.questions", "questions about sessions that this replica does not have")          \
  X(query_ask_another, "directory.query.ask_another.questions",                                                        \
    "questions that this node could not answer: out of sync, only placed, no permits, or not a replica")               \
  X(query_no_bytes, "directory.query.no_bytes.questions", "questions that met a spent share of a byte bucket")         \
  X(query_tombstone, "directory.query.tombstone.questions", "questions about revoked or removed sessions")             \
  X(query_unavailable, "directory.query.unavailable.questions", "questions about sessions of dead members")            \
  X(query_forwarded, "directory.query.forwarded.packets",                                                              \
    "packets that came with a question and went to their member")                                                      \
  X(query_returned, "directory.query.returned.packets", "packets that came with a question and went back")             \
  X(insert_ok, "directory.insert.ok.requests", "inserts held by W replicas")                                           \
  X(insert_degraded, "directory.insert.degraded.requests", "inserts accepted with fewer than W copies")                \
  X(insert_busy, "directory.insert.busy.requests", "inserts withdrawn because another owner's was under way")          \
  X(insert_conflict, "directory.insert.conflict.requests", "inserts that met another owner's mapping or a tombstone")  \
  X(insert_refused, "directory.insert.refused.requests",                                                               \
    "inserts not taken: too few copies, no permits, an older version, or no room")                                     \
  X(insert_completed, "directory.insert.completed.records", "records placed by another coordinator, completed here")   \
  X(request_stored, "directory.request.stored.requests", "removals, revocations and unrevocations held by W replicas") \
  X(request_silent, "directory.request.silent.requests",                                                               \
    "revocations that owner, replicas and holders acknowledged, "                                                      \
    "or whose time ran out")                                                                                           \
  X(request_degraded, "directory.request.degraded.requests",                                                           \
    "removals and revocations with fewer than W copies in time")                                                       \
  X(request_denied, "directory.request.denied.requests", "requests of members for what is not theirs")                 \
  X(request_over_limit, "directory.request.over_limit.requests",                                                       \
    "requests beyond what one origin or all may have pending")                                                         \
  X(request_relayed, "directory.request.relayed.requests", "requests handed on to a replica")                          \
  X(request_try_again, "directory.request.try_again.requests", "requests for which no replica was within reach")       \
  X(message_malformed, "directory.message.malformed.messages",                                                         \
    "messages that did not decode, or not from that sender")                                                           \
  X(message_view_mismatch, "directory.message.view_mismatch.messages",                                                 \
    "messages of proxies with another view: some while a view changes, else one of them has missed it")                \
  X(message_view_conflict, "directory.message.view_conflict.messages",                                                 \
    "messages of proxies with another view of the same revision: an alarm")                                            \
  X(view_changes, "directory.view.changes.events", "views that this node went on to")                                  \
  X(view_refused, "directory.view.refused.events", "views refused because this node had a newer one")                  \
  X(view_gaps, "directory.view.gaps.events", "views that did not follow the one before: all slots were synced anew")   \
  X(view_slots, "directory.view.moved.slots", "slots of this node whose replicas a view has changed")                  \
  X(repair_slots, "directory.repair.slots",                                                                            \
    "slots in which this replica and another were found to differ twice, and that were walked through")                \
  X(sync_records, "directory.sync.received.records", "records that other replicas sent to bring this one into sync")   \
  X(change_listed, "directory.change.listed.changes", "changes listed for other replicas")                             \
  X(change_applied, "directory.change.applied.changes", "changes applied from other replicas")                         \
  X(peer_out_of_sync, "directory.peer.out_of_sync.events",                                                             \
    "peers declared out of sync: a change unacknowledged for 45 s, or too many")                                       \
  X(sync_lost, "directory.sync.lost.events", "times this node was told that it is out of sync")                        \
  X(resync_complete, "directory.sync.complete.events", "times this node came into sync from R-W+1 in-sync replicas")   \
  X(resync_incomplete, "directory.sync.resync_incomplete.events",                                                      \
    "times this node came into sync from fewer: owners re-send what is missing")                                       \
  X(refresh_same, "directory.refresh.same.parts", "parts of owners' sessions that were the same here, and renewed")    \
  X(refresh_different, "directory.refresh.different.parts", "parts of owners' sessions that the owner was to list")    \
  X(summary_asked, "directory.summary.asked.requests",                                                                 \
    "requests of proxies under pressure for what sessions there are")                                                  \
  X(summary_built, "directory.summary.built.events", "times a summary of all records was built for them")              \
  X(paused, "directory.node.paused.events", "times this node found that it had not run for longer than a permit")      \
  X(store_full, "directory.store.full.records", "records not stored because of `directory.records`")                   \
  X(store_half_open, "directory.store.half_open.records",                                                              \
    "half-open mappings not stored because half of `directory.records` were half-open")                                \
  X(store_group, "directory.store.group.records",                                                                      \
    "mappings not stored because room ran out and their group had its part of it")                                     \
  X(push_expired, "directory.push.expired.messages", "purges and notices never acknowledged, ended by time")

struct NodeCounters {
#define SC_NODE_FIELD(symbol, name, help) uint64_t symbol = 0;
  SC_NODE_COUNTERS(SC_NODE_FIELD)
#undef SC_NODE_FIELD
};

// A record that this replica has, and does not know to be held.
struct Placed {
  Record record;
  Instant expires;
  bool born_new = false;
  bool fresh = false;      // placed while in sync: its bucket's share is this replica's to grant
  bool from_walk = false;  // in the view before
  // Who may have counted this copy: whoever placed it here, this node itself where it coordinates (0: not known). It
  // goes when all of them have withdrawn it, and what it replaced comes back.
  std::vector<ProxyId> coordinators;
  std::shared_ptr<const Placed> before;  // its owner's, and as little known to be held
  unsigned tries = 0;                    // at completing it
  Instant due{};                         // for the next one
};

// Whom an insert's outcome goes to.
struct Waiter {
  NodeId reply_to, origin;
  uint32_t request = 0;
  ProxyId ingress;
  bool returns = false;  // the packet goes back with the answer, not with the entry
  std::vector<uint8_t> packet;
};

// What the replicas have said to an insert.
class Answers {
 public:
  using Status = PlaceAck::Status;
  struct Answer {
    ProxyId id;
    Status status;
  };
  Status* find(ProxyId id) {
    for (Answer& a : list_) {
      if (a.id == id) return &a.status;
    }
    return nullptr;
  }
  void set(ProxyId id, Status status) {
    if (Status* known = find(id))
      *known = status;
    else if (!list_.full())
      list_.push_back({id, status});
  }
  void forget(ProxyId id) {
    for (Answer& a : list_) {
      if (a.id == id) return list_.erase(&a);
    }
  }
  void clear() { list_.clear(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

 private:
  InlineList<Answer, kReplicasMax> list_;
};

// An insert under way at its coordinator; without waiters: a replica completing what it has only placed.
struct Write {
  uint32_t id = 0;
  Record record;
  Instant expires;
  bool born_new = false;
  std::vector<Waiter> waiters;
  Answers answers;
  std::optional<uint16_t> passed_term;  // of the held record of another owner, or tombstone, that it passes
  unsigned adopted = 0;                 // records of other replicas that made it start anew
  Instant deadline, resend;
};

// A removal, revocation or unrevocation at its coordinator.
struct Request {
  enum class Kind : uint8_t { remove, revoke, unrevoke };
  uint32_t id = 0;
  Kind kind = Kind::remove;
  NodeId reply_to, origin;
  uint32_t request = 0;
  Record record;
  Version newest;  // of the revocations of this session that came since
  Instant expires;
  std::set<ProxyId> have, have_unsynced;  // replicas that have it; of those out of sync the copy does not count yet
  std::set<ProxyId> silent;
  bool stored = false, done = false, said_degraded = false;
  RequestAnswer::Status last = RequestAnswer::Status::ok;
  Instant deadline;  // then: degraded
  Instant time_stands_in = Instant::max();
  Instant next;
  unsigned tries = 0;
};

// A purge or notice that goes out until it is acknowledged, or the time stands in for that.
struct Push {
  NodeId to;
  SessionKey key;
  GroupId group;
  Version version;
  uint32_t handle = 0;  // a notice's
  RecordState state = RecordState::revoked;
  Instant expires;  // of the tombstone
  Instant until;
  unsigned tries = 0;
};

enum class Timer : uint8_t { heartbeat, changes, write, placed, push, request, sync, compare, summary };

// What this node has, for proxies that ask.
struct Summary {
  std::unique_ptr<SessionFilter> filter, building;
  uint32_t version = 0;                // of the filter; drawn
  size_t room = 0, added = 0;          // sessions that the filter was made for, and has
  size_t building_room = 0, walk = 0;  // places of the store that are in the one being built
  uint64_t number = 0;                 // of the session that was added last
  std::deque<uint64_t> recent;         // upper halves of the keys of those, up to `number`
  Instant asked{};
};

// The chosen ones of `slots` as ranges; what lies between two of `slots` may be covered.
using Chosen = std::function<bool(uint16_t)>;
std::vector<SlotRange> slot_ranges(const std::vector<uint16_t>& slots, const Chosen& chosen);
// As many as a message takes; the nearest are joined, so that slots are covered that were not chosen.
std::vector<SlotRange> joined_ranges(std::vector<SlotRange> ranges);
// Of all slots from `first` on, as far as a message's number of ranges goes: the ranges, and the last slot so judged.
std::pair<std::vector<SlotRange>, uint16_t> ranges_from(const std::vector<SlotRange>& ranges, uint16_t first);

struct Node::State {
  State(NodeOptions options, Instant now);

  // --- node.cc: a session's life ---
  // A message that has come, and what looking ahead has found out.
  struct Incoming {
    NodeId from;
    Message message;
    bool decoded = false;
    bool keyed = false;  // `key` is its session's; an insert's only where its sender may act in `group`
    SessionKey key;
    uint32_t place = PlaceIndex::kNoPlace;  // of its record, most likely
    const DirectoryGroup* group = nullptr;
  };
  void on_messages(std::span<const NodeMessage> messages, Instant now);
  void look_ahead(Incoming& in);
  void on_message(const Incoming& in, Instant now);
  void on_insert(const Incoming& in, const Insert& m, Instant now);
  void on_query(const Incoming& in, const Query& m, Instant now);
  void on_refresh(const MessageHeader& h, const Refresh& m, Instant now);
  void on_refresh_digest(const MessageHeader& h, const RefreshDigest& m, Instant now);
  void on_remove(const MessageHeader& h, NodeId from, const Remove& m, Instant now);
  struct Named {
    const DirectoryGroup* group;
    SessionKey key;
  };
  template <class Body>
  std::optional<Named> session_named(const MessageHeader& h, NodeId from, const Body& m, Instant now);
  void on_revoke(const MessageHeader& h, NodeId from, const Revoke& m, Instant now);
  void on_unrevoke(const MessageHeader& h, NodeId from, const Unrevoke& m, Instant now);
  bool acts_for(const MessageHeader& h, NodeId from) const;
  const DirectoryGroup* group_for(NodeId origin, GroupId id) const;
  template <class Body>
  bool belongs_here(const MessageHeader& h, NodeId from, const Body& body, Slot slot, Instant now);
  struct Grant {
    uint32_t lease_ms;
    uint64_t bytes;
  };
  Grant grant(StoredRecord s, const DirectoryGroup& group, ProxyId to, Instant now);
  void set_bucket(StoredRecord s, uint64_t bytes, uint64_t counter, bool fresh, Instant now);
  bool may_grant(Slot slot, const DirectoryGroup& group, Instant now) const;
  bool knows_owners(Slot slot, Instant now) const;
  bool dead(MemberId member, Instant now) const;

  // --- node_writes.cc: placed and held ---
  void begin_write(Record r, Instant expires, bool born_new, Waiter waiter, Instant now);
  enum class Verdict : uint8_t { ok, conflict, refused };
  Verdict judge(Record& r, bool born_new, Instant now, std::optional<uint16_t>& passed_term);
  void send_places(Write& w, Instant now);
  void on_place(const MessageHeader& h, ProxyId from, const Place& m, Instant now);
  PlaceAck judge_place(const Record& r, bool born_new, Instant now);
  void on_place_ack(const MessageHeader& h, ProxyId from, const PlaceAck& m, Instant now);
  void check_write(Write& w, Instant now);
  unsigned copies(const Write& w) const;
  void hold(Write& w, InsertAnswer::Status status, Instant now);
  bool lower(Record& r, bool elsewhere, Instant now);
  uint16_t pending_term(const SessionKey& key) const;
  bool is_proven(const Write& w, unsigned copies, Instant now);
  bool owner_is_proven(const SessionKey& key, NodeId owner, Instant now);
  void lose(Write& w, InsertAnswer::Status status, const std::optional<Record>& record, Instant now);
  void release(const Waiter& w, StoredRecord s, InsertAnswer::Status status, unsigned copies, Instant now);
  void answer_insert(const Waiter& w, const InsertAnswer& answer);
  void on_held(const MessageHeader& h, ProxyId from, const Held& m, Instant now);
  void on_withdraw(ProxyId from, const Withdraw& m, Instant now);
  bool give_up_copy(const Record& r, std::optional<ProxyId> coordinator, Instant now);
  bool counted_elsewhere(const Placed& p) const;
  void complete(const SessionKey& key, Instant now);
  void on_write_timer(Write& w, Instant now);
  // No longer under way, but still to be read; its memory serves the next one.
  class Detached {
   public:
    Detached(State& state, Write& w) : state_(state), write_(w) {}
    ~Detached() { state_.reuse_write(write_); }
    Detached(const Detached&) = delete;
    Write* operator->() const { return &write_; }
    Write& operator*() const { return write_; }

   private:
    State& state_;
    Write& write_;
  };
  void start_write(Write& w, Instant now);
  Write& new_write(uint32_t id, const SessionKey& key);
  Detached detach(Write& w);
  void drop_write(Write& w) { detach(w); }
  void reuse_write(Write& w);
  bool apply_held(const Record& r, Instant expires, bool fresh, ProxyId source, Instant now, bool lifted = false);
  void settle_placed(StoredRecord s, Instant now);
  bool is_withdrawn(const Record& r, Instant now) const { return withdrawn.contains({r.key, r.owner, r.version}, now); }
  bool is_unproven(StoredRecord s, Instant now) const {
    return unproven.contains({s.key(), s.owner(), s.version()}, now);
  }
  // Of revocations whose lift this node has heard of not long ago, whatever stands there now.
  bool is_lifted(const SessionKey& key, const Version& revocation, Instant now) const {
    return withdrawn.contains(lifted_key(key, revocation), now);
  }
  static VersionKey lifted_key(const SessionKey& key, const Version& revocation) {
    return {key, {}, {0, kId24Max, revocation.counter}};
  }
  bool room_for(const Record& r, Instant now);
  Placed& keep_placed(Placed p);
  void place_here(const Write& w, Instant now);

  // --- node_changes.cc: tombstones, and who must hear of them ---
  void begin_request(Request r, Instant expires, bool lifted, Instant now);
  bool repeat_request(const MessageHeader& h, NodeId from);
  void check_request(Request& r, Instant now);
  void ask_silent(Request& r, Instant now);
  void on_request_timer(Request& r, Instant now);
  void finish(Request& r, Instant now);
  void forget_outcomes(Instant now);
  void answer_request(Request& r, RequestAnswer::Status status);
  void answer_request(const MessageHeader& h, NodeId from, RequestAnswer::Status status);
  void deny(const MessageHeader& h, NodeId from, Slot slot, Instant now);
  void on_superseded(const Record& by, Instant now);
  void on_copy(ProxyId from, const Record& record, bool counts, Instant now);
  void on_holders_silent(ProxyId from, const HoldersSilent& m, Instant now);
  void push_change(StoredRecord s, const std::optional<Record>& before, Instant now);
  void push(Push p, Instant now);
  void send_push(uint32_t id, Push& p, Instant now);
  void on_ack(NodeId from, uint32_t request, Instant now);
  void drop_push(uint32_t id, Instant now);
  bool quiet(const SessionKey& key, Instant now) const;
  void try_silent(const SessionKey& key, Instant now);
  void list_change(const Record& r, Instant expires, bool lifted, ProxyId source, Instant now);

  // --- node_peers.cc: heartbeats, permits, change lists ---
  void send_heartbeats(Instant now);
  void beat_peers(Instant now);
  void beat(OtherNode& p, const std::vector<MemberId>& listed, Instant now);
  bool permits(const OtherNode& p, Slot slot, Instant now) const;
  void on_heartbeat(const MessageHeader& h, OtherNode& p, const Heartbeat& m, Instant now);
  void on_permit(const MessageHeader& h, OtherNode& p, const Permit& m, Instant now);
  void on_change(OtherNode& p, const Change& m, Instant now);
  void on_change_ack(OtherNode& p, const ChangeAck& m, Instant now);
  void acknowledge(OtherNode& p, uint64_t number, uint64_t listed, Instant now);
  void count_copies(OtherNode& p, Instant now);
  void object(OtherNode& p, const Record& change, bool taken, Instant now);
  void send_changes(OtherNode& p, bool again, Instant now);
  void learn_boot(OtherNode& p, uint32_t boot, Instant now);
  void declare_out_of_sync(OtherNode& p);
  void after_pause(Instant now);
  OtherNode* peer(ProxyId id);
  const OtherNode* peer(ProxyId id) const { return const_cast<State*>(this)->peer(id); }
  using Others = InlineList<ProxyId, kReplicasMax>;
  Others others(Slot slot) const;  // its replicas but this node
  Duration rtt_max(Slot slot) const;

  // --- node_view.cc: from one view to the next ---
  // A slot of this node in which it is out of sync.
  struct Missing {
    uint16_t slot = 0;
    uint32_t source = 0;  // revision of the view whose replicas have it, too; 0: none known
    bool had_it = false;  // this node was one of them, and in sync
    Instant since{};
  };
  // A slot whose replicas have changed, not long ago.
  struct Moved {
    Instant at{};  // of the change; of coming into sync, where it has come to this node
    bool taken_over = false;
    bool left = false;  // a replica has left, and none has come in its place: nobody here knows its holders
  };
  struct Former {
    View view;
    Instant left;
  };
  void start_view(Instant now);
  void set_view(View next, Instant now);
  void know_nodes();
  void restart_under_way(const View& before, Instant now);
  void forget_views(Instant now);
  const View* former_view(uint32_t revision) const;
  bool in_sync(Slot slot) const { return synced.test(slot.value); }
  // Of a bucket that is set there now this replica may grant its share.
  bool fresh_in(Slot slot, Instant now, Duration since = kMovedMemory) const;
  bool has_moved(Slot slot, const ViewId& told) const;
  // Of a byte bucket: R, or for a while the larger R of before.
  unsigned shares(Instant now) const;

  // --- node_sync.cc: out of sync and back ---
  // Through what one peer holds of the missing slots.
  struct Walk {
    bool done = false;
    bool repair = false;   // of slots that it is in sync in
    bool expects = false;  // it waits for a hand-over itself
    uint64_t cursor = 0;
    uint32_t request = 0;
    std::vector<SlotRange> slots;              // asked for
    std::bitset<kSlots> out_of_sync, lacking;  // what it said of itself
    Instant again{};
  };
  enum class SyncVerdict : uint8_t { wait, complete, complete_of_source, incomplete };
  void miss(Slot slot, uint32_t source, bool had_it, Instant now);
  void sort_missing();
  bool lacks(Slot slot) const { return !in_sync(slot) && options.view.is_replica(options.self, slot); }
  void new_boot(Instant now);
  void fall_out_of_sync(Instant now);
  void start_walks(Instant now);
  Walk* walk_of(ProxyId id);
  void ask_walk(OtherNode& p, Instant now);
  void on_sync_request(const MessageHeader& h, OtherNode& p, const SyncRequest& m, Instant now);
  void on_sync_chunk(const MessageHeader& h, OtherNode& p, const SyncChunk& m, Instant now);
  bool speaks_for(const OtherNode& p, Slot slot) const;
  void take_synced(OtherNode& p, const Record& r, Instant now);
  void take_placed(const SyncChunk::Placed& in, Instant now);
  void ask_after_all(ProxyId id, Instant now);
  SyncVerdict judge_sync(const Missing& missing, Instant now) const;
  void check_sync(Instant now, ProxyId walked = {});
  bool promote(Missing& missing) const;
  void doubt(const std::bitset<kSlots>& of, Instant now);
  void settle_doubts(const std::bitset<kSlots>& incomplete, Instant now);
  void come_into_sync(const std::vector<uint16_t>& done, const std::bitset<kSlots>& incomplete, Instant now);

  // --- node_compare.cc ---
  void compare_next(Instant now);
  std::vector<uint64_t> digests_with(ProxyId other, uint16_t first, uint16_t last, size_t parts) const;
  void send_digests(OtherNode& p, uint16_t first, uint16_t last);
  void on_slot_digests(OtherNode& p, const SlotDigests& m, Instant now);
  void on_audit(const MessageHeader& h, NodeId from, const Audit& m, Instant now);
  void on_difference(OtherNode& p, Slot slot, Instant now);

  // --- node_summary.cc ---
  void add_to_summary(const SessionKey& key);
  void build_summary(Instant now);
  void walk_summary(Instant now);
  void forget_summary(Instant now);
  void on_summary_request(const MessageHeader& h, NodeId from, const SummaryRequest& m, Instant now);
  void send_summary_blocks(const MessageHeader& h, NodeId to, size_t first);
  void send_summary_deltas(const MessageHeader& h, NodeId to, uint64_t number);

  // --- node_timers.cc: set only there ---
  void start_timers(Instant now);
  void after_heartbeats(Instant now);
  void after_compared(Instant now);
  void after_changes_sent(OtherNode& p, bool again, Instant now);
  void after_places_sent(Write& w, Instant now, bool first);
  void after_placed(Placed& p, Instant now);
  void after_push_sent(uint32_t id, const Push& p, Instant now);
  void after_request_step(Request& r, Instant now);
  void after_walk_asked(OtherNode& p, Instant now);
  void after_chunk(OtherNode& p, Instant now);
  void after_summary_step(Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  void on_timer(Timer kind, uint64_t id, const SessionKey& key, Instant now);
  void arm(Instant when, Timer kind, uint64_t id, const SessionKey& key = {});
  void enter(Instant now);

  // --- sending ---
  template <class Body>
  void send(NodeId to, uint32_t request, NodeId origin, const Body& body, uint8_t hops = 0) {
    MessageHeader h{.request = request, .origin = origin, .hops = hops, .view = options.view.id()};
    outputs.add(to, encode_as(h, body, outputs.room()));
  }
  template <class Body>
  void send(ProxyId to, uint32_t request, const Body& body) {
    send(NodeId::proxy(to), request, me, body);
  }
  NodeId reply_to(const MessageHeader& h, NodeId from) const { return h.origin.is_op() ? from : h.origin; }
  const DirectoryGroup* group_of(GroupId id) const { return groups.find(id); }
  bool pending_room(NodeId origin);
  uint32_t next_id() { return ++last_id; }

  NodeOptions options;
  NodeId me;
  std::mt19937_64 rng;
  Instant started, last_now;
  Instant awake_since;  // started, or back from a pause: silence of others before was its own
  uint32_t boot = 0;
  NodeCounters count;

  FlatMap<GroupId, DirectoryGroup> groups;  // their members in order
  std::map<ProxyId, OtherNode> peers;
  std::set<std::vector<ProxyId>> replica_sets;  // the other replicas of each slot of this node, each set once

  std::vector<uint16_t> slots;    // of this node, in order
  std::bitset<kSlots> synced;     // of these: in sync
  std::vector<Missing> unsynced;  // of these: out of sync, in order
  std::bitset<kSlots> retired;    // left by this node, which was in sync there
  std::map<uint16_t, Moved> moved;
  unsigned former_shares = 0;
  Instant former_shares_end{};
  Instant sweep_moved{};
  std::deque<Former> formers;  // the views before, oldest first
  Instant retired_until = Instant::max();
  size_t retired_place = 0;
  bool sync_incomplete = false;
  std::bitset<kSlots> without_asking;  // come into sync while some of their replicas were unheard
  // Mappings in slots that are out of sync, of which no replica that is in sync has said anything: this node was away,
  // and what came after them may be over and forgotten.
  std::set<SessionKey> doubtful;
  Instant forgot_holders{};  // of such a mapping

  Store store;
  FlatMap<SessionKey, Placed> placed;
  FlatMap<uint32_t, Write*> writes;
  FlatMap<SessionKey, Write*> write_of;
  std::deque<Write> all_writes;
  std::vector<Write*> free_writes;
  InsertAnswer released;    // the last one: they keep their memory
  RefreshAnswer refreshed;  // the same
  VersionMemory withdrawn;  // inserts that were withdrawn, and revocations that were lifted
  VersionMemory outlived;   // mappings that would have lived longer than what has taken their place
  VersionMemory unproven;   // degraded, and all permits that are valid may be older: not granted yet

  std::map<uint32_t, Request> requests;
  std::multimap<SessionKey, uint32_t> requests_of;
  std::map<std::tuple<NodeId, NodeId, uint32_t>, uint32_t> request_ids;  // (reply to, origin, request)
  FlatMap<NodeId, size_t> pending;                                       // per origin: writes and open requests
  size_t open_requests = 0;
  std::deque<std::pair<Instant, uint32_t>> outcomes;  // requests that are over, since when

  std::map<uint32_t, Push> pushes;
  std::unordered_map<SessionKey, unsigned> pushes_of;
  struct SilentAskers {
    std::map<ProxyId, Version> versions;
    Instant last{};
  };
  std::map<SessionKey, SilentAskers> silent_askers;

  std::map<ProxyId, Walk> walks, repairs;
  std::map<std::pair<ProxyId, uint16_t>, Instant> suspects;  // slots in which that peer differs, since when
  ProxyId last_compared{};
  std::map<SessionKey, std::set<ProxyId>> synced_tombstones;  // and which peers sent it

  Summary summary;

  FlatMap<MemberId, Instant> members_heard;
  MemberId last_listed{};

  struct Armed {
    Instant when;
    uint64_t order;
    Timer kind;
    uint64_t id;
    SessionKey key;
    bool operator<(const Armed& o) const { return std::tie(when, order) > std::tie(o.when, o.order); }
  };
  std::priority_queue<Armed> timers;
  uint64_t armed = 0;
  uint32_t last_id = 0;
  std::array<Incoming, kLookedAhead> incoming;
  Outbox outputs;
  std::deque<ForwardedPacket> forwarded;
};

}  // namespace statecast
