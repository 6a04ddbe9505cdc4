// SPDX-License-Identifier: BSD-3-Clause
// IP addresses, endpoints and prefixes of both families, parsed from and printed as text.
//
//   auto a = IpAddress::parse("203.0.113.10");  auto p = Prefix::parse("2001:db8::/64");
//   p->contains(*a);  to_string(Endpoint{*a, Port{443}}) == "203.0.113.10:443"
//
// Threads: values. Ownership: none.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/units.h"

namespace statecast {

// What one machine can be reached at from outside: not unspecified (all of 0.0.0.0/8), loopback, multicast, reserved
// (240.0.0.0/4) or broadcast. `address`: 4 or 16 bytes in network order.
inline bool is_unicast(Bytes address) {
  if (address.size() == 4) return address[0] != 0 && address[0] != 127 && address[0] < 0xe0;
  if (address.size() != 16 || address[0] == 0xff) return false;
  uint64_t high, low;
  std::memcpy(&high, address.data(), 8);
  std::memcpy(&low, address.data() + 8, 8);
  constexpr uint64_t kLoopback = std::endian::native == std::endian::little ? uint64_t(1) << 56 : 1;
  return high != 0 || (low != 0 && low != kLoopback);
}

// An IPv4 or IPv6 address in network order. An IPv4 address uses the first 4 bytes, the rest is zero.
struct IpAddress {
  enum class Family : uint8_t { none = 0, v4 = 4, v6 = 6 };
  std::array<uint8_t, 16> raw{};
  Family family = Family::none;

  static IpAddress v4(Bytes four);     // exactly 4 bytes
  static IpAddress v6(Bytes sixteen);  // exactly 16 bytes
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const { return family == Family::v4; }
  bool is_v6() const { return family == Family::v6; }
  bool is_none() const { return family == Family::none; }
  bool is_unicast() const { return statecast::is_unicast(bytes()); }
  size_t size() const { return is_v4() ? 4 : is_v6() ? 16 : 0; }
  Bytes bytes() const { return Bytes(raw).first(size()); }
  auto operator<=>(const IpAddress&) const = default;
};
std::string to_string(const IpAddress& a);

struct Endpoint {
  IpAddress address;
  Port port{};
  // "10.0.0.1:6081" or "[2001:db8::1]:6081"
  static std::optional<Endpoint> parse(std::string_view text);
  auto operator<=>(const Endpoint&) const = default;
};
std::string to_string(const Endpoint& e);

struct Prefix {
  IpAddress address;   // host bits zero
  uint8_t length = 0;  // bits
  // "203.0.113.0/24", or a bare address for a host prefix; host bits must be zero
  static std::optional<Prefix> parse(std::string_view text);
  bool contains(const IpAddress& a) const;
  auto operator<=>(const Prefix&) const = default;
};
std::string to_string(const Prefix& p);

struct MacAddress {
  std::array<uint8_t, 6> raw{};
  static std::optional<MacAddress> parse(std::string_view text);  // "02:00:00:00:00:01"
  auto operator<=>(const MacAddress&) const = default;
};
std::string to_string(const MacAddress& m);

}  // namespace statecast

template <>
struct std::hash<statecast::IpAddress> {
  size_t operator()(const statecast::IpAddress& a) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(a.raw.data()), a.raw.size()});
  }
};
template <>
struct std::hash<statecast::Endpoint> {
  size_t operator()(const statecast::Endpoint& e) const noexcept {
    return std::hash<statecast::IpAddress>{}(e.address) * 31 + e.port.value;
  }
};
