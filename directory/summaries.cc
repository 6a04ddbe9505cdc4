// SPDX-License-Identifier: BSD-3-Clause
#include "directory/summaries.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace statecast {

namespace {
constexpr Duration kFreshFor = 5s, kDeltaPeriod = 250ms;
constexpr Duration kBlocksPause = 2ms;  // between two questions for blocks: 5 MB/s
constexpr Duration kNotReadyPause = 50ms, kGapPause = 5ms;
constexpr Duration kRetry = 100ms, kRetryMax = 1s;
constexpr size_t kBlocksMax = size_t(1) << 22;  // 256 MiB: what is larger is no summary of ours
}  // namespace

Summaries::Summaries(ProxyId self, View view) : self_(NodeId::proxy(self)) {
  set_view(std::move(view), Instant{});
}

void Summaries::set_view(View view, Instant now) {
  view_ = std::move(view);
  outputs_.clear();
  std::erase_if(sources_, [&](const auto& s) { return !view_.contains(s.first); });
  for (const ViewNode& n : view_.nodes()) {
    Source& s = sources_[n.id];
    end_freshness(s);
    s.request = 0;
    ask_later(s, now);
  }
  placement_ = nullptr;
  changed_ = true;
}

std::shared_ptr<const std::vector<uint16_t>> Summaries::placement() const {
  std::map<ProxyId, uint16_t> place;
  for (const auto& [id, s] : sources_) place.emplace(id, static_cast<uint16_t>(place.size()));
  auto out = std::make_shared<std::vector<uint16_t>>();
  out->reserve(size_t(kSlots) * view_.replica_count());
  for (unsigned i = 0; i < kSlots; ++i) {
    for (ProxyId p : view_.replicas(Slot{static_cast<uint16_t>(i)})) out->push_back(place.at(p));
  }
  return out;
}

void Summaries::follow(Instant now) {
  if (following_) return;
  following_ = true;
  for (auto& [id, s] : sources_) ask_later(s, now);
}

void Summaries::stop() {
  following_ = false;
  outputs_.clear();
  for (auto& [id, s] : sources_) {
    end_freshness(s);
    s = {};
  }
  changed_ = true;
}

// Maps that are in use share the old time with nobody any more: nothing of theirs counts from here on.
void Summaries::end_freshness(Source& s) {
  s.fresh_until->store(Instant{}, std::memory_order_release);
  s.fresh_until = never();
}

void Summaries::ask(ProxyId id, Source& s, Instant now) {
  SummaryRequest m{.version = s.version, .number = s.number};
  if (s.coming) {
    m.version = s.coming->version;
    m.block = static_cast<uint32_t>(s.coming->first * kSummaryBlocksMax);
    s.coming->asked = std::min(s.coming->here.size(), s.coming->first + kSummaryWindow);
  }
  s.request = ++last_request_;
  s.asked = now;
  s.ask_at = now + std::min<Duration>(kRetryMax, std::max<Duration>(kRetry, 2 * s.rtt) * (1 << std::min(s.tries, 4u)));
  ++s.tries;
  outputs_.add(NodeId::proxy(id),
               encode_as({.request = s.request, .origin = self_, .view = view_.id()}, m, outputs_.room()));
}

bool Summaries::on_message(NodeId from, Bytes bytes, Instant now) {
  if (bytes.empty()) return false;
  if (bytes[0] != message_type<SummaryBlocks>() && bytes[0] != message_type<SummaryDelta>()) return false;
  auto message = decode(bytes);
  if (!message || !from.is_proxy() || message->header.origin != from) return false;
  auto it = sources_.find(from.as_proxy());
  const MessageHeader& h = message->header;
  if (!following_ || it == sources_.end() || h.view != view_.id() || h.request != it->second.request) return true;
  it->second.rtt = now - it->second.asked;
  if (auto* m = std::get_if<SummaryBlocks>(&message->body)) on_blocks(it->second, *m, now);
  if (auto* m = std::get_if<SummaryDelta>(&message->body)) on_delta(it->second, *m, now);
  return true;
}

