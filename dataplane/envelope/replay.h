// SPDX-License-Identifier: BSD-3-Clause
// Replay window: says of each sequence number once, and only once, that it is new. A ring of words as in RFC 6479, so
// that the window slides without shifting.
//
//   ReplayWindow<1024> window;
//   if (!window.accept(generation, sequence)) drop();
//
// Each 64-bit word holds 32 sequence numbers and says itself which ones:
//
//   | generation (8) | block = sequence / 32 (low 24 bits) | one bit per sequence number of the block (32) |
//
// A word only ever moves on to a later block, by compare-and-swap, so a number is accepted at most once whatever the
// number of threads (RFC 6479 clears words in a loop, which two threads could interleave with setting a bit in them).
// `head` is the highest number so far; it only decides what is too old, and may lag for a moment when threads race.
//
// A generation is a start (boot) of the sender: a later one begins anew at sequence 1, and everything of an earlier one
// is too old from then on. Generations count from 1, and after 255 from 1 again.
//
// Limit: a jump forward of more than 2^28 numbers between two that fall into the same word is taken for a step back. A
// sender whose 2^28 envelopes in a row were lost has said hello long before.
// Threads: accept() from any. Ownership: value, no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace statecast {

template <uint32_t kWindow>
class ReplayWindow {
 public:
  static constexpr uint32_t kSize = kWindow;

  // True if `sequence` (from 1) was not seen and is newer than head - kWindow.
  bool accept(uint8_t generation, uint64_t sequence) {
    bool is_new;
    accept(generation, &sequence, 1, &is_new);
    return is_new;
  }
  // The same for several, in their order; as a rule many fall into one word, which is then written once.
  void accept(uint8_t generation, const uint64_t sequence[], size_t n, bool is_new[]) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const int age = head == 0 ? 1 : generations_between(head, generation);
    auto is_number = [](uint64_t s) { return s - 1 < kSequenceMax; };
    if (age < 0 || std::none_of(sequence, sequence + n, is_number)) {
      std::fill_n(is_new, n, false);
      return;
    }
    if (age > 0) begin(generation);
    const uint64_t before = age > 0 ? 0 : head & kSequenceMax;
    uint64_t highest = before;
    for (size_t i = 0, end; i < n; i = end) {
      const uint64_t block = sequence[i] / kPerWord;
      for (end = i + 1; end < n && sequence[end] / kPerWord == block;) ++end;
      std::atomic<uint64_t>& word = words_[block % kWords];
      uint64_t seen = word.load(std::memory_order_relaxed), next, high;
      do {
        next = seen;
        high = highest;
        for (size_t k = i; k < end; ++k) {
          const uint64_t s = sequence[k];
          is_new[k] = is_number(s) && s + kWindow > high && mark(next, generation, s);
          if (is_new[k] && s > high) high = s;
        }
      } while (next != seen && !word.compare_exchange_weak(seen, next, std::memory_order_relaxed));
      highest = high;
    }
    if (highest > before) head_.store(uint64_t(generation) << 56 | highest, std::memory_order_relaxed);
  }

 private:
  static constexpr uint64_t kSequenceMax = (uint64_t{1} << 56) - 1;
  static constexpr uint32_t kPerWord = 32;
  static constexpr uint32_t kWords = kWindow / kPerWord + 1;  // the head's word is only partly behind it

  static int generations_between(uint64_t older_word, uint8_t generation) {
    return static_cast<int8_t>(generation - static_cast<uint8_t>(older_word >> 56));
  }

  // What `word` says afterwards, if the number is new to it.
  static bool mark(uint64_t& word, uint8_t generation, uint64_t sequence) {
    const uint64_t block = sequence / kPerWord, bit = uint64_t{1} << (sequence % kPerWord);
    const uint64_t label = uint64_t(generation) << 56 | (block & 0xffffff) << 32;
    uint64_t next = label | bit;
    if (word != 0) {
      const int age = generations_between(word, generation);
      const auto blocks = static_cast<int32_t>((static_cast<uint32_t>(block) - static_cast<uint32_t>(word >> 32)) << 8);
      const bool used = static_cast<uint32_t>(word) != 0;  // else begin() has only put the generation there
      if (age < 0 || (age == 0 && used && blocks < 0)) return false;
      if (age == 0 && blocks == 0) {
        if (word & bit) return false;
        next = word | bit;
      }
    }
    word = next;
    return true;
  }

  // Moves every word on to the new generation, so that nothing older is accepted whatever `head` says, and no word is
  // left so far behind that it seems to be ahead.
  void begin(uint8_t generation) {
    for (auto& word : words_) {
      uint64_t seen = word.load(std::memory_order_relaxed);
      while ((seen == 0 || generations_between(seen, generation) > 0) &&
             !word.compare_exchange_weak(seen, uint64_t(generation) << 56, std::memory_order_relaxed)) {}
    }
  }

  std::atomic<uint64_t> head_{0};  // generation (8) | highest sequence (56)
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace statecast
