// SPDX-License-Identifier: BSD-3-Clause
// Tombstones, and who must hear of them. A removal, revocation or unrevocation is applied here, listed for the other
// replicas (permits wait for that list), and pushed to every proxy that was granted a lease and to the owner until they
// acknowledge. `stored`: W in-sync replicas have it. `silent`: at every replica all that it pushed is acknowledged, or
// time has ended what was granted.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

// --- at the coordinator ---

bool Node::State::repeat_request(const MessageHeader& h, NodeId from) {
  auto it = request_ids.find({reply_to(h, from), h.origin, h.request});
  if (it == request_ids.end()) return false;
  Request& r = requests.at(it->second);
  if (r.stored || r.done || r.said_degraded) {
    send(r.reply_to, r.request, r.origin, RequestAnswer{r.last, static_cast<uint8_t>(r.have.size())});
  }
  return true;
}

void Node::State::begin_request(Request req, Instant expires, bool lifted, Instant now) {
  if (!pending_room(req.origin)) {
    send(req.reply_to, req.request, req.origin, RequestAnswer{RequestAnswer::Status::try_again, 0});
    return;
  }
  forget_outcomes(now);
  uint32_t id = next_id();
  req.id = id;
  ++open_requests;
  ++pending[req.origin];
  request_ids[{req.reply_to, req.origin, req.request}] = id;
  requests_of.emplace(req.record.key, id);
  SessionKey key = req.record.key;
  Record record = req.record;
  Request& r = requests[id];
  r = std::move(req);
  r.expires = expires;
  r.deadline = now + std::max<Duration>(200ms, 3 * rtt_max(key.slot()));
  bool applied = apply_held(record, expires, false, {}, now, lifted);
  StoredRecord s = store.find(key, now);
  bool revoke = r.kind == Request::Kind::revoke;
  if (!s || !s.tombstone() || (revoke && s.state() != RecordState::revoked)) {
    // No room for it, or what stands here is newer: of that a removal wants no more, a revocation does.
    auto newer = revoke ? RequestAnswer::Status::denied : RequestAnswer::Status::ok;
    answer_request(r, s ? newer : RequestAnswer::Status::degraded);
    return finish(r, now);
  }
  r.record = s.record();
  // The tombstone stood here already, from another coordinator: the others confirm it anew.
  if (!applied) list_change(s.record(), s.expires(), lifted, {}, now);
  (in_sync(key.slot()) ? r.have : r.have_unsynced).insert(options.self);
  after_request_step(r, now);
  check_request(r, now);
}

// What another replica has stands above a revocation under way here. If it is the unrevoke of this one, or of one that
// came after it, the revocation is over. Else this node had missed something when it took it. The lift of
// another revocation is older than this one, which begins again above it where it has been promised. Otherwise who
// asked for it says whether it is still wanted, for between the two it may have been lifted and the session inserted
// anew.
void Node::State::on_superseded(const Record& by, Instant now) {
  auto [first, last] = requests_of.equal_range(by.key);
  std::vector<uint32_t> ids;
  for (auto it = first; it != last; ++it) ids.push_back(it->second);
  for (uint32_t id : ids) {
    Request& r = requests.at(id);
    if (r.done || r.kind != Request::Kind::revoke || !supersedes(by, r.record)) continue;
    if (by.state == RecordState::revoked) {
      r.newest = std::max(r.newest, by.version);
      continue;
    }
    if (is_lifted(by.key, r.record.version, now) || is_lifted(by.key, r.newest, now)) {
      finish(r, now);
      continue;
    }
    r.record.version.term = revocation_version(by.version.term + kRevocationTerms, 0).term;
    const bool room = supersedes(r.record, by);  // else the terms are used up
    if (!room || !r.stored || !is_lift(by)) {
      answer_request(r, room ? RequestAnswer::Status::try_again : RequestAnswer::Status::denied);
      request_ids.erase({r.reply_to, r.origin, r.request});  // it is taken anew when it comes again
      finish(r, now);
      continue;
    }
    r.have.clear();
    r.have_unsynced.clear();
    r.silent.clear();
    r.time_stands_in = Instant::max();
    (in_sync(by.key.slot()) ? r.have : r.have_unsynced).insert(options.self);
    const Record record = r.record;
    apply_held(record, r.expires, fresh_in(by.key.slot(), now), {}, now);
  }
}

