// SPDX-License-Identifier: BSD-3-Clause
// Keys and their derivation (libsodium's keyed BLAKE2b as KDF; docs/wire-format.md "Keys" has the labels).
//
//   fleet secret (32 bytes, on proxies only)
//     node key of a member    = KDF(fleet secret, "member", member id)        on that member
//       pair key              = KDF(node key, "pair", proxy id)               member and proxy
//     pair key between proxies = KDF(fleet secret, "proxy", lower id, higher id)
//     group secret            = KDF(fleet secret, "group", group id, epoch)
//   session keys = KDF(pair key, salts, direction), new with every hello
//
// Files hold one line, mode 0600: "statecast-fleet-secret 4f..." or "statecast-node-key m7 4f..." (64 hex digits). One
// that anybody but its owner can read is refused.
// Threads: pure functions. Ownership: values; wiped by their destructor where they are secrets.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/units.h"
#include "dataplane/session/session_id.h"

namespace statecast {

void wipe(MutableBytes secret);

// `raw`, wiped when it goes.
template <class Tag, size_t n>
struct SecretBytes {
  std::array<uint8_t, n> raw{};
  ~SecretBytes() { wipe(raw); }
  bool operator==(const SecretBytes&) const = default;
};

using FleetSecret = SecretBytes<struct FleetSecretTag, 32>;
using NodeKey = SecretBytes<struct NodeKeyTag, 32>;
using PairKey = SecretBytes<struct PairKeyTag, 32>;
using TagKey = SecretBytes<struct TagKeyTag, 16>;
using Salt = std::array<uint8_t, 16>;

FleetSecret make_fleet_secret();  // from the system's random source
NodeKey member_node_key(const FleetSecret& fleet, MemberId member);
PairKey member_pair_key(const NodeKey& node, ProxyId proxy);
PairKey proxy_pair_key(const FleetSecret& fleet, ProxyId a, ProxyId b);  // order does not matter
GroupSecret group_secret(const FleetSecret& fleet, GroupId group, uint8_t epoch);
// The key under which envelopes from `sender` are tagged after a hello with these salts.
TagKey session_tag_key(const PairKey& pair, const Salt& initiator, const Salt& responder, NodeId sender);
// The key under which `sender` tags hello envelopes.
TagKey hello_tag_key(const PairKey& pair, NodeId sender);

Result<> write_fleet_secret(const std::string& path, const FleetSecret& secret);  // fails if the file exists
Result<FleetSecret> read_fleet_secret(const std::string& path);
Result<> write_node_key(const std::string& path, MemberId member, const NodeKey& key);
struct NodeKeyFile {
  MemberId member;
  NodeKey key;
};
Result<NodeKeyFile> read_node_key(const std::string& path);

}  // namespace statecast
