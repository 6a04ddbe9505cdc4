// SPDX-License-Identifier: BSD-3-Clause
// Out of sync and back, slot by slot. A node is out of sync in the slots that a view gives it, and in all of them when
// it starts or is told that it missed changes. There it takes writes, but they do not count; it answers neither live
// nor none, and grants nothing. It walks through what the others hold of these slots, chunk by chunk, and is in sync
// in a slot when
//   - R-W+1 replicas of its view that are in sync there have sent what they hold, or
//   - R-W+1 replicas of the view before have, who were in sync in that one: whoever answers is in a later view, so
//     refuses the writes and permits of that one (it has *sealed* it), or
//   - no such number is left: all of them have answered or been unheard for 15 s. Then what it has is the union of the
//     answers (counted as resync_incomplete).
// Why the second: where a view moves two replicas of a slot, the first finds one replica only.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr size_t kChunkRecords = 18;    // so that a chunk stays below 1,200 bytes
constexpr size_t kChunkPlaces = 4'096;  // looked at for one chunk
static_assert(kChunkRecords <= kSyncRecordsMax && kMessageHeaderSize + 27 + kChunkRecords * (kRecordSize + 1) <= 1'200);

// A walk's cursor: slots, for what its peer is in sync in; then kSyncRecordsCursor + place in the store; then the
// records that are placed only, by the top of their keys.
constexpr uint64_t kPlacedCursor = 1ull << 63;
uint64_t placed_cursor(const SessionKey& key) {
  return kPlacedCursor | key.high >> 1;
}
// A bit for each slot, as in a SyncChunk.
void set_slot(std::vector<uint8_t>& bits, size_t at) {
  if (bits.size() <= at / 8) bits.resize(at / 8 + 1);
  bits[at / 8] = static_cast<uint8_t>(bits[at / 8] | 1u << at % 8);
}
void add_slots(std::bitset<kSlots>& to, size_t first, const std::vector<uint8_t>& bits) {
  for (size_t i = 0; i < 8 * bits.size(); ++i) {
    if (bits[i / 8] >> i % 8 & 1) to.set(first + i);
  }
}
}  // namespace

std::vector<SlotRange> slot_ranges(const std::vector<uint16_t>& slots, const Chosen& chosen) {
  std::vector<SlotRange> out;
  bool open = false;  // the last range may grow
  for (uint16_t slot : slots) {
    const bool is = chosen(slot);
    if (is && open) out.back().last = slot;
    if (is && !open) out.push_back({slot, slot});
    open = is;
  }
  return out;
}

std::vector<SlotRange> joined_ranges(std::vector<SlotRange> ranges) {
  for (int gap = 2; ranges.size() > kSlotRangesMax; gap *= 2) {
    std::vector<SlotRange> joined;
    for (const SlotRange& r : ranges) {
      if (!joined.empty() && r.first - joined.back().last <= gap)
        joined.back().last = r.last;
      else
        joined.push_back(r);
    }
    ranges = std::move(joined);
  }
  return ranges;
}

std::pair<std::vector<SlotRange>, uint16_t> ranges_from(const std::vector<SlotRange>& ranges, uint16_t first) {
  std::vector<SlotRange> out;
  for (const SlotRange& r : ranges) {
    if (r.last < first) continue;
    if (out.size() == kSlotRangesMax) return {out, static_cast<uint16_t>(r.first - 1)};
    out.push_back({std::max(r.first, first), r.last});
  }
  return {out, kAllSlots.last};
}

// --- falling out of sync ---

void Node::State::miss(Slot slot, uint32_t source, bool had_it, Instant now) {
  synced.reset(slot.value);
  unsynced.push_back({.slot = slot.value, .source = source, .had_it = had_it, .since = now});
}

// After one or more have been missed, or left: in order, each slot once, as it was missed last.
void Node::State::sort_missing() {
  std::erase_if(unsynced, [&](const Missing& m) { return !lacks(Slot{m.slot}); });
  auto before = [](const Missing& a, const Missing& b) { return a.slot < b.slot; };
  if (!std::is_sorted(unsynced.begin(), unsynced.end(), before))
    std::stable_sort(unsynced.begin(), unsynced.end(), before);
  auto last = std::unique(unsynced.rbegin(), unsynced.rend(), [](auto& a, auto& b) { return a.slot == b.slot; });
  unsynced.erase(unsynced.begin(), last.base());
}

// With a new boot: every peer starts a new list for this node, and none waits for what it had missed.
void Node::State::new_boot(Instant now) {
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
}

