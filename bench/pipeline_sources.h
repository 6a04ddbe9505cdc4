// SPDX-License-Identifier: BSD-3-Clause
// Sources: where the frames of a measured run come from.
//
//   ClientFrames clients(fleet, port.mac(), seed);   // TCP segments of 64 bytes, sessions uniformly at random
//   port.set_source(0, &clients);
//
// Threads: one per source. Ownership: views of the fleet.
#pragma once

#include <array>
#include <cstring>

#include "base/rng.h"
#include "bench/pipeline_fleet.h"
#include "bench/pipeline_port.h"

namespace statecast::bench {

inline constexpr uint16_t kClientFrame = 64;

class ClientFrames : public FrameSource {
 public:
  ClientFrames(const Fleet& fleet, const MacAddress& to, uint64_t seed);
  void make(uint8_t* const frames[], uint16_t lengths[], unsigned n) override;

 private:
  const uint32_t sessions_, groups_;
  Rng rng_;
  std::array<uint8_t, kClientFrame> frame_{};  // all but addresses and checksum
  uint32_t sum_;                               // of the IP header without addresses
};

}  // namespace statecast::bench
