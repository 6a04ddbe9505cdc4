// SPDX-License-Identifier: BSD-3-Clause
// Session word: the 64 bits of a cache entry that packets change, and the 64 beside them that only the writer changes.
//
//    63          50 49              32 31 30 29                          0
//   +--------------+------------------+--+--+-----------------------------+
//   | destination  | expiry tick      |A |U | bytes left                  |  word
//   +--------------+------------------+--+--+-----------------------------+
//   |              | tick of half time|B |  | bytes left at half          |  halves
//   +--------------+------------------+--+--+-----------------------------+
//
//   A  asked: a lookup has reported ask_again since the last renewal      U  no bound: bytes left counts down, modulo
//   B  a lookup may ask when bytes run low (not after the answer "no bytes")
//
// A tick is 2^23 ns (8.4 ms); 18 bits of it come round after 36.6 minutes. An expiry is never set more than half of
// that ahead, and sweep() keeps an entry from being half of that over, so that one subtraction tells which it is.
// Threads: values. Ownership: none.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace statecast {

inline constexpr unsigned kTickBits = 23;
inline constexpr uint32_t kTickMask = (1u << 18) - 1;
inline constexpr int64_t kTickWindow = int64_t(1) << 17;  // how far ahead or behind an expiry can be told
inline constexpr uint64_t kWordBytesMax = (uint64_t(1) << 30) - 1;

// Destinations below kFirstMember are no members; those from it on are places in the member table.
enum WordDestination : uint32_t { kDead, kFloor, kDrop, kStateless, kNegative, kUnavailable, kFirstMember };
inline constexpr uint32_t kDestinations = 1u << 14;

inline constexpr uint64_t kUnlimitedFlag = uint64_t(1) << 30;
inline constexpr uint64_t kAskedFlag = uint64_t(1) << 31;   // word
inline constexpr uint64_t kMayAskFlag = uint64_t(1) << 31;  // halves

constexpr int64_t tick_of(Instant t, Instant zero) {
  return (t - zero).count() >> kTickBits;
}

constexpr uint64_t make_word(uint32_t destination, int64_t expiry_tick, uint64_t flags, uint64_t bytes) {
  return uint64_t(destination) << 50 | uint64_t(uint32_t(expiry_tick) & kTickMask) << 32 | flags | bytes;
}
constexpr uint64_t make_halves(int64_t half_tick, uint64_t flags, uint64_t bytes) {
  return make_word(0, half_tick, flags, bytes);
}
constexpr uint32_t word_destination(uint64_t w) {
  return uint32_t(w >> 50);
}
constexpr uint64_t word_bytes(uint64_t w) {
  return w & kWordBytesMax;
}
constexpr uint32_t word_tick(uint64_t w) {
  return uint32_t(w >> 32) & kTickMask;
}
// How many ticks lie between `now_tick` and the word's: positive while it is to come.
constexpr int32_t ticks_ahead(uint64_t w, uint32_t now_tick) {
  uint32_t d = (word_tick(w) - now_tick) & kTickMask;
  return d < uint32_t(kTickWindow) ? int32_t(d) : int32_t(d) - int32_t(kTickMask) - 1;
}
// The lease ends when its tick begins: early by less than one tick, never late.
constexpr bool is_live(uint64_t w, uint32_t now_tick) {
  return word_destination(w) != kDead && ticks_ahead(w, now_tick) > 0;
}

static_assert(ticks_ahead(make_word(1, 5, 0, 0), 3) == 2 && ticks_ahead(make_word(1, 3, 0, 0), 5) == -2);
static_assert(ticks_ahead(make_word(1, kTickMask + 1, 0, 0), kTickMask) == 1, "across the wrap");

}  // namespace statecast
