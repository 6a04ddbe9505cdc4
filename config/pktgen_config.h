// SPDX-License-Identifier: BSD-3-Clause
// What a profile of statecast-pktgen says: ports, streams of packets, the member side, and what is to be measured.
//
//   Result<PktgenConfig> c = load_pktgen_config("profile.yaml");
//   if (!c) die(c.error().message);   // "profile.yaml:7:11: streams[0].rate: expected a rate ..., got ..."
//
// Rates are written "14.88Mpps", "500kpps", "10Gbps" (of whole Ethernet frames, without preamble and gap) or "max".
// Sizes are those of Ethernet frames with their 4 bytes of FCS, as in RFC 2544: "64", or with a weight "7x64".
// Threads: values. Ownership: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/units.h"
#include "config/config.h"

namespace statecast {

struct RateConfig {
  enum class Unit : uint8_t { packets, bits, unlimited } unit = Unit::unlimited;
  double per_second = 0;
  bool operator==(const RateConfig&) const = default;
};

struct FrameSizeConfig {
  uint32_t weight = 1;
  uint16_t bytes = 64;  // with FCS
  bool operator==(const FrameSizeConfig&) const = default;
};

struct PktgenDpdkConfig {
  bool huge_pages = false;
  uint32_t memory_mb = 256;
  std::vector<unsigned> cores = {0};
  std::string file_prefix = "statecast-pktgen";
  Duration idle_sleep{};
  uint16_t rx_descriptors = 1024, tx_descriptors = 1024;
  uint32_t packet_buffers = 8192;
  bool operator==(const PktgenDpdkConfig&) const = default;
};

struct PktgenPortConfig {
  std::string name;
  std::string device;
  std::vector<IpAddress> addresses;  // answered for
  IpAddress gateway;                 // none: peer_mac is the next hop
  MacAddress peer_mac{{0x02, 0, 0, 0, 0, 0x01}};
  uint16_t mtu = 1500;
  bool operator==(const PktgenPortConfig&) const = default;
};

struct PktgenStreamConfig {
  enum class Kind : uint8_t { good, syn_flood, random_sessions, malformed, forged_envelopes };
  enum class Setup : uint8_t { none, syn, insert };
  enum class Popularity : uint8_t { uniform, zipf, sequential };
  std::string name;
  Kind kind = Kind::good;
  std::string port;  // empty: the first
  ConfigProtocol protocol = ConfigProtocol::udp;
  uint32_t sessions = 10'000;
  Setup setup = Setup::none;
  Popularity popularity = Popularity::uniform;
  double zipf = 1.0;
  Prefix clients;                      // default depends on the destination's family
  std::vector<Endpoint> destinations;  // a session has one of them, by its number
  std::vector<FrameSizeConfig> sizes = std::vector<FrameSizeConfig>(1);
  std::string capture;  // sizes as in this pcap file
  RateConfig rate;
  RateConfig ramp_from;  // with ramp_time
  Duration ramp_time{};
  Duration start{};
  bool operator==(const PktgenStreamConfig&) const = default;
};

struct PktgenMemberConfig {
  std::string node_key;
  IpAddress address;
  bool operator==(const PktgenMemberConfig&) const = default;
};

struct PktgenMemberSideConfig {
  std::string port;  // empty: there is no member side
  GroupId group{1};
  std::vector<PktgenMemberConfig> members;
  std::vector<ProxyPeerConfig> proxies;
  uint32_t answer_every = 1;
  uint32_t verify_every = 1;
  uint32_t incarnation = 0;  // 0: by the clock
  bool operator==(const PktgenMemberSideConfig&) const = default;
};

struct PktgenSearchConfig {
  RateConfig from{RateConfig::Unit::packets, 0};  // of all streams together
  RateConfig to;
  double loss_percent = 0;
  double resolution_percent = 1;
  std::vector<double> loads = {10, 50, 90};  // percent of the rate found, for latency
  bool operator==(const PktgenSearchConfig&) const = default;
};

struct PktgenConfig {
  uint64_t seed = 1;
  Duration duration = 10s;
  Duration warm_up = 500ms;
  Duration drain = 200ms;
  Duration setup_patience = 30s;
  uint32_t setup_per_second = 20'000;
  PktgenDpdkConfig dpdk;
  std::vector<PktgenPortConfig> ports;
  std::vector<PktgenStreamConfig> streams;
  PktgenMemberSideConfig member_side;
  PktgenSearchConfig search;
  bool operator==(const PktgenConfig&) const = default;
};

Result<PktgenConfig> load_pktgen_config(const std::string& path);
// The same from text; `name` stands for the file in errors, and paths stay as they are.
Result<PktgenConfig> parse_pktgen_config(const std::string& text, const std::string& name);
std::string to_yaml(const PktgenConfig& c);

// "14.88Mpps", "10Gbps", "max"; for the command line too.
std::optional<RateConfig> parse_rate(std::string_view text);
std::string rate_text(const RateConfig& r);
// "64" or "7x64"
std::optional<FrameSizeConfig> parse_frame_size(std::string_view text);

}  // namespace statecast
