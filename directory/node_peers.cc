// SPDX-License-Identifier: BSD-3-Clause
// Heartbeats, permits and change lists: what makes a replica that missed a revocation stop granting within a second.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr Duration kLateChangeLife = 1s;  // of one that was over when it came
}  // namespace

OtherNode* Node::State::peer(ProxyId id) {
  auto it = peers.find(id);
  return it == peers.end() ? nullptr : &it->second;
}

Node::State::Others Node::State::others(Slot slot) const {
  Others out;
  for (ProxyId id : options.view.replicas(slot)) {
    if (id != options.self) out.push_back(id);
  }
  return out;
}

Duration Node::State::rtt_max(Slot slot) const {
  Duration max{};
  for (ProxyId id : others(slot)) max = std::max(max, peer(id)->rtt());
  return max;
}

// --- heartbeats and permits ---

void Node::State::send_heartbeats(Instant now) {
  forget_outcomes(now);
  std::erase_if(silent_askers, [&](const auto& a) { return now - a.second.last >= kSilentAskerLife; });
  members_heard.erase_if([&](MemberId, Instant heard) { return now - heard >= kDeadManTime; });
  // Those heard within half of the dead-man time; when they are too many for one heartbeat they take turns.
  std::vector<MemberId> listed;
  members_heard.for_each([&](MemberId id, Instant heard) {
    if (now - heard < kDeadManTime / 2) listed.push_back(id);
  });
  if (listed.size() > kMembersListedMax) {
    auto after_last = [&](MemberId id) { return id.value - last_listed.value - 1; };  // the others begin anew
    std::nth_element(listed.begin(), listed.begin() + kMembersListedMax - 1, listed.end(),
                     [&](MemberId x, MemberId y) { return after_last(x) < after_last(y); });
    listed.resize(kMembersListedMax);
    last_listed = listed.back();
  }
  for (auto& [id, p] : peers) {
    if (const ListedChange* c = p.change(p.first_number()); c && now - c->listed >= kUnacknowledgedMax) {
      declare_out_of_sync(p);
    }
    beat(p, listed, now);
  }
  if (!unsynced.empty()) check_sync(now);
  forget_views(now);
  forget_summary(now);
  after_heartbeats(now);
}

void Node::State::beat_peers(Instant now) {
  for (auto& [id, p] : peers) beat(p, {}, now);
}

void Node::State::beat(OtherNode& p, const std::vector<MemberId>& listed, Instant now) {
  uint32_t request = next_id();
  p.on_asked(request, now);
  send(p.id, request,
       Heartbeat{
           .boot = boot, .to_boot = p.boot, .applied = p.applied, .listed = p.last_number(), .members_heard = listed});
}

// A permit is for the slots of its own view, and good in the next one where a slot has not moved.
bool Node::State::permits(const OtherNode& p, Slot slot, Instant now) const {
  if (p.permits(slot, now)) return true;
  return p.permitted_before(slot, now) && !formers.empty() && formers.back().view.same_placement(options.view, slot);
}

void Node::State::on_heartbeat(const MessageHeader& h, OtherNode& p, const Heartbeat& m, Instant now) {
  learn_boot(p, m.boot, now);
  if (m.boot != p.boot) return;
  p.on_members(m.members_heard, now);
  if (m.to_boot == boot) acknowledge(p, m.applied, m.listed, now);
  Permit permit{.boot = boot,
                .to_boot = m.boot,
                .number = p.last_number(),
                .granted = !p.out_of_sync && (synced.any() || slots.empty()),
                .in_sync = unsynced.empty(),
                .you_are_out_of_sync = p.out_of_sync,
                .out_of_sync = {}};
  if (synced.none()) {
    permit.out_of_sync = {kAllSlots};
  } else if (!unsynced.empty()) {
    std::vector<uint16_t> shared;
    for (uint16_t slot : slots) {
      if (options.view.is_replica(p.id, Slot{slot})) shared.push_back(slot);
    }
    auto ranges = slot_ranges(shared, [&](uint16_t slot) { return !synced.test(slot); });
    for (unsigned first = 0; first < kSlots; first = permit.covers.last + 1u) {
      permit.covers.first = static_cast<uint16_t>(first);
      std::tie(permit.out_of_sync, permit.covers.last) = ranges_from(ranges, permit.covers.first);
      send(p.id, h.request, permit);
    }
    return;
  }
  send(p.id, h.request, permit);
}

void Node::State::on_permit(const MessageHeader& h, OtherNode& p, const Permit& m, Instant now) {
  if (m.to_boot != boot) return;
  learn_boot(p, m.boot, now);
  if (m.boot != p.boot) return;
  p.on_permit(h.request, m, now);
  if (m.you_are_out_of_sync) {
    if (synced.any()) ++count.sync_lost;
    return fall_out_of_sync(now);
  }
  // A copy that it took while out of sync counts from now on.
  std::vector<Record> records;
  for (const auto& [id, r] : requests) {
    if (!r.done && r.have_unsynced.contains(p.id) && !p.out_of_sync_in(r.record.key.slot()))
      records.push_back(r.record);
  }
  for (const Record& r : records) on_copy(p.id, r, true, now);
}

// A new boot of a peer: it has forgotten what it had acknowledged.
void Node::State::learn_boot(OtherNode& p, uint32_t b, Instant now) {
  bool known_before = p.boot != 0;
  if (!p.on_boot(b, now)) return;
  if (known_before) p.drop_permits();
  writes.for_each([&](uint32_t, Write* w) { w->answers.forget(p.id); });
  for (auto& [id, r] : requests) {
    if (r.done || r.stored) continue;
    r.have_unsynced.erase(p.id);
    r.have.erase(p.id);
    if (StoredRecord s = store.find(r.record.key, now)) {
      if (!p.add_change({s.record(), s.expires(), is_lift(s.record()), now})) ++count.peer_out_of_sync;
    }
  }
  send_changes(p, false, now);
  repairs.erase(p.id);
  if (auto it = walks.find(p.id); it != walks.end()) {
    it->second = {};
    ask_walk(p, now);
  }
}

