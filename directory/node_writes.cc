// SPDX-License-Identifier: BSD-3-Clause
// Placed and held. A coordinator places a record at every replica; once W in-sync ones have it, it is held: the
// coordinator tells all R, gives the ingress proxy its entry, and the owner its answer. Only held records are granted,
// answered, or a cause of conflict; another owner's placed record is `busy`. A replica that has a record only placed
// for 100 ms completes it itself, so that nothing acknowledged is lost with its coordinator.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
bool same(const Record& a, const Record& b) {
  return a.owner == b.owner && a.version == b.version && a.state == b.state;
}
std::optional<Record> wire(StoredRecord s, Instant now) {
  if (!s) return std::nullopt;
  return s.wire(now);
}
// May an insert of another owner pass this held record?
bool passable(const Record& r, bool born_new, bool owner_dead) {
  switch (r.state) {
    case RecordState::revoked: return false;
    case RecordState::removed: return born_new;
    case RecordState::closing: return born_new || owner_dead;
    default: return owner_dead;
  }
}
}  // namespace

// --- at the coordinator ---

void Node::State::begin_write(Record r, Instant expires, bool born_new, Waiter waiter, Instant now) {
  using Status = InsertAnswer::Status;
  std::optional<uint16_t> passed;
  StoredRecord s = store.find(r.key, now);
  switch (judge(r, born_new, now, passed)) {
    case Verdict::conflict:
      // Somebody may own it since of whom a replica that is cut off has not heard; and of a degraded record nobody has
      // counted W copies, so another may have been acknowledged beside it.
      if (s.version().term < kFirstTerm || !may_grant(r.key.slot(), *group_of(r.group), now)) {
        ++count.request_try_again;
        return answer_insert(waiter, {.status = Status::try_again});
      }
      ++count.insert_conflict;
      return answer_insert(waiter, {.status = Status::conflict, .record = s.wire(now)});
    case Verdict::refused:
      ++count.insert_refused;
      return answer_insert(waiter, {.status = Status::refused, .record = wire(s, now)});
    case Verdict::ok: break;
  }
  auto busy = [&] {
    ++count.insert_busy;
    answer_insert(waiter, {.status = Status::busy});
  };
  if (is_withdrawn(r, now)) return busy();
  const Placed* p = placed.find(r.key);
  if (p && p->expires > now) {
    if (p->record.owner != r.owner) return busy();
    if (r.version < p->record.version) {
      ++count.insert_refused;
      return answer_insert(waiter, {.status = Status::refused});
    }
  }
  if (!room_for(r, now)) return answer_insert(waiter, {.status = Status::refused});

  Write** of = write_of.find(r.key);
  if (of && (*of)->record.owner != r.owner) return busy();
  bool again = of && same((*of)->record, r);
  Write& w = of ? **of : new_write(next_id(), r.key);
  // A copy of a request under way changes nothing, but its packet is the one to release.
  auto copy = std::find_if(w.waiters.begin(), w.waiters.end(), [&](const Waiter& o) {
    return o.origin == waiter.origin && o.request == waiter.request && o.reply_to == waiter.reply_to;
  });
  if (copy != w.waiters.end()) {
    if (!waiter.packet.empty()) *copy = std::move(waiter);
  } else if (w.waiters.size() < kWaitersMax) {
    ++pending[waiter.origin];
    w.waiters.push_back(std::move(waiter));
  }
  if (again) return;
  w.record = r;
  w.expires = expires;
  w.born_new = born_new;
  w.passed_term = passed;
  w.answers.clear();
  place_here(w, now);
  start_write(w, now);
}

// The coordinator's own copy.
void Node::State::place_here(const Write& w, Instant now) {
  keep_placed({.record = w.record,
               .expires = w.expires,
               .born_new = w.born_new,
               .fresh = fresh_in(w.record.key.slot(), now),
               .coordinators = {options.self}});
}

