// SPDX-License-Identifier: BSD-3-Clause
// Timers of the control thread:
//   tick, every 50 ms    health of members, next hops, snapshot, sweep of the cache, requests of the operator that
//                        nobody answers any more
//   metrics, 100 ms      the numbers of the metrics page
// and the machines' own deadlines: node, querier, peers, neighbours.
#include "control/proxy_control.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "control/admin.h"
#include "control/cache_events.h"
#include "control/snapshot.h"
#include "directory/record_order.h"

namespace statecast {

namespace {

constexpr Duration kTick = 50ms, kMetrics = 100ms, kRequestLife = 60s;
constexpr Duration kRequestRetry = 200ms, kRequestPauseMax = 4s;  // twice as long each time
constexpr Duration kEchoAheadMax = 100ms;                         // as the querier has it

constexpr size_t kNotesPerStep = 256, kWaitingMax = 64, kLoopbackMax = 100'000;
constexpr long kFenceNapNs = 10'000;

}  // namespace

bool ProxyControl::is_urgent(Bytes message) {
  if (message.empty()) return false;
  switch (message[0]) {
    case message_type<Remove>():
    case message_type<Revoke>():
    case message_type<RequestAnswer>():
    case message_type<Change>():
    case message_type<ChangeAck>():
    case message_type<HoldersSilent>():
    case message_type<Heartbeat>():
    case message_type<Permit>():
    case message_type<Purge>():
    case message_type<Notice>():
    case message_type<Ack>(): return true;
    default: return message[0] < kMessageTypeFirst;  // keep-alives and challenges
  }
}

ProxyControl::ProxyControl(ProxyControlSetup setup, Instant now)
    : setup_(std::move(setup)), self_(NodeId::proxy(setup_.layout->self)), started_(now), names_(setup_.seed ^ 0x7e) {
  PeerTable* peers = setup_.peers;
  NodeId self = self_;
  std::unordered_map<GroupId, bool> available;
  for (const DirectoryGroup& g : setup_.groups) available[g.id] = g.partition_available;
  Duration cap = 0s;
  for (const Group& g : setup_.layout->groups) {
    cap = std::max(cap, g.lease_cap);
    group_index_.emplace(g.id, group_index_.size());
  }

  NodeOptions node;
  node.self = setup_.layout->self;
  node.view = setup_.view;
  node.groups = setup_.groups;
  node.seed = setup_.seed;
  node.records_max = setup_.config->directory.records;
  node.newest_stamp = [peers, self](ProxyId p, Instant at) {
    if (NodeId::proxy(p) == self) return Stamp{peers->boot(), peers->timestamp_us(at)};
    return peers->newest_stamp(NodeId::proxy(p));
  };
  node_ = std::make_unique<Node>(std::move(node), now);

  QuerierOptions querier;
  querier.self = setup_.layout->self;
  querier.view = setup_.view;
  querier.boot = peers->boot();
  querier.timestamp_us = [peers](Instant t) { return peers->timestamp_us(t); };
  querier.partition_available = [available = std::move(available)](GroupId id) {
    auto at = available.find(id);
    return at != available.end() && at->second;
  };
  querier.reachable = [peers, self](ProxyId p) {
    if (NodeId::proxy(p) == self) return true;
    Instant heard = peers->last_heard(NodeId::proxy(p));
    return heard != Instant{} && MonotonicClock::now() - heard < kUnreachableAfter;
  };
  querier.rtt = [peers, self](ProxyId p) {
    return NodeId::proxy(p) == self ? Duration{0} : peers->rtt(NodeId::proxy(p));
  };
  if (cap > 0s) querier.lease_cap = cap;
  querier_ = std::make_unique<Querier>(std::move(querier), setup_.seed ^ 0x51);

  summaries_ = std::make_unique<Summaries>(setup_.layout->self, setup_.view);

  if (setup_.admin) register_proxy_commands(*setup_.admin, *this);
  refresh_snapshot(now);
}

ProxyControl::~ProxyControl() {
  if (setup_.pressure) setup_.pressure->absence.store(nullptr, std::memory_order_release);
}

void ProxyControl::run(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
    Instant now = MonotonicClock::now();
    step(now);
    setup_.wakeup->about_to_sleep();
    bool notes =
        std::any_of(setup_.workers.begin(), setup_.workers.end(), [](const auto& w) { return !w.link->empty(); });
    Duration nap = notes ? Duration{0} : std::clamp<Duration>(next_deadline() - MonotonicClock::now(), 0ms, kTick);
    pollfd fds[2] = {{setup_.wakeup->fd(), POLLIN, 0}, {setup_.admin ? setup_.admin->fd() : -1, POLLIN, 0}};
    timespec wait{0, static_cast<long>(nap.count())};
    ppoll(fds, 2, &wait, nullptr);
    setup_.wakeup->awake();
    if (setup_.admin && (fds[1].revents & POLLIN)) setup_.admin->serve();
  }
}

