// SPDX-License-Identifier: BSD-3-Clause
#include "control/neighbours.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/packet/neighbour.h"

namespace statecast {

namespace {

constexpr Duration kFirstRetry = 200ms, kRetry = 1s, kConfirm = 5s;
constexpr unsigned kTriesMax = 3;
constexpr size_t kOutMax = 1024;

}  // namespace

const PortLayout::Address* Neighbours::own(uint16_t port, const IpAddress& a) const {
  if (port >= ports_.size()) return nullptr;
  for (const auto& own : ports_[port].addresses) {
    if (own.address == a) return &own;
  }
  return nullptr;
}

// The own address that a question about `a` comes from: one of its link, else one of its family (link-local gateways).
std::optional<IpAddress> Neighbours::source_for(uint16_t port, const IpAddress& a) const {
  std::optional<IpAddress> source;
  if (port >= ports_.size()) return source;
  for (const auto& own : ports_[port].addresses) {
    if (own.on_link(a)) return own.address;
    if (own.address.family == a.family && !source) source = own.address;
  }
  return source;
}

void Neighbours::want(uint16_t port, const IpAddress& address, Keep keep, Instant now) {
  auto at = entries_.find(address);
  if (at == entries_.end()) {
    if (entries_.size() >= kNeighboursMax && keep == Keep::briefly) {
      ++losses_.addresses;
      return;
    }
    at = entries_.emplace(address, Entry{.port = port, .keep = keep}).first;
    ask(address, at->second, now);
  } else if (keep == Keep::always) {
    at->second.keep = keep;
  }
}

void Neighbours::ask(const IpAddress& address, Entry& e, Instant now) {
  e.asked = true;
  e.next = now + (e.tries == 0 && !e.known ? kFirstRetry : kRetry);
  ++e.tries;
  auto source = source_for(e.port, address);
  if (!source) return;
  std::array<uint8_t, kNeighbourFrameMax> frame;
  const MacAddress& mac = ports_[e.port].mac;
  size_t n = address.is_v4() ? write_arp_request(mac, *source, address, frame)
                             : write_solicitation(mac, *source, address, frame);
  queue(e.port, Bytes(frame).first(n));
}

void Neighbours::on_deadline(Instant now) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& e = at->second;
    if (e.next <= now) {
      if (e.known && e.tries >= kTriesMax) {
        e.known = false;
        changed_ = true;
      }
      if (!e.known && e.tries >= kTriesMax && e.keep == Keep::briefly) {
        at = entries_.erase(at);
        continue;
      }
      ask(at->first, e, now);
    }
    ++at;
  }
}

Instant Neighbours::next_deadline() const {
  Instant next = Instant::max();
  for (const auto& [address, e] : entries_) next = std::min(next, e.next);
  return next;
}

bool Neighbours::next_output(Frame& out) {
  if (out_.empty()) return false;
  out = std::move(out_.front());
  out_.pop_front();
  return true;
}

std::optional<NextHop> Neighbours::find(const IpAddress& address) const {
  auto at = entries_.find(address);
  if (at == entries_.end() || !at->second.known) return std::nullopt;
  return NextHop{.known = true, .port = at->second.port, .mac = at->second.mac};
}

std::unordered_map<IpAddress, NextHop> Neighbours::known() const {
  std::unordered_map<IpAddress, NextHop> all;
  for (const auto& [address, e] : entries_) {
    if (e.known) all[address] = {.known = true, .port = e.port, .mac = e.mac};
  }
  return all;
}

void Neighbours::learn(uint16_t port, const IpAddress& address, const MacAddress& mac, Instant now) {
  auto at = entries_.find(address);
  if (at == entries_.end()) return;
  Entry& e = at->second;
  if (!e.asked || e.port != port || (mac.raw[0] & 1) != 0) return;
  if (!e.known || e.mac != mac) changed_ = true;
  e.known = true;
  e.asked = false;
  e.mac = mac;
  e.tries = 0;
  e.next = now + kConfirm;
}

void Neighbours::on_frame(uint16_t port, Bytes frame, Instant now) {
  if (port >= ports_.size()) return;
  ParsedPacket p;
  ParseResult r = parse_frame(frame, p);
  if (r == ParseResult::not_ip && p.ethertype == kEthertypeArp) on_arp(port, frame.subspan(p.l3_offset), now);
  if (r == ParseResult::ok || r == ParseResult::bad_address) on_discovery(port, frame, p, now);
}

void Neighbours::on_arp(uint16_t port, Bytes packet, Instant now) {
  auto arp = parse_arp(packet);
  if (!arp || !own(port, arp->target) || own(port, arp->sender)) return;
  if (!arp->is_request) return learn(port, arp->sender, arp->sender_mac, now);
  if (!ports_[port].answer_neighbours) return;
  std::array<uint8_t, kNeighbourFrameMax> frame;
  queue(port, Bytes(frame).first(write_arp_reply(*arp, ports_[port].mac, frame)));
}

void Neighbours::on_discovery(uint16_t port, Bytes frame, const ParsedPacket& p, Instant now) {
  Bytes packet = frame.subspan(p.l3_offset);
  MacAddress sender;
  std::memcpy(sender.raw.data(), frame.data() + 6, 6);
  if (is_neighbour_advertisement(p)) {
    auto a = parse_advertisement(packet);
    if (a && a->solicited && own(port, destination_of(frame, p)))
      learn(port, a->target, a->target_mac.value_or(sender), now);
  } else if (is_neighbour_solicitation(p) && ports_[port].answer_neighbours) {
    auto s = parse_solicitation(packet);
    if (!s || !own(port, s->target) || own(port, s->source)) return;
    std::array<uint8_t, kNeighbourFrameMax> reply;
    queue(port, Bytes(reply).first(write_advertisement(*s, ports_[port].mac, reply, sender)));
  }
}

void Neighbours::queue(uint16_t port, Bytes frame) {
  if (frame.empty()) return;
  if (out_.size() >= kOutMax) {
    ++losses_.frames;
    return;
  }
  out_.push_back({port, {frame.begin(), frame.end()}});
}

}  // namespace statecast
