// SPDX-License-Identifier: BSD-3-Clause
// A proxy: what control/proxy_control.cc and the workers do with node, querier and cache, in the same order.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "control/cache_events.h"
#include "tools/sim/world.h"

namespace statecast::sim {

namespace {
constexpr GroupId kGroup{10};
constexpr Duration kNegativeLife = 250ms;  // design, "Miss"
constexpr size_t kHeldPackets = 4;
constexpr size_t kClientsBuffered = 64;

uint64_t microseconds(Instant t) {
  return static_cast<uint64_t>(t.time_since_epoch() / 1us);
}

// As it travels with a question.
std::vector<uint8_t> bytes_of(const Packet& packet) {
  std::vector<uint8_t> out(std::clamp<size_t>(packet.bytes, sizeof packet, kQueryPacketMax));
  std::memcpy(out.data(), &packet, sizeof packet);
  return out;
}
Packet packet_of(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<Packet>);
  Packet packet;
  if (bytes.size() < sizeof packet) std::abort();
  std::memcpy(static_cast<void*>(&packet), bytes.data(), sizeof packet);
  return packet;
}

}  // namespace

World::Gate::Gate(ProxyId self, const View& view, uint64_t seed)
    : summaries(self, view), layout{.groups = {Group{}}}, gate(layout, 1, pressure, seed) {}

Stamp World::stamp_of(uint32_t p) const {
  const Proxy& x = proxies_[p];
  return {x.boot, microseconds(x.clock.local(now_))};
}

void World::proxy_changed(uint32_t p, ProxyChange change) {
  for (Observer* o : observers_) o->on_proxy({p}, change);
}

void World::take_down(uint32_t p, ProxyChange how) {
  Proxy& x = proxies_[p];
  if (!x.node) return;
  const Clock clock = x.clock;
  const uint32_t generation = x.generation;
  x = {};
  x.clock = clock;
  x.generation = generation;
  proxy_changed(p, how);
}

void World::start(uint32_t p) {
  Proxy& x = proxies_[p];
  ++x.generation;
  x.boot = static_cast<uint32_t>(rng_.between(1, UINT32_MAX));
  x.proxies.assign(proxies_.size(), {});
  x.members.assign(members_.size(), {});
  x.told = views_.size() - 1;
  DirectoryGroup group{
      .id = kGroup, .secret = secret_, .partition_available = options_.partition_available, .grant_bytes_max = 1000};
  if (options_.bucket_bytes == kUnlimitedBytes) group.grant_bytes_max = kUnlimitedBytes;
  for (uint32_t m = 1; m <= options_.members; ++m) group.members.push_back({m});
  const ProxyId self{p};
  const Instant now = enter(x.clock);
  x.node = std::make_unique<Node>(
      NodeOptions{.self = self,
                  .view = view(),
                  .groups = {group},
                  .seed = rng_.next(),
                  .newest_stamp =
                      [this, p](ProxyId of, Instant at) {
                        Proxy& here = proxies_[p];
                        return of.value == p ? Stamp{here.boot, microseconds(at)} : here.proxies[of.value].stamp;
                      },
                  .records_max = options_.records_max},
      now);
  x.querier = std::make_unique<Querier>(
      QuerierOptions{.self = self,
                     .view = view(),
                     .boot = x.boot,
                     .timestamp_us = microseconds,
                     .partition_available = [this](GroupId) { return options_.partition_available; },
                     .reachable = {},
                     .rtt = [this, self](ProxyId to) { return network_.rtt(NodeId::proxy(self), NodeId::proxy(to)); }},
      rng_.next());
  auto cache = SessionCache::create(
      {.sessions = options_.cache_entries, .negative = 1'024, .zero = now - 1s, .seed = rng_.next()});
  if (!cache) std::abort();
  x.cache = std::move(*cache);
  if (options_.gated) x.gate = std::make_unique<Gate>(self, view(), rng_.next());
  proxy_changed(p, ProxyChange::started);
  drain_proxy(p);
}

void World::resume(uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.paused) return;
  x.paused = false;
  proxy_changed(p, ProxyChange::resumed);
  auto datagrams = std::move(x.buffered);
  auto clients = std::move(x.buffered_clients);
  x.buffered.clear();
  x.buffered_clients.clear();
  for (Datagram& d : datagrams) deliver(std::move(d));
  for (const auto& [packet, member] : clients) client_packet(p, packet, member);
  const Instant now = enter(x.clock);
  x.node->on_deadline(now);
  x.querier->on_deadline(now);
  drain_proxy(p);
}

void World::tell(uint32_t p, Telling how) {
  while (!told(p)) {
    Proxy& x = proxies_[p];
    x.told = how == Telling::newest_only ? views_.size() - 1 : x.told + 1;
    if (!x.node) continue;
    const Instant now = enter(x.clock);
    x.node->set_view(views_[x.told], now);
    x.querier->set_view(views_[x.told], now);
    if (x.gate) x.gate->summaries.set_view(views_[x.told], now);
    proxy_changed(p, ProxyChange::told_view);
    drain_proxy(p);
  }
}

std::optional<CacheEntry> World::cached(uint32_t p, SessionNumber s) {
  return proxies_[p].cache->find(key(s), local(p));
}

std::optional<CacheEvent> World::last_event(uint32_t p, SessionNumber s) const {
  auto at = proxies_[p].last.find(key(s));
  if (at == proxies_[p].last.end() || at->second.kind == CacheEvent::Kind::packet) return std::nullopt;
  return at->second;
}

// --- messages ---

void World::proxy_takes(uint32_t p, Datagram& d) {
  Proxy& x = proxies_[p];
  if (d.bytes.empty()) {
    if (d.not_mine) take_back(p, d.packet, d.from.as_member());
    return;
  }
  const Instant now = enter(x.clock);
  if (d.from.is_member()) x.node->on_member_heard(d.from.as_member(), now);
  forget_negative(*x.cache, d.bytes, [this](GroupId g) { return g == kGroup ? &secret_ : nullptr; });
  const bool summary = x.gate && x.gate->summaries.on_message(d.from, d.bytes, now);
  if (!summary && !x.querier->on_message(d.from, d.bytes, now)) x.node->on_message(d.from, d.bytes, now);
  drain_proxy(p);
}

// Events first: an acknowledgement says that the cache has what it is about.
void World::drain_proxy(uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.node) return;
  for (CacheEvent e; x.querier->next_event(e);) apply(p, e);
  for (ForwardedPacket f; x.node->next_forwarded(f);) {
    Packet packet = packet_of(f.packet);
    packet.ingress = f.ingress.value;
    pass(p, packet, f.to);
  }
  DirectoryOutput o;
  auto next = [&] {
    return x.querier->next_output(o) || x.node->next_output(o) || (x.gate && x.gate->summaries.next_output(o));
  };
  while (next()) send(NodeId::proxy({p}), o.to, std::move(o.message));
  if (x.gate && x.gate->summaries.take_changed()) {
    x.gate->map = x.gate->summaries.map();
    x.gate->pressure.absence = x.gate->map.get();
  }
  schedule_proxy(p);
}

