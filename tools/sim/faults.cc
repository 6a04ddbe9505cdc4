// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/faults.h"

#include <algorithm>
#include <sstream>

namespace statecast::sim {

const std::vector<FaultRow>& fault_rows() {
  static const std::vector<FaultRow> rows = {
      {Fault::loss, "loss", "datagrams are lost"},
      {Fault::late, "late", "some datagrams take up to 300 ms more"},
      {Fault::reorder, "reorder", "datagrams overtake each other"},
      {Fault::duplicate, "duplicate", "datagrams arrive twice"},
      {Fault::partition, "partition", "some proxies are cut off from the others for a while"},
      {Fault::asymmetric, "asymmetric", "one direction between two proxies, or from one to all, is cut"},
      {Fault::drift, "drift", "clocks drift by up to 200 ppm"},
      {Fault::wall_step, "wall-step", "wall clocks step by up to 60 s"},
      {Fault::crash, "crash", "a proxy dies with its memory, and starts again or leaves the view"},
      {Fault::pause, "pause", "a proxy stops for up to 20 s, and goes on"},
      {Fault::slow, "slow", "a machine's datagrams take up to 400 ms more for a while"},
      {Fault::join, "join", "a proxy joins the view"},
      {Fault::leave, "leave", "a proxy leaves the view, hands over and stops"},
      {Fault::flap, "flap", "a proxy leaves the view and is back soon"},
      {Fault::catchment, "catchment", "clients move between proxies, some at a time and all of one at once"},
      {Fault::member_death, "member-death", "a member dies with its sockets, and starts again"},
      {Fault::member_restart, "member-restart", "an agent restarts; the kernel keeps its sockets"},
      {Fault::member_amnesia, "member-amnesia", "an agent restarts and has lost its counters"},
  };
  return rows;
}

const char* to_string(Fault f) {
  for (const FaultRow& row : fault_rows())
    if (row.fault == f) return row.name;
  return "unknown";
}

Result<std::set<Fault>> parse_faults(const std::string& list) {
  std::set<Fault> out;
  if (list == "none") return out;
  std::istringstream in(list);
  for (std::string name; std::getline(in, name, ',');) {
    bool found = false;
    for (const FaultRow& row : fault_rows()) {
      if (name != row.name && name != "all") continue;
      out.insert(row.fault);
      found = true;
    }
    if (!found)
      return fail(Code::invalid, "--faults: \"" + name +
                                     "\" is none of them; say `all`, `none` or names with commas, " +
                                     "as --help lists them");
  }
  return out;
}

Faults::Faults(World& world, Workload& work, std::set<Fault> faults, uint64_t seed)
    : world_(world), work_(work), faults_(std::move(faults)), rng_(seed), careful_(rng_.chance(0.7)) {}

Duration Faults::some(Duration least, Duration most) {
  return least + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>((most - least).count()) + 1)));
}

void Faults::start(Duration length) {
  NetworkOptions& n = world_.network().options();
  if (has(Fault::loss)) n.loss = rng_.unit() * 0.15;
  if (has(Fault::late)) n.late = rng_.unit() * 0.04;
  if (has(Fault::reorder)) n.reorder = rng_.unit() * 0.3;
  if (has(Fault::duplicate)) n.duplicate = rng_.unit() * 0.2;
  for (Fault f : faults_) plan(f, length);
}

// One to four times, more in longer runs.
void Faults::plan(Fault f, Duration length) {
  if (f <= Fault::duplicate || f == Fault::drift) return;
  const auto episodes = rng_.between(1, 2 + static_cast<uint64_t>(length / 10s));
  for (uint64_t i = 0; i < episodes; ++i)
    world_.after(some({}, length), [this, f] {
      if (!over_) happen(f);
    });
}

void Faults::happen(Fault f) {
  switch (f) {
    case Fault::crash: return crash();
    case Fault::pause: return pause();
    case Fault::partition: return partition(true);
    case Fault::asymmetric: return partition(false);
    case Fault::slow: return slow();
    case Fault::join: return join();
    case Fault::leave: return leave(false);
    case Fault::flap: return leave(true);
    case Fault::catchment:
      if (uint32_t p = any(true)) work_.move_catchment(p);
      return;
    case Fault::wall_step: {
      const NodeId who = rng_.chance(0.7)
                             ? NodeId::proxy({static_cast<uint32_t>(rng_.between(1, world_.last_proxy()))})
                             : NodeId::member({static_cast<uint32_t>(rng_.between(1, world_.options().members))});
      return world_.step_wall_clock(who, some(-60s, 60s));
    }
    case Fault::member_death:
    case Fault::member_restart:
    case Fault::member_amnesia: return member_fault(f);
    default: return;
  }
}

