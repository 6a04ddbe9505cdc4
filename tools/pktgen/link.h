// SPDX-License-Identifier: BSD-3-Clause
// Link: a port's place on its network: its own addresses, answered for, and the next hop, asked for. Without I/O.
//
//   Link link({.mac = own, .addresses = {...}, .gateway = ...});
//   if (size_t n = link.question(now, out)) send(out.first(n));                   // once a second until it is known
//   if (link.take(frame, out, n) && n != 0) send(out.first(n));                   // ARP or neighbour discovery
//   template.set_macs(link.mac(), link.peer());
//
// Threads: question() from one; take() and the getters from any. Ownership: value.
#pragma once

#include <atomic>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/units.h"

namespace statecast {

struct LinkOptions {
  MacAddress mac;
  std::vector<IpAddress> addresses;
  IpAddress gateway;  // none: `peer` is the next hop
  MacAddress peer;
};

class Link {
 public:
  explicit Link(LinkOptions o);

  // True if the frame was about neighbours. `reply`: the length of what is to be sent back, 0 for nothing.
  bool take(Bytes frame, MutableBytes out, size_t& reply);
  // A question for the gateway's MAC address, when one is due; else 0.
  size_t question(Instant now, MutableBytes out);

  const MacAddress& mac() const { return o_.mac; }
  MacAddress peer() const;
  bool ready() const { return known_.load(std::memory_order_acquire) != 0; }

 private:
  bool is_own(const IpAddress& a) const;
  void learn(const MacAddress& mac);

  LinkOptions o_;
  std::atomic<uint64_t> known_{0};  // bit 48 and the MAC address; 0: not yet
  Instant next_question_{};
};

}  // namespace statecast
