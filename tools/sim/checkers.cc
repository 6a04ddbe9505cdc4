// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/checkers.h"

#include <algorithm>

#include "directory/peers.h"

namespace statecast::sim {

namespace {
constexpr Duration kWatch = 100ms;
constexpr unsigned kLooksPerWatch = 4;
// A half-open record lives for 10 s from the insert's arrival; its answer may be on its way for long.
constexpr Duration kHalfOpenSure = 5s;
constexpr Duration kSettled = 300ms;  // after an acknowledgement: what is on its way then is there
}  // namespace

Checkers::Checkers(World& world) : world_(world), asked_(world.last_proxy() + 1) {
  world.observe(this);
  world.after(kWatch, [this] { watch(); });
}

void Checkers::breach(SessionNumber s, const std::string& rule, const std::string& what) {
  breaches_.push_back({world_.now(), s, rule, what});
}

Checkers::Session& Checkers::session(SessionNumber s) {
  if (sessions_.size() <= s) sessions_.resize(std::max<size_t>(s + 1, 2 * sessions_.size()));
  return sessions_[s];
}

Checkers::Ack* Checkers::ack(SessionNumber s, MemberId m) {
  for (Ack& a : session(s).acks)
    if (a.member == m) return &a;
  return nullptr;
}

bool Checkers::owns(const Ack& a, SessionNumber s) const {
  if (!a.promised || !world_.owns(a.member.value, s)) return false;
  const World::Kernel* kernel = world_.find_kernel(a.member.value, s);
  using State = World::Kernel::State;
  if (!kernel || kernel->state == State::none || kernel->connection != a.connection) return false;
  return a.established || world_.now() < a.ends;
}

// --- an acknowledged insert is not lost, and has one owner ---

void Checkers::on_insert(MemberId m, SessionNumber s) {
  Ack* known = ack(s, m);
  if (!known) session(s).acks.push_back({.member = m}), known = &session(s).acks.back();
  known->inserted = world_.now();
}

void Checkers::on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) {
  using Kind = OwnerEvent::Kind;
  switch (e.kind) {
    case Kind::inserted: {
      const World::Kernel* kernel = world_.find_kernel(m.value, s);
      if (!kernel) break;  // closed meanwhile
      Ack* known = ack(s, m);
      if (!known) session(s).acks.push_back({.member = m}), known = &session(s).acks.back();
      const bool same = known->promised && known->connection == kernel->connection;
      const Instant now = world_.now();
      if (!same || !e.degraded) {  // a degraded renewal promises no more than what was promised before it
        known->established = kernel->state == World::Kernel::State::established;
        known->ends = std::min(now + kHalfOpenSure, known->inserted + 2 * kHalfOpenSure - 1s);
      }
      known->at = same ? known->at : now;
      known->promised = same || !e.degraded;
      known->connection = kernel->connection;
      if (!owns(*known, s) || world_.options().partition_available) break;
      ++looks_["one owner"];
      for (const Ack& other : session(s).acks) {
        if (other.member != m && owns(other, s))
          breach(s, "one owner",
                 to_string(NodeId::member(m)) + " and " + to_string(NodeId::member(other.member)) + " own it at once");
      }
      break;
    }
    case Kind::stored: {
      Session& x = session(s);
      if (x.revoked && !x.stored) x.stored = true, x.stored_at = world_.now();
      break;
    }
    case Kind::silent: {
      Session& x = session(s);
      if (!x.revoked) break;
      if (!x.stored) x.stored = true, x.stored_at = world_.now();
      x.silent = true;
      x.awaits_silent = false;
      check_no_lease(s);
      break;
    }
    case Kind::done:
      if (session(s).lifting && !e.degraded) session(s).lifted = !session(s).by_operator;
      break;
    case Kind::failed:
      if (session(s).revoked_by == m) session(s).awaits_silent = false;
      break;
    case Kind::conflict:
    case Kind::revoked:
    case Kind::superseded:
    case Kind::busy: std::erase_if(session(s).acks, [&](const Ack& a) { return a.member == m; }); break;
    default: break;
  }
}

void Checkers::on_close(MemberId m, SessionNumber s) {
  std::erase_if(session(s).acks, [&](const Ack& a) { return a.member == m; });
}

// What it was told before counts no longer; a revocation under way is nobody's any more, and one that only its disk had
// is none.
void Checkers::on_member(MemberId m, MemberChange change) {
  for (Session& x : sessions_) {
    std::erase_if(x.acks, [&](const Ack& a) { return a.member == m; });
    if (x.revoked_by != m) continue;
    x.awaits_silent = false;
    if (change == MemberChange::forgot && !x.stored) x.revoked = false;
  }
}

void Checkers::on_asked(ProxyId p, SessionNumber s) {
  asked_[p.value].emplace(s, world_.now());
}

