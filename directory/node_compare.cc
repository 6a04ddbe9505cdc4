// SPDX-License-Identifier: BSD-3-Clause
// Replicas that are in sync still drift apart, by what one of them missed: R-W of them may lack a record, and a change
// that is no tombstone or new owner is told once. So they compare what they hold. Every 10 s a node sends one of the
// others, in turn, 64 digests of the slots that both have; where they differ that one answers with 64 digests of that
// part, and so on down to single slots: three messages to find one slot among all. A slot found to differ twice, some
// seconds apart (once may be what is on its way), is repaired: each of the two walks through what the other holds of
// it, a chunk every 20 ms, and takes what it lacks as in a sync. When all is equal it costs one message in 10 s.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr unsigned kPartsFollowed = 8;  // of one message; the others wait for the next time
constexpr size_t kSuspectsMax = 4'096;
constexpr size_t kAuditPlaces = 16'384;  // looked at for one answer
constexpr Duration kSuspectAfter = 5s, kSuspectFor = 5 * 60s;
}  // namespace

void Node::State::compare_next(Instant now) {
  std::erase_if(suspects, [&](const auto& s) { return now - s.second >= kSuspectFor; });
  if (!unsynced.empty()) return;
  for (size_t i = 0; i < peers.size(); ++i) {
    auto it = peers.upper_bound(last_compared);
    if (it == peers.end()) it = peers.begin();
    last_compared = it->first;
    if (!it->second.heard(now) || !it->second.in_sync || !options.view.contains(it->first)) continue;
    return send_digests(it->second, kAllSlots.first, kAllSlots.last);
  }
}

std::vector<uint64_t> Node::State::digests_with(ProxyId other, uint16_t first, uint16_t last, size_t parts) const {
  std::vector<uint64_t> out(parts);
  const size_t each = (last - first + 1u) / parts;
  auto from = std::lower_bound(slots.begin(), slots.end(), first);
  for (; from != slots.end() && *from <= last; ++from) {
    if (options.view.is_replica(other, Slot{*from})) out[(*from - first) / each] ^= store.digest(Slot{*from});
  }
  return out;
}

void Node::State::send_digests(OtherNode& p, uint16_t first, uint16_t last) {
  send(p.id, 0, SlotDigests{first, last, digests_with(p.id, first, last, digest_parts(first, last))});
}

void Node::State::on_slot_digests(OtherNode& p, const SlotDigests& m, Instant now) {
  if (!unsynced.empty() || !p.in_sync) return;
  std::vector<uint64_t> ours = digests_with(p.id, m.first, m.last, m.digests.size());
  const unsigned each = static_cast<unsigned>((m.last - m.first + 1u) / m.digests.size());
  unsigned followed = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] == m.digests[i] || followed == kPartsFollowed) continue;
    ++followed;
    auto first = static_cast<uint16_t>(m.first + i * each);
    if (each > 1)
      send_digests(p, first, static_cast<uint16_t>(first + each - 1));
    else
      on_difference(p, Slot{first}, now);
  }
}

void Node::State::on_difference(OtherNode& p, Slot slot, Instant now) {
  auto [it, first] = suspects.try_emplace({p.id, slot.value}, now);
  if (first) {
    if (suspects.size() > kSuspectsMax) suspects.erase(it);
    return send_digests(p, slot.value, slot.value);  // so that the other one suspects it, too
  }
  if (now - it->second < kSuspectAfter || repairs.contains(p.id)) return;
  // All that are known by now, in one walk.
  std::vector<SlotRange> ranges;
  for (auto s = suspects.lower_bound({p.id, 0}); s != suspects.end() && s->first.first == p.id;) {
    bool old = now - s->second >= kSuspectAfter;
    if (old) ranges.push_back({s->first.second, s->first.second});
    s = old ? suspects.erase(s) : std::next(s);
  }
  count.repair_slots += ranges.size();
  send_digests(p, slot.value, slot.value);
  repairs[p.id] = {.repair = true, .cursor = kSyncRecordsCursor, .slots = joined_ranges(ranges)};
  ask_walk(p, now);
}

// --- for who verifies (verifier.h) ---

void Node::State::on_audit(const MessageHeader& h, NodeId from, const Audit& m, Instant now) {
  AuditAnswer a;
  const auto lacking = std::lower_bound(unsynced.begin(), unsynced.end(), m.first,
                                        [](const Missing& x, uint16_t first) { return x.slot < first; });
  a.in_sync = lacking == unsynced.end() || lacking->slot > m.last;
  if (!m.listed) {
    a.digests = digests_with(m.with, m.first, m.last, digest_parts(m.first, m.last));
    return send(from, h.request, h.origin, a);
  }
  size_t place = m.place;
  for (const size_t end = std::min(store.places(), place + kAuditPlaces);
       place < end && a.entries.size() < kAuditEntriesMax; ++place) {
    StoredRecord s = store.at(place, now);
    if (!s || s.key().slot().value != m.first || s.state() == RecordState::half_open) continue;  // as in the digests
    const Record r = s.record();
    a.entries.push_back({r.key, r.state, r.owner, r.version});
  }
  a.next = place < store.places() ? static_cast<uint32_t>(place) : 0;
  send(from, h.request, h.origin, a);
}

}  // namespace statecast
