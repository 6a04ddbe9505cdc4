// SPDX-License-Identifier: BSD-3-Clause
// The units that everything is counted in: time, bytes, packets and the IDs of the design's words.
//
//   Instant now = MonotonicClock::now();            // at an edge; everywhere else `now` is an argument
//   Instant ends = now + 10s;                       // std::chrono literals
//   NodeId who = NodeId::proxy(ProxyId{2});         // "p2" when printed
//
// Threads: values, no state. Ownership: none.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace statecast {

using namespace std::chrono_literals;

// Monotonic time with an arbitrary zero. Never compared between machines.
struct MonotonicClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;  // CLOCK_MONOTONIC; called at the edges only
};
using Instant = MonotonicClock::time_point;
using Duration = MonotonicClock::duration;

constexpr int64_t to_ms(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

// How much sooner than `d` a holder of something lent stops using it: 1 % and 10 ms (design, "Time").
constexpr Duration safety_margin(Duration d) {
  return d / 100 + std::chrono::milliseconds(10);
}

// An integer that only mixes with its own kind.
template <class Tag, class Rep>
struct Strong {
  Rep value{};
  constexpr auto operator<=>(const Strong&) const = default;
};

// A quantity: a Strong that can be added up.
template <class Tag, class Rep>
struct Quantity {
  Rep value{};
  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity& operator+=(Quantity o) {
    value += o.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity o) {
    value -= o.value;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
};

using ByteCount = Quantity<struct ByteCountTag, uint64_t>;
using PacketCount = Quantity<struct PacketCountTag, uint64_t>;

using GroupId = Strong<struct GroupIdTag, uint32_t>;    // 1..2^24-1; 0 is the fleet
using MemberId = Strong<struct MemberIdTag, uint32_t>;  // 1..2^24-1
using ProxyId = Strong<struct ProxyIdTag, uint32_t>;    // 1..2^24-1
using Port = Strong<struct PortTag, uint16_t>;          // TCP or UDP port, host order
using Slot = Strong<struct SlotTag, uint16_t>;          // top 16 bits of a session key

inline constexpr uint32_t kId24Max = (1u << 24) - 1;

// Who speaks in an envelope: a proxy, a member, or the operator's command line. 32 bits on the wire:
// kind in the top 8, number in the low 24. 0 is nobody.
struct NodeId {
  enum class Kind : uint8_t { none = 0, proxy = 1, member = 2, op = 3 };
  uint32_t value = 0;

  static constexpr NodeId proxy(ProxyId p) { return {uint32_t(Kind::proxy) << 24 | p.value}; }
  static constexpr NodeId member(MemberId m) { return {uint32_t(Kind::member) << 24 | m.value}; }
  static constexpr NodeId op() { return {uint32_t(Kind::op) << 24}; }
  constexpr Kind kind() const { return Kind(value >> 24); }
  constexpr uint32_t number() const { return value & kId24Max; }
  constexpr bool is_proxy() const { return kind() == Kind::proxy; }
  constexpr bool is_member() const { return kind() == Kind::member; }
  constexpr bool is_op() const { return kind() == Kind::op; }
  constexpr ProxyId as_proxy() const { return {number()}; }
  constexpr MemberId as_member() const { return {number()}; }
  constexpr auto operator<=>(const NodeId&) const = default;
};

std::string to_string(NodeId id);  // "p2", "m7", "operator", "nobody"

}  // namespace statecast

template <class Tag, class Rep>
struct std::hash<statecast::Strong<Tag, Rep>> {
  size_t operator()(const statecast::Strong<Tag, Rep>& s) const noexcept { return std::hash<Rep>{}(s.value); }
};
template <>
struct std::hash<statecast::NodeId> {
  size_t operator()(statecast::NodeId n) const noexcept { return std::hash<uint32_t>{}(n.value); }
};
