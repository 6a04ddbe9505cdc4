// SPDX-License-Identifier: BSD-3-Clause
#include "tests/directory/sim_world.h"

#include <algorithm>
#include <cstdlib>

namespace statecast::test {

namespace {

constexpr GroupId kGroup{10};
constexpr Duration kBeat = 250ms;          // members' keep-alives, and kernels look at their SYN/ACKs
constexpr Duration kNegativeLife = 250ms;  // design, "Miss"
constexpr Duration kSynAckFirst = 1s;      // the kernel's retransmission, doubled each time
constexpr int kSynAckRetransmits = 4;
constexpr size_t kHeldPackets = 4;

uint64_t microseconds(Instant t) {
  return static_cast<uint64_t>(t.time_since_epoch() / 1us);
}

}  // namespace

SimWorld::SimWorld(SimOptions options) : options_(options), rng_(options.seed), next_beat_(now_) {
  for (size_t i = 0; i < secret_.raw.size(); ++i) secret_.raw[i] = static_cast<uint8_t>(i + 1);
  std::vector<ViewNode> nodes;
  for (uint32_t p = 1; p <= options_.proxies; ++p) nodes.push_back({{p}, "zone" + std::to_string(p)});
  view_ = View({.replicas = options_.replicas, .writes = options_.writes}, nodes);
  auto clock = [&] {
    Clock c;
    if (options_.clock_drift) c.rate = 1 + (rng_.unit() * 2 - 1) * 200e-6;
    c.ahead = std::chrono::milliseconds(rng_.below(100'000'000));
    return c;
  };
  for (uint32_t p = 1; p <= options_.proxies; ++p) proxies_[p].clock = clock();
  for (uint32_t p = 1; p <= options_.proxies; ++p) restart(p);
  for (uint32_t m = 1; m <= options_.members; ++m) {
    members_[m].clock = clock();
    members_[m].incarnation = 0;
    restart_member(m);
  }
}

SessionId SimWorld::id(SessionNumber s) const {
  const uint8_t client[] = {198, 51, 100, 7}, server[] = {203, 0, 113, 10};
  SessionId out = SessionId::tuple(kGroup, Protocol::tcp, {IpAddress::v4(client), {s}}, {IpAddress::v4(server), {443}});
  numbers_.emplace(session_key(out, secret_), s);
  return out;
}

SessionNumber SimWorld::number(const SessionKey& k) const {
  return numbers_.at(k);
}

Stamp SimWorld::stamp_of(uint32_t p) const {
  const Proxy& x = proxies_.at(p);
  return {x.boot, microseconds(x.clock.local(now_))};
}

// --- proxies ---

void SimWorld::crash(uint32_t p) {
  Proxy& x = proxies_[p];
  Clock clock = x.clock;
  x = {};
  x.clock = clock;
}

void SimWorld::restart(uint32_t p) {
  crash(p);
  Proxy& x = proxies_[p];
  x.boot = static_cast<uint32_t>(rng_.between(1, UINT32_MAX));
  DirectoryGroup group{
      .id = kGroup, .secret = secret_, .partition_available = options_.partition_available, .grant_bytes_max = 1000};
  if (options_.bucket_bytes == kUnlimitedBytes) group.grant_bytes_max = kUnlimitedBytes;
  for (uint32_t m = 1; m <= options_.members; ++m) group.members.push_back({m});
  const ProxyId self{p};
  x.node = std::make_unique<Node>(
      NodeOptions{.self = self,
                  .view = view_,
                  .groups = {group},
                  .seed = rng_.next(),
                  .newest_stamp =
                      [this, p](ProxyId of, Instant at) {
                        Proxy& here = proxies_.at(p);
                        return of.value == p ? Stamp{here.boot, microseconds(at)} : here.stamps[of];
                      }},
      local(p));
  x.querier = std::make_unique<Querier>(
      QuerierOptions{.self = self,
                     .view = view_,
                     .boot = x.boot,
                     .timestamp_us = microseconds,
                     .partition_available = [this](GroupId) { return options_.partition_available; }},
      rng_.next());
  drain_proxy(p);
}

bool SimWorld::in_sync() {
  for (auto& [p, x] : proxies_) {
    if (!x.node) continue;
    NodeStatus status = x.node->status(local(p));
    if (!status.in_sync) return false;
    for (auto& peer : status.peers)
      if (up(peer.id.value) && !peer.permit) return false;
  }
  return true;
}

const SimCacheEntry* SimWorld::cached(uint32_t p, SessionNumber s) const {
  const Proxy& x = proxies_.at(p);
  auto at = x.cache.find(key(s));
  return at == x.cache.end() || at->second.ends <= x.clock.local(now_) ? nullptr : &at->second;
}

std::optional<CacheEvent> SimWorld::last_event(uint32_t p, SessionNumber s) const {
  auto at = proxies_.at(p).last.find(key(s));
  if (at == proxies_.at(p).last.end()) return std::nullopt;
  return at->second;
}

void SimWorld::apply(uint32_t p, const CacheEvent& e) {
  Proxy& x = proxies_[p];
  const SessionNumber s = number(e.key);
  for (SimObserver* o : observers_) o->on_cache_event({p}, s, e);
  if (e.kind != CacheEvent::Kind::packet) x.last[e.key] = e;
  auto at = x.cache.find(e.key);
  const bool known = at != x.cache.end() && !at->second.negative;
  switch (e.kind) {
    case CacheEvent::Kind::lease: {
      if (known && at->second.version > e.version && at->second.ends > local(p)) break;
      SimCacheEntry& entry = x.cache[e.key];
      // What is left of the lease before this one stays; what comes is added.
      bool renews = known && entry.member == e.member && entry.ends > local(p);
      uint64_t left = renews ? entry.bytes_left : 0;
      bool unlimited = e.lease_bytes == kUnlimitedBytes || left == kUnlimitedBytes;
      entry = {.target = e.target,
               .member = e.member,
               .version = e.version,
               .ends = e.lease_ends,
               .bytes_left = unlimited ? kUnlimitedBytes : left + e.lease_bytes};
      break;
    }
    case CacheEvent::Kind::tombstone:
      x.cache[e.key] = {.target = Target::drop, .version = e.version, .ends = e.lease_ends};
      break;
    case CacheEvent::Kind::none:
      x.cache[e.key] = {.target = Target::drop, .negative = true, .ends = local(p) + kNegativeLife};
      break;
    case CacheEvent::Kind::purge:
      if (known && at->second.version <= e.version) x.cache.erase(at);
      break;
    case CacheEvent::Kind::packet: {
      if (e.packet.size() != 3) std::abort();
      const MemberId member{e.packet[0]};
      Client& c = clients_[s];
      if (!c.open) c.open = member;
      break;
    }
    case CacheEvent::Kind::no_bytes:
    case CacheEvent::Kind::unavailable:
    case CacheEvent::Kind::unanswered: break;
  }
  // The packets that waited.
  auto held = x.held.find(e.key);
  if (held == x.held.end() || e.kind == CacheEvent::Kind::packet || e.kind == CacheEvent::Kind::purge) return;
  std::vector<uint64_t> sizes = std::move(held->second);
  x.held.erase(held);
  at = x.cache.find(e.key);
  if (e.kind != CacheEvent::Kind::lease || at == x.cache.end()) return;
  for (uint64_t bytes : sizes) pass(p, s, at->second, bytes);
}

bool SimWorld::pass(uint32_t p, SessionNumber s, SimCacheEntry& e, uint64_t bytes) {
  if (e.target != Target::member || e.bytes_left < bytes) return false;
  if (e.bytes_left != kUnlimitedBytes) e.bytes_left -= bytes;
  for (SimObserver* o : observers_) o->on_passed({p}, s, e.member, bytes);
  to_member(e.member.value, s, {p}, false);
  return true;
}

void SimWorld::drain_proxy(uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.node) return;
  for (CacheEvent e; x.querier->next_event(e);) apply(p, e);
  DirectoryOutput o;
  while (x.querier->next_output(o) || x.node->next_output(o)) send(NodeId::proxy({p}), o.to, std::move(o.message));
}

