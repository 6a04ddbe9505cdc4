// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/generator.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <unistd.h>

#include <limits>

namespace statecast {

namespace {

constexpr unsigned kHousekeepingPerSecond = 10'000;
constexpr uint64_t kSetupBurst = 16;

Bytes bytes_of(const rte_mbuf* m) {
  return {rte_pktmbuf_mtod(m, const uint8_t*), rte_pktmbuf_data_len(m)};
}

FrameOptions frame_of(const StreamPlan& p, const Link& link, const Endpoint& destination) {
  return {.source_mac = link.mac(),
          .destination_mac = link.peer(),
          .client = p.client,
          .server = destination,
          .protocol = p.protocol};
}

}  // namespace

// A stream as one worker sends it.
struct Generator::Stream {
  Stream(const StreamPlan& p, const Link& link, unsigned worker, unsigned senders, uint64_t seed)
      : plan(p),
        popularity(p.sequential ? Popularity::sequential(p.sessions,
                                                         static_cast<uint32_t>(uint64_t(p.sessions) * worker / senders))
                                : p.popularity),
        rng(seed),
        pacer({}),
        setup_turn(p.sessions),
        setup_pacer({}) {
    for (const Endpoint& d : p.destinations) {
      FrameOptions f = frame_of(p, link, d);
      templates.emplace_back(f);
      f.tcp_flags = 0x02;
      f.tcp_window = static_cast<uint16_t>(kSynMark | p.index);
      syns.emplace_back(f);
      if (p.is_good()) continue;
      attacks.emplace_back(AttackOptions{p.kind, frame_of(p, link, d), p.client_addresses}, rng.next());
    }
  }
  void set_macs(const Link& link) {
    for (auto* list : {&templates, &syns})
      for (FrameTemplate& t : *list) t.set_macs(link.mac(), link.peer());
    for (AttackFrames& a : attacks) a.set_macs(link.mac(), link.peer());
  }

