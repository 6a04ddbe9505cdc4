// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/plan.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/ctl/pcap_io.h"

namespace statecast {

namespace {

using Stream = PktgenStreamConfig;
constexpr size_t kLengthsMax = 1024;
constexpr size_t kEthernetOverhead = 14 + kFcsSize;

struct Weighted {
  uint16_t bytes;  // with FCS
  uint64_t weight;
};

Result<std::vector<Weighted>> sizes_of_capture(const std::string& path, uint16_t most) {
  auto in = CaptureReader::open(path);
  if (!in) return fail(in.error());
  std::map<uint16_t, uint64_t> counts;
  for (CapturedPacket p; (*in)->next(p);) {
    size_t size = p.length + ((*in)->link() == LinkType::raw_ip ? kEthernetOverhead : kFcsSize);
    ++counts[static_cast<uint16_t>(std::clamp<size_t>(size, 64, most))];
  }
  if (counts.empty()) return fail(Code::invalid, path + ": has no packet");
  std::vector<Weighted> out;
  for (auto [bytes, n] : counts) out.push_back({bytes, n});
  return out;
}

// A list in which each size stands as often as its weight says (exactly where the weights' sum is small, else by the
// largest remainders), in an order drawn once.
std::vector<uint16_t> lengths_of(const std::vector<Weighted>& sizes, uint16_t length_min, Rng& rng) {
  uint64_t sum = 0;
  for (auto& s : sizes) sum += s.weight;
  size_t entries = sum > kLengthsMax ? kLengthsMax : kLengthsMax / sum * sum;
  if (sizes.size() == 1) entries = 1;
  std::vector<std::pair<double, uint16_t>> remainders;
  std::vector<uint16_t> out;
  for (auto& s : sizes) {
    double exact = static_cast<double>(entries) * static_cast<double>(s.weight) / static_cast<double>(sum);
    uint16_t length = std::max(static_cast<uint16_t>(s.bytes - kFcsSize), length_min);
    auto whole = static_cast<size_t>(exact);
    out.insert(out.end(), whole, length);
    remainders.push_back({exact - static_cast<double>(whole), length});
  }
  std::sort(remainders.begin(), remainders.end(), [](auto& a, auto& b) { return a.first > b.first; });
  for (size_t i = 0; out.size() < entries; ++i) out.push_back(remainders[i % remainders.size()].second);
  for (size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[rng.below(i)]);
  return out;
}

double packets_per_second(const RateConfig& r, double size_mean) {
  switch (r.unit) {
    case RateConfig::Unit::unlimited: break;
    case RateConfig::Unit::packets: return r.per_second;
    case RateConfig::Unit::bits: return r.per_second / (8 * size_mean);
  }
  return std::numeric_limits<double>::infinity();
}

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

Result<StreamPlan> plan_stream(const PktgenConfig& config, const Stream& s, uint8_t index, Rng& rng) {
  StreamPlan p;
  p.name = s.name;
  p.kind = s.kind;
  p.setup = s.setup;
  p.index = index;
  for (size_t i = 0; i < config.ports.size(); ++i)
    if (config.ports[i].name == s.port) p.port = i;
  p.protocol = s.protocol == ConfigProtocol::tcp ? Protocol::tcp : Protocol::udp;
  p.sessions = s.sessions;
  p.destinations = s.destinations;
  Prefix clients = s.clients;
  if (clients.address.is_none())
    clients = *Prefix::parse(s.destinations[0].address.is_v4() ? "10.0.0.0/8" : "2001:db8:c::/48");
  p.client = clients.address;
  auto host_bits = static_cast<unsigned>(clients.address.size() * 8 - clients.length);
  p.client_addresses = uint64_t(1) << std::min(host_bits, 32u);
  if (p.client.is_v4() && host_bits >= 8 && s.clients.address.is_none()) p.client.raw[3] = 1;  // 10.0.0.1

  switch (s.popularity) {
    case Stream::Popularity::uniform: p.popularity = Popularity::uniform(s.sessions); break;
    case Stream::Popularity::zipf: p.popularity = Popularity::zipf(s.sessions, s.zipf); break;
    case Stream::Popularity::sequential: p.sequential = true; break;
  }

  std::vector<Weighted> sizes;
  for (auto& size : s.sizes) sizes.push_back({size.bytes, size.weight});
  if (!s.capture.empty()) {
    auto read = sizes_of_capture(s.capture, static_cast<uint16_t>(config.ports[p.port].mtu + kEthernetOverhead));
    if (!read) return fail(read.error().in("stream " + s.name + ": capture"));
    sizes = *read;
  }
  FrameTemplate shape({.client = p.client, .server = s.destinations[0], .protocol = p.protocol});
  p.lengths = lengths_of(sizes, shape.length_min(), rng);
  double sum = 0;
  for (uint16_t l : p.lengths) sum += l + double(kFcsSize);
  p.size_mean = sum / static_cast<double>(p.lengths.size());

  p.pacing.packets_per_second = packets_per_second(s.rate, p.size_mean);
  p.pacing.start_seconds = seconds(s.start);
  if (s.ramp_time > Duration{}) {
    p.pacing.ramp_from = packets_per_second(s.ramp_from, p.size_mean);
    p.pacing.ramp_seconds = seconds(s.ramp_time);
  }
  return p;
}

}  // namespace

Result<Plan> make_plan(const PktgenConfig& config) {
  Plan plan;
  Rng rng(config.seed);
  for (size_t i = 0; i < config.streams.size(); ++i) {
    auto s = plan_stream(config, config.streams[i], static_cast<uint8_t>(i), rng);
    if (!s) return fail(s.error());
    plan.streams.push_back(std::move(*s));
  }
  for (size_t i = 0; i < config.ports.size(); ++i)
    if (!config.member_side.port.empty() && config.ports[i].name == config.member_side.port)
      plan.member_port = static_cast<int>(i);
  return plan;
}

SessionStates::SessionStates(const Plan& plan) : streams_(plan.streams.size()) {
  if (plan.member_port < 0) return;
  for (size_t i = 0; i < plan.streams.size(); ++i) {
    if (!plan.streams[i].is_good()) continue;
    streams_[i].size = plan.streams[i].sessions;
    streams_[i].cells = std::make_unique<Cell[]>(plan.streams[i].sessions);
  }
}

}  // namespace statecast