// --- proxies ---

std::set<uint32_t> Faults::nodes() const {
  std::set<uint32_t> out;
  for (const ViewNode& n : world_.view().nodes()) out.insert(n.id.value);
  return out;
}

uint32_t Faults::any(bool in_view) const {
  std::vector<uint32_t> out;
  for (uint32_t p = 1; p <= world_.last_proxy(); ++p)
    if (world_.up(p) && !world_.paused(p) && world_.in_view(p) == in_view) out.push_back(p);
  return out.empty() ? 0 : out[rng_.below(out.size())];
}

// Another proxy may fail now.
bool Faults::may_fail() const {
  unsigned out = 0;
  for (const ViewNode& n : world_.view().nodes())
    out += !world_.up(n.id.value) || world_.paused(n.id.value) || cut_off_.contains(n.id.value);
  if (careful_) return out == 0 && world_.now() - view_changed_ > 2s && const_cast<World&>(world_).in_sync();
  return 2 * (out + 1) < world_.view().nodes().size() + 1;
}

// Whoever can be heard has what the newest view gives it. Views follow each other one at a time (design): whoever makes
// the next one waits for this.
bool Faults::handed_over() const {
  for (const ViewNode& n : world_.view().nodes()) {
    const uint32_t p = n.id.value;
    if (!world_.up(p) || world_.paused(p) || cut_off_.contains(p)) continue;
    const NodeStatus status = const_cast<World&>(world_).node(p).status(world_.local(p));
    if (!status.in_sync || status.view != world_.view().id()) return false;
  }
  return true;
}

void Faults::crash() {
  const uint32_t p = any(true);
  if (p == 0 || !may_fail()) return;
  world_.crash(p);
  if (rng_.chance(0.3) && has(Fault::leave)) {  // its membership runs out
    world_.after(some(1s, 12s), [this, p] { take_out(p); });
    return;
  }
  world_.after(some(10ms, 8s), [this, p] {
    if (!world_.up(p)) world_.start(p);
  });
}

void Faults::take_out(uint32_t p) {
  if (over_ || world_.up(p) || !world_.in_view(p) || world_.view().nodes().size() < 3) return;
  if (!handed_over()) return world_.after(200ms, [this, p] { take_out(p); });
  auto without = nodes();
  without.erase(p);
  announce(without);
}

void Faults::pause() {
  const uint32_t p = any(true);
  if (p == 0 || !may_fail()) return;
  world_.pause(p);
  world_.after(rng_.chance(0.5) ? some(10ms, 3s) : some(1s, 20s), [this, p] { world_.resume(p); });
}

void Faults::partition(bool both_ways) {
  const uint32_t p = any(true);
  if (p == 0 || !may_fail()) return;
  const NodeId self = NodeId::proxy({p});
  const bool inward = rng_.chance(0.5), one_only = !both_ways && rng_.chance(0.5);
  std::vector<NodeId> others;
  for (uint32_t q = 1; q <= world_.last_proxy(); ++q)
    if (q != p) others.push_back(NodeId::proxy({q}));
  if (one_only) others = {others[rng_.below(others.size())]};
  // A larger part may be cut off with it.
  if (both_ways && !careful_) std::erase_if(others, [&](NodeId) { return rng_.chance(0.3); });
  for (NodeId q : others) {
    if (both_ways || inward) world_.network().cut(q, self);
    if (both_ways || !inward) world_.network().cut(self, q);
  }
  cut_off_.insert(p);
  world_.tell_fault(to_string(self) +
                    (both_ways ? " is cut off"
                     : inward  ? " hears nothing"
                               : " is not heard") +
                    " (" + std::to_string(others.size()) + " ways)");
  world_.after(rng_.chance(0.3) ? some(10s, 25s) : some(50ms, 15s), [this, self, others, p] {
    for (NodeId q : others) world_.network().mend(q, self), world_.network().mend(self, q);
    cut_off_.erase(p);
    world_.tell_fault(to_string(self) + " is back");
  });
}