void Checkers::on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) {
  using Kind = CacheEvent::Kind;
  Instant asked = Instant::max();
  if (e.kind != Kind::purge && e.kind != Kind::packet) {
    auto& open = asked_[p.value];
    if (auto at = open.find(s); at != open.end()) {
      asked = at->second;
      open.erase(at);
    }
  }
  if (e.kind == Kind::lease && session(s).silent)
    breach(s, "silent", "a lease to " + to_string(NodeId::proxy(p)) + " after silent");
  if (e.kind != Kind::none || asked == Instant::max() || world_.options().partition_available) return;
  ++looks_["no mapping"];
  for (const Ack& a : session(s).acks) {
    if (a.at < asked && owns(a, s) && !session(s).revoked && !may_be_lost(s, a.at))
      breach(s, "no mapping",
             to_string(NodeId::proxy(p)) + " was told so of a session that " + to_string(NodeId::member(a.member)) +
                 "'s insert had been acknowledged of " + std::to_string(to_ms(asked - a.at)) + " ms before it asked");
  }
}

// One session after the other: somebody has it.
void Checkers::look_for_lost() {
  if (world_.options().partition_available) return;
  for (unsigned i = 0; i < kLooksPerWatch && !sessions_.empty(); ++i) {
    const SessionNumber s = next_look_ = (next_look_ + 1) % sessions();
    for (const Ack& a : sessions_[s].acks) {
      if (!owns(a, s) || sessions_[s].revoked || world_.now() - a.at < kSettled) continue;
      ++looks_["not lost"];
      bool found = false;
      const NodeId owner = NodeId::member(a.member);
      for (auto v = world_.views().rbegin(); v != world_.views().rend() && !found; ++v) {
        for (ProxyId p : v->replicas(world_.key(s).slot())) {
          if (!world_.up(p.value)) continue;
          auto r = world_.node(p.value).find(world_.key(s), world_.local(p.value));
          found = found || (r && r->owner == owner && !is_tombstone(r->state));
        }
      }
      if (!found && !may_be_lost(s, a.at))
        breach(s, "not lost", to_string(owner) + "'s insert was acknowledged, and no replica has it");
    }
  }
}

// --- outages ---

void Checkers::on_proxy(ProxyId p, ProxyChange change) {
  if (change != ProxyChange::crashed && change != ProxyChange::stopped) return;
  asked_[p.value].clear();
  if (change == ProxyChange::crashed) outages_.push_back({p, world_.now()});
}

void Checkers::watch() {
  bool open = std::any_of(outages_.begin(), outages_.end(), [](const Outage& o) { return o.ends == Instant::max(); });
  if (open) {
    bool all = true;  // in the newest view, in sync
    for (const ViewNode& n : world_.view().nodes()) {
      const uint32_t p = n.id.value;
      if (!world_.up(p)) {
        all = false;
        continue;
      }
      NodeStatus status = world_.node(p).status(world_.local(p));
      const bool in_sync = status.in_sync && status.view == world_.view().id();
      all = all && in_sync;
      for (Outage& o : outages_)
        if (o.proxy == n.id && in_sync) o.ends = std::min(o.ends, world_.now());
    }
    for (Outage& o : outages_)
      if (all && !world_.in_view(o.proxy.value)) o.ends = std::min(o.ends, world_.now());
  }
  look_for_lost();
  check_memory();
  world_.after(kWatch, [this] { watch(); });
}

bool Checkers::may_be_lost(SessionNumber s, Instant since) const {
  const Slot slot = world_.key(s).slot();
  std::vector<const Outage*> of_slot;
  for (const Outage& o : outages_) {
    bool replica = std::any_of(world_.views().begin(), world_.views().end(),
                               [&](const View& v) { return v.is_replica(o.proxy, slot); });
    if (replica && o.ends >= since - kSettled) of_slot.push_back(&o);
  }
  unsigned writes = world_.view().write_count();
  for (const View& v : world_.views()) writes = std::min(writes, v.write_count());
  for (const Outage* a : of_slot) {
    unsigned together = 0;  // at the moment that `a` begins
    for (const Outage* b : of_slot) together += b->begins <= a->begins && a->begins <= b->ends;
    if (together >= writes) return true;
  }
  return false;
}

// --- packets go to the right member; no reset of ours kills a session ---

void Checkers::on_kernel(MemberId m, const Packet& packet) {
  const SessionNumber s = packet.session;
  if (packet.syn) return;
  ++looks_["right kernel"];
  if (session(s).revoked && session(s).revoked_by == m)
    breach(s, "revoked", "a packet in " + to_string(NodeId::member(m)) + "'s kernel after its call");
  const World::Client& client = world_.client(s);
  if (!client.open || *client.open == m || client.connection != packet.connection) return;
  const Ack* real = ack(s, *client.open);
  if (real && owns(*real, s))
    breach(s, "right kernel",
           "a packet of " + to_string(NodeId::member(*client.open)) + "'s session in " + to_string(NodeId::member(m)) +
               "'s kernel");
}