// Most of a small view's are held at once, and need no timer.
void Node::State::start_write(Write& w, Instant now) {
  const uint32_t id = w.id;
  send_places(w, now);
  check_write(w, now);
  if (!writes.contains(id)) return;
  after_places_sent(w, now, true);
  // However the insert ends, a copy that stays here is completed or ends.
  if (Placed* p = placed.find(w.record.key)) after_placed(*p, now);
}

Placed& Node::State::keep_placed(Placed p) {
  add_to_summary(p.record.key);
  Placed* old = placed.find(p.record.key);
  if (old && same(old->record, p.record)) {
    for (ProxyId id : old->coordinators)
      if (std::count(p.coordinators.begin(), p.coordinators.end(), id) == 0) p.coordinators.push_back(id);
    p.before = old->before;
  } else if (old && old->record.owner == p.record.owner) {
    p.before = old->before ? old->before : std::make_shared<const Placed>(std::move(*old));
  }
  return placed[p.record.key] = std::move(p);
}

// What is held at this node says of an insert, and which term it gets.
Node::State::Verdict Node::State::judge(Record& r, bool born_new, Instant now, std::optional<uint16_t>& passed_term) {
  StoredRecord s = store.find(r.key, now);
  if (!s) {
    const int term = std::max<int>(pending_term(r.key) + 1, kFirstTerm);
    if (term > kOwnerTermMax) return Verdict::refused;
    r.version.term = std::max(r.version.term, static_cast<uint16_t>(term));
    return Verdict::ok;
  }
  const Record held = s.record();
  if (held.state == RecordState::revoked) return Verdict::conflict;
  if (held.version.term + (held.owner != r.owner) > kOwnerTermMax) return Verdict::conflict;  // until that record ends
  if (held.owner == r.owner) {
    r.version.term = held.version.term;
    if (r.version.term < kFirstTerm) {
      if (r.version < held.version) return Verdict::refused;
      r.version.term = std::max(static_cast<uint16_t>(pending_term(r.key) + 1), kFirstTerm);
    }
    if (held.state == RecordState::removed) {
      if (!born_new || r.version <= held.version) return Verdict::conflict;
      passed_term = held.version.term;
      return Verdict::ok;
    }
    // The same again is placed again: it may be held degraded, and its answer says how many copies there are now.
    return r.version > held.version || same(r, held) ? Verdict::ok : Verdict::refused;
  }
  bool owner_dead = held.target == Target::member && dead(held.member, now);
  if (!passable(held, born_new, owner_dead)) return Verdict::conflict;
  passed_term = held.version.term;
  r.version.term = static_cast<uint16_t>(held.version.term + 1);
  return Verdict::ok;
}

void Node::State::send_places(Write& w, Instant now) {
  for (ProxyId id : others(w.record.key.slot())) {
    const PlaceAck::Status* known = w.answers.find(id);
    if (known && *known != PlaceAck::Status::out_of_sync) continue;
    send(id, w.id, Place{wire_record(w.record, w.expires, now), w.born_new});
  }
}

