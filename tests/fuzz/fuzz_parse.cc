// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as a packet: parse, classify, and what a proxy would answer. The first byte of an input chooses: bit 0
// checks L4 checksums, bit 1 takes the rest as a bare IP packet, bit 2 is the direction.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "dataplane/packet/icmp.h"
#include "dataplane/packet/neighbour.h"
#include "dataplane/packet/parse.h"
#include "dataplane/session/rules.h"

using namespace statecast;

namespace {

void answers(Bytes frame, const ParsedPacket& p) {
  uint8_t out[65536];
  ParsedPacket answer;
  if (size_t n = is_echo_request(p) ? write_echo_reply(frame, p, out) : 0) {
    SC_ASSERT(n <= p.l3_length);
    SC_ASSERT(parse_ip({out, n}, answer, {.l4_checksum = true}) == ParseResult::ok);
  }
  if (size_t n = write_too_big(frame, p, 1280, out)) {
    SC_ASSERT(n <= kIcmpErrorMax);
    SC_ASSERT(parse_ip({out, n}, answer, {.l4_checksum = true}) == ParseResult::ok);
  }
}

void classes(Bytes frame, const ParsedPacket& p, Direction direction) {
  static const SessionRules rules[] = {
      SessionRules(),
      SessionRules({{Protocol::tcp, {{80, 80}, {443, 443}}, PacketClass::stateful},
                    {Protocol::udp, {}, PacketClass::stateless}}),
  };
  for (const SessionRules& r : rules) {
    Classified c = r.classify(frame, p, GroupId{7}, direction);
    if (c.id.length == 0) continue;
    SC_ASSERT(c.packet_class != PacketClass::none && p.fragment != Fragment::later);
    auto back = parse_session_text(to_string(c.id));
    SC_ASSERT(back && *back == c.id && SessionId::parse(c.id.bytes()) == c.id);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  uint8_t choice = data[0];
  // A copy of exactly this size, so that the address sanitizer sees a read past the end.
  size_t n = size - 1;
  auto copy = std::make_unique<uint8_t[]>(n);
  if (n) std::memcpy(copy.get(), data + 1, n);
  Bytes frame(copy.get(), n);

  ParsedPacket p;
  ParseChecks checks{.l4_checksum = (choice & 1) != 0};
  ParseResult result = choice & 2 ? parse_ip(frame, p, checks) : parse_frame(frame, p, checks);
  ParsedPacket careful;
  SC_ASSERT(result == (choice & 2 ? parse_ip_carefully : parse_frame_carefully)(frame, careful, checks));
  SC_ASSERT(p == careful);
  if (p.l3_offset <= n) {
    if (auto arp = parse_arp(frame.subspan(p.l3_offset))) {
      uint8_t out[kNeighbourFrameMax];
      SC_ASSERT(write_arp_reply(*arp, MacAddress{{2}}, out) == 42);
    }
    if (auto s = parse_solicitation(frame.subspan(p.l3_offset))) {
      uint8_t out[kNeighbourFrameMax];
      SC_ASSERT(write_advertisement(*s, MacAddress{{2}}, out) == kNeighbourFrameMax);
      SC_ASSERT(parse_advertisement({out + 14, kNeighbourFrameMax - 14}).has_value());
    }
    parse_advertisement(frame.subspan(p.l3_offset));
  }
  if (result != ParseResult::ok) return 0;
  size_t end = size_t(p.l3_offset) + p.l3_length;
  SC_ASSERT(p.l3_offset < p.l4_offset && p.l4_offset <= p.payload_offset && p.payload_offset <= end && end <= n);
  SC_ASSERT(!p.is_icmp_error() || p.quoted_l3_offset < end);
  classes(frame, p, choice & 4 ? Direction::from_member : Direction::from_client);
  answers(frame, p);
  return 0;
}
