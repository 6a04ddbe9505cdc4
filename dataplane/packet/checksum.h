// SPDX-License-Identifier: BSD-3-Clause
// The Internet checksum: RFC 1071, its incremental update (RFC 1624), and the pseudo headers of TCP, UDP and ICMPv6.
//
//   ip.checksum = Be16::of(internet_checksum(header));          // field zero while summing
//   bool good = internet_checksum(header) == 0;                  // field as received
//   tcp.checksum = Be16::of(transport_checksum(source, destination, 6, segment));
//   tcp.checksum = Be16::of(checksum_updated(tcp.checksum.get(), old_mss, new_mss));
//
// All values are host-order numbers of the 16-bit words in network order.
// Threads: pure functions. Ownership: none.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"

namespace statecast {

// An unfolded sum of 16-bit words. Parts may be added one after the other as long as all but the last have even length.
struct ChecksumSum {
  uint64_t value = 0;
  void add(Bytes part);
  void add_word(uint16_t word) { value += word; }
  uint16_t folded() const;                                                // one's complement sum
  uint16_t checksum() const { return static_cast<uint16_t>(~folded()); }  // what goes into the packet
};

// Of a whole range: 0 where the range holds its own, right checksum.
uint16_t internet_checksum(Bytes bytes);

// Pseudo header of either family (both addresses of one).
ChecksumSum pseudo_header_sum(const IpAddress& source, const IpAddress& destination, uint8_t protocol, uint32_t length);

// Of a TCP, UDP or ICMPv6 segment with its pseudo header: 0 where it holds its own, right checksum. For a UDP
// datagram that is being built use udp_checksum, which never gives 0 ("none").
uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol, Bytes segment);
uint16_t udp_checksum(const IpAddress& source, const IpAddress& destination, Bytes datagram);

// RFC 1624, equation 3: the checksum after one 16-bit (or 32-bit) word at an even offset changed.
uint16_t checksum_updated(uint16_t checksum, uint16_t before, uint16_t after);
uint16_t checksum_updated32(uint16_t checksum, uint32_t before, uint32_t after);

}  // namespace statecast
