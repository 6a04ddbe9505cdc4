// SPDX-License-Identifier: BSD-3-Clause
// Slots: things that wait, known by a number that is given again once they have been taken.
//
//   uint32_t at = slots.put(std::move(datagram));
//   Datagram d = slots.take(at);                     // once
//
// Threads: one. Ownership: values.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace statecast::sim {

template <class T>
class Slots {
 public:
  uint32_t put(T value) {
    if (free_.empty()) {
      values_.push_back(std::move(value));
      return static_cast<uint32_t>(values_.size() - 1);
    }
    const uint32_t at = free_.back();
    free_.pop_back();
    values_[at] = std::move(value);
    return at;
  }
  T take(uint32_t at) {
    free_.push_back(at);
    return std::move(values_[at]);
  }

 private:
  std::vector<T> values_;
  std::vector<uint32_t> free_;
};

}  // namespace statecast::sim