Instant ProxyControl::next_deadline() const {
  return std::min({next_tick_, node_->next_deadline(), querier_->next_deadline(), summaries_->next_deadline(),
                   verifier_ ? verifier_->next_deadline() : Instant::max(), setup_.peers->next_deadline(),
                   setup_.neighbours->next_deadline()});
}

void ProxyControl::step(Instant now) {
  take_notes(now);
  if (querier_->next_deadline() <= now) querier_->on_deadline(now);
  if (node_->next_deadline() <= now) node_->on_deadline(now);
  if (summaries_->next_deadline() <= now) summaries_->on_deadline(now);
  if (verifier_) verify_further(now);
  if (setup_.peers->next_deadline() <= now) setup_.peers->on_deadline(now);
  if (setup_.neighbours->next_deadline() <= now) setup_.neighbours->on_deadline(now);
  if (next_tick_ <= now) tick(now);
  if (snapshot_stale_) refresh_snapshot(now);
  pump(now);
  send_datagrams(now);
  send_frames();
}

// ---- from the workers ----

void ProxyControl::take_notes(Instant now) {
  Note notes[32];
  for (const WorkerView& w : setup_.workers) {
    for (size_t taken = 0; taken < kNotesPerStep;) {
      size_t n = w.link->take(notes, std::size(notes));
      for (size_t i = 0; i < n; ++i) on_note(notes[i], now);
      hand_to_node(now);
      for (size_t i = 0; i < n; ++i) w.link->release(notes[i]);
      taken += n;
      if (n < std::size(notes)) break;
    }
  }
}

void ProxyControl::on_note(Note& note, Instant now) {
  switch (note.kind) {
    case Note::Kind::ask:
      if (note.refill && setup_.cache->refill(note.key, now)) return;
      if (note.packet) return ask(note.key, note.group, now, {query_form(note.group), note_bytes(note), note.worker});
      return ask(note.key, note.group, now);
    case Note::Kind::not_mine: return on_not_mine(note, now);
    case Note::Kind::lease: return on_lease(note, now);
    case Note::Kind::forget_negative: setup_.cache->remove_negative(note.key); return;
    case Note::Kind::message:
      if (setup_.peers->on_path_message(note.envelope, note.from, now)) {
        snapshot_stale_ = true;
      } else {
        on_message(note.sender, note.envelope.payload, now);
      }
      return;
    case Note::Kind::hello:
      setup_.peers->on_hello(note.envelope, note.from, now);
      snapshot_stale_ = true;
      return;
    case Note::Kind::unverified: setup_.peers->on_unverified(note.sender, note.from, now); return;
    case Note::Kind::neighbour:
      setup_.neighbours->on_frame(note.port, note_bytes(note), now);
      if (setup_.neighbours->take_changed()) snapshot_stale_ = true;
      return;
    case Note::Kind::want_neighbour: {
      const auto& ports = setup_.layout->ports;
      for (size_t i = 0; i < ports.size(); ++i) {
        if (!ports[i].anycast) continue;
        for (const auto& own : ports[i].addresses) {
          if (own.on_link(note.address))
            return setup_.neighbours->want(static_cast<uint16_t>(i), note.address, Neighbours::Keep::briefly, now);
        }
      }
      return;
    }
  }
}

void ProxyControl::ask(const SessionKey& key, GroupId group, Instant now, const Traveller& with) {
  if (querier_->ask(key, group, now, with)) return;
  ask_again_later(*setup_.cache, key, now);
  if (!with.packet.empty()) counters_.add(Counter::resolve_drop_miss_timeout);
  for (const WorkerView& w : setup_.workers) w.link->resolved(key, false);
}

// The member knows nothing of a session that its entry here names it for: the entry goes, whatever its version. Or it
// knows a version: then the entry goes unless it is newer. A tombstone stays in both cases.
void ProxyControl::on_not_mine(const Note& note, Instant now) {
  const Version said = note.envelope.options.not_mine.value_or(Version{});
  auto entry = setup_.cache->find(note.key, now);
  if (entry && entry->target == CacheTarget::member && NodeId::member(entry->member) == note.sender) {
    setup_.cache->remove_if_not_newer(note.key, said == Version{} ? entry->version : said, now, Tombstones::keep);
  }
  ask(note.key, note.group, now);
}

