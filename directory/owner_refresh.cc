// SPDX-License-Identifier: BSD-3-Clause
// Refresh: what the owner believes to be at each replica, said every 15 s as digests, or as lists where little is there
// or something differs. The timers are owner_timers.cc's.
#include <algorithm>
#include <utility>

#include "directory/owner.h"

namespace statecast {

namespace {
constexpr Duration kListPause = 10ms;
}  // namespace

// Of a session that its replicas have, as far as this side knows. The first one at a replica starts its period.
void Owner::join_refresh(uint32_t handle, Session& s, Instant now) {
  if (s.state != RecordState::established || !s.acknowledged || s.request != 0 || s.counted != 0) return;
  s.counted = refresh_digest(handle, s.bucket_counter);
  for (ProxyId p : s.replicas) {
    Refreshed& r = refreshed_[p];
    Told& told = r.told[s.view];
    told.digests[refresh_part(handle)] ^= s.counted;
    ++told.sessions;
    if (!r.due) timers_.insert({*(r.due = now + options_.refresh_period), TimerKind::refresh, p.value});
  }
}

void Owner::leave_refresh(uint32_t handle, Session& s) {
  if (s.counted == 0) return;
  for (ProxyId p : s.replicas) {
    Refreshed& r = refreshed_[p];
    const auto told = r.told.find(s.view);
    told->second.digests[refresh_part(handle)] ^= s.counted;
    if (--told->second.sessions == 0 && told->second.entries.empty()) r.told.erase(told);
    if (r.told.empty() && r.due) timers_.erase({*std::exchange(r.due, {}), TimerKind::refresh, p.value});
  }
  s.counted = 0;
}

// What one message can list is listed; else the digests of all, where all are told of one view.
void Owner::refresh_due(ProxyId replica, Instant now) {
  Refreshed& r = refreshed_[replica];
  r.due.reset();
  if (r.told.empty()) return;  // the next session starts the period anew
  timers_.insert({*(r.due = now + options_.refresh_period), TimerKind::refresh, replica.value});
  if (!reachable(replica)) return on_silent_replica(replica, now);
  const auto& [view, told] = *r.told.begin();
  if (r.told.size() > 1 || told.sessions <= options_.refresh_listed_max) return list_all(replica, now);
  ++counters_.refreshes;
  add_request({.kind = Pending::Kind::digest,
               .body = RefreshDigest{options_.incarnation, told.digests},
               .view = view,
               .to = replica},
              now);
}

void Owner::on_refresh_difference(ProxyId replica, const RefreshDifference& d, Instant now) {
  Refreshed& r = refreshed_[replica];
  if (r.parts.empty() && !d.parts.empty()) timers_.insert({now, TimerKind::list, replica.value});
  r.parts.insert(d.parts.begin(), d.parts.end());
}

void Owner::list_all(ProxyId replica, Instant now) {
  RefreshDifference all;
  size_t sessions = 0;
  for (const auto& [view, told] : refreshed_[replica].told) sessions += told.sessions;
  for (size_t part = 0; part < kRefreshParts; ++part) {
    const auto& told = refreshed_[replica].told;
    const bool some = std::any_of(told.begin(), told.end(), [&](const auto& t) { return t.second.digests[part] != 0; });
    if (some) all.parts.push_back(static_cast<uint8_t>(part));
  }
  if (sessions > kRefreshEntriesMax) return on_refresh_difference(replica, all, now);
  for (uint8_t part : all.parts) list_part(replica, part, now);
  tell(replica, now);
}

void Owner::list_due(ProxyId replica, Instant now) {
  Refreshed& r = refreshed_[replica];
  if (r.parts.empty()) return;
  list_part(replica, *r.parts.begin(), now);
  tell(replica, now);
  r.parts.erase(r.parts.begin());
  if (!r.parts.empty()) timers_.insert({now + kListPause, TimerKind::list, replica.value});
}

// The sessions of a part, from one run of handles to the next.
void Owner::list_part(ProxyId replica, size_t part, Instant now) {
  constexpr uint64_t kTurn = uint64_t(kRefreshRun) * kRefreshParts;
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    if (const size_t here = refresh_part(at->first); here != part) {
      const uint64_t next = at->first / kTurn * kTurn + (here > part ? kTurn : 0) + part * kRefreshRun;
      if (next > UINT32_MAX) return;
      at = sessions_.lower_bound(static_cast<uint32_t>(next));
      continue;
    }
    const Session& s = at->second;
    if (s.counted != 0 && std::find(s.replicas.begin(), s.replicas.end(), replica) != s.replicas.end()) {
      auto& entries = refreshed_[replica].told[s.view].entries;
      entries.push_back({at->first, s.bucket_counter, s.bucket_bytes});
      if (entries.size() == kRefreshEntriesMax) tell(replica, now);
    }
    ++at;
  }
}

