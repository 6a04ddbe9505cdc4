// SPDX-License-Identifier: BSD-3-Clause
// The problem: find and debit one of 100 million leases per packet, from several cores, while one thread inserts,
// moves, renews and drops entries. What decides the cost is how many cache lines a packet touches. The choice:
// two-choice cuckoo of four slots to a line, tag and word side by side, partial keys (the tag and the line tell the
// other line, so that an insert moves entries without knowing their keys), breadth-first search for a free slot.
// Rejected: more slots to a line with 31-bit tags (collisions would hand packets to another session's member), a tag
// array with records apart (two lines per packet), chaining (unbounded look-ups).
// Cost and measurements: docs/decisions/0004-session-table-of-lines.md.
//
// Readers against the writer. A reader matches a tag, loads the word, and looks at the tag once more before it believes
// the word; then it debits by compare-and-swap.
//
// (a) A slot is erased and given to another session between the reader's look at the tag and its load of the word. The
//     writer stores the new tag before it publishes the new word (release). So a reader that has loaded (acquire) a
//     word of the new session sees the new tag when it looks again, and starts over. A reader that has loaded a word of
//     the old session fails in its compare-and-swap: the word has changed since, in its salt if in nothing else. (The
//     salt has two bits. Should a core stand still between its load and its compare-and-swap while the slot is given
//     away four times and ends with a word that agrees in destination, tick, flags and bytes, one packet passes on the
//     old lease and is debited to the new one: within the design's bound of one burst per core.)
// (b) An entry moves from slot x to y. The writer exchanges the word at x for `moving`: whatever was debited before is
//     in the word that it takes along, and nothing can be debited after, so no debit is lost or doubled. It stores tag
//     and word at y, counts the move, and only then clears x. A reader that meets `moving` looks again.
// (c) A reader looks at y before an entry has arrived there and at x after it has left. It has then seen what was
// stored
//     at x after the move was counted (release, acquire), so the count differs from what it was when the reader began,
//     and it looks again. The count was read before the first look: a move that is in it had been published at y.
//
// A reader waits for the writer in one place: while it meets `moving`. That is a few nanoseconds unless the writer's
// thread is stopped just there; after kPatience looks the packet is treated as one whose lease is spent, and dropped.
#include "dataplane/cache/line_table.h"

#include <smmintrin.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

