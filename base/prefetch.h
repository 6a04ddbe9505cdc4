// SPDX-License-Identifier: BSD-3-Clause
// prefetch: asks for the cache line at an address, for a use some hundred nanoseconds from now.
//
//   prefetch(&lines[place]);
//
// Why not the built-in alone: GCC 12 takes a function that does nothing but prefetch for one without effect and leaves
// the calls to it out. Threads: any. Ownership: none.
#pragma once

namespace statecast {

inline void prefetch(const void* at) {
  asm volatile("" : : "r"(at));
  __builtin_prefetch(at);
}

}  // namespace statecast
