// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/send_lines.h"

namespace statecast {

SendLines::SendLines(const Layout& layout) : lines_(layout.peers.size()) {
  if (!layout.underlay.address.is_v4()) return;
  for (const PortLayout& p : layout.ports) outer_.emplace_back(p.mac, layout.underlay);
}

Counter SendLines::renew(uint32_t peer, const Snapshot& s, const PeerTable& peers, uint8_t stream) {
  SendLine& line = lines_[peer];
  line.generation = 0;
  const PeerHop& to = s.peers[peer];
  if (to.endpoint.address.is_none()) return Counter::encap_drop_no_endpoint;
  if (!to.hop.known) return Counter::encap_drop_no_next_hop;
  line.keys = peers.send_keys(s.layout->peers[peer], stream);
  if (!line.keys.sending) return Counter::encap_drop_no_keys;
  line.port = to.hop.port;
  if (to.endpoint.address.family != s.layout->underlay.address.family) return Counter::encap_drop_no_endpoint;
  if (to.endpoint.address.is_v4()) line.receiver = outer(line).receiver(to.hop.mac, to.endpoint);
  line.generation = uint32_t(s.generation) + 1;
  return Counter::count;
}

}  // namespace statecast