// A copy of this very tombstone: a request that began again above something else needs new ones.
void Node::State::on_copy(ProxyId from, const Record& record, bool counts, Instant now) {
  auto [first, last] = requests_of.equal_range(record.key);
  std::vector<uint32_t> ids;
  for (auto it = first; it != last; ++it) ids.push_back(it->second);
  for (uint32_t id : ids) {
    auto it = requests.find(id);
    if (it == requests.end() || it->second.done || it->second.record.version != record.version) continue;
    (counts ? it->second.have : it->second.have_unsynced).insert(from);
    check_request(it->second, now);
  }
}

void Node::State::check_request(Request& r, Instant now) {
  if (r.done) return;
  const DirectoryGroup& group = *group_of(r.record.group);
  Slot slot = r.record.key.slot();
  unsigned w = options.view.write_count(), replicas = options.view.replica_count();
  // From here on no replica without the tombstone gets the permits that it needs, so that time ends what it granted. Of
  // two replicas each needs the other's permit: there the first copy does.
  bool shut_out = r.time_stands_in != Instant::max() || r.have.size() >= w || (replicas == 2 && !r.have.empty());
  if (shut_out && r.time_stands_in == Instant::max()) {
    Duration life = kPermitLife + group.lease_cap;
    r.time_stands_in = now + life + safety_margin(life);
  }
  if (!r.stored && r.have.size() >= w) {
    r.stored = true;
    ++count.request_stored;
    bool revoke = r.kind == Request::Kind::revoke;
    answer_request(r, revoke ? RequestAnswer::Status::stored : RequestAnswer::Status::ok);
    if (!revoke) return finish(r, now);
    r.tries = 0;
    ask_silent(r, now);
  }
  if (r.kind != Request::Kind::revoke || !shut_out || !quiet(r.record.key, now)) return;
  bool time = now >= r.time_stands_in && !group.partition_available;
  if (!options.view.is_replica(options.self, slot) && !time) return;  // it does not hear of the others' any more
  // Another revocation's silence, or a lift that has yet to come from there, is none of this one.
  for (ProxyId id : others(slot)) {
    bool has = r.have.contains(id) || r.have_unsynced.contains(id);
    if (!(has && r.silent.contains(id)) && !time) return;
  }
  ++count.request_silent;
  answer_request(r, RequestAnswer::Status::silent);
  finish(r, now);
}

// It is under way no longer: only its outcome is remembered, and counts against nobody.
void Node::State::finish(Request& r, Instant now) {
  if (r.done) return;
  r.done = true;
  --open_requests;
  if (--pending[r.origin] == 0) pending.erase(r.origin);
  outcomes.emplace_back(now, r.id);
}

void Node::State::forget_outcomes(Instant now) {
  while (!outcomes.empty() && (outcomes.size() > kOutcomesMax || outcomes.front().first + kOutcomeMemory <= now)) {
    const Request& r = requests.at(outcomes.front().second);
    outcomes.pop_front();
    if (auto by_name = request_ids.find({r.reply_to, r.origin, r.request});
        by_name != request_ids.end() && by_name->second == r.id)
      request_ids.erase(by_name);
    auto [first, last] = requests_of.equal_range(r.record.key);
    requests_of.erase(std::find_if(first, last, [&](const auto& of) { return of.second == r.id; }));
    requests.erase(r.id);
  }
}

// Asked again until they answer: a lost question or answer costs only time.
void Node::State::ask_silent(Request& r, Instant now) {
  if (!options.view.is_replica(options.self, r.record.key.slot())) return after_request_step(r, now);
  for (ProxyId id : others(r.record.key.slot())) {
    if (!r.silent.contains(id)) send(id, 0, Held{r.record.key, r.record.version, r.record.owner, std::nullopt});
  }
  after_request_step(r, now);
}

