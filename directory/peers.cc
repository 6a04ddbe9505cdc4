// SPDX-License-Identifier: BSD-3-Clause
#include "directory/peers.h"

#include <algorithm>

namespace statecast {

namespace {
constexpr size_t kAskedMax = 8;        // heartbeats whose answer may still count: two seconds' worth
constexpr size_t kFormerBootsMax = 8;  // so that a late message of an earlier boot is known for what it is
// A member is listed by those who heard it within half of the dead-man time, and the list counts for the other half.
constexpr Duration kListedLife = kDeadManTime / 2;
}  // namespace

bool Peer::is_stale(uint32_t b) const {
  return std::find(former_boots_.begin(), former_boots_.end(), b) != former_boots_.end();
}

bool Peer::on_boot(uint32_t b, Instant now) {
  if (b == 0 || b == boot || is_stale(b)) return false;
  if (boot != 0) {
    former_boots_.push_back(boot);
    if (former_boots_.size() > kFormerBootsMax) former_boots_.pop_front();
  }
  boot = b;
  boot_known = now;
  applied = 0;
  early.clear();
  acknowledged.clear();
  out_of_sync = false;
  says_out_of_sync = true;  // until it says otherwise
  waiting_.clear();
  renumber();
  return true;
}

void Peer::on_asked(uint32_t request, Instant now) {
  asked_.push_back({request, now});
  if (asked_.size() > kAskedMax) asked_.pop_front();
}

void Peer::on_permit(uint32_t request, uint64_t number, bool granted, Instant now) {
  auto it = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& a) { return a.request == request; });
  if (it == asked_.end()) return;
  Duration sample = now - it->at;
  rtt_ = rtt_ == Duration{} ? sample : (7 * rtt_ + sample) / 8;
  Instant until = it->at + kPermitLife - safety_margin(kPermitLife);
  asked_.erase(it);
  if (!granted) return;
  waiting_.push_back({number, until});
  if (waiting_.size() > kAskedMax) waiting_.pop_front();
  on_applied(applied);
}

void Peer::drop_permits() {
  permit_until_ = {};
  waiting_.clear();
  asked_.clear();
}

void Peer::on_applied(uint64_t number) {
  applied = number;
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (w.number > applied) return false;
    permit_until_ = std::max(permit_until_, w.until);
    return true;
  });
}

bool Peer::add_change(ListedChange c) {
  if (out_of_sync) return true;  // it will get this when it syncs
  Terms& terms = terms_[c.record.key];
  ++terms.changes;
  terms.highest = std::max(terms.highest, c.record.version.term);
  list_.push_back(std::move(c));
  if (list_.size() <= kChangesMax) return true;
  clear_list();
  out_of_sync = true;
  return false;
}

std::vector<ListedChange> Peer::take_acknowledged(uint64_t number) {
  std::vector<ListedChange> taken;
  while (!list_.empty() && first_number_ <= number) {
    auto terms = terms_.find(list_.front().record.key);
    if (--terms->second.changes == 0) terms_.erase(terms);
    taken.push_back(std::move(list_.front()));
    list_.pop_front();
    ++first_number_;
  }
  return taken;
}

const ListedChange* Peer::change(uint64_t number) const {
  return number >= first_number_ && number - first_number_ < list_.size() ? &list_[number - first_number_] : nullptr;
}

uint16_t Peer::pending_term(const SessionKey& key) const {
  if (terms_.empty()) return 0;
  auto it = terms_.find(key);
  return it == terms_.end() ? 0 : it->second.highest;
}

const ListedChange* Peer::highest_pending(const SessionKey& key, Instant now) const {
  const ListedChange* highest = nullptr;
  if (pending_term(key) == 0) return highest;
  for (const ListedChange& c : list_) {
    if (c.record.key != key || c.expires <= now) continue;
    if (!highest || c.record.version.term > highest->record.version.term) highest = &c;
  }
  return highest;
}

void Peer::renumber() {
  first_number_ = 1;
  unsent = 1;
}

void Peer::clear_list() {
  first_number_ += list_.size();
  list_.clear();
  terms_.clear();
}

void Peer::restart_waiting(Instant now) {
  for (ListedChange& c : list_) c.listed = now;
}

void Peer::on_members(const std::vector<MemberId>& members, Instant now) {
  std::erase_if(members_, [&](const auto& m) { return now - m.second >= kListedLife; });
  for (MemberId m : members) members_[m] = now;
}

bool Peer::hears(MemberId m, Instant now) const {
  auto it = members_.find(m);
  return it != members_.end() && now - it->second < kListedLife;
}

}  // namespace statecast
