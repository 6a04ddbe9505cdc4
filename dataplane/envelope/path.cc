// SPDX-License-Identifier: BSD-3-Clause
// Path: keep-alives, round trips, a member's address, and the clock of the control part. All timers of a peer:
//
//   hello retry       an exchange is under way and got no answer: kHelloRetry; kHelloRetries times, then a new one
//   hello due         no keys; or the peer has been silent for kSilenceBeforeHello; or kRehelloPeriod has passed
//   keep-alive        kKeepAlivePeriod, to peers whose address is configured (proxies)
//
// They are set in schedule() and run in service(), nowhere else.
#include <algorithm>

#include "dataplane/envelope/peer.h"
#include "dataplane/envelope/peers.h"

namespace statecast {

// --- codec ---

void write_path(const PathMessage& m, Writer& w) {
  w.u8(uint8_t(m.type));
  if (m.type == PathType::keep_alive) {
    w.u8(m.answer_wanted ? 1 : 0);
    w.u48(m.echo_us);
    w.u32(m.held_us);
    w.zeros(4);
  } else {
    w.zeros(7);
    w.u64(m.nonce);
  }
}

std::optional<PathMessage> read_path(Bytes payload) {
  if (payload.size() != kPathSize) return std::nullopt;
  Reader r(payload);
  PathMessage m;
  m.type = PathType(r.u8());
  switch (m.type) {
    case PathType::keep_alive:
      m.answer_wanted = r.u8() & 1;
      m.echo_us = r.u48();
      m.held_us = r.u32();
      return m;
    case PathType::challenge:
    case PathType::challenge_echo:
      r.bytes(7);
      m.nonce = r.u64();
      return m;
  }
  return std::nullopt;
}

// --- clock ---

void PeerTable::schedule(Peer& p) {
  Instant next = p.exchange ? p.exchange->retry_at : hello_due(p);
  if (p.configured_address && p.current != 0) next = std::min(next, p.next_keep_alive);
  if (next == p.deadline) return;
  if (p.deadline != Instant::max()) deadlines_.erase({p.deadline, &p});
  p.deadline = next;
  if (next != Instant::max()) deadlines_.insert({next, &p});
}

void PeerTable::service(Peer& p, Instant now) {
  if (p.exchange && now >= p.exchange->retry_at) {
    // To an address that is not proven goes one hello only (see on_unverified).
    bool proven = p.configured_address || p.exchange->answered;
    if (proven && p.exchange->sent < kHelloRetries) {
      send_hello(p, now);
    } else {
      end_hello(p);
      if (p.failed_exchanges < kHelloFastExchanges) ++p.failed_exchanges;
    }
  }
  if (!p.exchange && now >= hello_due(p)) {
    // Between proxies without keys the lower ID begins; the other one gives it a moment.
    if (p.current == 0 && p.next_hello == Instant{} && !is_starter(p))
      p.next_hello = now + kHelloHigherWaits;
    else
      start_hello(p, *p.endpoint.load(), now);
  }
  if (p.configured_address && p.current != 0 && now >= p.next_keep_alive) {
    p.next_keep_alive = now + kKeepAlivePeriod;
    send_keep_alive(p, p.current, *p.endpoint.load(), true, now);
  }
  schedule(p);
}

void PeerTable::on_deadline(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    service(*deadlines_.begin()->second, now);  // always leaves a later deadline
  }
}

Instant PeerTable::next_deadline() const {
  return deadlines_.empty() ? Instant::max() : deadlines_.begin()->first;
}

bool PeerTable::next_output(Datagram& out) {
  if (outputs_.empty()) return false;
  out = outputs_.front();
  outputs_.pop_front();
  return true;
}

// --- messages ---

void PeerTable::send_keep_alive(Peer& p, uint8_t receive_epoch, const Endpoint& at, bool answer_wanted, Instant now) {
  PathMessage m{.type = PathType::keep_alive, .answer_wanted = answer_wanted, .echo_us = p.keep_alive_us};
  auto held = std::chrono::duration_cast<std::chrono::microseconds>(now - p.keep_alive_at).count();
  m.held_us = static_cast<uint32_t>(std::min<int64_t>(held, UINT32_MAX));
  queue_path(p, receive_epoch, at, m, now);
}

bool PeerTable::on_path_message(const Envelope& e, const Endpoint& from, Instant now) {
  Peer* found = find(e.sender);
  if (found == nullptr || e.key_epoch == 0 || e.kind != PayloadKind::message) return false;
  Peer& p = *found;
  bool waiting = e.key_epoch == p.initiated || e.key_epoch == p.responded;
  if (waiting && p.slots[e.key_epoch % kKeySlots].meta().receive_epoch == e.key_epoch) {
    adopt_keys(p, e.key_epoch, now);
    schedule(p);
  }
  auto m = e.group.value == 0 ? read_path(e.payload) : std::nullopt;
  if (!m) return false;

  consider_address(p, e, from, now);
  Endpoint reply_to = reply_address(p, from);
  switch (m->type) {
    case PathType::keep_alive: {
      auto sample = static_cast<int64_t>(timestamp_us(now) - m->echo_us) - m->held_us;
      if (m->echo_us != 0 && sample >= 0 && sample < 10'000'000) {
        int64_t known = p.rtt.load(std::memory_order_relaxed), ns = sample * 1000;
        p.rtt.store(known < 0 ? ns : (7 * known + ns) / 8, std::memory_order_relaxed);
      }
      p.keep_alive_us = e.stamp.timestamp_us;
      p.keep_alive_at = now;
      if (m->answer_wanted && p.current != 0) send_keep_alive(p, p.current, reply_to, false, now);
      break;
    }
    case PathType::challenge:
      if (p.current != 0)
        queue_path(p, p.current, reply_to, {.type = PathType::challenge_echo, .nonce = m->nonce}, now);
      break;
    case PathType::challenge_echo:
      if (p.challenge && p.challenge->nonce == m->nonce && p.challenge->address == from) {
        p.endpoint.store(from);
        p.challenge.reset();
      }
      break;
  }
  schedule(p);
  return true;
}

// A member's address follows its keep-alives: only the one with the highest sequence so far counts, and it gets data
// only once a challenge sent there has come back from there.
void PeerTable::consider_address(Peer& p, const Envelope& e, const Endpoint& from, Instant now) {
  if (p.configured_address) return;
  KeySlot::Meta keys = p.slots[e.key_epoch % kKeySlots].meta();
  if (keys.receive_epoch != e.key_epoch) return;
  if (keys.generation != p.path_generation) {
    p.path_generation = keys.generation;
    p.path_sequence = 0;
  }
  if (e.sequence <= p.path_sequence) return;
  p.path_sequence = e.sequence;
  if (p.endpoint.load() == from) {
    p.challenge.reset();
    return;
  }
  if (!p.challenge || p.challenge->address != from) {
    p.challenge = std::make_unique<Challenge>();
    p.challenge->address = from;
    uint8_t nonce[sizeof p.challenge->nonce];
    random_(nonce);
    std::memcpy(&p.challenge->nonce, nonce, sizeof nonce);
  } else if (now - p.challenge->sent < kChallengeRetry) {
    return;
  }
  p.challenge->sent = now;
  if (p.current != 0) queue_path(p, p.current, from, {.type = PathType::challenge, .nonce = p.challenge->nonce}, now);
}

}  // namespace statecast
