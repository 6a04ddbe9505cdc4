// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_sources.h"

#include "dataplane/packet/checksum.h"

namespace statecast::bench {

ClientFrames::ClientFrames(const Fleet& fleet, const MacAddress& to, uint64_t seed)
    : sessions_(fleet.options().sessions), groups_(fleet.options().groups), rng_(seed) {
  Writer w(frame_);
  w.bytes(to.raw);
  w.u48(0x02000000000a);
  w.u16(0x0800);
  w.u16(0x4500);
  w.u16(kClientFrame - 14);
  w.u32(0x00004000);
  w.u16(64 << 8 | 6);
  w.u16(0);
  w.u64(0);  // addresses
  w.u16(kClientPort);
  w.u16(kServerPort);
  w.u64(0x0123456789abcdef);
  w.u32(0x50100400);  // ACK
  sum_ = uint16_t(~internet_checksum(Bytes(frame_).subspan(14, 20)));
}

void ClientFrames::make(uint8_t* const frames[], uint16_t lengths[], unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    const auto s = static_cast<uint32_t>(rng_.below(sessions_));
    const uint32_t client = kFirstClient + s, group = kFirstGroup + (groups_ == 1 ? 0 : s % groups_);
    uint32_t sum = sum_ + (client >> 16) + (client & 0xffff) + (group >> 16) + (group & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    const uint16_t checksum = __builtin_bswap16(static_cast<uint16_t>(~sum));
    const uint32_t addresses[2] = {__builtin_bswap32(client), __builtin_bswap32(group)};
    std::memcpy(frames[i], frame_.data(), kClientFrame);
    std::memcpy(frames[i] + 24, &checksum, 2);
    std::memcpy(frames[i] + 26, addresses, 8);
    lengths[i] = kClientFrame;
  }
}

}  // namespace statecast::bench
