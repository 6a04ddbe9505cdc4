// SPDX-License-Identifier: BSD-3-Clause
// Out of sync and back. A node that starts, or is told that it missed changes, is out of sync until R-W+1 in-sync
// replicas of each of its slots have sent what they hold. Where fewer exist (a cold start, two restarts) it takes the
// union of what all others answered, or of those that were heard in the last 15 s. Meanwhile it takes writes, but they
// do not count; it answers neither live nor none, and grants nothing.
//
// In sync or not is kept per node, not per slot: the view does not change, so all slots come back together.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr size_t kChunkRecords = 18;    // so that a chunk stays below 1,200 bytes
constexpr size_t kChunkPlaces = 4'096;  // looked at for one chunk
static_assert(kChunkRecords <= kSyncRecordsMax && kMessageHeaderSize + 24 + kChunkRecords * kRecordSize <= 1'200);
}  // namespace

void Node::State::start_sync(Instant now) {
  in_sync = false;
  sync.clear();
  synced_tombstones.clear();
  for (ProxyId id : sharers) {
    sync[id] = {};
    ask_sync(*peer(id), now);
  }
  check_sync(now);
}

// With a new boot: every peer starts a new list for this node, and none waits for what it had missed.
void Node::State::fall_out_of_sync(Instant now) {
  boot = static_cast<uint32_t>(rng()) | 1;
  silent_askers.clear();
  for (auto& [id, p] : peers) {
    p.drop_permits();
    p.applied = 0;
    p.early.clear();
    p.acknowledged.clear();
    p.renumber();
    send_changes(p, false, now);
  }
  // Acknowledgements of the boot before do not count any more.
  for (const auto& [id, r] : requests) {
    if (StoredRecord* s = store.find(r.record.key, now); s && !r.done && !r.stored) {
      list_change(s->record, s->expires, is_lift(s->record), {}, now);
    }
  }
  start_sync(now);
}

void Node::State::ask_sync(Peer& p, Instant now) {
  send(p.id, 0, SyncRequest{.cursor = sync[p.id].cursor, .boot = boot});
  after_sync_asked(p, now);
}

void Node::State::on_sync_request(const MessageHeader& h, Peer& p, const SyncRequest& m, Instant now) {
  learn_boot(p, m.boot, now);
  if (m.boot != p.boot) return;
  SyncChunk chunk{.boot = boot, .cursor = m.cursor, .next = 0, .in_sync = in_sync, .records = {}};
  size_t place = m.cursor, end = std::min<uint64_t>(store.places(), m.cursor + kChunkPlaces);
  for (; place < end && chunk.records.size() < kChunkRecords; ++place) {
    StoredRecord* s = store.at(place, now);
    if (s && options.view.is_replica(p.id, s->record.key.slot())) {
      chunk.records.push_back(wire_record(s->record, s->expires, now));
    }
  }
  if (place < store.places()) chunk.next = place;
  send(p.id, h.request, chunk);
}

void Node::State::on_sync_chunk(Peer& p, const SyncChunk& m, Instant now) {
  learn_boot(p, m.boot, now);
  auto it = sync.find(p.id);
  if (in_sync || m.boot != p.boot || it == sync.end()) return;
  SyncPeer& from = it->second;
  if (from.boot != m.boot) {
    if (m.cursor != 0) return;
    from = {.boot = m.boot, .again = from.again};
  }
  if (from.done || m.cursor != from.cursor) return;  // a late copy
  from.in_sync = from.in_sync && m.in_sync;
  from.cursor = m.next;
  from.done = m.next == 0;
  for (const Record& r : m.records) take_synced(p, r, now);
  if (!from.done) return ask_sync(p, now);
  check_sync(now);
}

void Node::State::take_synced(Peer& p, const Record& r, Instant now) {
  if (!group_of(r.group) || !options.view.is_replica(options.self, r.key.slot())) return;
  // Its share of the byte bucket was granted by this replica before, perhaps: not again.
  apply_held(r, now + std::chrono::milliseconds(r.remaining_ms), false, p.id, now, is_lift(r));
  StoredRecord* s = store.find(r.key, now);
  if (!s) return;
  bool theirs_stands = s->record.owner == r.owner && s->record.version == r.version && s->record.state == r.state;
  bool changed = is_tombstone(s->record.state) || s->record.owner != r.owner;
  if (!theirs_stands && changed && !p.add_change({s->record, s->expires, is_lift(s->record), now})) {
    ++count.peer_out_of_sync;
  }
  send_changes(p, false, now);
  if (is_tombstone(s->record.state)) synced_tombstones[r.key].insert(p.id);
}

void Node::State::check_sync(Instant now) {
  if (in_sync) return;
  bool complete = true;
  for (const auto& set : replica_sets) {
    if (set.empty()) continue;
    unsigned synced = 0, settled = 0;
    for (ProxyId id : set) {
      const SyncPeer& s = sync[id];
      synced += s.done && s.in_sync;
      settled += s.done || peer(id)->unheard_for(kUnheardForSync, awake_since, now);
    }
    if (synced >= options.view.read_count()) continue;
    if (settled < set.size()) return;
    complete = false;
  }
  finish_sync(complete, now);
}

void Node::State::finish_sync(bool complete, Instant now) {
  in_sync = true;
  ++(complete ? count.resync_complete : count.resync_incomplete);
  // A replica that did not send a tombstone may not have it, and whoever listed it for that one may be gone.
  for (const auto& [key, senders] : synced_tombstones) {
    StoredRecord* s = store.find(key, now);
    if (!s || !is_tombstone(s->record.state)) continue;
    for (ProxyId id : others(key.slot())) {
      if (senders.contains(id)) continue;
      Peer& p = *peer(id);
      if (!p.add_change({s->record, s->expires, is_lift(s->record), now})) ++count.peer_out_of_sync;
      send_changes(p, false, now);
    }
  }
  synced_tombstones.clear();
  // What this node has of requests under way counts from now on.
  std::vector<Record> records;
  for (const auto& [id, r] : requests) {
    if (!r.done && r.have_unsynced.contains(options.self)) records.push_back(r.record);
  }
  for (const Record& r : records) on_copy(options.self, r, true, now);
}

}  // namespace statecast
