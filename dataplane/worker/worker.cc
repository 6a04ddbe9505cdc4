// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/worker.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/check.h"
#include "dataplane/worker/outer.h"

namespace statecast {

namespace {

constexpr unsigned kEmptyPollsBeforeSleep = 32;
constexpr unsigned kOrdersPerTurn = 64;
constexpr Duration kMissLife = 2s;  // beyond three tries of the querier: the safety net, should its word be lost
constexpr Duration kExpiryPeriod = 10ms;
constexpr double kWantNeighbourPerSecond = 100;
// Kept in mbuf::hash.usr of a held packet, which is the receiving driver's before and nobody's after: a member handed
// the packet back, so the next one gets it marked `forwarded`.
constexpr uint32_t kPlain = 0, kHandedBack = 1;

// How many packets from i on share its fate; most of a burst, as a rule.
unsigned alike(const Burst& b, unsigned i) {
  unsigned end = i + 1;
  while (end < b.count && b.verdict[end] == b.verdict[i] && b.reason[end] == b.reason[i] && b.port[end] == b.port[i]) {
    ++end;
  }
  return end - i;
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(const WorkerSetup& setup) {
  auto misses = MissTable::create(setup.misses);
  if (!misses) return fail(misses.error().in("worker " + std::to_string(setup.index)));
  const Snapshot* s = setup.board->load(setup.index);
  return std::unique_ptr<Worker>(new Worker(setup, std::move(*misses), *s->layout));
}

Worker::Worker(const WorkerSetup& setup, std::unique_ptr<MissTable> misses, const Layout& layout)
    : setup_(setup),
      state_(layout, setup.workers),
      misses_(std::move(misses)),
      want_neighbour_(kWantNeighbourPerSecond) {
  if (setup.pressure) gate_.emplace(layout, setup.workers, *setup.pressure, setup.seed);
  state_.cache = setup.cache;
  state_.peers = setup.peers;
  state_.stream = static_cast<uint8_t>(setup.index);
  for (const WorkerPort& p : setup.ports) {
    if (tx_.size() <= p.port) tx_.resize(p.port + 1u);
    tx_[p.port].to = p;
  }
  setup_.cache->register_reader(setup_.index);
}

Worker::~Worker() {
  rte_mbuf* out[kBurstMax];
  while (size_t n = misses_->expire(Instant::max(), out, kBurstMax))
    rte_pktmbuf_free_bulk(out, static_cast<unsigned>(n));
  for (TxBuffer& tx : tx_) rte_pktmbuf_free_bulk(tx.packet, tx.count);
  setup_.cache->unregister_reader(setup_.index);
}

void Worker::run() {
  prctl(PR_SET_TIMERSLACK, 1);  // else the kernel adds 50 us to each sleep
  unsigned empty = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (turn()) {
      empty = 0;
    } else if (++empty >= kEmptyPollsBeforeSleep && setup_.idle_sleep > Duration{0}) {
      counters_.add(Counter::worker_sleeps);
      usleep(static_cast<useconds_t>(std::chrono::duration_cast<std::chrono::microseconds>(setup_.idle_sleep).count()));
    }
  }
}

bool Worker::turn() {
  snapshot_ = setup_.board->load(setup_.index);
  state_.stages = measure_stages_.load(std::memory_order_relaxed) ? &stage_clock_ : nullptr;
  state_.watch_negatives = setup_.negatives_exist && setup_.negatives_exist->load(std::memory_order_relaxed);
  state_.gate = gate_ && gate_->active() ? &*gate_ : nullptr;
  bool busy = carry_out_orders();

  for (const TxBuffer& tx : tx_) {
    if (tx.to.rx_queue < 0) continue;
    // Under load two bursts overlap: while the one waits for its lines of the session cache, the next one is parsed.
    Burst *b = &bursts_[0], *next = &bursts_[1];
    Instant now, next_now;
    if (!receive(tx.to, *b, now)) continue;
    busy = true;
    run_front(*b, *snapshot_, state_, now);
    for (unsigned k = 1; b->full() && k < kBurstsPerTurn && receive(tx.to, *next, next_now); ++k) {
      run_front(*next, *snapshot_, state_, next_now);
      complete(*b, now);
      std::swap(b, next);
      now = next_now;
    }
    complete(*b, now);
  }

  if (misses_->packets() > 0) give_up_old_misses(setup_.clock());
  for (TxBuffer& tx : tx_) flush(tx);
  setup_.cache->quiescent(setup_.index);
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  // The next turn's looks into the cache must not come before this store: who writes an entry and then reads turns()
  // (with the like fence between) would count a turn as begun after the write that has looked before it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return busy;
}

bool Worker::receive(const WorkerPort& from, Burst& b, Instant& now) {
  rte_mbuf* received[kBurstMax];
  const unsigned n = rte_eth_rx_burst(from.port, static_cast<uint16_t>(from.rx_queue), received, kBurstMax);
  if (n == 0) return false;
  now = setup_.clock();  // after the burst: a lease must not be judged by a time before its packet
  b.clear();
  uint64_t bytes = 0;
  for (unsigned i = 0; i < n; ++i) {
    bytes += received[i]->pkt_len;
    b.add(received[i], from.port);
  }
  counters_.add(Counter::rx_packets, n);
  counters_.add(Counter::rx_bytes, bytes);
  return true;
}

void Worker::complete(Burst& b, Instant now) {
  run_back(b, *snapshot_, state_, now);
  finish(b, now);
  if (state_.stages) {
    state_.stages->lap(Stage::finish);
    state_.stages->add_packets(b.count);
  }
}

// ---- verdicts ----

namespace {

// Of packets that were held, those that are here and not away with a question.
size_t without_lent(rte_mbuf* packets[], size_t n) {
  return static_cast<size_t>(std::remove(packets, packets + n, nullptr) - packets);
}

}  // namespace

void Worker::finish(Burst& b, Instant now) {
  for (uint32_t news = b.news; news != 0; news &= news - 1) tell_control(b, unsigned(std::countr_zero(news)));
  for (unsigned i = 0, n; i < b.count; i += n) {
    n = alike(b, i);
    SC_ASSERT(b.reason[i] < Counter::count);
    switch (b.verdict[i]) {
      case Verdict::forward:
      case Verdict::to_client: transmit(b.port[i], b.packet + i, n); break;
      case Verdict::hold:
      case Verdict::to_control:
        // One by one: where there is no room, the packet is dropped for that reason.
        for (unsigned k = i; k < i + n; ++k) {
          b.verdict[k] == Verdict::hold ? hold(b, k, now) : to_control(b, k);
          counters_.add(b.reason[k]);
        }
        continue;
      case Verdict::pending:
      case Verdict::handed_to_unit:
      case Verdict::to_kernel:  // where the kernel sees the port it has its own copy
      case Verdict::drop: rte_pktmbuf_free_bulk(b.packet + i, n); break;
    }
    counters_.add(b.reason[i], n);
  }
  if (state_.unverified) {
    post({.kind = Note::Kind::unverified, .sender = state_.unverified->sender, .from = state_.unverified->from});
    state_.unverified.reset();
  }
}

void Worker::hold(Burst& b, unsigned i, Instant now) {
  bool handed_back = b.not_mine[i];
  if (!handed_back) bare(b, i);  // else it is already
  b.packet[i]->hash.usr = handed_back ? kHandedBack : kPlain;
  GroupId group = snapshot_->layout->groups[b.group[i]].id;
  Hold h = misses_->hold(b.key[i], group, b.packet[i], b.parsed[i].l3_length, now);
  bool told = true;
  if (handed_back) {
    told = post({.kind = Note::Kind::not_mine,
                 .group = group,
                 .key = b.key[i],
                 .sender = b.envelope[i].sender,
                 .envelope = b.envelope[i]});
  } else if (h == Hold::first) {
    const bool travels = snapshot_->layout->groups[b.group[i]].packet_travels && !state_.gate &&
                         b.parsed[i].l3_length <= kTravelBytesMax;
    rte_mbuf* lent = travels ? misses_->lend_first(b.key[i]) : nullptr;
    told = post({.kind = Note::Kind::ask, .group = group, .key = b.key[i], .packet = lent});
  }
  if (h == Hold::first && told) counters_.add(Counter::miss_asked);
  if (h == Hold::first && !told) {
    // Nobody will ask, so nobody would answer: the session's next packet tries again.
    rte_mbuf* out[kMissPacketsPerSession];
    misses_->release(b.key[i], out);
    h = Hold::full;
  }
  if (h == Hold::full) {
    b.drop(i, Counter::resolve_drop_miss_full);
    rte_pktmbuf_free(b.packet[i]);
  }
}

// What the control thread has to know beside the verdict.
void Worker::tell_control(Burst& b, unsigned i) {
  if (b.ask[i] && post({.kind = Note::Kind::ask,
                        .refill = true,
                        .group = snapshot_->layout->groups[b.group[i]].id,
                        .key = b.key[i]})) {
    counters_.add(Counter::miss_asked);
  }
  if (b.forget_negative[i]) post({.kind = Note::Kind::forget_negative, .key = b.key[i]});
  if (b.with_lease[i] && b.has_key[i]) {
    counters_.add(Counter::options_lease);
    post({.kind = Note::Kind::lease,
          .group = b.envelope[i].group,
          .key = b.key[i],
          .sender = b.envelope[i].sender,
          .envelope = b.envelope[i]});
  }
  if (b.reason[i] == Counter::deliver_drop_no_next_hop && want_neighbour_.take(setup_.clock())) {
    post({.kind = Note::Kind::want_neighbour, .address = destination_of(b.frame(i), b.parsed[i])});
  }
}

void Worker::to_control(Burst& b, unsigned i) {
  Note note{.worker = static_cast<uint8_t>(setup_.index), .port = b.port[i], .packet = b.packet[i]};
  switch (b.reason[i]) {
    case Counter::group_control_neighbour: note.kind = Note::Kind::neighbour; break;
    case Counter::open_control_hello: note.kind = Note::Kind::hello; break;
    case Counter::open_control_message: note.kind = Note::Kind::message; break;
    default:  // open_control_lease: told already
      return rte_pktmbuf_free(b.packet[i]);
  }
  if (note.kind != Note::Kind::neighbour) {
    note.sender = b.envelope[i].sender;
    note.from = b.from[i];
    note.envelope = b.envelope[i];
  }
  if (setup_.link->note(note)) return;
  b.drop(i, Counter::open_drop_control_full);
  rte_pktmbuf_free(b.packet[i]);
}

bool Worker::post(const Note& note) {
  Note n = note;
  n.worker = static_cast<uint8_t>(setup_.index);
  if (setup_.link->note(n)) return true;
  counters_.add(Counter::control_drop_mailbox_full);
  return false;
}

void Worker::give_up_old_misses(Instant now) {
  if (now < next_expiry_) return;
  next_expiry_ = now + kExpiryPeriod;
  rte_mbuf* out[kBurstMax];
  const size_t n = without_lent(out, misses_->expire(now - kMissLife, out, kBurstMax));
  counters_.add(Counter::resolve_drop_miss_timeout, n);
  rte_pktmbuf_free_bulk(out, static_cast<unsigned>(n));
}

// ---- orders ----

bool Worker::carry_out_orders() {
  Order orders[kOrdersPerTurn];
  size_t n = setup_.link->orders(orders, kOrdersPerTurn);
  if (n == 0) return false;
  Instant now = setup_.clock();
  for (size_t i = 0; i < n; ++i) carry_out(orders[i], now);
  return true;
}

void Worker::carry_out(const Order& o, Instant now) {
  const Layout& layout = *snapshot_->layout;
  switch (o.kind) {
    case Order::Kind::message: return send_sealed(o.packet, {.to = o.to, .group = GroupId{0}}, now);
    case Order::Kind::forward: {
      const bool v4 = *rte_pktmbuf_mtod(o.packet, const uint8_t*) >> 4 == 4;
      Outgoing out{.to = o.to, .group = o.group, .kind = v4 ? PayloadKind::ipv4 : PayloadKind::ipv6};
      out.options.ingress = o.ingress;
      return send_sealed(o.packet, out, now);
    }
    case Order::Kind::datagram:
      if (!add_underlay_headers(o.packet, layout, o.hop, o.at, layout.underlay.port.value)) {
        counters_.add(Counter::control_drop_no_peer);
        rte_pktmbuf_free(o.packet);
        return;
      }
      counters_.add(Counter::control_frame_sent);
      return transmit(o.hop.port, &o.packet, 1);
    case Order::Kind::frame: counters_.add(Counter::control_frame_sent); return transmit(o.hop.port, &o.packet, 1);
    case Order::Kind::deliver: {
      Burst b;
      b.add(o.packet);
      b.decide(0, Verdict::to_client, Counter::deliver_client_entry);
      b.set_way(0, Way::member);
      uint32_t group = kNoGroup;
      if (parse_ip(b.frame(0), b.parsed[0]) == ParseResult::ok)
        group = layout.group_table.find(source_of(b.frame(0), b.parsed[0]));
      if (group == kNoGroup || layout.groups[group].id != o.group) b.drop(0, Counter::open_drop_wrong_source);
      deliver(b, *snapshot_);
      return finish(b, now);
    }
    case Order::Kind::resolved: {
      rte_mbuf* out[kMissPacketsPerSession];
      size_t n = misses_->release(o.key, out);
      n = without_lent(out, n);
      if (!o.rerun) {
        counters_.add(Counter::resolve_drop_miss_timeout, n);
        rte_pktmbuf_free_bulk(out, static_cast<unsigned>(n));
        return;
      }
      return rerun(out, n, now);
    }
    case Order::Kind::go_on: o.packet->hash.usr = kPlain; return rerun(&o.packet, 1, now);
  }
}

void Worker::rerun(rte_mbuf* const packets[], size_t n, Instant now) {
  if (n == 0) return;
  Burst b;
  for (size_t i = 0; i < n; ++i) {
    b.add(packets[i]);
    b.forwarded[i] = packets[i]->hash.usr == kHandedBack;
  }
  rerun_pipeline(b, *snapshot_, state_, now);
  finish(b, now);
}

// Sealed to the peer, group and kind as given.
void Worker::send_sealed(rte_mbuf* packet, const Outgoing& out, Instant now) {
  const Layout& layout = *snapshot_->layout;
  const uint32_t peer = layout.peer_index.find(out.to);
  const PeerHop* hop = peer == NodeIndex::kNone ? nullptr : &snapshot_->peers[peer];
  state_.lines.give_up_numbers(peer);
  if (!hop || !hop->hop.known || hop->endpoint.address.is_none() ||
      seal_and_address(packet, out, layout, *hop, *setup_.peers, state_.stream, now) != Sealed::ok) {
    counters_.add(Counter::control_drop_no_peer);
    rte_pktmbuf_free(packet);
    return;
  }
  counters_.add(out.kind == PayloadKind::message ? Counter::control_message_sent : Counter::control_packet_forwarded);
  transmit(hop->hop.port, &packet, 1);
}

// ---- ports ----

void Worker::transmit(uint16_t port, rte_mbuf* const packets[], unsigned n) {
  if (port >= tx_.size()) {
    counters_.add(Counter::tx_drop_port_full, n);
    for (unsigned i = 0; i < n; ++i) rte_pktmbuf_free(packets[i]);
    return;
  }
  TxBuffer& tx = tx_[port];
  while (n != 0) {
    const unsigned step = std::min<unsigned>(n, std::size(tx.packet) - tx.count);
    std::copy_n(packets, step, tx.packet + tx.count);
    tx.count += step;
    if (tx.count == std::size(tx.packet)) flush(tx);
    packets += step;
    n -= step;
  }
}

void Worker::flush(TxBuffer& tx) {
  if (tx.count == 0) return;
  uint64_t bytes = 0;
  for (unsigned i = 0; i < tx.count; ++i) bytes += tx.packet[i]->pkt_len;
  if (tx.to.tx_lock) {
    while (tx.to.tx_lock->test_and_set(std::memory_order_acquire)) rte_pause();
  }
  unsigned sent = rte_eth_tx_burst(tx.to.port, tx.to.tx_queue, tx.packet, static_cast<uint16_t>(tx.count));
  if (tx.to.tx_lock) tx.to.tx_lock->clear(std::memory_order_release);
  for (unsigned i = sent; i < tx.count; ++i) {
    bytes -= tx.packet[i]->pkt_len;
    rte_pktmbuf_free(tx.packet[i]);
  }
  counters_.add(Counter::tx_packets, sent);
  counters_.add(Counter::tx_bytes, bytes);
  if (sent < tx.count) counters_.add(Counter::tx_drop_port_full, tx.count - sent);
  tx.count = 0;
}

}  // namespace statecast