// A lease from the member itself (an admitted session's first): counts from the stamp of ours that it echoes, and only
// from the present boot. It stands below all that the directory grants (term 0), so a member takes no session from
// another one with it and lifts no tombstone.
void ProxyControl::on_lease(const Note& note, Instant now) {
  if (!note.envelope.options.lease) return;
  const LeaseInstruction& lease = *note.envelope.options.lease;
  const Group* group = find_group(note.group);
  uint64_t now_us = setup_.peers->timestamp_us(now);
  // A worker may have stamped within this step, after `now`.
  bool ahead = lease.echo.timestamp_us > now_us + static_cast<uint64_t>(kEchoAheadMax / 1us);
  if (!group || lease.echo.boot != setup_.peers->boot() || ahead) return counters_.add(Counter::lease_refused);
  auto known = setup_.cache->find(note.key, now);
  bool others = known && (known->target == CacheTarget::drop ||
                          (known->target == CacheTarget::member && NodeId::member(known->member) != note.sender));
  if (lease.version.term != 0 || others) return counters_.add(Counter::lease_not_members);
  Duration length = std::min<Duration>(std::chrono::milliseconds(lease.lease_ms), group->lease_cap);
  Instant granted = now - std::chrono::microseconds(now_us - std::min(now_us, lease.echo.timestamp_us));
  CacheEntry e;
  e.member = note.sender.as_member();
  e.group = note.group;
  e.version = lease.version;
  e.ends = granted + length - safety_margin(length);
  e.bytes = lease.lease_bytes;
  if (e.ends <= now) return counters_.add(Counter::lease_over);
  if (!setup_.cache->put(note.key, e, now)) counters_.add(Counter::lease_not_taken);
  for (const WorkerView& w : setup_.workers) w.link->resolved(note.key, true);
}

// ---- directory ----

void ProxyControl::on_message(NodeId from, Bytes message, Instant now) {
  forget_negative(*setup_.cache, message, [this](GroupId id) {
    const Group* g = find_group(id);
    return g ? &g->secret : nullptr;
  });
  if (!message.empty() && message[0] == message_type<AuditAnswer>()) {
    if (verifier_) verifier_->on_message(from, message, now);
    return;
  }
  if (querier_->on_message(from, message, now)) return;
  if (!summaries_->on_message(from, message, now)) return for_node_.push_back({from, message});
  if (summaries_->take_changed()) publish_absence();
}

// All that have come together, so that the node's waits for memory overlap. Their bytes have to be there still.
void ProxyControl::hand_to_node(Instant now) {
  node_->on_messages(for_node_, now);
  for_node_.clear();
}

// Runs until the machines have nothing more to say: what goes to this node itself comes back at once.
void ProxyControl::pump(Instant now) {
  for (;;) {
    if (apply_cache_events(now)) wait_for_workers();
    bool said = false;
    // Before any acknowledgement of what has ended their sessions since.
    for (ForwardedPacket p; node_->next_forwarded(p);)
      setup_.workers[0].link->forward(p.to, p.group, p.ingress, p.packet);
    for (DirectoryOutput o; querier_->next_output(o); said = true) send(o, now);
    for (DirectoryOutput o; node_->next_output(o); said = true) send(o, now);
    for (DirectoryOutput o; summaries_->next_output(o); said = true) send(o, now);
    if (verifier_)
      for (DirectoryOutput o; verifier_->next_output(o); said = true) send(o, now);
    const std::vector<DirectoryOutput> looped = std::exchange(loopback_, {});
    for (const DirectoryOutput& o : looped) on_message(self_, o.message, now);
    hand_to_node(now);
    if (!said && looped.empty()) return;
  }
}

bool ProxyControl::apply_cache_events(Instant now) {
  bool withdrawn = false;
  for (CacheEvent e; querier_->next_event(e);) {
    apply(e, now);
    withdrawn |= e.kind == CacheEvent::Kind::tombstone || e.kind == CacheEvent::Kind::purge;
  }
  return withdrawn;
}

void ProxyControl::apply(const CacheEvent& e, Instant now) {
  if (e.kind == CacheEvent::Kind::packet) return (void)setup_.workers[0].link->deliver(e.group, e.packet);
  if (e.kind == CacheEvent::Kind::none && setup_.negatives_exist)
    setup_.negatives_exist->store(true, std::memory_order_relaxed);
  const Group* group = find_group(e.group);
  apply_to_cache(*setup_.cache, e, group ? group->negative : Duration{250ms}, now);
  bool rerun = e.kind != CacheEvent::Kind::unanswered;
  if (!e.packet.empty()) {  // it was the first
    if (rerun)
      setup_.workers[e.asker].link->go_on(e.packet);
    else
      counters_.add(Counter::resolve_drop_miss_timeout);
  }
  for (const WorkerView& w : setup_.workers) w.link->resolved(e.key, rerun);
}

