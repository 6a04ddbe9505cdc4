// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/packet/checksum.h"

#include <bit>
#include <cstring>

namespace statecast {

namespace {

uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

}  // namespace

// The sum is the same in either byte order but for a swap of the result (RFC 1071, 2(B)): words are added as they lie
// in memory, four bytes at a time, and swapped once.
void ChecksumSum::add(Bytes part) {
  static_assert(std::endian::native == std::endian::little);
  const uint8_t* p = part.data();
  size_t n = part.size();
  uint64_t sum = 0;
  for (; n >= 4; p += 4, n -= 4) {
    uint32_t words;
    std::memcpy(&words, p, 4);
    sum += words;
  }
  if (n >= 2) {
    uint16_t word;
    std::memcpy(&word, p, 2);
    sum += word;
    p += 2, n -= 2;
  }
  if (n) sum += *p;  // the odd byte is the high one of a word in network order
  value += __builtin_bswap16(fold(sum));
}

uint16_t ChecksumSum::folded() const {
  return fold(value);
}

uint16_t internet_checksum(Bytes bytes) {
  ChecksumSum sum;
  sum.add(bytes);
  return sum.checksum();
}

ChecksumSum pseudo_header_sum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                              uint32_t length) {
  ChecksumSum sum;
  sum.add(source.bytes());
  sum.add(destination.bytes());
  sum.value += uint64_t(protocol) + (length >> 16) + (length & 0xffff);
  return sum;
}

uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol, Bytes segment) {
  ChecksumSum sum = pseudo_header_sum(source, destination, protocol, static_cast<uint32_t>(segment.size()));
  sum.add(segment);
  return sum.checksum();
}

uint16_t udp_checksum(const IpAddress& source, const IpAddress& destination, Bytes datagram) {
  uint16_t sum = transport_checksum(source, destination, 17, datagram);
  return sum ? sum : 0xffff;
}

uint16_t checksum_updated(uint16_t checksum, uint16_t before, uint16_t after) {
  uint64_t sum = uint64_t(static_cast<uint16_t>(~checksum)) + static_cast<uint16_t>(~before) + after;
  return static_cast<uint16_t>(~fold(sum));
}

uint16_t checksum_updated32(uint16_t checksum, uint32_t before, uint32_t after) {
  checksum = checksum_updated(checksum, static_cast<uint16_t>(before >> 16), static_cast<uint16_t>(after >> 16));
  return checksum_updated(checksum, static_cast<uint16_t>(before), static_cast<uint16_t>(after));
}

}  // namespace statecast