void Node::State::on_place_ack(const MessageHeader& h, ProxyId from, const PlaceAck& m, Instant now) {
  OtherNode& p = *peer(from);
  learn_boot(p, m.boot, now);
  Write** found = writes.find(h.request);
  if (!found || (*found)->record.key != m.key || (*found)->record.version != m.version) {
    // Held by now: this replica may have missed the word, or have got it before the record.
    StoredRecord s = store.find(m.key, now);
    if (s && m.status == PlaceAck::Status::ok && s.version() == m.version && !s.tombstone()) {
      send(from, 0, Held{m.key, m.version, s.owner(), std::nullopt, is_unproven(s, now)});
    }
    return;
  }
  if (m.boot != p.boot) return;  // from before its restart
  Write& w = **found;
  bool conflict = m.status == PlaceAck::Status::conflict;
  bool news = (conflict || m.status == PlaceAck::Status::refused) && m.record && m.record->key == m.key;
  if (!news) {
    auto status = conflict ? PlaceAck::Status::refused : m.status;
    const PlaceAck::Status* known = w.answers.find(from);
    if (!known || *known == PlaceAck::Status::out_of_sync) w.answers.set(from, status);
    return check_write(w, now);
  }

  // A replica knows of a held record that stands against this. If this coordinator has passed that record knowingly,
  // the replica is only late.
  const Record& theirs = *m.record;
  bool late = theirs.state != RecordState::revoked && w.passed_term && theirs.version.term <= *w.passed_term;
  // Or it has missed what is held here of this owner's since.
  StoredRecord mine = store.find(m.key, now);
  if (mine && mine.owner() == w.record.owner && supersedes(mine.record(), theirs)) {
    late = true;
    send(from, 0, Held{m.key, mine.version(), mine.owner(), mine.wire(now), is_unproven(mine, now)});
  }
  if (late) {
    w.answers.set(from, PlaceAck::Status::refused);
    return check_write(w, now);
  }
  // Otherwise it is news here. It may be one that this insert passes, with a term of its own.
  bool owner_dead = theirs.target == Target::member && dead(theirs.member, now);
  bool passes = theirs.owner != w.record.owner && passable(theirs, w.born_new, owner_dead);
  uint32_t id = w.id;
  apply_held(theirs, now + std::chrono::milliseconds(theirs.remaining_ms), false, from, now);
  Write** still = writes.find(id);
  if (!still) return;
  Write& again = **still;
  if (passes && again.adopted++ < 2 && !again.waiters.empty()) {
    std::optional<uint16_t> passed;
    Record r = again.record;
    if (judge(r, again.born_new, now, passed) == Verdict::ok) {
      again.record = r;
      again.passed_term = passed;
      again.answers.clear();
      place_here(again, now);
      send_places(again, now);
      return check_write(again, now);
    }
  }
  lose(again, conflict ? InsertAnswer::Status::conflict : InsertAnswer::Status::refused, theirs, now);
}

unsigned Node::State::copies(const Write& w) const {
  unsigned n = in_sync(w.record.key.slot());
  for (const auto& [id, status] : w.answers) n += status == PlaceAck::Status::ok;
  return n;
}

void Node::State::check_write(Write& w, Instant now) {
  unsigned r = options.view.replica_count(), needed = options.view.write_count();
  unsigned against = 0, busy = 0;
  for (const auto& [id, status] : w.answers) {
    busy += status == PlaceAck::Status::busy;
    against += status == PlaceAck::Status::busy || status == PlaceAck::Status::refused;
  }
  const DirectoryGroup& group = *group_of(w.record.group);
  bool completing = w.waiters.empty();
  if (broken(Broken::acknowledge_before_replicate)) needed = 1;
  if (copies(w) >= needed && (completing || may_grant(w.record.key.slot(), group, now))) {
    if (completing) ++count.insert_completed;
    return hold(w, InsertAnswer::Status::ok, now);
  }
  // Where W is no majority, two owners could each find W replicas: there the first `busy` decides.
  bool hopeless = r - against < needed || (busy > 0 && 2 * needed <= r);
  if (hopeless) lose(w, busy > 0 ? InsertAnswer::Status::busy : InsertAnswer::Status::refused, std::nullopt, now);
}

void Node::State::hold(Write& w, InsertAnswer::Status status, Instant now) {
  const Detached detached = detach(w);
  Write& done = *detached;
  unsigned n = copies(done);
  const Placed* p = placed.find(done.record.key);
  bool fresh = p && p->fresh;
  bool lowered = false;
  if (status == InsertAnswer::Status::degraded) {
    const bool ours = p && same(p->record, done.record);
    const bool elsewhere = ours && counted_elsewhere(*p);
    lowered = lower(done.record, elsewhere, now);
    if (lowered && ours && !elsewhere) placed.erase(done.record.key);
  }
  const bool proven = status == InsertAnswer::Status::ok || is_proven(done, n, now);
  apply_held(done.record, done.expires, fresh, {}, now);
  StoredRecord s = store.find(done.record.key, now);
  bool kept = s && s.is(done.record);
  if (kept && !proven) unproven.remember({s.key(), s.owner(), s.version()}, now + kPermitLife, now);
  if (kept) {
    const bool still_unproven = is_unproven(s, now);
    for (ProxyId id : others(done.record.key.slot())) {
      const PlaceAck::Status* said = done.answers.find(id);
      bool has = said && (*said == PlaceAck::Status::ok || *said == PlaceAck::Status::out_of_sync);
      Held held{done.record.key, done.record.version, done.record.owner, std::nullopt, still_unproven};
      if (!has || lowered) held.record = s.wire(now);
      send(id, 0, held);
    }
  }
  for (const Waiter& waiter : done.waiters) {
    if (kept) {
      ++(status == InsertAnswer::Status::ok ? count.insert_ok : count.insert_degraded);
      release(waiter, s, status, n, now);
    } else {  // something that stands above it came in the meantime
      ++count.insert_conflict;
      InsertAnswer answer{.status = InsertAnswer::Status::conflict};
      if (s) answer.record = s.wire(now);
      answer_insert(waiter, answer);
    }
  }
}