// --- clients ---

void SimWorld::syn(SessionNumber s, uint32_t p, uint32_t member) {
  if (!up(p)) return;
  if (const SimCacheEntry* e = cached(p, s); e && !e->negative) {
    if (e->target != Target::member) return;
    member = e->member.value;
  }
  to_member(member, s, {p}, true);
}

void SimWorld::data(SessionNumber s, uint32_t p, uint64_t bytes) {
  if (!up(p)) return;
  Proxy& x = proxies_[p];
  const SessionKey k = key(s);
  auto at = x.cache.find(k);
  if (at != x.cache.end() && at->second.ends > local(p)) {
    if (at->second.target != Target::member) return;
    if (pass(p, s, at->second, bytes)) return;
  }
  auto& held = x.held[k];
  if (held.size() < kHeldPackets) held.push_back(bytes);
  x.querier->ask(k, kGroup, local(p));
  drain_proxy(p);
}

void SimWorld::ask(SessionNumber s, uint32_t p) {
  if (!up(p)) return;
  proxies_[p].last.erase(key(s));
  proxies_[p].querier->ask(key(s), kGroup, local(p));
  drain_proxy(p);
}

// --- members ---

void SimWorld::restart_member(uint32_t m) {
  Member& x = members_[m];
  x.owner =
      std::make_unique<Owner>(OwnerOptions{.self = {m}, .incarnation = ++x.incarnation, .view = view_}, rng_.next());
  x.events.clear();
  for (SimObserver* o : observers_) o->on_member_restart({m});
  for (auto& [s, k] : x.kernel) {
    if (k.state != Kernel::State::established) {
      k = {};
      continue;
    }
    for (SimObserver* o : observers_) o->on_bucket(s, options_.bucket_bytes);
    x.owner->insert({.id = id(s), .established = true, .bucket_bytes = options_.bucket_bytes}, x.clock.local(now_));
  }
  drain_member(m);
}

