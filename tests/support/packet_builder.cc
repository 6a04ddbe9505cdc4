// SPDX-License-Identifier: BSD-3-Clause
#include "tests/support/packet_builder.h"

#include <algorithm>
#include <cctype>
#include <fstream>

#include "base/check.h"

namespace statecast::test {

namespace {

void put16(Packet& p, uint64_t v) {
  p.push_back(static_cast<uint8_t>(v >> 8));
  p.push_back(static_cast<uint8_t>(v));
}
void put32(Packet& p, uint64_t v) {
  put16(p, v >> 16);
  put16(p, v & 0xffff);
}
void put(Packet& p, Bytes bytes) {
  p.insert(p.end(), bytes.begin(), bytes.end());
}
void set16(Packet& p, size_t at, uint16_t v) {
  p[at] = static_cast<uint8_t>(v >> 8);
  p[at + 1] = static_cast<uint8_t>(v);
}

// The plainest checksum, independent of the product's.
uint16_t plain_checksum(Packet p) {
  if (p.size() % 2) p.push_back(0);
  uint32_t sum = 0;
  for (size_t i = 0; i < p.size(); i += 2) {
    sum += uint32_t(p[i]) << 8 | p[i + 1];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return static_cast<uint16_t>(~sum);
}

IpAddress address(std::string_view text) {
  auto a = IpAddress::parse(text);
  SC_ASSERT(a.has_value());
  return *a;
}

Packet padded(Packet p) {
  while (p.size() % 4) p.push_back(0);
  return p;
}

}  // namespace

PacketBuilder& PacketBuilder::eth(std::string_view source, std::string_view destination) {
  auto s = MacAddress::parse(source), d = MacAddress::parse(destination);
  SC_ASSERT(s && d);
  eth_.emplace(12);
  std::copy(d->raw.begin(), d->raw.end(), eth_->begin());
  std::copy(s->raw.begin(), s->raw.end(), eth_->begin() + 6);
  return *this;
}
PacketBuilder& PacketBuilder::vlan(uint16_t id, uint16_t tag_type) {
  SC_ASSERT(eth_.has_value());
  put16(*eth_, tag_type);
  put16(*eth_, id);
  return *this;
}
PacketBuilder& PacketBuilder::ethertype(uint16_t value) {
  ethertype_ = value;
  return *this;
}

PacketBuilder& PacketBuilder::ip(const IpAddress& source, const IpAddress& destination) {
  SC_ASSERT(source.family == destination.family);
  source_ = source;
  destination_ = destination;
  return *this;
}
PacketBuilder& PacketBuilder::ip4(std::string_view source, std::string_view destination) {
  return ip(address(source), address(destination));
}
PacketBuilder& PacketBuilder::ip6(std::string_view source, std::string_view destination) {
  return ip(address(source), address(destination));
}
PacketBuilder& PacketBuilder::ttl(uint8_t v) {
  ttl_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::dont_fragment(bool v) {
  fragment_field_ = static_cast<uint16_t>((fragment_field_ & ~0x4000) | (v ? 0x4000 : 0));
  return *this;
}
PacketBuilder& PacketBuilder::ip_options(Packet bytes) {
  ip_options_ = padded(std::move(bytes));
  return *this;
}
PacketBuilder& PacketBuilder::extension(uint8_t number, size_t size) {
  SC_ASSERT(size >= 8 && size % 8 == 0);
  Packet body(size);
  body[1] = static_cast<uint8_t>(size / 8 - 1);
  extensions_.push_back({number, std::move(body)});
  return *this;
}
PacketBuilder& PacketBuilder::routing(uint8_t type, uint8_t segments_left) {
  extension(43, type == 0 || segments_left ? 24 : 8);
  extensions_.back().body[2] = type;
  extensions_.back().body[3] = segments_left;
  return *this;
}
PacketBuilder& PacketBuilder::fragment(size_t offset, bool more, uint32_t identification) {
  SC_ASSERT(offset % 8 == 0);
  if (v6()) {
    Packet body(2);
    put16(body, offset | (more ? 1 : 0));
    put32(body, identification);
    extensions_.push_back({44, std::move(body)});
  } else {
    fragment_field_ = static_cast<uint16_t>((fragment_field_ & 0x4000) | offset / 8 | (more ? 0x2000 : 0));
    identification_ = static_cast<uint16_t>(identification);
  }
  return *this;
}
PacketBuilder& PacketBuilder::protocol(uint8_t number) {
  protocol_ = number;
  return *this;
}
PacketBuilder& PacketBuilder::ip_version(uint8_t v) {
  ip_version_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::ip_header_words(uint8_t v) {
  ip_header_words_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::ip_length(uint16_t v) {
  ip_length_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::ip_checksum(uint16_t v) {
  ip_checksum_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::extension_units(uint8_t v) {
  extension_units_ = v;
  return *this;
}

PacketBuilder& PacketBuilder::tcp(uint16_t source, uint16_t destination, uint8_t flags, uint32_t sequence,
                                  uint32_t acknowledgement) {
  l4_ = L4::tcp;
  source_port_ = source;
  destination_port_ = destination;
  flags_ = flags;
  sequence_ = sequence;
  acknowledgement_ = acknowledgement;
  return *this;
}
PacketBuilder& PacketBuilder::window(uint16_t v) {
  window_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::mss(uint16_t v) {
  return tcp_options({2, 4, static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)});
}
PacketBuilder& PacketBuilder::tcp_options(Packet bytes) {
  put(tcp_options_, bytes);
  tcp_options_ = padded(std::move(tcp_options_));
  return *this;
}
PacketBuilder& PacketBuilder::udp(uint16_t source, uint16_t destination) {
  l4_ = L4::udp;
  source_port_ = source;
  destination_port_ = destination;
  return *this;
}
PacketBuilder& PacketBuilder::icmp(uint8_t type, uint8_t code, uint32_t rest) {
  l4_ = L4::icmp;
  icmp_type_ = type;
  icmp_code_ = code;
  icmp_rest_ = rest;
  return *this;
}
PacketBuilder& PacketBuilder::icmp_error(uint8_t type, uint8_t code, const Packet& quote, uint32_t rest,
                                         size_t quote_max) {
  icmp(type, code, rest);
  payload_.assign(quote.begin(), quote.begin() + static_cast<ptrdiff_t>(std::min(quote.size(), quote_max)));
  return *this;
}
PacketBuilder& PacketBuilder::tcp_header_words(uint8_t v) {
  tcp_header_words_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::udp_length(uint16_t v) {
  udp_length_ = v;
  return *this;
}
PacketBuilder& PacketBuilder::l4_checksum(uint16_t v) {
  l4_checksum_ = v;
  return *this;
}

PacketBuilder& PacketBuilder::payload(size_t n) {
  payload_.resize(n);
  for (size_t i = 0; i < n; ++i) payload_[i] = static_cast<uint8_t>(i);
  return *this;
}
PacketBuilder& PacketBuilder::payload(std::string_view text) {
  payload_.assign(text.begin(), text.end());
  return *this;
}
PacketBuilder& PacketBuilder::payload(Packet bytes) {
  payload_ = std::move(bytes);
  return *this;
}
PacketBuilder& PacketBuilder::padding(size_t n) {
  padding_ = n;
  return *this;
}
PacketBuilder& PacketBuilder::cut(size_t n) {
  cut_ = n;
  return *this;
}
PacketBuilder& PacketBuilder::cut_to(size_t n) {
  cut_to_ = n;
  return *this;
}

uint8_t PacketBuilder::l4_number() const {
  if (protocol_) return *protocol_;
  switch (l4_) {
    case L4::tcp: return 6;
    case L4::udp: return 17;
    case L4::icmp: return v6() ? 58 : 1;
    case L4::none: break;
  }
  return 59;  // no next header
}

Packet PacketBuilder::l4_bytes() const {
  Packet p;
  size_t checksum_at = 0;
  if (l4_ == L4::tcp) {
    put16(p, source_port_);
    put16(p, destination_port_);
    put32(p, sequence_);
    put32(p, acknowledgement_);
    size_t words = tcp_header_words_ ? *tcp_header_words_ : (20 + tcp_options_.size()) / 4;
    p.push_back(static_cast<uint8_t>(words << 4));
    p.push_back(flags_);
    put16(p, window_);
    checksum_at = p.size();
    put32(p, 0);  // checksum, urgent pointer
    put(p, tcp_options_);
  } else if (l4_ == L4::udp) {
    put16(p, source_port_);
    put16(p, destination_port_);
    put16(p, udp_length_ ? *udp_length_ : 8 + payload_.size());
    checksum_at = p.size();
    put16(p, 0);
  } else if (l4_ == L4::icmp) {
    p.push_back(icmp_type_);
    p.push_back(icmp_code_);
    checksum_at = p.size();
    put16(p, 0);
    put32(p, icmp_rest_);
  }
  put(p, payload_);
  if (l4_ == L4::none) return p;

  Packet summed;
  if (l4_ != L4::icmp || v6()) {  // pseudo header
    put(summed, source_.bytes());
    put(summed, destination_.bytes());
    put32(summed, l4_ == L4::udp && udp_length_ ? *udp_length_ : p.size());
    put32(summed, l4_number());
  }
  size_t covered = l4_ == L4::udp && udp_length_ ? std::min<size_t>(*udp_length_, p.size()) : p.size();
  put(summed, Bytes(p).first(covered));
  uint16_t sum = plain_checksum(std::move(summed));
  if (l4_ == L4::udp && sum == 0) sum = 0xffff;
  set16(p, checksum_at, l4_checksum_.value_or(sum));
  return p;
}

Packet PacketBuilder::ip_bytes() const {
  Packet l4 = l4_bytes(), p;
  if (v6()) {
    Packet chain;
    for (size_t i = 0; i < extensions_.size(); ++i) {
      Packet body = extensions_[i].body;
      bool last = i + 1 == extensions_.size();
      body[0] = last ? l4_number() : extensions_[i + 1].number;
      if (last && extension_units_) body[1] = *extension_units_;
      put(chain, body);
    }
    put32(p, uint32_t(ip_version_.value_or(6)) << 28);
    put16(p, ip_length_ ? *ip_length_ : chain.size() + l4.size());
    p.push_back(extensions_.empty() ? l4_number() : extensions_[0].number);
    p.push_back(ttl_);
    put(p, source_.bytes());
    put(p, destination_.bytes());
    put(p, chain);
  } else {
    size_t header = 20 + ip_options_.size();
    size_t words = ip_header_words_ ? *ip_header_words_ : header / 4;
    p.push_back(static_cast<uint8_t>(ip_version_.value_or(4) << 4 | words));
    p.push_back(0);
    put16(p, ip_length_ ? *ip_length_ : header + l4.size());
    put16(p, identification_);
    put16(p, fragment_field_);
    p.push_back(ttl_);
    p.push_back(l4_number());
    put16(p, 0);
    put(p, source_.bytes());
    put(p, destination_.bytes());
    put(p, ip_options_);
    set16(p, 10, ip_checksum_ ? *ip_checksum_ : plain_checksum(p));
  }
  put(p, l4);
  return p;
}

Packet PacketBuilder::build() const {
  Packet p;
  if (eth_) {
    p = *eth_;
    put16(p, ethertype_ ? *ethertype_ : v6() ? 0x86dd : 0x0800);
  }
  put(p, source_.is_none() ? payload_ : ip_bytes());
  p.resize(p.size() + padding_);
  p.resize(p.size() - std::min(cut_, p.size()));
  if (cut_to_ && *cut_to_ < p.size()) p.resize(*cut_to_);
  return p;
}

PacketBuilder eth(std::string_view source, std::string_view destination) {
  return PacketBuilder().eth(source, destination);
}
PacketBuilder ip4(std::string_view source, std::string_view destination) {
  return PacketBuilder().ip4(source, destination);
}
PacketBuilder ip6(std::string_view source, std::string_view destination) {
  return PacketBuilder().ip6(source, destination);
}

std::string hex(Bytes bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t b : bytes) {
    text += digits[b >> 4];
    text += digits[b & 15];
  }
  return text;
}

Packet unhex(std::string_view text) {
  Packet p;
  int high = -1;
  for (char c : text) {
    if (std::isspace(static_cast<unsigned char>(c))) continue;
    SC_ASSERT(std::isxdigit(static_cast<unsigned char>(c)));
    int v = std::isdigit(static_cast<unsigned char>(c)) ? c - '0' : (c | 32) - 'a' + 10;
    if (high < 0) {
      high = v;
    } else {
      p.push_back(static_cast<uint8_t>(high << 4 | v));
      high = -1;
    }
  }
  SC_ASSERT(high < 0);
  return p;
}

bool write_pcap(const std::string& path, const std::vector<Packet>& packets, PcapLink link) {
  Packet file;
  put32(file, 0xa1b2c3d4);  // big-endian throughout: readers tell by the magic number
  put16(file, 2);
  put16(file, 4);
  put32(file, 0);
  put32(file, 0);
  put32(file, 65535);
  put32(file, static_cast<uint32_t>(link));
  for (size_t i = 0; i < packets.size(); ++i) {
    put32(file, 1'000'000'000 + i / 1000);
    put32(file, i % 1000 * 1000);
    put32(file, packets[i].size());
    put32(file, packets[i].size());
    put(file, packets[i]);
  }
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  return bool(out);
}

}  // namespace statecast::test
