// SPDX-License-Identifier: BSD-3-Clause
// Wire format: the vectors, the tag against libsodium, the option codec on random options, outer headers and tshark.
#include "dataplane/envelope/wire.h"

#include <gtest/gtest.h>
#include <sodium.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/rng.h"
#include "dataplane/envelope/hello.h"
#include "dataplane/envelope/outer.h"
#include "dataplane/packet/checksum.h"
#include "dataplane/packet/parse.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

nlohmann::json vectors() {
  std::ifstream in(std::string(VECTORS) + "/envelope.json");
  EXPECT_TRUE(in);
  return nlohmann::json::parse(in);
}

SipTag key_of(const nlohmann::json& text) {
  SipTag key{};
  Packet raw = unhex(std::string(text));
  std::copy(raw.begin(), raw.end(), key.begin());
  return key;
}

Version version_of(const nlohmann::json& v) {
  return {v["term"], v["incarnation"], v["counter"]};
}

EnvelopeOptions options_of(const nlohmann::json& o) {
  EnvelopeOptions out;
  if (o.contains("replica_hint")) out.replica_hint = ProxyId{o["replica_hint"]};
  if (o.contains("ingress")) out.ingress = ProxyId{o["ingress"]};
  if (o.contains("forward_to")) out.forward_to = MemberId{o["forward_to"]};
  if (o.contains("not_mine")) out.not_mine = version_of(o["not_mine"]);
  if (o.contains("lease")) {
    const auto& l = o["lease"];
    out.lease = LeaseInstruction{
        version_of(l["version"]), l["lease_ms"], l["lease_bytes"], {l["echo_boot"], l["echo_timestamp_us"]}};
  }
  if (o.contains("workload")) out.workload = Workload{o["workload"]["load_permille"], o["workload"]["flags"]};
  out.admitted = o.contains("admitted");
  out.forwarded = o.contains("forwarded");
  return out;
}

// Two options are equal when they have the same bytes.
Packet bytes_of(const EnvelopeOptions& o) {
  Packet out(options_size(o));
  Writer w(out);
  write_options(o, w);
  EXPECT_TRUE(w.ok());
  EXPECT_EQ(w.size(), out.size());
  return out;
}

TEST(Wire, ValidVectors) {
  nlohmann::json all = vectors();
  ASSERT_TRUE(all["draft"]);
  for (const auto& v : all["valid"]) {
    SCOPED_TRACE(std::string(v["name"]));
    Packet bytes = unhex(std::string(v["bytes"])), payload = unhex(std::string(v["payload"]));
    WireHead h{};
    ASSERT_TRUE(read_head(bytes, h));
    EXPECT_TRUE(tag_verifies(key_of(v["key"]), bytes, h));
    EnvelopeOptions options;
    ASSERT_TRUE(read_options(h.options, options));
    EXPECT_EQ(h.sender.value, v["sender"]);
    EXPECT_EQ(h.stamp.boot, v["boot"]);
    EXPECT_EQ(h.group.value, v["group"]);
    EXPECT_EQ(h.stream, v["stream"]);
    EXPECT_EQ(h.key_epoch, v["key_epoch"]);
    EXPECT_EQ(h.stamp.timestamp_us, v["timestamp_us"]);
    EXPECT_EQ(h.sequence, v["sequence"]);
    const char* kinds[] = {"ipv4", "ipv6", "message"};
    EXPECT_EQ(kinds[int(h.kind)], v["kind"]);
    EXPECT_EQ(hex(h.payload), v["payload"]);
    EnvelopeOptions want = options_of(v["options"]);
    EXPECT_EQ(hex(bytes_of(options)), hex(bytes_of(want)));
    if (v.value("rewrite", true)) {
      Packet out(kEnvelopeSizeMin + options_size(want) + payload.size());
      std::copy(payload.begin(), payload.end(), out.end() - static_cast<ptrdiff_t>(payload.size()));
      h.payload = payload;
      size_t n = write_envelope(key_of(v["key"]), h, want, MutableBytes(out).first(out.size() - payload.size()));
      EXPECT_EQ(n + payload.size(), out.size());
      EXPECT_EQ(hex(out), v["bytes"]);
    }
  }
}

