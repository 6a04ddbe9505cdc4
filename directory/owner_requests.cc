// SPDX-License-Identifier: BSD-3-Clause
// Every request is a Pending until it is answered: sent to one proxy, after max(100 ms, 2 x RTT) to the next, then with
// back-off. Its number and content stay the same, so that a second copy changes nothing.
#include <algorithm>

#include "directory/owner.h"
#include "directory/record_order.h"

namespace statecast {

namespace {

constexpr Duration kRetryMin = 100ms;  // design, "Functions"
constexpr Duration kBackOffMax = 5s;
constexpr Duration kSilentPoll = 1s;  // stored, not yet silent: asks again, should the answer have been lost
constexpr Duration kRttMax = 5s;      // what is more is not known yet
constexpr Duration kBusyUnit = 50ms;  // design, "Ownership and versions"

}  // namespace

uint32_t Owner::add_request(Pending p, Instant now) {
  do ++next_request_;
  while (next_request_ == 0 || pending_.contains(next_request_));
  if (p.kind != Pending::Kind::refresh) p.view = options_.view.id();
  Pending& stored = pending_.emplace(next_request_, std::move(p)).first->second;
  waiting_ += stored.waits();
  if (auto* i = std::get_if<Insert>(&stored.body); i && !stored.waits()) i->packet = stored.packet;
  send(next_request_, stored, now);
  return next_request_;
}

void Owner::send(uint32_t request, Pending& p, Instant now) {
  // Who has stored a tombstone knows best whether it is silent; others are asked now and then, should it be gone.
  bool stay = p.kind == Pending::Kind::refresh || p.kind == Pending::Kind::digest ||
              (p.stored && p.sends % 3 != 0 && reachable(p.to));
  if (!stay) p.to = choose(p);
  if (auto* r = std::get_if<Revoke>(&p.body)) r->duration_ms = wire_remaining(*p.gives_up, now);
  if (p.sends++ > 0) ++counters_.retries;
  // With nobody in reach it waits; what is sent to nobody costs nothing.
  if (p.to.value != 0) {
    MessageHeader header{.request = request, .origin = NodeId::member(options_.self), .hops = 0, .view = p.view};
    outputs_.add(NodeId::proxy(p.to), encode_as(header, p.body, outputs_.room()));
    if (auto* i = std::get_if<Insert>(&p.body); i && i->returns) {  // it is out, and lost if that is
      i->returns = false;
      i->packet = {};
      p.packet.clear();
    }
  }
  schedule(request, p, now + patience(p));
}

// The hint, then the ingress proxy, then replicas, then the others, from another one on for each session; each send
// takes the next.
ProxyId Owner::choose(const Pending& p) const {
  std::vector<ProxyId> candidates;
  auto add = [&](ProxyId id) {
    if (id.value != 0 && reachable(id) && std::find(candidates.begin(), candidates.end(), id) == candidates.end())
      candidates.push_back(id);
  };
  add(p.hint);
  if (auto* i = std::get_if<Insert>(&p.body)) add(i->ingress);
  if (auto s = sessions_.find(p.handle); s != sessions_.end())
    for (ProxyId id : s->second.replicas) add(id);
  auto nodes = options_.view.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) add(nodes[(i + p.handle) % nodes.size()].id);
  return candidates.empty() ? ProxyId{} : candidates[(p.sends + p.turned_away) % candidates.size()];
}

// How long a request waits for its answer: max(100 ms, 2 x RTT), doubled with each send, a quarter of it at random so
// that many do not come back as one.
Duration Owner::patience(const Pending& p) {
  if (p.stored) return kSilentPoll;
  const Duration base = std::max<Duration>(kRetryMin, 2 * rtt(p.to));
  if (p.sends <= 1) return base;
  Duration wait = std::min<Duration>(base * (1 << std::min(p.sends - 1, 10u)), kBackOffMax);
  return wait * 3 / 4 + Duration(rng_.below(static_cast<uint64_t>((wait / 4).count()) + 1));
}

Duration Owner::rtt(ProxyId p) const {
  const Duration known = options_.rtt ? options_.rtt(p) : Duration{};
  return known < kRttMax ? known : Duration{};
}

// Two owners that withdraw at once must come back further apart than the farthest replica takes to hear of the first.
Duration Owner::busy_unit(const Session& s) const {
  Duration unit = kBusyUnit;
  for (ProxyId p : s.replicas) unit = std::max(unit, rtt(p));
  if (s.replicas.empty())  // not told yet: any proxy may be one
    for (const ViewNode& n : options_.view.nodes()) unit = std::max(unit, rtt(n.id));
  return unit;
}

void Owner::schedule(uint32_t request, Pending& p, Instant due) {
  timers_.erase({p.due, TimerKind::pending, request});
  p.due = due;
  timers_.insert({due, TimerKind::pending, request});
}

void Owner::drop_pending(uint32_t request) {
  auto at = pending_.find(request);
  if (at == pending_.end()) return;
  timers_.erase({at->second.due, TimerKind::pending, request});
  if (auto s = sessions_.find(at->second.handle); s != sessions_.end() && s->second.request == request)
    s->second.request = 0;
  waiting_ -= at->second.waits();
  resends_out_ -= at->second.kind == Pending::Kind::revoke && at->second.quiet;
  pending_.erase(at);
}

// What has lifted a revocation would be undone by the next time that we ask whether it is silent.
void Owner::drop_revokes(const SessionId& id) {
  std::vector<uint32_t> out;
  for (const auto& [request, p] : pending_)
    if (p.kind == Pending::Kind::revoke && p.id == id) out.push_back(request);
  for (uint32_t request : out) {
    const bool told = !pending_.at(request).quiet;
    drop_pending(request);
    if (!told) continue;
    emit({.kind = OwnerEvent::Kind::failed,
          .id = id,
          .request = request,
          .failed_status = RequestAnswer::Status::not_found});
  }
}

}  // namespace statecast
