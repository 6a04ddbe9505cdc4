// SPDX-License-Identifier: BSD-3-Clause
// Fleet: one real proxy's packet path with everything around it made up: groups, members that have said hello, and
// sessions in the cache, all by formula, so that any of 100 million sessions can be told from its number.
//
//   auto fleet = Fleet::create({.sessions = 1'000'000, .members = 10});
//   Session s = fleet->session(17);                 // its addresses, its member
//   fleet->cache().put(fleet->key(17), fleet->lease(17), now);
//   fleet->check(frame);                            // opens what the proxy sent, as its member would
//
//   client of session n    16.0.0.0 + n, port 40000         group g    198.18.0.0 + g, id g + 1, TCP 443
//   member m               10.0.0.0 + m, id m, port 6081    proxy      10.255.0.1:6081
//
// Threads: one, but for what the cache and the peers allow. Ownership: owns all of it.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/worker/snapshot.h"
#include "dataplane/worker/worker.h"

namespace statecast::bench {

struct FleetOptions {
  uint32_t sessions = 1'000'000;
  uint32_t room = 0;  // how many sessions more than these the cache has room for
  uint32_t groups = 1, members = 1;
  unsigned workers = 1;
  SessionCacheOptions cache;  // sessions, readers and zero are set here
};

struct Session {
  uint32_t client;  // IPv4 address, host order
  uint32_t group;   // index
  MemberId member;
};

inline constexpr uint16_t kClientPort = 40'000, kServerPort = 443;
inline constexpr uint32_t kUnknownSessions = 96u << 24;  // numbers from here on are never in the cache
inline constexpr uint32_t kFirstClient = 16u << 24, kFirstGroup = 198u << 24 | 18u << 16;

class Fleet {
 public:
  // REQUIRES: DPDK has started.
  static Result<std::unique_ptr<Fleet>> create(const FleetOptions& options, const MacAddress& port_mac);

  Session session(uint32_t n) const;
  void keys(const uint32_t n[], size_t count, SessionKey out[]) const;  // count <= 64
  CacheEntry lease(uint32_t n, Instant now) const;
  void fill(Instant now);  // puts every session that there is room for

  // A frame that the proxy sent to a member: opened with that member's keys, and compared with its session. False: not
  // what should have been sent.
  bool check(Bytes frame);
  // The same of what it sent to a client.
  bool check_reply(Bytes frame) const;
  // A member's answer in its session, sealed, as the frame that the proxy receives. Returns its length.
  size_t reply(uint32_t n, Instant now, MutableBytes frame);

  const FleetOptions& options() const { return options_; }
  SessionCache& cache() { return *cache_; }
  PeerTable& peers() { return *proxy_; }
  SnapshotBoard& board() { return board_; }

 private:
  Fleet(const FleetOptions& options, std::unique_ptr<SessionCache> cache, Instant now);
  void make_layout(const MacAddress& port_mac);
  void say_hello(Instant now);

  const FleetOptions options_;
  const uint32_t members_per_group_;
  std::unique_ptr<SessionCache> cache_;
  std::shared_ptr<Layout> layout_;
  std::unique_ptr<PeerTable> proxy_;
  std::vector<std::unique_ptr<PeerTable>> members_;
  SnapshotBoard board_;
};

}  // namespace statecast::bench
