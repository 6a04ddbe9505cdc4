// SPDX-License-Identifier: BSD-3-Clause
#include "tests/directory/node_cluster.h"

#include <algorithm>

namespace statecast {

namespace {
constexpr Duration kMemberBeat = 250ms;  // members' keep-alives
}

Cluster::Cluster(ClusterOptions o) : options(std::move(o)), rng(options.seed), next_beat_(now) {
  for (size_t i = 0; i < secret.raw.size(); ++i) secret.raw[i] = static_cast<uint8_t>(i + 1);
  std::vector<ViewNode> nodes;
  for (uint32_t p = 1; p <= options.nodes; ++p) nodes.push_back(view_node(p));
  view = View({.revision = 1, .replicas = options.replicas, .writes = options.writes}, nodes);
  views_ = {view};
  for (uint32_t p = 1; p <= options.nodes; ++p) start(p);
}

SessionId Cluster::session(uint16_t client_port) const {
  return SessionId::tuple(group, Protocol::tcp, *Endpoint::parse("198.51.100.7:" + std::to_string(client_port)),
                          *Endpoint::parse("203.0.113.10:443"));
}

// --- nodes and network ---

void Cluster::stop(uint32_t p) {
  proxies_[p].node.reset();
  proxies_[p].summaries.reset();
  proxies_[p].paused = false;
  proxies_[p].buffered.clear();
  leases_[p].clear();
  purged_[p].clear();
}

void Cluster::start(uint32_t p) {
  Proxy& x = proxies_[p];
  DirectoryGroup g{.id = group,
                   .secret = secret,
                   .partition_available = options.partition_available,
                   .degraded_accept = options.degraded_accept,
                   .admits = options.admits,
                   .lease_cap = options.lease_cap};
  for (uint32_t m = 1; m <= options.members; ++m) g.members.push_back(MemberId{m});
  x.boot = static_cast<uint32_t>(rng());
  auto stamp = [this](ProxyId to, Instant) {
    return Stamp{
        proxies_.at(to.value).boot,
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count())};
  };
  x.node = std::make_unique<Node>(
      NodeOptions{.self = ProxyId{p}, .view = views_[told_[p]], .groups = {g}, .seed = rng(), .newest_stamp = stamp},
      now);
  x.summaries = std::make_unique<Summaries>(ProxyId{p}, views_[told_[p]]);
  drain(p);
}

void Cluster::resume(uint32_t p) {
  Proxy& x = proxies_[p];
  x.paused = false;
  auto buffered = std::move(x.buffered);
  x.buffered.clear();
  for (auto& [from, bytes] : buffered) {
    if (auto m = decode(bytes)) to_proxy(p, from, bytes, *m);
  }
}

void Cluster::part(const std::set<uint32_t>& here, const std::set<uint32_t>& there) {
  for (uint32_t a : here) {
    for (uint32_t b : there) cut(a, b);
  }
}

void Cluster::isolate(uint32_t p) {
  for (const auto& [q, x] : proxies_) {
    if (q != p) cut(p, q);
  }
}

void Cluster::next_view(const std::set<uint32_t>& nodes) {
  for (uint32_t p : nodes) {
    if (proxies_.contains(p)) continue;
    told_[p] = views_.size() - 1;
    start(p);
  }
  std::vector<ViewNode> all;
  for (uint32_t p : nodes) all.push_back(view_node(p));
  view = View({.revision = view.id().revision + 1, .replicas = options.replicas, .writes = options.writes}, all);
  views_.push_back(view);
}

void Cluster::tell(uint32_t p) {
  while (!told(p)) {
    const View& next = views_[++told_[p]];
    if (!up(p)) continue;
    proxies_.at(p).node->set_view(next, now);
    proxies_.at(p).summaries->set_view(next, now);
    drain(p);
  }
}

void Cluster::change_view(const std::set<uint32_t>& nodes) {
  next_view(nodes);
  for (const auto& [p, x] : proxies_) tell(p);
}

