// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/tun_offload.h"

#include <cstring>

#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr size_t kIpMax = 65'535;
constexpr size_t kTcpHeader = 20;
constexpr uint8_t kFin = 0x01, kPush = 0x08, kAck = 0x10, kCongestionReduced = 0x80;

void put16(MutableBytes at, size_t offset, uint16_t v) {
  at[offset] = static_cast<uint8_t>(v >> 8);
  at[offset + 1] = static_cast<uint8_t>(v);
}
uint16_t get16(Bytes at, size_t offset) {
  return static_cast<uint16_t>(at[offset] << 8 | at[offset + 1]);
}
void put32(MutableBytes at, size_t offset, uint32_t v) {
  put16(at, offset, static_cast<uint16_t>(v >> 16));
  put16(at, offset + 2, static_cast<uint16_t>(v));
}
uint32_t get32(Bytes at, size_t offset) {
  return uint32_t(get16(at, offset)) << 16 | get16(at, offset + 2);
}

// Where the TCP header starts and ends, for a plain TCP packet (no fragment, no extension headers).
struct TcpPlace {
  bool v4 = false;
  size_t l4 = 0, payload = 0;
};
bool find_tcp(Bytes packet, TcpPlace& out) {
  if (packet.size() < 40) return false;
  out.v4 = packet[0] >> 4 == 4;
  if (out.v4) {
    out.l4 = size_t(packet[0] & 15) * 4;
    bool fragment = (get16(packet, 6) & 0x3fff) != 0;
    if (out.l4 < 20 || packet[9] != 6 || fragment || get16(packet, 2) != packet.size()) return false;
  } else {
    out.l4 = 40;
    if (packet[0] >> 4 != 6 || packet[6] != 6 || get16(packet, 4) + out.l4 != packet.size()) return false;
  }
  if (packet.size() < out.l4 + kTcpHeader) return false;
  out.payload = out.l4 + size_t(packet[out.l4 + 12] >> 4) * 4;
  return out.payload >= out.l4 + kTcpHeader && out.payload <= packet.size();
}

IpAddress source_address(Bytes packet, bool v4) {
  return v4 ? IpAddress::v4(packet.subspan(12, 4)) : IpAddress::v6(packet.subspan(8, 16));
}
IpAddress destination_address(Bytes packet, bool v4) {
  return v4 ? IpAddress::v4(packet.subspan(16, 4)) : IpAddress::v6(packet.subspan(24, 16));
}

// Length and header checksum of the IP header, after the packet has got this size.
void set_ip_length(MutableBytes packet, bool v4) {
  if (v4) {
    put16(packet, 2, static_cast<uint16_t>(packet.size()));
    put16(packet, 10, 0);
    put16(packet, 10, internet_checksum(packet.first(size_t(packet[0] & 15) * 4)));
  } else {
    put16(packet, 4, static_cast<uint16_t>(packet.size() - 40));
  }
}

// The kernel left the sum of the pseudo header in the checksum field.
bool complete_checksum(const VnetHeader& h, MutableBytes packet) {
  size_t start = h.csum_start, field = start + h.csum_offset;
  if (field + 2 > packet.size()) return false;
  uint16_t sum = internet_checksum(packet.subspan(start));
  put16(packet, field, sum == 0 && h.csum_offset == 6 ? 0xffff : sum);  // UDP: 0 means none
  return true;
}

bool split_tcp(size_t segment_size, Bytes packet, std::vector<uint8_t>& scratch,
               const std::function<void(Bytes)>& on_packet) {
  // The large packet's length field may be zero or meaningless; its size is what counts.
  std::vector<uint8_t>& head = scratch;
  TcpPlace place;
  bool v4 = packet[0] >> 4 == 4;
  place.v4 = v4;
  place.l4 = v4 ? size_t(packet[0] & 15) * 4 : 40;
  if (packet.size() < place.l4 + kTcpHeader || (v4 ? packet[9] : packet[6]) != 6) return false;
  place.payload = place.l4 + size_t(packet[place.l4 + 12] >> 4) * 4;
  if (place.payload > packet.size() || segment_size == 0) return false;

  const uint32_t sequence = get32(packet, place.l4 + 4);
  const uint16_t identification = v4 ? get16(packet, 4) : 0;
  const uint8_t flags = packet[place.l4 + 13];
  IpAddress source = source_address(packet, v4), destination = destination_address(packet, v4);
  const Bytes payload = packet.subspan(place.payload);
  size_t n = 0;
  for (size_t at = 0; at < payload.size() || n == 0; at += segment_size, ++n) {
    Bytes part = payload.subspan(at, std::min(segment_size, payload.size() - at));
    bool first = n == 0, last = at + part.size() == payload.size();
    head.resize(place.payload + part.size());
    std::memcpy(head.data(), packet.data(), place.payload);
    if (!part.empty()) std::memcpy(head.data() + place.payload, part.data(), part.size());
    MutableBytes out(head);
    uint8_t own = flags;
    if (!last) own &= static_cast<uint8_t>(~(kFin | kPush));
    if (!first) own &= static_cast<uint8_t>(~kCongestionReduced);
    out[place.l4 + 13] = own;
    put32(out, place.l4 + 4, sequence + static_cast<uint32_t>(at));
    if (v4) put16(out, 4, static_cast<uint16_t>(identification + n));
    set_ip_length(out, v4);
    put16(out, place.l4 + 16, 0);
    put16(out, place.l4 + 16, transport_checksum(source, destination, 6, out.subspan(place.l4)));
    on_packet(out);
  }
  return true;
}

}  // namespace

