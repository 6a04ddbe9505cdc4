// SPDX-License-Identifier: BSD-3-Clause
// Seal burst: the data envelopes of one burst, headers at once and tags together in vector lanes.
//
//   SealBurst seals(peers, stream, peers.timestamp_us(now));
//   for (...) seals.add(keys, keys.take(), group, PayloadKind::ipv4, nullptr, 0, inner_size, inner);   // all but the
//   tag seals.finish();                                                                       // the tags
//
// The same bytes as PeerTable::seal. Between add() and finish() headers and payloads must not change.
//
// Threads: the stream's own. Ownership: writes into the caller's buffers; one object per burst, on the stack.
#pragma once

#include <cstring>

#include "base/check.h"
#include "dataplane/envelope/data_tags.h"
#include "dataplane/envelope/peers.h"

namespace statecast {

// The fixed part of an envelope as words of eight bytes, in the order of wire.h:
//
//   0  Geneve header                              3  stamp (4), sequence high (4)
//   1  auth option's header (4), sender (4)       4  sequence low (4), tag (4)
//   2  boot (4), stream, key epoch, stamp (2)     5  tag (8), and 4 bytes more of it
struct HeaderWords {
  uint64_t sender, stamp_high, stamp_low;  // of words 1 to 3, what all envelopes of a burst have in common

  HeaderWords(const PeerTable& peers, uint8_t stream, uint64_t timestamp_us);
  // Word 0. `extra`: bytes of options behind the auth option.
  static uint64_t geneve(GroupId group, PayloadKind kind, size_t extra) {
    const uint64_t protocol = kind == PayloadKind::ipv4 ? 0x0800 : 0x86dd;
    return uint64_t((kAuthOptionSize + extra) / 4) << 56 | uint64_t(kGeneveC) << 48 | protocol << 32 |
           uint64_t(group.value) << 8;
  }
  // All but the tag. Word 0 and the sequence as on the wire.
  void write(uint64_t geneve_be, uint8_t epoch, uint64_t sequence_be, uint8_t* header) const {
    const uint64_t words[] = {geneve_be, __builtin_bswap64(sender),
                              __builtin_bswap64(stamp_high | uint64_t(epoch) << 16),
                              __builtin_bswap64(stamp_low) | sequence_be << 32, sequence_be >> 32};
    std::memcpy(header, words, sizeof words);
  }
};

class SealBurst {
 public:
  static constexpr size_t kMost = DataTags::kMost;

  SealBurst(const PeerTable& peers, uint8_t stream, uint64_t timestamp_us) : words_(peers, stream, timestamp_us) {}

  // Writes the envelope's header, all but the tag, into the kEnvelopeSizeMin + extra bytes before `payload`.
  // `sequence`: keys.take(). `extra`: options_size(*options); `options` may be nullptr where that is 0. REQUIRES: keys
  // that were fresh, and stay until finish(); at most kMost calls; options that an inner packet may have
  // (kInnerOptionsMax); kTaggedInnerBytes readable from the payload on, however short it is (what is behind it is not
  // used).
  void add(const SendKeys& keys, uint64_t sequence, GroupId group, PayloadKind kind, const EnvelopeOptions* options,
           size_t extra, size_t payload_size, uint8_t* payload);
  void finish() { tags_.hash(); }

 private:
  HeaderWords words_;
  DataTags tags_;
};

inline void SealBurst::add(const SendKeys& keys, uint64_t sequence, GroupId group, PayloadKind kind,
                           const EnvelopeOptions* options, size_t extra, size_t payload_size, uint8_t* payload) {
  SC_DEBUG_ASSERT(kind != PayloadKind::message);
  uint8_t* header = payload - kEnvelopeSizeMin - extra;
  words_.write(__builtin_bswap64(HeaderWords::geneve(group, kind, extra)), keys.epoch, __builtin_bswap64(sequence),
               header);
  if (extra != 0) {
    Writer w(MutableBytes(header + kEnvelopeSizeMin, extra));
    write_options(*options, w);
  }
  tags_.add(keys.key.data(), header, kEnvelopeSizeMin + extra, payload_size, header + kTagAt);
}

}  // namespace statecast
