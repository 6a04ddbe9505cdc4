// SPDX-License-Identifier: BSD-3-Clause
// The order of functions is that of a run: hello, set-up, data, answers.
#include "tools/pktgen/member_side.h"

#include <algorithm>
#include <cstring>

#include "dataplane/envelope/outer.h"
#include "dataplane/envelope/wire.h"

namespace statecast {

namespace {

constexpr size_t kInsertingMax = 1'000;  // inserts under way: more would wait at the proxy until they are sent again
constexpr uint8_t kDataStream = 0;       // of our envelopes; the last stream is PeerTable's own
constexpr Duration kUnverifiedEvery = 100ms;

View view_of(const std::vector<ProxyPeerConfig>& proxies) {
  std::vector<ViewNode> nodes;
  for (const auto& p : proxies) nodes.push_back({p.id, p.zone});
  return View({}, std::move(nodes));
}

}  // namespace

struct MemberSide::Member {
  Member(const MemberSideOptions& o, const MemberSideOptions::Member& self, uint32_t boot, uint64_t seed, Instant now)
      : address(self.address),
        peers(NodeId::member(self.id), boot, 2, now),
        owner({.self = self.id,
               .incarnation = o.incarnation,
               .view = view_of(o.proxies),
               .reachable = [this](ProxyId p) { return peers.ready(NodeId::proxy(p)); },
               .rtt =
                   [this](ProxyId p) {
                     Duration rtt = peers.rtt(NodeId::proxy(p));
                     return rtt == Duration::max() ? Duration{} : rtt;
                   },
               .sessions_max = 100'000'000},
              seed) {
    for (const ProxyPeerConfig& p : o.proxies)
      peers.add(NodeId::proxy(p.id), member_pair_key(self.key, p.id), p.address);
  }
  IpAddress address;
  PeerTable peers;
  Owner owner;
  Instant unverified_at{};
};

MemberSide::MemberSide(MemberSideOptions options, Instant now)
    : options_(std::move(options)), inserting_(1024, KeyedHash(options_.hash_key)), now_(now) {
  Rng rng(options_.seed);
  for (const auto& m : options_.members)
    members_.push_back(std::make_unique<Member>(options_, m, static_cast<uint32_t>(rng.next()), rng.next(), now));
}

MemberSide::~MemberSide() = default;

int MemberSide::member_at(const IpAddress& address) const {
  for (size_t i = 0; i < members_.size(); ++i)
    if (members_[i]->address == address) return static_cast<int>(i);
  return -1;
}

void MemberSide::poll(Instant now) {
  now_ = now;
  bool all = true;
  for (auto& m : members_) {
    if (m->peers.next_deadline() <= now) m->peers.on_deadline(now);
    if (m->owner.next_deadline() <= now) m->owner.on_deadline(now);
    for (OwnerEvent e; m->owner.next_event(e);) on_event(e);
    for (const ProxyPeerConfig& p : options_.proxies) all = all && m->peers.ready(NodeId::proxy(p.id));
  }
  if (all != ready()) ready_.store(all, std::memory_order_release);
}

// --- set-up ---

bool MemberSide::insert(const StreamPlan& stream, uint32_t session, Instant now) {
  if (inserting_.size() >= kInsertingMax) return false;
  SessionId id = SessionId::tuple(options_.group, stream.protocol, client_of_session(stream.client, session),
                                  stream.destination_of(session));
  if (!inserting_.try_emplace(id, Ref{stream.index, session}).second) return true;  // under way
  size_t m = session % members_.size();
  options_.sessions->at(stream.index, session).home.store(static_cast<uint16_t>(m + 1), std::memory_order_relaxed);
  members_[m]->owner.insert({.id = id, .established = true, .born_new = true}, now);
  return true;
}

void MemberSide::on_event(const OwnerEvent& e) {
  using Kind = OwnerEvent::Kind;
  auto at = inserting_.find(e.id);
  if (e.kind == Kind::busy || e.kind == Kind::conflict || e.kind == Kind::refused) {
    options_.counters->inserts_failed.add(1);
    if (at != inserting_.end()) inserting_.erase(at);  // its turn comes again
    return;
  }
  if (e.kind != Kind::inserted || at == inserting_.end()) return;
  options_.sessions->set_ready(at->second.stream, at->second.session);
  inserting_.erase(at);
}

void MemberSide::on_syn(const Brought& b, Bytes packet, const EnvelopeOptions& options, Instant now) {
  options_.counters->member_syn.add(1);
  std::array<uint8_t, 60> reply;
  size_t n = write_syn_ack(packet, b.look, b.member, reply);
  members_[b.member]->owner.insert(
      {.id = SessionId::tuple(options_.group, Protocol::tcp, source_endpoint(packet, b.look),
                              destination_endpoint(packet, b.look)),
       .established = false,
       .born_new = true,
       .ingress = b.proxy,
       .replica_hint = options.replica_hint.value_or(ProxyId{}),
       .packet = Bytes(reply).first(n)},
      now);
}

// --- what comes ---

void MemberSide::note(OpenResult r) {
  WorkerCounters& c = *options_.counters;
  switch (r) {
    case OpenResult::ok:
    case OpenResult::hello: return;
    case OpenResult::bad_tag: return c.bad_tag.add(1);
    case OpenResult::replayed: return c.replayed.add(1);
    case OpenResult::malformed:
    case OpenResult::unknown_peer: return c.bad_envelope.add(1);
  }
}

Brought MemberSide::take(Bytes frame, const PacketLook& look, Instant now) {
  Brought b;
  if (look.protocol != Protocol::udp || destination_endpoint(frame, look).port.value != kEnvelopePort) return b;
  int m = member_at(destination_endpoint(frame, look).address);
  if (m < 0) return b;
  now_ = now;
  b.kind = Brought::Kind::handled;
  b.member = static_cast<uint16_t>(m);
  options_.counters->envelopes.add(1);
  Bytes datagram = frame.subspan(look.payload, size_t(look.end) - look.payload);
  PeerTable& peers = members_[b.member]->peers;

  Envelope e;
  WireHead head;
  bool skip = options_.verify_every > 1 && ++since_verified_ < options_.verify_every && read_head(datagram, head) &&
              head.kind != PayloadKind::message;
  if (skip) {
    options_.counters->unverified.add(1);
    e.sender = head.sender;
    e.kind = head.kind;
    e.payload = head.payload;
    if (!read_options(head.options, e.options)) {
      note(OpenResult::malformed);
      return b;
    }
  } else {
    since_verified_ = 0;
    Endpoint from = source_endpoint(frame, look);
    OpenResult r = peers.open(datagram, e);
    note(r);
    if (r == OpenResult::hello) peers.on_hello(e, from, now);
    if ((r == OpenResult::bad_tag || r == OpenResult::unknown_peer) && now >= members_[b.member]->unverified_at) {
      members_[b.member]->unverified_at = now + kUnverifiedEvery;
      peers.on_unverified(claimed_sender(datagram), from, now);
    }
    if (r != OpenResult::ok) return b;
    peers.heard(e, from, now);
    if (e.kind == PayloadKind::message) {
      if (!peers.on_path_message(e, from, now) && !members_[b.member]->owner.on_message(e.sender, e.payload, now))
        note(OpenResult::malformed);
      return b;
    }
  }
  if (!e.sender.is_proxy() || !look_at_ip(e.payload, b.look)) {
    note(OpenResult::malformed);
    return b;
  }
  b.proxy = e.options.ingress.value_or(e.sender.as_proxy());
  b.admitted = e.options.admitted;
  b.inner = static_cast<size_t>(e.payload.data() - frame.data());
  b.inner_length = e.payload.size();
  if (b.look.is_syn()) {
    on_syn(b, e.payload, e.options, now);
    return b;
  }
  b.kind = Brought::Kind::data;
  return b;
}

bool MemberSide::is_home(const Brought& b, const Mark& mark, Bytes packet, Instant now) {
  if (!options_.sessions->has(mark.stream, mark.session)) return true;
  auto& cell = options_.sessions->at(mark.stream, mark.session);
  auto here = static_cast<uint16_t>(b.member + 1);
  uint16_t home = cell.home.load(std::memory_order_relaxed);
  if (home == 0) cell.home.store(home = here, std::memory_order_relaxed);
  if (home != here) return false;
  if (cell.established.load(std::memory_order_relaxed)) return true;
  const StreamPlan& stream = options_.plan->streams[mark.stream];
  Owner& owner = members_[b.member]->owner;
  SessionId id = SessionId::tuple(options_.group, b.look.protocol, source_endpoint(packet, b.look),
                                  destination_endpoint(packet, b.look));
  if (stream.setup == PktgenStreamConfig::Setup::syn)
    owner.establish(id, now);
  else if (b.admitted && !owner.owns(id))
    owner.insert({.id = id, .established = true, .born_new = true, .ingress = b.proxy}, now);
  cell.established.store(1, std::memory_order_relaxed);
  return true;
}

// --- what goes ---

bool MemberSide::write_head(const Member& m, const Endpoint& to, Bytes envelope, MutableBytes room,
                            size_t& length) const {
  length = write_outer({.destination_mac = options_.link->peer(),
                        .source_mac = options_.link->mac(),
                        .source = {m.address, Port{kEnvelopePort}},
                        .destination = to},
                       envelope, room);
  return length != 0;
}

size_t MemberSide::seal_answer(const Brought& b, Instant now, Bytes packet, MutableBytes room) {
  Member& m = *members_[b.member];
  NodeId to = NodeId::proxy(b.proxy);
  auto at = m.peers.endpoint(to);
  if (!at) return 0;
  size_t sealed =
      m.peers.seal(to, kDataStream, options_.group, b.look.version == 4 ? PayloadKind::ipv4 : PayloadKind::ipv6, {},
                   m.peers.timestamp_us(now), packet, room);
  if (sealed == 0) return 0;
  size_t outer = 0;
  Bytes envelope(room.data() + room.size() - sealed, sealed + packet.size());
  if (!write_head(m, *at, envelope, room.first(room.size() - sealed), outer)) return 0;
  return sealed + outer;
}

size_t MemberSide::write_frame(Member& m, const Endpoint& to, Bytes datagram, MutableBytes out) {
  size_t outer = outer_size(m.address.family);
  if (outer + datagram.size() > out.size()) return 0;
  if (out.data() + outer != datagram.data()) std::memmove(out.data() + outer, datagram.data(), datagram.size());
  size_t length = 0;
  if (!write_head(m, to, Bytes(out).subspan(outer, datagram.size()), out.first(outer), length)) return 0;
  return outer + datagram.size();
}

size_t MemberSide::next_frame(MutableBytes out) {
  for (auto& m : members_) {
    for (DirectoryOutput o; m->owner.next_output(o);) {
      auto at = m->peers.endpoint(o.to);
      if (!at) continue;  // it is sent again
      MutableBytes room = out.subspan(outer_size(m->address.family));
      size_t n = m->peers.seal_message(o.to, kDataStream, m->peers.timestamp_us(now_), o.message, room);
      if (n == 0) continue;
      if (size_t all = write_frame(*m, *at, Bytes(room).first(n), out)) return all;
    }
    for (PeerTable::Datagram d; m->peers.next_output(d);)
      if (size_t n = write_frame(*m, d.at, Bytes(d.bytes).first(d.length), out)) return n;
  }
  return 0;
}

}  // namespace statecast
