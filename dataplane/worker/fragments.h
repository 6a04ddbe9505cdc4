// SPDX-License-Identifier: BSD-3-Clause
// Fragment table: the first fragment of a packet carries its ports and teaches the session; later fragments follow it
// by (source, destination, identification, protocol) for a short while, at the same proxy.
//
//   fragments.learn(fragment_key(frame, parsed), session, key, now);
//   if (auto* f = fragments.find(fragment_key(frame, parsed), now)) ... f->session
//
// One entry per hash value, a newcomer displaces: bounded whatever arrives, and what is lost is counted by the caller
// (fragment_elsewhere). Reassembly was not taken: it holds packets, and their number is the attacker's choice.
// Threads: one table per worker; a device spreads all fragments of a packet by addresses alone, so they meet.
// Ownership: value.
#pragma once

#include <cstring>
#include <vector>

#include "base/units.h"
#include "dataplane/packet/parse.h"
#include "dataplane/session/rules.h"

namespace statecast {

struct FragmentKey {
  IpAddress source, destination;
  uint32_t identification = 0;
  uint8_t protocol = 0;
  bool operator==(const FragmentKey&) const = default;
};

// REQUIRES: p.fragment != Fragment::none
inline FragmentKey fragment_key(Bytes frame, const ParsedPacket& p) {
  FragmentKey k{source_of(frame, p), destination_of(frame, p), 0, p.protocol_number};
  if (p.ip_version == 4) {
    k.identification = static_cast<uint32_t>(frame[p.l3_offset + 4u] << 8 | frame[p.l3_offset + 5u]);
  } else if (p.l4_offset >= p.l3_offset + 48u) {
    // The fragment header is the last of the chain wherever one is sent in practice: 8 bytes, identification at 4.
    for (unsigned i = 4; i > 0; --i) k.identification = k.identification << 8 | frame[p.l4_offset - i];
  }
  return k;
}

class FragmentTable {
 public:
  struct Entry {
    FragmentKey fragment;
    Instant until{};
    SessionId session;
    SessionKey key;
    PacketClass packet_class = PacketClass::none;
  };
  static constexpr Duration kLife = 2s;  // far above the spread of one packet's fragments, far below reuse of an ID

  explicit FragmentTable(size_t entries = 1024) : table_(entries) {}

  void learn(const FragmentKey& f, const SessionId& session, const SessionKey& key, PacketClass c, Instant now) {
    table_[at(f)] = {f, now + kLife, session, key, c};
  }
  const Entry* find(const FragmentKey& f, Instant now) const {
    const Entry& e = table_[at(f)];
    return e.until > now && e.fragment == f ? &e : nullptr;
  }

 private:
  size_t at(const FragmentKey& f) const {
    std::hash<IpAddress> hash;
    size_t h = hash(f.source) ^ hash(f.destination) * 31 ^ f.identification * 0x9e3779b97f4a7c15ull ^ f.protocol;
    return (h ^ h >> 32) % table_.size();
  }
  std::vector<Entry> table_;
};

}  // namespace statecast