// Old summaries stay until no worker can still be reading them.
void ProxyControl::publish_absence() {
  if (!setup_.pressure) return;
  std::unique_ptr<const AbsenceMap> next = summaries_->following() ? summaries_->map() : nullptr;
  setup_.pressure->absence.store(next.get(), std::memory_order_release);
  absence_.swap(next);
  if (next) wait_for_workers();
}

// A worker may have looked a session up before the entry was withdrawn and not have sent its packet yet. Once its turn
// is over it has; only then may an acknowledgement say that this proxy is silent.
void ProxyControl::wait_for_workers() {
  // The withdrawal has to be seen before the turns are read, by a worker whose turn begins after that. It has the same
  // fence between the end of a turn and its next look at the cache.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (const WorkerView& w : setup_.workers) {
    if (!w.turns) continue;
    uint64_t before = w.turns();
    while (w.turns() == before) {
      timespec nap{0, kFenceNapNs};
      nanosleep(&nap, nullptr);
    }
  }
}

void ProxyControl::send(const DirectoryOutput& o, Instant) {
  if (o.message.empty()) return;
  if (o.to == self_) {
    if (loopback_.size() >= kLoopbackMax) return counters_.add(Counter::control_drop_loopback_full);
    loopback_.push_back(o);
  } else if (o.to.is_op()) {
    answer_operator(o.message);
  } else {
    setup_.workers[0].link->send_message(o.to, o.message, is_urgent(o.message) ? Urgency::high : Urgency::normal);
  }
}

// ---- operator ----

void ProxyControl::request(MessageBody body, OperatorAnswer on_answer, Instant now) {
  if (auto* revoke = std::get_if<Revoke>(&body)) revoke->name = draw_revocation_name(names_);
  const uint32_t number = next_request_++;
  Request& r = requests_[number] = {std::move(body), std::move(on_answer), now + kRequestLife};
  r.pause = kRequestRetry;
  send_request(number, r, now);
  pump(now);
}

// Again after a while, under the same number, should it or its answer get lost.
void ProxyControl::send_request(uint32_t number, Request& r, Instant now) {
  r.again = now + r.pause;
  r.pause *= 2;
  const auto message = encode({.request = number, .origin = NodeId::op(), .view = setup_.view.id()}, r.body);
  on_message(NodeId::op(), message, now);
  hand_to_node(now);
}

void ProxyControl::answer_operator(Bytes message) {
  auto m = decode(message);
  if (!m) return;
  auto at = requests_.find(m->header.request);
  if (at == requests_.end()) return;
  Request& r = at->second;
  // Where no replica takes it now, one may soon.
  auto* a = std::get_if<RequestAnswer>(&m->body);
  if (a && a->status == RequestAnswer::Status::try_again && r.pause <= kRequestPauseMax) {
    r.again = std::min(r.again, next_tick_ + r.pause);
    return;
  }
  r.again = Instant::max();
  if (r.on_answer(m->body)) requests_.erase(m->header.request);
}

bool ProxyControl::verify(std::function<void(const VerifyReport&)> on_report, Instant now) {
  if (verifier_) return false;
  verifier_ = std::make_unique<Verifier>(setup_.layout->self, setup_.view, now);
  on_verify_report_ = std::move(on_report);
  pump(now);
  return true;
}

void ProxyControl::verify_further(Instant now) {
  if (verifier_->next_deadline() <= now) verifier_->on_deadline(now);
  if (!verifier_->report().done) return;
  const VerifyReport report = verifier_->report();
  verifier_.reset();
  std::exchange(on_verify_report_, nullptr)(report);
}

// ---- peers and neighbours ----

void ProxyControl::send_datagrams(Instant now) {
  WorkerLink& link = *setup_.workers[0].link;
  auto try_to_send = [&](const PeerTable::Datagram& d) {
    auto via = via_underlay(*setup_.layout, d.at.address);
    if (!via) {
      counters_.add(Counter::control_drop_no_route);
      return true;
    }
    auto hop = setup_.neighbours->find(via->address);
    if (!hop) {
      setup_.neighbours->want(via->port, via->address, Neighbours::Keep::briefly, now);
      return false;
    }
    link.send_datagram(d.at, *hop, Bytes(d.bytes).first(d.length));
    return true;
  };
  for (size_t n = waiting_for_hop_.size(); n > 0; --n) {
    PeerTable::Datagram d = waiting_for_hop_.front();
    waiting_for_hop_.pop_front();
    if (!try_to_send(d)) waiting_for_hop_.push_back(d);
  }
  for (PeerTable::Datagram d; setup_.peers->next_output(d);) {
    if (try_to_send(d)) continue;
    if (waiting_for_hop_.size() >= kWaitingMax) {  // hellos are repeated
      counters_.add(Counter::control_drop_hop_queue_full);
      waiting_for_hop_.pop_front();
    }
    waiting_for_hop_.push_back(d);
  }
}