void Faults::slow() {
  const uint32_t p = any(true);
  if (p == 0 || slowed_.contains(p)) return;
  world_.network().slow(NodeId::proxy({p}), some(5ms, 400ms));
  slowed_.insert(p);
  world_.tell_fault(to_string(NodeId::proxy({p})) + " is slow");
  world_.after(some(500ms, 15s), [this, p] {
    world_.network().slow(NodeId::proxy({p}), {});
    slowed_.erase(p);
  });
}

// --- views ---

void Faults::announce(const std::set<uint32_t>& next) {
  view_changed_ = world_.now();
  world_.next_view(next);
  const size_t view = world_.views().size() - 1;
  const Duration spread = rng_.chance(0.5) ? 50ms : 1500ms;
  for (uint32_t p = 1; p <= world_.last_proxy(); ++p)
    world_.after(some({}, spread), [this, p, view] { tell(p, view); });
}

void Faults::tell(uint32_t p, size_t view) {
  if (world_.paused(p)) {
    world_.after(200ms, [this, p, view] { tell(p, view); });
    return;
  }
  if (world_.told(p)) return;
  world_.tell(p, !careful_ && rng_.chance(0.1) ? World::Telling::newest_only : World::Telling::one_by_one);
}

void Faults::join() {
  if (!handed_over() || (careful_ && !may_fail())) return;
  auto with = nodes();
  for (uint32_t p = 1; p <= world_.last_proxy(); ++p) {
    if (with.contains(p) || leaving_.contains(p)) continue;
    if (!world_.up(p)) world_.start(p);
    with.insert(p);
    return announce(with);
  }
}

void Faults::leave(bool comes_back) {
  const uint32_t p = any(true);
  auto without = nodes();
  if (p == 0 || without.size() < 3 || !handed_over() || (careful_ && !may_fail())) return;
  without.erase(p);
  announce(without);
  if (!comes_back) {
    leaving_.insert(p);
    return stop_when_handed_over(p, 0);
  }
  world_.after(some(20ms, 5s), [this, p] { come_back(p); });
}

void Faults::come_back(uint32_t p) {
  auto with = nodes();
  if (over_ || !with.insert(p).second) return;
  if (!handed_over()) return world_.after(200ms, [this, p] { come_back(p); });
  if (!world_.up(p)) world_.start(p);
  announce(with);
}

// As an operator does: once everybody has what is its, and has had it for a while.
void Faults::stop_when_handed_over(uint32_t p, int tries) {
  world_.after(1s, [this, p, tries] {
    if (!world_.up(p) || world_.in_view(p)) return void(leaving_.erase(p));
    if (over_ || tries > 120) return;
    NodeStatus status = world_.node(p).status(world_.local(p));
    const bool done = !world_.paused(p) && status.view == world_.view().id() && status.handed_over &&
                      const_cast<World&>(world_).in_sync();
    if (!done || tries < 10) return stop_when_handed_over(p, tries + 1);
    leaving_.erase(p);
    world_.stop(p);
  });
}

// --- members ---

void Faults::member_fault(Fault f) {
  const auto m = static_cast<uint32_t>(rng_.between(1, world_.options().members));
  if (!world_.member_up(m)) return;
  if (f == Fault::member_death) {
    world_.kill_member(m);
    world_.after(some(500ms, 15s), [this, m] { world_.start_member(m); });
    return;
  }
  if (f == Fault::member_amnesia) world_.lose_incarnation(m);
  world_.restart_member(m, f == Fault::member_amnesia ? World::Disk::lost : World::Disk::kept);
}

void Faults::heal() {
  over_ = true;
  NetworkOptions& n = world_.network().options();
  n.loss = n.duplicate = n.reorder = n.late = 0;
  world_.heal();
  cut_off_.clear();
  for (uint32_t p = 1; p <= world_.last_proxy(); ++p) {
    world_.network().slow(NodeId::proxy({p}), {});
    world_.resume(p);
    if (!world_.up(p) && world_.in_view(p)) world_.start(p);
    world_.tell(p);
  }
  for (uint32_t m = 1; m <= world_.options().members; ++m) world_.start_member(m);
}

}  // namespace statecast::sim
