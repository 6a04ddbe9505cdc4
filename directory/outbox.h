// SPDX-License-Identifier: BSD-3-Clause
// Outbox: encoded messages that wait to be sent, one after the other in one buffer that is used again and again.
//
//   box.add(to, encode_as(header, body, box.room()));
//   for (DirectoryOutput o; box.next(o);) ...                // `o` keeps its memory from one message to the next
//
// Threads: one. Ownership: owns the bytes; next() copies them out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "directory/messages.h"

namespace statecast {

class Outbox {
 public:
  // Where the next message may be encoded.
  MutableBytes room() {
    if (end_ + kEncodedRoom > bytes_.size()) make_room();
    return MutableBytes(bytes_).subspan(end_, kEncodedRoom);
  }
  // What has been written there; an empty one is nobody's.
  void add(NodeId to, size_t length) {
    waiting_.push_back({to, static_cast<uint32_t>(length)});
    end_ += length;
  }
  void clear() {
    waiting_.clear();
    first_ = begin_ = end_ = 0;
  }
  bool next(DirectoryOutput& out) {
    if (first_ == waiting_.size()) return false;
    const auto [to, length] = waiting_[first_++];
    out.to = to;
    out.message.assign(bytes_.begin() + static_cast<std::ptrdiff_t>(begin_),
                       bytes_.begin() + static_cast<std::ptrdiff_t>(begin_ + length));
    begin_ += length;
    if (first_ == waiting_.size()) clear();
    return true;
  }

 private:
  struct Waiting {
    NodeId to;
    uint32_t length;
  };
  // Without what has been taken, where that is half of it.
  void make_room() {
    if (begin_ > bytes_.size() / 2) {
      std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(begin_),
                bytes_.begin() + static_cast<std::ptrdiff_t>(end_), bytes_.begin());
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ + kEncodedRoom > bytes_.size()) bytes_.resize(2 * bytes_.size() + 2 * kEncodedRoom);
  }
  std::vector<uint8_t> bytes_;
  std::vector<Waiting> waiting_;
  size_t first_ = 0, begin_ = 0, end_ = 0;  // of waiting_; of bytes_
};

}  // namespace statecast
