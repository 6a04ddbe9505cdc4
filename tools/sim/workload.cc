// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/workload.h"

namespace statecast::sim {

namespace {
constexpr Duration kSynAgain = 1s, kGiveUp = 8s;
constexpr Duration kNoAnswer = 3s;  // of a member without a socket: its client has had a reset, or has given up
}  // namespace

Workload::Workload(World& world, WorkloadOptions options, uint64_t seed)
    : world_(world), options_(options), rng_(seed), sessions_(options.sessions) {}

void Workload::start() {
  for (SessionNumber s = 0; s < options_.sessions; ++s) {
    sessions_[s].proxy = static_cast<uint16_t>(any_proxy());
    plan(s);
  }
}

void Workload::plan(SessionNumber s) {
  const auto span = static_cast<uint64_t>(2 * options_.pace.count());
  world_.after(Duration(static_cast<int64_t>(rng_.below(span) + 1)), [this, s] { step(s); });
}

// Routing sends clients to a proxy that announces: one that runs, and is in the view that it knows.
uint32_t Workload::any_proxy() {
  for (int tries = 0; tries < 20; ++tries) {
    const auto p = static_cast<uint32_t>(rng_.between(1, world_.last_proxy()));
    if (world_.up(p) && world_.in_view(p) && world_.told(p)) return p;
  }
  return static_cast<uint32_t>(rng_.between(1, world_.last_proxy()));
}

uint32_t Workload::proxy_of(SessionNumber s) {
  Session& x = sessions_[s];
  const bool gone = !world_.up(x.proxy) || !world_.in_view(x.proxy);
  if ((gone && rng_.chance(0.5)) || (options_.moves && rng_.chance(0.1))) x.proxy = static_cast<uint16_t>(any_proxy());
  return x.proxy;
}

void Workload::move_catchment(uint32_t from) {
  for (Session& x : sessions_)
    if (x.proxy == from) x.proxy = static_cast<uint16_t>(any_proxy());
}

uint32_t Workload::member_for(SessionNumber s) {
  const unsigned members = world_.options().members;
  auto m = static_cast<uint32_t>(1 + world_.key(s).low % members);
  if (options_.any_member || rng_.chance(0.05)) m = static_cast<uint32_t>(rng_.between(1, members));
  for (unsigned i = 0; i < members && !world_.member_up(m); ++i) m = m % members + 1;
  return m;
}

void Workload::step(SessionNumber s) {
  if (stopped_) return;
  ++counts_.steps;
  plan(s);
  Session& x = sessions_[s];
  World::Client& c = world_.client(s);
  if (c.open) return open_step(s, x, c.open->value);
  if (!c.dialing || world_.now() - x.dialed > kGiveUp) {
    if (rng_.chance(0.5)) return;
    c.dialing = false;
    x.dialed = world_.now();
  } else if (world_.now() - x.dialed < kSynAgain) {
    return;
  }
  ++counts_.dials;
  world_.syn(s, proxy_of(s), member_for(s));
  if (options_.doubles && rng_.chance(0.15)) world_.syn(s, any_proxy(), member_for(s));  // at once, elsewhere
}

void Workload::open_step(SessionNumber s, Session& x, uint32_t member) {
  World::Client& c = world_.client(s);
  ++counts_.packets;
  world_.data(s, proxy_of(s), static_cast<uint32_t>(rng_.between(40, 300)));
  if (options_.doubles && rng_.chance(0.02)) world_.stray_syn(s, any_proxy(), member_for(s));
  const World::Kernel* k = world_.find_kernel(member, s);
  const bool there = k && k->connection == c.connection && k->state != World::Kernel::State::none;
  if (there) {
    x.silent_since = {};
  } else if (x.silent_since == Instant{}) {
    x.silent_since = world_.now();
  } else if (world_.now() - x.silent_since > kNoAnswer) {
    x.silent_since = {};
    c.open.reset();
    if (!world_.member_up(member)) return;
    if (world_.owner(member).is_revoked(world_.id(s)) && rng_.chance(options_.unrevokes)) world_.unrevoke(s, member);
    return;
  }
  if (!there || !world_.owns(member, s)) return;
  if (rng_.chance(options_.closes)) {
    ++counts_.closes;
    return world_.close(s, member);
  }
  if (rng_.chance(options_.revokes)) {
    ++counts_.revocations;
    if (rng_.chance(0.3)) return world_.revoke_as_operator(s, any_proxy());
    world_.revoke(s, member);
    return;
  }
  if (rng_.chance(options_.buckets) && world_.options().bucket_bytes != kUnlimitedBytes)
    world_.set_bucket(s, member, world_.options().bucket_bytes);
}

}  // namespace statecast::sim
