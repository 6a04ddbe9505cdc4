// SPDX-License-Identifier: BSD-3-Clause
// Highest random weight with the logarithmic method: member i scores -ln(u_i) / weight_i with u_i uniform in (0, 1]
// from hash(packet, member), and the lowest score wins. Its share is then exactly weight_i / sum. Ring hashing was not
// taken: its shares are uneven without many points per member, and it has to be rebuilt when reachability changes.
#include "dataplane/worker/selection.h"

#include <cmath>
#include <cstring>

#include "base/mix.h"

namespace statecast {

const GroupMember* select_member(const Group& group, const std::vector<PeerHop>& peers, uint64_t hash) {
  const GroupMember* best = nullptr;
  double best_score = 0;
  for (const GroupMember& m : group.members) {
    if (m.weight == 0 || m.peer == NodeIndex::kNone || !peers[m.peer].reachable) continue;
    double u = (static_cast<double>(mix64(hash ^ mix64(m.id.value)) >> 11) + 1) * 0x1p-53;
    double score = -std::log(u) / m.weight;
    if (!best || score < best_score) {
      best = &m;
      best_score = score;
    }
  }
  return best;
}

uint64_t source_hash(const Group& group, const IpAddress& source) {
  SessionId id;
  id.raw[0] = static_cast<uint8_t>(source.is_v4() ? SessionForm::client4 : SessionForm::client6);
  id.raw[1] = static_cast<uint8_t>(group.id.value >> 16);
  id.raw[2] = static_cast<uint8_t>(group.id.value >> 8);
  id.raw[3] = static_cast<uint8_t>(group.id.value);
  size_t n = source.is_v4() ? 4 : 8;  // a client's /64 is one source
  std::memcpy(id.raw.data() + 4, source.raw.data(), n);
  id.length = static_cast<uint8_t>(4 + n);
  return session_key(id, group.secret).low;
}

}  // namespace statecast
