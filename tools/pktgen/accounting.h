// SPDX-License-Identifier: BSD-3-Clause
// Accounting: what became of the packets of each stream. Every packet that comes in ends in one place: received (once),
// duplicate, wrong member, or one of the counters of the port and of the tunnel for what is none of ours.
//
//   Accounts a(streams, workers);
//   a.sent(stream, 32, 2048);                                  // as they leave
//   a.arrived(mark, bytes, now_cycles, kExpectedMember);      // as they come
//   StreamTotals t = totals({&a0, &a1}, stream, Direction::forward);   // t.lost = sent - received
//
// Loss is a count, not a gap: what was sent less what came, once everything had time to arrive. Order is looked at per
// stream and sending worker, by the sequence number: a packet behind a younger one is `reordered`, one that is seen
// twice `duplicate`. The window remembers the last 16,384 numbers; what is older than that is `late` (it counts as
// received and as reordered; whether it came before cannot be told). Threads: each worker has an Accounts of its own;
// totals() may read while it counts. Ownership: owns its counters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tools/pktgen/histogram.h"
#include "tools/pktgen/mark.h"

namespace statecast {

// A counter that its one writer bumps without a locked instruction, and anybody may read.
class Tally {
 public:
  void add(uint64_t n) { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void reset() { v_.store(0, std::memory_order_relaxed); }
  uint64_t value() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};

enum class Arrival : uint8_t { in_order, reordered, late, duplicate };

// The sequence numbers of one sender, as one receiver sees them. They wrap at 2^32.
class SequenceWindow {
 public:
  static constexpr uint32_t kSize = 16'384;

  Arrival take(uint32_t sequence) {
    if (!started_) {
      started_ = true;
      highest_ = sequence;
      set(sequence);
      return Arrival::in_order;
    }
    auto ahead = static_cast<int32_t>(sequence - highest_);
    if (ahead > 0) {
      if (static_cast<uint32_t>(ahead) >= kSize) {
        bits_.fill(0);
      } else {
        for (uint32_t s = highest_ + 1; s != sequence; ++s) clear(s);
      }
      highest_ = sequence;
      set(sequence);
      return Arrival::in_order;
    }
    if (static_cast<uint32_t>(-ahead) >= kSize) return Arrival::late;
    uint64_t& word = bits_[(sequence % kSize) / 64];
    uint64_t bit = uint64_t(1) << (sequence % 64);
    if (word & bit) return Arrival::duplicate;
    word |= bit;
    return Arrival::reordered;
  }
  void reset() {
    started_ = false;
    bits_.fill(0);
  }

 private:
  void set(uint32_t s) { bits_[(s % kSize) / 64] |= uint64_t(1) << (s % 64); }
  void clear(uint32_t s) { bits_[(s % kSize) / 64] &= ~(uint64_t(1) << (s % 64)); }
  std::array<uint64_t, kSize / 64> bits_{};
  uint32_t highest_ = 0;
  bool started_ = false;
};

enum class Flow : uint8_t { forward, answer };

struct StreamCounters {
  Tally sent, sent_bytes;  // bytes with FCS
  Tally received, received_bytes;
  Tally reordered, late, duplicate, wrong_member;
  Histogram latency;  // ns
};

// What is none of a stream's, by worker.
#define STATECAST_PKTGEN_WORKER_COUNTERS(X)                                             \
  X(foreign, "frames without a mark of this measurement")                               \
  X(neighbour, "ARP and neighbour discovery")                                           \
  X(send_refused, "bursts that the port did not take at once; sent later")              \
  X(syn_sent, "SYNs of sessions being set up")                                          \
  X(syn_ack_received, "their SYN/ACKs")                                                 \
  X(flood_syn_ack, "SYN/ACKs of nobody's SYN")                                          \
  X(envelopes, "datagrams at the envelope port of a member")                            \
  X(bad_tag, "envelopes whose tag did not verify")                                      \
  X(replayed, "envelopes outside the window, or seen")                                  \
  X(bad_envelope, "datagrams that are no envelopes, of strangers, or without a packet") \
  X(unverified, "envelopes whose tag was not looked at (verify_every)")                 \
  X(member_syn, "SYNs that reached a member")                                           \
  X(answers, "answers sent by members")                                                 \
  X(answers_failed, "answers that could not be sealed")                                 \
  X(inserts_failed, "inserts that the directory refused, or that conflicted")

struct WorkerCounters {
#define X(name, text) Tally name;
  STATECAST_PKTGEN_WORKER_COUNTERS(X)
#undef X
  void reset();
};

class Accounts {
 public:
  // `cycles_per_ns` of the clock that marks carry.
  Accounts(size_t streams, size_t workers, double cycles_per_ns);

  void sent(size_t stream, Flow flow, uint64_t packets, uint64_t bytes) {
    StreamCounters& c = at(stream, flow);
    c.sent.add(packets);
    c.sent_bytes.add(bytes);
  }
  // REQUIRES: is_known(mark). `expected`: the packet is where its session belongs.
  void arrived(const Mark& s, uint32_t bytes, uint64_t now_cycles, bool expected) {
    Flow flow = s.answer ? Flow::answer : Flow::forward;
    StreamCounters& c = at(s.stream, flow);
    switch (windows_[(size_t(s.stream) * workers_ + s.worker) * 2 + size_t(flow)].take(s.sequence)) {
      case Arrival::duplicate: c.duplicate.add(1); return;
      case Arrival::late: c.late.add(1); [[fallthrough]];
      case Arrival::reordered: c.reordered.add(1); break;
      case Arrival::in_order: break;
    }
    if (!expected) c.wrong_member.add(1);
    c.received.add(1);
    c.received_bytes.add(bytes);
    uint64_t cycles = (now_cycles - s.cycles) & kMarkTimeMask;
    c.latency.record(static_cast<uint64_t>(static_cast<double>(cycles) * ns_per_cycle_));
  }
  bool is_known(const Mark& s) const { return s.stream < streams_ && s.worker < workers_; }

  const StreamCounters& counters(size_t stream, Flow flow) const { return counters_[stream * 2 + size_t(flow)]; }
  WorkerCounters& worker() { return worker_; }
  const WorkerCounters& worker() const { return worker_; }
  void reset();  // by the worker that counts

 private:
  StreamCounters& at(size_t stream, Flow flow) { return counters_[stream * 2 + size_t(flow)]; }
  size_t streams_, workers_;
  double ns_per_cycle_;
  std::unique_ptr<StreamCounters[]> counters_;
  std::vector<SequenceWindow> windows_;
  WorkerCounters worker_;
};

// Of all workers together.
struct StreamTotals {
  uint64_t sent = 0, sent_bytes = 0, received = 0, received_bytes = 0;
  uint64_t reordered = 0, late = 0, duplicate = 0, wrong_member = 0;
  uint64_t lost() const { return sent > received ? sent - received : 0; }
};
StreamTotals totals(std::span<const Accounts* const> accounts, size_t stream, Flow flow);

}  // namespace statecast
