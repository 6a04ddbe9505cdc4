// SPDX-License-Identifier: BSD-3-Clause
#include "base/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>

namespace statecast {

namespace {

std::optional<unsigned> decimal(std::string_view text, unsigned max) {
  unsigned v = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (err != std::errc{} || end != text.data() + text.size() || text.empty() || v > max) return std::nullopt;
  return v;
}

}  // namespace

IpAddress IpAddress::v4(Bytes four) {
  IpAddress a;
  a.family = Family::v4;
  std::memcpy(a.raw.data(), four.data(), 4);
  return a;
}

IpAddress IpAddress::v6(Bytes sixteen) {
  IpAddress a;
  a.family = Family::v6;
  std::memcpy(a.raw.data(), sixteen.data(), 16);
  return a;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  std::string s(text);
  IpAddress a;
  if (inet_pton(AF_INET, s.c_str(), a.raw.data()) == 1) {
    a.family = Family::v4;
    return a;
  }
  if (inet_pton(AF_INET6, s.c_str(), a.raw.data()) == 1) {
    a.family = Family::v6;
    return a;
  }
  return std::nullopt;
}

std::string to_string(const IpAddress& a) {
  if (a.is_none()) return "none";
  char text[INET6_ADDRSTRLEN];
  inet_ntop(a.is_v4() ? AF_INET : AF_INET6, a.raw.data(), text, sizeof text);
  return text;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse(host);
  auto port = decimal(text.substr(colon + 1), 65535);
  if (!address || !port || address->is_v6() != bracketed) return std::nullopt;
  return Endpoint{*address, Port{static_cast<uint16_t>(*port)}};
}

std::string to_string(const Endpoint& e) {
  std::string host = to_string(e.address);
  if (e.address.is_v6()) host = "[" + host + "]";
  return host + ":" + std::to_string(e.port.value);
}

bool Prefix::contains(const IpAddress& a) const {
  if (a.family != address.family) return false;
  size_t whole = length / 8, bits = length % 8;
  if (std::memcmp(a.raw.data(), address.raw.data(), whole) != 0) return false;
  return bits == 0 || ((a.raw[whole] ^ address.raw[whole]) >> (8 - bits)) == 0;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  size_t slash = text.find('/');
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  unsigned bits = static_cast<unsigned>(address->size()) * 8;
  if (slash != std::string_view::npos) {
    auto n = decimal(text.substr(slash + 1), bits);
    if (!n) return std::nullopt;
    bits = *n;
  }
  Prefix p{*address, static_cast<uint8_t>(bits)};
  for (size_t i = bits; i < address->size() * 8; ++i)
    if (address->raw[i / 8] & (0x80 >> (i % 8))) return std::nullopt;
  return p;
}

std::string to_string(const Prefix& p) {
  return to_string(p.address) + "/" + std::to_string(p.length);
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress m;
  if (text.size() != 6 * 3 - 1) return std::nullopt;
  for (size_t i = 0; i < 6; ++i) {
    const char* at = text.data() + 3 * i;
    auto [end, err] = std::from_chars(at, at + 2, m.raw[i], 16);
    if (err != std::errc{} || end != at + 2 || (i < 5 && *end != ':')) return std::nullopt;
  }
  return m;
}

std::string to_string(const MacAddress& m) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", m.raw[0], m.raw[1], m.raw[2], m.raw[3], m.raw[4],
                m.raw[5]);
  return text;
}

}  // namespace statecast
