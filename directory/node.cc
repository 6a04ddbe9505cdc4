// SPDX-License-Identifier: BSD-3-Clause
// The node's handlers, in the order of a session's life: insert, query, refresh, remove, revoke, unrevoke. What they
// rest on is in the files that node_state.h names.
#include "directory/node.h"

#include <algorithm>
#include <tuple>

#include "base/mix.h"
#include "directory/node_state.h"

namespace statecast {

// --- the public face ---

Node::Node(NodeOptions options, Instant now) : state_(std::make_unique<State>(std::move(options), now)) {}
Node::~Node() = default;

void Node::on_messages(std::span<const NodeMessage> messages, Instant now) {
  state_->enter(now);
  state_->on_messages(messages, now);
}
void Node::set_view(View next, Instant now) {
  state_->enter(now);
  state_->set_view(std::move(next), now);
}
bool Node::in_sync(Slot slot) const {
  return state_->in_sync(slot);
}
void Node::on_member_heard(MemberId member, Instant now) {
  state_->enter(now);
  state_->members_heard[member] = now;
}
void Node::on_deadline(Instant now) {
  state_->enter(now);
  state_->on_deadline(now);
}
Instant Node::next_deadline() const {
  return state_->next_deadline();
}

bool Node::next_output(DirectoryOutput& out) {
  return state_->outputs.next(out);
}
bool Node::next_forwarded(ForwardedPacket& out) {
  if (state_->forwarded.empty()) return false;
  out = std::move(state_->forwarded.front());
  state_->forwarded.pop_front();
  return true;
}

std::optional<Record> Node::find(const SessionKey& key, Instant now) const {
  if (StoredRecord s = state_->store.find(key, now)) return s.wire(now);
  const Placed* p = state_->placed.find(key);
  if (!p || p->expires <= now) return std::nullopt;
  return wire_record(p->record, p->expires, now);
}

bool Node::is_held(const SessionKey& key) const {
  return bool(state_->store.find(key, state_->last_now));
}

NodeStatus Node::status(Instant now) const {
  const State& s = *state_;
  NodeStatus out;
  out.view = s.options.view.id();
  out.in_view = s.options.view.contains(s.options.self);
  out.slots = s.slots.size();
  out.slots_out_of_sync = s.unsynced.size();
  out.in_sync = s.unsynced.empty();
  out.handed_over = true;
  for (const auto& set : s.replica_sets) {
    unsigned reachable = 1;
    for (ProxyId p : set) reachable += s.peer(p)->heard(now);
    out.degraded = out.degraded || reachable < s.options.view.write_count();
  }
  out.tombstones = s.store.tombstones();
  out.records = s.store.size() - out.tombstones;
  out.placed = s.placed.size();
  for (const auto& [id, p] : s.peers) {
    if (!s.options.view.contains(id)) continue;
    if (p.heard(now) && !p.in_sync) out.handed_over = false;
    out.peers.push_back({id, p.heard(now), p.permits_any(now), p.out_of_sync || !p.in_sync, p.rtt(), p.pending()});
  }
  return out;
}

std::vector<Node::Granted> Node::holders_of(const SessionKey& key, Instant now) const {
  std::vector<Granted> out;
  if (const StoredRecord s = state_->store.find(key, now)) {
    for (const Holder& h : s.holders())
      if (h.until > now) out.push_back({h.proxy, h.until - now});
  }
  return out;
}

size_t Node::holders(Instant now) const {
  size_t n = 0;
  for (size_t i = 0; i < state_->store.places(); ++i) {
    if (StoredRecord r = state_->store.at(i, now)) n += r.holder_count();
  }
  return n;
}

std::vector<Node::Counter> Node::counters() const {
  return {
#define SC_NODE_VALUE(symbol, name, help) {name, help, state_->count.symbol},
      SC_NODE_COUNTERS(SC_NODE_VALUE)
#undef SC_NODE_VALUE
  };
}

// --- starting, and what comes in ---

Node::State::State(NodeOptions o, Instant now)
    : options(std::move(o)),
      me(NodeId::proxy(options.self)),
      rng(options.seed),
      started(now),
      last_now(now),
      awake_since(now),
      // Revocations have some room of their own, and so has what is over and waits to be taken away.
      store(std::mt19937_64(~options.seed)(), now, options.records_max + options.records_max / 4 + 1024) {
  boot = static_cast<uint32_t>(rng()) | 1;
  last_id = static_cast<uint32_t>(rng());  // an acknowledgement of the boot before meets no request of this one
  for (DirectoryGroup& g : options.groups) {
    std::sort(g.members.begin(), g.members.end());
    groups[g.id] = g;
  }
  start_view(now);
  start_timers(now);
  start_walks(now);
}

// A look-up in a large store waits for memory some hundred nanoseconds, one after another: index, then record. For a
// burst these waits run side by side: all indexes first, then all records. (Going on with some messages while others
// wait for their records was 15 to 30 % slower.)
void Node::State::on_messages(std::span<const NodeMessage> messages, Instant now) {
  while (!messages.empty()) {
    const size_t n = std::min(messages.size(), incoming.size());
    for (size_t i = 0; i < n; ++i) {
      Incoming& in = incoming[i];
      in.from = messages[i].from;
      in.keyed = false;
      in.place = PlaceIndex::kNoPlace;
      in.decoded = decode(messages[i].bytes, in.message);
      if (in.decoded) look_ahead(in);
    }
    for (size_t i = 0; i < n && n > 1; ++i) {
      Incoming& in = incoming[i];
      if (in.keyed) in.place = store.prefetch_record(in.key);
    }
    for (size_t i = 0; i < n; ++i) {
      if (incoming[i].decoded)
        on_message(incoming[i], now);
      else
        ++count.message_malformed;
    }
    messages = messages.subspan(n);
  }
}

// First the indexes, and what a put writes besides.
void Node::State::look_ahead(Incoming& in) {
  const NodeId origin = in.message.header.origin;
  auto known = [&](const SessionKey& key) {
    in.key = key;
    in.keyed = true;
    store.prefetch(key);
    options.view.prefetch(key.slot());
  };
  const MessageBody& body = in.message.body;
  if (auto* query = std::get_if<Query>(&body)) {
    known(query->key);
  } else if (auto* insert = std::get_if<Insert>(&body)) {
    in.group = group_for(origin, insert->id.group());
    if (!in.group) return;
    known(session_key(insert->id, in.group->secret));
    store.prefetch_put(in.key, {origin, insert->version.incarnation, insert->handle});
  } else if (auto* place = std::get_if<Place>(&body)) {
    known(place->record.key);
  } else if (auto* ack = std::get_if<PlaceAck>(&body)) {
    known(ack->key);
  } else if (auto* held = std::get_if<Held>(&body)) {
    known(held->key);
    if (const Placed* p = placed.find(held->key)) {
      const Record& r = p->record;
      store.prefetch_put(r.key, {r.owner, r.version.incarnation, r.handle});
    }
  }
}

void Node::State::on_message(const Incoming& in, Instant now) {
  const NodeId from = in.from;
  const Message* const message = &in.message;
  const MessageHeader& h = message->header;
  OtherNode* p = from.is_proxy() ? peer(from.as_proxy()) : nullptr;
  if (p) {
    const bool back = p->unheard_for(kUnheardForSync, awake_since, now);
    p->on_heard(now);
    if (back && without_asking.any()) ask_after_all(p->id, now);
  }

  // From members, the operator, or relayed for them.
  if (auto* m = std::get_if<Insert>(&message->body)) return on_insert(in, *m, now);
  if (auto* m = std::get_if<Remove>(&message->body)) return on_remove(h, from, *m, now);
  if (auto* m = std::get_if<Revoke>(&message->body)) return on_revoke(h, from, *m, now);
  if (auto* m = std::get_if<Unrevoke>(&message->body)) return on_unrevoke(h, from, *m, now);
  if (auto* m = std::get_if<Refresh>(&message->body)) {
    if (from.is_member() && h.origin == from) return on_refresh(h, *m, now);
    ++count.message_malformed;
    return;
  }
  if (auto* m = std::get_if<RefreshDigest>(&message->body)) {
    if (from.is_member() && h.origin == from) return on_refresh_digest(h, *m, now);
    ++count.message_malformed;
    return;
  }
  if (std::holds_alternative<Ack>(message->body)) return on_ack(from, h.request, now);

  // From proxies.
  if (!from.is_proxy() || !(p || from == me)) {
    ++count.message_malformed;
    return;
  }
  if (auto* m = std::get_if<Query>(&message->body)) return on_query(in, *m, now);
  if (auto* m = std::get_if<SummaryRequest>(&message->body)) return on_summary_request(h, from, *m, now);
  if (auto* m = std::get_if<Audit>(&message->body)) return on_audit(h, from, *m, now);
  bool relayed_answer =
      std::holds_alternative<InsertAnswer>(message->body) || std::holds_alternative<RequestAnswer>(message->body);
  if (relayed_answer && h.origin.is_op()) return send(NodeId::op(), h.request, h.origin, message->body);

  // From the other nodes of this view.
  if (!p || h.origin != from) {
    ++count.message_malformed;
    return;
  }
  if (h.view != options.view.id()) {
    ++(h.view.revision == options.view.id().revision ? count.message_view_conflict : count.message_view_mismatch);
    return;
  }
  if (!p->met) {  // it has just gone on to this view, or come up: it has no permits yet, and this node none of it
    p->met = true;
    p->met_at = now;
    beat(*p, {}, now);
  }
  ProxyId id = p->id;
  if (auto* m = std::get_if<Place>(&message->body)) return on_place(h, id, *m, now);
  if (auto* m = std::get_if<PlaceAck>(&message->body)) return on_place_ack(h, id, *m, now);
  if (auto* m = std::get_if<Held>(&message->body)) return on_held(h, id, *m, now);
  if (auto* m = std::get_if<Withdraw>(&message->body)) return on_withdraw(id, *m, now);
  if (auto* m = std::get_if<Change>(&message->body)) return on_change(*p, *m, now);
  if (auto* m = std::get_if<ChangeAck>(&message->body)) return on_change_ack(*p, *m, now);
  if (auto* m = std::get_if<HoldersSilent>(&message->body)) return on_holders_silent(id, *m, now);
  if (auto* m = std::get_if<Heartbeat>(&message->body)) return on_heartbeat(h, *p, *m, now);
  if (auto* m = std::get_if<Permit>(&message->body)) return on_permit(h, *p, *m, now);
  if (auto* m = std::get_if<SyncRequest>(&message->body)) return on_sync_request(h, *p, *m, now);
  if (auto* m = std::get_if<SyncChunk>(&message->body)) return on_sync_chunk(h, *p, *m, now);
  if (auto* m = std::get_if<SlotDigests>(&message->body)) return on_slot_digests(*p, *m, now);
  ++count.message_malformed;
}

// --- who may ask for what ---

// A member or the operator speaks for itself, or through a proxy that has relayed it once.
bool Node::State::acts_for(const MessageHeader& h, NodeId from) const {
  if (h.origin.is_proxy()) return false;
  if (from == h.origin) return h.hops == 0;
  return from.is_proxy() && h.hops == 1 && peer(from.as_proxy()) != nullptr;
}

// The group, if this origin may act in it.
const DirectoryGroup* Node::State::group_for(NodeId origin, GroupId id) const {
  const DirectoryGroup* g = group_of(id);
  if (!g || origin.is_op()) return g;
  bool member = origin.is_member() && std::binary_search(g->members.begin(), g->members.end(), origin.as_member());
  return member ? g : nullptr;
}

// True where this node is to coordinate the request. Otherwise it has been relayed to a replica that is heard, or
// answered with `try again`. A replica out of sync hands on what it can: its own copy would not count.
template <class Body>
bool Node::State::belongs_here(const MessageHeader& h, NodeId from, const Body& body, Slot slot, Instant now) {
  bool replica = options.view.is_replica(options.self, slot);
  constexpr bool insert = std::is_same_v<Body, Insert>;
  if (replica && in_sync(slot)) return true;
  if (h.hops == 0) {
    for (bool unsynced_too : {false, true}) {
      for (ProxyId id : options.view.replicas(slot)) {
        OtherNode* p = peer(id);
        if (!p || !p->heard(now) || (!unsynced_too && p->out_of_sync_in(slot))) continue;
        if (unsynced_too && replica) continue;
        ++count.request_relayed;
        send(NodeId::proxy(id), h.request, h.origin, body, 1);
        return false;
      }
    }
  }
  if (replica && !insert) return true;
  ++count.request_try_again;
  if (insert) {
    InsertAnswer answer{.status = InsertAnswer::Status::try_again};
    send(reply_to(h, from), h.request, h.origin, answer);
  } else {
    answer_request(h, from, RequestAnswer::Status::try_again);
  }
  return false;
}

// --- insert ---

void Node::State::on_insert(const Incoming& in, const Insert& m, Instant now) {
  const MessageHeader& h = in.message.header;
  const NodeId from = in.from;
  Waiter waiter{reply_to(h, from), h.origin, h.request, m.ingress, m.returns, {m.packet.begin(), m.packet.end()}};
  if (!acts_for(h, from)) {
    ++count.message_malformed;
    return;
  }
  const DirectoryGroup* group = in.group;
  bool own = h.origin.is_op() || (m.target == Target::member && h.origin == NodeId::member(m.member));
  bool ingress_known = m.ingress.value == 0 || m.ingress == options.self || peer(m.ingress);
  bool version = h.origin.is_op() || owner_may_say(m.version);
  if (!group || !own || !ingress_known || !version || m.lifetime_ms == 0) {
    ++count.request_denied;
    return answer_insert(waiter, {.status = InsertAnswer::Status::refused});
  }
  const SessionKey& key = in.key;
  if (!belongs_here(h, from, m, key.slot(), now)) return;
  if (!pending_room(h.origin)) return answer_insert(waiter, {.status = InsertAnswer::Status::try_again});

  Record r{.key = key,
           .group = group->id,
           .state = m.state,
           .target = m.target,
           .member = m.member,
           .owner = h.origin,
           .version = m.version,
           .handle = m.handle,
           .bucket_bytes = m.bucket_bytes,
           .bucket_counter = m.bucket_counter};
  if (r.version.incarnation == 0) r.version.incarnation = 1;  // 0 is the unrevoke's
  Duration life = std::chrono::milliseconds(m.lifetime_ms);
  if (h.origin.is_member()) life = std::min<Duration>(life, kMappingLifeMax);
  begin_write(r, now + life, m.born_new, std::move(waiter), now);
}

// --- query ---

void Node::State::on_query(const Incoming& in, const Query& m, Instant now) {
  const MessageHeader& h = in.message.header;
  const NodeId from = in.from;
  QueryAnswer a{.key = m.key, .status = QueryAnswer::Status::ask_another, .packet = m.packet};
  auto answer = [&](QueryAnswer::Status status, uint64_t& counter) {
    a.status = status;
    ++counter;
    count.query_returned += !a.packet.empty();
    send(from, h.request, h.origin, a);
  };
  const DirectoryGroup* group = group_of(m.group);
  // Whatever view the asker has: it can tell by the answer's whether this is a replica that it counts.
  bool in_sync_here = in_sync(m.key.slot()) || broken(Broken::answer_before_in_sync);
  if (!group || !in_sync_here) return answer(QueryAnswer::Status::ask_another, count.query_ask_another);

  StoredRecord s = store.find(m.key, now, in.place);
  if (!s) {
    const Placed* p = placed.find(m.key);
    // Without permits it may be cut off, and alone in taking itself for in sync.
    const bool unsure = (p && p->expires > now) || !may_grant(m.key.slot(), *group, now);
    if (unsure) return answer(QueryAnswer::Status::ask_another, count.query_ask_another);
    return answer(QueryAnswer::Status::none, count.query_none);
  }
  a.target = s.target();
  a.member = s.member();
  a.state = s.state();
  a.version = s.version();
  a.remaining_ms = wire_remaining(s.expires(), now);
  if (s.group() != m.group) return answer(QueryAnswer::Status::none, count.query_none);
  if (s.tombstone()) {
    // What is placed above a removal may be held by now, and acknowledged.
    const Placed* p = s.state() == RecordState::removed ? placed.find(m.key) : nullptr;
    if (p && p->expires > now && supersedes(p->record, s.record())) {
      return answer(QueryAnswer::Status::ask_another, count.query_ask_another);
    }
    // It caches the DROP for a while: an unrevoke has to find it.
    Duration cached = std::min<Duration>(group->lease_cap, s.expires() - now);
    s.hold({from.as_proxy(), now + cached, a.version}, now);
    return answer(QueryAnswer::Status::tombstone, count.query_tombstone);
  }
  if (a.target == Target::member && dead(a.member, now)) {
    return answer(QueryAnswer::Status::unavailable, count.query_unavailable);
  }
  if (!may_grant(m.key.slot(), *group, now) || is_unproven(s, now)) {
    return answer(QueryAnswer::Status::ask_another, count.query_ask_another);
  }
  if (const ByteShare* share = s.share(); share && share->left == 0)
    return answer(QueryAnswer::Status::no_bytes, count.query_no_bytes);
  Grant g = grant(s, *group, from.as_proxy(), now);
  a.lease_ms = g.lease_ms;
  a.lease_bytes = g.bytes;
  // The packet spends of the lease that it asked for.
  if (m.form == QueryForm::query_and_forward && a.target == Target::member && m.packet.size() <= g.bytes) {
    ++count.query_forwarded;
    forwarded.push_back({a.member, m.group, from.as_proxy(), {m.packet.begin(), m.packet.end()}});
    if (g.bytes != kUnlimitedBytes) a.lease_bytes -= m.packet.size();
    a.packet = {};
  }
  answer(QueryAnswer::Status::live, count.query_live);
}

// Debited here and now, whatever becomes of the answer: a lost or doubled one only shortens the share.
Node::State::Grant Node::State::grant(StoredRecord s, const DirectoryGroup& group, ProxyId to, Instant now) {
  Duration lease = std::min<Duration>(group.lease_cap, s.expires() - now);
  uint64_t bytes = group.grant_bytes_max;
  if (ByteShare* share = s.share()) {
    // The size follows use: a proxy that is back within a second needs more, one that took its time less.
    uint64_t whole = s.bucket_bytes() / shares(now);
    if (share->grant_bytes == 0)
      share->grant_bytes = whole / 8;
    else if (now - share->granted_at < 1s)
      share->grant_bytes *= 2;
    else if (now - share->granted_at > group.lease_cap / 2)
      share->grant_bytes /= 2;
    share->grant_bytes = std::clamp(share->grant_bytes, std::min(kGrantMin, whole), std::max(kGrantMin, whole / 2));
    bytes = std::min({bytes, share->left, share->grant_bytes});
    share->left -= bytes;
    share->granted_at = now;
  }
  if (!broken(Broken::forget_a_holder) || to.value % 2 == 0) s.hold({to, now + lease, s.version()}, now);
  if (broken(Broken::absolute_clocks)) lease += Duration(wall_clock(now));
  return {static_cast<uint32_t>(to_ms(lease)), bytes};
}

// R fixed shares. What this replica had granted of this bucket before a restart it does not know: then its share is
// lost until the owner sets the bucket anew.
void Node::State::set_bucket(StoredRecord s, uint64_t bytes, uint64_t counter, bool fresh, Instant now) {
  s.set_bucket(bytes, counter, fresh ? bytes / (broken(Broken::grant_anothers_share) ? 1 : shares(now)) : 0);
}

bool Node::State::may_grant(Slot slot, const DirectoryGroup& group, Instant now) const {
  return (in_sync(slot) && group.partition_available) || knows_owners(slot, now);
}

// With these permits this replica has applied every removal, revocation and change of owner that was acknowledged.
bool Node::State::knows_owners(Slot slot, Instant now) const {
  if (!in_sync(slot) && !broken(Broken::answer_before_in_sync)) return false;
  if (broken(Broken::grant_without_permit)) return true;
  unsigned permits = 0;
  for (ProxyId id : others(slot)) permits += this->permits(*peer(id), slot, now);
  return permits >= options.view.permit_count();
}

bool Node::State::dead(MemberId m, Instant now) const {
  if (now - awake_since < kDeadManTime) return false;
  const Instant* heard = members_heard.find(m);
  if (heard && now - *heard < kDeadManTime) return false;
  unsigned missing = 1;
  for (const auto& [id, p] : peers) {
    if (!p.heard(now)) continue;
    if (p.hears(m, now)) return false;
    missing += now - p.boot_known >= kDeadManTime;  // one that has only just started cannot know
  }
  return missing >= options.view.write_count();
}

// --- remove, revoke, unrevoke ---

void Node::State::on_remove(const MessageHeader& h, NodeId from, const Remove& m, Instant now) {
  if (!acts_for(h, from)) {
    ++count.message_malformed;
    return;
  }
  const DirectoryGroup* group = group_for(h.origin, m.id.group());
  bool version = h.origin.is_op() || owner_may_say(m.version);
  if (!group || !version) return answer_request(h, from, RequestAnswer::Status::denied);
  SessionKey key = session_key(m.id, group->secret);
  if (!belongs_here(h, from, m, key.slot(), now) || repeat_request(h, from)) return;

  StoredRecord s = store.find(key, now);
  Instant expires = now + kRemovedLife;
  Record r{.key = key, .group = group->id, .owner = h.origin, .version = m.version};
  if (s) {
    if (h.origin != s.owner() && !h.origin.is_op()) return deny(h, from, key.slot(), now);
    if (s.tombstone()) return answer_request(h, from, RequestAnswer::Status::ok);
    r = s.record();
    expires = std::max(expires, s.expires());
    if (h.origin.is_op()) {
      r.version.term = static_cast<uint16_t>(std::min(r.version.term + 1, 0xffff));
    } else {
      r.version = {s.version().term, m.version.incarnation, m.version.counter};
      // A late copy of a removal, after the session's owner has inserted it anew.
      if (r.version < s.version()) return answer_request(h, from, RequestAnswer::Status::not_found);
    }
  } else if (h.origin.is_op()) {
    return answer_request(h, from, RequestAnswer::Status::not_found);
  }
  r.state = RecordState::removed;
  r.target = Target::drop;
  if (r.version.incarnation == 0) r.version.incarnation = 1;
  if (!s) r.version.term = std::max(r.version.term, kFirstTerm);  // the owner may know of a degraded one only
  begin_request({.kind = Request::Kind::remove,
                 .reply_to = reply_to(h, from),
                 .origin = h.origin,
                 .request = h.request,
                 .record = r},
                expires, false, now);
}

// What a revoke or unrevoke is about, once its sender may say it and this node is to carry it out; nullopt where the
// message has been answered, relayed or counted already.
template <class Body>
std::optional<Node::State::Named> Node::State::session_named(const MessageHeader& h, NodeId from, const Body& m,
                                                             Instant now) {
  if (!acts_for(h, from)) {
    ++count.message_malformed;
    return std::nullopt;
  }
  const DirectoryGroup* group = group_for(h.origin, m.id ? m.id->group() : m.group);
  if (!group || (!m.id && !h.origin.is_op())) {
    answer_request(h, from, RequestAnswer::Status::denied);
    return std::nullopt;
  }
  SessionKey key = m.id ? session_key(*m.id, group->secret) : m.key;
  if (!belongs_here(h, from, m, key.slot(), now) || repeat_request(h, from)) return std::nullopt;
  return Named{group, key};
}

void Node::State::on_revoke(const MessageHeader& h, NodeId from, const Revoke& m, Instant now) {
  auto named = session_named(h, from, m, now);
  if (!named) return;
  const auto [group, key] = *named;
  StoredRecord s = store.find(key, now);
  if (s && !h.origin.is_op() && s.owner() != h.origin && !s.tombstone()) { return deny(h, from, key.slot(), now); }
  Duration least = group->lease_cap + kPermitLife + kLongestRetry;
  Instant expires =
      now + std::clamp<Duration>(std::chrono::milliseconds(m.duration_ms), least, Duration(kRevokedLifeMax));
  Record r{.key = key, .group = group->id, .owner = h.origin, .version = {.term = pending_term(key)}};
  if (s) r = s.record();
  bool revoked_already = s && s.state() == RecordState::revoked;
  const Version ours = revocation_version(r.version.term + kRevocationTerms, m.name);
  // A late copy, or sent again by an owner who did not know yet that it has been lifted.
  if (is_lifted(key, ours, now) || (s && is_lift(r) && r.version.counter == ours.counter))
    return answer_request(h, from, RequestAnswer::Status::not_found);
  // What stands here already is only confirmed.
  if (!revoked_already || r.version.counter != ours.counter) r.version = ours;
  r.state = RecordState::revoked;
  r.target = Target::drop;
  if (revoked_already) expires = std::max(expires, s.expires());
  begin_request({.kind = Request::Kind::revoke,
                 .reply_to = reply_to(h, from),
                 .origin = h.origin,
                 .request = h.request,
                 .record = r},
                expires, false, now);
}

void Node::State::on_unrevoke(const MessageHeader& h, NodeId from, const Unrevoke& m, Instant now) {
  auto named = session_named(h, from, m, now);
  if (!named) return;
  StoredRecord s = store.find(named->key, now);
  // Another revocation than the one it names came after that one was lifted, or stands above it and is told its owner.
  const bool another = s && m.name != 0 && s.record().version.counter != m.name;
  if (!s || s.state() != RecordState::revoked || another) {
    // A replica that may have missed the revocation cannot say that there is nothing to lift.
    using Status = RequestAnswer::Status;
    const Status none = s && is_lift(s.record()) ? Status::ok : Status::not_found;
    return answer_request(h, from, knows_owners(named->key.slot(), now) ? none : Status::try_again);
  }
  if (!h.origin.is_op() && s.owner() != h.origin) return deny(h, from, named->key.slot(), now);
  Record r = s.record();
  r.state = RecordState::removed;
  r.version = lift_version(r.version);
  // As long as what it lifts: late copies of that have to find it.
  begin_request({.kind = Request::Kind::unrevoke,
                 .reply_to = reply_to(h, from),
                 .origin = h.origin,
                 .request = h.request,
                 .record = r},
                std::max(s.expires(), now + kRemovedLife), true, now);
}

}  // namespace statecast