void Owner::tell(ProxyId replica, Instant now) {
  auto& told = refreshed_[replica].told;
  for (auto& [view, t] : told) {
    if (!t.entries.empty()) refresh(replica, view, std::exchange(t.entries, {}), now);
  }
  std::erase_if(told, [](const auto& t) { return t.second.sessions == 0; });
}

void Owner::refresh(ProxyId replica, ViewId view, std::vector<Refresh::Entry> entries, Instant now) {
  if (!reachable(replica)) return;  // the next period asks again
  ++counters_.refreshes;
  add_request({.kind = Pending::Kind::refresh,
               .body = Refresh{options_.incarnation, std::move(entries)},
               .view = view,
               .to = replica},
              now);
}

// --- answers ---

void Owner::on_refresh_answer(ViewId view, const std::vector<Refresh::Entry>& listed, const RefreshAnswer& a,
                              Instant now) {
  // What is known there has the same replicas in the view of the answer.
  for (const Refresh::Entry& e : listed) {
    auto at = sessions_.find(e.handle);
    if (at == sessions_.end() || at->second.view.revision >= view.revision) continue;
    if (std::count(a.unknown.begin(), a.unknown.end(), e.handle) > 0) continue;
    leave_refresh(e.handle, at->second);
    at->second.view = view;
    join_refresh(e.handle, at->second, now);
  }
  if (!a.unknown.empty()) resend_revocations(now);
  for (uint32_t handle : a.unknown) insert_anew(handle, now);
  // Its conflict brings the tombstone, with the time that is left of it.
  for (uint32_t handle : a.revoked) {
    auto at = sessions_.find(handle);
    if (at != sessions_.end() && at->second.request == 0) start_insert(handle, at->second, {.quiet = true}, now);
  }
}

// One insert serves all replicas.
void Owner::insert_anew(uint32_t handle, Instant now) {
  auto at = sessions_.find(handle);
  // A session that is closing or half-open ends by itself.
  if (at == sessions_.end() || at->second.request != 0 || at->second.state != RecordState::established) return;
  ++counters_.inserted_anew;
  start_insert(handle, at->second, {.quiet = true}, now);
}

// Where none of a session's replicas answers they may have left the view: whoever has its slot now says so to an
// insert. With nobody in reach that can wait.
void Owner::on_silent_replica(ProxyId replica, Instant now) {
  refreshed_[replica].silent = true;
  const auto nodes = options_.view.nodes();
  if (std::none_of(nodes.begin(), nodes.end(), [&](const ViewNode& n) { return reachable(n.id); })) return;
  auto silent = [&](ProxyId p) { return refreshed_[p].silent; };
  for (auto& [handle, s] : sessions_) {
    if (s.counted == 0 || std::find(s.replicas.begin(), s.replicas.end(), replica) == s.replicas.end()) continue;
    if (std::all_of(s.replicas.begin(), s.replicas.end(), silent)) insert_anew(handle, now);
  }
}

}  // namespace statecast
