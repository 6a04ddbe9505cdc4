// SPDX-License-Identifier: BSD-3-Clause
// Frames: what a stream's packets look like, built once and patched per packet, and how a packet that came in is read.
//
//   FrameTemplate t({.client = {10.0.0.0}, .server = {203.0.113.10:443}, .protocol = Protocol::udp});
//   t.fill(buffer, session, length, mark, nonce);   // 64..128 bytes copied, five fields and two checksums patched
//
//   PacketLook look;
//   if (look_at_frame(frame, look) && look.carries_mark() && read_mark(frame + look.payload, nonce, mark)) ...
//
// Session s is client address + (s >> 15), client port 1024 + (s & 0x7fff), so it needs no table. Checksums are always
// right: the sum over what never changes is kept, what changes is added. Bytes behind the mark are what the buffer
// holds; its owner keeps them zero, as the checksum takes them for.
// Threads: constant after construction but for set_macs; pure functions. Ownership: the caller's bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "dataplane/session/session_id.h"
#include "tools/pktgen/mark.h"

namespace statecast {

inline constexpr unsigned kSessionPortBits = 15;
inline constexpr uint16_t kFirstClientPort = 1024;
inline constexpr size_t kFcsSize = 4;        // counts in a frame's size, is not in its buffer
inline constexpr size_t kTemplateSize = 96;  // the longest headers and mark: 14 + 40 + 20 + 18, and a bit
// A stream's SYNs say in their TCP window whose they are, in their sequence number which session.
inline constexpr uint16_t kSynMark = 0x5c00;  // | stream

Endpoint client_of_session(const IpAddress& first_client, uint32_t session);

struct FrameOptions {
  MacAddress source_mac, destination_mac;
  IpAddress client;  // first of the clients' addresses
  Endpoint server;
  Protocol protocol = Protocol::udp;
  uint8_t tcp_flags = 0x18;  // PSH, ACK
  uint16_t tcp_window = 0xfff0;
};

class FrameTemplate {
 public:
  explicit FrameTemplate(const FrameOptions& o);

  void set_macs(const MacAddress& source, const MacAddress& destination);
  // Headers and mark; a frame is at least this long. The FCS is not in it.
  uint16_t length_min() const { return static_cast<uint16_t>(payload_ + kMarkSize); }
  uint16_t header_length() const { return payload_; }

  // A data packet. REQUIRES: length_min() <= length, and kTemplateSize bytes of room whatever the length.
  void fill(uint8_t* frame, uint32_t session, uint16_t length, const Mark& mark, uint64_t nonce) const;
  // A TCP segment without payload, such as a SYN; returns its length. REQUIRES: TCP, kTemplateSize bytes of room.
  uint16_t fill_bare(uint8_t* frame, uint32_t session, uint32_t tcp_sequence) const;

 private:
  void patch(uint8_t* frame, uint32_t session, uint16_t length, uint64_t payload_sum) const;

  alignas(64) std::array<uint8_t, kTemplateSize> bytes_{};
  uint64_t ip_sum_ = 0, l4_sum_ = 0;
  uint32_t client_low_ = 0;  // last 32 bits of the first client's address
  uint16_t l4_ = 0, payload_ = 0;
  bool v6_ = false, tcp_ = false;
};

// What the fast path needs of a packet that came in. Offsets from the start of the bytes looked at.
struct PacketLook {
  uint16_t l3 = 0, l4 = 0, payload = 0;
  uint16_t end = 0;  // of the IP packet
  uint8_t version = 0;
  Protocol protocol = Protocol::none;
  uint8_t tcp_flags = 0;
  bool carries_mark() const { return payload + kMarkSize <= end; }
  bool is_syn() const { return protocol == Protocol::tcp && (tcp_flags & 0x16) == 0x02; }
  bool is_syn_ack() const { return protocol == Protocol::tcp && (tcp_flags & 0x16) == 0x12; }
};
// False where it is not TCP or UDP over IPv4 or IPv6 (without extension headers), or shorter than it says.
bool look_at_frame(Bytes frame, PacketLook& out);
bool look_at_ip(Bytes packet, PacketLook& out);

Endpoint source_endpoint(Bytes packet, const PacketLook& look);
Endpoint destination_endpoint(Bytes packet, const PacketLook& look);

// The packet goes to the client of this session.
bool is_to_client(Bytes packet, const PacketLook& look, const IpAddress& first_client, uint32_t session);

// Turns a data packet into the answer to it, in place: addresses and ports change sides, a new mark, checksums right.
void turn_into_answer(MutableBytes packet, const PacketLook& look, const Mark& mark, uint64_t nonce);

// The SYN/ACK to a SYN (an IP packet): acknowledges its sequence number, keeps its window (the stream), and names the
// member in its own sequence number. Returns its length, 0 where `out` is too short.
size_t write_syn_ack(Bytes syn, const PacketLook& look, uint32_t member, MutableBytes out);

// Which session a SYN belongs to, or a SYN/ACK that write_syn_ack made. nullopt: not of ours (a flood's).
struct HandshakeLook {
  uint8_t stream = 0;
  uint32_t session = 0;
  uint32_t member = 0;  // of a SYN/ACK
};
std::optional<HandshakeLook> look_at_handshake(Bytes packet, const PacketLook& look);

}  // namespace statecast
