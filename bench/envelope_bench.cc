// SPDX-License-Identifier: BSD-3-Clause
// Seal and open, per packet and by the burst, beside what the tag could have been: Poly1305 and AES-256-GCM (as tags
// over the same bytes; they need a nonce and, for Poly1305, a key of its own per packet, which is left out in their
// favour), and the outer headers from a template and field by field, with and without a UDP checksum. items_per_second
// is packets.
#include <benchmark/benchmark.h>
#include <sodium.h>

#include <array>
#include <vector>

#include "dataplane/envelope/frame_burst.h"
#include "dataplane/envelope/hello.h"
#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/envelope/replay.h"
#include "dataplane/envelope/wire.h"

namespace statecast {
namespace {

constexpr size_t kBurst = 32;
const NodeId kProxy = NodeId::proxy(ProxyId{1});

NodeId member(size_t i) {
  return NodeId::member(MemberId{static_cast<uint32_t>(i + 1)});
}

// A proxy and as many members, all with keys.
struct World {
  Endpoint proxy_at = *Endpoint::parse("10.0.0.1:6081"), member_at = *Endpoint::parse("10.0.0.7:6081");
  PeerTable proxy{kProxy, 1, 2};
  std::vector<std::unique_ptr<PeerTable>> members;

  explicit World(size_t n) {
    PairKey pair{};
    Instant now(1s);
    for (size_t i = 0; i < n; ++i) {
      proxy.add(member(i), pair, std::nullopt);
      members.push_back(std::make_unique<PeerTable>(member(i), 1, uint8_t{2}));
      PeerTable& m = *members.back();
      m.add(kProxy, pair, proxy_at);
      m.on_deadline(now);
      for (int trips = 0; trips < 6; ++trips) {
        for (PeerTable::Datagram d; m.next_output(d);) take(proxy, d, member_at, now);
        for (PeerTable::Datagram d; proxy.next_output(d);) take(m, d, proxy_at, now);
      }
    }
  }
  static void take(PeerTable& at, const PeerTable::Datagram& d, const Endpoint& from, Instant now) {
    Envelope e;
    OpenResult r = at.open(Bytes(d.bytes).first(d.length), e);
    if (r == OpenResult::hello) at.on_hello(e, from, now);
    if (r == OpenResult::ok) at.on_path_message(e, from, now);
  }
};

void items(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * int64_t{kBurst});
}

void seal(benchmark::State& state, bool options) {
  auto peers = static_cast<size_t>(state.range(0));
  World w(peers);
  std::vector<uint8_t> packet(kEnvelopeSizeMax + 1300);
  EnvelopeOptions o;
  if (options) o.replica_hint = ProxyId{2};
  size_t at = 0;
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      at = (at + 7) % peers;
      benchmark::DoNotOptimize(w.proxy.seal(member(at), 0, GroupId{10}, PayloadKind::ipv4, o, 5,
                                            Bytes(packet).subspan(kEnvelopeSizeMax),
                                            MutableBytes(packet).first(kEnvelopeSizeMax)));
    }
  items(state);
}
BENCHMARK_CAPTURE(seal, data, false)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK_CAPTURE(seal, hint, true)->Arg(1);

// `add(burst, keys, inner)`, for packets to each of the peers in turn, with `before` bytes of room before the inner
// one.
template <class Burst, class Add>
void bursts(benchmark::State& state, size_t before, const Add& add) {
  auto peers = static_cast<size_t>(state.range(0));
  World w(peers);
  std::vector<SendKeys> keys(peers);
  std::vector<std::vector<uint8_t>> packets(kBurst, std::vector<uint8_t>(before + 1300));
  size_t at = 0;
  for (auto _ : state) {
    Burst burst(w.proxy, 0, 5);
    for (auto& packet : packets) {
      at = (at + 7) % peers;
      if (!keys[at].fresh()) w.proxy.renew(keys[at], member(at), 0);
      add(burst, keys[at], packet.data() + before);
    }
    burst.finish();
    benchmark::ClobberMemory();
  }
  items(state);
}

void seal_burst(benchmark::State& state) {
  bursts<SealBurst>(state, kEnvelopeSizeMin, [](SealBurst& seals, SendKeys& keys, uint8_t* inner) {
    seals.add(keys, keys.take(), GroupId{10}, PayloadKind::ipv4, nullptr, 0, 1300, inner);
  });
}
BENCHMARK(seal_burst)->Arg(1)->Arg(100)->Arg(1000);

// Whole frames: what seal_burst does, and the outer headers.
void frame_burst(benchmark::State& state) {
  const OuterTemplateV4 outer(MacAddress{}, {IpAddress::v4(std::array<uint8_t, 4>{192, 0, 2, 1}), Port{6081}});
  const auto to = outer.receiver(MacAddress{}, {IpAddress::v4(std::array<uint8_t, 4>{192, 0, 2, 7}), Port{6081}});
  bursts<FrameBurst>(state, FrameBurst::kBefore, [&](FrameBurst& frames, SendKeys& keys, uint8_t* inner) {
    frames.add(keys, keys.take(), GroupId{10}, PayloadKind::ipv4, 1300, inner, outer, to);
  });
}
BENCHMARK(frame_burst)->Arg(1)->Arg(100)->Arg(1000);

