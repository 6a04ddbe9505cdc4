// SPDX-License-Identifier: BSD-3-Clause
// Session word: the 64 bits of a cache entry that packets change, and the 15 bits beside them that say when to ask
// again.
//
//    63            45 44           31 30 29 28 27 26                     0
//   +----------------+---------------+--+--+-----+------------------------+
//   | destination    | expiry tick   |A |U | salt| bytes left             |  word
//   +----------------+---------------+--+--+-----+------------------------+
//
//   marks = ticks ahead (6 digits) * 102 + (bytes are a reason ? 1 + bytes left (3 digits) : 0)
//
//   A     asked: a lookup has reported ask_again since the last renewal
//   U     no bound: bytes left counts down, modulo
//   salt  of the slot: another one each time that the slot is given away, so that a compare-and-swap by somebody who
//         loaded the word of the session before fails even where the two words are the same otherwise
//
// A tick is 2^25 ns (34 ms); 14 bits of it come round after 9.2 minutes. An expiry is never set more than half of that
// ahead, and sweep() keeps an entry from being half of that over, so that one subtraction tells which it is.
//
// Marks say when to ask: when no more than so many ticks are ahead, counted back from the expiry, or bytes left. They
// are numbers of a few leading binary digits (small_float), rounded up: a packet asks at half of the lease or before,
// by up to 1/32 of that half in time and a quarter of it in bytes. Together they fit into 15 bits.
//
// Threads: values. Ownership: none.
#pragma once

#include <bit>
#include <cstdint>

#include "base/units.h"

namespace statecast {

inline constexpr unsigned kTickBits = 25;  // of a nanosecond count
inline constexpr unsigned kTickShift = 31, kDestinationShift = 45, kSaltShift = 27;
inline constexpr uint32_t kTickMask = (1u << 14) - 1;
inline constexpr int64_t kTickWindow = int64_t(1) << 13;  // how far ahead or behind an expiry can be told
inline constexpr uint64_t kWordBytesMax = (uint64_t(1) << 27) - 1;
inline constexpr uint64_t kSaltMask = uint64_t(3) << kSaltShift;
inline constexpr uint64_t kUnlimitedFlag = uint64_t(1) << 29;
inline constexpr uint64_t kAskedFlag = uint64_t(1) << 30;

// Destinations from kFirstDestination on are places in the table of destinations.
enum WordDestination : uint32_t {
  kDead,    // no entry
  kMoving,  // for a few nanoseconds: the entry is on its way to another slot
  kFirstDestination,
};
inline constexpr uint32_t kDestinations = 1u << 19;

constexpr int64_t tick_of(Instant t, Instant zero) {
  return (t - zero).count() >> kTickBits;
}

constexpr uint64_t make_word(uint32_t destination, int64_t expiry_tick, uint64_t flags_and_salt, uint64_t bytes) {
  return uint64_t(destination) << kDestinationShift | uint64_t(uint32_t(expiry_tick) & kTickMask) << kTickShift |
         flags_and_salt | bytes;
}
// What a slot says when the entry that stood there has left.
constexpr uint64_t dead_word(uint64_t salt_before) {
  return ((salt_before & kSaltMask) + (uint64_t(1) << kSaltShift)) & kSaltMask;
}
constexpr uint32_t word_destination(uint64_t w) {
  return uint32_t(w >> kDestinationShift);
}
constexpr uint64_t word_bytes(uint64_t w) {
  return w & kWordBytesMax;
}
constexpr uint32_t word_tick(uint64_t w) {
  return uint32_t(w >> kTickShift) & kTickMask;
}
// How many ticks lie between `now_tick` and the word's: positive while it is to come.
constexpr int32_t ticks_ahead(uint64_t w, uint32_t now_tick) {
  const uint32_t d = (word_tick(w) - now_tick) & kTickMask;
  return d < uint32_t(kTickWindow) ? int32_t(d) : int32_t(d) - int32_t(kTickMask) - 1;
}
// The lease ends when its tick begins: early by less than one tick, never late.
constexpr bool is_live(uint64_t w, uint32_t now_tick) {
  return word_destination(w) > kMoving && ticks_ahead(w, now_tick) > 0;
}

static_assert(ticks_ahead(make_word(1, 5, 0, 0), 3) == 2 && ticks_ahead(make_word(1, 3, 0, 0), 5) == -2);
static_assert(ticks_ahead(make_word(1, kTickMask + 1, 0, 0), kTickMask) == 1, "across the wrap");

// A number with no more than its `Digits` leading binary digits: exact up to 2^Digits.
enum class Round : uint8_t { up, down };
template <unsigned Digits>
constexpr uint32_t small_float(uint64_t x, Round round) {
  if (x < uint64_t(1) << Digits) return uint32_t(x);
  const auto shift = unsigned(std::bit_width(x)) - Digits;
  const uint64_t leading = round == Round::up ? (x + (uint64_t(1) << shift) - 1) >> shift : x >> shift;
  return uint32_t((uint64_t(shift) << (Digits - 1)) + leading);
}
template <unsigned Digits>
constexpr uint64_t from_small_float(uint32_t code) {
  constexpr uint32_t kTop = 1u << (Digits - 1);
  const uint32_t e = code / kTop;
  return e == 0 ? code : uint64_t(code % kTop | kTop) << (e - 1);
}

inline constexpr uint32_t kMarksMask = (1u << 15) - 1;
inline constexpr unsigned kTimeDigits = 6, kBytesDigits = 3;
inline constexpr uint32_t kTimeMarkUnit = 102;
constexpr uint32_t time_mark(int64_t ticks_before_end, Round round) {
  return small_float<kTimeDigits>(uint64_t(ticks_before_end < 0 ? 0 : ticks_before_end), round) * kTimeMarkUnit;
}
constexpr uint32_t bytes_mark(uint64_t left) {
  return 1 + small_float<kBytesDigits>(left, Round::up);
}
constexpr uint32_t only_time_mark(uint32_t marks) {
  return marks - marks % kTimeMarkUnit;
}
constexpr int64_t marks_ticks(uint32_t marks) {
  return int64_t(from_small_float<kTimeDigits>(marks / kTimeMarkUnit));
}
constexpr bool marks_ask_for_bytes(uint32_t marks, uint64_t left) {
  const uint32_t code = marks % kTimeMarkUnit;
  return (code != 0) & (left <= from_small_float<kBytesDigits>(code - (code != 0)));
}

static_assert(bytes_mark(kWordBytesMax / 2) < kTimeMarkUnit);
static_assert(time_mark(kTickWindow, Round::up) + kTimeMarkUnit < kMarksMask, "all ones is no mark that is ever made");

}  // namespace statecast
