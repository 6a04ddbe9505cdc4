// SPDX-License-Identifier: BSD-3-Clause
// AgentOutputs: what the agent's core wants done, in order. The bytes of a burst lie one behind the other in one arena,
// so that equal-sized datagrams to one proxy can leave in a single send (UDP GSO), and nothing is allocated per packet.
//
//   MutableBytes room = outputs.open(size);  ...write...;  outputs.close(AgentOutput::Kind::to_proxy, room.size(), to);
//   for (const AgentOutput& o : outputs.take()) carry_out(o);
//
// Threads: one. Ownership: owns the bytes.
#pragma once

#include <span>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "dataplane/session/session_id.h"

namespace statecast {

struct AgentOutput {
  enum class Kind : uint8_t {
    to_proxy,          // `bytes` in a UDP datagram to `to`
    to_kernel,         // `bytes`, an IP packet, into the TUN device
    destroy_socket,    // of `session`, in the kernel
    read_sockets,      // and hand the table to on_sockets
    save_revocations,  // they have changed
    save_incarnation,  // it was lost, and is another now
  };
  Kind kind = Kind::to_proxy;
  Bytes bytes;
  Endpoint to;
  SessionTuple session{};
};

class AgentOutputs {
 public:
  static constexpr size_t kArenaMax = 32u << 20;

  // Room for n bytes at the arena's end; empty when the arena is full. Followed by close() with what was used of it,
  // or by nothing, which gives it back.
  MutableBytes open(size_t n) {
    forget_taken();
    if (used_ + n > kArenaMax) return {};
    if (arena_.size() < used_ + n) arena_.resize((used_ + n) * 2);
    return MutableBytes(arena_).subspan(used_, n);
  }
  void close(AgentOutput::Kind kind, size_t n, const Endpoint& to = {}) {
    items_.push_back({kind, {}, to, {}});
    sizes_.push_back(n);
    used_ += n;
  }
  void add(AgentOutput::Kind kind, const SessionTuple& session = {}) {
    forget_taken();
    items_.push_back({kind, {}, {}, session});
    sizes_.push_back(0);
  }
  // All since the last take; good until the next open() or add().
  std::span<const AgentOutput> take() {
    forget_taken();
    size_t at = 0;
    for (size_t i = 0; i < items_.size(); at += sizes_[i++]) items_[i].bytes = Bytes(arena_).subspan(at, sizes_[i]);
    taken_ = true;
    return items_;
  }

 private:
  void forget_taken() {
    if (!taken_) return;
    items_.clear();
    sizes_.clear();
    used_ = 0;
    taken_ = false;
  }
  std::vector<uint8_t> arena_;
  std::vector<AgentOutput> items_;
  std::vector<size_t> sizes_;
  size_t used_ = 0;
  bool taken_ = false;
};

}  // namespace statecast
