// SPDX-License-Identifier: BSD-3-Clause
// The whole packet path without ports: bursts of 32 small TCP segments, all cache hits, random sessions, sealed to
// their member. The rival swaps Ethernet addresses on the same packets (l2fwd), so the difference is what Statecast
// costs.
//
//   pipeline_bench                        10 thousand and 1 million sessions
//   pipeline_bench --sessions=1000        smoke
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "dataplane/packet/checksum.h"
#include "tests/support/eal.h"
#include "tests/worker/world.h"

namespace statecast::test {
namespace {

constexpr size_t kFrame = 64;
constexpr uint64_t kSeed = 1;

class Traffic {
 public:
  explicit Traffic(uint32_t sessions) : world_(sessions + sessions / 8) {
    Rng rng(kSeed);
    const Group& web = world_.layout()->groups[0];
    Packet base = eth().ip4("10.0.0.1", "203.0.113.10").tcp(1, 443).payload(size_t{6}).build();
    size_t frames = std::min<size_t>(sessions, 262'144);
    for (uint32_t i = 0; i < sessions; ++i) {
      uint8_t raw[4] = {100, static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
      IpAddress client = IpAddress::v4(raw);
      SessionId id = SessionId::tuple(web.id, Protocol::tcp, {client, Port{40000}},
                                      {*IpAddress::parse("203.0.113.10"), Port{443}});
      CacheEntry entry{.member = i % 2 ? kM1 : kM2, .group = web.id, .version = {1, 1, 1}, .ends = world_.now + 1000s};
      if (!world_.cache().put(session_key(id, web.secret), entry, world_.now)) std::abort();
      // Every (sessions / frames)th session is sent.
      if (i % (sessions / frames) != 0 || frames_.size() >= frames) continue;
      std::array<uint8_t, kFrame> f{};
      std::memcpy(f.data(), base.data(), base.size());
      std::memcpy(f.data() + 26, raw, 4);
      f[34] = 40000 >> 8;
      f[35] = 40000 & 0xff;
      f[24] = f[25] = 0;
      uint16_t sum = internet_checksum(Bytes(f).subspan(14, 20));
      f[24] = static_cast<uint8_t>(sum >> 8);
      f[25] = static_cast<uint8_t>(sum);
      frames_.push_back(f);
    }
    for (size_t i = frames_.size(); i > 1; --i) std::swap(frames_[i - 1], frames_[rng.below(i)]);
    for (rte_mbuf*& m : packets_) m = rte_pktmbuf_alloc(world_.pool());
  }
  ~Traffic() {
    for (rte_mbuf* m : packets_) rte_pktmbuf_free(m);
  }

  void receive(Burst& b) {
    for (rte_mbuf* m : packets_) {
      rte_pktmbuf_reset(m);
      m->data_len = kFrame;
      m->pkt_len = kFrame;
      std::memcpy(rte_pktmbuf_mtod(m, void*), frames_[next_].data(), kFrame);
      if (++next_ == frames_.size()) next_ = 0;
      b.add(m, kWan);
    }
  }
  World& world() { return world_; }

 private:
  World world_;
  std::vector<std::array<uint8_t, kFrame>> frames_;
  rte_mbuf* packets_[kBurstMax];
  size_t next_ = 0;
};

void report(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * kBurstMax);
  state.counters["per_packet"] =
      benchmark::Counter(kBurstMax, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void forward(benchmark::State& state, uint32_t sessions) {
  Traffic traffic(sessions);
  World& w = traffic.world();
  for (auto _ : state) {
    Burst b;
    traffic.receive(b);
    run_pipeline(b, w.snapshot(), w.state(), w.now);
    w.cache().quiescent(0);
    for (unsigned i = 0; i < b.count; ++i) {
      if (b.reason[i] != Counter::resolve_forward_cache_hit) {
        state.SkipWithError(counter_name(b.reason[i]));
        break;
      }
    }
  }
  report(state);
}

void mac_swap(benchmark::State& state, uint32_t sessions) {
  Traffic traffic(sessions);
  for (auto _ : state) {
    Burst b;
    traffic.receive(b);
    for (unsigned i = 0; i < b.count; ++i) std::swap_ranges(b.data(i), b.data(i) + 6, b.data(i) + 6);
    benchmark::DoNotOptimize(b.packet[0]);
    benchmark::ClobberMemory();
  }
  report(state);
}

}  // namespace
}  // namespace statecast::test

int main(int argc, char** argv) {
  using namespace statecast::test;
  std::vector<uint32_t> sizes = {10'000, 1'000'000};
  const std::string option = "--sessions=";
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).rfind(option, 0) != 0) continue;
    sizes = {static_cast<uint32_t>(std::stoul(argv[i] + option.size()))};
    for (int k = i; k + 1 < argc; ++k) argv[k] = argv[k + 1];
    --argc;
    break;
  }
  benchmark::Initialize(&argc, argv);
  if (!statecast::start_eal(sizes.back() > 100'000 ? 768 : 128)) return 1;
  for (uint32_t n : sizes) {
    std::string size = "/" + std::to_string(n);
    benchmark::RegisterBenchmark(("forward" + size).c_str(), [n](benchmark::State& s) { forward(s, n); });
    benchmark::RegisterBenchmark(("mac_swap" + size).c_str(), [n](benchmark::State& s) { mac_swap(s, n); });
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
