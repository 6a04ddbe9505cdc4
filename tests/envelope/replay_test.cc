// SPDX-License-Identifier: BSD-3-Clause
// Replay window: a table of accepts and rejects, a slow twin on random histories, and threads.
#include "dataplane/envelope/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "base/rng.h"

namespace statecast::test {
namespace {

struct Row {
  uint8_t generation;
  uint64_t sequence;
  bool accepted;
  const char* why;
};
constexpr uint64_t kTop = (uint64_t{1} << 56) - 1;
const Row kRows[] = {
    {1, 0, false, "sequences start at 1"},
    {1, 1, true, "first"},
    {1, 1, false, "again"},
    {1, 9, true, "a jump"},
    {1, 8, true, "late"},
    {1, 8, false, "late, again"},
    {1, 7, true, "later"},
    {1, 1024, true, "forward"},
    {1, 2, true, "the window is 1,024 wide: 1 to 1,024"},
    {1, 1025, true, "one on"},
    {1, 1, false, "seen, and just outside"},
    {1, 3, true, "inside"},
    {1, 1028, true, "three on"},
    {1, 4, false, "outside, never seen"},
    {1, 5, true, "the oldest inside"},
    {1, 5000, true, "a jump past the whole window"},
    {1, 5000, false, "again"},
    {1, 1028, false, "far behind"},
    {1, 5000 - 1023, true, "the oldest inside"},
    {1, 5000 - 1024, false, "just outside"},
    {2, 1, true, "the sender has restarted"},
    {1, 5001, false, "from before the restart, new"},
    {1, 4999, false, "from before the restart, unseen, once inside"},
    {2, 1, false, "again"},
    {2, 2, true, "on it goes"},
    {2, 1 << 20, true, "a jump of a million"},
    {2, (1 << 20) - 1, true, "next to it"},
    {2, (1 << 20) + (1 << 27), true, "a jump of 2^27"},
    {4, 70, true, "two restarts on"},
    {3, 71, false, "one in between comes late"},
    {4, 6, true, "late in the new count"},
    {255, 1, false, "as a step back of five"},
    {5, kTop - 1, true, "the end of the count"},
    {5, kTop, true, "the very end"},
    {5, kTop + 1, false, "beyond"},
    {5, ~uint64_t{0}, false, "far beyond"},
};

TEST(Replay, Table) {
  ReplayWindow<1024> window;
  int n = 0;
  for (const Row& r : kRows) {
    EXPECT_EQ(window.accept(r.generation, r.sequence), r.accepted) << "row " << n << ": " << r.why;
    ++n;
  }
}

TEST(Replay, GenerationsGoRound) {
  ReplayWindow<1024> window;
  uint8_t generation = 1;
  for (int i = 0; i < 1000; ++i) {
    // Only a few words are touched in each, so that old ones stay behind.
    for (uint64_t s : {uint64_t{1}, uint64_t(i % 40 * 30 + 2)}) {
      EXPECT_TRUE(window.accept(generation, s)) << i << " " << s;
      EXPECT_FALSE(window.accept(generation, s)) << i << " " << s;
    }
    generation = generation == 255 ? 1 : static_cast<uint8_t>(generation + 1);
  }
}

// What the window must do, by the book: a set of all that was seen.
template <uint32_t kWindow>
class SlowTwin {
 public:
  bool accept(uint8_t generation, uint64_t sequence) {
    if (sequence == 0 || generation < generation_) return false;
    if (generation > generation_) {
      generation_ = generation;
      seen_.clear();
    }
    if (!seen_.empty() && sequence + kWindow <= *seen_.rbegin()) return false;
    return seen_.insert(sequence).second;
  }

 private:
  uint8_t generation_ = 0;
  std::set<uint64_t> seen_;
};

template <uint32_t kWindow>
void compare_with_twin(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Rng rng(seed);
  ReplayWindow<kWindow> window;
  SlowTwin<kWindow> twin;
  uint8_t generation = 1;
  uint64_t head = 1;
  // Some kinds of step are absent in some histories.
  double restart = rng.chance(.5) ? 0.0003 : 0, jump = rng.chance(.5) ? 0.01 : 0, late = rng.unit();
  for (int i = 0; i < 2'000; ++i) {
    if (rng.chance(10 * restart)) {
      ++generation;
      head = 1;
    }
    const uint8_t of = rng.chance(.01) && generation > 1 ? static_cast<uint8_t>(generation - 1) : generation;
    uint64_t sequence[40];
    bool is_new[40];
    const size_t n = rng.chance(0.3) ? 1 : rng.between(1, 40);
    for (size_t k = 0; k < n; ++k) {
      sequence[k] = ++head;
      if (rng.chance(jump))
        sequence[k] = head += rng.below(3 * kWindow);
      else if (rng.chance(late))
        sequence[k] = head - std::min(head, rng.below(kWindow + kWindow / 4));
      if (k > 0 && rng.chance(0.1)) sequence[k] = sequence[rng.below(k)];
    }
    window.accept(of, sequence, n, is_new);
    for (size_t k = 0; k < n; ++k) {
      ASSERT_EQ(is_new[k], twin.accept(of, sequence[k])) << i << ", " << k << ": " << int(of) << " " << sequence[k];
    }
  }
}

TEST(Replay, LikeTheSlowTwin) {
  uint64_t seed = std::random_device{}();
  for (int i = 0; i < 30; ++i) {
    compare_with_twin<1024>(seed + i);
    compare_with_twin<4096>(seed + i);
  }
}

TEST(Replay, ThreadsAcceptEachNumberOnce) {
  // Four threads see the same envelopes, each in an order of its own that stays near the front.
  constexpr unsigned kThreads = 4;
  constexpr uint64_t kNumbers = 200'000;
  ReplayWindow<1024> window;
  std::vector<std::atomic<uint8_t>> accepted(2 * kNumbers);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Rng rng(t);
      for (uint64_t i = 1; i < kNumbers; ++i) {
        uint8_t generation = i < kNumbers / 2 ? 1 : 2;
        uint64_t sequence = std::max<uint64_t>(1, i - std::min(i, rng.below(300)));
        if (rng.chance(.001)) generation = 1;  // a straggler from before the restart
        if (window.accept(generation, sequence)) ++accepted[sequence + (generation - 1) * kNumbers];
      }
    });
  for (auto& t : threads) t.join();
  uint64_t total = 0;
  for (auto& a : accepted) {
    ASSERT_LE(a.load(), 1);
    total += a.load();
  }
  EXPECT_GT(total, kNumbers / 2);
}

TEST(Replay, Sizes) {
  EXPECT_EQ(sizeof(ReplayWindow<1024>), 272u);
  EXPECT_EQ(sizeof(ReplayWindow<4096>), 1040u);
}

}  // namespace
}  // namespace statecast::test