void SimWorld::insert(uint32_t m, SessionNumber s) {
  Member& x = members_[m];
  Kernel& k = x.kernel[s];
  const uint8_t packet[] = {static_cast<uint8_t>(m), static_cast<uint8_t>(s >> 8), static_cast<uint8_t>(s)};
  if (!x.owner->owns(id(s)))
    for (SimObserver* o : observers_) o->on_bucket(s, options_.bucket_bytes);
  x.owner->insert(
      {.id = id(s), .born_new = true, .ingress = k.ingress, .packet = packet, .bucket_bytes = options_.bucket_bytes},
      x.clock.local(now_));
  drain_member(m);
}

void SimWorld::to_member(uint32_t m, SessionNumber s, ProxyId ingress, bool is_syn) {
  Member& x = members_[m];
  Kernel& k = x.kernel[s];
  if (x.owner->is_revoked(id(s))) return;
  if (is_syn) {
    if (k.state == Kernel::State::established) return;
    if (k.state == Kernel::State::none) k = {Kernel::State::half_open, now_ + kSynAckFirst, 0, ingress, now_};
    k.ingress = ingress;
    return insert(m, s);
  }
  if (k.state != Kernel::State::half_open || clients_[s].open != MemberId{m}) return;
  k.state = Kernel::State::established;
  x.owner->establish(id(s), x.clock.local(now_));
  drain_member(m);
}

void SimWorld::close(SessionNumber s, uint32_t m) {
  members_[m].kernel[s] = {};
  if (clients_[s].open == MemberId{m}) clients_[s] = {};
  members_[m].owner->close(id(s), members_[m].clock.local(now_));
  drain_member(m);
}

uint32_t SimWorld::revoke(SessionNumber s, uint32_t m, Duration duration) {
  members_[m].kernel[s] = {};
  uint32_t request = members_[m].owner->revoke(id(s), duration, members_[m].clock.local(now_));
  drain_member(m);
  return request;
}

void SimWorld::set_bucket(SessionNumber s, uint32_t m, uint64_t bytes) {
  if (!members_[m].owner->owns(id(s))) return;
  for (SimObserver* o : observers_) o->on_bucket(s, bytes);
  members_[m].owner->set_bucket(id(s), bytes, members_[m].clock.local(now_));
  drain_member(m);
}

void SimWorld::drain_member(uint32_t m) {
  Member& x = members_[m];
  for (OwnerEvent e; x.owner->next_event(e);) {
    const SessionNumber s = number(session_key(e.id, secret_));
    switch (e.kind) {
      case OwnerEvent::Kind::conflict:
      case OwnerEvent::Kind::revoked:
      case OwnerEvent::Kind::superseded: x.kernel[s] = {}; break;
      case OwnerEvent::Kind::raised: x.incarnation = x.owner->incarnation(); break;
      default: break;
    }
    for (SimObserver* o : observers_) o->on_owner_event({m}, s, e);
    x.events.push_back(std::move(e));
  }
  for (DirectoryOutput o; x.owner->next_output(o);) send(NodeId::member({m}), o.to, std::move(o.message));
}

