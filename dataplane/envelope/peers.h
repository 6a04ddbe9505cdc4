// SPDX-License-Identifier: BSD-3-Clause
// Peers: whom this node exchanges envelopes with; keys, sequence numbers, replay windows and addresses of each.
//
//   PeerTable peers(self, boot, root_keys);             // control adds peers, workers seal and open
//   peers.add(NodeId::member(MemberId{7}), {});
//   Envelope e;
//   if (peers.open(udp_payload, e) == OpenResult::ok) ...
//   size_t n = peers.seal(to, stream, group, kind, options, timestamp_us, payload, header_out);
//
// Threads: add() before or from the control thread only; seal() from any thread with a stream of its own (one stream,
// one thread); open() from the thread to which the peer's stream comes. Keys and endpoints are published by atomics: a
// torn read is a key that verifies nothing.
// Ownership: the table owns its peers; nothing is freed while it lives.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/envelope/keys.h"

namespace statecast {

class Peer;  // one peer's keys, windows, counters; peers.cc

struct Incoming {
  Endpoint from;
  Instant now;
};

class PeerTable {
 public:
  // `boot`: random, new at each start. `streams`: how many threads of this node seal (workers, control).
  PeerTable(NodeId self, uint32_t boot, uint8_t streams);
  ~PeerTable();

  // A peer whose pair key is known; `address` where configuration names it (proxies), else learned (members).
  void add(NodeId id, const PairKey& pair_key, std::optional<Endpoint> address);
  bool contains(NodeId id) const;

  // Verifies and reads one datagram: peer, tag, window, then anything else. `out` is set for ok and hello.
  OpenResult open(Bytes udp_payload, Envelope& out);

  // Writes Geneve header and options, sealed, so that they stand right before `payload`. Returns the bytes written
  // (kEnvelopeSizeMin + options_size), or 0 when the peer has no session keys (yet): count it, drop the packet.
  size_t seal(NodeId to, uint8_t stream, GroupId group, PayloadKind kind, const EnvelopeOptions& options,
              uint64_t timestamp_us, Bytes payload, MutableBytes header_out);

  // Where to send data for this peer; nullopt while its address is unproven.
  std::optional<Endpoint> endpoint(NodeId id) const;
  // The newest stamp that a verified envelope of this peer carried, of its present boot.
  Stamp newest_stamp(NodeId id) const;
  // When the last envelope of this peer verified. Instant{} if none did.
  Instant last_heard(NodeId id) const;
  // To be called after open() said ok: keeps the two above.
  void heard(const Envelope& e, const Endpoint& from, Instant now);

  NodeId self() const;
  uint32_t boot() const;

  // --- control thread: hello and challenges (hello.cc), sans-IO ---
  struct Datagram {
    NodeId to;
    Endpoint at;
    std::array<uint8_t, 256> bytes;
    uint16_t length = 0;
  };
  void on_hello(const Envelope& e, const Endpoint& from, Instant now);  // after OpenResult::hello
  // A verified envelope that carries a keep-alive or challenge message (kinds in hello.h); true if it was one.
  bool on_path_message(const Envelope& e, const Endpoint& from, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  bool next_output(Datagram& out);  // ready to send as it is, in a UDP datagram from the envelope port

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace statecast
