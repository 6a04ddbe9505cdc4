// SPDX-License-Identifier: BSD-3-Clause
// Opening the data envelopes of a burst. The order of checks is that of PeerTable::open (peer, tag, window, then
// anything else), but the tags of all are hashed together in vector lanes. What cannot ride along (hellos, whose key
// and window are others, and messages, whose tag covers all of them) goes one by one.
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "dataplane/envelope/peer.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/envelope/tag_rows.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

namespace {

// What is known of a datagram while its tag is being looked at.
struct Claim {
  Peer* peer;
  uint8_t generation;
  SipTag key;
  WireHead head;
};
// Of a burst, not initialized: that would write 5 KB for each.
union Claims {
  Claims() {}
  Claim at[PeerTable::kOpenBurstMax];
};
static_assert(std::is_trivially_destructible_v<Claim> && std::is_trivially_copyable_v<Claim>);

}  // namespace

void PeerTable::open_burst(std::span<const Bytes> datagrams, Envelope* const out[], OpenResult results[], Instant now) {
  SC_ASSERT(datagrams.size() <= kOpenBurstMax);
  Claims claims;
  std::array<uint8_t, kOpenBurstMax> of_tag;  // which datagram
  TagRows rows;
  for (size_t i = 0; i < datagrams.size(); ++i) {
    Claim& c = claims.at[i];
    WireHead& head = c.head;
    if (!read_head(datagrams[i], head)) {
      results[i] = OpenResult::malformed;
      continue;
    }
    if (head.key_epoch == 0 || head.kind == PayloadKind::message) {
      results[i] = open(datagrams[i], *out[i]);
      if (results[i] == OpenResult::ok) heard(*out[i], {}, now);
      continue;
    }
    c.peer = find(head.sender);
    if (c.peer == nullptr) {
      results[i] = OpenResult::unknown_peer;
      continue;
    }
    const KeySlot& keys = c.peer->slots[head.key_epoch % kKeySlots];
    const KeySlot::Meta meta = keys.meta();
    if (meta.receive_epoch != head.key_epoch || meta.boot != head.stamp.boot) {
      results[i] = OpenResult::unknown_peer;
      continue;
    }
    c.generation = meta.generation;
    c.key = keys.receive_key();
    of_tag[rows.count()] = static_cast<uint8_t>(i);
    rows.add(c.key, datagrams[i].first(datagrams[i].size() - head.payload.size()), head.payload);
  }
  rows.hash();
  for (size_t k = 0; k < rows.count(); ++k) {
    const size_t i = of_tag[k];
    Claim& c = claims.at[i];
    const WireHead& head = c.head;
    if (!rows.same(k, datagrams[i].data() + kTagAt)) {
      results[i] = OpenResult::bad_tag;
    } else if (head.stream >= c.peer->streams()) {
      results[i] = OpenResult::malformed;
    } else if (!c.peer->window_accepts(head.stream, c.generation, head.sequence)) {
      results[i] = OpenResult::replayed;
    } else if (!fill(head, *out[i])) {
      results[i] = OpenResult::malformed;
    } else {
      results[i] = OpenResult::ok;
      hear(*c.peer, *out[i], now);
    }
  }
}

}  // namespace statecast
