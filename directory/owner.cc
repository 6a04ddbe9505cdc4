// SPDX-License-Identifier: BSD-3-Clause
// What a member says of its sessions, and what the answers mean. How requests go out is in owner_requests.cc, the
// timers are in owner_timers.cc.
#include "directory/owner.h"

#include <algorithm>

#include "directory/record_order.h"

namespace statecast {

namespace {

constexpr unsigned kBusyTries = 3;
constexpr Duration kRefusedWait = 1s;       // an established session that was refused tries again
constexpr Duration kRequestPatience = 60s;  // remove, unrevoke
// Revocations that are sent again leave most of what a node takes of one member (1,024 until silent) to inserts. Where
// silence takes longer than this (a replica that is down), the next ones go.
constexpr size_t kResendsMax = 256;
constexpr Duration kResendSilence = 4s;
constexpr Duration kSilentPoll = 1s;  // as owner_requests.cc has it

KeyedHash::Key random_key(Rng& rng) {
  KeyedHash::Key key;
  rng.fill(key);
  return key;
}

uint32_t wire_ms(Duration d) {
  return static_cast<uint32_t>(std::clamp<int64_t>(to_ms(d), 0, UINT32_MAX));
}

}  // namespace

const char* to_string(OwnerEvent::Kind k) {
  switch (k) {
    case OwnerEvent::Kind::inserted: return "inserted";
    case OwnerEvent::Kind::busy: return "busy";
    case OwnerEvent::Kind::conflict: return "conflict";
    case OwnerEvent::Kind::refused: return "refused";
    case OwnerEvent::Kind::revoked: return "revoked";
    case OwnerEvent::Kind::superseded: return "superseded";
    case OwnerEvent::Kind::stored: return "stored";
    case OwnerEvent::Kind::silent: return "silent";
    case OwnerEvent::Kind::done: return "done";
    case OwnerEvent::Kind::failed: return "failed";
    case OwnerEvent::Kind::lifted: return "lifted";
    case OwnerEvent::Kind::raised: return "raised";
  }
  return "unknown";
}

// Handles and requests start at random, so that a late message to an earlier incarnation names nothing of this one.
Owner::Owner(OwnerOptions options, uint64_t seed)
    : options_(std::move(options)),
      rng_(seed),
      next_handle_(static_cast<uint32_t>(rng_.next())),
      next_request_(static_cast<uint32_t>(rng_.next())),
      handles_(16, KeyedHash(random_key(rng_))),
      revoked_ids_(16, handles_.hash_function()) {}

// --- what the agent calls ---

void Owner::insert(const OwnerInsert& insert, Instant now) {
  if (auto at = revoked_ids_.find(insert.id); at != revoked_ids_.end()) {
    return emit({.kind = OwnerEvent::Kind::revoked,
                 .id = insert.id,
                 .remaining_ms = wire_ms(revoked_.at(at->second).ends - now)});
  }
  Session* s = find(insert.id);
  if (!s) {
    if (sessions_.size() >= options_.sessions_max) {
      ++counters_.refused;
      return emit({.kind = OwnerEvent::Kind::refused, .id = insert.id});
    }
    uint32_t handle = ++next_handle_;
    handles_[insert.id] = handle;
    s = &sessions_[handle];
    s->id = insert.id;
    s->bucket_bytes = insert.bucket_bytes;
    s->bucket_counter = counter_ + 1;
  }
  // A late copy of the SYN/ACK does not take an established session back.
  bool established = insert.established || s->state == RecordState::established;
  s->state = established ? RecordState::established : RecordState::half_open;
  const bool full = insert.form == InsertForm::insert && waiting_ >= options_.waiting_max;
  start_insert(handles_.at(insert.id), *s,
               {.born_new = insert.born_new,
                .ingress = insert.ingress,
                .hint = insert.replica_hint,
                .packet = insert.packet,
                .form = full ? InsertForm::insert_and_forward : insert.form},
               now);
}

void Owner::establish(const SessionId& id, Instant now) {
  Session* s = find(id);
  if (!s || s->state == RecordState::established) return;
  s->state = RecordState::established;
  start_insert(handles_.at(id), *s, {}, now);
}

void Owner::close(const SessionId& id, Instant now) {
  Session* s = find(id);
  if (!s || s->state == RecordState::closing) return;
  s->state = RecordState::closing;
  start_insert(handles_.at(id), *s, {.quiet = true}, now);
}

void Owner::set_bucket(const SessionId& id, uint64_t bytes, Instant now) {
  Session* s = find(id);
  if (!s) return;
  uint32_t handle = handles_.at(id);
  leave_refresh(handle, *s);
  s->version.counter = s->bucket_counter = ++counter_ & kCounterMask;
  s->bucket_bytes = bytes;
  if (!s->acknowledged || s->request != 0) {
    s->bucket_counter = (counter_ + 1) & kCounterMask;  // the insert's own: this is its bucket
    return start_insert(handle, *s, {}, now);
  }
  join_refresh(handle, *s, now);
  for (ProxyId p : s->replicas) {
    auto& entries = refreshed_[p].told[s->view].entries;
    if (entries.empty()) timers_.insert({now, TimerKind::buckets, p.value});  // with others that are set now
    entries.push_back({handle, s->bucket_counter, bytes});
    if (entries.size() == kRefreshEntriesMax) tell(p, now);
  }
}

uint32_t Owner::remove(const SessionId& id, Instant now) {
  Version version{0, options_.incarnation, ++counter_ & kCounterMask};
  Pending p{.kind = Pending::Kind::remove, .id = id, .gives_up = now + kRequestPatience};
  if (Session* s = find(id)) {
    version.term = s->version.term;
    if (!s->replicas.empty()) p.hint = s->replicas.front();
    forget(handles_.at(id));
  }
  p.body = Remove{id, version};
  return add_request(std::move(p), now);
}

uint32_t Owner::revoke(const SessionId& id, Duration duration, Instant now) {
  Pending p{.kind = Pending::Kind::revoke, .id = id, .gives_up = now + duration};
  uint32_t handle = 0;
  if (Session* s = find(id)) {
    handle = handles_.at(id);
    if (!s->replicas.empty()) p.hint = s->replicas.front();
    forget(handle);
  }
  const uint64_t name = draw_revocation_name(rng_);
  mark_revoked(id, handle, now + duration, name);
  p.body = Revoke{.id = id, .group = id.group(), .duration_ms = wire_ms(duration), .name = name};
  return add_request(std::move(p), now);
}

uint64_t Owner::revocation_name(const SessionId& id) const {
  const auto at = revoked_ids_.find(id);
  return at == revoked_ids_.end() ? 0 : revoked_.at(at->second).name;
}

void Owner::restore_revocation(const SessionId& id, uint64_t name, Duration remaining, Instant now) {
  mark_revoked(id, 0, now + remaining, name != 0 ? name : draw_revocation_name(rng_));
  resends_.push_back(revoked_ids_.at(id));
  resend_more(now);
}

uint32_t Owner::unrevoke(const SessionId& id, Instant now) {
  drop_revokes(id);
  return add_request({.kind = Pending::Kind::unrevoke,
                      .body = Unrevoke{.id = id, .group = id.group(), .name = revocation_name(id)},
                      .id = id,
                      .gives_up = now + kRequestPatience},
                     now);
}

std::vector<Owner::Listed> Owner::list() const {
  std::vector<Listed> out;
  out.reserve(sessions_.size());
  for (const auto& [handle, s] : sessions_)
    out.push_back({s.id, s.state, s.version, s.replicas, s.acknowledged, s.bucket_counter});
  return out;
}

// --- sessions ---

Owner::Session* Owner::find(const SessionId& id) {
  auto at = handles_.find(id);
  return at == handles_.end() ? nullptr : &sessions_.at(at->second);
}

// A new message about the session, with a new version; takes the place of the one that may be out.
void Owner::start_insert(uint32_t handle, Session& s, const StartInsert& how, Instant now) {
  leave_refresh(handle, s);
  drop_pending(s.request);
  s.version.incarnation = options_.incarnation;
  s.version.counter = ++counter_ & kCounterMask;
  set_lifetime(handle, s, now);
  Duration lifetime = s.state == RecordState::established ? options_.established_lifetime
                      : s.state == RecordState::closing   ? options_.closing_lifetime
                                                          : options_.half_open_lifetime;
  Pending p{.kind = Pending::Kind::insert, .id = s.id, .handle = handle, .hint = how.hint, .quiet = how.quiet};
  p.packet.assign(how.packet.begin(), how.packet.end());
  p.form = how.form;
  if (p.waits() && p.hint.value == 0) p.hint = how.ingress;
  p.body = Insert{.id = s.id,
                  .state = s.state,
                  .target = Target::member,
                  .member = options_.self,
                  .version = s.version,
                  .handle = handle,
                  .lifetime_ms = wire_ms(lifetime),
                  .bucket_bytes = s.bucket_bytes,
                  .bucket_counter = s.bucket_counter,
                  .born_new = how.born_new,
                  .ingress = p.waits() ? ProxyId{} : how.ingress,
                  .returns = how.form == InsertForm::insert_and_return && !how.packet.empty()};
  ++counters_.inserts;
  s.request = add_request(std::move(p), now);
}

// The same insert under a new version and number. `p` is gone then.
void Owner::insert_again(Pending& p, Instant now) {
  Session& s = sessions_.at(p.handle);
  const auto& i = std::get<Insert>(p.body);
  const std::vector<uint8_t> packet = p.packet;
  // Who has not got it yet would give nothing of a bucket that an earlier insert named.
  if (!s.acknowledged) s.bucket_counter = (counter_ + 1) & kCounterMask;
  const unsigned busy = p.busy;
  const bool told = p.told_refused;
  start_insert(p.handle, s,
               {.born_new = i.born_new,
                .quiet = p.quiet,
                .ingress = i.ingress,
                .hint = p.hint,
                .packet = packet,
                .form = p.form},
               now);
  Pending& next = pending_.at(s.request);
  next.busy = busy;
  next.told_refused = told;
}

void Owner::set_lifetime(uint32_t handle, Session& s, Instant now) {
  if (s.ends) timers_.erase({*s.ends, TimerKind::session, handle});
  s.ends.reset();
  if (s.state == RecordState::half_open) s.ends = now + options_.half_open_lifetime;
  if (s.state == RecordState::closing) s.ends = now + options_.closing_lifetime;
  if (s.ends) timers_.insert({*s.ends, TimerKind::session, handle});
}

void Owner::forget(uint32_t handle) {
  auto at = sessions_.find(handle);
  if (at == sessions_.end()) return;
  Session& s = at->second;
  leave_refresh(handle, s);
  drop_pending(s.request);
  if (s.ends) timers_.erase({*s.ends, TimerKind::session, handle});
  handles_.erase(s.id);
  sessions_.erase(at);
}

// From here on no insert and no refresh of the session goes out.
void Owner::mark_revoked(const SessionId& id, uint32_t handle, Instant ends, uint64_t name) {
  if (auto old = revoked_ids_.find(id); old != revoked_ids_.end()) {
    if (handle == 0) handle = old->second;
    lift(old->second);
  }
  if (handle == 0) handle = ++next_handle_;
  revoked_[handle] = {id, ends, name};
  revoked_ids_[id] = handle;
  timers_.insert({ends, TimerKind::revoked, handle});
}

void Owner::lift(uint32_t handle) {
  auto at = revoked_.find(handle);
  if (at == revoked_.end()) return;
  timers_.erase({at->second.ends, TimerKind::revoked, handle});
  revoked_ids_.erase(at->second.id);
  revoked_.erase(at);
}

// --- answers ---

bool Owner::on_message(NodeId from, Bytes message, Instant now) {
  if (!from.is_proxy()) return false;
  auto m = decode(message);
  if (!m) return false;
  if (auto* n = std::get_if<Notice>(&m->body)) {
    on_notice(*n, now);
    MessageHeader answer{
        .request = m->header.request, .origin = m->header.origin, .hops = 0, .view = options_.view.id()};
    outputs_.add(from, encode_as(answer, Ack{}, outputs_.room()));
    return true;
  }
  auto* inserted = std::get_if<InsertAnswer>(&m->body);
  auto* requested = std::get_if<RequestAnswer>(&m->body);
  auto* refreshed = std::get_if<RefreshAnswer>(&m->body);
  auto* difference = std::get_if<RefreshDifference>(&m->body);
  if (!inserted && !requested && !refreshed && !difference) return false;
  auto at = pending_.find(m->header.request);
  if (at == pending_.end() || m->header.origin != NodeId::member(options_.self)) return true;  // late: answered already
  Pending& p = at->second;
  using Kind = Pending::Kind;
  if (inserted && p.kind == Kind::insert) {
    on_insert_answer(m->header, p, *inserted, now);
  } else if (requested && p.kind != Kind::insert && p.kind != Kind::refresh && p.kind != Kind::digest) {
    on_request_answer(at->first, p, *requested, now);
  } else if (refreshed && p.kind == Kind::refresh) {
    const auto listed = std::get<Refresh>(std::move(p.body)).entries;
    refreshed_[p.to].silent = false;
    drop_pending(at->first);
    on_refresh_answer(m->header.view, listed, *refreshed, now);
  } else if (difference && p.kind == Kind::digest) {
    const ProxyId replica = p.to;
    refreshed_[replica].silent = false;
    drop_pending(at->first);
    on_refresh_difference(replica, *difference, now);
  }
  resend_more(now);
  return true;
}

// The agent has lost its incarnation and counts from 1, while the fleet still has records of an earlier start of it.
// Those name the incarnation to go on above; true where the insert was said below it.
bool Owner::continue_above(const Pending& p, const InsertAnswer& a) {
  if (!a.record || a.record->owner != NodeId::member(options_.self) || a.record->state == RecordState::revoked)
    return false;
  const uint32_t seen = a.record->version.incarnation;
  if (seen <= std::get<Insert>(p.body).version.incarnation || seen + 1 >= kId24Max) return false;
  if (seen >= options_.incarnation) {
    options_.incarnation = seen + 1;
    emit({.kind = OwnerEvent::Kind::raised, .id = p.id});
  }
  return true;
}

void Owner::on_insert_answer(const MessageHeader& h, Pending& p, const InsertAnswer& a, Instant now) {
  if (p.withdrawn) return;
  const uint32_t request = h.request;
  const uint32_t handle = p.handle;
  Session& s = sessions_.at(handle);
  OwnerEvent event{.id = s.id, .copies = a.copies};
  using Status = InsertAnswer::Status;
  switch (a.status) {
    case Status::ok:
    case Status::degraded: {
      event.kind = OwnerEvent::Kind::inserted;
      event.degraded = a.status == Status::degraded;
      counters_.degraded += event.degraded;
      s.acknowledged = true;
      s.version.term = std::max(s.version.term, a.version.term);
      s.acknowledged_version = s.version;
      if (!a.replicas.empty()) s.replicas = a.replicas, s.view = h.view;
      bool quiet = p.quiet;
      if (p.waits()) {
        --waiting_;
        event.packet = std::move(p.packet);
        p.packet.clear();
      }
      if (!a.packet.empty()) event.packet.assign(a.packet.begin(), a.packet.end());
      drop_pending(request);
      join_refresh(handle, s, now);
      if (!quiet) emit(event);
      return;
    }
    case Status::busy:
      ++counters_.busy;
      if (++p.busy > kBusyTries) {
        event.kind = OwnerEvent::Kind::busy;
        forget(handle);
        return emit(event);
      }
      // Withdrawn; a late copy of this version is refused, so the next try is a new one.
      p.withdrawn = true;
      return schedule(request, p,
                      now + Duration(rng_.below(static_cast<uint64_t>((busy_unit(s) * (1 << p.busy)).count()))));
    case Status::conflict:
      if (continue_above(p, a)) return insert_again(p, now);
      ++counters_.conflicts;
      event.kind = OwnerEvent::Kind::conflict;
      event.record = a.record;
      if (a.record) event.remaining_ms = a.record->remaining_ms;
      forget(handle);
      return emit(event);
    case Status::refused:
      if (continue_above(p, a)) return insert_again(p, now);
      ++counters_.refused;
      event.kind = OwnerEvent::Kind::refused;
      if (!p.quiet && !p.told_refused) emit(event);
      p.told_refused = true;
      // The kernel's next SYN/ACK is the next try of a half-open session. An established one has no other than this.
      if (s.state != RecordState::established) return drop_pending(request);
      p.withdrawn = true;
      return schedule(request, p,
                      now + kRefusedWait + Duration(rng_.below(static_cast<uint64_t>(kRefusedWait.count()))));
    case Status::try_again:
      if (++p.turned_away <= options_.view.nodes().size()) send(request, p, now);
      return;
  }
}

void Owner::on_request_answer(uint32_t request, Pending& p, const RequestAnswer& a, Instant now) {
  OwnerEvent event{.id = p.id, .request = request, .copies = a.copies};
  using Status = RequestAnswer::Status;
  const bool revoke = p.kind == Pending::Kind::revoke;
  switch (a.status) {
    case Status::ok:
    case Status::degraded:
      // Of a revocation with fewer than W copies nothing is promised: it is asked for again until they are there.
      if (revoke) return;
      event.kind = OwnerEvent::Kind::done;
      event.degraded = a.status == Status::degraded;
      break;
    case Status::stored:
    case Status::silent:
      if (!revoke) return;
      if (!p.stored) {
        p.stored = true;
        event.kind = OwnerEvent::Kind::stored;
        if (!p.quiet) emit(event);
        schedule(request, p, now + (p.quiet ? kResendSilence : kSilentPoll));
      }
      if (a.status == Status::stored) return;
      event.kind = OwnerEvent::Kind::silent;
      break;
    case Status::denied:
    case Status::not_found:
      if (p.stored) return;  // of somebody who has missed it
      event.kind = OwnerEvent::Kind::failed;
      event.failed_status = a.status;
      break;
    case Status::try_again:
      if (++p.turned_away <= options_.view.nodes().size()) send(request, p, now);
      return;
  }
  // Lifted by us, or not there: either way the directory holds no tombstone that we would enforce.
  if (p.kind == Pending::Kind::unrevoke && a.status != Status::denied)
    if (auto r = revoked_ids_.find(p.id); r != revoked_ids_.end()) lift(r->second);
  const bool quiet = p.quiet;
  drop_pending(request);
  if (!quiet) emit(event);
}

// A replica has lost mappings of ours (a cold start of the fleet): it may have lost tombstones with them.
void Owner::resend_revocations(Instant now) {
  if (revocations_resent_ && *revocations_resent_ + options_.refresh_period > now) return;
  if (!resends_.empty()) return;  // the last round is not over
  revocations_resent_ = now;
  std::set<SessionId, decltype([](const SessionId& a, const SessionId& b) { return a.raw < b.raw; })> out;
  for (const auto& [request, p] : pending_)
    if (p.kind == Pending::Kind::revoke || p.kind == Pending::Kind::unrevoke) out.insert(p.id);
  for (const auto& [handle, r] : revoked_)
    if (!out.contains(r.id)) resends_.push_back(handle);
}

void Owner::resend_more(Instant now) {
  for (; resends_out_ < kResendsMax && !resends_.empty(); resends_.pop_front()) {
    auto at = revoked_.find(resends_.front());
    if (at == revoked_.end() || at->second.ends <= now) continue;  // lifted meanwhile
    const Revocation& r = at->second;
    ++resends_out_;
    add_request({.kind = Pending::Kind::revoke,
                 .body = Revoke{.id = r.id, .group = r.id.group(), .name = r.name},
                 .id = r.id,
                 .quiet = true,
                 .gives_up = r.ends},
                now);
  }
}

void Owner::on_notice(const Notice& n, Instant now) {
  ++counters_.notices;
  const Instant ends = now + std::chrono::milliseconds(n.remaining_ms);
  if (auto r = revoked_.find(n.handle); r != revoked_.end()) {
    SessionId id = r->second.id;
    if (n.state == RecordState::revoked) return mark_revoked(id, n.handle, ends, n.version.counter);
    lift(n.handle);
    drop_revokes(id);
    return emit({.kind = OwnerEvent::Kind::lifted, .id = id});
  }
  auto at = sessions_.find(n.handle);
  if (at == sessions_.end()) return;
  SessionId id = at->second.id;
  if (n.version < at->second.acknowledged_version) return;  // older than what the directory has told us since
  if (n.state == RecordState::revoked) {
    forget(n.handle);
    mark_revoked(id, n.handle, ends, n.version.counter);
    return emit({.kind = OwnerEvent::Kind::revoked, .id = id, .remaining_ms = n.remaining_ms});
  }
  forget(n.handle);
  emit({.kind = OwnerEvent::Kind::superseded, .id = id, .remaining_ms = n.remaining_ms});
}

Instant Owner::next_deadline() const {
  return timers_.empty() ? Instant::max() : timers_.begin()->at;
}

bool Owner::next_event(OwnerEvent& out) {
  if (events_.empty()) return false;
  out = std::move(events_.front());
  events_.pop_front();
  return true;
}

}  // namespace statecast
