// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_sources.h"

#include <rte_cycles.h>

#include <algorithm>

#include "dataplane/packet/checksum.h"

namespace statecast::bench {

namespace {

constexpr size_t kReplies = 65'536;
constexpr size_t kTcpPortAt = 36, kChecksumAt = 24, kAddressesAt = 26;
constexpr size_t kForgedTagAt = 14 + 20 + 8 + kEnvelopeSizeMin - 16;

}  // namespace

ClientFrames::ClientFrames(const Fleet& fleet, const MacAddress& to, uint64_t seed, const Draw& draw)
    : groups_(fleet.options().groups), draw_(draw), rng_(seed) {
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

uint32_t ClientFrames::draw() {
  if (draw_.unknown_permille != 0 && rng_.below(1000) < draw_.unknown_permille) {
    return kUnknownSessions + static_cast<uint32_t>(rng_.below(1u << 26));
  }
  if (draw_.shared_permille != 0 && rng_.below(1000) < draw_.shared_permille) {
    return static_cast<uint32_t>(rng_.below(draw_.shared));
  }
  return draw_.first + static_cast<uint32_t>(rng_.below(draw_.own));
}

unsigned ClientFrames::make(uint8_t* const frames[], uint16_t lengths[], unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    const uint32_t s = draw();
    const uint32_t client = kFirstClient + s, group = kFirstGroup + (groups_ == 1 ? 0 : s % groups_);
    uint32_t sum = sum_ + (client >> 16) + (client & 0xffff) + (group >> 16) + (group & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    const uint16_t checksum = __builtin_bswap16(static_cast<uint16_t>(~sum));
    const uint32_t addresses[2] = {__builtin_bswap32(client), __builtin_bswap32(group)};
    std::memcpy(frames[i], frame_.data(), kClientFrame);
    std::memcpy(frames[i] + kChecksumAt, &checksum, 2);
    std::memcpy(frames[i] + kAddressesAt, addresses, 8);
    lengths[i] = kClientFrame;
  }
  return n;
}

unsigned PacedFrames::make(uint8_t* const frames[], uint16_t lengths[], unsigned n) {
  if (start_ == 0) {
    start_ = rte_rdtsc();
    made_ = 0;
  }
  const auto due = static_cast<uint64_t>(double(rte_rdtsc() - start_) / apart_);
  n = static_cast<unsigned>(std::min<uint64_t>(n, due - std::min(due, made_)));
  clients_.make(frames, lengths, n);
  for (unsigned i = 0; i < n; ++i) {
    const uint64_t at = start_ + static_cast<uint64_t>(double(++made_) * apart_);
    std::memcpy(frames[i] + lengths[i] - sizeof at, &at, sizeof at);
  }
  return n;
}

ReplyFrames::ReplyFrames(Fleet& fleet, uint64_t seed) : fleet_(fleet), rng_(seed), frames_(kReplies) {
  next_ = frames_.size();
}

void ReplyFrames::refill(Instant now) {
  for (Frame& f : frames_) {
    f.length =
        static_cast<uint16_t>(fleet_.reply(static_cast<uint32_t>(rng_.below(fleet_.options().sessions)), now, f.bytes));
  }
  next_ = 0;
}

unsigned ReplyFrames::make(uint8_t* const frames[], uint16_t lengths[], unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    const Frame& f = frames_[next_++ % frames_.size()];
    std::memcpy(frames[i], f.bytes.data(), kFrameMax);
    lengths[i] = f.length;
  }
  return n;
}

JunkFrames::JunkFrames(Fleet& fleet, const MacAddress& to, Junk kind, uint64_t seed)
    : kind_(kind),
      clients_(fleet, to, seed,
               {.own = fleet.options().sessions, .unknown_permille = kind == Junk::unknown ? 1000u : 0u}),
      rng_(seed) {
  forged_length_ = static_cast<uint16_t>(fleet.reply(0, MonotonicClock::now(), forged_));
}

unsigned JunkFrames::make(uint8_t* const frames[], uint16_t lengths[], unsigned n) {
  if (kind_ == Junk::forged) {
    for (unsigned i = 0; i < n; ++i) {
      std::memcpy(frames[i], forged_.data(), kFrameMax);
      const uint64_t tag = rng_.next();
      std::memcpy(frames[i] + kForgedTagAt, &tag, sizeof tag);
      lengths[i] = forged_length_;
    }
    return n;
  }
  clients_.make(frames, lengths, n);
  for (unsigned i = 0; i < n; ++i) {
    if (kind_ == Junk::malformed) frames[i][kChecksumAt] ^= 0xff;
    if (kind_ == Junk::filtered) frames[i][kTcpPortAt] ^= 0x40;
  }
  return n;
}

}  // namespace statecast::bench