// Whether a degraded insert may be granted at once. Its coordinator may have been cut off since it got its permits, and
// the others may have acknowledged another owner's insert meanwhile: then as many as permit must have answered this
// one. Otherwise it waits until all permits that count are newer; a renewal of what has waited need not.
bool Node::State::is_proven(const Write& w, unsigned copies, Instant now) {
  return group_of(w.record.group)->partition_available || copies > options.view.permit_count() ||
         owner_is_proven(w.record.key, w.record.owner, now);
}

bool Node::State::owner_is_proven(const SessionKey& key, NodeId owner, Instant now) {
  const StoredRecord s = store.find(key, now);
  return s && s.owner() == owner && !is_unproven(s, now);
}

// Of a degraded insert nothing is promised: no other owner's record that W replicas acknowledged, on the other side of
// a partition, gives way to it. Where an earlier insert of its owner was promised, or it has passed another owner's
// record, it keeps its term.
bool Node::State::lower(Record& r, bool elsewhere, Instant now) {
  StoredRecord s = store.find(r.key, now);
  if (s && (s.owner() != r.owner || s.version().term >= kFirstTerm)) return false;
  r.version.term = std::max(s ? s.version().term : kDegradedTerm, elsewhere ? kUnsureTerm : kDegradedTerm);
  return true;
}

// The ingress proxy gets its entry with the packet, the owner its answer.
void Node::State::release(const Waiter& w, StoredRecord s, InsertAnswer::Status status, unsigned n, Instant now) {
  const DirectoryGroup& group = *group_of(s.group());
  if (w.ingress.value != 0 && may_grant(s.key().slot(), group, now) && !is_unproven(s, now)) {
    Grant g = grant(s, group, w.ingress, now);
    Entry e{.key = s.key(),
            .group = s.group(),
            .target = s.target(),
            .member = s.member(),
            .version = s.version(),
            .lease_ms = g.lease_ms,
            .lease_bytes = g.bytes,
            .echo = options.newest_stamp ? options.newest_stamp(w.ingress, now) : Stamp{},
            .packet = w.returns ? Bytes() : Bytes(w.packet)};
    send(NodeId::proxy(w.ingress), w.request, w.origin, e);
  }
  InsertAnswer& answer = released;
  answer.status = status;
  answer.copies = static_cast<uint8_t>(n);
  answer.version = s.version();
  answer.packet = w.returns ? Bytes(w.packet) : Bytes();
  const auto replicas = options.view.replicas(s.key().slot());
  answer.replicas.assign(replicas.begin(), replicas.end());
  answer_insert(w, answer);
}

void Node::State::lose(Write& w, InsertAnswer::Status status, const std::optional<Record>& record, Instant now) {
  const Detached detached = detach(w);
  const Write& lost = *detached;
  const Record& r = lost.record;
  if (lost.waiters.empty()) {  // a completion: only this replica's copy is given up
    give_up_copy(r, std::nullopt, now);
    return;
  }
  if (give_up_copy(r, options.self, now)) {
    withdrawn.remember({r.key, r.owner, r.version}, now + kLateCopies, now);
    for (ProxyId id : others(r.key.slot())) send(id, 0, Withdraw{r.key, r.version, r.owner});
  }
  for (const Waiter& waiter : lost.waiters) {
    switch (status) {
      case InsertAnswer::Status::busy: ++count.insert_busy; break;
      case InsertAnswer::Status::conflict: ++count.insert_conflict; break;
      default: ++count.insert_refused;
    }
    answer_insert(waiter, {.status = status, .record = record});
  }
}

