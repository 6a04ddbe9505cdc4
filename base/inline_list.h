// SPDX-License-Identifier: BSD-3-Clause
// InlineList: a list of at most N elements, all of them in the list itself. For what is short, and made for one call.
//
//   InlineList<ProxyId, kReplicasMax> others;
//   others.push_back(id);
//   for (ProxyId p : others) ...
//
// Threads: as a plain array. Ownership: values.
#pragma once

#include <array>
#include <cstddef>

#include "base/check.h"

namespace statecast {

template <class T, size_t N>
class InlineList {
 public:
  void push_back(const T& value) {
    SC_ASSERT(size_ < N);
    values_[size_++] = value;
  }
  // The last one takes its place.
  void erase(T* at) { *at = values_[--size_]; }
  void clear() { size_ = 0; }
  bool full() const { return size_ == N; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return values_.data(); }
  T* end() { return values_.data() + size_; }
  const T* begin() const { return values_.data(); }
  const T* end() const { return values_.data() + size_; }

 private:
  std::array<T, N> values_;
  size_t size_ = 0;
};

}  // namespace statecast
