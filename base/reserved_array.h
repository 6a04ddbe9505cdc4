// SPDX-License-Identifier: BSD-3-Clause
// ReservedArray: an array that grows in place. Address space for the most that it may ever hold is reserved at once;
// memory comes page by page as elements are first touched, and in huge pages once there is use for them. So its
// elements never move, growing copies nothing, and what has not been used costs nothing.
//
//   ReservedArray<Line> lines(20'000'000);
//   lines.use(n);                              // before the first access to elements below n
//   lines[n - 1].key = key;                    // zero bytes until written
//
// Threads: as a plain array. Ownership: owns its memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"

namespace statecast {

template <class T>
class ReservedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  // REQUIRES: T's zero bytes are a value of it.
  explicit ReservedArray(size_t most) : most_(most), mapped_(most * sizeof(T) + kHugePage) {
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SC_ASSERT(base_ != MAP_FAILED);
    const size_t behind = reinterpret_cast<uintptr_t>(base_) % kHugePage;
    data_ = reinterpret_cast<T*>(static_cast<uint8_t*>(base_) + (behind == 0 ? 0 : kHugePage - behind));
  }
  ~ReservedArray() { munmap(base_, mapped_); }
  ReservedArray(const ReservedArray&) = delete;
  ReservedArray& operator=(const ReservedArray&) = delete;

  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t most() const { return most_; }

  // Elements below n are about to be used. A small array keeps to small pages: there may be many such.
  void use(size_t n) {
    SC_ASSERT(n <= most_);
    if (huge_ || n * sizeof(T) < kHugePage) return;
    huge_ = true;
    madvise(data_, mapped_ - kHugePage, MADV_HUGEPAGE);  // where there are none, small ones do
  }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  size_t most_, mapped_;
  void* base_ = nullptr;
  T* data_ = nullptr;
  bool huge_ = false;
};

}  // namespace statecast
