// SPDX-License-Identifier: BSD-3-Clause
// What a cache line costs here, at random among so many MiB: `dependent`, each address in the line before, as for a
// look-up that waits for its line; `prefetched`, a burst of 32 lines asked for first and then modified, as the
// pipeline does. The latter, times the lines that a packet touches, is what no program of this shape gets below.
// items_per_second is lines.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "base/rng.h"

namespace statecast {
namespace {

constexpr size_t kBurst = 32;

struct alignas(64) Line {
  uint64_t next;
  uint64_t written;
};

// On huge pages where the kernel gives them, as the session table is.
class Lines {
 public:
  explicit Lines(size_t mebibytes) : count_((mebibytes << 20) / sizeof(Line)) {
    constexpr size_t kHuge = 2 << 20;
    void* at = mmap(nullptr, bytes() + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return;
    mapped_ = at;
    const size_t to_border = (kHuge - reinterpret_cast<uintptr_t>(at) % kHuge) % kHuge;
    lines_ = reinterpret_cast<Line*>(static_cast<uint8_t*>(at) + to_border);
    madvise(lines_, bytes(), MADV_HUGEPAGE);
    // One cycle through all of them, in random order (Sattolo).
    for (size_t i = 0; i < count_; ++i) lines_[i].next = i;
    Rng rng(1);
    for (size_t i = count_ - 1; i > 0; --i) std::swap(lines_[i].next, lines_[rng.below(i)].next);
  }
  ~Lines() {
    if (mapped_) munmap(mapped_, bytes() + (2 << 20));
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  bool there() const { return lines_ != nullptr; }
  size_t count() const { return count_; }
  Line& operator[](size_t i) { return lines_[i]; }

 private:
  size_t bytes() const { return count_ * sizeof(Line); }
  const size_t count_;
  void* mapped_ = nullptr;
  Line* lines_ = nullptr;
};

// Made once per size: that takes longer than any measurement.
Lines& lines_of(size_t mebibytes) {
  static std::unique_ptr<Lines> made;
  static size_t size = 0;
  if (size != mebibytes) {
    made.reset();
    made = std::make_unique<Lines>(mebibytes);
    size = mebibytes;
  }
  return *made;
}

void dependent(benchmark::State& state, size_t mebibytes) {
  Lines& lines = lines_of(mebibytes);
  if (!lines.there()) return state.SkipWithError("no memory");
  size_t at = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kBurst; ++i) at = lines[at].next;
    benchmark::DoNotOptimize(at);
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kBurst});
}

void prefetched(benchmark::State& state, size_t mebibytes) {
  Lines& lines = lines_of(mebibytes);
  if (!lines.there()) return state.SkipWithError("no memory");
  Rng rng(2);
  size_t burst[2][kBurst];
  unsigned now = 0;
  auto ask = [&](size_t to[]) {
    for (size_t i = 0; i < kBurst; ++i) {
      to[i] = rng.below(lines.count());
      __builtin_prefetch(&lines[to[i]], 1);
    }
  };
  ask(burst[now]);
  for (auto _ : state) {
    ask(burst[now ^ 1]);
    for (size_t line : burst[now]) ++lines[line].written;
    now ^= 1;
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kBurst});
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (size_t mebibytes : {1, 16, 256, 1024}) {
    const std::string size = "/" + std::to_string(mebibytes);
    benchmark::RegisterBenchmark(("dependent" + size).c_str(), statecast::dependent, mebibytes);
    benchmark::RegisterBenchmark(("prefetched" + size).c_str(), statecast::prefetched, mebibytes);
  }
  benchmark::RunSpecifiedBenchmarks();
}
