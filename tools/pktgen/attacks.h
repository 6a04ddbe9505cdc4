// SPDX-License-Identifier: BSD-3-Clause
// Attacks: frames that a proxy should make short work of. One object makes those of one stream and worker.
//
//   AttackFrames flood({.kind = PktgenStreamConfig::Kind::syn_flood, .frame = {...}, .clients = 1 << 24}, seed);
//   uint16_t length = flood.fill(buffer, 60);
//
// `random_sessions` are data packets with a mark (so that one which gets through is counted), the other kinds have
// none. Threads: one. Ownership: the caller's bytes.
#pragma once

#include <array>
#include <cstdint>

#include "base/rng.h"
#include "config/pktgen_config.h"
#include "tools/pktgen/frames.h"

namespace statecast {

struct AttackOptions {
  PktgenStreamConfig::Kind kind = PktgenStreamConfig::Kind::syn_flood;
  FrameOptions frame;
  uint64_t client_addresses = 1;  // sources are drawn from so many addresses
};

class AttackFrames {
 public:
  AttackFrames(const AttackOptions& o, uint64_t seed);

  void set_macs(const MacAddress& source, const MacAddress& destination);
  // Returns the frame's length: `length` where the kind has payload to fill it with. `mark` goes into random_sessions,
  // its session number being the one drawn. REQUIRES: 256 bytes of room, or `length` if that is more.
  uint16_t fill(uint8_t* frame, uint16_t length, Mark mark, uint64_t nonce);

  static constexpr unsigned kMalformations = 8;

 private:
  uint16_t malformed(uint8_t* frame, uint16_t length, Mark mark, uint64_t nonce);
  uint16_t envelope(uint8_t* frame);

  PktgenStreamConfig::Kind kind_;
  bool v6_, tcp_;
  FrameTemplate template_;
  Rng rng_;
  uint64_t sources_;  // session numbers to draw from
  unsigned turn_ = 0;
  std::array<uint8_t, 256> envelope_{};
  uint16_t envelope_length_ = 0;
};

}  // namespace statecast
