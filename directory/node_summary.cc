// SPDX-License-Identifier: BSD-3-Clause
// What this node has, in 10 bits a session, for proxies under pressure (summaries.h is their side). Kept only while
// somebody asks: the first request starts a walk over all records, a step each millisecond; what comes meanwhile and
// after is added, and numbered, so that who has the filter gets the rest by number. Nothing is ever taken out: where as
// much has come as the filter was made for, a new one is built beside it, under another version.
//
// A record that is only placed counts as well: an insert is acknowledged once W replicas have *placed* it, so of R-W+1
// replicas one has it in its summary before anybody may count on it.
#include <algorithm>

#include "directory/node_state.h"

namespace statecast {

namespace {
constexpr Duration kSummaryLife = 30s;        // since anybody asked
constexpr size_t kSummaryWalk = 4'096;        // records of one step
constexpr size_t kSummaryRecentMax = 65'536;  // numbered sessions kept
constexpr size_t kSummaryRoomMin = 4'096;
}  // namespace

void Node::State::add_to_summary(const SessionKey& key) {
  Summary& s = summary;
  if (!s.filter && !s.building) return;
  if (s.building) s.building->add(key);
  if (!s.filter || s.filter->may_have(key)) return;  // whose places are all set already need not be told
  s.filter->add(key);
  ++s.number;
  s.recent.push_back(key.high);
  if (s.recent.size() > kSummaryRecentMax) s.recent.pop_front();
  if (++s.added > s.room && !s.building) build_summary(last_now);
}

void Node::State::build_summary(Instant now) {
  summary.building_room = std::max(kSummaryRoomMin, (store.size() + placed.size()) * 3 / 2);
  summary.building = std::make_unique<SessionFilter>(SessionFilter::blocks_for(summary.building_room));
  summary.walk = 0;
  placed.for_each([&](const SessionKey& key, const Placed&) { summary.building->add(key); });
  after_summary_step(now);
}

void Node::State::walk_summary(Instant now) {
  Summary& s = summary;
  if (!s.building) return;
  for (size_t end = std::min(store.places(), s.walk + kSummaryWalk); s.walk < end; ++s.walk) {
    if (StoredRecord r = store.at(s.walk, now)) s.building->add(r.key());
  }
  if (s.walk < store.places()) return after_summary_step(now);
  s.filter = std::move(s.building);
  s.room = s.building_room;
  s.added = store.size() + placed.size();
  s.version = static_cast<uint32_t>(rng()) | 1;
  ++count.summary_built;
}

void Node::State::forget_summary(Instant now) {
  if ((summary.filter || summary.building) && now - summary.asked >= kSummaryLife) summary = {};
}

void Node::State::on_summary_request(const MessageHeader& h, NodeId from, const SummaryRequest& m, Instant now) {
  Summary& s = summary;
  s.asked = now;
  ++count.summary_asked;
  if (!s.filter) {
    if (!s.building) build_summary(now);
    return send(from, h.request, me, SummaryDelta{});
  }
  const uint64_t oldest = s.number - s.recent.size();  // what came after it is kept
  if (m.version == s.version && m.block == SummaryRequest::kNoBlock && m.number >= oldest && m.number <= s.number) {
    return send_summary_deltas(h, from, m.number);
  }
  const bool goes_on = m.version == s.version && m.block < s.filter->blocks();
  send_summary_blocks(h, from, goes_on ? m.block : 0);
}

void Node::State::send_summary_blocks(const MessageHeader& h, NodeId to, size_t first) {
  std::array<uint64_t, kSummaryBlocksMax * SessionFilter::kBlockWords> words;
  const size_t of = summary.filter->blocks();
  for (unsigned i = 0; i < kSummaryWindow && first < of; ++i) {
    const size_t n = std::min(kSummaryBlocksMax, of - first);
    for (size_t b = 0; b < n; ++b) {
      summary.filter->get_block(
          first + b, SessionFilter::BlockWords(&words[b * SessionFilter::kBlockWords], SessionFilter::kBlockWords));
    }
    send(to, h.request, me,
         SummaryBlocks{.version = summary.version,
                       .of = static_cast<uint32_t>(of),
                       .first = static_cast<uint32_t>(first),
                       .number = summary.number,
                       .blocks = {reinterpret_cast<const uint8_t*>(words.data()), n * SessionFilter::kBlockBytes}});
    first += n;
  }
}

void Node::State::send_summary_deltas(const MessageHeader& h, NodeId to, uint64_t number) {
  const Summary& s = summary;
  SummaryDelta delta{.version = s.version, .first = number + 1, .last = s.number, .sessions = {}, .out_of_sync = {}};
  delta.out_of_sync = joined_ranges(slot_ranges(slots, [&](uint16_t slot) { return !synced.test(slot); }));
  for (unsigned i = 0; i < kSummaryWindow; ++i) {
    auto from = s.recent.end() - static_cast<std::ptrdiff_t>(s.number - (delta.first - 1));
    const size_t n = std::min(kSummarySessionsMax, static_cast<size_t>(s.recent.end() - from));
    delta.sessions.assign(from, from + static_cast<std::ptrdiff_t>(n));
    send(to, h.request, me, delta);
    delta.first += n;
    if (delta.first > s.number) return;
  }
}

}  // namespace statecast
