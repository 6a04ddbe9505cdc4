// SPDX-License-Identifier: BSD-3-Clause
// The part of PeerTable that packets meet: look-up, seal, open. hello.cc and path.cc have the control thread's.
#include "dataplane/envelope/peers.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "dataplane/envelope/peer.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

namespace {

constexpr unsigned kIndexBitsFirst = 6;

size_t cell_of(NodeId id, unsigned bits) {
  return (id.value * 0x9e3779b1u) >> (32 - bits);
}

}  // namespace

Peer::Peer(NodeId peer, NodeId self, const PairKey& pair, unsigned own_streams, uint16_t cell)
    : id(peer),
      change_cell(cell),
      hello_receive_key(hello_tag_key(pair, peer).raw),
      pair_key(pair),
      sequences_(new uint64_t[own_streams]()),
      windows_(new std::atomic<void*>[streams()]()) {
  SC_ASSERT(peer != self);
}

Peer::~Peer() {
  for (unsigned i = 0; i < streams(); ++i) {
    void* window = windows_[i].load();
    if (id.is_member())
      delete static_cast<MemberWindow*>(window);
    else
      delete static_cast<ProxyWindow*>(window);
  }
}

namespace {

// The stream's window, made at the first verified envelope.
template <class Window>
Window& window_of(std::atomic<void*>& place) {
  void* window = place.load(std::memory_order_acquire);
  if (window == nullptr) {
    auto fresh = std::make_unique<Window>();
    if (place.compare_exchange_strong(window, fresh.get(), std::memory_order_acq_rel)) window = fresh.release();
  }
  return *static_cast<Window*>(window);
}

}  // namespace

bool Peer::window_accepts(unsigned stream, uint8_t of_generation, uint64_t sequence) {
  bool is_new;
  window_accepts(stream, of_generation, &sequence, 1, &is_new);
  return is_new;
}

void Peer::window_accepts(unsigned stream, uint8_t of_generation, const uint64_t sequence[], size_t n, bool is_new[]) {
  if (id.is_member()) {
    window_of<MemberWindow>(windows_[stream]).accept(of_generation, sequence, n, is_new);
  } else {
    window_of<ProxyWindow>(windows_[stream]).accept(of_generation, sequence, n, is_new);
  }
}

bool Peer::hello_may_pass(Bytes tag) {
  constexpr uint64_t kCountMask = 0xff, kPasses = 4;
  uint64_t name;
  std::memcpy(&name, tag.data(), sizeof name);
  name &= ~kCountMask;
  for (auto& seen : seen_hellos_) {
    uint64_t s = seen.load(std::memory_order_relaxed);
    if ((s & ~kCountMask) != name || s == 0) continue;
    if ((s & kCountMask) >= kPasses) return false;
    seen.store(s + 1, std::memory_order_relaxed);
    return true;
  }
  uint8_t at = seen_next.fetch_add(1, std::memory_order_relaxed);
  seen_hellos_[at % seen_hellos_.size()].store(name | 1, std::memory_order_relaxed);
  return true;
}

PeerTable::Index::Index(unsigned n) : bits(n), cells(size_t{1} << n) {}

PeerTable::PeerTable(NodeId self, uint32_t boot, uint8_t streams, Instant start, Random random)
    : self_(self),
      boot_(boot),
      streams_(streams),
      start_(start),
      random_(random ? std::move(random) : [](MutableBytes out) { randombytes_buf(out.data(), out.size()); }) {
  SC_ASSERT(streams >= 1 && streams <= (self.is_member() ? kMemberStreams : kProxyStreams));
  random_(answer_secret_);
  indexes_.push_back(std::make_unique<Index>(kIndexBitsFirst));
  index_.store(indexes_.back().get());
}

PeerTable::~PeerTable() {
  wipe(answer_secret_);
}

void PeerTable::insert(Index& index, Peer* p) {
  size_t mask = index.cells.size() - 1;
  size_t at = cell_of(p->id, index.bits);
  while (index.cells[at].load(std::memory_order_relaxed) != nullptr) at = (at + 1) & mask;
  index.cells[at].store(p, std::memory_order_release);
}

Peer* PeerTable::find(NodeId id) const {
  const Index& index = *index_.load(std::memory_order_acquire);
  size_t mask = index.cells.size() - 1;
  for (size_t at = cell_of(id, index.bits);; at = (at + 1) & mask) {
    Peer* p = index.cells[at].load(std::memory_order_acquire);
    if (p == nullptr || p->id == id) return p;
  }
}