void Node::State::on_holders_silent(ProxyId from, const HoldersSilent& m, Instant now) {
  auto [first, last] = requests_of.equal_range(m.key);
  std::vector<uint32_t> ids;
  for (auto it = first; it != last; ++it) ids.push_back(it->second);
  for (uint32_t id : ids) {
    Request& r = requests.at(id);
    if (r.record.version != m.version) continue;
    r.silent.insert(from);
    check_request(r, now);
  }
}

void Node::State::on_request_timer(Request& r, Instant now) {
  if (r.done) return;
  if (!r.stored && !r.said_degraded && now >= r.deadline) {
    r.said_degraded = true;
    ++count.request_degraded;
    answer_request(r, RequestAnswer::Status::degraded);
  }
  // Neither stored nor likely to be any more: the tombstone itself is over.
  if (!store.find(r.record.key, now)) return finish(r, now);
  uint32_t id = r.id;
  ++r.tries;
  if (r.kind == Request::Kind::revoke && r.time_stands_in != Instant::max())
    ask_silent(r, now);
  else
    after_request_step(r, now);
  check_request(requests.at(id), now);
}

void Node::State::answer_request(Request& r, RequestAnswer::Status status) {
  r.last = status;
  send(r.reply_to, r.request, r.origin, RequestAnswer{status, static_cast<uint8_t>(r.have.size())});
}

void Node::State::answer_request(const MessageHeader& h, NodeId from, RequestAnswer::Status status) {
  if (status == RequestAnswer::Status::denied) ++count.request_denied;
  send(reply_to(h, from), h.request, h.origin, RequestAnswer{status, 0});
}

// The session is another owner's here. A replica that may have missed that it has changed hands cannot say so.
void Node::State::deny(const MessageHeader& h, NodeId from, Slot slot, Instant now) {
  using Status = RequestAnswer::Status;
  answer_request(h, from, knows_owners(slot, now) ? Status::denied : Status::try_again);
}

// --- at every replica ---

// Every replica that has a change lists it for each other one, so that no permit of its gets past it.
void Node::State::list_change(const Record& r, Instant expires, bool lifted, ProxyId source, Instant now) {
  for (ProxyId id : others(r.key.slot())) {
    if (id == source) continue;
    OtherNode& p = *peer(id);
    ++count.change_listed;
    if (!p.add_change({r, expires, lifted, now})) ++count.peer_out_of_sync;
    send_changes(p, false, now);
  }
}

// The session's holders drop their entries (or turn them to DROP), the former owner learns that it is none any more.
void Node::State::push_change(StoredRecord s, const std::optional<Record>& before, Instant now) {
  const Record r = s.record();
  const DirectoryGroup& group = *group_of(r.group);
  Duration life = kPermitLife + group.lease_cap;
  std::vector<Holder> holders = s.take_holders();
  // Where members admit, any proxy may have a lease of which no replica knows. In time's place stands what a proxy may
  // still let in that has not heard of this: one more admission, and its lease. (What comes by synchronisation has been
  // told to all by those that had it first.)
  bool told_to_all = group.admits && r.state == RecordState::revoked && in_sync(r.key.slot());
  if (told_to_all) {
    for (const ViewNode& n : options.view.nodes()) {
      auto known = std::find_if(holders.begin(), holders.end(), [&](const Holder& o) { return o.proxy == n.id; });
      if (known == holders.end())
        holders.push_back({n.id, now + life, {}});
      else
        known->until = std::max(known->until, now + life);
    }
  }
  for (const Holder& o : holders) {
    if (o.until <= now) continue;
    push({.to = NodeId::proxy(o.proxy),
          .key = r.key,
          .group = r.group,
          .version = std::max(r.version, o.version),
          .handle = 0,
          .state = r.state,
          .expires = s.expires(),
          .until = o.until + safety_margin(o.until - now)},
         now);
    // It has a DROP from now on, for no longer than a lease: an unrevoke has to find it.
    Instant drop_ends = told_to_all ? std::min(s.expires(), now + 2 * life) : s.expires();
    if (r.state == RecordState::revoked) s.hold({o.proxy, drop_ends, r.version}, now);
  }
  bool by_owner =
      before && r.state == RecordState::removed && r.owner == before->owner && r.version.term == before->version.term;
  bool lifted = before && before->state == RecordState::revoked && is_lift(r);  // its owner may stop enforcing it
  if (!before || (is_tombstone(before->state) && !lifted) || !before->owner.is_member() || by_owner) return;
  push({.to = before->owner,
        .key = r.key,
        .group = r.group,
        .version = r.version,
        .handle = before->handle,
        .state = r.state,
        .expires = s.expires(),
        .until = now + life + safety_margin(life)},
       now);
}

