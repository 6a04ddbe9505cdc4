// SPDX-License-Identifier: BSD-3-Clause
// Peer: one peer's keys, sequence counters, replay windows, address and hello. Private to dataplane/envelope; the
// public face is PeerTable (peers.h).
//
// Threads: what is atomic is written by the control thread (keys, endpoint) or by whoever opened an envelope (windows,
// last heard), and read by any. The rest belongs to the control thread. Each sequence counter belongs to one stream's
// thread.
// Ownership: a Peer owns its windows and counters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/address.h"
#include "base/siphash.h"
#include "base/units.h"
#include "dataplane/envelope/hello.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/envelope/replay.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

// A value of two 64-bit words that any thread may read while one writes. Torn reads are seen by the reader and tried
// again.
class PublishedEndpoint {
 public:
  void store(const Endpoint& e) {
    uint64_t words[2];
    std::memcpy(words, e.address.raw.data(), sizeof words);
    uint64_t version = version_and_port_.load(std::memory_order_relaxed) >> 32;
    uint64_t rest = uint64_t(e.address.family) << 16 | e.port.value;
    version_and_port_.store((version + 1) << 32, std::memory_order_relaxed);
    address_[0].store(words[0], std::memory_order_release);
    address_[1].store(words[1], std::memory_order_release);
    version_and_port_.store((version + 2) << 32 | rest, std::memory_order_release);
  }
  std::optional<Endpoint> load() const {
    for (;;) {
      uint64_t before = version_and_port_.load(std::memory_order_acquire);
      uint64_t words[2] = {address_[0].load(std::memory_order_acquire), address_[1].load(std::memory_order_acquire)};
      if (version_and_port_.load(std::memory_order_relaxed) != before || (before >> 32) % 2 == 1) continue;
      auto family = IpAddress::Family(before >> 16 & 0xff);
      if (family == IpAddress::Family::none) return std::nullopt;
      Endpoint e;
      std::memcpy(e.address.raw.data(), words, sizeof words);
      e.address.family = family;
      e.port = Port{static_cast<uint16_t>(before)};
      return e;
    }
  }

 private:
  std::array<std::atomic<uint64_t>, 2> address_{};
  std::atomic<uint64_t> version_and_port_{0};
};

// One pair of session keys. A reader that meets it half written has a key that verifies nothing.
class KeySlot {
 public:
  struct Meta {
    uint8_t receive_epoch = 0;  // 0: empty
    uint8_t send_epoch = 0;
    uint8_t generation = 0;  // of the peer's boot, for the replay windows
    uint32_t boot = 0;       // the peer's
  };
  void publish(const Meta& m, const TagKey& receive, const TagKey& send) {
    clear();
    store(receive_, receive);
    store(send_, send);
    meta_.store(uint64_t(m.receive_epoch) << 56 | uint64_t(m.send_epoch) << 48 | uint64_t(m.generation) << 40 | m.boot,
                std::memory_order_release);
  }
  void clear() { meta_.store(0, std::memory_order_relaxed); }
  Meta meta() const {
    uint64_t m = meta_.load(std::memory_order_acquire);
    return {static_cast<uint8_t>(m >> 56), static_cast<uint8_t>(m >> 48), static_cast<uint8_t>(m >> 40),
            static_cast<uint32_t>(m)};
  }
  SipTag receive_key() const { return load(receive_); }
  SipTag send_key() const { return load(send_); }

 private:
  using Words = std::array<std::atomic<uint64_t>, 2>;
  static void store(Words& w, const TagKey& key) {
    for (size_t i = 0; i < 2; ++i) {
      uint64_t v;
      std::memcpy(&v, key.raw.data() + 8 * i, 8);
      w[i].store(v, std::memory_order_release);
    }
  }
  static SipTag load(const Words& w) {
    uint64_t v[2] = {w[0].load(std::memory_order_relaxed), w[1].load(std::memory_order_relaxed)};
    SipTag out;
    std::memcpy(out.data(), v, sizeof v);
    return out;
  }
  std::atomic<uint64_t> meta_{0};
  Words receive_{}, send_{};
};
inline constexpr size_t kKeySlots = 4;
inline constexpr uint8_t kNoSlot = 0xff;

