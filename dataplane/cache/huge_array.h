// SPDX-License-Identifier: BSD-3-Clause
// HugeArray: zeroed memory of its own for the tables of the session cache, on huge pages where the kernel has some
// (transparent ones: nothing needs to be reserved, and no DPDK memory is taken).
//
//   HugeArray<Line> lines;
//   if (!lines.allocate(n)) ...
//   lines[3].tag
//
// Why not DPDK's memory: with --no-huge it has 4 KiB pages, and its size has to be known at start. Measured: see
// docs/decisions/0004-session-table-of-lines.md.
// Threads: as its elements. Ownership: owns the mapping.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace statecast {

// T is something that zeroed bytes are a value of (numbers, std::atomic of them, structs of those).
template <class T>
class HugeArray {
 public:
  HugeArray() = default;
  ~HugeArray() {
    if (base_) munmap(base_, mapped_);
  }
  HugeArray(const HugeArray&) = delete;
  HugeArray& operator=(const HugeArray&) = delete;

  // REQUIRES: called once. False if there is no memory.
  [[nodiscard]] bool allocate(size_t n) {
    const size_t length = (n * sizeof(T) + kPage - 1) / kPage * kPage;
    mapped_ = length + kPage;  // to have a whole page's alignment within
    void* at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    base_ = at;
    const size_t to_page = (kPage - reinterpret_cast<uintptr_t>(at) % kPage) % kPage;
    data_ = reinterpret_cast<T*>(static_cast<uint8_t*>(at) + to_page);
    size_ = n;
    madvise(data_, length, MADV_HUGEPAGE);  // without them it is slower, not wrong
    return true;
  }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }

 private:
  static constexpr size_t kPage = size_t(2) << 20;
  void* base_ = nullptr;
  size_t mapped_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace statecast
