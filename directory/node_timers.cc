// SPDX-License-Identifier: BSD-3-Clause
// Every timer of a node. They are set in this file only, each by a function named for the event that sets it.
//
//   heartbeat   every 250 ms to each other node of the view and of those before it that are not forgotten; also looks
//   for peers that left a change unacknowledged for
//               45 s, for outcomes of requests to forget after 30 s, and, out of sync, for replicas unheard for 15 s
//   changes     per peer, while its list of changes is not empty: send again after max(50 ms, 2 x RTT), then
//               twice as long each time up to 1 s, until it acknowledges one
//   write       an insert under way: place again after max(50 ms, 2 x RTT) where nobody answered, and decide after
//               max(200 ms, 3 x RTT) (degraded, or refused)
//   placed      a record only placed for 100 ms: complete it; when that finds too few replicas, again after 200 ms,
//   then
//               twice as long each time up to 1.6 s, until the record ends
//   push        a purge or notice: again after max(50 ms, 2 x RTT), then twice as long each time up to 1 s, until it is
//               acknowledged or time stands in for that
//   request     a removal or revocation: `degraded` after max(200 ms, 3 x RTT); ask for silence again after 50 ms, then
//               twice as long each time up to 800 ms; when time stands in for what is missing
//   sync        out of sync somewhere: ask a replica for its next chunk 200 us after the one before, and again after
//               max(100 ms, 2 x RTT)
//   compare     every 10 s (the first time at random): digests to one of the other nodes, in turn
//   summary     while a summary is being built: the next 4,096 records after 1 ms
//
// Besides, each record ends at its own time (Store). A timer whose reason is gone does nothing when its time comes.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr Duration kChunkPause = 200us, kRepairPause = 20ms;
constexpr Duration kComparePeriod = 10s;
constexpr Duration kSummaryPause = 1ms;
}  // namespace

void Node::State::arm(Instant when, Timer kind, uint64_t id, const SessionKey& key) {
  timers.push({when, ++armed, kind, id, key});
}

void Node::State::start_timers(Instant now) {
  arm(now, Timer::heartbeat, 0);
  arm(now + Duration(static_cast<int64_t>(rng() % static_cast<uint64_t>(Duration(kComparePeriod).count()))),
      Timer::compare, 0);
}

void Node::State::after_heartbeats(Instant now) {
  arm(now + kHeartbeatPeriod, Timer::heartbeat, 0);
}

void Node::State::after_compared(Instant now) {
  arm(now + kComparePeriod, Timer::compare, 0);
}

void Node::State::after_summary_step(Instant now) {
  arm(now + kSummaryPause, Timer::summary, 0);
}

void Node::State::after_changes_sent(OtherNode& p, bool again, Instant now) {
  if (p.pending() == 0) {
    p.send_at = Instant::max();
    return;
  }
  if (!again && p.send_at != Instant::max()) return;
  p.send_at = now + std::min<Duration>(1s, p.retry() * (1 << std::min(p.tries, 5u)));
  p.tries += again;
  arm(p.send_at, Timer::changes, p.id.value);
}

void Node::State::after_places_sent(Write& w, Instant now, bool first) {
  Duration rtt = rtt_max(w.record.key.slot());
  if (first) w.deadline = now + std::max<Duration>(200ms, 3 * rtt);
  w.resend = std::min(w.deadline, now + std::max<Duration>(50ms, 2 * rtt));
  arm(w.resend, Timer::write, w.id);
}

void Node::State::after_placed(Placed& p, Instant now) {
  p.due = now + kCompleteAfter * (1 << std::min(p.tries, 4u));
  arm(p.due, Timer::placed, 0, p.record.key);
}

void Node::State::after_push_sent(uint32_t id, const Push& p, Instant now) {
  const OtherNode* to = p.to.is_proxy() ? peer(p.to.as_proxy()) : nullptr;
  Duration wait = std::min<Duration>(1s, (to ? to->retry() : Duration(50ms)) * (1 << std::min(p.tries, 5u)));
  arm(std::min(p.until, now + wait), Timer::push, id);
}

void Node::State::after_request_step(Request& r, Instant now) {
  if (r.done) return;
  r.next = now + 50ms * (1 << std::min(r.tries, 4u));
  if (!r.stored && !r.said_degraded) r.next = r.deadline;
  if (r.time_stands_in > now) r.next = std::min(r.next, r.time_stands_in);
  arm(r.next, Timer::request, r.id);
}

void Node::State::after_walk_asked(OtherNode& p, Instant now) {
  Instant& again = walk_of(p.id)->again;
  again = now + std::max<Duration>(100ms, 2 * p.rtt());
  arm(again, Timer::sync, p.id.value);
}

// At most 5,000 chunks a second from one replica: some 6 MB/s. A repair has time.
void Node::State::after_chunk(OtherNode& p, Instant now) {
  Instant& again = walk_of(p.id)->again;
  again = now + (walk_of(p.id)->repair ? kRepairPause : kChunkPause);
  arm(again, Timer::sync, p.id.value);
}

Instant Node::State::next_deadline() const {
  return std::min(timers.empty() ? Instant::max() : timers.top().when, store.next_expiry());
}

void Node::State::enter(Instant now) {
  bool paused = now - last_now > kHeartbeatPeriod + kPermitLife;
  last_now = std::max(last_now, now);
  if (paused) after_pause(now);
}

void Node::State::on_deadline(Instant now) {
  store.expire(now);
  while (!timers.empty() && timers.top().when <= now) {
    Armed t = timers.top();
    timers.pop();
    on_timer(t.kind, t.id, t.key, now);
  }
}

void Node::State::on_timer(Timer kind, uint64_t id, const SessionKey& key, Instant now) {
  auto key32 = static_cast<uint32_t>(id);
  switch (kind) {
    case Timer::heartbeat: return send_heartbeats(now);
    case Timer::changes: {
      OtherNode* p = peer(ProxyId{key32});
      if (p && p->send_at <= now) send_changes(*p, true, now);
      return;
    }
    case Timer::write:
      if (Write** w = writes.find(key32); w && (*w)->resend <= now) on_write_timer(**w, now);
      return;
    case Timer::placed: return complete(key, now);
    case Timer::push:
      if (auto it = pushes.find(key32); it != pushes.end()) {
        if (it->second.until <= now) {
          ++count.push_expired;
          drop_push(key32, now);
        } else {
          ++it->second.tries;
          send_push(key32, it->second, now);
        }
      }
      return;
    case Timer::request:
      if (auto it = requests.find(key32); it != requests.end() && it->second.next <= now) {
        on_request_timer(it->second, now);
      }
      return;
    case Timer::sync:
      if (Walk* walk = walk_of(ProxyId{key32}); walk && !walk->done && walk->again <= now) {
        ask_walk(*peer(ProxyId{key32}), now);
      }
      return;
    case Timer::compare: compare_next(now); return after_compared(now);
    case Timer::summary: return walk_summary(now);
  }
}

}  // namespace statecast