// The initiator's side of a hello under way.
struct HelloExchange {
  Salt salt{};
  Endpoint to;
  Instant started, retry_at;
  unsigned sent = 0;
  bool answered = false;
  HelloMessage confirm;  // once answered
};

// A new address of a member, until its challenge comes back.
struct Challenge {
  Endpoint address;
  uint64_t nonce = 0;
  Instant sent{};
};

class Peer {
 public:
  using ProxyWindow = ReplayWindow<4096>;
  using MemberWindow = ReplayWindow<1024>;

  // `own_streams`: of this node.
  Peer(NodeId peer, NodeId self, const PairKey& pair, unsigned own_streams, uint16_t change_cell);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const NodeId id;

  // --- any thread ---
  // Whose keys to send with; kNoSlot: none yet. After a change the table's cell is raised, so that copies of the keys
  // can tell that they are old.
  std::atomic<uint8_t> sending{kNoSlot};
  const uint16_t change_cell;
  // The first of n numbers that were not given out before, from 1. The stream's own thread.
  uint64_t take_sequence(unsigned stream, unsigned n = 1) {
    const uint64_t first = sequences_[stream] + 1;
    sequences_[stream] += n;
    return first;
  }
  unsigned streams() const { return id.is_member() ? kMemberStreams : kProxyStreams; }
  bool window_accepts(unsigned stream, uint8_t generation, uint64_t sequence);
  void window_accepts(unsigned stream, uint8_t generation, const uint64_t sequence[], size_t n, bool is_new[]);
  // The same hello (by its tag) may pass four times: enough for a network that duplicates, too few for a flood of
  // recordings to matter to the control thread.
  bool hello_may_pass(Bytes tag);

  std::array<KeySlot, kKeySlots> slots;
  std::atomic<uint8_t> seen_next{0};  // of seen_hellos_
  // Control thread:
  bool configured_address = false;
  uint8_t current = 0, previous = 0;                      // receive epochs in use; 0: none
  uint8_t initiated = 1;                                  // receive epoch of our own next or running hello
  uint8_t responded = 2;                                  // receive epoch that we offer to a hello of the peer
  std::array<uint8_t, kKeySlots> last_epoch{0, 1, 2, 3};  // highest given out, per slot
  uint8_t failed_exchanges = 0;
  uint8_t generation = 0, path_generation = 0;
  uint32_t generation_boot = 0;
  // Any thread:
  SipTag hello_receive_key;
  PublishedEndpoint endpoint;
  std::atomic<int64_t> last_heard{0};     // ns of the monotonic clock; 0: never
  std::atomic<uint64_t> newest_stamp{0};  // generation (8), timestamp (48); 0: none
  std::atomic<int64_t> rtt{-1};           // ns, smoothed

  // --- control thread ---
  PairKey pair_key;
  int64_t last_issued = -1;  // timestamp of the youngest answer that was confirmed
  Instant adopted{}, next_keep_alive{}, next_hello{}, deadline{Instant::max()};
  std::unique_ptr<HelloExchange> exchange;
  std::unique_ptr<Challenge> challenge;
  uint64_t path_sequence = 0;  // highest of the peer's keep-alives, of `path_generation`
  uint64_t keep_alive_us = 0;  // the peer's last keep-alive: its timestamp, and when it came
  Instant keep_alive_at{};

 private:
  std::unique_ptr<uint64_t[]> sequences_;  // by own stream: the last number given out
  std::unique_ptr<std::atomic<void*>[]> windows_;
  std::array<std::atomic<uint64_t>, 4> seen_hellos_{};
};

// What a proxy keeps of a member: at most 2 KiB with all streams of both in use.
static_assert(sizeof(Peer) + kProxyStreams * sizeof(uint64_t) + kMemberStreams * sizeof(void*) +
                  kMemberStreams * sizeof(Peer::MemberWindow) <=
              2048);

}  // namespace statecast