void PeerTable::add(NodeId id, const PairKey& pair_key, std::optional<Endpoint> address) {
  Peer* p = find(id);
  if (p == nullptr) {
    const auto cell = static_cast<uint16_t>(peers_.size() % kChangeCells);
    peers_.push_back(std::make_unique<Peer>(id, self_, pair_key, streams_, cell));
    p = peers_.back().get();
    Index* index = indexes_.back().get();
    if (peers_.size() * 2 > index->cells.size()) {
      indexes_.push_back(std::make_unique<Index>(index->bits + 1));
      index = indexes_.back().get();
      for (auto& each : peers_) insert(*index, each.get());
      index_.store(index, std::memory_order_release);
    } else {
      insert(*index, p);
    }
  }
  if (address) {
    p->configured_address = true;
    p->endpoint.store(*address);
  }
  schedule(*p);
}

bool PeerTable::contains(NodeId id) const {
  return find(id) != nullptr;
}

uint64_t PeerTable::timestamp_us(Instant now) const {
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(now - start_).count();
  return static_cast<uint64_t>(us) & ((uint64_t{1} << 48) - 1);
}

// --- seal ---

size_t PeerTable::seal(NodeId to, uint8_t stream, GroupId group, PayloadKind kind, const EnvelopeOptions& options,
                       uint64_t timestamp_us, Bytes payload, MutableBytes header_out) {
  SC_ASSERT(stream < streams_);
  size_t extra = options_size(options);
  if (kind != PayloadKind::message && kAuthOptionSize + extra > kInnerOptionsMax) return 0;
  if (header_out.size() < kEnvelopeSizeMin + extra) return 0;
  Peer* p = find(to);
  if (p == nullptr) return 0;
  const uint8_t slot = p->sending.load(std::memory_order_acquire);
  if (slot == kNoSlot) return 0;
  const KeySlot& keys = p->slots[slot];
  WireHead head{self_, group,  {boot_, timestamp_us}, stream, keys.meta().send_epoch, p->take_sequence(stream), kind,
                {},    payload};
  return write_envelope(keys.send_key(), head, options, header_out);
}

void PeerTable::renew(SendKeys& keys, NodeId to, uint8_t stream) {
  constexpr uint16_t kNumbers = 256;  // at a time
  SC_ASSERT(stream < streams_);
  keys.changes = nullptr;
  Peer* p = find(to);
  if (p == nullptr) return;
  const std::atomic<uint32_t>& changes = key_changes_[p->change_cell];
  keys.copied = changes.load(std::memory_order_acquire);  // before what they may be changes of
  const uint8_t slot = p->sending.load(std::memory_order_acquire);
  if (slot == kNoSlot) return;
  keys.key = p->slots[slot].send_key();
  keys.epoch = p->slots[slot].meta().send_epoch;
  keys.changes = &changes;
  if (keys.left != 0) return;
  keys.next = p->take_sequence(stream, kNumbers);
  keys.left = kNumbers;
}

size_t PeerTable::seal_message(NodeId to, uint8_t stream, uint64_t timestamp_us, Bytes message,
                               MutableBytes datagram_out) {
  if (datagram_out.size() < kEnvelopeSizeMin + message.size()) return 0;
  std::memcpy(datagram_out.data() + kEnvelopeSizeMin, message.data(), message.size());
  size_t n = seal(to, stream, GroupId{0}, PayloadKind::message, {}, timestamp_us, message,
                  datagram_out.first(kEnvelopeSizeMin));
  return n == 0 ? 0 : n + message.size();
}

// Datagrams of the control thread: what `write` puts down, as a message in an envelope.
template <class Write>
void PeerTable::queue(Peer& p, const Endpoint& at, SipKey key, uint8_t key_epoch, uint64_t sequence, Instant now,
                      Write write) {
  Datagram d;
  d.to = p.id;
  d.at = at;
  MutableBytes out(d.bytes);
  Writer w(out.subspan(kEnvelopeSizeMin));
  write(w);
  WireHead head{self_,      GroupId{0}, {boot_, timestamp_us(now)}, control_stream(),
                key_epoch,  sequence,   PayloadKind::message,       {},
                w.written()};
  size_t n = write_envelope(key, head, {}, out.first(kEnvelopeSizeMin));
  d.length = static_cast<uint16_t>(n + w.size());
  outputs_.push_back(d);
}

void PeerTable::queue_hello(Peer& p, const Endpoint& at, const HelloMessage& m, Instant now) {
  queue(p, at, hello_tag_key(p.pair_key, self_).raw, 0, 0, now, [&](Writer& w) { write_hello(m, w); });
}

void PeerTable::queue_path(Peer& p, uint8_t receive_epoch, const Endpoint& at, const PathMessage& m, Instant now) {
  const KeySlot& keys = p.slots[receive_epoch % kKeySlots];
  queue(p, at, keys.send_key(), keys.meta().send_epoch, p.take_sequence(control_stream()), now,
        [&](Writer& w) { write_path(m, w); });
}