void Cluster::post(NodeId from, NodeId to, std::vector<uint8_t> bytes) {
  if (bytes.empty()) std::abort();  // a message out of bounds is a bug of the node's
  if (to.is_op()) { return deliver({now, ++order_, from, to, std::move(bytes), 0}); }
  bool itself = from == to;
  if (!itself) {
    if (from.is_proxy() && to.is_proxy() && cut_.contains(std::minmax(from.number(), to.number()))) return;
    if (filter || tamper) {
      auto m = decode(bytes);
      if (m && filter && !filter(from, to, *m)) return;
      if (m && tamper) {
        tamper(from, to, *m);
        bytes = encode(m->header, m->body);
      }
    }
    if (chance() < options.loss) return;
  }
  uint32_t to_boot = to.is_proxy() ? proxies_[to.number()].boot : 0;
  int copies = !itself && chance() < options.duplicate ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    auto spread = static_cast<double>((options.delay_max - options.delay_min).count());
    Duration delay = options.delay_min + Duration(static_cast<int64_t>(chance() * spread));
    if (!itself && chance() < options.late) delay += Duration(static_cast<int64_t>(chance() * 300e6));
    if (itself) delay = 1us;
    network_.push({now + delay, ++order_, from, to, bytes, to_boot});
  }
}

