// SPDX-License-Identifier: BSD-3-Clause
// World: a proxy's packet path without a machine around it: one layout, two members that have said hello, a session
// cache, and packets from a real pool.
//
//   World w;
//   w.put("10 tcp 198.51.100.7:40000 203.0.113.10:443", {.member = kM1});
//   auto r = w.run({{frame, kWan}});   r[0].verdict, r[0].reason, r[0].output
//
//   proxy p1 (underlay 10.2.0.1:6081)           member m1 10.2.0.11, m2 10.2.0.12
//   port 0 wan 192.0.2.1/24 2001:db8:2::1/64, gateway .254 (mac 02::a)     port 1 under 10.2.0.1/24 (members 02::b1,
//   ::b2) groups  10 web    203.0.113.10  2001:db8:1::10   tcp 443 stateful, udp stateful, tcp 81 drop   m1 m2
//           20 plain  203.0.113.20                   all stateless                                  m1
//           30 game   203.0.113.30                   udp stateful, unknown: admit                   m2
//           40 other  203.0.113.40/29                tcp stateful, unknown: stateless               m1 m2
// Threads: one. Ownership: owns everything; frees the packets of a run.
#pragma once

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <memory>
#include <string>
#include <vector>

#include "dataplane/worker/outer.h"
#include "dataplane/worker/pipeline.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {

inline constexpr uint16_t kWan = 0, kUnder = 1;
inline constexpr MemberId kM1{1}, kM2{2}, kM3{3};  // m3 is unknown to every group
inline const MacAddress kGatewayMac{{2, 0, 0, 0, 0, 0x0a}};
inline const MacAddress kWanMac{{2, 0, 0, 0, 0, 2}}, kUnderMac{{2, 0, 0, 0, 0, 3}};  // wan: where eth() sends
inline constexpr char kToUnder[] = "02:00:00:00:00:03";

struct In {
  Packet frame;
  uint16_t port = kWan;
};

struct Out {
  Verdict verdict = Verdict::pending;
  Counter reason = Counter::count;
  MemberId member;
  uint16_t port = 0;
  bool ask = false;
  Packet output;  // the buffer after the pipeline
};

class World {
 public:
  explicit World(uint32_t sessions = 1024);
  ~World();

  std::vector<Out> run(const std::vector<In>& in);
  void put(const std::string& session, CacheEntry entry);
  SessionKey key_of(const std::string& session) const;

  // What member m sends: an envelope with this inner packet, in a frame on the underlay port.
  In from_member(MemberId m, GroupId group, const Packet& inner, const EnvelopeOptions& options = {});
  In envelope_frame(MemberId m, const Packet& envelope);
  // Opens what the proxy sent to member m. The envelope's payload points into `frame`.
  OpenResult open_at(MemberId m, const Packet& frame, Envelope& out);

  rte_mempool* pool() { return pool_; }
  PeerTable& proxy() { return *proxy_; }
  SessionCache& cache() { return *cache_; }
  PipelineState& state() { return *state_; }
  // To be changed in place: what was copied of it is old from here on.
  Snapshot& snapshot() {
    ++snapshot_.generation;
    return snapshot_;
  }
  std::shared_ptr<const Layout> layout() const { return snapshot_.layout; }
  Instant now;

 private:
  PeerTable& member(MemberId m) { return *members_[m.value - 1]; }
  void say_hello(PeerTable& member, const Endpoint& at);

  rte_mempool* pool_;
  std::unique_ptr<PeerTable> proxy_;
  std::vector<std::unique_ptr<PeerTable>> members_;
  std::unique_ptr<SessionCache> cache_;
  Snapshot snapshot_;
  std::unique_ptr<PipelineState> state_;
};

// The Ethernet payload of a frame with the given header, as it must look on the wire.
Packet with_ethernet(const MacAddress& to, const MacAddress& from, const Packet& ip);

}  // namespace statecast::test
