// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/link.h"

#include <algorithm>

#include "dataplane/packet/neighbour.h"

namespace statecast {

namespace {

constexpr Duration kAskAgain = 250ms;     // until there is an answer
constexpr Duration kAskWhileKnown = 10s;  // a next hop may be replaced
constexpr uint64_t kKnown = uint64_t(1) << 48;

}  // namespace

Link::Link(LinkOptions o) : o_(std::move(o)) {
  if (o_.gateway.is_none()) learn(o_.peer);
}

bool Link::is_own(const IpAddress& a) const {
  return std::find(o_.addresses.begin(), o_.addresses.end(), a) != o_.addresses.end();
}

void Link::learn(const MacAddress& mac) {
  uint64_t v = kKnown;
  for (size_t i = 0; i < 6; ++i) v |= uint64_t(mac.raw[i]) << (8 * i);
  known_.store(v, std::memory_order_release);
}

MacAddress Link::peer() const {
  uint64_t v = known_.load(std::memory_order_acquire);
  MacAddress m;
  for (size_t i = 0; i < 6; ++i) m.raw[i] = static_cast<uint8_t>(v >> (8 * i));
  return m;
}

bool Link::take(Bytes frame, MutableBytes out, size_t& reply) {
  reply = 0;
  ParsedPacket p;
  ParseResult r = parse_frame(frame, p);
  if (r == ParseResult::not_ip) {
    if (p.ethertype != kEthertypeArp) return false;
    auto arp = parse_arp(frame.subspan(p.l3_offset));
    if (!arp) return true;
    if (arp->sender == o_.gateway) learn(arp->sender_mac);
    if (arp->is_request && is_own(arp->target)) reply = write_arp_reply(*arp, o_.mac, out);
    return true;
  }
  if (is_neighbour_solicitation(p)) {
    auto s = parse_solicitation(frame.subspan(p.l3_offset));
    if (!s) return true;
    MacAddress asker;
    std::copy_n(frame.begin() + 6, 6, asker.raw.begin());
    if (s->source == o_.gateway && s->source_mac) learn(*s->source_mac);
    if (is_own(s->target)) reply = write_advertisement(*s, o_.mac, out, asker);
    return true;
  }
  if (is_neighbour_advertisement(p)) {
    auto a = parse_advertisement(frame.subspan(p.l3_offset));
    if (a && a->target == o_.gateway && a->target_mac) learn(*a->target_mac);
    return true;
  }
  return false;
}

size_t Link::question(Instant now, MutableBytes out) {
  if (o_.gateway.is_none() || now < next_question_) return 0;
  auto own = std::find_if(o_.addresses.begin(), o_.addresses.end(),
                          [&](const IpAddress& a) { return a.family == o_.gateway.family; });
  if (own == o_.addresses.end()) return 0;
  next_question_ = now + (ready() ? kAskWhileKnown : kAskAgain);
  return o_.gateway.is_v4() ? write_arp_request(o_.mac, *own, o_.gateway, out)
                            : write_solicitation(o_.mac, *own, o_.gateway, out);
}

}  // namespace statecast
