// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/snapshot.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dataplane/envelope/envelope.h"

namespace statecast {

NodeIndex::NodeIndex(const std::vector<NodeId>& ids) : table_(std::bit_ceil(2 * ids.size() + 2)) {
  for (uint32_t i = 0; i < ids.size(); ++i) {
    size_t at = home(ids[i]);
    while (table_[at].first.value != 0) at = (at + 1) & (table_.size() - 1);
    table_[at] = {ids[i], i};
  }
  const size_t small = 4 * ids.size() + 1024;  // bounds the array by what the table takes
  for (uint32_t i = 0; i < ids.size(); ++i) {
    const size_t number = ids[i].number();
    if (!ids[i].is_member() || number >= small) continue;
    if (number >= members_.size()) members_.resize(number + 1, kNone);
    members_[number] = i;
  }
}

bool Group::has_member(MemberId m) const {
  auto at =
      std::lower_bound(members.begin(), members.end(), m, [](const GroupMember& a, MemberId b) { return a.id < b; });
  return at != members.end() && at->id == m;
}

bool PortLayout::Address::on_link(const IpAddress& a) const {
  if (a.family != address.family) return false;
  if (a.is_v4()) {
    uint32_t x, y;
    std::memcpy(&x, a.raw.data(), 4);
    std::memcpy(&y, address.raw.data(), 4);
    return length == 0 || __builtin_bswap32(x ^ y) >> (32 - length) == 0;
  }
  size_t whole = length / 8, bits = length % 8;
  if (!std::equal(a.raw.begin(), a.raw.begin() + static_cast<ptrdiff_t>(whole), address.raw.begin())) return false;
  return bits == 0 || (a.raw[whole] ^ address.raw[whole]) >> (8 - bits) == 0;
}

size_t Layout::inner_mtu() const {
  return underlay.address.is_v6() ? kInnerMtuV6 : kInnerMtuV4;
}

bool Layout::is_own(const IpAddress& a) const {
  for (const PortLayout& p : ports) {
    for (const auto& own : p.addresses) {
      if (own.address == a) return true;
    }
  }
  return a == underlay.address;
}

NextHop Snapshot::towards_client(const IpAddress& a) const {
  for (const PortLayout& p : layout->ports) {
    if (!p.anycast) continue;
    IpAddress via;
    for (const IpAddress& gateway : p.gateways) {
      if (gateway.family == a.family) via = gateway;
    }
    for (const auto& own : p.addresses) {
      if (own.on_link(a)) via = a;
    }
    if (via.is_none()) continue;
    auto found = neighbours.find(via);
    if (found != neighbours.end()) return found->second;
  }
  return {};
}

void SnapshotBoard::publish(std::unique_ptr<Snapshot> next) {
  next->generation = ++generation_;
  current_.store(next.get(), std::memory_order_release);
  owned_.push_back(std::move(next));
  // Every snapshot older than the oldest one that some worker last loaded is out of use.
  uint64_t oldest = generation_;
  for (const Seen& s : seen_) oldest = std::min(oldest, s.generation.load(std::memory_order_acquire));
  std::erase_if(owned_, [&](const auto& s) { return s->generation < oldest; });
}

}  // namespace statecast
