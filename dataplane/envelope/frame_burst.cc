// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/frame_burst.h"

#include "base/avx512.h"

namespace statecast {

void FrameBurst::finish() {
#if defined(__x86_64__)
  if (avx512::available()) return internal::frames_in_eight_lanes(words_, frames_, count_);
#endif
  internal::frames_one_by_one(words_, frames_, count_);
}

void internal::frames_one_by_one(const HeaderWords& words, const Frames& frames, size_t n) {
  DataTags tags;
  for (size_t i = 0; i < n; ++i) {
    uint8_t* header = frames.payload[i] - kEnvelopeSizeMin;
    words.write(frames.geneve[i], frames.epoch[i], frames.sequence[i], header);
    tags.add(frames.key[i].data(), header, kEnvelopeSizeMin, frames.payload_size[i], header + kTagAt);
    frames.outer[i]->write(*frames.to[i], frames.lengths[i], header - kOuterSizeV4);
  }
  tags.hash();
}

}  // namespace statecast