namespace statecast {
namespace {

constexpr uint64_t kSecond = uint64_t(1) << 15;
constexpr uint64_t kEmpty = UINT64_MAX;  // no marks are all ones, so no entry's tag is this
constexpr uint64_t kLinesMin = 1 << 15;
constexpr uint32_t kNoSlot = UINT32_MAX;
constexpr unsigned kPatience = 4096;  // about 100 us
constexpr unsigned kSearchMax = 682;  // lines that an insert looks at: all that are four moves away, or fewer

constexpr uint64_t tag_of(const SessionKey& key) {
  return key.high << 16;
}
__extension__ using Wide = unsigned __int128;
inline uint32_t scaled(uint64_t hash, uint64_t count) {
  return uint32_t((Wide(hash) * count) >> 64);
}

}  // namespace

Result<void> LineTable::create(const SessionCacheOptions& options) {
  const double entries = double(options.sessions) + double(options.negative);
  count_ = std::max(kLinesMin, uint64_t(std::ceil(entries / kLoad / kWays)));
  if (count_ * kWays > kNoSlot || !lines_.allocate(count_)) {
    return fail(Code::system, "session cache: no memory for " + std::to_string(count_) + " lines");
  }
  for (uint64_t i = 0; i < count_; ++i) {
    for (auto& t : lines_[i].tag) t.store(kEmpty, std::memory_order_relaxed);
  }
  return {};
}

inline uint32_t LineTable::first_line(const SessionKey& key) const {
  return scaled(key.low, count_);
}
// Its own inverse: of the second line it is the first.
inline uint32_t LineTable::other_line(uint32_t line, uint64_t tag) const {
  const uint32_t sum = scaled((tag >> 16) * 0x9e3779b97f4a7c15u, count_);
  return sum >= line ? sum - line : sum + uint32_t(count_) - line;
}
// One bit per slot whose tag is this.
inline unsigned LineTable::match(const Line& line, uint64_t tag) {
#if defined(__SSE4_1__) && !defined(__SANITIZE_THREAD__)
  // Two of them in one load each, which x86 makes in one piece for aligned 8 bytes, and in order; the fence is the
  // compiler's alone. 1.5 ns per packet less than one by one. (DPDK itself asks for SSE 4.2.)
  const auto* at = reinterpret_cast<const __m128i*>(line.tag);
  const __m128i want = _mm_set1_epi64x(int64_t(tag)), key = _mm_set1_epi64x(~int64_t(kMarksMask));
  const __m128i a = _mm_cmpeq_epi64(_mm_and_si128(_mm_load_si128(at), key), want);
  const __m128i b = _mm_cmpeq_epi64(_mm_and_si128(_mm_load_si128(at + 1), key), want);
  std::atomic_signal_fence(std::memory_order_acquire);
  return unsigned(_mm_movemask_ps(_mm_castsi128_ps(_mm_packs_epi32(a, b))));
#else
  unsigned m = 0;
  for (unsigned i = 0; i < kWays; ++i) {
    m |= unsigned((line.tag[i].load(std::memory_order_acquire) ^ tag) <= kMarksMask) << i;
  }
  return m;
#endif
}

void LineTable::prefetch(const SessionKey keys[], size_t n) const {
  for (size_t i = 0; i < n; ++i) __builtin_prefetch(&lines_[first_line(keys[i])]);
}

inline Spent LineTable::spend_at(uint32_t slot, uint64_t want, uint32_t bytes, const Spender& spend, CacheHit& out) {
  Line& line = lines_[slot / kWays];
  const unsigned way = slot % kWays;
  auto marks_of = [&](uint32_t& marks) {
    const uint64_t t = line.tag[way].load(std::memory_order_acquire);
    marks = uint32_t(t) & kMarksMask;
    return (t ^ want) <= kMarksMask;
  };
  return spend(line.word[way], bytes, marks_of, out);
}

void LineTable::lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, const Spender& spend,
                       CacheHit out[]) {
  const uint64_t moves = moves_.load(std::memory_order_acquire);
  uint32_t at[kCacheBurstMax];  // first a line, then a slot
  uint64_t want[kCacheBurstMax];
  uint8_t rest[kCacheBurstMax];
  size_t left = 0;
  for (size_t i = 0; i < n; ++i) {
    at[i] = first_line(keys[i]);
    want[i] = tag_of(keys[i]);
    __builtin_prefetch(&lines_[at[i]]);
  }
  for (size_t i = 0; i < n; ++i) {
    const unsigned m = match(lines_[at[i]], want[i]);
    // Without branches: nobody can predict which line it is.
    const uint32_t here = 0 - uint32_t(m != 0);
    const uint32_t line = (at[i] & here) | (other_line(at[i], want[i]) & ~here);
    __builtin_prefetch(&lines_[line]);
    rest[left] = uint8_t(i);
    left += m == 0;
    at[i] = ((line * kWays + unsigned(__builtin_ctz(m | 16))) & here) | (line & ~here);
  }
  for (size_t k = 0; k < left; ++k) {
    const size_t i = rest[k];
    want[i] |= kSecond;
    const unsigned m = match(lines_[at[i]], want[i]);
    at[i] = m ? at[i] * kWays + unsigned(__builtin_ctz(m | 16)) : kNoSlot;
  }
  for (size_t i = 0; i < n; ++i) {
    if (at[i] != kNoSlot) {
      if (spend_at(at[i], want[i], bytes[i], spend, out[i]) == Spent::done) continue;
    } else if (moves_.load(std::memory_order_acquire) == moves) {
      out[i] = {};
      continue;
    }
    look_again(keys[i], bytes[i], spend, out[i]);
  }
}

void LineTable::look_again(const SessionKey& key, uint32_t bytes, const Spender& spend, CacheHit& out) {
  const uint32_t first = first_line(key);
  const uint32_t line[2] = {first, other_line(first, tag_of(key))};
  for (unsigned looks = 0; looks < kPatience;) {
    const uint64_t moves = moves_.load(std::memory_order_acquire);
    bool moving = false;
    for (unsigned l = 0; l < 2; ++l) {
      const uint64_t want = tag_of(key) | (l ? kSecond : 0);
      for (unsigned m = match(lines_[line[l]], want); m != 0; m &= m - 1) {
        switch (spend_at(line[l] * kWays + unsigned(__builtin_ctz(m | 16)), want, bytes, spend, out)) {
          case Spent::done: return;
          case Spent::gone: break;
          case Spent::moving: moving = true; break;
        }
      }
    }
    if (moving) {
      ++looks;
      _mm_pause();
    } else if (moves_.load(std::memory_order_acquire) == moves) {
      out = {};
      return;
    }
  }
  out = {CacheVerdict::spent, {}, false};
}

