// SPDX-License-Identifier: BSD-3-Clause
// Refresh digests: what an owner says of its established sessions at one replica, 128 numbers instead of a list. Each
// is the XOR over the sessions of one part; a replica that finds the same has the same sessions and buckets, and renews
// them all.
//
//   digests[refresh_part(handle)] ^= refresh_digest(handle, bucket_counter);     // in, and out again
//
// A part is runs of 1,024 handles that follow each other: an owner gives them in order, so new sessions touch few
// parts, and the sessions of a part lie side by side in a table that is sorted by handle. Threads: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/mix.h"

namespace statecast {

inline constexpr size_t kRefreshParts = 128;
inline constexpr uint32_t kRefreshRun = 1024;  // handles
using RefreshDigests = std::array<uint64_t, kRefreshParts>;

constexpr size_t refresh_part(uint32_t handle) {
  return handle / kRefreshRun % kRefreshParts;
}
constexpr uint64_t refresh_digest(uint32_t handle, uint64_t bucket_counter) {
  return mix64(mix64(uint64_t(handle) + 0x9e3779b97f4a7c15u) ^ bucket_counter);
}

}  // namespace statecast
