// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/seal_burst.h"

namespace statecast {

namespace {

static_assert(sizeof(GeneveHeader) == 8 && offsetof(EnvelopeHead, auth.boot) == 16);
static_assert(offsetof(EnvelopeHead, auth.stream) == 20 && offsetof(EnvelopeHead, auth.timestamp) == 22);
static_assert(offsetof(EnvelopeHead, auth.sequence) == 28 && offsetof(EnvelopeHead, auth.tag) == 36);

}  // namespace

HeaderWords::HeaderWords(const PeerTable& peers, uint8_t stream, uint64_t timestamp_us) {
  constexpr uint64_t kOptionHeader =
      uint64_t(kOptionClass) << 16 | uint64_t(kAuthType) << 8 | (kAuthOptionSize - sizeof(OptionHeader)) / 4;
  sender = kOptionHeader << 32 | peers.self().value;
  stamp_high = uint64_t(peers.boot()) << 32 | uint64_t(stream) << 24 | (timestamp_us >> 32 & 0xffff);
  stamp_low = timestamp_us << 32;
}

}  // namespace statecast