// An owner asks elsewhere when an answer takes long, so that one insert may have two coordinators. What one of them
// withdraws the other may have counted, and acknowledged; a copy that both placed stays then, and is completed here.
// No coordinator: whoever they are. False where the copy stays.
bool Node::State::give_up_copy(const Record& r, std::optional<ProxyId> coordinator, Instant now) {
  Placed* p = placed.find(r.key);
  if (!p || !same(p->record, r)) return true;
  if (coordinator) std::erase(p->coordinators, *coordinator);
  if (coordinator && !p->coordinators.empty()) return false;
  const std::shared_ptr<const Placed> before = p->before;
  placed.erase(r.key);
  if (before && before->expires > now) after_placed(keep_placed(*before), now);
  return true;
}

bool Node::State::counted_elsewhere(const Placed& p) const {
  const auto& by = p.coordinators;
  return std::any_of(by.begin(), by.end(), [&](ProxyId id) { return id != options.self; });
}

void Node::State::on_write_timer(Write& w, Instant now) {
  if (now < w.deadline) {
    send_places(w, now);
    after_places_sent(w, now, false);
    return check_write(w, now);
  }
  const DirectoryGroup& group = *group_of(w.record.group);
  if (w.waiters.empty()) {  // a completion that found too few: later again
    SessionKey key = w.record.key;
    drop_write(w);
    if (Placed* p = placed.find(key)) {
      ++p->tries;
      after_placed(*p, now);
    }
    return;
  }
  bool accept = in_sync(w.record.key.slot()) && group.degraded_accept && may_grant(w.record.key.slot(), group, now);
  StoredRecord s = store.find(w.record.key, now);
  if (s && s.is(w.record)) {  // held before this repeat of it, or completed by another replica since
    if (accept) return hold(w, InsertAnswer::Status::degraded, now);
    const Detached held = detach(w);
    for (const Waiter& waiter : held->waiters) {
      ++count.insert_refused;
      answer_insert(waiter, {.status = InsertAnswer::Status::refused});
    }
    return;
  }
  bool busy =
      std::any_of(w.answers.begin(), w.answers.end(), [](const auto& a) { return a.status == PlaceAck::Status::busy; });
  if (busy) return lose(w, InsertAnswer::Status::busy, std::nullopt, now);
  // Above another owner's record it would undo, once it is heard of, what that one has been promised since.
  const bool passes_another = s && s.owner() != w.record.owner;
  if (accept && !passes_another) return hold(w, InsertAnswer::Status::degraded, now);
  lose(w, InsertAnswer::Status::refused, std::nullopt, now);
}

void Node::State::answer_insert(const Waiter& w, const InsertAnswer& answer) {
  send(w.reply_to, w.request, w.origin, answer);
}

// --- at the other replicas ---

void Node::State::on_place(const MessageHeader& h, ProxyId from, const Place& m, Instant now) {
  const Record& r = m.record;
  if (!group_of(r.group) || !options.view.is_replica(options.self, r.key.slot()) || is_tombstone(r.state)) return;
  PlaceAck ack = judge_place(r, m.born_new, now);
  if (ack.status == PlaceAck::Status::ok) {
    Instant expires = now + std::chrono::milliseconds(r.remaining_ms);
    StoredRecord s = store.find(r.key, now);
    Placed* p = placed.find(r.key);
    if (s && s.is(r) && !doubtful.contains(r.key)) {
      if (expires > s.expires()) store.set_expires(s, expires);
    } else if (!p || !same(p->record, r) || p->expires <= now) {
      after_placed(keep_placed({.record = r,
                                .expires = expires,
                                .born_new = m.born_new,
                                .fresh = fresh_in(r.key.slot(), now),
                                .coordinators = {from}}),
                   now);
    } else if (auto& by = p->coordinators; std::count(by.begin(), by.end(), from) == 0) {
      by.push_back(from);
    }
    if (!in_sync(r.key.slot())) ack.status = PlaceAck::Status::out_of_sync;
  }
  send(from, h.request, ack);
}

