// SPDX-License-Identifier: BSD-3-Clause
// One packet against one entry: the only place where packets change a word. Both session tables end here.
//
//   Spender spend{destinations, tick, stale};
//   spend(word, bytes, [&](uint32_t& marks) { ... }, hit)   // once per packet; says what to do where not `done`
//
// The third argument reads the slot's marks, *after* the word was loaded, and says whether the slot is still that of
// the packet's session. Who gives a slot away changes whose it is before it publishes another word there; so a word
// that passes this test was the session's, and the compare-and-swap succeeds only on that word. Threads: any.
// Ownership: none.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/cache/session_cache.h"
#include "dataplane/cache/session_word.h"

namespace statecast {

// What a destination is: CacheTarget, and what only the writer knows of.
enum class WordTarget : uint8_t { none, member, drop, stateless, negative, unavailable, floor };

// A destination as readers see it: target 8 bits, member 24.
constexpr uint32_t make_destination(WordTarget target, MemberId member) {
  return uint32_t(target) << 24 | member.value;
}
constexpr WordTarget destination_target(uint32_t d) {
  return WordTarget(d >> 24);
}
constexpr MemberId destination_member(uint32_t d) {
  return {d & kId24Max};
}

enum class Spent : uint8_t {
  done,
  gone,    // no entry here, or another session's by now
  moving,  // on its way to another slot
};

struct Spender {
  const std::atomic<uint32_t>* destinations;
  uint32_t tick;
  bool stale;  // the sweep is too far behind for a word to tell its end

  template <class MarksOf>
  Spent operator()(std::atomic<uint64_t>& word, uint32_t bytes, MarksOf marks_of, CacheHit& out) const {
    uint64_t w = word.load(std::memory_order_acquire);
    for (;;) {
      uint32_t marks = 0;
      if (!marks_of(marks)) return Spent::gone;
      if (word_destination(w) <= kMoving) return word_destination(w) == kDead ? Spent::gone : Spent::moving;
      const uint64_t next = decide(w, marks, bytes, out);
      if (next == w || word.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return Spent::done;
      }
    }
  }

 private:
  // The verdict, and the word as the packet leaves it.
  uint64_t decide(uint64_t w, uint32_t marks, uint32_t bytes, CacheHit& out) const {
    const uint32_t d = destinations[word_destination(w)].load(std::memory_order_relaxed);
    const int32_t ahead = ticks_ahead(w, tick);
    const uint64_t left = word_bytes(w);
    if (destination_target(d) != WordTarget::member || stale || ahead <= 0 || bytes > left || left == 0) [[unlikely]] {
      return decide_rare(w, d, ahead, marks, bytes, out);
    }
    out.verdict = CacheVerdict::forward;
    out.member = destination_member(d);
    out.ask_again = asks(w, ahead, marks, bytes, left - bytes);
    return (w - bytes) | (out.ask_again ? kAskedFlag : 0);
  }
  bool asks(uint64_t w, int32_t ahead, uint32_t marks, uint32_t bytes, uint64_t then) const {
    const bool low = !(w & kUnlimitedFlag) & marks_ask_for_bytes(marks, then);
    return !(w & kAskedFlag) & (bytes != 0) & (low | (ahead <= marks_ticks(marks)));
  }
  [[gnu::noinline]] uint64_t decide_rare(uint64_t w, uint32_t d, int32_t ahead, uint32_t marks, uint32_t bytes,
                                         CacheHit& out) const {
    const WordTarget target = destination_target(d);
    const uint64_t left = word_bytes(w);
    uint64_t next = (w & ~kWordBytesMax) | ((left - bytes) & kWordBytesMax);
    out = {};
    if (target == WordTarget::floor) return w;
    if (stale || ahead <= 0) {
      out.verdict = target == WordTarget::negative && !stale ? CacheVerdict::miss : CacheVerdict::expired;
      return w;
    }
    switch (target) {
      case WordTarget::member:
      case WordTarget::stateless: break;
      case WordTarget::drop:  // counted all the same: what is still attacked keeps its place
        out.verdict = CacheVerdict::drop;
        return next;
      case WordTarget::negative: out.verdict = CacheVerdict::negative; return w;
      case WordTarget::unavailable: out.verdict = CacheVerdict::unavailable; return w;
      case WordTarget::none:
      case WordTarget::floor: return w;
    }
    out.verdict = target == WordTarget::stateless ? CacheVerdict::stateless : CacheVerdict::forward;
    if (!(w & kUnlimitedFlag) && (bytes > left || left == 0)) {
      out.verdict = CacheVerdict::spent;
      next = w;
    }
    out.ask_again = asks(w, ahead, marks, bytes, out.verdict == CacheVerdict::spent ? 0 : word_bytes(next));
    out.member = destination_member(d);
    return next | (out.ask_again ? kAskedFlag : 0);
  }
};

}  // namespace statecast