int64_t LineTable::find(const SessionKey& key) const {
  const uint64_t tag = tag_of(key);
  const uint32_t first = first_line(key), second = other_line(first, tag);
  __builtin_prefetch(&lines_[second]);
  if (unsigned m = match(lines_[first], tag)) return int64_t(first) * kWays + __builtin_ctz(m);
  if (unsigned m = match(lines_[second], tag | kSecond)) return int64_t(second) * kWays + __builtin_ctz(m);
  return -1;
}

int64_t LineTable::insert(const SessionKey& key, SlotMoves& moves) {
  struct Step {
    uint32_t line;
    uint16_t from;  // step that this one is reached from
    uint8_t way;    // of the entry there that would move here
  };
  Step steps[kSearchMax];
  const uint32_t first = first_line(key);
  steps[0] = {first, 0, 0};
  steps[1] = {other_line(first, tag_of(key)), 0, 0};
  __builtin_prefetch(&lines_[steps[1].line]);
  moves.n = 0;
  // Nearest first; a path that is found first never meets a line twice, for it would have ended there before.
  for (unsigned at = 0, end = 2; at < end; ++at) {
    const Line& line = lines_[steps[at].line];
    const auto free = std::find_if(std::begin(line.tag), std::end(line.tag),
                                   [](const auto& t) { return t.load(std::memory_order_relaxed) == kEmpty; });
    if (free != std::end(line.tag)) {
      uint32_t to = steps[at].line * kWays + uint32_t(free - std::begin(line.tag));
      unsigned step = at;
      for (; step >= 2; step = steps[step].from) {
        const uint32_t from = steps[steps[step].from].line * kWays + steps[step].way;
        move(from, to);
        moves.at[moves.n++] = {from, to};
        to = from;
      }
      tag(to).store(tag_of(key) | (step == 1 ? kSecond : 0), std::memory_order_release);
      return to;
    }
    for (unsigned way = 0; way < kWays && end < kSearchMax; ++way) {
      const uint32_t next = other_line(steps[at].line, line.tag[way].load(std::memory_order_relaxed));
      steps[end++] = {next, uint16_t(at), uint8_t(way)};
      __builtin_prefetch(&lines_[next]);
    }
  }
  return -1;
}

// See (b) and (c) above.
void LineTable::move(uint32_t from, uint32_t to) {
  const uint64_t salt = word(from).load(std::memory_order_relaxed) & kSaltMask;
  const uint64_t taken = word(from).exchange(make_word(kMoving, 0, salt, 0), std::memory_order_acq_rel);
  tag(to).store(tag(from).load(std::memory_order_relaxed) ^ kSecond, std::memory_order_release);
  word(to).store((taken & ~kSaltMask) | (word(to).load(std::memory_order_relaxed) & kSaltMask),
                 std::memory_order_release);
  moves_.store(moves_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  word(from).store(dead_word(salt), std::memory_order_release);
  tag(from).store(kEmpty, std::memory_order_release);
}

unsigned LineTable::candidates(const SessionKey& key, uint32_t slots[kCandidatesMax]) const {
  const uint32_t first = first_line(key);
  for (unsigned i = 0; i < kWays; ++i) {
    slots[i] = first * kWays + i;
    slots[kWays + i] = other_line(first, tag_of(key)) * kWays + i;
  }
  return 2 * kWays;
}

void LineTable::erase(uint32_t slot) {
  word(slot).store(dead_word(word(slot).load(std::memory_order_relaxed)), std::memory_order_release);
  tag(slot).store(kEmpty, std::memory_order_release);
}

void LineTable::set_marks(uint32_t slot, uint32_t marks) {
  const uint64_t t = tag(slot).load(std::memory_order_relaxed);
  tag(slot).store((t & ~uint64_t(kMarksMask)) | marks, std::memory_order_release);
}

}  // namespace statecast
