// SPDX-License-Identifier: BSD-3-Clause
// Peers: whom this node exchanges envelopes with; keys, sequence numbers, replay windows and addresses of each.
//
//   PeerTable peers(self, boot, streams);                // control adds peers, workers seal and open
//   peers.add(NodeId::proxy(ProxyId{1}), pair_key, Endpoint{...});
//   Envelope e;
//   switch (peers.open(udp_payload, e)) {
//     case OpenResult::ok:    peers.heard(e, from, now); ...         // messages: first to on_path_message (control)
//     case OpenResult::hello: to control: peers.on_hello(e, from, now);
//     case OpenResult::bad_tag:
//     case OpenResult::unknown_peer: to control at a bounded rate: peers.on_unverified(claimed_sender(...), from, now)
//     default: count and drop
//   }
//   size_t n = peers.seal(to, stream, group, kind, options, peers.timestamp_us(now), payload, header_out);
//
// Threads: add() and the part marked "control thread" from the control thread only; seal() from any thread with a
// stream of its own (one stream, one thread; the last stream is the control thread's); open(), heard() and the getters
// from any thread. Keys, endpoints and the index of peers are published by atomics: a torn read is a key that verifies
// nothing.
// Ownership: the table owns its peers; nothing is freed while it lives.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/siphash.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/envelope/keys.h"

namespace statecast {

class Peer;           // one peer's keys, windows, counters; peer.h
struct HelloMessage;  // hello.h
struct WireHead;      // wire.h
struct PathMessage;

// The sender that a datagram claims, for on_unverified. Nobody where it is no envelope.
NodeId claimed_sender(Bytes udp_payload);

// What one stream needs to seal for one peer: a copy of its keys, good while fresh(), and some of the stream's sequence
// numbers, so that a packet to one peer of many touches nothing else of it. Valid while the table lives.
struct SendKeys {
  const std::atomic<uint32_t>* changes = nullptr;  // of the keys of this peer, or of a few others; none: it has no keys
  SipTag key{};
  uint64_t next = 0;    // sequence number
  uint32_t copied = 0;  // what `changes` said when this was copied
  uint8_t epoch = 0;
  uint16_t left = 0;  // sequence numbers

  bool fresh() const { return changes != nullptr && changes->load(std::memory_order_acquire) == copied && left != 0; }
  uint64_t take() {  // REQUIRES: fresh()
    --left;
    return next++;
  }
};

class PeerTable {
 public:
  using Random = std::function<void(MutableBytes)>;

  // `boot`: random, new at each start. `streams`: how many threads of this node seal: workers, and control as the last
  // one; at most 64 for a proxy, 4 for a member. `start`: the zero of timestamp_us(). `random`: cryptographic; the
  // system's where none is given.
  PeerTable(NodeId self, uint32_t boot, uint8_t streams, Instant start = Instant{}, Random random = {});
  ~PeerTable();
  PeerTable(const PeerTable&) = delete;
  PeerTable& operator=(const PeerTable&) = delete;

  // A peer whose pair key is known; `address` where configuration names it (proxies), else learned (members). Added
  // again: only the address is taken.
  void add(NodeId id, const PairKey& pair_key, std::optional<Endpoint> address);
  bool contains(NodeId id) const;

  // Verifies and reads one datagram: peer, tag, window, then anything else. `out` is set for ok and hello.
  OpenResult open(Bytes udp_payload, Envelope& out);

  // The same for a burst, tags hashed together; also does what heard() does for those that are ok. out[i] and
  // results[i] belong to datagrams[i]. REQUIRES: at most kOpenBurstMax; 64 bytes readable behind each header, however
  // short the payload is.
  static constexpr size_t kOpenBurstMax = 32;
  void open_burst(std::span<const Bytes> datagrams, Envelope* const out[], OpenResult results[], Instant now);

  // Writes Geneve header and options, sealed, into the last bytes of `header_out`, so that they stand right before
  // `payload` where header_out is its headroom. Returns the bytes written (kEnvelopeSizeMin + options_size). 0: the
  // peer is unknown or has no session keys (yet), the options are more than kInnerOptionsMax allows with an inner
  // packet, or do not fit header_out: count it, drop the packet.
  size_t seal(NodeId to, uint8_t stream, GroupId group, PayloadKind kind, const EnvelopeOptions& options,
              uint64_t timestamp_us, Bytes payload, MutableBytes header_out);
  // For seal_burst.h, from the stream's own thread: the keys, and more sequence numbers where none are left.
  void renew(SendKeys& keys, NodeId to, uint8_t stream);
  // A whole datagram with a message of group 0, from the start of `datagram_out`. Returns its length, or 0 as above.
  size_t seal_message(NodeId to, uint8_t stream, uint64_t timestamp_us, Bytes message, MutableBytes datagram_out);

