// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/outer.h"

#include <algorithm>

#include "dataplane/packet/checksum.h"

namespace statecast {

namespace {

constexpr uint8_t kHops = 64;
constexpr uint8_t kUdp = 17;
constexpr size_t kUdpHeaderSize = 8;

void write_udp(const OuterAddresses& outer, size_t length, uint16_t checksum, Writer& w) {
  w.u16(outer.source.port.value);
  w.u16(outer.destination.port.value);
  w.u16(length);
  w.u16(checksum);
}

}  // namespace

size_t write_outer(const OuterAddresses& outer, Bytes envelope, MutableBytes headroom) {
  const IpAddress &from = outer.source.address, &to = outer.destination.address;
  if (from.family != to.family || from.is_none()) return 0;
  size_t size = outer_size(from.family), udp_length = kUdpHeaderSize + envelope.size();
  if (headroom.size() < size || udp_length + (size - 14 - kUdpHeaderSize) > 0xffff) return 0;

  MutableBytes out = headroom.last(size);
  Writer w(out);
  w.bytes(outer.destination_mac.raw);
  w.bytes(outer.source_mac.raw);
  if (from.is_v4()) {
    w.u16(0x0800);
    w.u16(0x4500);
    w.u16(20 + udp_length);
    w.u16(0);       // identification
    w.u16(0x4000);  // don't fragment
    w.u8(kHops);
    w.u8(kUdp);
    w.u16(0);
    w.bytes(from.bytes());
    w.bytes(to.bytes());
    uint16_t checksum = internet_checksum(Bytes(out).subspan(14, 20));
    out[24] = static_cast<uint8_t>(checksum >> 8);
    out[25] = static_cast<uint8_t>(checksum);
    write_udp(outer, udp_length, 0, w);
  } else {
    w.u16(0x86dd);
    w.u32(0x60000000);
    w.u16(udp_length);
    w.u8(kUdp);
    w.u8(kHops);
    w.bytes(from.bytes());
    w.bytes(to.bytes());
    size_t udp_at = w.size();
    write_udp(outer, udp_length, 0, w);
    ChecksumSum sum = pseudo_header_sum(from, to, kUdp, static_cast<uint32_t>(udp_length));
    sum.add(Bytes(out).subspan(udp_at, kUdpHeaderSize));
    sum.add(envelope);
    uint16_t checksum = sum.checksum() == 0 ? 0xffff : sum.checksum();
    out[udp_at + 6] = static_cast<uint8_t>(checksum >> 8);
    out[udp_at + 7] = static_cast<uint8_t>(checksum);
  }
  return size;
}

OuterTemplateV4::OuterTemplateV4(const MacAddress& source_mac, const Endpoint& source) {
  const OuterAddresses outer{{}, source_mac, source, {IpAddress::v4(std::array<uint8_t, 4>{}), {}}};
  write_outer(outer, {}, MutableBytes(bytes_).first(kOuterSizeV4));
}

OuterTemplateV4::Receiver OuterTemplateV4::receiver(const MacAddress& mac, const Endpoint& to) const {
  Receiver r{.mac = mac};
  std::copy_n(to.address.raw.begin(), 4, r.address_and_port.begin());
  r.address_and_port[4] = static_cast<uint8_t>(to.port.value >> 8);
  r.address_and_port[5] = static_cast<uint8_t>(to.port.value);
  std::array<uint8_t, 20> header;
  std::copy_n(bytes_.begin() + 14, header.size(), header.begin());
  header[2] = header[3] = header[10] = header[11] = 0;
  std::copy_n(r.address_and_port.begin(), 4, header.begin() + 16);
  r.sum = static_cast<uint16_t>(~internet_checksum(header));
  return r;
}

}  // namespace statecast
