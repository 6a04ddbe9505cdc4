// SPDX-License-Identifier: BSD-3-Clause
// MemberTimers: every timer of the member agent, set by the event that it follows. What they are stands atop
// member_timers.cc. (The directory's own are in Owner, hello's and keep-alive's in PeerTable.)
//
//   timers.after_syn(session, now);
//   while (timers.next_session_due(now, id)) ...
//   wake_at(timers.next());
//
// Threads: one. Ownership: names sessions by ID; one that is gone when its timer ends is skipped by the caller's find.
#pragma once

#include <queue>
#include <vector>

#include "base/units.h"
#include "tools/agent/member_sessions.h"

namespace statecast {

class MemberTimers {
 public:
  // Call after ...
  void after_start(Instant now);                                        // the agent has its sessions of before
  void after_syn(MemberSession& s, Instant now);                        // a SYN went to the kernel
  void after_syn_ack(MemberSession& s, Instant now);                    // a SYN/ACK went to the directory
  void after_established(MemberSession& s);                             // the handshake is complete
  void after_close(MemberSession& s, Instant now);                      // the kernel has ended it
  void after_admit(MemberSession& s, Instant now);                      // a UDP session was taken
  void after_udp_packet(MemberSession& s, Duration idle, Instant now);  // either way, once it is being inserted
  void after_udp_busy(MemberSession& s, Instant now);                   // another insert was under way
  void after_sockets_asked(Instant now);                                // the socket table is to be read
  void after_refill(Instant now);                                       // buckets were set anew
  void after_restore_batch(bool more, Instant now);                     // some restored sessions were inserted

  // The next session whose timer has ended; its `ends` says what for, by its phase.
  bool next_session_due(MemberSessions& sessions, Instant now, SessionId& out);
  bool sockets_due(Instant now) const { return now >= sockets_at_; }
  bool refill_due(Instant now) const { return now >= refill_at_; }
  bool restore_due(Instant now) const { return now >= restore_at_; }
  Instant next() const;

 private:
  struct Entry {
    Instant at;
    SessionId id;
    bool operator>(const Entry& o) const { return at > o.at; }
  };
  void arm(MemberSession& s, Instant ends);

  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
  Instant sockets_at_ = Instant::max(), refill_at_ = Instant::max(), restore_at_ = Instant::max();
};

}  // namespace statecast