  // What goes into seal(): microseconds since `start`, 48 bits.
  uint64_t timestamp_us(Instant now) const;

  // Has session keys: seal() works.
  bool ready(NodeId id) const;
  // Where to send data for this peer; nullopt while its address is unproven.
  std::optional<Endpoint> endpoint(NodeId id) const;
  // The newest stamp that a verified envelope of this peer carried, of its present boot.
  Stamp newest_stamp(NodeId id) const;
  // When the last envelope of this peer verified (to about a millisecond). Instant{} if none did.
  Instant last_heard(NodeId id) const;
  // Round trip, smoothed, from the keep-alives. Duration::max() while unknown.
  Duration rtt(NodeId id) const;
  // To be called after open() said ok: keeps newest_stamp and last_heard.
  void heard(const Envelope& e, const Endpoint& from, Instant now);

  NodeId self() const { return self_; }
  uint32_t boot() const { return boot_; }
  uint8_t control_stream() const { return static_cast<uint8_t>(streams_ - 1); }

  // --- control thread: hello, keep-alives and challenges (hello.cc, path.cc), sans-IO. After each call take what
  // next_output() has, and sleep until next_deadline(). ---
  struct Datagram {
    NodeId to;
    Endpoint at;
    std::array<uint8_t, 256> bytes;
    uint16_t length = 0;
  };
  void on_hello(const Envelope& e, const Endpoint& from, Instant now);  // after OpenResult::hello
  // Every verified envelope with a message, before anybody else sees it: this adopts new keys, and answers keep-alives
  // and challenges. True if it was one of those.
  bool on_path_message(const Envelope& e, const Endpoint& from, Instant now);
  // A datagram of this peer (as it claims) did not verify: perhaps one of us has restarted.
  void on_unverified(NodeId claimed, const Endpoint& from, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  bool next_output(Datagram& out);  // ready to send as it is, in a UDP datagram from the envelope port

 private:
  // Open addressing, never more than half full. Grown by making a new one; readers may still walk the old one.
  struct Index {
    explicit Index(unsigned bits);
    unsigned bits;
    std::vector<std::atomic<Peer*>> cells;
  };

  Peer* find(NodeId id) const;
  static bool fill(const WireHead& head, Envelope& out);
  static void hear(Peer& p, uint8_t key_epoch, const Stamp& newest, Instant now);
  void insert(Index& index, Peer* p);
  template <class Write>
  void queue(Peer& p, const Endpoint& at, SipKey key, uint8_t key_epoch, uint64_t sequence, Instant now, Write write);

  // hello.cc
  bool is_starter(const Peer& p) const;
  Instant hello_due(const Peer& p) const;
  Endpoint reply_address(const Peer& p, const Endpoint& from) const;
  void start_hello(Peer& p, const Endpoint& to, Instant now);
  void send_hello(Peer& p, Instant now);
  void end_hello(Peer& p);
  void answer_hello(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now);
  void take_answer(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now);
  void take_confirm(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now);
  Salt responder_salt(const Peer& p, uint32_t boot, const HelloMessage& m, const Endpoint& from, uint64_t issued) const;
  void install_keys(Peer& p, uint8_t receive_epoch, uint8_t send_epoch, uint32_t boot, const HelloMessage& salts);
  void adopt_keys(Peer& p, uint8_t epoch, Instant now);
  void queue_hello(Peer& p, const Endpoint& at, const HelloMessage& m, Instant now);

  // path.cc
  void service(Peer& p, Instant now);
  void schedule(Peer& p);
  void send_keep_alive(Peer& p, uint8_t receive_epoch, const Endpoint& at, bool answer_wanted, Instant now);
  void consider_address(Peer& p, const Envelope& e, const Endpoint& from, Instant now);
  void queue_path(Peer& p, uint8_t receive_epoch, const Endpoint& at, const PathMessage& m, Instant now);

  const NodeId self_;
  const uint32_t boot_;
  const uint8_t streams_;
  const Instant start_;
  const Random random_;
  std::array<uint8_t, 32> answer_secret_{};  // behind responder_salt

  std::vector<std::unique_ptr<Peer>> peers_;
  // How often keys have changed, of all peers of a number modulo this: near enough to be looked at for each packet.
  static constexpr size_t kChangeCells = 1024;
  std::array<std::atomic<uint32_t>, kChangeCells> key_changes_{};
  std::vector<std::unique_ptr<Index>> indexes_;  // the last one is in use
  std::atomic<Index*> index_{nullptr};

  std::set<std::pair<Instant, Peer*>> deadlines_;
  std::deque<Datagram> outputs_;
};

}  // namespace statecast
