// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/attacks.h"

#include <algorithm>
#include <cstring>

#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/wire.h"
#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

using Kind = PktgenStreamConfig::Kind;
constexpr size_t kEthernetSize = 14;
constexpr uint32_t kForgedMembersMax = 16;  // member numbers that a forger guesses

FrameOptions attack_frame(const AttackOptions& o) {
  FrameOptions f = o.frame;
  if (o.kind == Kind::syn_flood) {
    f.protocol = Protocol::tcp;
    f.tcp_flags = 0x02;
  }
  return f;
}

void fix_ip_checksum(uint8_t* ip) {
  ip[10] = ip[11] = 0;
  uint16_t sum = internet_checksum({ip, 20});
  ip[10] = static_cast<uint8_t>(sum >> 8);
  ip[11] = static_cast<uint8_t>(sum);
}

}  // namespace

AttackFrames::AttackFrames(const AttackOptions& o, uint64_t seed)
    : kind_(o.kind),
      v6_(o.frame.client.is_v6()),
      tcp_(attack_frame(o).protocol == Protocol::tcp),
      template_(attack_frame(o)),
      rng_(seed),
      sources_(std::clamp<uint64_t>(o.client_addresses, 1, uint64_t(1) << (32 - kSessionPortBits))
               << kSessionPortBits) {
  if (kind_ != Kind::forged_envelopes) return;
  // A whole frame with an envelope in it; sequence number and tag are drawn anew for each.
  std::array<uint8_t, 64> inner{};
  inner[0] = 0x45;
  inner[3] = sizeof inner;
  inner[8] = 64;
  inner[9] = uint8_t(Protocol::udp);
  std::array<uint8_t, 16> key;
  rng_.fill(key);
  WireHead head{};
  head.sender = NodeId::member(MemberId{1});
  head.group = GroupId{1};
  head.stamp.boot = static_cast<uint32_t>(rng_.next());
  head.key_epoch = 1;
  head.sequence = 1;
  head.kind = PayloadKind::ipv4;
  head.payload = inner;
  size_t outer = outer_size(o.frame.client.family), all = outer + kEnvelopeSizeMin + sizeof inner;
  MutableBytes whole(envelope_);
  std::copy(inner.begin(), inner.end(), whole.begin() + static_cast<long>(outer + kEnvelopeSizeMin));
  write_envelope(key, head, {}, whole.first(outer + kEnvelopeSizeMin));
  write_outer({.destination_mac = o.frame.destination_mac,
               .source_mac = o.frame.source_mac,
               .source = {o.frame.client, Port{kEnvelopePort}},
               .destination = o.frame.server},
              Bytes(envelope_).subspan(outer, all - outer), whole.first(outer));
  envelope_length_ = static_cast<uint16_t>(all);
}

void AttackFrames::set_macs(const MacAddress& source, const MacAddress& destination) {
  template_.set_macs(source, destination);
  std::copy(destination.raw.begin(), destination.raw.end(), envelope_.begin());
  std::copy(source.raw.begin(), source.raw.end(), envelope_.begin() + 6);
}

uint16_t AttackFrames::fill(uint8_t* frame, uint16_t length, Mark mark, uint64_t nonce) {
  length = std::max(length, template_.length_min());
  auto session = static_cast<uint32_t>(rng_.below(sources_));
  mark.session = session;
  switch (kind_) {
    case Kind::syn_flood: return template_.fill_bare(frame, session, static_cast<uint32_t>(rng_.next()));
    case Kind::malformed: return malformed(frame, length, mark, nonce);
    case Kind::forged_envelopes: return envelope(frame);
    case Kind::random_sessions:
    case Kind::good: break;
  }
  template_.fill(frame, session, length, mark, nonce);
  return length;
}

// Each in turn. The mark names a worker that there is not: one that gets through is nobody's.
uint16_t AttackFrames::malformed(uint8_t* frame, uint16_t length, Mark mark, uint64_t nonce) {
  mark.worker = kNoWorker;
  template_.fill(frame, mark.session, length, mark, nonce);
  uint8_t* ip = frame + kEthernetSize;
  uint8_t* l4 = ip + (v6_ ? 40 : 20);
  unsigned what = turn_++ % kMalformations;
  if (v6_ && (what == 1 || what == 3)) what = 0;  // IPv6 has neither a header length nor a checksum
  switch (what) {
    case 0: ip[0] = static_cast<uint8_t>((ip[0] & 0x0f) | 0x90); return length;  // version 9
    case 1: ip[0] = 0x42; return length;                                         // header of 8 bytes
    case 2: ip[v6_ ? 4 : 2] = 0x7f; break;                                       // longer than the frame
    case 3: ip[10] = static_cast<uint8_t>(~ip[10]); return length;               // header checksum
    case 4:                                                                      // ends within the L4 header
      length = static_cast<uint16_t>(kEthernetSize + (v6_ ? 40 : 20) + 4);
      if (v6_)
        ip[4] = 0, ip[5] = 4;
      else
        ip[2] = 0, ip[3] = 24;
      break;
    case 5:  // SYN and FIN, or length 7
      if (tcp_)
        l4[13] = 0x03;
      else
        l4[4] = 0, l4[5] = 7;
      break;
    case 6: l4[0] = l4[1] = 0; break;                                     // source port 0
    case 7: std::memset(ip + (v6_ ? 8 : 12), 0xff, v6_ ? 16 : 4); break;  // from multicast or broadcast
  }
  if (!v6_) fix_ip_checksum(ip);
  return length;
}

uint16_t AttackFrames::envelope(uint8_t* frame) {
  std::memcpy(frame, envelope_.data(), envelope_length_);
  size_t outer = v6_ ? kOuterSizeV6 : kOuterSizeV4;
  uint8_t* auth = frame + outer + kGeneveHeaderSize;
  auth[offsetof(AuthOption, sender) + 3] = static_cast<uint8_t>(1 + rng_.below(kForgedMembersMax));
  uint64_t noise[3] = {rng_.next(), rng_.next(), rng_.next()};
  std::memcpy(auth + offsetof(AuthOption, sequence), noise, sizeof noise);
  if (v6_) {  // here the UDP checksum counts
    MutableBytes udp(frame + outer - 8, size_t(envelope_length_) - outer + 8);
    udp[6] = udp[7] = 0;
    const uint8_t* ip = frame + kEthernetSize;
    uint16_t sum = udp_checksum(IpAddress::v6({ip + 8, 16}), IpAddress::v6({ip + 24, 16}), udp);
    udp[6] = static_cast<uint8_t>(sum >> 8);
    udp[7] = static_cast<uint8_t>(sum);
  }
  return envelope_length_;
}

}  // namespace statecast
