// SPDX-License-Identifier: BSD-3-Clause
// Parse a burst: the plain frames of a burst at once, in vector lanes where the machine has them.
//
//   uint32_t plain = parse_plain_burst(frames, lengths, n, parsed);        // bit i: parsed[i] is right and complete
//   for (each i whose bit is not set) parse_frame_carefully(...);
//
// Eight frames of IPv4 are eight rows of 64 bytes; transposed, each check is one comparison of eight. What is no plain
// IPv4 (parse_plain.h says what plain is) may still be plain IPv6: those are looked at one by one. The instruction set
// is chosen at run time. Threads: pure functions. Ownership: views of the caller's bytes; nothing beyond a frame's
// length is read.
#pragma once

#include <cstdint>

#include "dataplane/packet/parse.h"

namespace statecast {

inline constexpr unsigned kParseBurstMax = 32;

// REQUIRES: n <= kParseBurstMax. Of what is not plain parsed[i] may have been written to.
uint32_t parse_plain_burst(const uint8_t* const frames[], const uint16_t lengths[], unsigned n, ParsedPacket parsed[]);

// The same of packets that start with their IP header, as parse_ip reads them.
uint32_t parse_plain_ip_burst(const uint8_t* const packets[], const uint16_t lengths[], unsigned n,
                              ParsedPacket parsed[]);

// Frames without vectors, for tests and benchmarks.
uint32_t parse_plain_burst_scalar(const uint8_t* const frames[], const uint16_t lengths[], unsigned n,
                                  ParsedPacket parsed[]);

}  // namespace statecast