void Node::State::fall_out_of_sync(Instant now) {
  new_boot(now);
  for (uint16_t slot : slots) miss(Slot{slot}, 0, false, now);
  sort_missing();
  retired.reset();
  doubt(std::bitset<kSlots>().set(), now);
  // Acknowledgements of the boot before do not count any more.
  for (const auto& [id, r] : requests) {
    if (StoredRecord s = store.find(r.record.key, now); s && !r.done && !r.stored) {
      list_change(s.record(), s.expires(), is_lift(s.record()), {}, now);
    }
  }
  start_walks(now);
}

// --- asking ---

// From the beginning: what is missing now may lie where the walks have been already.
void Node::State::start_walks(Instant now) {
  walks.clear();
  repairs.clear();
  std::set<ProxyId> sources;
  for (const auto& set : replica_sets) sources.insert(set.begin(), set.end());
  for (const Missing& m : unsynced) {
    if (const View* former = former_view(m.source)) {
      for (ProxyId id : former->replicas(Slot{m.slot})) sources.insert(id);
    }
  }
  sources.erase(options.self);
  for (ProxyId id : sources) ask_walk(*peer(id), now);
  check_sync(now);
}

Node::State::Walk* Node::State::walk_of(ProxyId id) {
  for (auto* all : {&walks, &repairs}) {
    if (auto it = all->find(id); it != all->end()) return &it->second;
  }
  return nullptr;
}

void Node::State::ask_walk(OtherNode& p, Instant now) {
  Walk& walk = walk_of(p.id) ? *walk_of(p.id) : walks[p.id];
  if (walk.cursor == 0) {
    std::vector<uint16_t> from_it;     // it is, or was, a replica of these
    auto missing = unsynced.cbegin();  // the first at `slot` or after it
    for (uint16_t i : slots) {
      Slot slot{i};
      while (missing != unsynced.cend() && missing->slot < i) ++missing;
      bool misses = missing != unsynced.cend() && missing->slot == i;
      const View* former = misses ? former_view(missing->source) : nullptr;
      if (options.view.is_replica(p.id, slot) || (former && former->is_replica(p.id, slot))) from_it.push_back(i);
    }
    walk.slots = joined_ranges(slot_ranges(from_it, [&](uint16_t slot) { return !synced.test(slot); }));
  }
  walk.request = next_id();
  send(p.id, walk.request, SyncRequest{.cursor = walk.cursor, .boot = boot, .slots = walk.slots});
  after_walk_asked(p, now);
}

// --- answering ---

void Node::State::on_sync_request(const MessageHeader& h, OtherNode& p, const SyncRequest& m, Instant now) {
  learn_boot(p, m.boot, now);
  if (m.boot != p.boot) return;
  if (retired_until != Instant::max()) retired_until = std::max<Instant>(retired_until, now + kRetiredLife / 4);
  SyncChunk chunk{.boot = boot,
                  .cursor = m.cursor,
                  .next = 0,
                  .expects = std::any_of(unsynced.begin(), unsynced.end(), [](auto& x) { return x.source != 0; }),
                  .records = {},
                  .placed = {}};
  auto asked = [&](Slot slot) { return holds(m.slots, slot) && options.view.is_replica(p.id, slot); };
  if (m.cursor < kSyncRecordsCursor) {
    // From the first that counts for nothing as far as the message has room.
    unsigned slot = static_cast<uint16_t>(m.cursor);
    if (unsynced.empty() && formers.empty()) slot = kSlots;  // sure of all that anybody counts it for
    auto of_slot = std::lower_bound(unsynced.cbegin(), unsynced.cend(), slot,
                                    [](const Missing& x, unsigned first) { return x.slot < first; });
    for (auto range = m.slots.begin(); slot < kSlots; ++slot) {
      while (range != m.slots.end() && range->last < slot) ++range;
      slot = range == m.slots.end() ? kSlots : std::max<unsigned>(slot, range->first);
      if (slot == kSlots) break;
      auto s = static_cast<uint16_t>(slot);
      if (!options.view.is_replica(p.id, Slot{s}) || synced.test(s) || retired.test(s)) continue;
      if (chunk.out_of_sync.empty()) chunk.first_slot = s / 8 * 8;
      if (slot >= chunk.first_slot + 8 * kSlotBytesMax) break;
      set_slot(chunk.out_of_sync, slot - chunk.first_slot);
      // A replica that stays, and has yet to make sure of what it has, was in sync in the view before.
      while (of_slot != unsynced.cend() && of_slot->slot < s) ++of_slot;
      const Missing* missing = of_slot != unsynced.cend() && of_slot->slot == s ? &*of_slot : nullptr;
      const bool had_it = missing && missing->had_it && missing->source + 1 == options.view.id().revision;
      if (!had_it) set_slot(chunk.lacking, slot - chunk.first_slot);
    }
    chunk.next = slot;  // after the last one: kSyncRecordsCursor
  } else if (m.cursor < kPlacedCursor) {
    size_t place = m.cursor - kSyncRecordsCursor, end = std::min<uint64_t>(store.places(), place + kChunkPlaces);
    for (; place < end && chunk.records.size() < kChunkRecords; ++place) {
      StoredRecord s = store.at(place, now);
      if (s && asked(s.key().slot())) chunk.records.push_back(s.wire(now));
    }
    chunk.next = place < store.places() ? place + kSyncRecordsCursor : kPlacedCursor;
  } else {
    std::vector<const Placed*> rest;
    placed.for_each([&](const SessionKey& key, const Placed& x) {
      if (asked(key.slot()) && x.expires > now && placed_cursor(key) >= m.cursor) rest.push_back(&x);
    });
    std::sort(rest.begin(), rest.end(), [](const Placed* a, const Placed* b) { return a->record.key < b->record.key; });
    for (const Placed* x : rest) {
      if (chunk.placed.size() == kChunkRecords) {
        chunk.next = placed_cursor(x->record.key);
        break;
      }
      chunk.placed.push_back({wire_record(x->record, x->expires, now), x->born_new});
    }
  }
  send(p.id, h.request, chunk);
}

