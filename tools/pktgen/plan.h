// SPDX-License-Identifier: BSD-3-Clause
// Plan: a profile worked out: which port each stream leaves by, its addresses, the order of its sizes and its rate in
// packets. And what all workers share of the sessions being set up.
//
//   auto plan = make_plan(config);
//   plan->streams[0].lengths                 // of buffers, in the order in which they are used, again and again
//
// Threads: constant after make_plan; SessionStates by atomics. Ownership: values.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/pktgen_config.h"
#include "tools/pktgen/frames.h"
#include "tools/pktgen/pacer.h"
#include "tools/pktgen/popularity.h"

namespace statecast {

struct StreamPlan {
  std::string name;
  PktgenStreamConfig::Kind kind = PktgenStreamConfig::Kind::good;
  PktgenStreamConfig::Setup setup = PktgenStreamConfig::Setup::none;
  uint8_t index = 0;
  size_t port = 0;
  Protocol protocol = Protocol::udp;
  uint32_t sessions = 1;
  IpAddress client;  // the first
  uint64_t client_addresses = 1;
  std::vector<Endpoint> destinations;
  Popularity popularity = Popularity::uniform(1);
  bool sequential = false;
  std::vector<uint16_t> lengths;  // without FCS
  double size_mean = 64;          // with FCS
  PacerOptions pacing;            // of all workers together

  bool is_good() const { return kind == PktgenStreamConfig::Kind::good; }
  const Endpoint& destination_of(uint32_t session) const { return destinations[session % destinations.size()]; }
};

struct Plan {
  std::vector<StreamPlan> streams;
  int member_port = -1;
};
Result<Plan> make_plan(const PktgenConfig& config);

// Where a session stands, one word each. `home`: the member that has it, + 1; 0: not known yet. Whoever learns it first
// writes it, or the SYN/ACK that reached the client, which is the last word.
class SessionStates {
 public:
  explicit SessionStates(const Plan& plan);

  struct Cell {
    std::atomic<uint16_t> home{0};
    std::atomic<uint8_t> ready{0};        // may carry data
    std::atomic<uint8_t> established{0};  // its member has seen data
  };
  Cell& at(size_t stream, uint32_t session) { return streams_[stream].cells[session]; }
  bool has(size_t stream, uint32_t session) const {
    return stream < streams_.size() && session < streams_[stream].size;
  }
  void set_ready(size_t stream, uint32_t session) {
    if (at(stream, session).ready.exchange(1, std::memory_order_relaxed) == 0)
      streams_[stream].ready.fetch_add(1, std::memory_order_relaxed);
  }
  uint32_t ready(size_t stream) const { return streams_[stream].ready.load(std::memory_order_relaxed); }

 private:
  struct PerStream {
    std::unique_ptr<Cell[]> cells;
    uint32_t size = 0;
    std::atomic<uint32_t> ready{0};
  };
  std::vector<PerStream> streams_;
};

// Which session of a stream is to be set up next: all of them in turn, the missing ones again a second later.
class SetupTurn {
 public:
  explicit SetupTurn(uint32_t sessions) : sessions_(sessions) {}
  // False: nothing to do now.
  template <class IsReady>
  bool next(Instant now, IsReady is_ready, uint32_t& out) {
    if (at_ == sessions_ && now >= pass_started_ + 1s) at_ = 0;
    if (at_ == 0) pass_started_ = now;
    while (at_ < sessions_) {
      out = at_++;
      if (!is_ready(out)) return true;
    }
    return false;
  }

 private:
  uint32_t sessions_, at_ = 0;
  Instant pass_started_{};
};

}  // namespace statecast
