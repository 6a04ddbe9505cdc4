// SPDX-License-Identifier: BSD-3-Clause
// From configuration to what workers read: the Layout once (and its hints with each view), a Snapshot whenever
// addresses, next hops or reachability have moved.
//
//   auto layout = make_layout(config, fleet, view, ports);
//   auto snapshot = make_snapshot(layout, peers, neighbours, now);
//   if (!same(*snapshot, board.newest())) board.publish(std::move(snapshot));
//
// Threads: control. Ownership: the board takes the snapshots.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "control/neighbours.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/worker/snapshot.h"
#include "directory/node.h"
#include "directory/view.h"

namespace statecast {

// A member that has not been heard for this long is out of this proxy's selection (design, "Dead members").
inline constexpr Duration kUnreachableAfter = 1s;

View make_view(const ProxyConfig& config);
// By slot: an agent's insert goes through the proxy that brought the SYN; it saves a hop where that one is a replica
// itself.
std::vector<ProxyId> replica_hints(ProxyId self, const View& view);

// `macs`: by port number of the device, which is the place in config.ports.
Result<std::shared_ptr<const Layout>> make_layout(const ProxyConfig& config, const FleetSecret& fleet, const View& view,
                                                  const std::vector<MacAddress>& macs);
std::vector<DirectoryGroup> make_directory_groups(const ProxyConfig& config, const FleetSecret& fleet);
// Adds every proxy and member of the file to the table.
void add_peers(const ProxyConfig& config, const FleetSecret& fleet, PeerTable& peers);

// What has to be asked of the network for an address of the underlay: itself where on link, else the gateway.
struct Via {
  uint16_t port;
  IpAddress address;
};
std::optional<Via> via_underlay(const Layout& layout, const IpAddress& a);

// Also makes `neighbours` want each next hop that a peer needs.
std::unique_ptr<Snapshot> make_snapshot(const std::shared_ptr<const Layout>& layout, const PeerTable& peers,
                                        Neighbours& neighbours, Instant now);
bool same(const Snapshot& a, const Snapshot& b);

}  // namespace statecast
