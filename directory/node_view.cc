// SPDX-License-Identifier: BSD-3-Clause
// From one view to the next. A node takes messages of other nodes in its own view only: taking the next one *seals* the
// one before, for nothing counts in both. What changes hands is judged slot by slot:
//   - a slot with the same replicas goes on as if nothing had happened;
//   - a replica that stays goes on too. In its view's slot R-W replicas may lack a record, as before, and it may be
//   one;
//   - a new one is out of sync until the hand-over has come (node_sync.cc);
//   - one that leaves keeps what it has for those who ask for it.
// A node that skips a revision cannot know who had the slots in between: it starts over, as after a restart.
#include <algorithm>
#include <utility>

#include "directory/node_state.h"

namespace statecast {

const View* Node::State::former_view(uint32_t revision) const {
  if (revision == 0) return nullptr;
  for (const Former& f : formers) {
    if (f.view.id().revision == revision) return &f.view;
  }
  return nullptr;
}

// Whoever is in this view, or was in one of which this node has yet to hear.
void Node::State::know_nodes() {
  auto add = [&](const View& view) {
    for (const ViewNode& n : view.nodes()) {
      if (n.id != options.self) peers.emplace(n.id, n.id);
    }
  };
  add(options.view);
  for (const Former& f : formers) add(f.view);
  std::erase_if(peers, [&](const auto& p) {
    return !options.view.contains(p.first) &&
           std::none_of(formers.begin(), formers.end(), [&](const Former& f) { return f.view.contains(p.first); });
  });
  std::erase_if(walks, [&](const auto& w) { return !peers.contains(w.first); });
  slots.clear();
  replica_sets.clear();
  for (unsigned i = 0; i < kSlots; ++i) {
    Slot slot{static_cast<uint16_t>(i)};
    if (!options.view.is_replica(options.self, slot)) continue;
    slots.push_back(slot.value);
    const Others set = others(slot);
    replica_sets.emplace(set.begin(), set.end());
  }
}

void Node::State::start_view(Instant now) {
  know_nodes();
  // What was acknowledged in this view before it started here, only the others in it have.
  for (uint16_t slot : slots) miss(Slot{slot}, 0, false, now);
  sort_missing();
}

void Node::State::set_view(View next, Instant now) {
  if (next.id() == options.view.id()) return;
  if (next.id().revision <= options.view.id().revision) {
    ++count.view_refused;
    return;
  }
  ++count.view_changes;
  const View before = std::exchange(options.view, std::move(next));
  const View& view = options.view;
  if (view.replica_count() < before.replica_count()) {
    former_shares = std::max(shares(now), before.replica_count());
    former_shares_end = now + kMovedMemory;
  }
  bool gap = view.id().revision != before.id().revision + 1;
  bool joined = !before.contains(options.self) && view.contains(options.self);
  formers.push_back({before, now});
  while (formers.size() > kFormersMax) formers.pop_front();
  know_nodes();
  for (auto& [id, p] : peers) p.on_view();
  repairs.clear();
  suspects.clear();

  if (gap) {
    ++count.view_gaps;
    moved.clear();
    for (uint16_t slot : slots) moved[slot] = {.at = now, .taken_over = true};
    synced.reset();
    restart_under_way(before, now);
    fall_out_of_sync(now);
    retired_until = now + kRetiredLife;
  } else {
    const uint32_t source = before.id().revision;
    std::bitset<kSlots> back;
    for (unsigned i = 0; i < kSlots; ++i) {
      Slot slot{static_cast<uint16_t>(i)};
      if (before.same_placement(view, slot)) continue;
      bool was = before.is_replica(options.self, slot), is = view.is_replica(options.self, slot);
      if (!was && !is) continue;
      ++count.view_slots;
      if (is) {
        // Taken over not long ago, and moved again: it still does not know what was granted before.
        Moved& m = moved[slot.value];
        m = {.at = now,
             .taken_over = !was || m.taken_over,
             .left = view.replica_count() < before.replica_count() || m.left};
      }
      if (is && !was) {
        retired.reset(slot.value);
        back.set(slot.value);
        miss(slot, source, false, now);
      } else if (is && synced.test(slot.value) && view.read_count() < before.read_count()) {
        miss(slot, source, true, now);
      } else if (was && !is) {
        retired.set(slot.value, synced.test(slot.value));
        synced.reset(slot.value);
        retired_until = now + kRetiredLife;
      }
    }
    sort_missing();
    if (retired_until != Instant::max() && back.any()) doubt(back, now);
    if (joined) new_boot(now);
    restart_under_way(before, now);
    if (!unsynced.empty()) start_walks(now);
  }
  beat_peers(now);
}

// Acknowledgements of the view before count no longer, where others have the slot now.
void Node::State::restart_under_way(const View& before, Instant now) {
  std::vector<uint32_t> ids;
  writes.for_each([&](uint32_t id, const Write* w) {
    if (!before.same_placement(options.view, w->record.key.slot())) ids.push_back(id);
  });
  std::sort(ids.begin(), ids.end());
  for (uint32_t id : ids) {
    Write** found = writes.find(id);
    if (!found) continue;
    Write& w = **found;
    if (!broken(Broken::count_over_two_views)) w.answers.clear();
    if (options.view.is_replica(options.self, w.record.key.slot())) {
      send_places(w, now);
      after_places_sent(w, now, true);
      continue;
    }
    // Its copies will be completed, or asked for again: elsewhere.
    const Detached gone = detach(w);
    for (const Waiter& waiter : gone->waiters) answer_insert(waiter, {.status = InsertAnswer::Status::try_again});
  }
  ids.clear();
  for (const auto& [id, r] : requests) {
    if (!r.done && !before.same_placement(options.view, r.record.key.slot())) ids.push_back(id);
  }
  for (uint32_t id : ids) {
    Request& r = requests.at(id);
    Slot slot = r.record.key.slot();
    if (!options.view.is_replica(options.self, slot)) {
      if (r.stored) continue;  // only time is waited for now
      answer_request(r, RequestAnswer::Status::try_again);
      finish(r, now);
      continue;
    }
    r.have.clear();
    r.have_unsynced.clear();
    r.silent.clear();
    (in_sync(slot) ? r.have : r.have_unsynced).insert(options.self);
    if (StoredRecord s = store.find(r.record.key, now)) {
      list_change(s.record(), s.expires(), is_lift(s.record()), {}, now);
    }
    r.tries = 0;
    after_request_step(r, now);
  }
}

// --- what is kept for a while ---

// Kept until nobody asks for it: a former view for as long as a slot waits for its replicas, records of slots that this
// node has left until the hand-over is surely over, and for how long a slot has been this node's as long as that
// counts.
void Node::State::forget_views(Instant now) {
  if (now >= sweep_moved) {
    std::erase_if(moved, [&](const auto& m) { return now - m.second.at >= kMovedMemory; });
    sweep_moved = now + kMovedMemory / 8;
  }
  bool forgotten = false;
  while (!formers.empty() && now - formers.front().left >= kRetiredLife) {
    uint32_t revision = formers.front().view.id().revision;
    bool needed = std::any_of(unsynced.begin(), unsynced.end(), [&](const auto& m) { return m.source == revision; });
    if (needed) break;
    formers.pop_front();
    forgotten = true;
  }
  if (forgotten) know_nodes();
  if (now < retired_until) return;
  for (size_t end = std::min(store.places(), retired_place + kRetiredPlaces); retired_place < end; ++retired_place) {
    StoredRecord s = store.at(retired_place, now);
    if (s && !options.view.is_replica(options.self, s.key().slot())) store.erase(s);
  }
  if (retired_place < store.places()) return;
  retired_place = 0;
  retired_until = Instant::max();
  retired.reset();
  placed.erase_if(
      [&](const SessionKey& key, const Placed&) { return !options.view.is_replica(options.self, key.slot()); });
}

// A bucket that came with the slot may have been granted by those who had it before: for as long as a mapping lives
// without a new one where it comes by insert, for as long as the copies of a refresh are on their way (and the others
// may go on granting) where it comes by that.
bool Node::State::fresh_in(Slot slot, Instant now, Duration since) const {
  if (!in_sync(slot)) return false;
  auto it = moved.find(slot.value);
  return it == moved.end() || !it->second.taken_over || now - it->second.at >= since;
}

// A bucket that was split among more replicas may come again, to one of those that stay and lacked it: its share is no
// larger than it was, so that the shares of those who have left are not granted twice.
unsigned Node::State::shares(Instant now) const {
  unsigned r = options.view.replica_count();
  return now < former_shares_end ? std::max(r, former_shares) : r;
}

// Its replicas are others than the owner was told in that view, as far as this node knows. A view that it does not
// know, since it has restarted or the view is long over, may have had others.
bool Node::State::has_moved(Slot slot, const ViewId& told) const {
  if (!options.view.is_replica(options.self, slot)) return true;
  if (told.revision >= options.view.id().revision) return false;
  const View* before = former_view(told.revision);
  return !before || !before->same_placement(options.view, slot);
}

}  // namespace statecast