// --- taking ---

void Node::State::on_sync_chunk(const MessageHeader& h, OtherNode& p, const SyncChunk& m, Instant now) {
  learn_boot(p, m.boot, now);
  Walk* of = walk_of(p.id);
  if (!of || m.boot != p.boot) return;
  Walk& walk = *of;
  if (walk.done || h.request != walk.request || m.cursor != walk.cursor) return;  // a late copy
  add_slots(walk.out_of_sync, m.first_slot, m.out_of_sync);
  add_slots(walk.lacking, m.first_slot, m.lacking);
  walk.expects = walk.expects || m.expects;
  walk.cursor = m.next;
  walk.done = m.next == 0;
  count.sync_records += m.records.size() + m.placed.size();
  for (const Record& r : m.records) take_synced(p, r, now);
  for (const SyncChunk::Placed& r : m.placed)
    if (speaks_for(p, r.record.key.slot())) take_placed(r, now);
  if (!walk.done) return after_chunk(p, now);
  if (walk.repair)
    repairs.erase(p.id);
  else
    check_sync(now, p.id);
}

// A replica of the slot, or of the view before this node got it.
bool Node::State::speaks_for(const OtherNode& p, Slot slot) const {
  if (options.view.is_replica(p.id, slot)) return true;
  auto missing = std::lower_bound(unsynced.begin(), unsynced.end(), slot.value,
                                  [](const Missing& m, uint16_t s) { return m.slot < s; });
  const View* former =
      missing != unsynced.end() && missing->slot == slot.value ? former_view(missing->source) : nullptr;
  return former && former->is_replica(p.id, slot);
}

void Node::State::take_synced(OtherNode& p, const Record& r, Instant now) {
  if (!group_of(r.group) || !options.view.is_replica(options.self, r.key.slot())) return;
  if (broken(Broken::lift_tombstone_on_restart) && is_tombstone(r.state)) return;
  // Ranges are joined, so that it also sends what it has of slots that it left long ago: only what forbids is heard.
  const bool binds = is_tombstone(r.state) && !is_lift(r);
  if (!speaks_for(p, r.key.slot()) && !binds) return;
  if (outlived.contains({r.key, r.owner, r.version}, now)) return;  // the chunk was long on its way
  Walk* walk = walk_of(p.id);
  // Of one that is out of sync itself: it counts for nothing, unless nobody knows better in the end.
  const bool doubts = walk && walk->lacking.test(r.key.slot().value) && !binds;
  if (doubts && store.find(r.key, now) && !doubtful.contains(r.key)) return;
  // Its share of the byte bucket was granted by this replica before, or by another: not again.
  apply_held(r, now + std::chrono::milliseconds(r.remaining_ms), false, p.id, now, is_lift(r));
  StoredRecord s = store.find(r.key, now);
  if (!s) return;
  if (doubts && lacks(r.key.slot())) {
    doubtful.insert(r.key);
    return;
  }
  bool changed = s.tombstone() || s.owner() != r.owner;
  if (!s.is(r) && changed && !p.add_change({s.record(), s.expires(), is_lift(s.record()), now})) {
    ++count.peer_out_of_sync;
  }
  send_changes(p, false, now);
  if (s.tombstone() && lacks(r.key.slot())) synced_tombstones[r.key].insert(p.id);
}