bool split_packet(const VnetHeader& header, MutableBytes packet, std::vector<uint8_t>& scratch,
                  const std::function<void(Bytes)>& on_packet) {
  if (packet.size() < 20) return false;
  switch (header.gso_type & ~VnetHeader::kGsoEcn) {
    case VnetHeader::kGsoNone:
      if ((header.flags & VnetHeader::kNeedsChecksum) && !complete_checksum(header, packet)) return false;
      on_packet(packet);
      return true;
    case VnetHeader::kGsoTcp4:
    case VnetHeader::kGsoTcp6: return split_tcp(header.gso_size, packet, scratch, on_packet);
    default: return false;
  }
}

void SegmentJoiner::add(Bytes packet) {
  if (join(packet)) return;
  flush();
  TcpPlace place;
  bool starts = find_tcp(packet, place) && (packet[place.l4 + 13] & ~kPush) == kAck && packet.size() > place.payload &&
                transport_checksum(source_address(packet, place.v4), destination_address(packet, place.v4), 6,
                                   packet.subspan(place.l4)) == 0;
  if (!starts) return write_(VnetHeader{}, packet);
  held_.assign(packet.begin(), packet.end());
  header_size_ = place.payload;
  segment_size_ = packet.size() - place.payload;
  segments_ = 1;
  next_sequence_ = get32(packet, place.l4 + 4) + static_cast<uint32_t>(segment_size_);
  closed_ = packet[place.l4 + 13] & kPush;
}

bool SegmentJoiner::join(Bytes packet) {
  if (held_.empty() || closed_ || packet.size() <= header_size_) return false;
  TcpPlace place;
  if (!find_tcp(packet, place) || place.payload != header_size_) return false;
  size_t payload = packet.size() - place.payload;
  if (payload > segment_size_ || held_.size() + payload > kIpMax) return false;
  if (get32(packet, place.l4 + 4) != next_sequence_) return false;
  uint8_t flags = packet[place.l4 + 13];
  if ((flags & ~kPush) != kAck) return false;
  // The same but for length, identification, IP checksum, sequence, flags and TCP checksum.
  Bytes held(held_);
  auto same = [&](size_t from, size_t to) { return std::memcmp(&held[from], &packet[from], to - from) == 0; };
  bool same_ip = place.v4 ? same(0, 2) && same(6, 10) && same(12, place.l4) : same(0, 4) && same(6, place.l4);
  bool same_tcp = same(place.l4, place.l4 + 4) && same(place.l4 + 8, place.l4 + 13) &&
                  same(place.l4 + 14, place.l4 + 16) && same(place.l4 + 18, place.payload);
  if (!same_ip || !same_tcp) return false;
  if (transport_checksum(source_address(packet, place.v4), destination_address(packet, place.v4), 6,
                         packet.subspan(place.l4)) != 0)
    return false;
  if (place.v4 && internet_checksum(packet.first(place.l4)) != 0) return false;
  held_.insert(held_.end(), packet.begin() + static_cast<ptrdiff_t>(place.payload), packet.end());
  held_[place.l4 + 13] |= flags & kPush;
  ++segments_;
  next_sequence_ += static_cast<uint32_t>(payload);
  closed_ = payload < segment_size_ || (flags & kPush);
  return true;
}

void SegmentJoiner::flush() {
  if (held_.empty()) return;
  VnetHeader h{};
  if (segments_ > 1) {
    MutableBytes packet(held_);
    bool v4 = packet[0] >> 4 == 4;
    size_t l4 = v4 ? size_t(packet[0] & 15) * 4 : 40;
    set_ip_length(packet, v4);
    // The checksum field holds the pseudo header's sum, as of a packet that a card would complete.
    put16(packet, l4 + 16,
          pseudo_header_sum(source_address(packet, v4), destination_address(packet, v4), 6,
                            static_cast<uint32_t>(packet.size() - l4))
              .folded());
    h.flags = VnetHeader::kNeedsChecksum;
    h.gso_type = v4 ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6;
    h.hdr_len = static_cast<uint16_t>(header_size_);
    h.gso_size = static_cast<uint16_t>(segment_size_);
    h.csum_start = static_cast<uint16_t>(l4);
    h.csum_offset = 16;
  }
  write_(h, held_);
  held_.clear();
}

}  // namespace statecast