TEST(Wire, InvalidVectors) {
  nlohmann::json all = vectors();
  for (const auto& v : all["invalid"]) {
    SCOPED_TRACE(std::string(v["name"]));
    Packet bytes = unhex(std::string(v["bytes"]));
    WireHead h{};
    bool head = read_head(bytes, h);
    EXPECT_EQ(head, v["fails_at"] != "head");
    if (!head) continue;
    bool tag = tag_verifies(key_of(v["key"]), bytes, h);
    EXPECT_EQ(tag, v["fails_at"] != "tag");
    EnvelopeOptions options;
    EXPECT_EQ(read_options(h.options, options), v["fails_at"] != "options");
  }
}

TEST(Wire, TagIsLibsodiumsOverTheGatheredBytes) {
  Rng rng(7);
  for (int i = 0; i < 2000; ++i) {
    SipTag key{};
    rng.fill(key);
    Packet head(kEnvelopeSizeMin + 4 * rng.below(14)), payload(1 + rng.below(1400));
    rng.fill(head);
    rng.fill(payload);
    PayloadKind kind = PayloadKind(rng.below(3));
    Packet gathered = head;
    std::fill(gathered.begin() + 36, gathered.begin() + 52, uint8_t{0});
    for (int shift = 24; shift >= 0; shift -= 8) gathered.push_back(static_cast<uint8_t>(payload.size() >> shift));
    size_t covered = kind == PayloadKind::message ? payload.size() : std::min<size_t>(payload.size(), 64);
    gathered.insert(gathered.end(), payload.begin(), payload.begin() + static_cast<ptrdiff_t>(covered));
    SipTag want;
    crypto_shorthash_siphashx24(want.data(), gathered.data(), gathered.size(), key.data());
    ASSERT_EQ(envelope_tag(key, head, payload, kind), want) << i;
  }
}

TEST(Wire, RandomOptionsComeBack) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Rng rng(seed);
  auto id = [&] { return static_cast<uint32_t>(rng.between(1, kId24Max)); };
  auto version = [&] {
    return Version{static_cast<uint16_t>(rng.next()), static_cast<uint32_t>(rng.below(1 << 24)),
                   rng.below(uint64_t{1} << 40)};
  };
  for (int i = 0; i < 5000; ++i) {
    EnvelopeOptions o;
    if (rng.chance(.3)) o.replica_hint = ProxyId{id()};
    if (rng.chance(.3)) o.ingress = ProxyId{id()};
    if (rng.chance(.3)) o.forward_to = MemberId{id()};
    if (rng.chance(.3)) o.not_mine = version();
    if (rng.chance(.3))
      o.lease = LeaseInstruction{version(),
                                 static_cast<uint32_t>(rng.next()),
                                 rng.next(),
                                 {static_cast<uint32_t>(rng.next()), rng.below(uint64_t{1} << 48)}};
    if (rng.chance(.3)) o.workload = Workload{static_cast<uint16_t>(rng.next()), static_cast<uint8_t>(rng.next())};
    o.admitted = rng.chance(.3);
    o.forwarded = rng.chance(.3);
    Packet bytes = bytes_of(o);
    EnvelopeOptions back;
    ASSERT_TRUE(read_options(bytes, back));
    ASSERT_EQ(back.not_mine, o.not_mine);
    ASSERT_EQ(back.lease.has_value(), o.lease.has_value());
    if (o.lease) {
      ASSERT_EQ(back.lease->version, o.lease->version);
      ASSERT_EQ(back.lease->echo, o.lease->echo);
      ASSERT_EQ(back.lease->lease_ms, o.lease->lease_ms);
      ASSERT_EQ(back.lease->lease_bytes, o.lease->lease_bytes);
    }
    ASSERT_EQ(bytes_of(back), bytes);
    // Cut anywhere but between two options it is refused; nothing is read behind the end (ASan).
    for (size_t n = 1; n < bytes.size(); ++n) {
      Packet cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
      if (read_options(cut, back)) { ASSERT_EQ(bytes_of(back), cut); }
    }
  }
}

