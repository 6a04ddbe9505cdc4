// SPDX-License-Identifier: BSD-3-Clause
#include "directory/verifier.h"

#include <algorithm>

#include "directory/peers.h"

namespace statecast {

namespace {

constexpr Duration kRetry = 300ms;
constexpr unsigned kTriesMax = 5;
constexpr Duration kAgainAfter = 6s;    // what was on its way at the first look has arrived by then
constexpr size_t kSuspectsMax = 1'000;  // that are looked at again

}  // namespace

Verifier::Verifier(ProxyId self, View view, Instant now) : self_(NodeId::proxy(self)), view_(std::move(view)) {
  report_.revision = view_.id().revision;
  const auto nodes = view_.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (size_t k = i + 1; k < nodes.size(); ++k) pairs_.push_back({nodes[i].id, nodes[k].id});
  }
  report_.pairs = pairs_.size();
  for (size_t p = 0; p < pairs_.size(); ++p) looks_.push_back({p, kAllSlots.first, kAllSlots.last});
  begin(now);
}

// The next look, and those after it whose nodes are known not to answer.
void Verifier::begin(Instant now) {
  while (!looks_.empty()) {
    const Pair& p = pairs_[looks_.front().pair];
    if (!report_.not_compared.contains(p.a) && !report_.not_compared.contains(p.b)) break;
    looks_.pop_front();
  }
  if (looks_.empty()) {
    due_ = Instant::max();
    if (suspects_.empty() || again_) {
      report_.done = true;
      return;
    }
    pause_ = now + kAgainAfter;
    return;
  }
  const Pair& p = pairs_[looks_.front().pair];
  sides_[0] = {.node = p.a, .answer = {}, .entries = {}};
  sides_[1] = {.node = p.b, .answer = {}, .entries = {}};
  tries_ = 0;
  ask(0, 0, now);
  ask(1, 0, now);
}

void Verifier::ask(size_t side, uint32_t place, Instant now) {
  const Look& look = looks_.front();
  Side& s = sides_[side];
  s.request = ++last_request_;
  s.answer.next = place;  // asked with this
  due_ = now + kRetry;
  const MessageHeader h{.request = s.request, .origin = self_, .hops = 0, .view = view_.id()};
  const Audit audit{
      .first = look.first, .last = look.last, .with = sides_[1 - side].node, .place = place, .listed = look.listed};
  outputs_.add(NodeId::proxy(s.node), encode_as(h, audit, outputs_.room()));
}

void Verifier::on_deadline(Instant now) {
  if (pause_ && *pause_ <= now) {
    pause_.reset();
    again_ = true;
    looks_.assign(suspects_.begin(), suspects_.end());
    return begin(now);
  }
  if (due_ > now) return;
  for (size_t side = 0; side < 2; ++side) {
    if (sides_[side].request == 0) continue;
    if (tries_ >= kTriesMax) return skip(sides_[side].node, "does not answer", now);
    ask(side, sides_[side].answer.next, now);
  }
  ++tries_;
}

Instant Verifier::next_deadline() const {
  return pause_ ? *pause_ : due_;
}

void Verifier::skip(ProxyId node, std::string why, Instant now) {
  report_.not_compared.emplace(node, std::move(why));
  begin(now);
}

bool Verifier::on_message(NodeId from, Bytes message, Instant now) {
  if (message.empty() || message[0] != message_type<AuditAnswer>()) return false;
  auto m = decode(message);
  if (!m || m->header.origin != self_) return false;
  for (size_t side = 0; side < 2; ++side) {
    Side& s = sides_[side];
    if (s.request == 0 || s.request != m->header.request || from != NodeId::proxy(s.node) || looks_.empty()) continue;
    auto& a = std::get<AuditAnswer>(m->body);
    if (m->header.view != view_.id()) {
      skip(s.node, "is in view " + std::to_string(m->header.view.revision), now);
      return true;
    }
    if (!a.in_sync) {
      skip(s.node, "is out of sync", now);
      return true;
    }
    const Look& look = looks_.front();
    tries_ = 0;
    s.entries.insert(s.entries.end(), a.entries.begin(), a.entries.end());
    if (look.listed && a.next > s.answer.next) {  // there is more
      ask(side, a.next, now);
      return true;
    }
    s.answer = std::move(a);
    s.request = 0;
    if (sides_[0].request == 0 && sides_[1].request == 0) conclude(now);
    return true;
  }
  return true;
}

// Both have answered.
void Verifier::conclude(Instant now) {
  const Look look = looks_.front();
  looks_.pop_front();
  if (look.listed) {
    compare_entries();
    return begin(now);
  }
  const auto &a = sides_[0].answer.digests, &b = sides_[1].answer.digests;
  const size_t parts = digest_parts(look.first, look.last);
  if (a.size() != parts || b.size() != parts)
    return skip(sides_[a.size() == parts].node, "answers something else", now);
  if (look.first == kAllSlots.first && look.last == kAllSlots.last) {
    ++report_.pairs_compared;
    for (unsigned i = 0; i < kSlots; ++i) {
      const Slot slot{static_cast<uint16_t>(i)};
      report_.slots += view_.is_replica(sides_[0].node, slot) && view_.is_replica(sides_[1].node, slot);
    }
  }
  const unsigned each = static_cast<unsigned>((look.last - look.first + 1u) / parts);
  for (size_t i = parts; i-- > 0;) {
    if (a[i] == b[i]) continue;
    const auto first = static_cast<uint16_t>(look.first + i * each);
    if (each > 1) {
      looks_.push_front({look.pair, first, static_cast<uint16_t>(first + each - 1)});
    } else if (again_) {
      looks_.push_front({look.pair, first, first, true});
    } else {
      ++report_.slots_differing;
      if (suspects_.size() < kSuspectsMax)
        suspects_.push_back({look.pair, first, first});
      else
        report_.more = true;
    }
  }
  begin(now);
}

void Verifier::compare_entries() {
  std::map<SessionKey, std::pair<std::optional<AuditAnswer::Entry>, std::optional<AuditAnswer::Entry>>> of;
  for (const auto& e : sides_[0].entries) of[e.key].first = e;
  for (const auto& e : sides_[1].entries) of[e.key].second = e;
  for (const auto& [key, both] : of) {
    if (both.first == both.second) continue;
    if (report_.differences.size() == kVerifyListed) {
      report_.more = true;
      return;
    }
    report_.differences.push_back({key.slot(), sides_[0].node, sides_[1].node, both.first, both.second});
  }
}

}  // namespace statecast
