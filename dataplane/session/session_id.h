// SPDX-License-Identifier: BSD-3-Clause
// Session ID and session key: the canonical bytes that name a session, and their keyed hash.
//
//   Session ID = form (1) | group id (3) | fields of the form, network order; at most 64 bytes
//   form        fields                                                       bytes in all
//   tcp4 1      client address 4, server address 4, client port 2, server port 2      16
//   tcp6 2      client address 16, server address 16, client port 2, server port 2    40
//   udp4 3      as tcp4                                                               16
//   udp6 4      as tcp6                                                               40
//   (5.. stand in the table of session_forms(); docs/wire-format.md has it in prose)
//
//   auto id = SessionId::tuple(GroupId{10}, Protocol::tcp, client, server);   // Endpoints
//   SessionKey key = session_key(id, secret);                                 // 128-bit SipHash
//
// "client" is always the outside end and "server" the group's address, in both directions, so that a packet and
// its answer have one session ID.
// Threads: values. Ownership: none.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "base/units.h"

namespace statecast {

enum class SessionForm : uint8_t {
  none = 0,
  tcp4 = 1,
  tcp6 = 2,
  udp4 = 3,
  udp6 = 4,
  announced4 = 5,        // tuple without client port (announced data connections), IPv4
  announced6 = 6,        // the same, IPv6
  connection_id = 7,     // QUIC destination connection ID
  spi = 8,               // IPsec SPI and server address
  verification_tag = 9,  // SCTP
  generic = 10,          // bytes that a group's rules cut out of the payload
  client4 = 11,          // source address: assignments rather than sessions
  client6 = 12,          // source /64
};

// One row per form: which lengths (of the whole ID) are valid, and what the fields are.
struct SessionFormRow {
  SessionForm form;
  const char* name;  // as in the text of an ID
  uint8_t shortest, longest;
  uint8_t step;  // valid lengths are shortest, shortest + step, ...; 0 if there is one only
  const char* fields;
};
std::span<const SessionFormRow> session_forms();

enum class Protocol : uint8_t { none = 0, icmp = 1, tcp = 6, udp = 17, icmp6 = 58 };

inline constexpr size_t kSessionIdMax = 64;

struct alignas(8) SessionId {
  std::array<uint8_t, kSessionIdMax> raw{};  // `length` bytes count; on the packet path the rest is anything
  uint8_t length = 0;

  // TCP or UDP 4-tuple. REQUIRES: both addresses of one family, protocol tcp or udp.
  static SessionId tuple(GroupId group, Protocol protocol, const Endpoint& client, const Endpoint& server);
  // The same from the addresses as they lie in a packet: each 4 or each 16 bytes.
  static SessionId tuple(GroupId group, Protocol protocol, Bytes client, uint16_t client_port, Bytes server,
                         uint16_t server_port);
  // The same in place, over whatever stood here.
  void set_tuple(GroupId group, Protocol protocol, Bytes client, uint16_t client_port, Bytes server,
                 uint16_t server_port);
  // The same from an IPv4 packet's 12 bytes {source, destination, ports}, client first, as they lie in a header without
  // options.
  void set_tuple4(GroupId group, Protocol protocol, const uint8_t* addresses_and_ports) {
    set_head(group, protocol == Protocol::tcp ? SessionForm::tcp4 : SessionForm::udp4);
    std::memcpy(&raw[4], addresses_and_ports, 12);
    length = 16;
  }
  // Any form, from its fields in network order; nullopt where form, length or group do not fit.
  static std::optional<SessionId> make(GroupId group, SessionForm form, Bytes fields);
  // Checks form, length and group (1..2^24-1); nullopt when these bytes are no session ID.
  static std::optional<SessionId> parse(Bytes bytes);

  Bytes bytes() const { return Bytes(raw).first(length); }
  Bytes fields() const { return length > 4 ? bytes().subspan(4) : Bytes(); }
  SessionForm form() const { return SessionForm(raw[0]); }
  void set_head(GroupId group, SessionForm form) {
    const uint32_t head = __builtin_bswap32(group.value) | uint32_t(form);
    std::memcpy(raw.data(), &head, 4);
  }
  GroupId group() const { return {uint32_t(raw[1]) << 16 | uint32_t(raw[2]) << 8 | raw[3]}; }
  bool operator==(const SessionId& o) const {
    return length == o.length && std::memcmp(raw.data(), o.raw.data(), length) == 0;
  }
};

// The ends of a tuple form (tcp4..udp6); nullopt for the others.
struct SessionTuple {
  Protocol protocol;
  Endpoint client, server;
};
std::optional<SessionTuple> session_tuple(const SessionId& id);

// "10 tcp 198.51.100.7:40000 203.0.113.10:443" (group, protocol, client, server); the other forms show their fields in
// hex: "10 spi 00c0ffeecb00710a"; "none" for no session.
std::string to_string(const SessionId& id);
// The same text back. nullopt when it is none.
std::optional<SessionId> parse_session_text(std::string_view text);

struct SessionKey {
  uint64_t high = 0, low = 0;
  Slot slot() const { return {static_cast<uint16_t>(high >> 48)}; }
  auto operator<=>(const SessionKey&) const = default;
};
std::string to_string(SessionKey k);  // 32 hex digits

// A group's secret for one epoch: KDF(fleet secret, group id, epoch); see envelope/keys.h.
struct GroupSecret {
  std::array<uint8_t, 16> raw{};
};

// SipHash-2-4-128 of the ID's bytes under the group's secret: high is the first 8 output bytes read big-endian,
// low the last 8.
SessionKey session_key(const SessionId& id, const GroupSecret& secret);
// The same for n IDs, each under its own secret, in as many lanes as the machine has.
void session_keys(const SessionId* const ids[], const GroupSecret* const secrets[], SessionKey out[], size_t n);

}  // namespace statecast

template <>
struct std::hash<statecast::SessionKey> {
  size_t operator()(const statecast::SessionKey& k) const noexcept { return k.low; }  // uniform already
};
template <>
struct std::hash<statecast::SessionId> {
  size_t operator()(const statecast::SessionId& id) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(id.raw.data()), id.length});
  }
};
