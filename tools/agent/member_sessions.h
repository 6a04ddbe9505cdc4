// SPDX-License-Identifier: BSD-3-Clause
// MemberSessions: what a member knows of each of its TCP and UDP sessions from their packets; the table is bounded.
//
//   MemberSession* s = sessions.find(id);
//   if (!s) s = sessions.create(id, SessionPhase::syn);    // nullptr: full
//   note_client_tcp(*s, tcp);  note_kernel_tcp(*s, tcp);   // what a segment says about the connection
//
// A session's way:   TCP  syn -> half_open -> established -> closing -> forgotten
//                    UDP  udp_new -> udp -> forgotten
// Threads: one. Ownership: the table owns its sessions; a pointer is good until the session is erased.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "dataplane/packet/parse.h"
#include "dataplane/session/session_id.h"
#include "tools/agent/keyed_hash.h"

namespace statecast {

inline constexpr size_t kMemberSessionsMax = 1'000'000;
// Handshakes that the kernel has not answered, or the client not completed: a flood of SYNs ends here.
inline constexpr size_t kMemberHandshakesMax = 131'072;

enum class SessionPhase : uint8_t {
  syn,          // a SYN went to the kernel, which has not answered
  half_open,    // its SYN/ACK went to the directory
  established,  // the client has answered, or the kernel's table says so
  closing,      // the kernel has ended it
  udp_new,      // admitted; leased to the ingress proxy, not inserted
  udp,          // inserted, or being inserted
};
const char* to_string(SessionPhase p);
inline bool is_tcp(SessionPhase p) {
  return p < SessionPhase::udp_new;
}

struct MemberSession {
  SessionId id;
  SessionPhase phase = SessionPhase::syn;
  bool held = false;       // the directory has answered its insert, or the client has shown that it has the SYN/ACK
  bool forwarded = false;  // its SYN came from another member, so it is never sent on
  bool in_window = false;  // the client has sent something in window since the last refill
  bool in_kernel_table = false;   // the table that is being looked at has it
  ProxyId proxy;                  // brought its last packet: replies leave through it
  ProxyId replica_hint;           // a replica of its slot, as the ingress proxy said with the SYN
  uint32_t syn_sequence = 0;      // of the client's SYN
  uint32_t syn_ack_sequence = 0;  // of the kernel's last SYN/ACK
  uint32_t kernel_next = 0;       // the sequence number behind all that the kernel has sent
  uint32_t kernel_ack = 0;        // what the kernel has acknowledged
  bool kernel_seen = false;       // the two above are known
  std::vector<uint8_t> syn;       // the client's SYN, kept until the handshake completes
  Instant last_packet{};          // of the client, or for UDP of either side
  Instant established_at{};
  Instant ends{};                   // what its timer waits for (member_timers.cc)
  Instant armed{};                  // where its timer stands in the queue
  uint64_t packets = 0, bytes = 0;  // of the client
};

// The fields of a TCP segment that say something about a connection.
struct TcpSegment {
  uint32_t sequence = 0, acknowledgement = 0;
  uint32_t length = 0;  // in sequence space
  uint8_t flags = 0;
  bool syn() const { return flags & 0x02; }
  bool rst() const { return flags & 0x04; }
  bool ack() const { return flags & 0x10; }
};
// REQUIRES: `p` is a TCP packet as parse_ip left it, not an ICMP error and no later fragment.
TcpSegment tcp_segment(Bytes packet, const ParsedPacket& p);

// The client's segment completes the handshake.
bool completes_handshake(const MemberSession& s, const TcpSegment& t);
// The client's segment is one that the connection can have: acknowledges what was sent, and lies near what is awaited.
bool is_in_window(const MemberSession& s, const TcpSegment& t);
void note_kernel_tcp(MemberSession& s, const TcpSegment& t);
// The kernel's reset answers the SYN: the port is closed.
bool is_reset_of_syn(const MemberSession& s, const TcpSegment& t);

class MemberSessions {
 public:
  explicit MemberSessions(const KeyedHash::Key& key, size_t sessions_max = kMemberSessionsMax,
                          size_t handshakes_max = kMemberHandshakesMax);

  MemberSession* find(const SessionId& id);
  const MemberSession* find(const SessionId& id) const;
  // REQUIRES: not there. nullptr when the table, or its part for handshakes, is full.
  MemberSession* create(const SessionId& id, SessionPhase phase);
  void set_phase(MemberSession& s, SessionPhase phase);
  void erase(const SessionId& id);

  size_t size() const { return table_.size(); }
  size_t count(SessionPhase p) const { return counts_[static_cast<size_t>(p)]; }
  template <class F>
  void for_each(F f) {
    for (auto& [id, s] : table_) f(*s);
  }
  template <class F>
  void for_each(F f) const {
    for (const auto& [id, s] : table_) f(static_cast<const MemberSession&>(*s));
  }

 private:
  size_t sessions_max_, handshakes_max_;
  std::array<size_t, 6> counts_{};
  std::unordered_map<SessionId, std::unique_ptr<MemberSession>, KeyedHash> table_;
};

}  // namespace statecast
