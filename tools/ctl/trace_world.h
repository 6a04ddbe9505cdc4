// SPDX-License-Identifier: BSD-3-Clause
// Trace world: a proxy without ports, peers or a directory, in which captured packets go through the very steps that a
// worker runs (dataplane/worker/pipeline.h).
//
//   auto world = TraceWorld::create(config, fleet, start, entries);
//   Traced t = world->run(packet, LinkType::ethernet);     // t.verdict, t.reason, ...
//
// What is outside is put on: every member is reachable and has keys (a hello is exchanged with a stand-in for each),
// has the address 10.x.y.z (fd00::x:y:z) that spells its ID, and every next hop answers. The directory never answers: a
// packet that would cause a question ends as `query`, and none is held.
// Time is the capture's: it starts with the first packet and never goes back.
// Threads: one; the first world starts DPDK's EAL, without huge pages. Ownership: owns all of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "dataplane/cache/session_cache.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/session/rules.h"
#include "dataplane/session/session_id.h"
#include "tools/ctl/pcap_io.h"

namespace statecast {

// A cache entry that is there when the capture starts.
struct PreloadedSession {
  SessionId id;
  CacheEntry entry;  // `ends` is set by the world
  Duration lifetime{};
};

// What became of a packet, as the command prints it.
struct Traced {
  std::optional<std::string> group;
  PacketClass packet_class = PacketClass::none;
  std::optional<std::string> protocol;
  struct Ends {
    IpAddress client, server;
    std::optional<Port> client_port, server_port;  // a later fragment has none
  };
  std::optional<Ends> session;
  const char* verdict = "drop";  // forward, query, kernel, drop
  std::optional<std::string> member;
  std::string reason;
  std::optional<uint64_t> bytes_left;
  std::optional<int64_t> expires_in_ms;
  std::vector<uint8_t> sent;  // the frame that would leave; empty: none
};

class TraceWorld {
 public:
  static Result<std::unique_ptr<TraceWorld>> create(const ProxyConfig& config, const FleetSecret& fleet, Instant start,
                                                    const std::vector<PreloadedSession>& sessions);
  ~TraceWorld();

  Traced run(const CapturedPacket& packet, LinkType link);

 private:
  struct State;
  explicit TraceWorld(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace statecast
