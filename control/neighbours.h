// SPDX-License-Identifier: BSD-3-Clause
// Neighbours: ARP and IPv6 neighbour discovery of the proxy's ports, sans-IO. It answers for the proxy's own addresses,
// where the port says so, and finds the Ethernet addresses of gateways, on-link peers and on-link clients.
//
//   Neighbours n(layout_ports);
//   n.want(port, address, Keep::always, now);     // gateways and peers: asked for again and again
//   n.on_frame(port, frame, now);
//   for (Neighbours::Frame f; n.next_output(f);) send(f);
//   auto hop = n.find(address);
//
// Nothing is learned from what was not asked for: an answer counts only while a question of ours is out, so a stray or
// forged announcement moves no traffic. A known address is asked again every 5 s, and forgotten when that stays without
// an answer for 3 s.
// For group addresses it never answers: routers have a route to them through the proxy's own address.
//
// Timers: a question of a new address is repeated after 0.2 s, then every second; Keep::briefly gives up after three.
// Threads: one (control). Ownership: owns its table, at most kNeighboursMax.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "dataplane/packet/parse.h"
#include "dataplane/worker/snapshot.h"

namespace statecast {

inline constexpr size_t kNeighboursMax = 4096;

class Neighbours {
 public:
  enum class Keep : uint8_t { always, briefly };
  struct Frame {
    uint16_t port = 0;
    std::vector<uint8_t> bytes;
  };

  explicit Neighbours(std::vector<PortLayout> ports) : ports_(std::move(ports)) {}

  void want(uint16_t port, const IpAddress& address, Keep keep, Instant now);
  void on_frame(uint16_t port, Bytes frame, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;  // Instant::max(): none
  bool next_output(Frame& out);

  std::optional<NextHop> find(const IpAddress& address) const;
  std::unordered_map<IpAddress, NextHop> known() const;
  // True once after something in known() changed.
  bool take_changed() { return std::exchange(changed_, false); }
  struct Losses {
    uint64_t addresses = 0;  // not looked for: the table was full
    uint64_t frames = 0;     // not sent: too many waited
  };
  const Losses& losses() const { return losses_; }

 private:
  struct Entry {
    uint16_t port = 0;
    Keep keep = Keep::briefly;
    bool known = false;
    bool asked = false;  // a question is out
    MacAddress mac;
    unsigned tries = 0;  // without an answer
    Instant next{};      // question or re-question
  };

  void on_arp(uint16_t port, Bytes packet, Instant now);
  void on_discovery(uint16_t port, Bytes frame, const ParsedPacket& p, Instant now);
  void queue(uint16_t port, Bytes frame);
  void learn(uint16_t port, const IpAddress& address, const MacAddress& mac, Instant now);
  void ask(const IpAddress& address, Entry& e, Instant now);
  const PortLayout::Address* own(uint16_t port, const IpAddress& a) const;
  std::optional<IpAddress> source_for(uint16_t port, const IpAddress& a) const;

  std::vector<PortLayout> ports_;
  std::unordered_map<IpAddress, Entry> entries_;
  std::deque<Frame> out_;
  bool changed_ = false;
  Losses losses_;
};

}  // namespace statecast