void Summaries::on_blocks(Source& s, const SummaryBlocks& m, Instant now) {
  if (m.of > kBlocksMax || m.first % kSummaryBlocksMax != 0) return;
  if (!s.coming || s.coming->version != m.version || s.coming->filter->blocks() != m.of) {
    const size_t messages = (m.of + kSummaryBlocksMax - 1) / kSummaryBlocksMax;
    s.coming = {.filter = std::make_shared<SessionFilter>(m.of),
                .version = m.version,
                .number = m.number,
                .here = std::vector<bool>(messages),
                .left = messages,
                .asked = std::min(messages, kSummaryWindow)};
  }
  Source::Coming& c = *s.coming;
  const size_t n = m.blocks.size() / SessionFilter::kBlockBytes, message = m.first / kSummaryBlocksMax;
  if (c.here[message] || n != std::min<size_t>(kSummaryBlocksMax, m.of - m.first)) return;
  for (size_t b = 0; b < n; ++b) {
    uint64_t words[SessionFilter::kBlockWords];
    std::memcpy(words, m.blocks.data() + b * SessionFilter::kBlockBytes, sizeof words);
    c.filter->merge_block(m.first + b, words);
  }
  c.here[message] = true;
  c.number = std::min(c.number, m.number);
  --c.left;
  while (c.first < c.here.size() && c.here[c.first]) ++c.first;
  if (c.left == 0) {
    s.filter = std::move(c.filter);
    s.version = c.version;
    s.number = c.number;
    s.coming.reset();
    end_freshness(s);
    changed_ = true;
    ask_later(s, now);
  } else if (c.first >= c.asked) {
    ask_later(s, std::max(now, s.asked + kBlocksPause));
  }
}

void Summaries::on_delta(Source& s, const SummaryDelta& m, Instant now) {
  if (m.version == 0) return ask_later(s, now + kNotReadyPause);
  if (m.version != s.version || !s.filter) return;
  if (m.first > s.number + 1) return ask_later(s, now + kGapPause);  // one before it is lost, or behind it
  for (size_t i = 0; i < m.sessions.size(); ++i) {
    if (m.first + i <= s.number) continue;
    s.filter->add(m.sessions[i]);
    ++s.number;
  }
  if (m.out_of_sync != s.out_of_sync) {  // what is told now counts for another map than the one in use
    s.out_of_sync = m.out_of_sync;
    end_freshness(s);
    changed_ = true;
  }
  if (s.number < m.last) return ask_later(s, now + kGapPause);  // more is on its way, or to be asked for
  s.fresh_until->store(s.asked + kFreshFor, std::memory_order_release);
  ask_later(s, s.asked + kDeltaPeriod);
}

void Summaries::on_deadline(Instant now) {
  if (!following_) return;
  for (auto& [id, s] : sources_) {
    if (s.ask_at <= now) ask(id, s, now);
  }
}

Instant Summaries::next_deadline() const {
  Instant soonest = Instant::max();
  if (!following_) return soonest;
  for (const auto& [id, s] : sources_) soonest = std::min(soonest, s.ask_at);
  return soonest;
}

std::unique_ptr<const AbsenceMap> Summaries::map() {
  if (!placement_) placement_ = placement();  // most proxies never need it
  std::vector<AbsenceMap::Source> sources;
  sources.reserve(sources_.size());
  for (const auto& [id, s] : sources_) {
    AbsenceMap::Source& to = sources.emplace_back();
    to.filter = s.filter;
    to.fresh_until = s.fresh_until;
    to.counts.set();
    for (const SlotRange& r : s.out_of_sync) {
      for (unsigned slot = r.first; slot <= r.last; ++slot) to.counts.reset(slot);
    }
  }
  return std::make_unique<AbsenceMap>(placement_, view_.replica_count(), view_.read_count(), std::move(sources));
}

Summaries::Status Summaries::status(Instant now) const {
  Status out{.sources = following_ ? sources_.size() : 0};
  for (const auto& [id, s] : sources_) {
    out.fresh += s.filter && s.fresh_until->load(std::memory_order_relaxed) > now;
    out.bytes += (s.filter ? s.filter->bytes() : 0) + (s.coming ? s.coming->filter->bytes() : 0);
  }
  return out;
}

}  // namespace statecast
