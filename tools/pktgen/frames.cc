// SPDX-License-Identifier: BSD-3-Clause
// Sums are of 16-bit words in memory order; a one's complement sum comes out right in whatever order of bytes it is
// made (RFC 1071, 2 B), so nothing is swapped but what is written as a number.
#include "tools/pktgen/frames.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr size_t kEthernetSize = 14;

uint16_t be16(uint16_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(v) : v;
}
uint32_t be32(uint32_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap32(v) : v;
}
void put16(uint8_t* at, uint16_t host_order) {
  uint16_t v = be16(host_order);
  std::memcpy(at, &v, 2);
}
void put32(uint8_t* at, uint32_t host_order) {
  uint32_t v = be32(host_order);
  std::memcpy(at, &v, 4);
}
uint16_t get16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
uint32_t get32(const uint8_t* at) {
  return uint32_t(get16(at)) << 16 | get16(at + 2);
}
uint64_t sum_of(const uint8_t* at, size_t n) {  // n even
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i += 2) {
    uint16_t w;
    std::memcpy(&w, at + i, 2);
    sum += w;
  }
  return sum;
}
uint64_t halves(uint32_t v) {
  return uint64_t(v & 0xffff) + (v >> 16);
}
// The checksum for a sum, in memory order.
uint16_t folded_complement(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

Endpoint client_of_session(const IpAddress& first_client, uint32_t session) {
  IpAddress a = first_client;
  uint8_t* low = a.raw.data() + a.size() - 4;
  put32(low, get32(low) + (session >> kSessionPortBits));
  return {a, Port{static_cast<uint16_t>(kFirstClientPort + (session & ((1u << kSessionPortBits) - 1)))}};
}

FrameTemplate::FrameTemplate(const FrameOptions& o) {
  SC_ASSERT(o.client.family == o.server.address.family && !o.client.is_none());
  v6_ = o.client.is_v6();
  tcp_ = o.protocol == Protocol::tcp;
  l4_ = static_cast<uint16_t>(kEthernetSize + (v6_ ? 40 : 20));
  payload_ = static_cast<uint16_t>(l4_ + (tcp_ ? 20 : 8));
  set_macs(o.source_mac, o.destination_mac);
  put16(&bytes_[12], v6_ ? 0x86dd : 0x0800);

  uint8_t* ip = &bytes_[kEthernetSize];
  size_t address_size = o.client.size();
  if (v6_) {
    ip[0] = 0x60;
    ip[6] = uint8_t(o.protocol);
    ip[7] = 64;
    std::copy_n(o.client.raw.begin(), 12, ip + 8);  // the last 4 bytes are patched in
    std::copy_n(o.server.address.raw.begin(), 16, ip + 24);
  } else {
    ip[0] = 0x45;
    ip[6] = 0x40;  // don't fragment
    ip[8] = 64;
    ip[9] = uint8_t(o.protocol);
    std::copy_n(o.server.address.raw.begin(), 4, ip + 16);
    ip_sum_ = sum_of(ip, 20);
  }
  client_low_ = get32(o.client.raw.data() + address_size - 4);

  uint8_t* l4 = &bytes_[l4_];
  put16(l4 + 2, o.server.port.value);
  if (tcp_) {
    put32(l4 + 8, 1);  // acknowledges something
    l4[12] = 5 << 4;
    l4[13] = o.tcp_flags;
    if (!(o.tcp_flags & 0x10)) put32(l4 + 8, 0);
    put16(l4 + 14, o.tcp_window);
  }
  l4_sum_ = sum_of(l4, static_cast<size_t>(payload_ - l4_)) + be16(uint16_t(o.protocol)) +
            sum_of(ip + (v6_ ? 8 : 12), address_size * 2);
}

void FrameTemplate::set_macs(const MacAddress& source, const MacAddress& destination) {
  std::copy(destination.raw.begin(), destination.raw.end(), bytes_.begin());
  std::copy(source.raw.begin(), source.raw.end(), bytes_.begin() + 6);
}

inline void FrameTemplate::patch(uint8_t* frame, uint32_t session, uint16_t length, uint64_t payload_sum) const {
  uint8_t* ip = frame + kEthernetSize;
  uint32_t client = be32(client_low_ + (session >> kSessionPortBits));
  uint16_t port = be16(static_cast<uint16_t>(kFirstClientPort + (session & ((1u << kSessionPortBits) - 1))));
  uint16_t l4_length = be16(static_cast<uint16_t>(length - l4_));
  if (v6_) {
    std::memcpy(ip + 4, &l4_length, 2);
    std::memcpy(ip + 20, &client, 4);
  } else {
    uint16_t total = be16(static_cast<uint16_t>(length - kEthernetSize));
    std::memcpy(ip + 2, &total, 2);
    std::memcpy(ip + 12, &client, 4);
    uint16_t checksum = folded_complement(ip_sum_ + total + halves(client));
    std::memcpy(ip + 10, &checksum, 2);
  }
  uint8_t* l4 = frame + l4_;
  std::memcpy(l4, &port, 2);
  uint64_t sum = l4_sum_ + halves(client) + port + l4_length + payload_sum;
  if (tcp_) {
    uint16_t checksum = folded_complement(sum);
    std::memcpy(l4 + 16, &checksum, 2);
  } else {
    std::memcpy(l4 + 4, &l4_length, 2);
    uint16_t checksum = folded_complement(sum + l4_length);
    if (checksum == 0) checksum = 0xffff;
    std::memcpy(l4 + 6, &checksum, 2);
  }
}

void FrameTemplate::fill(uint8_t* frame, uint32_t session, uint16_t length, const Mark& mark, uint64_t nonce) const {
  std::memcpy(frame, bytes_.data(), kTemplateSize);
  uint64_t sum = write_mark(mark, nonce, frame + payload_);
  patch(frame, session, length, sum);
}

uint16_t FrameTemplate::fill_bare(uint8_t* frame, uint32_t session, uint32_t tcp_sequence) const {
  std::memcpy(frame, bytes_.data(), kTemplateSize);
  uint32_t sequence = be32(tcp_sequence);
  std::memcpy(frame + l4_ + 4, &sequence, 4);
  patch(frame, session, payload_, halves(sequence));
  return payload_;
}

bool look_at_ip(Bytes packet, PacketLook& out) {
  const uint8_t* p = packet.data();
  if (packet.size() < 28) return false;
  uint8_t protocol;
  size_t l4, end;
  if (p[0] >> 4 == 4) {
    l4 = size_t(p[0] & 15) * 4;
    end = get16(p + 2);
    protocol = p[9];
    out.version = 4;
    if (l4 < 20 || (get16(p + 6) & 0x3fff)) return false;  // fragments carry no mark of ours
  } else {
    l4 = 40;
    end = 40 + size_t(get16(p + 4));
    protocol = p[6];
    out.version = 6;
    if (p[0] >> 4 != 6) return false;
  }
  if (end > packet.size() || l4 + 8 > end) return false;
  size_t header = 8;
  if (protocol == uint8_t(Protocol::tcp)) {
    if (l4 + 20 > end) return false;
    header = size_t(p[l4 + 12] >> 4) * 4;
    if (header < 20 || l4 + header > end) return false;
    out.tcp_flags = p[l4 + 13];
  } else if (protocol != uint8_t(Protocol::udp)) {
    return false;
  }
  out.protocol = Protocol(protocol);
  out.l3 = 0;
  out.l4 = static_cast<uint16_t>(l4);
  out.payload = static_cast<uint16_t>(l4 + header);
  out.end = static_cast<uint16_t>(end);
  return true;
}

bool look_at_frame(Bytes frame, PacketLook& out) {
  if (frame.size() < kEthernetSize) return false;
  uint16_t type = get16(frame.data() + 12);
  size_t l3 = kEthernetSize;
  if (type == 0x8100 && frame.size() >= kEthernetSize + 4) {
    type = get16(frame.data() + 16);
    l3 += 4;
  }
  if (type != 0x0800 && type != 0x86dd) return false;
  if (!look_at_ip(frame.subspan(l3), out)) return false;
  out.l3 = static_cast<uint16_t>(l3);
  for (uint16_t* offset : {&out.l4, &out.payload, &out.end}) *offset = static_cast<uint16_t>(*offset + l3);
  return true;
}

namespace {

IpAddress address_at(Bytes packet, const PacketLook& look, bool source) {
  size_t at = look.l3 + (look.version == 4 ? (source ? 12u : 16u) : (source ? 8u : 24u));
  return look.version == 4 ? IpAddress::v4(packet.subspan(at, 4)) : IpAddress::v6(packet.subspan(at, 16));
}

}  // namespace

Endpoint source_endpoint(Bytes packet, const PacketLook& look) {
  return {address_at(packet, look, true), Port{get16(packet.data() + look.l4)}};
}
Endpoint destination_endpoint(Bytes packet, const PacketLook& look) {
  return {address_at(packet, look, false), Port{get16(packet.data() + look.l4 + 2)}};
}

bool is_to_client(Bytes packet, const PacketLook& look, const IpAddress& first_client, uint32_t session) {
  if (look.version != (first_client.is_v4() ? 4 : 6)) return false;
  size_t size = first_client.size(), at = look.l3 + (size == 4 ? 16u : 24u);
  uint32_t low = get32(first_client.raw.data() + size - 4) + (session >> kSessionPortBits);
  auto port = static_cast<uint16_t>(kFirstClientPort + (session & ((1u << kSessionPortBits) - 1)));
  return get32(packet.data() + at + size - 4) == low && get16(packet.data() + look.l4 + 2) == port &&
         std::memcmp(packet.data() + at, first_client.raw.data(), size - 4) == 0;
}

void turn_into_answer(MutableBytes packet, const PacketLook& look, const Mark& mark, uint64_t nonce) {
  uint8_t* p = packet.data();
  uint8_t* source = p + look.l3 + (look.version == 4 ? 12 : 8);
  size_t size = look.version == 4 ? 4 : 16;
  std::swap_ranges(source, source + size, source + size);
  std::swap_ranges(p + look.l4, p + look.l4 + 2, p + look.l4 + 2);
  uint64_t before = sum_of(p + look.payload, kMarkSize);
  uint64_t after = write_mark(mark, nonce, p + look.payload);
  uint8_t* field = p + look.l4 + (look.protocol == Protocol::tcp ? 16 : 6);
  uint16_t checksum;
  std::memcpy(&checksum, field, 2);
  if (look.protocol == Protocol::udp && checksum == 0) return;  // none
  // RFC 1624: take the old words away by adding their complement.
  uint64_t old = static_cast<uint16_t>(~folded_complement(before));
  checksum = folded_complement(uint64_t(uint16_t(~checksum)) + uint16_t(~old) + after);
  if (look.protocol == Protocol::udp && checksum == 0) checksum = 0xffff;
  std::memcpy(field, &checksum, 2);
}

size_t write_syn_ack(Bytes syn, const PacketLook& look, uint32_t member, MutableBytes out) {
  size_t l4 = look.version == 4 ? 20 : 40, length = l4 + 20;
  if (out.size() < length) return 0;
  std::fill_n(out.begin(), length, uint8_t(0));
  Endpoint client = source_endpoint(syn, look), server = destination_endpoint(syn, look);
  uint8_t* p = out.data();
  if (look.version == 4) {
    p[0] = 0x45;
    put16(p + 2, static_cast<uint16_t>(length));
    p[6] = 0x40;
    p[8] = 64;
    p[9] = 6;
    std::copy_n(server.address.raw.begin(), 4, p + 12);
    std::copy_n(client.address.raw.begin(), 4, p + 16);
    put16(p + 10, internet_checksum(out.first(20)));
  } else {
    p[0] = 0x60;
    put16(p + 4, 20);
    p[6] = 6;
    p[7] = 64;
    std::copy_n(server.address.raw.begin(), 16, p + 8);
    std::copy_n(client.address.raw.begin(), 16, p + 24);
  }
  uint8_t* t = p + l4;
  put16(t, server.port.value);
  put16(t + 2, client.port.value);
  put32(t + 4, member);
  put32(t + 8, get32(syn.data() + look.l4 + 4) + 1);
  t[12] = 5 << 4;
  t[13] = 0x12;
  put16(t + 14, get16(syn.data() + look.l4 + 14));
  put16(t + 16, transport_checksum(server.address, client.address, 6, Bytes(out).subspan(l4, 20)));
  return length;
}

std::optional<HandshakeLook> look_at_handshake(Bytes packet, const PacketLook& look) {
  const uint8_t* t = packet.data() + look.l4;
  uint16_t window = get16(t + 14);
  if ((window & 0xff00) != kSynMark) return std::nullopt;
  HandshakeLook h{.stream = static_cast<uint8_t>(window)};
  if (look.is_syn()) {
    h.session = get32(t + 4);
  } else if (look.is_syn_ack()) {
    h.session = get32(t + 8) - 1;
    h.member = get32(t + 4);
  } else {
    return std::nullopt;
  }
  return h;
}

}  // namespace statecast