PlaceAck Node::State::judge_place(const Record& r, bool born_new, Instant now) {
  PlaceAck ack{.key = r.key, .version = r.version, .status = PlaceAck::Status::ok, .record = {}, .boot = boot};
  auto no = [&](PlaceAck::Status status, std::optional<Record> record = {}) {
    ack.status = status;
    ack.record = std::move(record);
    return ack;
  };
  if (is_withdrawn(r, now)) return no(PlaceAck::Status::refused);
  if (StoredRecord s = store.find(r.key, now); s && !doubtful.contains(r.key)) {
    const Record held = s.record();
    auto conflict = [&] { return no(PlaceAck::Status::conflict, wire_record(held, s.expires(), now)); };
    if (held.state == RecordState::revoked) return conflict();
    if (held.owner == r.owner) {
      if (held.state == RecordState::removed) {
        if (!born_new || r.version <= held.version) return conflict();
      } else if (r.version < held.version || said_before(r, held)) {
        return no(PlaceAck::Status::refused, wire_record(held, s.expires(), now));
      } else if (same(held, r)) {
        return ack;
      }
    } else {
      bool owner_dead = held.target == Target::member && dead(held.member, now);
      if (r.version.term <= held.version.term || !passable(held, born_new, owner_dead)) return conflict();
    }
  }
  if (const Placed* p = placed.find(r.key); p && p->expires > now) {
    if (p->record.owner != r.owner) return no(PlaceAck::Status::busy, wire_record(p->record, p->expires, now));
    if (r.version < p->record.version) return no(PlaceAck::Status::refused);
  }
  if (!room_for(r, now)) return no(PlaceAck::Status::refused);
  return ack;
}

void Node::State::on_held(const MessageHeader&, ProxyId from, const Held& m, Instant now) {
  const bool proven = !m.unproven || owner_is_proven(m.key, m.owner, now);
  if (m.record) {
    const Record& r = *m.record;
    if (r.key != m.key || !group_of(r.group) || !options.view.is_replica(options.self, r.key.slot())) return;
    apply_held(r, now + std::chrono::milliseconds(r.remaining_ms), fresh_in(r.key.slot(), now), from, now);
  } else if (const Placed* p = placed.find(m.key); p && p->record.owner == m.owner && p->record.version == m.version) {
    Placed known = *p;
    apply_held(known.record, known.expires, known.fresh, from, now);
  }
  if (!proven) unproven.remember({m.key, m.owner, m.version}, now + kPermitLife, now);
  // Of a tombstone it is the coordinator's question; it may have come before the tombstone itself.
  if (m.version.incarnation != kId24Max || (silent_askers.size() >= kPendingMax && !silent_askers.contains(m.key)))
    return;
  SilentAskers& askers = silent_askers[m.key];
  askers.last = now;
  askers.versions[from] = m.version;
  try_silent(m.key, now);
}

void Node::State::on_withdraw(ProxyId from, const Withdraw& m, Instant now) {
  const Placed* p = placed.find(m.key);
  const bool here = p && p->record.owner == m.owner && p->record.version == m.version;
  if (here && !give_up_copy(Record(p->record), from, now)) return;
  withdrawn.remember({m.key, m.owner, m.version}, now + kLateCopies, now);
  if (!here) return;
  Write** of = write_of.find(m.key);  // this replica may have been completing it
  if (!of) return;
  Write& w = **of;
  if (w.record.owner == m.owner && w.record.version == m.version) lose(w, InsertAnswer::Status::busy, {}, now);
}