void ProxyControl::send_frames() {
  for (Neighbours::Frame f; setup_.neighbours->next_output(f);) setup_.workers[0].link->send_frame(f.port, f.bytes);
}

// ---- what is due now and then ----

void ProxyControl::tick(Instant now) {
  next_tick_ = now + kTick;
  hear_members(now);
  setup_.neighbours->take_changed();
  refresh_snapshot(now);
  setup_.cache->sweep(setup_.cache->slots() / 128 + 1, now);  // a round takes about 6 s
  if (setup_.negatives_exist) {
    setup_.negatives_exist->store(setup_.cache->stats().negative > 0, std::memory_order_relaxed);
  }
  std::erase_if(requests_, [&](const auto& r) { return r.second.until <= now; });
  for (auto& [number, r] : requests_)
    if (r.again <= now) send_request(number, r, now);
  weigh_pressure(now);
  const NodeStatus node = node_->status(now);
  say_state(node);
  follow_membership(node, now);
  if (next_metrics_ <= now) {
    next_metrics_ = now + kMetrics;
    collect_metrics(now);
  }
}

void ProxyControl::refresh_snapshot(Instant now) {
  snapshot_stale_ = false;
  auto next = make_snapshot(setup_.layout, *setup_.peers, *setup_.neighbours, now);
  if (!setup_.board->published() || !same(*next, setup_.board->newest())) setup_.board->publish(std::move(next));
}

void ProxyControl::hear_members(Instant now) {
  for (NodeId id : setup_.layout->peers) {
    if (!id.is_member()) continue;
    Instant heard = setup_.peers->last_heard(id);
    if (heard == Instant{} || heard == heard_[id]) continue;
    heard_[id] = heard;
    node_->on_member_heard(id.as_member(), now);
  }
}

void ProxyControl::weigh_pressure(Instant now) {
  if (!setup_.pressure) return;
  const bool on = meter_.update(counter(Counter::resolve_hold_query) + counter(Counter::resolve_drop_miss_full) +
                                    counter(Counter::resolve_drop_absent),
                                now);
  if (on == summaries_->following()) return;
  if (on) {
    spdlog::warn(
        "under pressure: many packets of unknown sessions; asking the replicas for summaries of what they have");
    summaries_->follow(now);
  } else {
    spdlog::info("pressure is over: unknown sessions are asked about again");
    summaries_->stop();
  }
  setup_.pressure->on.store(on, std::memory_order_relaxed);
  publish_absence();
}

// A proxy that is cut off says so; what it does about it is the group's `partition` setting.
void ProxyControl::say_state(const NodeStatus& s) {
  bool alone = !s.peers.empty() && std::none_of(s.peers.begin(), s.peers.end(), [](const auto& p) { return p.heard; });
  if (s.in_sync != in_sync_) spdlog::info("directory: {}", s.in_sync ? "in sync" : "out of sync");
  if (s.degraded != degraded_) {
    if (s.degraded)
      spdlog::warn("directory: degraded, fewer than {} replicas reachable", setup_.view.write_count());
    else
      spdlog::info("directory: enough replicas reachable again");
  }
  if (alone != partitioned_) {
    if (alone)
      spdlog::warn("partitioned: no other proxy is heard");
    else
      spdlog::info("other proxies are heard again");
  }
  in_sync_ = s.in_sync;
  degraded_ = s.degraded;
  partitioned_ = alone;
}

uint64_t ProxyControl::counter(Counter c) const {
  uint64_t sum = counters_.get(c);
  for (const WorkerView& w : setup_.workers) sum += (w.counters ? w.counters->get(c) : 0) + w.link->counters().get(c);
  return sum;
}

QueryForm ProxyControl::query_form(GroupId id) const {
  auto at = std::find_if(setup_.groups.begin(), setup_.groups.end(), [&](const auto& g) { return g.id == id; });
  return at == setup_.groups.end() ? QueryForm::query : at->query_form;
}

const Group* ProxyControl::find_group(GroupId id) const {
  auto at = group_index_.find(id);
  return at == group_index_.end() ? nullptr : &setup_.layout->groups[at->second];
}

}  // namespace statecast
