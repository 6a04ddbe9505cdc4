// SPDX-License-Identifier: BSD-3-Clause
// The owner's timers, all of them:
//   pending   a request was not answered, or a withdrawn insert's random wait is over
//   session   a half-open or closing session's time is over: forgotten, as its record ends by itself
//   refresh   an established session's 15 s are over; those due soon go along, so that datagrams are full
//   revoked   a tombstone ends
#include "directory/owner.h"

namespace statecast {

namespace {

constexpr unsigned kRefreshSends = 3;      // to one replica
constexpr Duration kRefreshAhead = 250ms;  // refreshes due within this go along

}  // namespace

void Owner::on_deadline(Instant now) {
  while (!timers_.empty() && timers_.begin()->at <= now) {
    Timer t = *timers_.begin();
    timers_.erase(timers_.begin());
    switch (t.kind) {
      case TimerKind::pending: on_pending_due(t.number, now); break;
      case TimerKind::session:
        sessions_.at(t.number).ends.reset();
        forget(t.number);
        break;
      case TimerKind::refresh:
        timers_.insert(t);
        refresh_due(now);
        break;
      case TimerKind::revoked: lift(t.number); break;
    }
  }
  resend_more(now);
}

void Owner::on_pending_due(uint32_t request, Instant now) {
  auto at = pending_.find(request);
  Pending& p = at->second;
  if (p.withdrawn) return insert_again(p, now);           // the wait is over
  if (p.quiet && p.stored) return drop_pending(request);  // sent again, and not silent for long
  if (p.kind == Pending::Kind::refresh && p.sends >= kRefreshSends) {
    ++counters_.refresh_unanswered;
    const std::vector<Refresh::Entry> entries = std::move(std::get<Refresh>(p.body).entries);
    drop_pending(request);
    return on_refresh_unanswered(entries, now);
  }
  if (p.gives_up && *p.gives_up <= now) {
    OwnerEvent event{.kind = OwnerEvent::Kind::failed,
                     .id = p.id,
                     .request = request,
                     .failed_status = RequestAnswer::Status::try_again};
    const bool quiet = p.quiet;
    drop_pending(request);
    if (!quiet) emit(event);
    return;
  }
  send(request, p, now);
}

// Sends what is due, and what is due soon, as full datagrams to each replica.
void Owner::refresh_due(Instant now) {
  std::vector<uint32_t> due;
  for (const Timer& t : timers_) {
    if (t.at > now + kRefreshAhead) break;
    if (t.kind == TimerKind::refresh) due.push_back(t.number);
  }
  std::map<std::pair<ProxyId, ViewId>, std::vector<Refresh::Entry>> entries;
  for (uint32_t handle : due) {
    Session& s = sessions_.at(handle);
    timers_.erase({*s.refreshes, TimerKind::refresh, handle});
    s.refreshes = now + options_.refresh_period;
    s.silent = 0;
    timers_.insert({*s.refreshes, TimerKind::refresh, handle});
    for (ProxyId p : s.replicas) {
      auto& list = entries[{p, s.view}];
      list.push_back({handle, s.bucket_counter, s.bucket_bytes});
      if (list.size() == kRefreshEntriesMax) refresh(p, s.view, std::exchange(list, {}), now);
    }
  }
  for (auto& [to, list] : entries)
    if (!list.empty()) refresh(to.first, to.second, std::move(list), now);
}

void Owner::refresh(ProxyId replica, ViewId view, std::vector<Refresh::Entry> entries, Instant now) {
  if (!reachable(replica)) return on_refresh_unanswered(entries, now);
  ++counters_.refreshes;
  add_request({.kind = Pending::Kind::refresh,
               .body = Refresh{options_.incarnation, std::move(entries)},
               .view = view,
               .to = replica},
              now);
}

}  // namespace statecast