// Its coordinator has been silent for too long.
void Node::State::complete(const SessionKey& key, Instant now) {
  Placed* p = placed.find(key);
  if (!p) return;
  if (p->expires <= now) {
    placed.erase(key);
    return;
  }
  if (p->due > now) return;                                                              // placed anew since
  if (!options.view.is_replica(options.self, key.slot())) return after_placed(*p, now);  // those who are do
  if (write_of.contains(key) || writes.size() >= kPendingMax) return after_placed(*p, now);
  Write& w = new_write(next_id(), key);
  w.record = p->record;
  w.expires = p->expires;
  w.born_new = p->born_new;
  start_write(w, now);
}

// --- held ---

// Makes a record the held one, unless what is held stands above it. Changes of owner and tombstones are listed for the
// other replicas and pushed to whoever holds the old record.
bool Node::State::apply_held(const Record& in, Instant expires, bool fresh, ProxyId source, Instant now, bool lifted) {
  if (is_lift(in)) withdrawn.remember(lifted_key(in.key, in.version), now + kLateCopies, now);
  StoredRecord ex = store.find(in.key, now);
  const bool doubted = doubtful.erase(in.key) > 0;
  if (ex && !(doubted && !ex.is(in)) && !supersedes(in, ex.record())) {
    if (ex.is(in) && expires > ex.expires()) store.set_expires(ex, expires);
    settle_placed(ex, now);
    return false;
  }
  if (expires <= now || !room_for(in, now)) return false;
  std::optional<Record> before;
  if (ex) before = ex.record();
  // Where that ends first, a late copy of what it replaced would stand again, and the term with it.
  if (before && !is_tombstone(before->state) && expires < ex.expires())
    outlived.remember({before->key, before->owner, before->version}, std::max(ex.expires(), now + kLateCopies), now);
  // A bucket is named by its owner's incarnation and counter.
  bool owners = before && before->owner == in.owner && before->version.incarnation == in.version.incarnation;
  bool bucket_kept = owners && before->bucket_counter >= in.bucket_counter;
  // A renewal of what is not here any more: this replica may have granted its share before the record ended here.
  if (!owners && in.state != RecordState::half_open && in.bucket_counter != in.version.counter) fresh = false;
  if (!before) add_to_summary(in.key);
  Record r = in;
  if (bucket_kept) {
    r.bucket_bytes = before->bucket_bytes;
    r.bucket_counter = before->bucket_counter;
  }
  StoredRecord s = store.put(r, expires);
  // It stays for as long as the leases of what was here before: a revocation has to find their holders.
  if (Instant held = s.held_until(); held > s.expires()) store.set_expires(s, held);
  if (!bucket_kept) set_bucket(s, r.bucket_bytes, r.bucket_counter, fresh, now);
  bool handed_over = before && (is_tombstone(before->state) || before->owner != in.owner);
  if (is_tombstone(in.state) || handed_over) {
    push_change(s, before, now);
    list_change(s.record(), expires, lifted, source, now);
    try_silent(in.key, now);
  }
  on_superseded(in, now);
  settle_placed(s, now);
  return true;
}

// Held replaces placed: what is placed under this key and could not be held any more goes, and the insert with it.
void Node::State::settle_placed(StoredRecord s, Instant now) {
  const Record held = s.record();
  const Placed* p = placed.find(held.key);
  if (!p) return;
  const Record& r = p->record;
  bool stands = held.state != RecordState::revoked && supersedes(r, held) &&
                (held.owner == r.owner || held.state == RecordState::closing || is_tombstone(held.state) ||
                 (held.target == Target::member && dead(held.member, now))) &&
                (held.state != RecordState::removed || p->born_new);
  if (stands) return;
  bool other = !same(r, held);
  placed.erase(held.key);
  Write** of = write_of.find(held.key);
  if (!of) return;
  Write& w = **of;
  if (other && w.record.owner != held.owner) {
    lose(w, InsertAnswer::Status::conflict, wire_record(held, s.expires(), now), now);
  } else if (w.waiters.empty()) {
    drop_write(w);
  }  // Another coordinator says that it is held. How many have it this one counts itself: the other may be degraded.
}

}  // namespace statecast
