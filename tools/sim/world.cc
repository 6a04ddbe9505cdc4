// SPDX-License-Identifier: BSD-3-Clause
// Time and the network: one heap of events; a datagram's delay is the Network's affair, its taking the machines'.
#include "tools/sim/world.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "directory/broken.h"

namespace statecast::sim {

namespace {
constexpr GroupId kGroup{10};
constexpr Duration kBeat = 500ms;  // members' keep-alives
constexpr Duration kSweep = 10s;   // of a proxy's cache

ViewNode view_node(uint32_t p) {
  return {ProxyId{p}, "zone" + std::to_string(p)};
}
}  // namespace

const char* to_string(ProxyChange c) {
  switch (c) {
    case ProxyChange::crashed: return "crashes";
    case ProxyChange::stopped: return "stops";
    case ProxyChange::started: return "starts";
    case ProxyChange::paused: return "pauses";
    case ProxyChange::resumed: return "resumes";
    case ProxyChange::told_view: return "takes the next view";
  }
  return "unknown";
}

World::World(WorldOptions options)
    : options_(options), rng_(options.seed), network_(options.network, rng_), traffic_(256) {
  for (size_t i = 0; i < secret_.raw.size(); ++i) secret_.raw[i] = static_cast<uint8_t>(i + 1);
  std::vector<ViewNode> first, all;
  const uint32_t last = options_.proxies + options_.spares;
  for (uint32_t p = 1; p <= last; ++p) {
    all.push_back(view_node(p));
    if (p <= options_.proxies) first.push_back(view_node(p));
  }
  const ViewOptions shape{.replicas = options_.replicas, .writes = options_.writes};
  views_ = {View(shape, first)};
  everybody_ = last == options_.proxies ? views_.front() : View(shape, all);
  auto clock = [&] {
    Clock c;
    if (options_.clock_drift) c.rate = 1 + (rng_.unit() * 2 - 1) * 200e-6;
    c.ahead = std::chrono::milliseconds(rng_.below(100'000'000));
    c.wall = -c.ahead;
    return c;
  };
  proxies_.resize(last + 1);
  members_.resize(options_.members + 1);
  for (uint32_t p = 1; p <= last; ++p) proxies_[p].clock = clock();
  for (uint32_t m = 1; m <= options_.members; ++m) members_[m].clock = clock();
  for (uint32_t p = 1; p <= options_.proxies; ++p) start(p);
  for (uint32_t m = 1; m <= options_.members; ++m) {
    start_member(m);
    push(Event::Kind::beat, m, now_ + Duration(static_cast<int64_t>(rng_.below(uint64_t(Duration(kBeat).count())))));
  }
  for (uint32_t p = 1; p <= last; ++p) push(Event::Kind::sweep, p, now_ + kSweep);
}

IpAddress World::client_address(SessionNumber s) const {
  const uint32_t host = s / options_.ports_per_client;
  const uint8_t client[] = {100, 64, static_cast<uint8_t>(host >> 8), static_cast<uint8_t>(host)};
  return IpAddress::v4(client);
}

SessionId World::id(SessionNumber s) const {
  const uint8_t server[] = {203, 0, 113, 10};
  const auto port = static_cast<uint16_t>(1'024 + s % options_.ports_per_client);
  return SessionId::tuple(kGroup, Protocol::tcp, {client_address(s), {port}}, {IpAddress::v4(server), {443}});
}

const SessionKey& World::key(SessionNumber s) const {
  while (keys_.size() <= s) {
    const auto next = static_cast<SessionNumber>(keys_.size());
    keys_.push_back(session_key(id(next), secret_));
    numbers_.emplace(keys_.back(), next);
  }
  return keys_[s];
}

World::Client& World::client(SessionNumber s) {
  key(s);
  if (clients_.size() <= s) clients_.resize(std::max<size_t>(s + 1, 2 * clients_.size()));
  return clients_[s];
}

// What the machine's clocks say while it runs.
Instant World::enter(const Clock& c) const {
  set_wall_clock(c.wall);
  return c.local(now_);
}

void World::step_wall_clock(NodeId who, Duration by) {
  Clock& c = who.is_proxy() ? proxies_[who.number()].clock : members_[who.number()].clock;
  c.wall += by;
  tell_fault(to_string(who) + "'s wall clock steps by " + std::to_string(to_ms(by)) + " ms");
}

// --- views ---

void World::next_view(const std::set<uint32_t>& nodes) {
  std::vector<ViewNode> all;
  std::string names;
  for (uint32_t p : nodes) {
    all.push_back(view_node(p));
    names += " p" + std::to_string(p);
  }
  views_.push_back(
      View({.revision = view().id().revision + 1, .replicas = options_.replicas, .writes = options_.writes},
           std::move(all)));
  tell_fault("view " + std::to_string(view().id().revision) + ":" + names);
}

void World::isolate(uint32_t proxy) {
  const NodeId self = NodeId::proxy({proxy});
  for (uint32_t p = 1; p <= last_proxy(); ++p) {
    if (p == proxy) continue;
    network_.cut(self, NodeId::proxy({p}));
    network_.cut(NodeId::proxy({p}), self);
  }
}

bool World::in_sync() {
  for (uint32_t p = 1; p <= last_proxy(); ++p) {
    if (!up(p) || !in_view(p)) continue;
    NodeStatus status = node(p).status(local(p));
    if (!status.in_sync || status.view != view().id()) return false;
    for (const auto& peer : status.peers)
      if (up(peer.id.value) && !peer.permit) return false;
  }
  return true;
}

// --- the network ---

void World::send(NodeId from, NodeId to, std::vector<uint8_t> bytes) {
  if (bytes.empty()) std::abort();  // out of bounds: a bug of the sender's
  if (to.is_op()) {
    auto m = decode(bytes);
    auto* answer = m ? std::get_if<RequestAnswer>(&m->body) : nullptr;
    auto of = answer ? operator_requests_.find(m->header.request) : operator_requests_.end();
    if (of != operator_requests_.end())
      for (Observer* o : observers_) o->on_operator_answer(of->second, answer->status);
    return;
  }
  Traffic& t = traffic_[bytes[0]];
  ++t.messages;
  t.bytes += bytes.size();
  Datagram d{.from = from, .to = to, .bytes = std::move(bytes)};
  post(std::move(d));
}

void World::send_packet(NodeId from, NodeId to, const Packet& packet, bool not_mine) {
  Datagram d{.from = from, .to = to, .packet = packet, .not_mine = not_mine};
  post(std::move(d));
}

void World::post(Datagram d) {
  const uint32_t from = d.from.number(), to = d.to.number();
  if (d.from.is_proxy()) {
    d.stamp = stamp_of(from);
    d.from_generation = proxies_[from].generation;
  } else {
    d.from_generation = members_[from].generation;
  }
  d.to_generation = d.to.is_proxy() ? proxies_[to].generation : members_[to].generation;
  if (d.from == d.to) return schedule(std::move(d), {});
  const Network::Arrivals arrivals = network_.send(d.from, d.to, rng_);
  if (message_observer_ && !d.bytes.empty()) message_observer_->on_message(d.from, d.to, d.bytes, arrivals.count > 0);
  if (arrivals.count == 2) schedule(d, arrivals.at[1]);
  if (arrivals.count > 0) schedule(std::move(d), arrivals.at[0]);
}

void World::schedule(Datagram d, Duration delay) {
  push(Event::Kind::datagram, datagrams_.put(std::move(d)), now_ + delay);
}

void World::deliver(Datagram d) {
  const uint32_t to = d.to.number(), from = d.from.number();
  if (d.to.is_member()) {
    if (members_[to].owner && d.to_generation == members_[to].generation) member_takes(to, d);
    return;
  }
  Proxy& x = proxies_[to];
  if (!x.node || d.to_generation != x.generation) return;
  if (x.paused) {
    constexpr size_t kSocketBuffer = 2'000;
    if (x.buffered.size() < kSocketBuffer) x.buffered.push_back(std::move(d));
    return;
  }
  // Once an envelope of a sender's new start has verified, those of before do not any more.
  if (d.from != d.to) {
    Newest& newest = d.from.is_proxy() ? x.proxies[from] : x.members[from];
    if (d.from_generation < newest.generation) return;
    if (d.from_generation > newest.generation) newest = {d.from_generation, {}};
    if (newest.stamp.boot != d.stamp.boot || newest.stamp.timestamp_us < d.stamp.timestamp_us) newest.stamp = d.stamp;
  }
  proxy_takes(to, d);
}

// --- time ---

void World::push(Event::Kind kind, uint32_t index, Instant when) {
  events_.push_back({kind, index, std::max(when, now_), ++order_});
  std::push_heap(events_.begin(), events_.end());
}

void World::at(Instant when, std::function<void()> what) {
  push(Event::Kind::call, calls_.put(std::move(what)), when);
}

void World::happen(const Event& e) {
  switch (e.kind) {
    case Event::Kind::datagram: {
      return deliver(datagrams_.take(e.index));
    }
    case Event::Kind::wake_proxy: {
      Proxy& x = proxies_[e.index];
      if (e.at != x.wakes) return;  // one that is sooner, or of before a restart
      x.wakes = Instant::max();
      if (!x.node || x.paused) return;
      const Instant now = enter(x.clock);
      x.node->on_deadline(now);
      x.querier->on_deadline(now);
      if (x.gate) x.gate->summaries.on_deadline(now);
      return drain_proxy(e.index);
    }
    case Event::Kind::wake_member: {
      Member& x = members_[e.index];
      if (e.at != x.wakes) return;
      x.wakes = Instant::max();
      if (!x.owner) return;
      x.owner->on_deadline(enter(x.clock));
      return drain_member(e.index);
    }
    case Event::Kind::beat: beat(e.index); return push(Event::Kind::beat, e.index, now_ + kBeat);
    case Event::Kind::sweep:
      if (Proxy& x = proxies_[e.index]; x.cache && !x.paused) x.cache->sweep(x.cache->slots(), local(e.index));
      return push(Event::Kind::sweep, e.index, now_ + kSweep);
    case Event::Kind::call: return calls_.take(e.index)();
  }
}

void World::run(Duration d) {
  const Instant until = now_ + d;
  while (!events_.empty() && events_.front().at <= until) {
    std::pop_heap(events_.begin(), events_.end());
    const Event e = events_.back();
    events_.pop_back();
    now_ = e.at;
    happen(e);
  }
  now_ = until;
}

}  // namespace statecast::sim