// What a replica of the view before has only placed may be held by one that is gone: it is completed here. Of two that
// are placed this one was first: what came since does not count yet.
void Node::State::take_placed(const SyncChunk::Placed& in, Instant now) {
  const Record& r = in.record;
  if (!group_of(r.group) || !lacks(r.key.slot()) || is_withdrawn(r, now)) return;
  StoredRecord s = store.find(r.key, now);
  if ((s && (!supersedes(r, s.record()) || said_before(r, s.record()))) || !room_for(r, now)) return;
  const Placed* p = placed.find(r.key);
  if (p && p->expires > now && (p->from_walk || (p->record.owner == r.owner && p->record.version >= r.version))) return;
  if (Write** of = write_of.find(r.key)) {
    Write& w = **of;
    if (w.waiters.empty() && (w.record.owner != r.owner || w.record.version != r.version)) drop_write(w);
  }
  after_placed(keep_placed({.record = r,
                            .expires = now + std::chrono::milliseconds(r.remaining_ms),
                            .born_new = in.born_new,
                            .fresh = false,
                            .from_walk = true,
                            .coordinators = {ProxyId{}}}),
               now);
}

// --- coming into sync ---

Node::State::SyncVerdict Node::State::judge_sync(const Missing& missing, Instant now) const {
  const Slot slot{missing.slot};
  bool last = missing.source + 1 == options.view.id().revision;
  auto walked = [&](ProxyId id, bool as_of_source) {
    auto it = walks.find(id);
    if (it == walks.end() || !it->second.done) return false;
    return !(as_of_source && last ? it->second.lacking : it->second.out_of_sync).test(slot.value);
  };
  auto settled = [&](ProxyId id) {
    auto it = walks.find(id);
    return (it != walks.end() && it->second.done) || peer(id)->unheard_for(kUnheardForSync, awake_since, now);
  };
  unsigned synced_ones = 0, former_ones = missing.had_it;
  bool all = true, expected = false;
  for (ProxyId id : options.view.replicas(slot)) {
    if (id == options.self) continue;
    synced_ones += walked(id, false);
    all = all && settled(id);
    auto it = walks.find(id);
    expected = expected || (it != walks.end() && it->second.expects && it->second.out_of_sync.test(slot.value));
  }
  const View* former = former_view(missing.source);
  bool alone = options.view.replica_count() == 1 && !former;
  if (alone || synced_ones >= options.view.read_count()) return SyncVerdict::complete;
  if (former) {
    for (ProxyId id : former->replicas(slot)) {
      if (id == options.self) continue;
      former_ones += walked(id, true);
      all = all && settled(id);
    }
    if (former_ones >= former->read_count()) return SyncVerdict::complete_of_source;
  }
  if (!all) return SyncVerdict::wait;
  // Where one of them is in sync, another may be on its way to it. And one that waits for a hand-over gets what this
  // one cannot ask for: it has restarted, and knows no view before this one.
  bool hope = expected || (former && synced_ones + former_ones > 0);
  return hope && now - missing.since < kUnheardForSync ? SyncVerdict::wait : SyncVerdict::incomplete;
}

// `walked`: of the slots that this one has or had; it has just sent the last of what it holds.
void Node::State::check_sync(Instant now, ProxyId walked) {
  bool any_done = std::any_of(walks.begin(), walks.end(), [](const auto& w) { return w.second.done; });
  if (!any_done && now - awake_since < kUnheardForSync && options.view.replica_count() > 1) return;
  std::set<ProxyId> again;
  std::vector<uint16_t> done;
  std::bitset<kSlots> incomplete;
  for (Missing& missing : unsynced) {
    Slot slot{missing.slot};
    if (walked.value != 0 && !options.view.is_replica(walked, slot)) {
      const View* former = former_view(missing.source);
      if (!former || !former->is_replica(walked, slot)) continue;
    }
    SyncVerdict verdict = judge_sync(missing, now);
    if (verdict == SyncVerdict::complete_of_source && !promote(missing)) continue;
    if (verdict != SyncVerdict::wait) {
      done.push_back(slot.value);
      incomplete.set(slot.value, verdict == SyncVerdict::incomplete);
      sync_incomplete = sync_incomplete || verdict == SyncVerdict::incomplete;
      continue;
    }
    // One that was out of sync itself when it was asked, and no longer is: once more.
    for (ProxyId id : options.view.replicas(slot)) {
      auto walk = walks.find(id);
      if (walk != walks.end() && walk->second.done && walk->second.out_of_sync.test(slot.value) &&
          !peer(id)->out_of_sync_in(slot))
        again.insert(id);
    }
  }
  if (!done.empty()) come_into_sync(done, incomplete, now);
  for (ProxyId id : again) {
    walks[id] = {};
    ask_walk(*peer(id), now);
  }
}

