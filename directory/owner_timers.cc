// SPDX-License-Identifier: BSD-3-Clause
// The owner's timers, all of them:
//   pending   a request was not answered, or a withdrawn insert's random wait is over
//   session   a half-open or closing session's time is over: forgotten, as its record ends by itself
//   refresh   a replica's 15 s are over: a list of the sessions that it has, or their digests
//   list      a part in which a replica differs: its sessions; one part each 10 ms
//   buckets   byte buckets set anew at this moment, in full datagrams
//   revoked   a tombstone ends
#include "directory/owner.h"

namespace statecast {

namespace {

constexpr unsigned kRefreshSends = 3;  // to one replica

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
      case TimerKind::refresh: refresh_due(ProxyId{t.number}, now); break;
      case TimerKind::list: list_due(ProxyId{t.number}, now); break;
      case TimerKind::buckets: tell(ProxyId{t.number}, now); break;
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
  const bool refresh = p.kind == Pending::Kind::refresh || p.kind == Pending::Kind::digest;
  if (refresh && p.sends >= kRefreshSends) {
    ++counters_.refresh_unanswered;
    const ProxyId replica = p.to;
    drop_pending(request);
    return on_silent_replica(replica, now);
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

}  // namespace statecast
