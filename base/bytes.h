// SPDX-License-Identifier: BSD-3-Clause
// Reader and Writer: bounded, big-endian walks over bytes. Neither throws nor allocates: the first step that
// does not fit makes them fail, and they stay failed, so that a parser checks once, at its end.
//
//   Reader r(bytes);
//   uint32_t id = r.u32();  auto body = r.bytes(r.u16());
//   if (!r.done()) return nullopt;          // short, or something left over
//
// Threads: one object, one thread. Ownership: views; the bytes outlive them.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "base/byte_order.h"

namespace statecast {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}

  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u24() { return static_cast<uint32_t>(number<uint16_t, uint8_t>()); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u40() { return number<uint32_t, uint8_t>(); }
  uint64_t u48() { return number<uint32_t, uint16_t>(); }
  uint64_t u64() { return number<uint64_t>(); }

  // The next n bytes, as a view; empty and failed when there are fewer.
  Bytes bytes(size_t n) {
    if (n > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    Bytes out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  void copy(MutableBytes out) {
    Bytes from = bytes(out.size());
    if (!from.empty())
      std::memcpy(out.data(), from.data(), from.size());
    else if (!out.empty())
      std::memset(out.data(), 0, out.size());
  }
  Bytes rest() { return bytes(in_.size()); }
  size_t left() const { return in_.size(); }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && in_.empty(); }
  void fail() {
    ok_ = false;
    in_ = {};
  }

 private:
  template <class T>
  T number() {
    const Bytes b = bytes(sizeof(T));
    return b.empty() ? T{0} : load_big_endian<T>(b.data());
  }
  // Of a length that no type has; 0 if any of it is missing.
  template <class High, class Low>
  uint64_t number() {
    const Bytes b = bytes(sizeof(High) + sizeof(Low));
    if (b.empty()) return 0;
    return uint64_t(load_big_endian<High>(b.data())) << (8 * sizeof(Low)) |
           load_big_endian<Low>(b.data() + sizeof(High));
  }
  Bytes in_;
  bool ok_ = true;
};

class Writer {
 public:
  explicit Writer(MutableBytes out) : out_(out) {}

  void u8(uint64_t v) { number(v, 1); }
  void u16(uint64_t v) { number(v, 2); }
  void u24(uint64_t v) { number(v, 3); }
  void u32(uint64_t v) { number(v, 4); }
  void u40(uint64_t v) { number(v, 5); }
  void u48(uint64_t v) { number(v, 6); }
  void u64(uint64_t v) { number(v, 8); }
  void bytes(Bytes b) {
    if (uint8_t* p = take(b.size()); p && !b.empty()) std::memcpy(p, b.data(), b.size());
  }
  void zeros(size_t n) {
    if (uint8_t* p = take(n); p && n) std::memset(p, 0, n);
  }
  size_t size() const { return at_; }  // bytes written so far
  bool ok() const { return ok_; }
  Bytes written() const { return out_.first(at_); }

 private:
  uint8_t* take(size_t n) {
    if (!ok_ || n > out_.size() - at_) {
      ok_ = false;
      return nullptr;
    }
    uint8_t* p = out_.data() + at_;
    at_ += n;
    return p;
  }
  void number(uint64_t v, size_t n) {
    uint8_t* p = take(n);
    if (!p) return;
    const uint64_t bytes = __builtin_bswap64(v << (8 * (8 - n)));
    std::memcpy(p, &bytes, n);
  }
  MutableBytes out_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace statecast