  const StreamPlan& plan;
  Popularity popularity;
  Rng rng;
  Pacer pacer;
  std::vector<FrameTemplate> templates, syns;
  std::vector<AttackFrames> attacks;
  uint32_t sequence = 0;
  size_t next_length = 0, next_attack = 0;
  SetupTurn setup_turn;
  Pacer setup_pacer;
  uint64_t setup_from = 0;
};

Generator::Generator(const GeneratorSetup& setup)
    : setup_(setup),
      cycles_per_second_(static_cast<double>(rte_get_tsc_hz())),
      answer_sequences_(setup.plan->streams.size()),
      housekeeping_every_(rte_get_tsc_hz() / kHousekeepingPerSecond) {
  Rng rng(setup.seed + setup.index);
  for (const StreamPlan& p : setup.plan->streams)
    streams_.push_back(
        std::make_unique<Stream>(p, *setup.links[p.port], setup.index, std::max(setup.senders, 1u), rng.next()));
  for (const WorkerPort& p : setup.ports) outboxes_.push_back({p, 0, {}});
}

Generator::~Generator() {
  for (Outbox& out : outboxes_) rte_pktmbuf_free_bulk(out.waiting, out.count);
}

double Generator::forgiven(size_t stream) const {
  return streams_[stream]->pacer.forgiven();
}

// --- the main thread's orders ---

void Generator::order(Do what) {
  uint64_t number = (ordered_.load(std::memory_order_relaxed) >> 8) + 1;
  ordered_.store(number << 8 | uint64_t(what), std::memory_order_release);
}

void Generator::obey(Do what, uint64_t now) {
  if (doing_ == Do::traffic && what != Do::traffic) {
    sending_seconds_ = static_cast<double>(now - traffic_from_) / cycles_per_second_;
    for (auto& s : streams_) s->pacer.close(sending_seconds_);
  }
  switch (what) {
    case Do::rest:
    case Do::quit: break;
    case Do::set_up:
      for (auto& s : streams_) {
        s->set_macs(*setup_.links[s->plan.port]);
        s->setup_pacer = Pacer({.packets_per_second = double(setup_.setup_per_second)});
        s->setup_from = now;
      }
      break;
    case Do::prepare: {
      const TrialSetup& t = *setup_.trial;
      nonce_ = t.nonce;
      setup_.accounts->reset();
      for (auto& s : streams_) {
        s->set_macs(*setup_.links[s->plan.port]);
        PacerOptions p = s->plan.pacing;
        double share = setup_.index < setup_.senders ? 1.0 / setup_.senders : 0;
        double rate = t.packets_per_second[s->plan.index];
        bool limited = rate != std::numeric_limits<double>::infinity();
        p.packets_per_second = limited ? rate * share : rate;
        p.ramp_from *= share;
        if (!t.ramps) p.ramp_seconds = 0;
        s->pacer = Pacer(p);
        s->sequence = 0;
      }
      answer_sequences_.assign(answer_sequences_.size(), 0);
      break;
    }
    case Do::traffic: traffic_from_ = now; break;
  }
  doing_ = what == Do::prepare ? Do::rest : what;
}

void Generator::run() {
  for (;;) {
    uint64_t wanted = ordered_.load(std::memory_order_acquire);
    if (wanted != obeyed_.load(std::memory_order_relaxed)) {
      const Do what = static_cast<Do>(wanted & 0xff);
      obey(what, rte_rdtsc());
      obeyed_.store(wanted, std::memory_order_release);  // after `quit` nothing here is touched any more
      if (what == Do::quit) return;
    }
    turn();
  }
}

void Generator::turn() {
  busy_ = false;
  for (size_t p = 0; p < setup_.ports.size(); ++p) receive(p);
  uint64_t now = rte_rdtsc();
  if (now - last_housekeeping_ >= housekeeping_every_) housekeeping(now);
  if (doing_ == Do::set_up) set_up_sessions(now);
  if (doing_ == Do::traffic && setup_.index < setup_.senders)
    for (auto& s : streams_) send_stream(*s, now);
  for (Outbox& out : outboxes_)
    if (out.count != 0) flush(out);
  if (!busy_ && setup_.idle_sleep > Duration{})
    usleep(static_cast<useconds_t>(std::chrono::duration_cast<std::chrono::microseconds>(setup_.idle_sleep).count()));
}

// --- what comes ---

void Generator::receive(size_t port) {
  const WorkerPort& p = setup_.ports[port];
  if (p.rx_queue < 0) return;
  rte_mbuf* burst[kBurst];
  uint16_t n = rte_eth_rx_burst(p.port, static_cast<uint16_t>(p.rx_queue), burst, kBurst);
  if (n == 0) return;
  busy_ = true;
  uint64_t now = rte_rdtsc();
  for (uint16_t i = 0; i < n; ++i) {
    if (i + 4 < n) rte_prefetch0(rte_pktmbuf_mtod(burst[i + 4], void*));
    on_frame(port, burst[i], now);
  }
  rte_pktmbuf_free_bulk(burst, n);
}

// The burst is freed afterwards; who keeps a packet (an answer) takes a reference.
inline void Generator::on_frame(size_t port, rte_mbuf* m, uint64_t now) {
  Bytes frame = bytes_of(m);
  PacketLook look;
  if (!look_at_frame(frame, look)) return on_unmarked(port, m, nullptr);
  if (setup_.members && static_cast<int>(port) == setup_.plan->member_port && on_member_frame(m, look, now)) return;
  Mark mark;
  bool ours =
      look.carries_mark() && read_mark(frame.data() + look.payload, nonce_, mark) && setup_.accounts->is_known(mark);
  if (!ours) return on_unmarked(port, m, &look);
  bool expected = !mark.answer || is_to_client(frame, look, setup_.plan->streams[mark.stream].client, mark.session);
  setup_.accounts->arrived(mark, static_cast<uint32_t>(frame.size() + kFcsSize), now, expected);
}

void Generator::on_unmarked(size_t port, rte_mbuf* m, const PacketLook* look) {
  WorkerCounters& c = setup_.accounts->worker();
  Bytes frame = bytes_of(m);
  if (look && look->is_syn_ack() && setup_.plan->member_port >= 0) {
    auto h = look_at_handshake(frame, *look);
    if (!h || !setup_.sessions->has(h->stream, h->session)) return c.flood_syn_ack.add(1);
    c.syn_ack_received.add(1);
    setup_.sessions->at(h->stream, h->session)
        .home.store(static_cast<uint16_t>(h->member + 1), std::memory_order_relaxed);
    setup_.sessions->set_ready(h->stream, h->session);
    return;
  }
  uint8_t reply[128];
  size_t n = 0;
  if (!setup_.links[port]->take(frame, reply, n)) return c.foreign.add(1);
  c.neighbour.add(1);
  if (n != 0) send_bytes(port, {reply, n});
}

bool Generator::on_member_frame(rte_mbuf* m, const PacketLook& look, uint64_t now) {
  Bytes frame = bytes_of(m);
  Instant instant = MonotonicClock::now();
  Brought b = setup_.members->take(frame, look, instant);
  if (b.kind == Brought::Kind::other) return false;
  if (b.kind == Brought::Kind::handled) return true;
  Bytes packet = frame.subspan(b.inner, b.inner_length);
  Mark mark;
  bool ours = b.look.carries_mark() && read_mark(packet.data() + b.look.payload, nonce_, mark) &&
              setup_.accounts->is_known(mark);
  if (!ours) {
    setup_.accounts->worker().foreign.add(1);
    return true;
  }
  bool home = setup_.members->is_home(b, mark, packet, instant);
  // As long as the frame in which it left: the client's, without the envelope.
  setup_.accounts->arrived(mark, static_cast<uint32_t>(14 + b.look.end + kFcsSize), now, home);
  if (setup_.answer_every != 0 && ++since_answer_ >= setup_.answer_every) {
    since_answer_ = 0;
    answer(m, b, mark, now);
  }
  return true;
}

// In place: the envelope's room in front of the packet is where the answer's headers go.
void Generator::answer(rte_mbuf* m, const Brought& b, const Mark& mark, uint64_t now) {
  WorkerCounters& c = setup_.accounts->worker();
  auto* packet = rte_pktmbuf_mtod_offset(m, uint8_t*, b.inner);
  size_t length = b.look.end;
  turn_into_answer({packet, length}, b.look,
                   {.cycles = now,
                    .sequence = answer_sequences_[mark.stream],
                    .session = mark.session,
                    .stream = mark.stream,
                    .worker = static_cast<uint8_t>(setup_.index),
                    .answer = true},
                   nonce_);
  auto* buffer = static_cast<uint8_t*>(m->buf_addr);
  size_t head = setup_.members->seal_answer(b, MonotonicClock::now(), {packet, length},
                                            {buffer, static_cast<size_t>(packet - buffer)});
  if (head == 0) return c.answers_failed.add(1);
  ++answer_sequences_[mark.stream];
  m->data_off = static_cast<uint16_t>(packet - head - buffer);
  m->data_len = static_cast<uint16_t>(head + length);
  m->pkt_len = m->data_len;
  m->ol_flags = 0;
  c.answers.add(1);
  setup_.accounts->sent(mark.stream, Flow::answer, 1, 14 + length + kFcsSize);
  rte_mbuf_refcnt_update(m, 1);
  send(static_cast<size_t>(setup_.plan->member_port), &m, 1);
}

// --- what goes ---

rte_mbuf* Generator::take_buffer() {
  return rte_pktmbuf_alloc(setup_.attack_pool);
}

void Generator::send_bytes(size_t port, Bytes frame) {
  rte_mbuf* m = take_buffer();
  if (!m) return;
  char* room = rte_pktmbuf_append(m, static_cast<uint16_t>(frame.size()));
  if (!room) return rte_pktmbuf_free(m);
  std::memcpy(room, frame.data(), frame.size());
  send(port, &m, 1);
}

void Generator::set_up_sessions(uint64_t now_cycles) {
  Instant now = MonotonicClock::now();
  for (auto& s : streams_) {
    auto how = s->plan.setup;
    bool mine = how == PktgenStreamConfig::Setup::syn ? setup_.index == 0
                                                      : how == PktgenStreamConfig::Setup::insert && setup_.members;
    if (!mine) continue;
    size_t index = s->plan.index;
    if (setup_.sessions->ready(index) == s->plan.sessions) continue;
    double seconds = static_cast<double>(now_cycles - s->setup_from) / cycles_per_second_;
    auto is_ready = [&](uint32_t session) {
      return setup_.sessions->at(index, session).ready.load(std::memory_order_relaxed) != 0;
    };
    uint32_t session = 0;
    for (uint64_t n = s->setup_pacer.take(seconds, kSetupBurst); n > 0; --n) {
      if (!s->setup_turn.next(now, is_ready, session)) break;
      busy_ = true;
      if (how == PktgenStreamConfig::Setup::insert) {
        if (!setup_.members->insert(s->plan, session, now)) break;
        continue;
      }
      uint8_t frame[kTemplateSize];
      uint16_t length = s->syns[session % s->syns.size()].fill_bare(frame, session, session);
      send_bytes(s->plan.port, {frame, length});
      setup_.accounts->worker().syn_sent.add(1);
    }
  }
}

void Generator::send_stream(Stream& s, uint64_t now) {
  size_t port = s.plan.port;
  if (outboxes_[port].count >= kBurst) return;  // the port is behind
  double seconds = static_cast<double>(now - traffic_from_) / cycles_per_second_;
  auto n = static_cast<unsigned>(s.pacer.take(seconds, kBurst));
  if (n == 0) return;
  busy_ = true;
  rte_mbuf* burst[kBurst];
  bool good = s.plan.is_good();
  if (rte_pktmbuf_alloc_bulk(good ? setup_.pool : setup_.attack_pool, burst, n) != 0) {
    s.pacer.give_back(n);
    return;
  }
  Mark mark{.cycles = now, .stream = s.plan.index, .worker = static_cast<uint8_t>(setup_.index)};
  uint64_t bytes = 0;
  const uint16_t* lengths = s.plan.lengths.data();
  size_t lengths_count = s.plan.lengths.size(), template_count = s.templates.size();
  uint32_t sessions[kBurst];
  if (good) s.popularity.draw(s.rng, {sessions, n});
  for (unsigned i = 0; i < n; ++i) {
    auto* frame = rte_pktmbuf_mtod(burst[i], uint8_t*);
    uint16_t length = lengths[s.next_length];
    if (++s.next_length == lengths_count) s.next_length = 0;
    mark.sequence = s.sequence++;
    if (good) {
      mark.session = sessions[i];
      const FrameTemplate& t = s.templates[template_count == 1 ? 0 : mark.session % template_count];
      t.fill(frame, mark.session, length, mark, nonce_);
    } else {
      if (++s.next_attack >= s.attacks.size()) s.next_attack = 0;
      length = s.attacks[s.next_attack].fill(frame, length, mark, nonce_);
    }
    burst[i]->data_len = length;
    burst[i]->pkt_len = length;
    bytes += length + kFcsSize;
  }
  setup_.accounts->sent(s.plan.index, Flow::forward, n, bytes);
  send(port, burst, n);
}

inline void Generator::send(size_t port, rte_mbuf** packets, unsigned n) {
  Outbox& out = outboxes_[port];
  if (out.count + n > 4 * kBurst) {
    flush(out);
    if (out.count + n > 4 * kBurst) return rte_pktmbuf_free_bulk(packets, n);  // answers to a port that is stuck
  }
  std::copy_n(packets, n, out.waiting + out.count);
  out.count += n;
  if (out.count >= kBurst) flush(out);
}

void Generator::flush(Outbox& out) {
  bool locked = out.to.tx_lock != nullptr;
  while (locked && out.to.tx_lock->test_and_set(std::memory_order_acquire)) rte_pause();
  uint16_t n = rte_eth_tx_burst(out.to.port, out.to.tx_queue, out.waiting, static_cast<uint16_t>(out.count));
  if (locked) out.to.tx_lock->clear(std::memory_order_release);
  if (n < out.count) setup_.accounts->worker().send_refused.add(1);
  std::copy(out.waiting + n, out.waiting + out.count, out.waiting);
  out.count -= n;
}

// --- now and then ---

void Generator::housekeeping(uint64_t now_cycles) {
  last_housekeeping_ = now_cycles;
  Instant now = MonotonicClock::now();
  uint8_t frame[1600];
  if (setup_.index == 0)
    for (size_t p = 0; p < setup_.links.size(); ++p)
      if (size_t n = setup_.links[p]->question(now, frame)) send_bytes(p, {frame, n});
  if (!setup_.members) return;
  setup_.members->poll(now);
  for (unsigned i = 0; i < 4 * kBurst; ++i) {
    size_t n = setup_.members->next_frame(frame);
    if (n == 0) break;
    send_bytes(static_cast<size_t>(setup_.plan->member_port), {frame, n});
  }
}

}  // namespace statecast
