// SPDX-License-Identifier: BSD-3-Clause
// Parse and classify, per packet, from a hot cache: the kinds of packets that make up traffic, and the whole table of
// packets, valid and broken; by the burst, as the pipeline does, one by one, and without the short way for plain
// packets. The rival is DPDK's software classifier of packet types, which finds offsets and checks no more than that
// there are bytes. items_per_second is packets.
#include <benchmark/benchmark.h>
#include <rte_mbuf.h>
#include <rte_net.h>

#include <algorithm>
#include <vector>

#include "dataplane/packet/parse_burst.h"
#include "dataplane/session/rules.h"
#include "tests/packet/parse_rows.h"

namespace statecast {
namespace {

using test::Packet;

std::vector<Packet> copies(const Packet& p) {
  return std::vector<Packet>(32, p);
}

Packet tcp4() {
  return test::eth().ip4("198.51.100.7", "203.0.113.10").tcp(40000, 443).payload(1400).build();
}
Packet tcp6() {
  return test::eth().ip6("2001:db8:7::7", "2001:db8::10").tcp(40000, 443).payload(1400).build();
}

std::vector<Packet> table() {
  std::vector<Packet> all;
  for (auto& row : test::parse_rows()) all.push_back(std::move(row.packet));
  return all;
}

void parse(benchmark::State& state, const std::vector<Packet>& packets, ParseChecks checks) {
  ParsedPacket p;
  for (auto _ : state)
    for (const Packet& packet : packets) {
      benchmark::DoNotOptimize(parse_frame(packet, p, checks));
      benchmark::DoNotOptimize(p);
    }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(packets.size()));
}

// What parse_packets does: the plain ones together, the others one by one.
void burst(benchmark::State& state, const std::vector<Packet>& packets,
           uint32_t (*parse_plain)(const uint8_t* const[], const uint16_t[], unsigned, ParsedPacket[])) {
  std::vector<const uint8_t*> frames;
  std::vector<uint16_t> lengths;
  for (const Packet& packet : packets) {
    frames.push_back(packet.data());
    lengths.push_back(static_cast<uint16_t>(packet.size()));
  }
  ParsedPacket parsed[kParseBurstMax];
  for (auto _ : state)
    for (size_t at = 0; at < packets.size(); at += kParseBurstMax) {
      const auto n = static_cast<unsigned>(std::min<size_t>(kParseBurstMax, packets.size() - at));
      const uint32_t plain = parse_plain(&frames[at], &lengths[at], n, parsed);
      for (unsigned i = 0; i < n; ++i) {
        if ((plain >> i & 1) == 0) benchmark::DoNotOptimize(parse_frame_carefully(packets[at + i], parsed[i]));
      }
      benchmark::DoNotOptimize(parsed);
    }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(packets.size()));
}

void carefully(benchmark::State& state, const std::vector<Packet>& packets) {
  ParsedPacket p;
  for (auto _ : state)
    for (const Packet& packet : packets) {
      benchmark::DoNotOptimize(parse_frame_carefully(packet, p));
      benchmark::DoNotOptimize(p);
    }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(packets.size()));
}

void rte_net(benchmark::State& state, std::vector<Packet> packets) {
  std::vector<rte_mbuf> buffers(packets.size());
  for (size_t i = 0; i < packets.size(); ++i) {
    buffers[i].buf_addr = packets[i].data();
    buffers[i].pkt_len = buffers[i].data_len = static_cast<uint16_t>(packets[i].size());
  }
  rte_net_hdr_lens lengths;
  for (auto _ : state)
    for (const rte_mbuf& m : buffers) {
      benchmark::DoNotOptimize(
          rte_net_get_ptype(&m, &lengths, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK));
      benchmark::DoNotOptimize(lengths);
    }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(packets.size()));
}

void parse_and_classify(benchmark::State& state, const std::vector<Packet>& packets) {
  SessionRules rules({{Protocol::tcp, {{80, 80}, {443, 443}}, PacketClass::stateful}});
  ParsedPacket p;
  for (auto _ : state)
    for (const Packet& packet : packets) {
      if (parse_frame(packet, p) != ParseResult::ok) continue;
      benchmark::DoNotOptimize(rules.classify(packet, p, GroupId{10}, Direction::from_client));
    }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(packets.size()));
}

BENCHMARK_CAPTURE(parse, tcp4, copies(tcp4()), {});
BENCHMARK_CAPTURE(parse, tcp6, copies(tcp6()), {});
BENCHMARK_CAPTURE(parse, table, table(), {});
BENCHMARK_CAPTURE(burst, tcp4, copies(tcp4()), parse_plain_burst);
BENCHMARK_CAPTURE(burst, tcp6, copies(tcp6()), parse_plain_burst);
BENCHMARK_CAPTURE(burst, table, table(), parse_plain_burst);
BENCHMARK_CAPTURE(burst, tcp4_no_vectors, copies(tcp4()), parse_plain_burst_scalar);
BENCHMARK_CAPTURE(carefully, tcp4, copies(tcp4()));
BENCHMARK_CAPTURE(carefully, tcp6, copies(tcp6()));
BENCHMARK_CAPTURE(carefully, table, table());
BENCHMARK_CAPTURE(rte_net, tcp4, copies(tcp4()));
BENCHMARK_CAPTURE(rte_net, tcp6, copies(tcp6()));
BENCHMARK_CAPTURE(rte_net, table, table());
BENCHMARK_CAPTURE(parse, tcp4_with_checksum, copies(tcp4()), {.l4_checksum = true});
BENCHMARK_CAPTURE(parse_and_classify, tcp4, copies(tcp4()));
BENCHMARK_CAPTURE(parse_and_classify, tcp6, copies(tcp6()));

}  // namespace
}  // namespace statecast

BENCHMARK_MAIN();
