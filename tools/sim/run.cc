// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/run.h"

#include <algorithm>
#include <functional>

#include "directory/record_order.h"

namespace statecast::sim {

namespace {

constexpr Duration kInSyncWithin = 60s;   // of the start, and of the last fault
constexpr Duration kOwnersSay = 40s;      // two refresh periods and some: what was lost is inserted anew
constexpr Duration kSilenceByTime = 15s;  // permit, cap and margin, where a replica has just started
constexpr Duration kMemoryBack = 190s;  // the longest that a mapping, a tombstone of removal or a purge's memory lives

bool run_until(World& w, Duration limit, const std::function<bool()>& done) {
  for (const Instant until = w.now() + limit; w.now() < until;) {
    if (done()) return true;
    w.run(20ms);
  }
  return done();
}

// Every kind of fault is there in some runs and absent in others.
std::set<Fault> some_faults(Rng& rng) {
  std::set<Fault> out;
  const double often = 0.15 + rng.unit() * 0.6;
  for (const FaultRow& row : fault_rows())
    if (rng.chance(often)) out.insert(row.fault);
  return out;
}

struct Shape {
  unsigned replicas, writes;
};

RunResult shape_of(const RunOptions& o) {
  Rng rng(o.seed * 2654435761 + 1);
  RunResult r;
  r.seed = o.seed;
  WorldOptions& w = r.world;
  w.seed = rng.next();
  w.proxies = static_cast<unsigned>(rng.chance(0.7) ? rng.between(3, 6) : rng.between(7, 20));
  const Shape shapes[] = {{3, 2}, {3, 2}, {3, 2}, {3, 2}, {3, 2}, {5, 3}, {2, 2}, {3, 3}};
  const Shape shape = shapes[rng.below(std::size(shapes))];
  w.replicas = shape.replicas;
  w.writes = shape.writes;
  w.members = static_cast<unsigned>(rng.between(2, 5));
  w.partition_available = rng.chance(0.2);
  if (rng.chance(0.5)) w.bucket_bytes = 3'000 * rng.between(1, 5);
  w.network.regions = static_cast<unsigned>(rng.chance(0.6) ? 1 : rng.between(2, 4));
  if (rng.chance(0.2)) w.network.delay_max = 20ms;
  r.faults = some_faults(rng);
  r.duration = std::chrono::milliseconds(rng.between(8'000, 25'000));
  WorkloadOptions& k = r.workload;
  k.sessions = static_cast<SessionNumber>(rng.between(6, 60));
  k.pace = std::chrono::milliseconds(rng.between(100, 800));
  k.any_member = rng.chance(0.4);
  k.doubles = rng.chance(0.7);
  if (rng.chance(0.3)) k.revokes = 0;
  if (rng.chance(0.3)) k.closes = 0;
  if (Rng(o.seed).chance(0.5)) w.refresh_listed_max = 0;  // few sessions, and yet by digests
  const QueryForm forms[] = {QueryForm::query, QueryForm::query, QueryForm::query_and_forward,
                             QueryForm::query_and_return};
  w.query_form = o.query_form.value_or(forms[Rng(o.seed + 1).below(std::size(forms))]);
  if (o.proxies) w.proxies = *o.proxies;
  if (o.members) w.members = *o.members;
  if (o.replicas) w.replicas = *o.replicas;
  if (o.writes) w.writes = *o.writes;
  if (o.sessions) k.sessions = *o.sessions;
  if (o.pace) k.pace = *o.pace;
  if (o.duration) r.duration = *o.duration;
  if (o.faults) r.faults = *o.faults;
  w.clock_drift = r.faults.contains(Fault::drift);
  k.moves = r.faults.contains(Fault::catchment);
  if (r.faults.contains(Fault::join)) w.spares = std::max(1u, w.proxies / 4);
  const uint64_t per_proxy = 8ull * k.sessions / w.proxies;
  w.cache_entries = static_cast<uint32_t>(std::clamp<uint64_t>(per_proxy, 512, 1 << 20));
  w.records_max = std::max<uint64_t>(4'096, 4 * w.replicas * per_proxy);
  return r;
}

// What each of a few proxies is told, once all is well again.
void check_answers(World& w, Checkers& check) {
  std::vector<uint32_t> askers;
  for (const ViewNode& n : w.view().nodes()) askers.push_back(n.id.value);
  const size_t askers_max = 3;
  auto ask_all = [&](SessionNumber s, const std::function<void(uint32_t, const std::optional<CacheEvent>&)>& judge) {
    std::vector<uint32_t> asked;
    for (size_t i = 0; i < std::min(askers_max, askers.size()); ++i) asked.push_back(askers[(s + i) % askers.size()]);
    for (uint32_t p : asked) w.ask(s, p);
    run_until(w, 3s, [&] {
      return std::all_of(asked.begin(), asked.end(), [&](uint32_t p) { return w.last_event(p, s).has_value(); });
    });
    for (uint32_t p : asked) judge(p, w.last_event(p, s));
  };
  // At most so many: the rest is like them.
  constexpr size_t kSessionsAsked = 300;
  auto acknowledged = check.acknowledged_established();
  if (acknowledged.size() > kSessionsAsked) acknowledged.resize(kSessionsAsked);
  for (auto [member, s] : acknowledged) {
    ask_all(s, [&](uint32_t p, const std::optional<CacheEvent>& e) {
      if (!w.owns(member.value, s)) return;
      bool found =
          e && (e->kind == CacheEvent::Kind::no_bytes || (e->kind == CacheEvent::Kind::lease && e->member == member));
      if (!found)
        check.breach(s, "converges",
                     to_string(NodeId::member(member)) + " owns it, p" + std::to_string(p) + " is told " +
                         (e ? to_string(e->kind) : "nothing"));
    });
  }
  for (SessionNumber s = 0; s < check.sessions(); ++s) {
    if (!check.is_lifted(s)) continue;
    ask_all(s, [&](uint32_t p, const std::optional<CacheEvent>& e) {
      if (e && e->kind == CacheEvent::Kind::tombstone)
        check.breach(s, "unrevoked", "p" + std::to_string(p) + " is told that it is revoked");
    });
  }
  for (SessionNumber s = 0; s < check.sessions(); ++s) {
    if (!check.is_stored(s) || check.may_be_lost(s)) continue;
    ask_all(s, [&](uint32_t p, const std::optional<CacheEvent>& e) {
      if (!e || e->kind != CacheEvent::Kind::tombstone)
        check.breach(s, "revoked", "p" + std::to_string(p) + " is told " + (e ? to_string(e->kind) : "nothing"));
    });
    if (!check.is_silent(s) && check.silence_is_awaited(s)) check.breach(s, "converges", "stored and never silent");
  }
}

// Every session closes; then nothing is left but what the design keeps.
void check_memory_back(World& w, Checkers& check) {
  for (uint32_t m = 1; m <= w.options().members; ++m) {
    for (SessionNumber s = 0; s < check.sessions(); ++s)
      if (w.find_kernel(m, s)) w.close(s, m);
  }
  w.run(kMemoryBack);
  size_t revoked = 0, lifted = 0;  // those live for minutes
  for (SessionNumber s = 0; s < check.sessions(); ++s) {
    bool is_revoked = false, is_lifted = false;
    for (uint32_t p = 1; p <= w.last_proxy(); ++p) {
      if (!w.up(p)) continue;
      const auto r = w.node(p).find(w.key(s), w.local(p));
      if (!r) continue;
      is_revoked = is_revoked || r->state == RecordState::revoked;
      is_lifted = is_lifted || is_lift(*r);
    }
    revoked += is_revoked;
    lifted += is_lifted;
  }
  auto left = [&](uint32_t p, const char* what, size_t n, size_t most) {
    if (n > most)
      check.breach(
          0, "memory",
          "p" + std::to_string(p) + " still has " + std::to_string(n) + " " + what + " of " + std::to_string(most));
  };
  for (uint32_t p = 1; p <= w.last_proxy(); ++p) {
    if (!w.up(p)) continue;
    NodeStatus status = w.node(p).status(w.local(p));
    left(p, "held mappings", status.records, 0);
    left(p, "tombstones", status.tombstones, revoked + lifted);
    left(p, "placed records", status.placed, 0);
    left(p, "open questions", w.querier(p).outstanding(), 0);
    for (const auto& peer : status.peers) left(p, "changes listed", peer.changes_pending, 0);
    w.cache(p).sweep(w.cache(p).slots(), w.local(p));
    left(p, "cache entries", w.cache(p).stats().entries, revoked);
  }
  for (uint32_t m = 1; m <= w.options().members; ++m)
    if (w.member_up(m) && w.owner(m).size() > 0)
      check.breach(0, "memory",
                   "m" + std::to_string(m) + " still has " + std::to_string(w.owner(m).size()) + " sessions");
}

}  // namespace

RunResult run_one(const RunOptions& options) {
  RunResult r = shape_of(options);
  World world(r.world);
  Checkers check(world);
  Trace trace(world, options.trace);
  const Instant began = world.now();
  Workload work(world, r.workload, r.world.seed + 1);
  Faults faults(world, work, r.faults, r.world.seed + 2);

  if (!run_until(world, kInSyncWithin, [&] { return world.in_sync(); }))
    check.breach(0, "converges", "a new fleet is not in sync within 60 s");
  std::vector<World::Traffic> before = world.traffic();
  work.start();
  faults.start(r.duration);
  for (const Instant until = world.now() + r.duration; world.now() < until && check.breaches().empty();)
    world.run(std::min<Duration>(100ms, until - world.now()));
  r.traffic = world.traffic();
  for (size_t i = 0; i < r.traffic.size(); ++i) {
    r.traffic[i].messages -= before[i].messages;
    r.traffic[i].bytes -= before[i].bytes;
  }
  faults.heal();
  const Instant healed = world.now();
  if (!run_until(world, kInSyncWithin, [&] { return world.in_sync(); }))
    check.breach(0, "converges", "not in sync 60 s after the last fault");
  r.in_sync_after = world.now() - healed;
  work.stop();
  if (check.breaches().empty()) world.run(r.faults.empty() ? kSilenceByTime : kOwnersSay);
  if (check.breaches().empty()) check_answers(world, check);
  r.acknowledged = check.acknowledged_established().size();
  if (check.breaches().empty() && options.ends_empty) check_memory_back(world, check);

  r.virtual_time = world.now() - began;
  r.breaches = check.breaches();
  r.trace = trace.lines();
  r.counts = work.counts();
  r.silent = check.silent();
  r.views = world.views().size();
  r.events = world.events();
  r.asked = world.asked();
  r.looks = check.looks();
  r.digest = trace.digest();
  return r;
}

std::string replay_command(const RunOptions& o, const std::string& program) {
  std::string out = program + " --seed " + std::to_string(o.seed);
  if (o.proxies) out += " --proxies " + std::to_string(*o.proxies);
  if (o.members) out += " --members " + std::to_string(*o.members);
  if (o.replicas) out += " --replicas " + std::to_string(*o.replicas);
  if (o.writes) out += " --writes " + std::to_string(*o.writes);
  if (o.sessions) out += " --sessions " + std::to_string(*o.sessions);
  if (o.duration) out += " --duration " + std::to_string(to_ms(*o.duration)) + "ms";
  if (o.pace) out += " --pace " + std::to_string(to_ms(*o.pace)) + "ms";
  if (o.faults) {
    std::string names;
    for (Fault f : *o.faults) names += (names.empty() ? "" : ",") + std::string(to_string(f));
    out += " --faults " + (names.empty() ? "none" : o.faults->size() == kFaults ? "all" : names);
  }
  if (o.query_form) out += std::string(" --query-form ") + to_string(*o.query_form);
  if (o.ends_empty) out += " --empty";
  if (o.trace.session) out += " --trace " + std::to_string(*o.trace.session);
  return out;
}

}  // namespace statecast::sim