// In sync as of the view that came after its source. In each view since then this node kept the slot, and so its being
// in sync; but where fewer replicas than before may lack a record it has to make sure of what it has.
bool Node::State::promote(Missing& missing) const {
  for (size_t i = 0; i < formers.size(); ++i) {
    if (formers[i].view.id().revision <= missing.source) continue;
    const View& next = i + 1 < formers.size() ? formers[i + 1].view : options.view;
    if (next.read_count() >= formers[i].view.read_count()) continue;
    missing.source = formers[i].view.id().revision;
    missing.had_it = true;
    return false;
  }
  return true;
}

// One that was unheard while this node came into sync without it is back: it may know better.
void Node::State::ask_after_all(ProxyId id, Instant now) {
  std::bitset<kSlots> again;
  for (uint16_t slot : slots) {
    if (without_asking.test(slot) && options.view.is_replica(id, Slot{slot})) again.set(slot);
  }
  without_asking &= ~again;
  if (again.none()) return;
  for (uint16_t slot : slots) {
    if (again.test(slot) && in_sync(Slot{slot})) miss(Slot{slot}, 0, false, now);
  }
  sort_missing();
  start_walks(now);
}

// What it has of these slots is of before it was away. Tombstones bind all the same; a lift may be long over elsewhere,
// and would stand above a revocation that knows nothing of it.
void Node::State::doubt(const std::bitset<kSlots>& of, Instant now) {
  for (size_t i = 0; i < store.places(); ++i) {
    StoredRecord s = store.at(i, now);
    if (!s || !of.test(s.key().slot().value) || !lacks(s.key().slot())) continue;
    if (!s.tombstone() || is_lift(s.record())) doubtful.insert(s.key());
  }
}

// One that R-W+1 replicas in sync have not is none any more, or was never acknowledged. Were there fewer, it stands.
void Node::State::settle_doubts(const std::bitset<kSlots>& incomplete, Instant now) {
  for (auto it = doubtful.begin(); it != doubtful.end();) {
    const Slot slot = it->slot();
    if (lacks(slot)) {
      ++it;
      continue;
    }
    StoredRecord s = store.find(*it, now);
    if (s && in_sync(slot) && !incomplete.test(slot.value)) {
      forgot_holders = now;
      store.set_expires(s, now);
    }
    it = doubtful.erase(it);
  }
}

void Node::State::come_into_sync(const std::vector<uint16_t>& done, const std::bitset<kSlots>& incomplete,
                                 Instant now) {
  for (uint16_t slot : done) {
    synced.set(slot);
    bool unheard = false;
    if (incomplete.test(slot)) {
      for (ProxyId id : others(Slot{slot}))
        unheard = unheard || peer(id)->unheard_for(kUnheardForSync, awake_since, now);
    }
    without_asking.set(slot, unheard);
    if (auto it = moved.find(slot); it != moved.end() && it->second.taken_over) it->second.at = now;
  }
  sort_missing();
  settle_doubts(incomplete, now);
  if (unsynced.empty()) {
    ++(sync_incomplete ? count.resync_incomplete : count.resync_complete);
    sync_incomplete = false;
    walks.clear();
  }
  // A replica that did not send a tombstone may not have it, and whoever listed it for that one may be gone.
  for (auto it = synced_tombstones.begin(); it != synced_tombstones.end();) {
    const auto& [key, senders] = *it;
    if (!in_sync(key.slot())) {
      ++it;
      continue;
    }
    StoredRecord s = store.find(key, now);
    for (ProxyId id : others(key.slot())) {
      if (!s || !s.tombstone() || senders.contains(id)) continue;
      OtherNode& p = *peer(id);
      if (!p.add_change({s.record(), s.expires(), is_lift(s.record()), now})) ++count.peer_out_of_sync;
      send_changes(p, false, now);
    }
    it = synced_tombstones.erase(it);
  }
  // What this node has of requests under way counts from now on.
  std::vector<Record> records;
  for (const auto& [id, r] : requests) {
    if (!r.done && r.have_unsynced.contains(options.self) && in_sync(r.record.key.slot())) records.push_back(r.record);
  }
  for (const Record& r : records) on_copy(options.self, r, true, now);
}

}  // namespace statecast
