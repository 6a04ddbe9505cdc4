// SPDX-License-Identifier: BSD-3-Clause
#include "directory/peers.h"

#include <algorithm>

namespace statecast {

namespace {
constexpr size_t kAskedMax = 8;        // heartbeats whose answer may still count: two seconds' worth
constexpr size_t kWaitingMax = 4'096;  // permits; a peer that is out of sync in many slots gives them in parts
constexpr size_t kFormerBootsMax = 8;  // so that a late message of an earlier boot is known for what it is
// A member is listed by those who heard it within half of the dead-man time, and the list counts for the other half.
constexpr Duration kListedLife = kDeadManTime / 2;
}  // namespace

bool OtherNode::is_stale(uint32_t b) const {
  return std::find(former_boots_.begin(), former_boots_.end(), b) != former_boots_.end();
}

bool OtherNode::on_boot(uint32_t b, Instant now) {
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
  in_sync = false;
  out_of_sync_slots_ = {kAllSlots};  // until it says otherwise
  waiting_.clear();
  renumber();
  return true;
}

void OtherNode::on_asked(uint32_t request, Instant now) {
  asked_.push_back({request, now});
  if (asked_.size() > kAskedMax) asked_.pop_front();
}

void OtherNode::on_permit(uint32_t request, const Permit& permit, Instant now) {
  in_sync = permit.in_sync;
  // What it says of the slots that this permit covers, between what it said of the others.
  std::vector<SlotRange> all;
  auto keep = [&](int first, int last) {
    if (first <= last) all.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  };
  for (const SlotRange& r : out_of_sync_slots_) keep(r.first, std::min<int>(r.last, permit.covers.first - 1));
  for (const SlotRange& r : permit.out_of_sync)
    keep(std::max(r.first, permit.covers.first), std::min(r.last, permit.covers.last));
  for (const SlotRange& r : out_of_sync_slots_) keep(std::max<int>(r.first, permit.covers.last + 1), r.last);
  out_of_sync_slots_ = std::move(all);

  auto it = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& a) { return a.request == request; });
  if (it == asked_.end()) return;
  if (!it->answered) {
    Duration sample = now - it->at;
    rtt_ = rtt_ == Duration{} ? sample : (7 * rtt_ + sample) / 8;
    it->answered = true;
  }
  if (!permit.granted) return;
  Instant until = it->at + kPermitLife - safety_margin(kPermitLife);
  waiting_.push_back({permit.number, {until, permit.covers, permit.out_of_sync}});
  if (waiting_.size() > kWaitingMax) waiting_.pop_front();
  on_applied(applied);
}

bool OtherNode::permit_for(const std::vector<Given>& given, Slot slot, Instant now) {
  return std::any_of(given.begin(), given.end(), [&](const Given& g) {
    return now < g.until && slot.value >= g.covers.first && slot.value <= g.covers.last && !holds(g.except, slot);
  });
}

// Most peers are in sync in all that they share, and say so in one permit, which stands for all before it.
void OtherNode::count(const Given& permit) {
  std::erase_if(given_, [&](const Given& g) {
    bool within = g.covers.first >= permit.covers.first && g.covers.last <= permit.covers.last;
    return (within && g.until <= permit.until) || g.until + kPermitLife < permit.until;
  });
  auto after = std::find_if(given_.begin(), given_.end(), [&](const Given& g) { return g.until > permit.until; });
  given_.insert(after, permit);
}

void OtherNode::drop_permits() {
  given_.clear();
  given_before_.clear();
  waiting_.clear();
  asked_.clear();
}

void OtherNode::on_view() {
  given_before_ = std::move(given_);
  given_.clear();
  waiting_.clear();
  asked_.clear();
  met = false;
  in_sync = false;
  out_of_sync_slots_ = {kAllSlots};
}

void OtherNode::on_applied(uint64_t number) {
  applied = number;
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (w.number > applied) return false;
    count(w.permit);
    return true;
  });
}

bool OtherNode::add_change(ListedChange c) {
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

std::vector<ListedChange> OtherNode::take_acknowledged(uint64_t number) {
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

const ListedChange* OtherNode::change(uint64_t number) const {
  return number >= first_number_ && number - first_number_ < list_.size() ? &list_[number - first_number_] : nullptr;
}

uint16_t OtherNode::pending_term(const SessionKey& key) const {
  if (terms_.empty()) return 0;
  auto it = terms_.find(key);
  return it == terms_.end() ? 0 : it->second.highest;
}

const ListedChange* OtherNode::highest_pending(const SessionKey& key, Instant now) const {
  const ListedChange* highest = nullptr;
  if (pending_term(key) == 0) return highest;
  for (const ListedChange& c : list_) {
    if (c.record.key != key || c.expires <= now) continue;
    if (!highest || c.record.version.term > highest->record.version.term) highest = &c;
  }
  return highest;
}

void OtherNode::renumber() {
  first_number_ = 1;
  unsent = 1;
}

void OtherNode::clear_list() {
  first_number_ += list_.size();
  list_.clear();
  terms_.clear();
}

void OtherNode::restart_waiting(Instant now) {
  for (ListedChange& c : list_) c.listed = now;
}

void OtherNode::on_members(const std::vector<MemberId>& members, Instant now) {
  std::erase_if(members_, [&](const auto& m) { return now - m.second >= kListedLife; });
  for (MemberId m : members) members_[m] = now;
}

bool OtherNode::hears(MemberId m, Instant now) const {
  auto it = members_.find(m);
  return it != members_.end() && now - it->second < kListedLife;
}

}  // namespace statecast