// --- network and time ---

void SimWorld::send(NodeId from, NodeId to, std::vector<uint8_t> bytes) {
  if (bytes.empty()) std::abort();  // out of bounds: a bug of the sender's
  const uint32_t to_boot = to.is_proxy() ? proxies_.at(to.number()).boot : 0;
  const Stamp stamp = from.is_proxy() ? stamp_of(from.number()) : Stamp{};
  if (from == to) return network_.push({now_, ++order_, from, to, std::move(bytes), stamp, to_boot});
  if (from.is_proxy() && to.is_proxy() && isolated_.contains(from.number()) != isolated_.contains(to.number())) return;
  for (int copies = rng_.chance(options_.duplicate) ? 2 : 1; copies > 0; --copies) {
    if (rng_.chance(options_.loss)) continue;
    Duration span = options_.delay_max - options_.delay_min;
    Duration delay = options_.delay_min + Duration(rng_.below(static_cast<uint64_t>(span.count()) + 1));
    if (rng_.chance(options_.loss / 4)) delay += std::chrono::milliseconds(rng_.below(300));  // a queue somewhere
    network_.push({now_ + delay, ++order_, from, to, bytes, stamp, to_boot});
  }
}

void SimWorld::deliver(const Datagram& d) {
  if (d.to.is_member()) {
    Member& x = members_.at(d.to.number());
    x.owner->on_message(d.from, d.bytes, x.clock.local(now_));
    return drain_member(d.to.number());
  }
  const uint32_t p = d.to.number();
  Proxy& x = proxies_.at(p);
  if (!x.node || d.to_boot != x.boot) return;
  if (d.from.is_proxy() && d.from != d.to) {
    if (d.stamp.boot != proxies_.at(d.from.number()).boot) return;  // sealed before its sender's restart
    Stamp& newest = x.stamps[d.from.as_proxy()];
    if (newest.boot != d.stamp.boot || newest.timestamp_us < d.stamp.timestamp_us) newest = d.stamp;
  }
  if (d.from.is_member()) x.node->on_member_heard(d.from.as_member(), local(p));
  if (!x.querier->on_message(d.from, d.bytes, local(p))) x.node->on_message(d.from, d.bytes, local(p));
  drain_proxy(p);
}

Instant SimWorld::next() const {
  Instant t = next_beat_;
  if (!network_.empty()) t = std::min(t, network_.top().at);
  for (auto& [p, x] : proxies_)
    if (x.node) t = std::min(t, x.clock.global(std::min(x.node->next_deadline(), x.querier->next_deadline())));
  for (auto& [m, x] : members_) t = std::min(t, x.clock.global(x.owner->next_deadline()));
  return std::max(t, now_);
}

void SimWorld::timers() {
  for (auto& [p, x] : proxies_) {
    if (!x.node) continue;
    x.node->on_deadline(local(p));
    x.querier->on_deadline(local(p));
    drain_proxy(p);
  }
  for (auto& [m, x] : members_) {
    x.owner->on_deadline(x.clock.local(now_));
    drain_member(m);
  }
  if (next_beat_ > now_) return;
  next_beat_ = now_ + kBeat;
  for (auto& [m, x] : members_) {
    for (auto& [p, proxy] : proxies_)
      if (proxy.node && !rng_.chance(options_.loss)) {
        proxy.node->on_member_heard({m}, local(p));
        drain_proxy(p);
      }
    for (auto& [s, k] : x.kernel) {
      if (k.state != Kernel::State::half_open || k.retransmit > now_) continue;
      if (++k.retransmits > kSynAckRetransmits) {
        k = {};
      } else {
        k.retransmit = now_ + kSynAckFirst * (1 << k.retransmits);
        insert(m, s);
      }
    }
  }
}

void SimWorld::run(Duration d) {
  const Instant until = now_ + d;
  for (Instant t = next(); t <= until; t = next()) {
    now_ = t;
    while (!network_.empty() && network_.top().at <= now_) {
      Datagram g = network_.top();
      network_.pop();
      deliver(g);
    }
    timers();
  }
  now_ = until;
}

}  // namespace statecast::test