void Node::State::push(Push p, Instant now) {
  uint32_t id = next_id();
  ++pushes_of[p.key];
  Push& kept = pushes[id] = std::move(p);
  send_push(id, kept, now);
}

void Node::State::send_push(uint32_t id, Push& p, Instant now) {
  auto remaining = static_cast<uint32_t>(std::clamp<int64_t>(to_ms(p.expires - now), 0, UINT32_MAX));
  if (p.to.is_proxy())
    send(p.to, id, me, Purge{p.key, p.group, p.version, p.state, remaining});
  else
    send(p.to, id, me, Notice{p.handle, p.version, p.state, remaining});
  after_push_sent(id, p, now);
}

void Node::State::on_ack(NodeId from, uint32_t request, Instant now) {
  auto it = pushes.find(request);
  if (it != pushes.end() && it->second.to == from) drop_push(request, now);
}

void Node::State::drop_push(uint32_t id, Instant now) {
  SessionKey key = pushes.at(id).key;
  pushes.erase(id);
  auto n = pushes_of.find(key);
  if (--n->second > 0) return;
  pushes_of.erase(n);
  try_silent(key, now);
}

// Nothing that was granted of the session in this replica's place is in use any more. One that has restarted, or has
// taken the slot over, does not know all of it: that ends by time. So does what a replica granted that has left without
// another in its place.
bool Node::State::quiet(const SessionKey& key, Instant now) const {
  if (pushes_of.contains(key)) return false;
  Duration cap{};
  groups.for_each([&](GroupId, const DirectoryGroup& g) { cap = std::max(cap, g.lease_cap); });
  Duration life = kPermitLife + cap;
  auto it = moved.find(key.slot().value);
  bool taken_over = it != moved.end() && it->second.taken_over;
  if (taken_over && !in_sync(key.slot())) return false;  // those who had it may not have sealed it yet
  bool unknown = taken_over || (it != moved.end() && it->second.left);
  Instant since = std::max(started, forgot_holders);
  // Where availability is preferred one that had the slot goes on granting until it hears of the view without it.
  bool available = false;
  groups.for_each([&](GroupId, const DirectoryGroup& g) { available = available || g.partition_available; });
  for (const Former& f : formers) {
    if (!available) break;
    for (ProxyId id : f.view.replicas(key.slot())) {
      const bool has_left = options.view.contains(id) && !options.view.is_replica(id, key.slot());
      const OtherNode* p = has_left ? peer(id) : nullptr;
      if (p && !p->met) return false;
      if (p) since = std::max(since, p->met_at);
    }
  }
  return now - (unknown ? std::max(since, it->second.at) : since) >= life + safety_margin(life);
}

void Node::State::try_silent(const SessionKey& key, Instant now) {
  StoredRecord s = store.find(key, now);
  if (!s || s.state() != RecordState::revoked || !quiet(key, now)) return;
  if (auto it = silent_askers.find(key); it != silent_askers.end()) {
    for (const auto& [id, version] : it->second.versions) send(id, 0, HoldersSilent{key, version});
    silent_askers.erase(it);
  }
  auto [first, last] = requests_of.equal_range(key);
  std::vector<uint32_t> ids;
  for (auto it = first; it != last; ++it) ids.push_back(it->second);
  for (uint32_t id : ids) {
    if (auto it = requests.find(id); it != requests.end()) check_request(it->second, now);
  }
}

}  // namespace statecast