TEST(Wire, HelloAndPathMessagesComeBack) {
  Rng rng(3);
  for (HelloType type : {HelloType::hello, HelloType::answer, HelloType::confirm}) {
    HelloMessage m{.type = type, .initiator_epoch = 1, .responder_epoch = 255};
    rng.fill(m.initiator_salt);
    rng.fill(m.responder_salt);
    m.echo = {0x11223344, 0x0a0b0c0d0e0f};
    uint8_t bytes[kHelloSize];
    Writer w(bytes);
    write_hello(m, w);
    ASSERT_TRUE(w.ok());
    ASSERT_EQ(w.size(), kHelloSize);
    auto back = read_hello(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->initiator_epoch, 1);
    EXPECT_EQ(back->initiator_salt, m.initiator_salt);
    EXPECT_EQ(back->echo, type == HelloType::answer ? Stamp{} : m.echo);
    if (type != HelloType::hello) {
      EXPECT_EQ(back->responder_epoch, 255);
      EXPECT_EQ(back->responder_salt, m.responder_salt);
    }
    EXPECT_FALSE(read_hello(Bytes(bytes).first(kHelloSize - 1)));
    bytes[1] = 0;
    EXPECT_FALSE(read_hello(bytes));
  }
  for (PathType type : {PathType::keep_alive, PathType::challenge, PathType::challenge_echo}) {
    PathMessage m{type, true, 0x0a0b0c0d0e0f, 0x01020304, 0x1122334455667788};
    uint8_t bytes[kPathSize];
    Writer w(bytes);
    write_path(m, w);
    ASSERT_TRUE(w.ok());
    ASSERT_EQ(w.size(), kPathSize);
    auto back = read_path(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->type, type);
    EXPECT_EQ(back->echo_us, type == PathType::keep_alive ? m.echo_us : 0);
    EXPECT_EQ(back->held_us, type == PathType::keep_alive ? m.held_us : 0);
    EXPECT_EQ(back->nonce, type == PathType::keep_alive ? 0 : m.nonce);
    EXPECT_FALSE(read_path(Bytes(bytes).first(kPathSize - 1)));
  }
  uint8_t other[kPathSize] = {0x20};
  EXPECT_FALSE(read_path(other));
}

// A frame with this inner packet, as a proxy sends it.
Packet frame_of(const Packet& inner, const char* from, const char* to, const EnvelopeOptions& options) {
  size_t room = kOuterSizeV6 + kEnvelopeSizeMax;
  Packet frame(room + inner.size());
  std::copy(inner.begin(), inner.end(), frame.begin() + static_cast<ptrdiff_t>(room));
  WireHead h{NodeId::proxy(ProxyId{2}), GroupId{10}, {0x01020304, 5},           3, 7, 99,
             PayloadKind::ipv4,         {},          Bytes(frame).subspan(room)};
  if (inner[0] >> 4 == 6) h.kind = PayloadKind::ipv6;
  size_t n = write_envelope(SipTag{}, h, options, MutableBytes(frame).first(room));
  OuterAddresses outer{{{2, 0, 0, 0, 0, 2}}, {{2, 0, 0, 0, 0, 1}}, *Endpoint::parse(from), *Endpoint::parse(to)};
  size_t m = write_outer(outer, Bytes(frame).subspan(room - n), MutableBytes(frame).first(room - n));
  EXPECT_EQ(m, outer_size(outer.source.address.family));
  frame.erase(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(room - n - m));
  return frame;
}

TEST(Outer, ParsesWithRightChecksums) {
  for (size_t size : {1u, 2u, 33u, 1200u, 1201u})
    for (bool v6 : {false, true}) {
      Packet inner = ip4("198.51.100.7", "203.0.113.10").udp(5000, 53).payload(size).build();
      Packet frame = v6 ? frame_of(inner, "[2001:db8::1]:6081", "[2001:db8::2]:6084", {})
                        : frame_of(inner, "10.0.0.1:6081", "10.0.0.2:6084", {});
      ParsedPacket p;
      ASSERT_EQ(parse_frame(frame, p, {.l4_checksum = true}), ParseResult::ok);
      EXPECT_EQ(p.source_port, 6081);
      EXPECT_EQ(p.destination_port, 6084);
      EXPECT_EQ(p.l3_offset + p.l3_length, frame.size());
      EXPECT_EQ(to_string(source_of(frame, p)), v6 ? "2001:db8::1" : "10.0.0.1");
      EXPECT_EQ(to_string(destination_of(frame, p)), v6 ? "2001:db8::2" : "10.0.0.2");
      EXPECT_EQ(frame.size() - inner.size(), 80u + 14 + (v6 ? 20 : 0));
      Bytes udp = Bytes(frame).subspan(p.l4_offset);
      if (v6) { EXPECT_EQ(transport_checksum(source_of(frame, p), destination_of(frame, p), 17, udp), 0); }
      EXPECT_EQ(udp[6] == 0 && udp[7] == 0, !v6);
    }
}

