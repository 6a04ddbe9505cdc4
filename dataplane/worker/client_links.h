// SPDX-License-Identifier: BSD-3-Clause
// Client links: the client's side as one burst sees it. What is on none of its links goes to the gateway, whose next
// hop is looked up once per burst.
//
//   const ClientLinks links(snapshot);
//   NextHop hop = links.towards(ip_header, parsed);      // the packet's destination
//
// Says what Snapshot::towards_client says. Threads: one worker. Ownership: a view of the snapshot.
#pragma once

#include <array>
#include <cstring>

#include "dataplane/packet/parse.h"
#include "dataplane/worker/snapshot.h"

namespace statecast {

class ClientLinks {
 public:
  explicit ClientLinks(const Snapshot& s) : snapshot_(s) {
    for (const PortLayout& port : s.layout->ports) {
      for (const auto& own : port.addresses) {
        if (!port.anycast || !own.address.is_v4()) continue;
        if (count_ == kMost) return;  // more: everything is asked for one by one
        const uint32_t mask = own.length == 0 ? 0 : ~uint32_t(0) << (32 - own.length);
        links_[count_++] = {__builtin_bswap32(mask), address_at(own.address.raw.data()) & __builtin_bswap32(mask)};
      }
    }
    // An address that is on no link stands for all of them.
    for (const PortLayout& port : s.layout->ports) {
      for (const IpAddress& gateway : port.gateways) {
        if (port.anycast && gateway.is_v4() && !gateway_.known) gateway_ = found(s, gateway);
      }
    }
  }
  NextHop towards(const uint8_t* ip, const ParsedPacket& p) const {
    if (p.ip_version != 4 || count_ == kMost) return snapshot_.towards_client(destination(ip, p));
    const uint32_t to = address_at(ip + 16);
    for (unsigned k = 0; k < count_; ++k) {
      if ((to & links_[k].mask) == links_[k].network) return snapshot_.towards_client(destination(ip, p));
    }
    return gateway_;
  }

 private:
  static constexpr unsigned kMost = 8;
  struct Link {
    uint32_t mask, network;  // as in memory
  };
  static uint32_t address_at(const uint8_t* at) {
    uint32_t a;
    std::memcpy(&a, at, 4);
    return a;
  }
  static IpAddress destination(const uint8_t* ip, const ParsedPacket& p) {
    return p.ip_version == 4 ? IpAddress::v4(Bytes(ip + 16, 4)) : IpAddress::v6(Bytes(ip + 24, 16));
  }
  static NextHop found(const Snapshot& s, const IpAddress& gateway) {
    const auto at = s.neighbours.find(gateway);
    return at == s.neighbours.end() ? NextHop{} : at->second;
  }

  const Snapshot& snapshot_;
  std::array<Link, kMost> links_;
  unsigned count_ = 0;
  NextHop gateway_;
};

}  // namespace statecast
