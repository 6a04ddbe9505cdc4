// SPDX-License-Identifier: BSD-3-Clause
// SC_ASSERT: for invariants that hold whatever comes from outside. A broken one is a bug of ours: the program says
// where and stops. Never for input: that gets a Drop, a Result or nullopt.
//
//   SC_ASSERT(held <= kHeldMax);
//
// It stays on in release; keep the condition cheap. SC_DEBUG_ASSERT is for dear ones and vanishes with NDEBUG.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace statecast::internal {
[[noreturn, gnu::cold, gnu::noinline]] inline void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, what);
  std::abort();
}
}  // namespace statecast::internal

#define SC_ASSERT(condition) \
  (__builtin_expect(!(condition), 0) ? ::statecast::internal::assert_failed(#condition, __FILE__, __LINE__) : void(0))

#ifdef NDEBUG
#define SC_DEBUG_ASSERT(condition) void(0)
#else
#define SC_DEBUG_ASSERT(condition) SC_ASSERT(condition)
#endif