// --- open ---

NodeId claimed_sender(Bytes udp_payload) {
  WireHead head;
  return read_head(udp_payload, head) ? head.sender : NodeId{};
}

OpenResult PeerTable::open(Bytes udp_payload, Envelope& out) {
  WireHead head;
  if (!read_head(udp_payload, head)) return OpenResult::malformed;
  Peer* p = find(head.sender);
  if (p == nullptr) return OpenResult::unknown_peer;

  bool is_hello = head.key_epoch == 0;
  uint8_t generation = 0;
  if (is_hello) {
    if (head.kind != PayloadKind::message) return OpenResult::malformed;
    if (!tag_verifies(p->hello_receive_key, udp_payload, head)) return OpenResult::bad_tag;
    if (!p->hello_may_pass(udp_payload.subspan(kEnvelopeSizeMin - sizeof(SipTag), sizeof(SipTag))))
      return OpenResult::replayed;
  } else {
    const KeySlot& keys = p->slots[head.key_epoch % kKeySlots];
    KeySlot::Meta meta = keys.meta();
    if (meta.receive_epoch != head.key_epoch || meta.boot != head.stamp.boot) return OpenResult::unknown_peer;
    if (!tag_verifies(keys.receive_key(), udp_payload, head)) return OpenResult::bad_tag;
    if (head.stream >= p->streams()) return OpenResult::malformed;
    generation = meta.generation;
    if (!p->window_accepts(head.stream, generation, head.sequence)) return OpenResult::replayed;
  }
  if (!fill(head, out)) return OpenResult::malformed;
  return is_hello ? OpenResult::hello : OpenResult::ok;
}

bool PeerTable::fill(const WireHead& head, Envelope& out) {
  if (!read_options(head.options, out.options)) return false;
  out.sender = head.sender;
  out.group = head.group;
  out.stamp = head.stamp;
  out.stream = head.stream;
  out.key_epoch = head.key_epoch;
  out.sequence = head.sequence;
  out.kind = head.kind;
  out.payload = head.payload;
  return true;
}

// --- what is known of a peer ---

void PeerTable::heard(const Envelope& e, const Endpoint&, Instant now) {
  if (Peer* p = find(e.sender)) hear(*p, e.key_epoch, e.stamp, now);
}

void PeerTable::hear(Peer& p, uint8_t key_epoch, const Stamp& newest, Instant now) {
  int64_t ns = now.time_since_epoch().count();
  // Several threads hear the same peer: they need not fight for the line more than once a millisecond.
  if (ns - p.last_heard.load(std::memory_order_relaxed) >= 1'000'000) p.last_heard.store(ns, std::memory_order_relaxed);
  KeySlot::Meta keys = p.slots[key_epoch % kKeySlots].meta();
  if (keys.receive_epoch != key_epoch || keys.boot != newest.boot) return;
  uint64_t known = p.newest_stamp.load(std::memory_order_relaxed);
  uint64_t stamp = uint64_t(keys.generation) << 48 | newest.timestamp_us;
  const auto boots = static_cast<int8_t>(keys.generation - static_cast<uint8_t>(known >> 48));  // modulo 256
  if (known == 0 || boots > 0 || (boots == 0 && stamp > known)) p.newest_stamp.store(stamp, std::memory_order_relaxed);
}

Stamp PeerTable::newest_stamp(NodeId id) const {
  const Peer* p = find(id);
  if (p == nullptr) return {};
  uint64_t known = p->newest_stamp.load(std::memory_order_relaxed);
  if (known == 0) return {};
  for (const KeySlot& keys : p->slots) {
    KeySlot::Meta m = keys.meta();
    if (m.receive_epoch != 0 && m.generation == static_cast<uint8_t>(known >> 48))
      return {m.boot, known & ((uint64_t{1} << 48) - 1)};
  }
  return {};
}

bool PeerTable::ready(NodeId id) const {
  const Peer* p = find(id);
  return p != nullptr && p->sending.load(std::memory_order_acquire) != kNoSlot;
}

std::optional<Endpoint> PeerTable::endpoint(NodeId id) const {
  const Peer* p = find(id);
  return p == nullptr ? std::nullopt : p->endpoint.load();
}

Instant PeerTable::last_heard(NodeId id) const {
  const Peer* p = find(id);
  return p == nullptr ? Instant{} : Instant(Duration(p->last_heard.load(std::memory_order_relaxed)));
}

Duration PeerTable::rtt(NodeId id) const {
  const Peer* p = find(id);
  int64_t ns = p == nullptr ? -1 : p->rtt.load(std::memory_order_relaxed);
  return ns < 0 ? Duration::max() : Duration(ns);
}

}  // namespace statecast
