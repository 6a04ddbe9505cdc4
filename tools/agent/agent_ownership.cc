// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a session beside its packets: the directory's answers, the kernel's socket table, the operator's
// revocations, and the time.
//
// A mapping ends by what the kernel did, never by what a packet says. A revocation is enforced here before anyone is
// told of it; what it kept from the kernel, and the socket that it destroyed, do not come back with a restart.
#include <algorithm>

#include "tools/agent/agent_core.h"

namespace statecast {

namespace {

// A socket may be younger than the table that does not list it.
constexpr Duration kTableLag = 100ms;
constexpr Duration kRemoveAgain = 1s;  // a mapping without a socket that still stands
constexpr size_t kRestoreBatchSize = 256;

}  // namespace

void AgentCore::on_deadline(Instant now) {
  now_ = now;
  peers_.on_deadline(now);
  owner_.on_deadline(now);
  for (SessionId id; timers_.next_session_due(sessions_, now, id);) on_session_due(id, now);
  if (timers_.sockets_due(now)) {
    timers_.after_sockets_asked(now);
    if (revocations_.lift_ended(now) > 0) outputs_.add(AgentOutput::Kind::save_revocations);
    outputs_.add(AgentOutput::Kind::read_sockets);
  }
  if (timers_.refill_due(now)) refill(now);
  if (timers_.restore_due(now)) insert_restored(now);
}

Instant AgentCore::next_deadline() const {
  return std::min({peers_.next_deadline(), owner_.next_deadline(), timers_.next()});
}

std::span<const AgentOutput> AgentCore::take_outputs(Instant now) {
  now_ = now;
  pump(now);
  return outputs_.take();
}

bool AgentCore::next_event(AgentEvent& out) {
  if (events_.empty()) return false;
  out = events_.front();
  events_.pop_front();
  return true;
}

// Once per burst: what the directory client has to say and to send, and the hellos and keep-alives.
void AgentCore::pump(Instant now) {
  for (OwnerEvent e; owner_.next_event(e);) on_owner_event(e, now);
  for (DirectoryOutput o; owner_.next_output(o);)
    if (o.to.is_proxy()) to_proxy(o.to.as_proxy(), GroupId{0}, PayloadKind::message, {}, o.message, now);
  for (PeerTable::Datagram d; peers_.next_output(d);) {
    MutableBytes room = outputs_.open(d.length);
    if (room.empty()) break;
    std::copy_n(d.bytes.begin(), d.length, room.begin());
    outputs_.close(AgentOutput::Kind::to_proxy, d.length, d.at);
  }
}

// --- the directory ---

void AgentCore::on_owner_event(const OwnerEvent& e, Instant now) {
  MemberSession* s = sessions_.find(e.id);
  switch (e.kind) {
    case OwnerEvent::Kind::inserted:
      if (s) s->held = true;
      return release(s, e, now);
    case OwnerEvent::Kind::busy:
      counters_.add(AgentCounter::session_busy);
      if (s && s->phase == SessionPhase::udp) {  // a SYN/ACK comes again by itself, a UDP reply does not
        sessions_.set_phase(*s, SessionPhase::udp_new);
        timers_.after_udp_busy(*s, now);
      }
      return;
    case OwnerEvent::Kind::refused: return counters_.add(AgentCounter::session_refused);  // nothing was released
    case OwnerEvent::Kind::conflict: return on_conflict(e, now);
    case OwnerEvent::Kind::revoked:
      return enforce(e.id, std::chrono::milliseconds(e.remaining_ms), owner_.revocation_name(e.id), now);
    case OwnerEvent::Kind::lifted:
      if (revocations_.lift(e.id)) outputs_.add(AgentOutput::Kind::save_revocations);
      return;
    case OwnerEvent::Kind::raised: outputs_.add(AgentOutput::Kind::save_incarnation); return;
    case OwnerEvent::Kind::superseded:
      counters_.add(AgentCounter::session_superseded);
      if (!s) return;
      if (s->phase == SessionPhase::established) destroy_socket(e.id);  // its reset stays here: it is not ours any more
      sessions_.erase(e.id);
      return;
    case OwnerEvent::Kind::stored: events_.push_back({e.request, AgentEvent::Kind::stored}); return;
    case OwnerEvent::Kind::silent: events_.push_back({e.request, AgentEvent::Kind::silent}); return;
    case OwnerEvent::Kind::done: events_.push_back({e.request, AgentEvent::Kind::done}); return;
    case OwnerEvent::Kind::failed: events_.push_back({e.request, AgentEvent::Kind::failed, e.failed_status}); return;
  }
}

// The reply that was to wait for the insert, where the ingress proxy has not got it.
void AgentCore::release(const MemberSession* s, const OwnerEvent& e, Instant now) {
  if (e.packet.empty()) return;
  if (!s) return counters_.add(AgentCounter::reply_drop_unowned);
  const PayloadKind kind = e.packet[0] >> 4 == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
  if (to_proxy(exit_for(s->proxy, now), e.id.group(), kind, {}, e.packet, now))
    counters_.add(AgentCounter::reply_after_insert);
}

// The session has another owner, or a tombstone. Our kernel's answer is not released; the client's SYN goes to the
// owner, once, because only its kernel can say what it means there.
void AgentCore::on_conflict(const OwnerEvent& e, Instant now) {
  counters_.add(AgentCounter::session_conflict);
  bool tombstone = e.record && is_tombstone(e.record->state);
  // One that was ours. Of another's nobody would tell us when it is lifted: its client is refused as often as it comes.
  if (e.record && e.record->state == RecordState::revoked && e.record->owner == NodeId::member(config_.id)) {
    enforce(e.id, std::chrono::milliseconds(e.record->remaining_ms), e.record->version.counter, now);
    return;
  }
  MemberSession* s = sessions_.find(e.id);
  if (!s) return;
  bool to_owner = e.record && !tombstone && e.record->target == Target::member && e.record->member != config_.id &&
                  !s->syn.empty() && !s->forwarded;
  if (to_owner) {
    EnvelopeOptions options;
    options.forward_to = e.record->member;
    PayloadKind kind = s->syn[0] >> 4 == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6;
    if (to_proxy(exit_for(s->proxy, now), e.id.group(), kind, options, s->syn, now))
      counters_.add(AgentCounter::session_conflict_forwarded);
  }
  if (is_tcp(s->phase)) destroy_socket(e.id);
  sessions_.erase(e.id);
}

// --- a session's life ---

void AgentCore::establish(MemberSession& s, Instant now) {
  sessions_.set_phase(s, SessionPhase::established);
  s.held = true;
  s.established_at = now;
  s.syn = {};
  timers_.after_established(s);
  counters_.add(AgentCounter::session_established);
  owner_.establish(s.id, now);
}

void AgentCore::close(MemberSession& s, Instant now) {
  sessions_.set_phase(s, SessionPhase::closing);
  timers_.after_close(s, now);
  counters_.add(AgentCounter::session_closed);
  owner_.close(s.id, now);
}

// An agent told of a mapping for which it has no socket removes it at once (design, "Ownership and versions"): what a
// restart does not restore is UDP, whose packets would come here and end until the mapping does. The next one is taken
// as that of a new session.
void AgentCore::remove_unknown(const SessionId& id, Instant now) {
  if (sessions_.find(id) || owner_.owns(id)) return;
  const Instant* last = removed_.find(id);
  if (last && now - *last < kRemoveAgain) return;
  if (!remove_.take(now)) return counters_.add(AgentCounter::session_unknown_limited);
  removed_.put(id, now);
  counters_.add(AgentCounter::session_unknown_removed);
  owner_.remove(id, now);
}

void AgentCore::insert_udp(MemberSession& s, Bytes first_reply, Instant now) {
  const Group* g = find_group(s.id.group());
  sessions_.set_phase(s, SessionPhase::udp);
  timers_.after_udp_packet(s, g->config->udp_idle, now);
  owner_.insert({.id = s.id,
                 .established = true,
                 .born_new = true,
                 // Also without a reply: the proxy that has our lease gets one of a replica's, which then knows it.
                 .ingress = exit_for(s.proxy, now),
                 .replica_hint = s.replica_hint,
                 .packet = first_reply,
                 .form = insert_form(config_),
                 .bucket_bytes = g->config->session_bytes.value},
                now);
}

void AgentCore::on_session_due(const SessionId& id, Instant now) {
  MemberSession* s = sessions_.find(id);
  if (!s) return;
  switch (s->phase) {
    case SessionPhase::udp_new: return insert_udp(*s, {}, now);
    case SessionPhase::udp:
      counters_.add(AgentCounter::session_idle);
      owner_.remove(id, now);
      break;
    case SessionPhase::half_open: counters_.add(AgentCounter::session_half_open_expired); break;
    case SessionPhase::syn:
    case SessionPhase::closing: break;
    case SessionPhase::established: return;
  }
  sessions_.erase(id);
}

void AgentCore::refill(Instant now) {
  timers_.after_refill(now);
  sessions_.for_each([&](MemberSession& s) {
    bool live = s.phase == SessionPhase::established || s.phase == SessionPhase::udp;
    if (!live || !s.in_window) return;
    s.in_window = false;
    const Group* g = find_group(s.id.group());
    if (!g->config->refill || g->config->session_bytes.value == kUnlimitedBytes) return;
    counters_.add(AgentCounter::session_refilled);
    owner_.set_bucket(s.id, g->config->session_bytes.value, now);
  });
}

// --- the kernel's socket table ---

std::optional<SessionId> AgentCore::session_of(const KernelSocket& k) const {
  const Group* g = find_group(k.local.address);
  if (!g || !g->is_stateful(Protocol::tcp, k.local.port)) return std::nullopt;
  return SessionId::tuple(g->config->id, Protocol::tcp, k.remote, k.local);
}

void AgentCore::on_sockets(std::span<const KernelSocket> table, Instant taken_at, Instant now) {
  now_ = now;
  counters_.add(AgentCounter::sockets_read);
  if (!has_sockets_) return restore(table, now);
  for (const KernelSocket& k : table) {
    std::optional<SessionId> id = session_of(k);
    if (!id) continue;
    if (revocations_.contains(*id, now)) {
      if (k.state != KernelSocket::State::time_wait) destroy_socket(*id);
      continue;
    }
    MemberSession* s = sessions_.find(*id);
    if (!s || k.state == KernelSocket::State::time_wait) continue;
    s->in_kernel_table = true;
    // A SYN cookie's handshake may complete by an older SYN/ACK than the last one: the kernel knows.
    if (k.state != KernelSocket::State::open) continue;
    if (s->phase == SessionPhase::half_open && s->held) establish(*s, now);
    // With cookies and a full accept queue the kernel makes the socket of a later segment than the agent thought.
    if (s->phase == SessionPhase::closing) {
      counters_.add(AgentCounter::session_reopened);
      establish(*s, now);
    }
  }
  sessions_.for_each([&](MemberSession& s) {
    bool gone = !s.in_kernel_table;
    s.in_kernel_table = false;
    if (gone && s.phase == SessionPhase::established && s.established_at + kTableLag <= taken_at) close(s, now);
  });
}

// The first table: what lives in the kernel was ours before a restart. Its packets pass from now on; its mappings
// follow in batches. Sockets of revoked sessions are destroyed, and their tombstones sent again, some at a time, in
// case directory nodes have restarted meanwhile as well.
void AgentCore::restore(std::span<const KernelSocket> table, Instant now) {
  has_sockets_ = true;
  for (const auto& r : revocations_.left(now)) owner_.restore_revocation(r.id, r.name, r.remaining, now);
  for (const KernelSocket& k : table) {
    std::optional<SessionId> id = session_of(k);
    if (!id || k.state == KernelSocket::State::time_wait) continue;
    if (revocations_.contains(*id, now)) {
      counters_.add(AgentCounter::session_restore_revoked);
      destroy_socket(*id);
      continue;
    }
    if (k.state != KernelSocket::State::open) continue;  // its next SYN/ACK inserts it
    MemberSession* s = sessions_.create(*id, SessionPhase::established);
    if (!s) continue;
    s->held = true;
    s->established_at = now;
    s->last_packet = now;
    restored_.push_back(*id);
  }
  timers_.after_start(now);
}

void AgentCore::insert_restored(Instant now) {
  for (size_t n = 0; n < kRestoreBatchSize && !restored_.empty(); ++n) {
    SessionId id = restored_.front();
    restored_.pop_front();
    MemberSession* s = sessions_.find(id);
    if (!s || s->phase != SessionPhase::established) continue;  // ended meanwhile
    counters_.add(AgentCounter::session_restored);
    owner_.insert({.id = id, .established = true, .bucket_bytes = find_group(id.group())->config->session_bytes.value},
                  now);
  }
  timers_.after_restore_batch(!restored_.empty(), now);
}

void AgentCore::destroy_socket(const SessionId& id) {
  auto tuple = session_tuple(id);
  if (tuple && tuple->protocol == Protocol::tcp) outputs_.add(AgentOutput::Kind::destroy_socket, *tuple);
}

// --- the operator ---

// Both directions are shut before anything else happens. The socket's own reset meets the same wall. When the table is
// full the session and its socket go all the same: what comes later of it belongs to no session, and the directory
// refuses its insert.
void AgentCore::enforce(const SessionId& id, Duration duration, uint64_t name, Instant now) {
  bool known = revocations_.contains(id, now);
  if (revocations_.set(id, now + duration, name))
    outputs_.add(AgentOutput::Kind::save_revocations);
  else
    counters_.add(AgentCounter::session_revoked_full);
  if (known) return;
  counters_.add(AgentCounter::session_revoked);
  sessions_.erase(id);
  destroy_socket(id);
}

Result<uint32_t> AgentCore::revoke(const SessionId& id, Duration duration, Instant now) {
  now_ = now;
  if (!find_group(id.group()))
    return fail(Code::not_found, "this member does not serve group " + std::to_string(id.group().value));
  if (!revocations_.has_room(id))
    return fail(Code::unavailable, "this member enforces " + std::to_string(kRevocationsMax) +
                                       " revocations already: unrevoke some, or wait until they end");
  const uint32_t request = owner_.revoke(id, duration, now);  // goes out with the next outputs
  enforce(id, duration, owner_.revocation_name(id), now);
  return request;
}

Result<uint32_t> AgentCore::unrevoke(const SessionId& id, Instant now) {
  now_ = now;
  if (!find_group(id.group()))
    return fail(Code::not_found, "this member does not serve group " + std::to_string(id.group().value));
  if (revocations_.lift(id)) outputs_.add(AgentOutput::Kind::save_revocations);
  return owner_.unrevoke(id, now);
}

Result<> AgentCore::refresh(const SessionId& id, uint64_t bucket_bytes, Instant now) {
  now_ = now;
  if (!owner_.owns(id)) return fail(Code::not_found, "no session of this member: " + to_string(id));
  owner_.set_bucket(id, bucket_bytes, now);
  return {};
}

std::vector<AgentCore::ProxyStatus> AgentCore::proxies(Instant now) const {
  std::vector<ProxyStatus> out;
  for (const ProxyPeerConfig& p : config_.proxies) {
    Instant heard = peers_.last_heard(NodeId::proxy(p.id));
    std::optional<Duration> silence;
    if (heard != Instant{}) silence = now - heard;
    out.push_back({p.id, p.address, is_heard(p.id, now), silence});
  }
  return out;
}

}  // namespace statecast
