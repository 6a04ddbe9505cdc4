// SPDX-License-Identifier: BSD-3-Clause
// Refresh: what owners say every 15 s of the sessions that they believe to be here, as lists or as digests.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

void Node::State::on_refresh(const MessageHeader& h, const Refresh& m, Instant now) {
  RefreshAnswer& answer = refreshed;
  answer.unknown.clear();
  answer.revoked.clear();
  // All of the message's waits for memory side by side, as in on_messages.
  for (const Refresh::Entry& e : m.entries) store.prefetch_handle({h.origin, m.incarnation, e.handle});
  for (const Refresh::Entry& e : m.entries) store.prefetch_handle_record({h.origin, m.incarnation, e.handle});
  for (const Refresh::Entry& e : m.entries) {
    StoredRecord s = store.find_handle(h.origin, m.incarnation, e.handle, now);
    if (!s) {
      if (unsynced.empty()) answer.unknown.push_back(e.handle);  // else what is missing here may still come
    } else if (s.state() == RecordState::revoked) {
      answer.revoked.push_back(e.handle);
    } else if (s.state() == RecordState::removed) {
      answer.unknown.push_back(e.handle);  // the insert meets the tombstone, or passes it
    } else {
      if (e.counter > s.bucket_counter()) {
        set_bucket(s, e.bucket_bytes, e.counter, fresh_in(s.key().slot(), now, kRefreshLate), now);
      }
      if (s.state() == RecordState::established) {
        store.set_expires(s, std::max(s.expires(), now + kEstablishedLife));
      }
      // Inserted anew, it comes to those who have the slot now, and the owner learns who they are.
      if (has_moved(s.key().slot(), h.view)) answer.unknown.push_back(e.handle);
    }
  }
  send(h.origin, h.request, h.origin, answer);
}

// A part that is the same here is as good as listed. Where the owner was told its replicas in another view, or
// something may still come, it lists all: what it has to be told of single sessions is in the answers to that.
void Node::State::on_refresh_digest(const MessageHeader& h, const RefreshDigest& m, Instant now) {
  RefreshDifference answer;
  const bool settled = unsynced.empty() && h.view == options.view.id();
  const RefreshDigests& ours = store.refresh_digests(h.origin, m.incarnation);
  for (size_t part = 0; part < kRefreshParts; ++part) {
    if (settled && ours[part] == m.digests[part]) {
      store.renew_part(h.origin, m.incarnation, part, now + kEstablishedLife);
      ++count.refresh_same;
    } else if (m.digests[part] != 0) {
      answer.parts.push_back(static_cast<uint8_t>(part));
      ++count.refresh_different;
    }
  }
  send(h.origin, h.request, h.origin, answer);
}

}  // namespace statecast
