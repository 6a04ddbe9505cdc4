// SPDX-License-Identifier: BSD-3-Clause
// Hello: the messages' codec and the machine of both sides, in the order of an exchange. hello.h tells the story.
//
// Key slots of a peer, by receive epoch modulo 4: one holds the current keys, one the previous ones, one is for the
// hello that we start, one for the hello that the peer starts. Adopting keys moves `current` there and frees the slot
// of `previous` for the next hello. Epochs are never given out twice in a row, so a late envelope of an earlier hello
// is not taken for one of the present.
#include "dataplane/envelope/hello.h"

#include <sodium.h>

#include <algorithm>

#include "dataplane/envelope/peer.h"
#include "dataplane/envelope/peers.h"

namespace statecast {

// --- codec ---

void write_hello(const HelloMessage& m, Writer& w) {
  w.u8(uint8_t(m.type));
  switch (m.type) {
    case HelloType::hello:
      w.u8(m.initiator_epoch);
      w.zeros(2);
      w.bytes(m.initiator_salt);
      w.u48(m.echo.timestamp_us);
      w.u32(m.echo.boot);
      w.zeros(18);
      break;
    case HelloType::answer:
      w.u8(m.responder_epoch);
      w.u8(m.initiator_epoch);
      w.zeros(1);
      w.bytes(m.initiator_salt);
      w.bytes(m.responder_salt);
      w.zeros(12);
      break;
    case HelloType::confirm:
      w.u8(m.initiator_epoch);
      w.u8(m.responder_epoch);
      w.zeros(1);
      w.bytes(m.initiator_salt);
      w.bytes(m.responder_salt);
      w.u48(m.echo.timestamp_us);
      w.zeros(2);
      w.u32(m.echo.boot);
      break;
  }
}

std::optional<HelloMessage> read_hello(Bytes payload) {
  if (payload.size() != kHelloSize) return std::nullopt;
  Reader r(payload);
  HelloMessage m;
  m.type = HelloType(r.u8());
  switch (m.type) {
    case HelloType::hello:
      m.initiator_epoch = r.u8();
      r.u16();
      r.copy(m.initiator_salt);
      m.echo.timestamp_us = r.u48();
      m.echo.boot = r.u32();
      break;
    case HelloType::answer:
      m.responder_epoch = r.u8();
      m.initiator_epoch = r.u8();
      r.u8();
      r.copy(m.initiator_salt);
      r.copy(m.responder_salt);
      break;
    case HelloType::confirm:
      m.initiator_epoch = r.u8();
      m.responder_epoch = r.u8();
      r.u8();
      r.copy(m.initiator_salt);
      r.copy(m.responder_salt);
      m.echo.timestamp_us = r.u48();
      r.u16();
      m.echo.boot = r.u32();
      break;
    default: return std::nullopt;
  }
  bool epochs = m.initiator_epoch != 0 && (m.type == HelloType::hello || m.responder_epoch != 0);
  return epochs && r.ok() ? std::optional(m) : std::nullopt;
}

namespace {

// The next epoch of the same slot; 0 is not one.
uint8_t next_epoch(uint8_t epoch) {
  auto next = static_cast<uint8_t>(epoch + kKeySlots);
  return next == 0 ? kKeySlots : next;
}

bool holds(const Peer& p, uint8_t epoch) {
  return p.slots[epoch % kKeySlots].meta().receive_epoch == epoch;
}

// What we offer to a hello of the peer: never the epoch of keys that wait there to be adopted.
uint8_t offered_epoch(const Peer& p) {
  return holds(p, p.responded) ? next_epoch(p.responded) : p.responded;
}

}  // namespace

// --- who starts, and when ---

// Members to proxies; between proxies the lower ID. The other side may start too, but waits longer.
bool PeerTable::is_starter(const Peer& p) const {
  return self_.is_member() || (p.id.is_proxy() && self_.value < p.id.value);
}

Instant PeerTable::hello_due(const Peer& p) const {
  if (!p.configured_address) return Instant::max();
  if (p.current == 0) return p.next_hello;
  Duration patience = is_starter(p) ? kSilenceBeforeHello : 2 * kSilenceBeforeHello;
  Instant heard(Duration(p.last_heard.load(std::memory_order_relaxed)));
  Instant due = std::max(heard, p.adopted) + patience;
  if (is_starter(p)) due = std::min(due, p.adopted + kRehelloPeriod);
  return std::max(due, p.next_hello);
}

void PeerTable::on_unverified(NodeId claimed, const Endpoint& from, Instant now) {
  Peer* p = find(claimed);
  if (p == nullptr || p->exchange || now < p->next_hello) return;
  // Whoever is heard well needs no hello; then this was somebody else's datagram.
  Instant heard(Duration(p->last_heard.load(std::memory_order_relaxed)));
  if (p->current != 0 && now - std::max(heard, p->adopted) < 2 * kKeepAlivePeriod) return;
  auto known = p->configured_address ? p->endpoint.load() : std::nullopt;
  start_hello(*p, known.value_or(from), now);
  // To an address that nobody has proven goes one hello a second, so that nobody can be flooded by it.
  if (!known) p->next_hello = now + 1s;
  schedule(*p);
}

// Whoever has a configured address gets answers there and nowhere else. Else somebody who passes the hellos of a proxy
// on to a member from an address of his own would get the answers, and seem to be the member.
Endpoint PeerTable::reply_address(const Peer& p, const Endpoint& from) const {
  return p.configured_address ? p.endpoint.load().value_or(from) : from;
}

// --- initiator ---

void PeerTable::start_hello(Peer& p, const Endpoint& to, Instant now) {
  uint8_t slot = p.initiated % kKeySlots;
  p.slots[slot].clear();
  p.initiated = p.last_epoch[slot] = next_epoch(p.last_epoch[slot]);
  p.exchange = std::make_unique<HelloExchange>();
  random_(p.exchange->salt);
  p.exchange->to = to;
  p.exchange->started = now;
  send_hello(p, now);
}

void PeerTable::send_hello(Peer& p, Instant now) {
  HelloExchange& x = *p.exchange;
  if (x.answered) {
    queue_hello(p, x.to, x.confirm, now);
  } else {
    HelloMessage m{.type = HelloType::hello, .initiator_epoch = p.initiated, .initiator_salt = x.salt};
    m.echo = newest_stamp(p.id);
    queue_hello(p, x.to, m, now);
  }
  ++x.sent;
  x.retry_at = now + (p.failed_exchanges < kHelloFastExchanges ? kHelloRetry : kHelloRetrySlow);
}

void PeerTable::end_hello(Peer& p) {
  p.slots[p.initiated % kKeySlots].clear();
  p.exchange.reset();
}

// --- both ---

void PeerTable::on_hello(const Envelope& e, const Endpoint& from, Instant now) {
  Peer* p = find(e.sender);
  auto m = read_hello(e.payload);
  if (p == nullptr || !m) return;
  switch (m->type) {
    case HelloType::hello: answer_hello(*p, e, *m, from, now); break;
    case HelloType::answer: take_answer(*p, e, *m, from, now); break;
    case HelloType::confirm: take_confirm(*p, e, *m, from, now); break;
  }
  schedule(*p);
}

// --- responder ---

Salt PeerTable::responder_salt(const Peer& p, uint32_t boot, const HelloMessage& m, const Endpoint& from,
                               uint64_t issued) const {
  uint8_t exchange[96];
  Writer w(exchange);
  w.u32(p.id.value);
  w.u32(boot);
  w.u8(m.initiator_epoch);
  w.u8(m.responder_epoch);
  w.u64(issued);
  w.bytes(m.initiator_salt);
  w.u8(uint8_t(from.address.family));
  w.bytes(from.address.raw);
  w.u16(from.port.value);
  Salt salt;
  crypto_generichash(salt.data(), salt.size(), exchange, w.size(), answer_secret_.data(), answer_secret_.size());
  return salt;
}

void PeerTable::answer_hello(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now) {
  uint64_t issued = timestamp_us(now);
  // It has heard of our future: no hello of this start of ours.
  if (m.echo.boot == boot_ && m.echo.timestamp_us > issued) return;
  HelloMessage answer = m;
  answer.type = HelloType::answer;
  answer.responder_epoch = offered_epoch(p);
  answer.responder_salt = responder_salt(p, e.stamp.boot, answer, from, issued);
  queue_hello(p, reply_address(p, from), answer, now);
}

void PeerTable::take_answer(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now) {
  if (!p.exchange || p.exchange->answered) return;
  HelloExchange& x = *p.exchange;
  if (m.initiator_salt != x.salt || m.initiator_epoch != p.initiated) return;
  install_keys(p, m.initiator_epoch, m.responder_epoch, e.stamp.boot, m);
  x.answered = true;
  x.confirm = m;
  x.confirm.type = HelloType::confirm;
  x.confirm.echo = e.stamp;
  // The answer echoes a salt that went to this address alone.
  if (!p.configured_address && from == x.to) p.endpoint.store(from);
  x.to = reply_address(p, from);
  x.sent = 0;
  send_hello(p, now);
}

void PeerTable::take_confirm(Peer& p, const Envelope& e, const HelloMessage& m, const Endpoint& from, Instant now) {
  auto issued = static_cast<int64_t>(m.echo.timestamp_us), present = static_cast<int64_t>(timestamp_us(now));
  int64_t life = std::chrono::duration_cast<std::chrono::microseconds>(kAnswerLife).count();
  if (m.echo.boot != boot_ || issued > present || present - issued > life || issued < p.last_issued) return;
  Salt salt = responder_salt(p, e.stamp.boot, m, from, m.echo.timestamp_us);
  if (sodium_memcmp(salt.data(), m.responder_salt.data(), salt.size()) != 0) return;

  bool again = issued == p.last_issued && holds(p, m.responder_epoch) &&
               (m.responder_epoch == p.responded || m.responder_epoch == p.current);
  if (!again) {
    if (issued == p.last_issued || m.responder_epoch != offered_epoch(p)) return;
    p.last_issued = issued;
    p.responded = p.last_epoch[m.responder_epoch % kKeySlots] = m.responder_epoch;
    install_keys(p, m.responder_epoch, m.initiator_epoch, e.stamp.boot, m);
    if (!p.configured_address) {
      p.endpoint.store(from);
      p.challenge.reset();
    }
    // Two hellos crossed: the one of whose turn it is to start wins.
    if (p.exchange && !is_starter(p)) end_hello(p);
  }
  send_keep_alive(p, m.responder_epoch, reply_address(p, from), true, now);
}

// --- keys ---

void PeerTable::install_keys(Peer& p, uint8_t receive_epoch, uint8_t send_epoch, uint32_t boot,
                             const HelloMessage& salts) {
  if (boot != p.generation_boot || p.generation == 0) {
    p.generation = p.generation == 255 ? 1 : p.generation + 1;
    p.generation_boot = boot;
    p.keep_alive_us = 0;
  }
  p.slots[receive_epoch % kKeySlots].publish(
      {receive_epoch, send_epoch, p.generation, boot},
      session_tag_key(p.pair_key, salts.initiator_salt, salts.responder_salt, p.id),
      session_tag_key(p.pair_key, salts.initiator_salt, salts.responder_salt, self_));
}

// An envelope has verified under keys that were waiting for it.
void PeerTable::adopt_keys(Peer& p, uint8_t epoch, Instant now) {
  bool ours = epoch == p.initiated;
  if (p.previous != 0) p.slots[p.previous % kKeySlots].clear();
  p.previous = p.current;
  p.current = epoch;
  p.sending.store(epoch % kKeySlots, std::memory_order_release);
  key_changes_[p.change_cell].fetch_add(1, std::memory_order_acq_rel);
  p.adopted = now;
  p.next_keep_alive = now;
  p.failed_exchanges = 0;
  uint8_t& role = ours ? p.initiated : p.responded;
  uint8_t other = ours ? p.responded : p.initiated;
  for (uint8_t slot = 0; slot < kKeySlots; ++slot) {
    if (slot == epoch % kKeySlots || slot == other % kKeySlots) continue;
    if (p.previous != 0 && slot == p.previous % kKeySlots) continue;
    role = p.last_epoch[slot] = next_epoch(p.last_epoch[slot]);
    break;
  }
  if (ours) p.exchange.reset();
}

}  // namespace statecast
