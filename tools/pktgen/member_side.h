// SPDX-License-Identifier: BSD-3-Clause
// MemberSide: the members that a generator plays behind a proxy. Says hello and keeps the paths known (PeerTable),
// inserts sessions into the directory (Owner), opens what the proxies bring, and seals the answers. Without ports:
// bytes and time in, bytes out.
//
//   MemberSide members(options, now);
//   members.poll(now);                                                  // every 100 us or so
//   Brought b = members.take(frame, look, now);                         // a datagram to a member
//   if (b.kind == Brought::Kind::data) ... frame.subspan(b.inner)       // account for it
//   size_t head = members.seal_answer(b, now, room_before, packet);     // headers in front of the answer
//   while (size_t n = members.next_frame(out)) send(out.first(n));      // hellos, keep-alives, inserts
//
// A SYN is answered by an insert that carries the SYN/ACK, as an agent does with its kernel's; a session of `setup:
// insert` is inserted as an established one. A UDP packet that a proxy has `admitted` is inserted, too.
// Threads: one; `ready()` and the session table may be read by any. Ownership: owns peers and owners.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/session/keyed_hash.h"
#include "directory/owner.h"
#include "tools/pktgen/accounting.h"
#include "tools/pktgen/frames.h"
#include "tools/pktgen/link.h"
#include "tools/pktgen/plan.h"

namespace statecast {

struct MemberSideOptions {
  struct Member {
    MemberId id;
    NodeKey key;
    IpAddress address;
  };
  std::vector<Member> members;
  std::vector<ProxyPeerConfig> proxies;
  GroupId group;
  uint32_t incarnation = 1;
  uint32_t verify_every = 1;
  uint64_t seed = 1;
  KeyedHash::Key hash_key{};
  const Plan* plan = nullptr;
  SessionStates* sessions = nullptr;
  const Link* link = nullptr;
  WorkerCounters* counters = nullptr;
};

// What a datagram was.
struct Brought {
  enum class Kind : uint8_t {
    other,    // not an envelope to a member: the caller's
    handled,  // hello, message, SYN, or one that failed; counted
    data,     // a client's packet: `inner` and `look` say where
  };
  Kind kind = Kind::other;
  uint16_t member = 0;  // index
  ProxyId proxy;        // the ingress: answers go there
  size_t inner = 0;     // start of the inner packet within the frame
  size_t inner_length = 0;
  PacketLook look;  // relative to the inner packet
  bool admitted = false;
};

class MemberSide {
 public:
  MemberSide(MemberSideOptions options, Instant now);
  ~MemberSide();

  void poll(Instant now);
  bool ready() const { return ready_.load(std::memory_order_acquire); }  // every member has keys with every proxy

  Brought take(Bytes frame, const PacketLook& look, Instant now);
  // After take() said data and its mark was read: whether the session belongs to this member.
  bool is_home(const Brought& b, const Mark& mark, Bytes packet, Instant now);
  // Ethernet to Geneve for `packet`, into the last bytes of `room`, which ends where `packet` begins. 0: no keys.
  size_t seal_answer(const Brought& b, Instant now, Bytes packet, MutableBytes room);

  // Starts the insert of a session. False: too many are under way.
  bool insert(const StreamPlan& stream, uint32_t session, Instant now);

  // A frame to send, from the start of `out`. REQUIRES: room for an Ethernet frame of 1,514 bytes.
  size_t next_frame(MutableBytes out);
  const std::vector<MemberSideOptions::Member>& members() const { return options_.members; }

 private:
  struct Member;
  struct Ref {
    uint8_t stream;
    uint32_t session;
  };
  int member_at(const IpAddress& address) const;
  void on_syn(const Brought& b, Bytes packet, const EnvelopeOptions& options, Instant now);
  void on_event(const OwnerEvent& e);
  void note(OpenResult r);
  size_t write_frame(Member& m, const Endpoint& to, Bytes datagram, MutableBytes out);
  bool write_head(const Member& m, const Endpoint& to, Bytes envelope, MutableBytes room, size_t& length) const;

  MemberSideOptions options_;
  std::vector<std::unique_ptr<Member>> members_;
  std::unordered_map<SessionId, Ref, KeyedHash> inserting_;
  uint32_t since_verified_ = 0;
  Instant now_{};
  std::atomic<bool> ready_{false};
};

}  // namespace statecast
