// SPDX-License-Identifier: BSD-3-Clause
// Opening the data envelopes of a burst. The order of checks is that of PeerTable::open (peer, tag, window, then
// anything else), but the tags of all are hashed together in vector lanes. What cannot ride along (hellos, whose key
// and window are others, and messages, whose tag covers all of them) goes one by one.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/uninitialized.h"
#include "dataplane/envelope/data_tags.h"
#include "dataplane/envelope/peer.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

namespace {

// What is known of a datagram while its tag is being looked at.
struct Claim {
  Peer* peer;
  uint8_t generation;
  SipTag key, tag;  // tag: what it should be
  WireHead head;
};

}  // namespace

void PeerTable::open_burst(std::span<const Bytes> datagrams, Envelope* const out[], OpenResult results[], Instant now) {
  SC_ASSERT(datagrams.size() <= kOpenBurstMax);
  Uninitialized<Claim, kOpenBurstMax> claims;
  std::array<uint8_t, kOpenBurstMax> of_tag;  // which datagram
  size_t tagged = 0;
  DataTags tags;
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
    of_tag[tagged++] = static_cast<uint8_t>(i);
    const size_t payload = head.payload.size();
    tags.add(c.key.data(), datagrams[i].data(), datagrams[i].size() - payload, payload, c.tag.data());
  }
  tags.hash();
  for (size_t k = 0; k < tagged;) {
    const Claim& first = claims.at[of_tag[k]];
    // Those of one stream in a row meet its window together.
    uint64_t sequence[kOpenBurstMax], newest = 0;
    uint8_t of_sequence[kOpenBurstMax];
    bool is_new[kOpenBurstMax];
    size_t n = 0;
    for (; k < tagged; ++k) {
      const size_t i = of_tag[k];
      const Claim& c = claims.at[i];
      if (c.peer != first.peer || c.head.stream != first.head.stream || c.head.key_epoch != first.head.key_epoch ||
          c.generation != first.generation) {
        break;
      }
      if (!same_tag(c.tag.data(), datagrams[i].data() + kTagAt)) {
        results[i] = OpenResult::bad_tag;
      } else if (c.head.stream >= c.peer->streams()) {
        results[i] = OpenResult::malformed;
      } else {
        of_sequence[n] = static_cast<uint8_t>(i);
        sequence[n++] = c.head.sequence;
      }
    }
    if (n == 0) continue;
    first.peer->window_accepts(first.head.stream, first.generation, sequence, n, is_new);
    bool heard_it = false;
    for (size_t m = 0; m < n; ++m) {
      const size_t i = of_sequence[m];
      const WireHead& head = claims.at[i].head;
      if (!is_new[m]) {
        results[i] = OpenResult::replayed;
      } else if (!fill(head, *out[i])) {
        results[i] = OpenResult::malformed;
      } else {
        results[i] = OpenResult::ok;
        heard_it = true;
        newest = std::max(newest, head.stamp.timestamp_us);
      }
    }
    if (heard_it) hear(*first.peer, first.head.key_epoch, {first.head.stamp.boot, newest}, now);
  }
}

}  // namespace statecast
