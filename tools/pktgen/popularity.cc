// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/popularity.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/check.h"

namespace statecast {

namespace {

constexpr size_t kHugePage = 2 * 1024 * 1024;
constexpr size_t kDrawBlock = 64;

template <class T>
std::shared_ptr<T[]> in_huge_pages(size_t n) {
  size_t size = (n * sizeof(T) + kHugePage - 1) / kHugePage * kHugePage;
  void* memory = std::aligned_alloc(kHugePage, size);
  SC_ASSERT(memory != nullptr);
  madvise(memory, size, MADV_HUGEPAGE);  // without it works, too
  return {static_cast<T*>(memory), [](T* p) { std::free(p); }};
}

}  // namespace

void Popularity::draw(Rng& rng, std::span<uint32_t> out) {
  if (kind_ == Kind::sequential) {
    for (uint32_t& s : out) {
      s = next_;
      next_ = next_ + 1 == sessions_ ? 0 : next_ + 1;
    }
    return;
  }
  // The product's high part is the cell; its low part, uniform within the cell, decides between the cell and its alias.
  __extension__ using Wide = unsigned __int128;
  if (kind_ == Kind::uniform) {
    for (uint32_t& s : out) s = static_cast<uint32_t>((static_cast<Wide>(rng.next()) * sessions_) >> 64);
    return;
  }
  for (; !out.empty(); out = out.subspan(std::min(out.size(), kDrawBlock))) {
    std::array<uint32_t, kDrawBlock> coins;
    size_t n = std::min(out.size(), kDrawBlock);
    for (size_t i = 0; i < n; ++i) {
      Wide product = static_cast<Wide>(rng.next()) * sessions_;
      out[i] = static_cast<uint32_t>(product >> 64);
      coins[i] = static_cast<uint32_t>(static_cast<uint64_t>(product) >> 32);
      __builtin_prefetch(&cells_[out[i]]);
    }
    for (size_t i = 0; i < n; ++i) {
      const Cell& cell = cells_[out[i]];
      out[i] = coins[i] < cell.threshold ? out[i] : cell.alias;
    }
  }
}

Popularity Popularity::uniform(uint32_t sessions) {
  return {Kind::uniform, sessions};
}

Popularity Popularity::sequential(uint32_t sessions, uint32_t first) {
  Popularity p(Kind::sequential, sessions);
  p.next_ = first % sessions;
  return p;
}

Popularity Popularity::zipf(uint32_t sessions, double exponent) {
  // Cells of mean weight 1: what a light one lacks comes from a heavy one, its alias.
  std::vector<double> weight(sessions);
  double sum = 0;
  for (uint32_t i = 0; i < sessions; ++i) sum += weight[i] = std::pow(double(i) + 1, -exponent);
  for (double& w : weight) w *= sessions / sum;
  auto cells = in_huge_pages<Cell>(sessions);
  std::vector<uint32_t> light, heavy;
  for (uint32_t i = 0; i < sessions; ++i) (weight[i] < 1 ? light : heavy).push_back(i);
  while (!light.empty() && !heavy.empty()) {
    uint32_t l = light.back(), h = heavy.back();
    light.pop_back();
    cells[l] = {static_cast<uint32_t>(std::min(weight[l] * 0x1p32, 0x1p32 - 1)), h};
    weight[h] -= 1 - weight[l];
    if (weight[h] >= 1) continue;
    heavy.pop_back();
    light.push_back(h);
  }
  // What is left has weight 1 but for rounding: its alias is itself.
  for (auto* rest : {&light, &heavy})
    for (uint32_t i : *rest) cells[i] = {UINT32_MAX, i};

  Popularity p(Kind::zipf, sessions);
  p.cells_ = std::move(cells);
  return p;
}

}  // namespace statecast
