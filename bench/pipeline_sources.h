// SPDX-License-Identifier: BSD-3-Clause
// Sources: where the frames of a measured run come from.
//
//   ClientFrames clients(fleet, port.mac(), seed);   // TCP segments of 64 bytes, sessions uniformly at random
//   PacedFrames paced(clients, cycles);              // the same, so many cycles apart
//   ReplyFrames replies(fleet, seed);                // members' answers, sealed
//   port.set_source(0, &clients);
//
// Threads: one per source. Ownership: views of the fleet.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "bench/pipeline_fleet.h"
#include "bench/pipeline_port.h"

namespace statecast::bench {

inline constexpr uint16_t kClientFrame = 64;

// Which sessions a source draws from: `own` of them from `first` on, and of each frame with `shared_permille` one of
// the first `shared` of all. `unknown_permille` of the frames belong to no session.
struct Draw {
  uint32_t first = 0, own = 0, shared = 0, shared_permille = 0, unknown_permille = 0;
};

class ClientFrames : public FrameSource {
 public:
  ClientFrames(const Fleet& fleet, const MacAddress& to, uint64_t seed, const Draw& draw);
  unsigned make(uint8_t* const frames[], uint16_t lengths[], unsigned n) override;

 private:
  uint32_t draw();

  const uint32_t groups_;
  const Draw draw_;
  Rng rng_;
  std::array<uint8_t, kClientFrame> frame_{};  // all but addresses and checksum
  uint32_t sum_;                               // of the IP header without addresses
};

// The same at a steady rate: a frame is there from when it is due, however late it is fetched, and carries that time
// (of the time stamp counter) in its last eight bytes. So what a stall delays counts as delayed.
class PacedFrames : public FrameSource {
 public:
  PacedFrames(ClientFrames& clients, double cycles_apart) : clients_(clients), apart_(cycles_apart) {}
  void restart() { start_ = 0; }  // from when it is next asked
  unsigned make(uint8_t* const frames[], uint16_t lengths[], unsigned n) override;

 private:
  ClientFrames& clients_;
  const double apart_;
  uint64_t start_ = 0, made_ = 0;
};

// Sealed beforehand, since a tag costs the sender as much as the receiver: none are left until the next refill().
class ReplyFrames : public FrameSource {
 public:
  ReplyFrames(Fleet& fleet, uint64_t seed);
  void refill(Instant now);
  bool empty() const { return next_ == frames_.size(); }
  unsigned make(uint8_t* const frames[], uint16_t lengths[], unsigned n) override;

 private:
  struct Frame {
    std::array<uint8_t, kFrameMax> bytes;
    uint16_t length;
  };
  Fleet& fleet_;
  Rng rng_;
  std::vector<Frame> frames_;
  size_t next_ = 0;
};

// One kind of frame that is to be dropped, over and over, with changing addresses.
enum class Junk : uint8_t { malformed, filtered, forged, unknown };
inline constexpr const char* kJunkNames[] = {"malformed", "filtered", "forged", "unknown"};

class JunkFrames : public FrameSource {
 public:
  JunkFrames(Fleet& fleet, const MacAddress& to, Junk kind, uint64_t seed);
  unsigned make(uint8_t* const frames[], uint16_t lengths[], unsigned n) override;

 private:
  const Junk kind_;
  ClientFrames clients_;
  Rng rng_;
  std::array<uint8_t, kFrameMax> forged_{};
  uint16_t forged_length_ = 0;
};

}  // namespace statecast::bench
