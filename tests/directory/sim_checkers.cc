// SPDX-License-Identifier: BSD-3-Clause
#include "tests/directory/sim_checkers.h"

namespace statecast::test {

SimCheckers::SimCheckers(SimWorld& world) : world_(world) {
  world.observe(this);
}

void SimCheckers::breach(SessionNumber s, const std::string& what) {
  breaches_.push_back("seed " + std::to_string(world_.options().seed) + ", at " +
                      std::to_string(to_ms(world_.now().time_since_epoch() - 1h)) + " ms, session " +
                      std::to_string(s) + ": " + what);
}

bool SimCheckers::owns(MemberId m, SessionNumber s) {
  auto at = acks_.find({s, m});
  if (at == acks_.end() || !at->second.promised || !world_.owner(m.value).owns(world_.id(s))) return false;
  const SimWorld::Kernel& kernel = world_.kernel(m.value, s);
  if (kernel.state == SimWorld::Kernel::State::none || at->second.at < kernel.born) return false;  // closing, given up
  return at->second.established || world_.now() < at->second.ends;
}

// No two members own a session at once.
void SimCheckers::on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) {
  switch (e.kind) {
    case OwnerEvent::Kind::inserted: {
      bool established = world_.kernel(m.value, s).state == SimWorld::Kernel::State::established;
      // The answer may be on its way for long: its record counts from before.
      acks_[{s, m}] = {!e.degraded, established, world_.now() + 5s, world_.now()};
      if (e.degraded || !owns(m, s)) break;
      for (uint32_t other = 1; other <= world_.options().members; ++other)
        if (other != m.value && owns({other}, s))
          breach(s, "m" + std::to_string(m.value) + " and m" + std::to_string(other) + " own it at once");
      break;
    }
    case OwnerEvent::Kind::stored: stored_[s] = m; break;
    case OwnerEvent::Kind::silent:
      silent_[s] = m;
      for (uint32_t p = 1; p <= world_.options().proxies; ++p) {
        const SimCacheEntry* c = world_.up(p) ? world_.cached(p, s) : nullptr;
        if (c && c->target == Target::member) breach(s, "silent, and p" + std::to_string(p) + " has a lease");
      }
      break;
    case OwnerEvent::Kind::conflict:
    case OwnerEvent::Kind::revoked:
    case OwnerEvent::Kind::superseded:
    case OwnerEvent::Kind::busy: acks_.erase({s, m}); break;
    default: break;
  }
}

// After `silent` no proxy gets a lease, and none passes a packet.
void SimCheckers::on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) {
  if (e.kind == CacheEvent::Kind::lease && silent_.contains(s))
    breach(s, "a lease to p" + std::to_string(p.value) + " after silent");
}

void SimCheckers::on_passed(ProxyId p, SessionNumber s, MemberId, uint64_t bytes) {
  if (silent_.contains(s)) breach(s, "a packet through p" + std::to_string(p.value) + " after silent");
  passed_[s] += bytes;
  uint64_t given = given_[s];
  if (given != kUnlimitedBytes && passed_[s] > given)
    breach(s, std::to_string(passed_[s]) + " bytes passed of " + std::to_string(given));
}

void SimCheckers::on_bucket(SessionNumber s, uint64_t bytes) {
  uint64_t& given = given_[s];
  given = bytes == kUnlimitedBytes || given == kUnlimitedBytes ? kUnlimitedBytes : given + bytes;
}

// What it was told before counts no longer; a revocation under way is nobody's any more.
void SimCheckers::on_member_restart(MemberId m) {
  std::erase_if(acks_, [&](auto& a) { return a.first.second == m; });
  std::erase_if(stored_, [&](auto& a) { return a.second == m && !silent_.contains(a.first); });
}

std::vector<SimCheckers::Acknowledged> SimCheckers::acknowledged_established() {
  std::vector<Acknowledged> out;
  for (auto& [who, ack] : acks_) {
    auto [s, m] = who;
    if (ack.established && owns(m, s)) out.push_back({m, s});
  }
  return out;
}

}  // namespace statecast::test