void Checkers::on_socket_destroyed(MemberId m, SessionNumber s, OwnerEvent::Kind why) {
  using Kind = OwnerEvent::Kind;
  const Ack* a = ack(s, m);
  ++looks_["no reset"];
  if (!a || !a->promised || !a->established || session(s).revoked || world_.options().partition_available) return;
  const World::Kernel* kernel = world_.find_kernel(m.value, s);
  if (!kernel || kernel->connection != a->connection || may_be_lost(s, a->at)) return;
  if (session(s).lifting) return;  // a revocation may be left where nobody could reach
  if (why == Kind::conflict || why == Kind::superseded)
    breach(s, "no reset", to_string(NodeId::member(m)) + "'s established session ends by " + to_string(why));
}

// --- revocation ---

void Checkers::on_revoke(MemberId m, SessionNumber s) {
  Session& x = session(s);
  x.revoked = x.awaits_silent = true;
  x.lifting = x.lifted = false;
  x.revoked_by = m;
  x.by_operator = x.by_operator || m.value == 0;
  if (m.value == 0) x.awaits_silent = false;  // nobody repeats the operator's call
}

void Checkers::on_unrevoke(MemberId, SessionNumber s) {
  Session& x = session(s);
  x.revoked = x.stored = x.silent = x.awaits_silent = x.lifted = false;
  x.lifting = true;
  x.revoked_by = {};
}

void Checkers::on_operator_answer(SessionNumber s, RequestAnswer::Status status) {
  Session& x = session(s);
  using Status = RequestAnswer::Status;
  if (!x.revoked || (status != Status::stored && status != Status::silent)) return;
  if (!x.stored) x.stored = true, x.stored_at = world_.now();
  if (status != Status::silent) return;
  x.silent = true;
  check_no_lease(s);
}

void Checkers::check_no_lease(SessionNumber s) {
  ++looks_["silent"];
  for (uint32_t p = 1; p <= world_.last_proxy(); ++p) {
    if (!world_.up(p)) continue;
    auto entry = world_.cached(p, s);
    if (entry && entry->target == CacheTarget::member && entry->bytes > 0)
      breach(s, "silent", "silent, and " + to_string(NodeId::proxy({p})) + " has a lease");
  }
}

size_t Checkers::silent() const {
  return static_cast<size_t>(std::count_if(sessions_.begin(), sessions_.end(), [](auto& x) { return x.silent; }));
}

// --- bytes ---

void Checkers::on_passed(ProxyId p, const Packet& packet, MemberId) {
  Session& x = session(packet.session);
  if (packet.syn || packet.forwarded) return;
  if (x.silent) breach(packet.session, "silent", "a packet through " + to_string(NodeId::proxy(p)) + " after silent");
  x.passed += packet.bytes;
  if (x.given == kUnlimitedBytes) return;
  ++looks_["bytes"];
  if (x.passed > x.given)
    breach(packet.session, "bytes", std::to_string(x.passed) + " bytes passed of " + std::to_string(x.given));
}

void Checkers::on_bucket(SessionNumber s, uint64_t bytes) {
  uint64_t& given = session(s).given;
  given = bytes == kUnlimitedBytes || given == kUnlimitedBytes ? kUnlimitedBytes : given + bytes;
}

// --- memory ---

// One proxy after the other. A session is one held record at most, and one that is placed.
void Checkers::check_memory() {
  const auto p = static_cast<uint32_t>(1 + world_.events() % world_.last_proxy());
  if (!world_.up(p)) return;
  NodeStatus status = world_.node(p).status(world_.local(p));
  ++looks_["memory"];
  auto over = [&](const char* what, uint64_t n, uint64_t most) {
    if (n > most)
      breach(0, "memory",
             to_string(NodeId::proxy({p})) + " has " + std::to_string(n) + " " + what + ", at most " +
                 std::to_string(most));
  };
  over("held records", status.records + status.tombstones, sessions());
  over("placed records", status.placed, sessions());
  for (const auto& peer : status.peers) over("changes listed for one peer", peer.changes_pending, kChangesMax);
  over("open questions", world_.querier(p).outstanding(), sessions());
}

std::vector<Checkers::Acknowledged> Checkers::acknowledged_established() const {
  std::vector<Acknowledged> out;
  for (SessionNumber s = 0; s < sessions(); ++s) {
    for (const Ack& a : sessions_[s].acks)
      if (a.established && owns(a, s)) out.push_back({a.member, s});
  }
  return out;
}

}  // namespace statecast::sim
