// SPDX-License-Identifier: BSD-3-Clause
// A member: what tools/agent's AgentCore does with the Owner, and as much of a kernel as a SYN/ACK takes.
#include <algorithm>
#include <cstring>

#include "tools/sim/world.h"

namespace statecast::sim {

namespace {
constexpr Duration kSynAckFirst = 1s;  // the kernel's retransmission, doubled each time
constexpr int kSynAckRetransmits = 4;
constexpr Duration kHeardLife = 2s;  // of a proxy
constexpr Duration kRemoveAgain = 1s;
}  // namespace

// --- its machine ---

void World::start_member(uint32_t m) {
  if (members_[m].owner) return;
  restart_member(m);
  for (Observer* o : observers_) o->on_member({m}, Observer::MemberChange::started);
}

void World::kill_member(uint32_t m) {
  Member& x = members_[m];
  x.owner.reset();
  x.kernel.clear();
  ++x.generation;
  x.wakes = Instant::max();
  for (Observer* o : observers_) o->on_member({m}, Observer::MemberChange::killed);
}

void World::restart_member(uint32_t m, Disk disk) {
  Member& x = members_[m];
  ++x.generation;
  x.heard.assign(proxies_.size(), now_ - kHeardLife / 2);  // it says hello to all, and knows soon
  x.wakes = Instant::max();
  const NodeId self = NodeId::member({m});
  x.owner = std::make_unique<Owner>(
      OwnerOptions{.self = {m},
                   .incarnation = ++x.incarnation,
                   .view = everybody_,
                   .reachable = [this, m](ProxyId p) { return now_ - members_[m].heard[p.value] < kHeardLife; },
                   .rtt = [this, self](ProxyId p) { return network_.rtt(self, NodeId::proxy(p)); },
                   .refresh_listed_max = options_.refresh_listed_max},
      rng_.next());
  x.events.clear();
  x.removed.clear();
  if (disk == Disk::lost) x.revoked.clear();
  const auto change = disk == Disk::lost ? Observer::MemberChange::forgot : Observer::MemberChange::restarted;
  for (Observer* o : observers_) o->on_member({m}, change);
  const Instant now = enter(x.clock);
  std::erase_if(x.revoked, [&](const auto& r) { return r.second.ends <= now; });
  for (const auto& [s, r] : x.revoked) x.owner->restore_revocation(id(s), r.name, r.ends - now, now);
  std::vector<SessionNumber> open;
  for (auto& [s, k] : x.kernel) {
    if (k.state == Kernel::State::established) open.push_back(s);
    if (k.state == Kernel::State::half_open) k = {};  // its next SYN/ACK would insert it; the client dials again
  }
  std::sort(open.begin(), open.end());
  for (SessionNumber s : open) {
    for (Observer* o : observers_) o->on_insert({m}, s);
    x.owner->insert({.id = id(s), .established = true, .bucket_bytes = options_.bucket_bytes}, now);
  }
  drain_member(m);
}

// Keep-alives both ways.
void World::beat(uint32_t m) {
  Member& x = members_[m];
  if (!x.owner) return;
  const NodeId self = NodeId::member({m});
  const double loss = network_.options().loss;
  for (uint32_t p = 1; p <= last_proxy(); ++p) {
    Proxy& proxy = proxies_[p];
    const NodeId other = NodeId::proxy({p});
    if (!proxy.node || proxy.paused || !network_.reaches(self, other) || (loss > 0 && rng_.chance(loss))) continue;
    proxy.node->on_member_heard({m}, enter(proxy.clock));
    if (network_.reaches(other, self)) x.heard[p] = now_;
  }
}

// --- the directory ---

void World::member_takes(uint32_t m, Datagram& d) {
  Member& x = members_[m];
  x.heard[d.from.number()] = now_;
  if (d.bytes.empty())
    return member_packet(m, d.packet, d.packet.ingress != 0 ? ProxyId{d.packet.ingress} : d.from.as_proxy());
  x.owner->on_message(d.from, d.bytes, enter(x.clock));
  drain_member(m);
}

void World::drain_member(uint32_t m) {
  Member& x = members_[m];
  for (OwnerEvent e; x.owner->next_event(e);) on_owner_event(m, e);
  for (DirectoryOutput o; x.owner->next_output(o);) {
    note_bucket(m, o.message);
    send(NodeId::member({m}), o.to, std::move(o.message));
  }
  schedule_member(m);
}

// An insert gives a bucket, and one that is tried again under a new version a new one.
void World::note_bucket(uint32_t m, Bytes message) {
  const auto decoded = decode(message);
  const auto* insert = decoded ? std::get_if<Insert>(&decoded->body) : nullptr;
  if (!insert) return;
  const SessionNumber s = number(session_key(insert->id, secret_));
  const std::pair bucket{insert->version.incarnation, insert->bucket_counter};
  if (!members_[m].buckets[s].insert(bucket).second) return;
  for (Observer* o : observers_) o->on_bucket(s, insert->bucket_bytes);
}

void World::schedule_member(uint32_t m) {
  Member& x = members_[m];
  const Instant due = x.clock.global(x.owner->next_deadline());
  if (due == Instant::max() || due >= x.wakes) return;
  x.wakes = std::max(due, now_);
  push(Event::Kind::wake_member, m, x.wakes);
}

void World::on_owner_event(uint32_t m, const OwnerEvent& e) {
  Member& x = members_[m];
  const SessionNumber s = e.kind == OwnerEvent::Kind::raised ? 0 : number(session_key(e.id, secret_));
  const bool own_conflict = e.kind == OwnerEvent::Kind::conflict && e.record && e.record->owner == NodeId::member({m});
  const bool tombstone =
      e.kind == OwnerEvent::Kind::revoked || (own_conflict && e.record->state == RecordState::revoked);
  switch (e.kind) {
    case OwnerEvent::Kind::conflict: {
      // The client's SYN goes to the owner, whose kernel can say what it means there.
      const Kernel* k = find_kernel(m, s);
      if (k && k->state == Kernel::State::half_open && e.record && !is_tombstone(e.record->state) &&
          e.record->target == Target::member && e.record->member.value != m)
        send_packet(NodeId::proxy(k->ingress), NodeId::member(e.record->member),
                    {.session = s, .connection = k->connection, .syn = true, .forwarded = true}, false);
      destroy_socket(m, s, e.kind);
      break;
    }
    case OwnerEvent::Kind::revoked:
    case OwnerEvent::Kind::superseded: destroy_socket(m, s, e.kind); break;
    case OwnerEvent::Kind::lifted: x.revoked.erase(s); break;
    case OwnerEvent::Kind::raised: x.incarnation = x.owner->incarnation(); break;
    case OwnerEvent::Kind::inserted:
      if (auto k = x.kernel.find(s); k != x.kernel.end()) k->second.held = true;
      break;
    default: break;
  }
  if (tombstone) {
    const uint64_t name = own_conflict ? e.record->version.counter : x.owner->revocation_name(e.id);
    x.revoked[s] = {x.clock.local(now_) + std::chrono::milliseconds(e.remaining_ms), name};
  }
  for (Observer* o : observers_) o->on_owner_event({m}, s, e);
  if (keeps_owner_events_) x.events.push_back(e);
}

void World::destroy_socket(uint32_t m, SessionNumber s, OwnerEvent::Kind why) {
  auto k = members_[m].kernel.find(s);
  if (k == members_[m].kernel.end() || k->second.state == Kernel::State::none) return;
  for (Observer* o : observers_) o->on_socket_destroyed({m}, s, why);
  members_[m].kernel.erase(k);
}

void World::insert(uint32_t m, SessionNumber s) {
  Member& x = members_[m];
  const Kernel& k = x.kernel[s];
  const uint32_t words[] = {m, s, k.connection};
  uint8_t packet[sizeof words];
  std::memcpy(packet, words, sizeof words);
  for (Observer* o : observers_) o->on_insert({m}, s);
  x.owner->insert(
      {.id = id(s), .born_new = true, .ingress = k.ingress, .packet = packet, .bucket_bytes = options_.bucket_bytes},
      enter(x.clock));
  drain_member(m);
}

// --- packets ---

const World::Kernel* World::find_kernel(uint32_t m, SessionNumber s) const {
  auto k = members_[m].kernel.find(s);
  return k == members_[m].kernel.end() ? nullptr : &k->second;
}

void World::member_packet(uint32_t m, const Packet& packet, ProxyId ingress) {
  Member& x = members_[m];
  const SessionNumber s = packet.session;
  if (x.owner->is_revoked(id(s))) return;
  auto at = x.kernel.find(s);
  using State = Kernel::State;
  if (packet.syn) {
    for (Observer* o : observers_) o->on_kernel({m}, packet);
    if (at != x.kernel.end() && at->second.state == State::established) {
      // A challenge ACK. A client that has begun anew answers it with a reset, and its next SYN finds no socket.
      if (packet.connection > at->second.connection) close(s, m);
      return;
    }
    Kernel& k = x.kernel[s];
    if (k.state == State::half_open && k.connection != packet.connection) return;
    if (k.state == State::none) {
      k = {.state = State::half_open, .connection = packet.connection, .ingress = ingress, .born = now_};
      after(kSynAckFirst, [this, m, s, born = now_] { retransmit(m, s, born); });
    }
    k.ingress = ingress;
    return insert(m, s);
  }
  // Only what is ours reaches the kernel; of a half-open session, once it is held.
  const bool completes = at != x.kernel.end() && at->second.state == State::half_open &&
                         at->second.connection == packet.connection && client(s).open == MemberId{m};
  const bool ours = at != x.kernel.end() && (at->second.state == State::established || at->second.held || completes);
  if (!ours) {
    if (!packet.forwarded) return send_packet(NodeId::member({m}), NodeId::proxy(ingress), packet, true);
    // The directory says that it is ours, and it is not.
    Instant& last = x.removed[s];
    if (x.owner->owns(id(s)) || now_ - last < kRemoveAgain) return;
    last = now_;
    x.owner->remove(id(s), enter(x.clock));
    return drain_member(m);
  }
  for (Observer* o : observers_) o->on_kernel({m}, packet);
  Kernel& k = at->second;
  if (k.connection != packet.connection) return;
  if (packet.met_nothing != Instant{}) asked_.delays.push_back(now_ - packet.met_nothing);
  asked_.overtaken += packet.number < k.newest;
  k.newest = std::max(k.newest, packet.number);
  k.ingress = ingress;
  if (!completes) return;
  k.state = State::established;
  k.held = true;
  x.owner->establish(id(s), enter(x.clock));
  drain_member(m);
}

void World::retransmit(uint32_t m, SessionNumber s, Instant born) {
  Member& x = members_[m];
  auto at = x.kernel.find(s);
  if (!x.owner || at == x.kernel.end() || at->second.state != Kernel::State::half_open || at->second.born != born)
    return;
  if (++at->second.retransmits > kSynAckRetransmits) {
    x.kernel.erase(at);
    return;
  }
  after(kSynAckFirst * (1 << at->second.retransmits), [this, m, s, born] { retransmit(m, s, born); });
  insert(m, s);
}

// --- what its kernel, its application and its operator do ---

void World::close(SessionNumber s, uint32_t m) {
  Member& x = members_[m];
  Client& c = client(s);
  if (c.open == MemberId{m}) c.open.reset();
  x.kernel.erase(s);
  if (!x.owner) return;
  for (Observer* o : observers_) o->on_close({m}, s);
  x.owner->close(id(s), enter(x.clock));
  drain_member(m);
}

uint32_t World::revoke(SessionNumber s, uint32_t m, Duration duration) {
  Member& x = members_[m];
  key(s);
  for (Observer* o : observers_) o->on_revoke({m}, s);
  destroy_socket(m, s, OwnerEvent::Kind::revoked);
  const Instant now = enter(x.clock);
  const uint32_t request = x.owner->revoke(id(s), duration, now);
  x.revoked[s] = {now + duration, x.owner->revocation_name(id(s))};
  drain_member(m);
  return request;
}

void World::unrevoke(SessionNumber s, uint32_t m) {
  Member& x = members_[m];
  for (Observer* o : observers_) o->on_unrevoke({m}, s);
  x.revoked.erase(s);
  x.owner->unrevoke(id(s), enter(x.clock));
  drain_member(m);
}

void World::set_bucket(SessionNumber s, uint32_t m, uint64_t bytes) {
  Member& x = members_[m];
  if (!owns(m, s)) return;
  for (Observer* o : observers_) o->on_bucket(s, bytes);
  x.owner->set_bucket(id(s), bytes, enter(x.clock));
  for (const Owner::Listed& l : x.owner->list())
    if (l.id == id(s)) x.buckets[s].insert({l.version.incarnation, l.bucket_counter});
  drain_member(m);
}

}  // namespace statecast::sim
