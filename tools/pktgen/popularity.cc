// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/popularity.h"

#include <cmath>

namespace statecast {

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
  auto cells = std::make_shared<std::vector<Cell>>(sessions);
  std::vector<uint32_t> light, heavy;
  for (uint32_t i = 0; i < sessions; ++i) (weight[i] < 1 ? light : heavy).push_back(i);
  while (!light.empty() && !heavy.empty()) {
    uint32_t l = light.back(), h = heavy.back();
    light.pop_back();
    (*cells)[l] = {static_cast<uint32_t>(std::min(weight[l] * 0x1p32, 0x1p32 - 1)), h};
    weight[h] -= 1 - weight[l];
    if (weight[h] >= 1) continue;
    heavy.pop_back();
    light.push_back(h);
  }
  // What is left has weight 1 but for rounding: its alias is itself.
  for (auto* rest : {&light, &heavy})
    for (uint32_t i : *rest) (*cells)[i] = {UINT32_MAX, i};

  Popularity p(Kind::zipf, sessions);
  p.cells_ = cells->data();
  p.table_ = std::move(cells);
  return p;
}

}  // namespace statecast
