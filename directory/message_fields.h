// SPDX-License-Identifier: BSD-3-Clause
// Put and Take: the two that walk over a message's fields, the one to write and the other to read them. For messages.cc
// only, which has the layouts.
//
//   void walk(auto& io, Of<Query> auto& m) { key(io, m.key); group(io, m.group); }
//   Put put(buffer);  walk(put, query);  if (put.ok()) send(buffer.first(put.size()));
//   Take take(bytes);  walk(take, query);  if (take.done()) use(query);
//
// Threads: one object, one thread. Ownership: views; the bytes outlive them.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "dataplane/session/session_id.h"
#include "directory/messages.h"

namespace statecast {

class Put {
 public:
  explicit Put(MutableBytes out) : start_(out.data()), at_(out.data()) { SC_ASSERT(out.size() >= kEncodedRoom); }

  void u8(const uint8_t& v) { number(v, 1); }
  void u16(const uint16_t& v) { number(v, 2); }
  void u24(const uint32_t& v) {
    check(v <= kId24Max);
    number(v, 3);
  }
  void u32(const uint32_t& v) { number(v, 4); }
  void u40(const uint64_t& v) {
    check(v >> 40 == 0);
    number(v, 5);
  }
  void u48(const uint64_t& v) {
    check(v >> 48 == 0);
    number(v, 6);
  }
  void u64(const uint64_t& v) { number(v, 8); }
  void flag(const bool& v) { number(v, 1); }
  template <class E>
  void choice(const E& v, E first, E last) {
    check(v >= first && v <= last);
    number(uint8_t(v), 1);
  }
  void session_id(const SessionId& id) {
    if (!SessionId::parse(id.bytes())) return check(false);
    number(id.length, 1);
    bytes(id.bytes());
  }
  void packet(const Bytes& p) {
    if (p.size() > kMessagePacketMax || size() > kEncodedMax - kMessagePacketMax) return check(false);
    number(p.size(), 2);
    bytes(p);
  }
  template <class T, class F>
  void list8(const std::vector<T>& v, size_t max, F each) {
    if (v.size() > max) return check(false);
    number(v.size(), 1);
    for (const T& t : v) {
      if (size() > kMessageSizeMax) return check(false);
      each(*this, t);
    }
  }
  template <class T, class F>
  void list16(const std::vector<T>& v, size_t max, F each) {
    if (v.size() > max) return check(false);
    number(v.size(), 2);
    for (const T& t : v) {
      if (size() > kMessageSizeMax) return check(false);
      each(*this, t);
    }
  }
  template <class T, class F>
  void optional(const std::optional<T>& v, F each) {
    number(v.has_value(), 1);
    if (v) each(*this, *v);
  }
  // What must hold of fields taken together.
  void check(bool holds) { ok_ = ok_ && holds; }

  bool ok() const { return ok_; }
  size_t size() const { return static_cast<size_t>(at_ - start_); }

 private:
  // Fields do not look whether there is room: lists and packets do, and the fields around them take less than 256
  // bytes. Eight bytes are written, n of them stay.
  void number(uint64_t v, size_t n) {
    const uint64_t big_endian = __builtin_bswap64(v << (8 * (8 - n)));
    std::memcpy(at_, &big_endian, 8);
    at_ += n;
  }
  void bytes(Bytes b) {
    if (!b.empty()) std::memcpy(at_, b.data(), b.size());
    at_ += b.size();
  }
  uint8_t *start_, *at_;
  bool ok_ = true;
};

class Take {
 public:
  explicit Take(Bytes in) : r_(in) {}

  void u8(uint8_t& v) { v = r_.u8(); }
  void u16(uint16_t& v) { v = r_.u16(); }
  void u24(uint32_t& v) { v = r_.u24(); }
  void u32(uint32_t& v) { v = r_.u32(); }
  void u40(uint64_t& v) { v = r_.u40(); }
  void u48(uint64_t& v) { v = r_.u48(); }
  void u64(uint64_t& v) { v = r_.u64(); }
  void flag(bool& v) {
    uint8_t b = r_.u8();
    check(b <= 1);
    v = b == 1;
  }
  template <class E>
  void choice(E& v, E first, E last) {
    v = E(r_.u8());
    check(v >= first && v <= last);
  }
  void session_id(SessionId& id) {
    auto parsed = SessionId::parse(r_.bytes(r_.u8()));
    check(parsed.has_value());
    if (parsed) id = *parsed;
  }
  void packet(Bytes& p) {
    size_t n = r_.u16();
    check(n <= kMessagePacketMax);
    p = r_.bytes(n);
  }
  template <class T, class F>
  void list8(std::vector<T>& v, size_t max, F each) {
    list(v, r_.u8(), max, each);
  }
  template <class T, class F>
  void list16(std::vector<T>& v, size_t max, F each) {
    list(v, r_.u16(), max, each);
  }
  template <class T, class F>
  void optional(std::optional<T>& v, F each) {
    bool there = false;
    flag(there);
    if (there) each(*this, v.emplace());
  }
  void check(bool holds) {
    if (!holds) r_.fail();
  }

  bool done() const { return r_.done(); }
  bool ok() const { return r_.ok(); }

 private:
  template <class T, class F>
  void list(std::vector<T>& v, size_t n, size_t max, F each) {
    if (n > max) return r_.fail();
    v.reserve(n);
    for (size_t i = 0; i < n && r_.ok(); ++i) each(*this, v.emplace_back());
  }
  Reader r_;
};

}  // namespace statecast
