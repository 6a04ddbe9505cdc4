// SPDX-License-Identifier: BSD-3-Clause
// The timers of the member agent, all of them, in English:
//
//   of a session
//    1. A SYN that the kernel has not answered after 5 s is forgotten: its listen queue was full, or it was filtered.
//    2. A handshake that was not completed 10 s after its last SYN/ACK is forgotten; its mapping ends by itself then,
//       and a later SYN/ACK of the kernel starts anew.
//    3. An established session has no timer here: it ends when the kernel's socket is gone.
//    4. A session that the kernel has ended stays ours for 60 s as `closing`, so that what is late reaches the kernel.
//    5. A UDP session that was admitted is inserted with its first reply, or after 100 ms without one.
//    6. A UDP session ends when nothing of it has passed either way for its group's udp_idle.
//    7. A UDP session whose insert met another one under way is inserted again after 1 s.
//   of the agent
//    8. The kernel's socket table is read each second, and revocations whose time is over are lifted.
//    9. The byte buckets of sessions with traffic in window are set anew each 15 s, where the group refills.
//   10. Sessions of before a restart are inserted in batches, 5 ms apart, so that they do not overrun proxies.
//
// A session has one entry in the queue at most; a packet that puts its end off changes the session only, and the entry
// is moved when it comes up.
#include "tools/agent/member_timers.h"

#include <algorithm>

namespace statecast {

namespace {

constexpr Duration kSynUnanswered = 5s;
constexpr Duration kHalfOpen = 10s;
constexpr Duration kClosing = 60s;
constexpr Duration kAdmittedInsert = 100ms;
constexpr Duration kUdpBusy = 1s;
constexpr Duration kSocketsPeriod = 1s;
constexpr Duration kRefillPeriod = 15s;
constexpr Duration kRestoreBatch = 5ms;

}  // namespace

void MemberTimers::after_start(Instant now) {
  sockets_at_ = now + kSocketsPeriod;
  refill_at_ = now + kRefillPeriod;
  restore_at_ = now;
}

void MemberTimers::after_syn(MemberSession& s, Instant now) {
  arm(s, now + kSynUnanswered);
}
void MemberTimers::after_syn_ack(MemberSession& s, Instant now) {
  arm(s, now + kHalfOpen);
}
void MemberTimers::after_established(MemberSession& s) {
  s.ends = Instant::max();
}
void MemberTimers::after_close(MemberSession& s, Instant now) {
  arm(s, now + kClosing);
}
void MemberTimers::after_admit(MemberSession& s, Instant now) {
  arm(s, now + kAdmittedInsert);
}
void MemberTimers::after_udp_packet(MemberSession& s, Duration idle, Instant now) {
  arm(s, now + idle);
}
void MemberTimers::after_udp_busy(MemberSession& s, Instant now) {
  arm(s, now + kUdpBusy);
}
void MemberTimers::after_sockets_asked(Instant now) {
  sockets_at_ = now + kSocketsPeriod;
}
void MemberTimers::after_refill(Instant now) {
  refill_at_ = now + kRefillPeriod;
}
void MemberTimers::after_restore_batch(bool more, Instant now) {
  restore_at_ = more ? now + kRestoreBatch : Instant::max();
}

void MemberTimers::arm(MemberSession& s, Instant ends) {
  s.ends = ends;
  if (s.armed != Instant{} && s.armed <= ends) return;  // its entry comes up before, and is moved then
  s.armed = ends;
  queue_.push({ends, s.id});
}

bool MemberTimers::next_session_due(MemberSessions& sessions, Instant now, SessionId& out) {
  while (!queue_.empty() && queue_.top().at <= now) {
    Entry top = queue_.top();
    queue_.pop();
    MemberSession* s = sessions.find(top.id);
    if (!s || s->armed != top.at) continue;  // gone, or an earlier entry took its place
    s->armed = Instant{};
    if (s->ends == Instant::max()) continue;
    if (s->ends > now) {
      arm(*s, s->ends);
      continue;
    }
    out = top.id;
    return true;
  }
  return false;
}

Instant MemberTimers::next() const {
  Instant next = std::min({sockets_at_, refill_at_, restore_at_});
  return queue_.empty() ? next : std::min(next, queue_.top().at);
}

}  // namespace statecast