void Node::State::declare_out_of_sync(OtherNode& p) {
  p.clear_list();
  p.out_of_sync = true;
  ++count.peer_out_of_sync;
}

// This node has not run for longer than its permits live: whatever it was promised is over, and the silence of others
// was its own.
void Node::State::after_pause(Instant now) {
  ++count.paused;
  awake_since = now;
  for (auto& [id, p] : peers) {
    p.drop_permits();
    p.restart_waiting(now);
  }
}

// --- change lists ---

// What has not been sent yet, as far as the window goes; `again`: what is unacknowledged, too.
void Node::State::send_changes(OtherNode& p, bool again, Instant now) {
  uint64_t first = again ? p.first_number() : std::max(p.first_number(), p.unsent);
  for (uint64_t n = first; n < p.first_number() + kChangesInFlight; ++n) {
    const ListedChange* c = p.change(n);
    if (!c || p.boot == 0) break;
    send(p.id, 0,
         Change{.number = n,
                .record = wire_record(c->record, c->expires, now),
                .lifted = c->lifted,
                .boot = boot,
                .to_boot = p.boot});
    p.unsent = n + 1;
  }
  after_changes_sent(p, again, now);
}

void Node::State::on_change(OtherNode& p, const Change& m, Instant now) {
  learn_boot(p, m.boot, now);
  if (m.boot != p.boot || m.to_boot != boot) return;
  // One that comes before its turn waits for it.
  if (m.number > p.applied && m.number <= p.applied + kChangesInFlight) {
    p.early.try_emplace(m.number,
                        ListedChange{m.record, now + std::chrono::milliseconds(m.record.remaining_ms), m.lifted, now});
  }
  while (!p.early.empty() && p.early.begin()->first == p.applied + 1) {
    ListedChange c = std::move(p.early.begin()->second);
    p.early.erase(p.early.begin());
    if (group_of(c.record.group) && options.view.is_replica(options.self, c.record.key.slot())) {
      ++count.change_applied;
      // One that is over by now still ends what it stands above: this replica's permits say that it has heard of it.
      const StoredRecord before = c.expires <= now ? store.find(c.record.key, now) : StoredRecord();
      if (before && supersedes(c.record, before.record())) c.expires = now + kLateChangeLife;
      bool taken = apply_held(c.record, c.expires, fresh_in(c.record.key.slot(), now), p.id, now, c.lifted);
      object(p, c.record, taken, now);
    }
    p.on_applied(p.applied + 1);
  }
  count_copies(p, now);
  send(p.id, 0, ChangeAck{.number = p.applied, .boot = m.boot, .to_boot = boot, .listed = p.last_number()});
}

void Node::State::on_change_ack(OtherNode& p, const ChangeAck& m, Instant now) {
  if (m.boot != boot || m.to_boot != p.boot) return;
  acknowledge(p, m.number, m.listed, now);
}

// Terms start anew where a record has been forgotten. But a change of it may still be on its way to a replica that was
// cut off: what comes after it has to stand above it there.
uint16_t Node::State::pending_term(const SessionKey& key) const {
  uint16_t highest = 0;
  for (ProxyId id : options.view.replicas(key.slot()))
    if (id != options.self) highest = std::max(highest, peers.at(id).pending_term(key));
  return highest;
}

// A revocation or removal that does not stand here, because this node has what its coordinator had missed or forgotten:
// that one gets it before this acknowledgement counts. So does it where this node has only yet to hand on what stands
// above a revocation.
void Node::State::object(OtherNode& p, const Record& change, bool taken, Instant now) {
  StoredRecord s = store.find(change.key, now);
  if (!is_tombstone(change.state) || !s) return;
  auto tell = [&](const ListedChange& c) {
    if (!p.add_change({c.record, c.expires, c.lifted, now})) ++count.peer_out_of_sync;
    send_changes(p, false, now);
  };
  const bool removes = change.state == RecordState::removed;
  const bool passed = !taken && (removes ? !s.tombstone() : s.state() != RecordState::revoked);
  if (passed) return tell({s.record(), s.expires(), !removes && is_lift(s.record()), now});
  if (removes) return;
  auto above = [&](const OtherNode& of) -> const ListedChange* {
    const ListedChange* c = of.highest_pending(change.key, now);
    return c && c->record.version.term > change.version.term ? c : nullptr;
  };
  if (above(p)) return;  // it comes by itself
  for (ProxyId id : others(change.key.slot()))
    if (const ListedChange* c = above(peers.at(id))) return tell(*c);
}

void Node::State::acknowledge(OtherNode& p, uint64_t number, uint64_t listed, Instant now) {
  std::vector<ListedChange> taken = p.take_acknowledged(number);
  if (taken.empty()) return;
  p.send_at = Instant::max();
  p.tries = 0;
  send_changes(p, false, now);
  for (const ListedChange& c : taken) {
    if (requests_of.contains(c.record.key)) p.acknowledged.push_back({listed, c.record});
  }
  count_copies(p, now);
}

void Node::State::count_copies(OtherNode& p, Instant now) {
  while (!p.acknowledged.empty() && p.acknowledged.front().listed <= p.applied) {
    OtherNode::Acknowledged a = std::move(p.acknowledged.front());
    p.acknowledged.pop_front();
    on_copy(p.id, a.record, !p.out_of_sync_in(a.record.key.slot()), now);
  }
}

}  // namespace statecast
