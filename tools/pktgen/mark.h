// SPDX-License-Identifier: BSD-3-Clause
// Mark: the 18 bytes with which a generated packet's payload begins, by which the receiving end knows it.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |         Check value           |   Clock cycles when sent,     |
//   |     lowest 48 bits                                            |
//   |   Stream      |A|   Worker    |    Sequence: of this stream,  |
//   |  worker and direction         |    Session                    |
//   |                               |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// A: an answer of the member side; answers have sequence numbers of their own. The check value is a 16-bit mix of all
// the rest and a number that is new in each measurement, so a damaged mark, somebody else's packet and one of the
// measurement before are not counted as ours (one in 65,536 of them would be). 18 bytes, because that is what a frame
// of 64 bytes has left behind Ethernet, IPv4, UDP and FCS.
//
//   write_mark(mark, nonce, payload);
//   Mark s;  if (read_mark(payload, nonce, s)) ...
//
// Threads: pure functions. Ownership: the caller's bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace statecast {

inline constexpr size_t kMarkSize = 18;
inline constexpr uint8_t kNoWorker = 127;  // there are at most 64
inline constexpr uint64_t kMarkTimeMask = (uint64_t(1) << 48) - 1;

struct Mark {
  uint64_t cycles = 0;  // 48 bits
  uint32_t sequence = 0;
  uint32_t session = 0;
  uint8_t stream = 0;
  uint8_t worker = 0;  // 7 bits
  bool answer = false;
  bool operator==(const Mark&) const = default;
};

namespace internal {
inline uint64_t big_endian(uint64_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap64(v) : v;
}
// The two halves of a wide product reach each other's bits; the second product brings all of them to the top.
inline uint16_t mark_check(uint64_t a, uint64_t b, uint64_t nonce) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a ^ nonce) * (b ^ 0x9e3779b97f4a7c15);
  auto folded = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  return static_cast<uint16_t>((folded * 0xd6e8feb86659fd93) >> 48);
}
}  // namespace internal

// Returns the sum of the bytes written, as 16-bit words in memory order and unfolded, for checksums: whoever read the
// bytes back would wait for the stores.
inline uint64_t write_mark(const Mark& s, uint64_t nonce, uint8_t* out) {
  uint64_t a = (s.cycles & kMarkTimeMask) << 16 | uint64_t(s.stream) << 8 | uint64_t(s.answer) << 7 | s.worker;
  uint64_t b = uint64_t(s.sequence) << 32 | s.session;
  uint16_t check = internal::mark_check(a, b, nonce);
  if (std::endian::native == std::endian::little) check = __builtin_bswap16(check);
  a = internal::big_endian(a);
  b = internal::big_endian(b);
  std::memcpy(out, &check, 2);
  std::memcpy(out + 2, &a, 8);
  std::memcpy(out + 10, &b, 8);
  return check + (a & UINT32_MAX) + (a >> 32) + (b & UINT32_MAX) + (b >> 32);
}

// REQUIRES: kMarkSize bytes at `in`. False where they are no mark of this measurement.
inline bool read_mark(const uint8_t* in, uint64_t nonce, Mark& s) {
  uint64_t a, b;
  std::memcpy(&a, in + 2, 8);
  std::memcpy(&b, in + 10, 8);
  a = internal::big_endian(a);
  b = internal::big_endian(b);
  if (internal::mark_check(a, b, nonce) != (uint16_t(in[0]) << 8 | in[1])) return false;
  s = {.cycles = a >> 16,
       .sequence = static_cast<uint32_t>(b >> 32),
       .session = static_cast<uint32_t>(b),
       .stream = static_cast<uint8_t>(a >> 8),
       .worker = static_cast<uint8_t>(a & 0x7f),
       .answer = (a & 0x80) != 0};
  return true;
}

}  // namespace statecast