void World::schedule_proxy(uint32_t p) {
  Proxy& x = proxies_[p];
  Instant next = std::min(x.node->next_deadline(), x.querier->next_deadline());
  if (x.gate) next = std::min(next, x.gate->summaries.next_deadline());
  const Instant due = x.clock.global(next);
  if (due == Instant::max() || due >= x.wakes) return;
  x.wakes = std::max(due, now_);
  push(Event::Kind::wake_proxy, p, x.wakes);
}

void World::apply(uint32_t p, const CacheEvent& e) {
  Proxy& x = proxies_[p];
  if (!numbers_.contains(e.key)) return apply_to_cache(*x.cache, e, kNegativeLife, local(p));  // nobody's
  const SessionNumber s = number(e.key);
  for (Observer* o : observers_) o->on_cache_event({p}, s, e);
  if (e.kind == CacheEvent::Kind::packet) {
    uint32_t words[3];
    if (e.packet.size() != sizeof words) std::abort();
    std::memcpy(words, e.packet.data(), sizeof words);
    Client& c = client(s);
    if (words[2] != c.connection || !c.dialing) return;  // of a connection that the client has given up
    c.dialing = false;
    c.open = MemberId{words[0]};
    return;
  }
  if (auto last = x.last.find(e.key); last != x.last.end()) last->second = e;
  apply_to_cache(*x.cache, e, kNegativeLife, local(p));
  if (e.kind == CacheEvent::Kind::purge) return;
  std::vector<Packet> packets;
  if (!e.packet.empty()) packets.push_back(packet_of(e.packet));
  if (auto held = x.held.find(e.key); held != x.held.end()) {
    packets.insert(packets.end(), held->second.begin(), held->second.end());
    x.held.erase(held);
  }
  if (e.kind != CacheEvent::Kind::lease) return;
  const Instant now = local(p);
  for (const Packet& packet : packets) {
    CacheHit hit;
    // One that a member handed back has spent its bytes already.
    const uint32_t bytes = packet.forwarded ? 0 : packet.bytes;
    x.cache->lookup(&e.key, &bytes, 1, now, &hit);
    if (hit.verdict == CacheVerdict::forward) pass(p, packet, hit.member);
  }
}

// --- packets ---

void World::pass(uint32_t p, const Packet& packet, MemberId to) {
  for (Observer* o : observers_) o->on_passed({p}, packet, to);
  send_packet(NodeId::proxy({p}), NodeId::member(to), packet, false);
}

void World::hold(uint32_t p, Packet packet) {
  Proxy& x = proxies_[p];
  if (packet.met_nothing == Instant{}) ++asked_.packets, packet.met_nothing = now_;
  const auto [held, first] = x.held.try_emplace(key(packet.session));
  for (Observer* o : observers_) o->on_asked({p}, packet.session);
  const Instant now = enter(x.clock);
  if (first && !packet.forwarded && options_.query_form != QueryForm::query) {
    x.querier->ask(key(packet.session), kGroup, now, {options_.query_form, bytes_of(packet), 0});
  } else {
    if (held->second.size() < kHeldPackets) held->second.push_back(packet);
    x.querier->ask(key(packet.session), kGroup, now);
  }
  drain_proxy(p);
}