void Cluster::deliver(const Datagram& d) {
  auto m = decode(d.bytes);
  if (!m) std::abort();
  if (d.to.is_proxy()) {
    Proxy& x = proxies_[d.to.number()];
    // Envelopes for another boot do not verify: each start brings new keys.
    if (!x.node || x.boot != d.to_boot) return;
    if (x.paused) {
      if (x.buffered.size() < 2'000) x.buffered.emplace_back(d.from, d.bytes);
      return;
    }
    if (!taker || !taker(d.to.number(), d.from, d.bytes)) to_proxy(d.to.number(), d.from, d.bytes, *m);
  } else if (d.to.is_member()) {
    if (!dead_members_.contains(d.to.number())) to_member(d.to.number(), d.from, *m);
  } else if (auto* a = std::get_if<RequestAnswer>(&m->body)) {
    request_answers_[m->header.request].push_back(a->status);
    if (events.request) events.request(m->header.request, a->status);
  } else if (auto* i = std::get_if<InsertAnswer>(&m->body)) {
    insert_answers_[m->header.request] = *i;
  }
}

// The proxy's cache takes what is its; the node gets the rest.
void Cluster::to_proxy(uint32_t p, NodeId from, Bytes bytes, const Message& m) {
  if (auto* a = std::get_if<QueryAnswer>(&m.body)) {
    auto it = questions_.find(m.header.request);
    if (it == questions_.end() || it->second.answer) return;
    Instant at = it->second.at;
    it->second.answer = *a;
    if (a->status != QueryAnswer::Status::live) return;
    if (auto purged = purged_[p].find(a->key); purged != purged_[p].end() && at <= purged->second) return;
    Duration life = std::chrono::milliseconds(a->lease_ms);
    Instant ends = at + life - safety_margin(life);
    if (ends > now) leases_[p][a->key] = {a->member, a->version, ends};
    if (events.granted) events.granted(p, a->key, a->lease_bytes, ends);
    return;
  }
  if (auto* e = std::get_if<Entry>(&m.body)) {
    if (e->echo.boot != proxies_[p].boot) return;
    Instant at{std::chrono::microseconds(e->echo.timestamp_us)};
    if (auto purged = purged_[p].find(e->key); purged != purged_[p].end() && at <= purged->second) return;
    Duration life = std::chrono::milliseconds(e->lease_ms);
    Instant ends = at + life - safety_margin(life);
    if (ends > now) leases_[p][e->key] = {e->member, e->version, ends};
    if (events.granted) events.granted(p, e->key, e->lease_bytes, ends);
    ++released_[m.header.request];
    return;
  }
  if (auto* u = std::get_if<Purge>(&m.body)) {
    auto it = leases_[p].find(u->key);
    if (it != leases_[p].end() && (u->state == RecordState::revoked || it->second.version <= u->version)) {
      leases_[p].erase(it);
    }
    purged_[p][u->key] = now;
    NodeId self = NodeId::proxy(ProxyId{p});
    post(self, from, encode({.request = m.header.request, .origin = self, .view = view.id()}, Ack{}));
    return;
  }
  if (!proxies_[p].summaries->on_message(from, bytes, now)) proxies_[p].node->on_message(from, bytes, now);
  drain(p);
}

void Cluster::to_member(uint32_t member, NodeId from, const Message& m) {
  NodeId self = NodeId::member(MemberId{member});
  if (auto* a = std::get_if<InsertAnswer>(&m.body)) {
    insert_answers_[m.header.request] = *a;
    if (events.insert) events.insert(m.header.request, *a);
  } else if (auto* r = std::get_if<RequestAnswer>(&m.body)) {
    request_answers_[m.header.request].push_back(r->status);
    if (events.request) events.request(m.header.request, r->status);
  } else if (auto* f = std::get_if<RefreshAnswer>(&m.body)) {
    refresh_answers_[m.header.request] = *f;
  } else if (std::holds_alternative<Notice>(m.body) && !silent_members_.contains(member)) {
    ++notices_[member];
    post(self, from, encode({.request = m.header.request, .origin = self, .view = view.id()}, Ack{}));
  }
}

void Cluster::drain(uint32_t p) {
  DirectoryOutput o;
  while (proxies_[p].node->next_output(o)) post(NodeId::proxy(ProxyId{p}), o.to, std::move(o.message));
  while (proxies_[p].summaries->next_output(o)) post(NodeId::proxy(ProxyId{p}), o.to, std::move(o.message));
}

void Cluster::beat() {
  for (auto& [p, x] : proxies_) {
    if (!x.node || x.paused) continue;
    for (uint32_t m = 1; m <= options.members; ++m) {
      if (!dead_members_.contains(m)) x.node->on_member_heard(MemberId{m}, now);
    }
    drain(p);
  }
  next_beat_ = now + kMemberBeat;
}

void Cluster::run(Duration d) {
  run_until([] { return false; }, d);
}

bool Cluster::run_until(const std::function<bool()>& done, Duration limit) {
  Instant end = now + limit;
  while (!done()) {
    Instant next = next_beat_;
    if (!network_.empty()) next = std::min(next, network_.top().at);
    uint32_t who = 0;
    for (auto& [p, x] : proxies_) {
      if (!x.node || x.paused) continue;
      const Instant due = std::min(x.node->next_deadline(), x.summaries->next_deadline());
      if (due >= next) continue;
      next = due;
      who = p;
    }
    if (next > end) {
      now = end;
      return done();
    }
    now = std::max(now, next);
    if (who != 0) {
      proxies_[who].node->on_deadline(now);
      proxies_[who].summaries->on_deadline(now);
      drain(who);
    } else if (!network_.empty() && network_.top().at <= now) {
      Datagram d = network_.top();
      network_.pop();
      deliver(d);
    } else {
      beat();
    }
  }
  return true;
}

// --- requests ---

void Cluster::send(NodeId from, NodeId to, const MessageHeader& h, const MessageBody& body) {
  if (from.is_op()) {  // over the proxy's own socket
    Proxy& x = proxies_[to.number()];
    if (!x.node || x.paused) return;
    x.node->on_message(from, encode(h, body), now);
    return drain(to.number());
  }
  post(from, to, encode(h, body));
}

uint32_t Cluster::insert(const InsertSpec& s) {
  uint32_t request = s.request.value_or(0);
  if (request == 0) request = next_request();
  NodeId self = NodeId::member(MemberId{s.member});
  static const std::vector<uint8_t> kPacket(60, 0x45);
  Insert m{.id = s.id,
           .state = s.state,
           .target = Target::member,
           .member = MemberId{s.member},
           .version = {s.term, s.incarnation.value_or(1), s.counter ? *s.counter : next_counter(s.member)},
           .handle = handle_of(s.id),
           .lifetime_ms = static_cast<uint32_t>(to_ms(s.lifetime)),
           .bucket_bytes = s.bucket,
           .bucket_counter = s.bucket_counter,
           .born_new = s.born_new,
           .ingress = ProxyId{s.ingress},
           .returns = s.returns,
           .packet = kPacket};
  send(self, NodeId::proxy(ProxyId{s.via}), {.request = request, .origin = self, .view = view.id()}, m);
  return request;
}

uint32_t Cluster::remove(uint32_t member, const SessionId& id, uint32_t via) {
  uint32_t request = next_request();
  NodeId self = member == 0 ? NodeId::op() : NodeId::member(MemberId{member});
  Remove m{.id = id, .version = {1, 1, member == 0 ? 1 : next_counter(member)}};
  send(self, NodeId::proxy(ProxyId{via}), {.request = request, .origin = self, .view = view.id()}, m);
  return request;
}

uint32_t Cluster::revoke(NodeId who, const SessionId& id, uint32_t via, Duration duration,
                         std::optional<uint32_t> again, std::optional<uint32_t> name) {
  uint32_t request = again ? *again : next_request();
  Revoke m{.id = id,
           .key = {},
           .group = group,
           .duration_ms = static_cast<uint32_t>(to_ms(duration)),
           .name = name.value_or(request)};
  send(who, NodeId::proxy(ProxyId{via}), {.request = request, .origin = who, .view = view.id()}, m);
  return request;
}

uint32_t Cluster::unrevoke(NodeId who, const SessionId& id, uint32_t via, uint32_t name) {
  uint32_t request = next_request();
  Unrevoke m{.id = id, .key = {}, .group = group, .name = name};
  send(who, NodeId::proxy(ProxyId{via}), {.request = request, .origin = who, .view = view.id()}, m);
  return request;
}

uint32_t Cluster::refresh(uint32_t member, uint32_t via, std::vector<Refresh::Entry> entries, uint32_t incarnation,
                          std::optional<ViewId> told) {
  uint32_t request = next_request();
  NodeId self = NodeId::member(MemberId{member});
  Refresh m{.incarnation = incarnation, .entries = std::move(entries)};
  send(self, NodeId::proxy(ProxyId{via}), {.request = request, .origin = self, .view = told.value_or(view.id())}, m);
  return request;
}

uint32_t Cluster::query(uint32_t proxy, const SessionId& id, uint32_t replica, QueryForm form, Bytes packet) {
  uint32_t request = next_request();
  NodeId self = NodeId::proxy(ProxyId{proxy});
  questions_[request] = {now, std::nullopt};
  send(self, NodeId::proxy(ProxyId{replica}), {.request = request, .origin = self, .view = view.id()},
       Query{key(id), group, form, packet});
  return request;
}

// --- what came of them ---

std::optional<InsertAnswer> Cluster::insert_answer(uint32_t request) const {
  auto it = insert_answers_.find(request);
  return it == insert_answers_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<RequestAnswer::Status> Cluster::request_answers(uint32_t request) const {
  auto it = request_answers_.find(request);
  return it == request_answers_.end() ? std::vector<RequestAnswer::Status>{} : it->second;
}

bool Cluster::answered(uint32_t request, RequestAnswer::Status s) const {
  auto all = request_answers(request);
  return std::find(all.begin(), all.end(), s) != all.end();
}

std::optional<RefreshAnswer> Cluster::refresh_answer(uint32_t request) const {
  auto it = refresh_answers_.find(request);
  return it == refresh_answers_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<QueryAnswer> Cluster::query_answer(uint32_t request) const {
  auto it = questions_.find(request);
  return it == questions_.end() ? std::nullopt : it->second.answer;
}

std::optional<QueryAnswer> Cluster::ask(uint32_t proxy, const SessionId& id) {
  std::optional<QueryAnswer> last;
  for (ProxyId replica : view.replicas(key(id).slot())) {
    uint32_t q = query(proxy, id, replica.value);
    run_until([&] { return query_answer(q).has_value(); }, 50ms);
    if (auto a = query_answer(q)) last = a;
    if (last && last->status != QueryAnswer::Status::ask_another) return last;
  }
  return last;
}

const CachedLease* Cluster::lease(uint32_t proxy, const SessionKey& k) const {
  auto p = leases_.find(proxy);
  if (p == leases_.end()) return nullptr;
  auto it = p->second.find(k);
  return it != p->second.end() && it->second.ends > now ? &it->second : nullptr;
}

unsigned Cluster::packets_released(uint32_t request) const {
  auto it = released_.find(request);
  return it == released_.end() ? 0 : it->second;
}

unsigned Cluster::notices(uint32_t member) const {
  auto it = notices_.find(member);
  return it == notices_.end() ? 0 : it->second;
}

uint64_t Cluster::counter(uint32_t p, const std::string& name) {
  for (const Node::Counter& c : node(p).counters()) {
    if (c.name == name) return c.value;
  }
  std::abort();
}

unsigned Cluster::held_copies(const SessionKey& k) {
  unsigned n = 0;
  for (auto& [p, x] : proxies_) {
    if (!x.node) continue;
    auto r = x.node->find(k, now);
    n += r && !is_tombstone(r->state) && x.node->is_held(k);
  }
  return n;
}

}  // namespace statecast