void open(benchmark::State& state, bool genuine, bool together) {
  auto peers = static_cast<size_t>(state.range(0));
  World w(peers);
  std::vector<std::vector<uint8_t>> burst(kBurst);
  std::vector<Envelope> opened(kBurst);
  std::vector<Envelope*> to;
  for (Envelope& e : opened) to.push_back(&e);
  std::vector<Bytes> datagrams(kBurst);
  OpenResult results[kBurst];
  size_t at = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (auto& d : burst) {
      at = (at + 7) % peers;
      d.resize(kEnvelopeSizeMin + 1300);
      w.members[at]->seal(kProxy, 0, GroupId{10}, PayloadKind::ipv4, {}, 5, Bytes(d).subspan(kEnvelopeSizeMin),
                          MutableBytes(d).first(kEnvelopeSizeMin));
      if (!genuine) d[kEnvelopeSizeMin] ^= 1;
    }
    for (size_t i = 0; i < kBurst; ++i) datagrams[i] = burst[i];
    state.ResumeTiming();
    if (together) {
      w.proxy.open_burst(datagrams, to.data(), results, Instant(2s));
    } else {
      for (size_t i = 0; i < kBurst; ++i) results[i] = w.proxy.open(datagrams[i], opened[i]);
    }
    for (OpenResult r : results) {
      if ((r == OpenResult::ok) != genuine) state.SkipWithError(to_string(r));
    }
  }
  items(state);
}
BENCHMARK_CAPTURE(open, genuine, true, false)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK_CAPTURE(open, forged, false, false)->Arg(1);
BENCHMARK_CAPTURE(open, burst, true, true)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK_CAPTURE(open, forged_burst, false, true)->Arg(1);

// The bytes under the tag of a data packet: 52 + 4 + 64.
constexpr size_t kTagged = kEnvelopeSizeMin + 4 + kTaggedInnerBytes;

void tag_siphash(benchmark::State& state) {
  SipTag key{};
  std::vector<uint8_t> packet(kEnvelopeSizeMin + 1300);
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i)
      benchmark::DoNotOptimize(envelope_tag(key, Bytes(packet).first(kEnvelopeSizeMin),
                                            Bytes(packet).subspan(kEnvelopeSizeMin), PayloadKind::ipv4));
  items(state);
}
BENCHMARK(tag_siphash);

void tag_siphash_burst(benchmark::State& state, SipLanes lanes) {
  if (lanes > best_sip_lanes()) return state.SkipWithError("this machine lacks the lanes");
  std::array<SipTag, kBurst> keys{}, out;
  std::vector<std::array<uint8_t, kTagged>> bytes(kBurst);
  std::array<SipJob, kBurst> jobs;
  for (size_t i = 0; i < kBurst; ++i) jobs[i] = {keys[i].data(), bytes[i].data(), kTagged, out[i].data()};
  for (auto _ : state) {
    siphash128_many(jobs, lanes);
    benchmark::DoNotOptimize(out);
  }
  items(state);
}
BENCHMARK_CAPTURE(tag_siphash_burst, four_lanes, SipLanes::four);
BENCHMARK_CAPTURE(tag_siphash_burst, eight_lanes, SipLanes::eight);

void tag_siphash_libsodium(benchmark::State& state) {
  uint8_t key[16] = {}, bytes[kTagged] = {}, out[16];
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      crypto_shorthash_siphashx24(out, bytes, sizeof bytes, key);
      benchmark::DoNotOptimize(out);
    }
  items(state);
}
BENCHMARK(tag_siphash_libsodium);

void tag_poly1305(benchmark::State& state) {
  uint8_t key[32] = {}, bytes[kTagged] = {}, out[16];
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      crypto_onetimeauth(out, bytes, sizeof bytes, key);
      benchmark::DoNotOptimize(out);
    }
  items(state);
}
BENCHMARK(tag_poly1305);

void tag_aes256gcm(benchmark::State& state) {
  if (!crypto_aead_aes256gcm_is_available()) {
    state.SkipWithError("no AES instructions");
    return;
  }
  uint8_t key[32] = {}, nonce[12] = {}, bytes[kTagged] = {}, out[16], nothing[1];
  crypto_aead_aes256gcm_state context;
  crypto_aead_aes256gcm_beforenm(&context, key);
  unsigned long long n = 0;
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      crypto_aead_aes256gcm_encrypt_detached_afternm(nothing, out, &n, nothing, 0, bytes, sizeof bytes, nullptr, nonce,
                                                     &context);
      benchmark::DoNotOptimize(out);
    }
  items(state);
}
BENCHMARK(tag_aes256gcm);

void window(benchmark::State& state) {
  ReplayWindow<4096> w;
  uint64_t n = 0;
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) benchmark::DoNotOptimize(w.accept(1, ++n));
  items(state);
}
BENCHMARK(window);

void outer(benchmark::State& state, const char* from, const char* to) {
  OuterAddresses addresses{{}, {}, *Endpoint::parse(from), *Endpoint::parse(to)};
  std::vector<uint8_t> envelope(kEnvelopeSizeMin + 1300), headroom(kOuterSizeV6);
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      benchmark::DoNotOptimize(write_outer(addresses, envelope, headroom));
      benchmark::ClobberMemory();
    }
  items(state);
}
BENCHMARK_CAPTURE(outer, ipv4, "10.0.0.1:6081", "10.0.0.2:6081");
BENCHMARK_CAPTURE(outer, ipv6, "[2001:db8::1]:6081", "[2001:db8::2]:6081");

void outer_template(benchmark::State& state) {
  OuterTemplateV4 outer({}, *Endpoint::parse("10.0.0.1:6081"));
  const auto to = outer.receiver({}, *Endpoint::parse("10.0.0.2:6081"));
  std::vector<uint8_t> headroom(kOuterSizeV4);
  for (auto _ : state)
    for (size_t i = 0; i < kBurst; ++i) {
      outer.write(to, outer.lengths(to, kEnvelopeSizeMin + 1300), headroom.data());
      benchmark::ClobberMemory();
    }
  items(state);
}
BENCHMARK(outer_template);

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  if (sodium_init() < 0) return 1;
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
