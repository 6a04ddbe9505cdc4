// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/send_lines.h"

#include <algorithm>

namespace statecast {

SendLines::SendLines(const Layout& layout) : lines_(layout.peers.size() + 1) {
  if (!layout.underlay.address.is_v4()) return;
  for (const PortLayout& p : layout.ports) outer_.emplace_back(p.mac, layout.underlay);
}

void SendLines::find(const Burst& b, const Layout& layout, uint32_t peer[]) const {
  auto each = [&](auto f) {
    for (unsigned i = 0; i < b.count; ++i) {
      if (b.verdict[i] == Verdict::forward) f(i);
    }
  };
  // Two things lie behind each other: the place in the index, and the line.
  constexpr size_t kNear = 4096;  // peers whose places a near cache holds
  if (lines_.size() > kNear) each([&](unsigned i) { layout.peer_index.prefetch(b.member[i]); });
  each([&](unsigned i) {
    peer[i] = layout.peer_index.find(b.member[i]);
    __builtin_prefetch(&lines_[std::min<size_t>(peer[i], lines_.size() - 1)], 1);
  });
}

Counter SendLines::renew(uint32_t peer, const Snapshot& s, PeerTable& peers, uint8_t stream) {
  if (peer >= s.peers.size()) return Counter::encap_drop_no_endpoint;
  SendLine& line = lines_[peer];
  line.generation = 0;
  const PeerHop& to = s.peers[peer];
  if (to.endpoint.address.is_none()) return Counter::encap_drop_no_endpoint;
  if (!to.hop.known) return Counter::encap_drop_no_next_hop;
  peers.renew(line.keys, s.layout->peers[peer], stream);
  if (!line.keys.fresh()) return Counter::encap_drop_no_keys;
  line.port = to.hop.port;
  if (to.endpoint.address.family != s.layout->underlay.address.family) return Counter::encap_drop_no_endpoint;
  if (to.endpoint.address.is_v4()) line.receiver = outer(line).receiver(to.hop.mac, to.endpoint);
  line.generation = uint32_t(s.generation) + 1;
  return Counter::count;
}

}  // namespace statecast