// Control and workers watch for a flood, and drop what it brings.
bool World::is_absent(uint32_t p, const SessionKey& k, const IpAddress& source, Instant now) {
  Proxy& x = proxies_[p];
  ++unknown_.met;
  if (!x.gate) return false;
  const bool on = x.gate->meter.update(++x.gate->met, now);
  if (on != x.gate->pressure.on) {
    x.gate->pressure.on = on;
    on ? x.gate->summaries.follow(now) : x.gate->summaries.stop();
    drain_proxy(p);
  }
  if (!x.gate->gate.active() || x.gate->gate.passes(k, 0, source, now)) return false;
  ++unknown_.absent;
  return true;
}

void World::bogus(const SessionKey& k, const IpAddress& source, uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.node || x.paused) return;
  const Instant now = enter(x.clock);
  CacheHit hit;
  const uint32_t bytes = 64;
  x.cache->lookup(&k, &bytes, 1, now, &hit);
  if (hit.verdict == CacheVerdict::negative || is_absent(p, k, source, now)) return;
  x.querier->ask(k, kGroup, now);
  drain_proxy(p);
}

// The design's step `resolve`.
void World::client_packet(uint32_t p, const Packet& packet, uint32_t member) {
  Proxy& x = proxies_[p];
  if (!x.node) return;
  if (x.paused) {
    if (x.buffered_clients.size() < kClientsBuffered) x.buffered_clients.emplace_back(packet, member);
    return;
  }
  const SessionKey& k = key(packet.session);
  const Instant now = enter(x.clock);
  CacheHit hit;
  x.cache->lookup(&k, &packet.bytes, 1, now, &hit);
  bool asks = hit.ask_again && !x.cache->refill(k, now);
  if (x.gate && hit.verdict == CacheVerdict::forward) x.gate->gate.see_proven(client_address(packet.session), now);
  switch (hit.verdict) {
    case CacheVerdict::forward:
    case CacheVerdict::stateless: pass(p, packet, hit.member); break;
    case CacheVerdict::drop: break;
    case CacheVerdict::spent:
      if (!packet.syn && asks) return hold(p, packet);
      break;
    case CacheVerdict::unavailable:
    case CacheVerdict::negative:
      if (packet.syn) pass(p, packet, {member});
      break;
    case CacheVerdict::miss:
    case CacheVerdict::expired:
      if (!packet.syn) {
        if (!is_absent(p, k, client_address(packet.session), now)) hold(p, packet);
        return;
      }
      pass(p, packet, {member});
      break;
  }
  if (!asks) return;
  for (Observer* o : observers_) o->on_asked({p}, packet.session);
  x.querier->ask(k, kGroup, now);
  drain_proxy(p);
}

// A member's `not mine`.
void World::take_back(uint32_t p, const Packet& packet, MemberId from) {
  Proxy& x = proxies_[p];
  const SessionKey& k = key(packet.session);
  const Instant now = enter(x.clock);
  auto entry = x.cache->find(k, now);
  if (entry && entry->target == CacheTarget::member && entry->member == from)
    x.cache->remove_if_not_newer(k, entry->version, now, Tombstones::keep);
  Packet again = packet;
  again.forwarded = true;
  hold(p, again);
}

// --- clients ---

void World::syn(SessionNumber s, uint32_t p, uint32_t member) {
  Client& c = client(s);
  if (!c.dialing) {
    ++c.connection;
    c.dialing = true;
    c.open.reset();
  }
  client_packet(p, {.session = s, .connection = c.connection, .bytes = 60, .syn = true}, member);
}

void World::stray_syn(SessionNumber s, uint32_t p, uint32_t member) {
  key(s);
  client_packet(p, {.session = s, .connection = 0, .bytes = 60, .syn = true}, member);
}

void World::data(SessionNumber s, uint32_t p, uint32_t bytes) {
  Client& c = client(s);
  client_packet(p, {.session = s, .connection = c.connection, .bytes = bytes, .number = ++c.sent}, 0);
}

void World::ask(SessionNumber s, uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.node || x.paused) return;
  x.last[key(s)] = {.kind = CacheEvent::Kind::packet};
  for (Observer* o : observers_) o->on_asked({p}, s);
  x.querier->ask(key(s), kGroup, enter(x.clock));
  drain_proxy(p);
}

void World::revoke_as_operator(SessionNumber s, uint32_t p) {
  Proxy& x = proxies_[p];
  if (!x.node || x.paused) return;
  operator_requests_[++last_request_] = s;
  for (Observer* o : observers_) o->on_revoke({}, s);
  const MessageHeader h{.request = last_request_, .origin = NodeId::op(), .hops = 0, .view = views_[x.told].id()};
  x.node->on_message(
      NodeId::op(),
      encode(h, Revoke{.id = id(s), .key = {}, .group = kGroup, .duration_ms = 600'000, .name = last_request_}),
      enter(x.clock));
  key(s);
  drain_proxy(p);
}

}  // namespace statecast::sim
