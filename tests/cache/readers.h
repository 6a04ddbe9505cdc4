// SPDX-License-Identifier: BSD-3-Clause
// Readers: threads that look up as fast as they can, as workers do, while a test writes.
//
//   Readers readers;
//   readers.start(*cache, [&](unsigned reader, uint64_t random) { cache->lookup(...); });
//   ...
//   readers.join();
//
// Threads: start() and join() from the test's. Ownership: its threads; the cache has to outlive them.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/cache/session_cache.h"

namespace statecast {

inline constexpr unsigned kReaders = 3;
inline constexpr size_t kBurst = 32;

struct Readers {
  std::vector<std::thread> threads;
  std::atomic<bool> stop{false};
  template <class F>
  void start(SessionCache& cache, F burst) {
    for (unsigned r = 0; r < kReaders; ++r) {
      cache.register_reader(r);  // before the writer's first erasure can overlook it
      threads.emplace_back([this, &cache, burst, r] {
        uint64_t random = r * 7919 + 1;
        while (!stop.load(std::memory_order_relaxed)) {
          random = random * 6364136223846793005u + 1442695040888963407u;
          burst(r, random >> 33);
          cache.quiescent(r);
        }
        cache.unregister_reader(r);
      });
    }
  }
  void join() {
    stop = true;
    for (auto& t : threads) t.join();
  }
};

}  // namespace statecast