TEST(Outer, RefusesWhatDoesNotFit) {
  Packet envelope(100), headroom(kOuterSizeV6);
  Endpoint v4 = *Endpoint::parse("10.0.0.1:1"), v6 = *Endpoint::parse("[2001:db8::1]:1");
  EXPECT_EQ(write_outer({{}, {}, v4, v6}, envelope, headroom), 0u);
  EXPECT_EQ(write_outer({{}, {}, {}, {}}, envelope, headroom), 0u);
  EXPECT_EQ(write_outer({{}, {}, v6, v6}, envelope, MutableBytes(headroom).first(kOuterSizeV6 - 1)), 0u);
  EXPECT_EQ(write_outer({{}, {}, v4, v4}, Packet(65535 - 28 + 1), headroom), 0u);
  EXPECT_EQ(write_outer({{}, {}, v4, v4}, Packet(65535 - 28), headroom), kOuterSizeV4);
}

TEST(Outer, SourcePorts) {
  EXPECT_EQ(outer_source_port(Port{6081}, NodeId::member(MemberId{1}), 5).value, 6081);
  EXPECT_EQ(outer_source_port(Port{6081}, NodeId::proxy(ProxyId{1}), 5).value, 6086);
}

std::string run(const std::string& command) {
  std::string out;
  FILE* p = popen(command.c_str(), "r");
  if (p == nullptr) return out;
  char buffer[512];
  while (size_t n = fread(buffer, 1, sizeof buffer, p)) out.append(buffer, n);
  pclose(p);
  return out;
}

TEST(Outer, StockToolsDecodeTheOutside) {
  if (run("command -v tshark").empty()) GTEST_SKIP() << "tshark is not installed";
  Packet inner4 = ip4("198.51.100.7", "203.0.113.10").tcp(40000, 443, kSyn).build();
  Packet inner6 = ip6("2001:db8:7::7", "2001:db8:1::10").udp(5000, 5001).payload(200).build();
  LeaseInstruction lease{{1, 2, 3}, 10'000, 1 << 20, {5, 6}};
  std::vector<Packet> frames = {
      frame_of(inner4, "10.0.0.1:6081", "10.0.0.2:6081", {}),
      frame_of(inner6, "[2001:db8::1]:6081", "[2001:db8::2]:6081", {.forward_to = MemberId{3}, .lease = lease})};
  char folder[] = "/tmp/statecast-envelope-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  std::string path = std::string(folder) + "/envelopes.pcap";
  write_pcap(path, frames);
  std::string got =
      run("tshark -r " + path +
          " -d udp.port==6081,geneve -o udp.check_checksum:TRUE -T fields -E separator=' ' -E aggregator=, "
          "-e geneve.vni -e geneve.flags.critical -e geneve.flags.oam -e geneve.option.length "
          "-e geneve.option.class -e geneve.option.type -e ip.src -e ipv6.dst -e tcp.dstport -e udp.dstport "
          "-e udp.checksum.status -e _ws.malformed -e geneve.option.length.invalid 2>/dev/null");
  unlink(path.c_str());
  rmdir(folder);
  // Checksum status: 3 = not there, 1 = good. Nothing malformed at the ends of the lines.
  EXPECT_EQ(
      got,
      "0x00000a 1 0 44,44 0xff53 0x81 10.0.0.1,198.51.100.7  443 6081 3  \n"
      "0x00000a 1 0 88,44,8,36 0xff53,0xff53,0xff53 0x81,0x84,0x06  2001:db8::2,2001:db8:1::10  6081,5001 1,1  \n");
}

}  // namespace
}  // namespace statecast::test
