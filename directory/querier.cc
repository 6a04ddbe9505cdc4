// SPDX-License-Identifier: BSD-3-Clause
// A question's life: ask the best replica; a word that settles nothing (none from too few, ask another, no bytes) goes
// on to the next one at once; silence goes on after max(30 ms, 2 x RTT). Three tries, then what has been said is
// weighed once more, and otherwise the question ends unanswered.
//
// The hard part is what must *not* count. A purge is acknowledged at once, and a lease that was granted before it may
// still be under way. So a purge makes the open question forget its tries and ask again, and is remembered for one
// lease cap: an Entry whose echo is older than the purge is refused (its lease would be over after that cap anyway).
#include "directory/querier.h"

#include <algorithm>

#include "directory/broken.h"

namespace statecast {

namespace {

constexpr Duration kRetryMin = 30ms;       // design, "Miss"
constexpr unsigned kTriesMax = 3;          // design, "Miss"
constexpr Duration kUnavailableCap = 1s;   // design, "Dead members"
constexpr Duration kSpentCap = 1s;         // "no bytes" is believed for this long; the cache asks at half of it
constexpr Duration kQuietTime = 1s;        // how long a replica that did not answer is asked last
constexpr Duration kRttMax = 5s;           // what is more is not known yet
constexpr Duration kRttGrain = 5ms;        // replicas this close to each other share the questions by placement
constexpr Duration kEchoAheadMax = 100ms;  // an echo that is farther ahead is none of ours
constexpr size_t kPurgesMax = 100'000;
constexpr size_t kEntriesMax = 65'536;

Duration milliseconds(uint32_t ms) {
  return std::chrono::milliseconds(ms);
}

}  // namespace

const char* to_string(CacheEvent::Kind k) {
  switch (k) {
    case CacheEvent::Kind::lease: return "lease";
    case CacheEvent::Kind::tombstone: return "tombstone";
    case CacheEvent::Kind::none: return "none";
    case CacheEvent::Kind::no_bytes: return "no_bytes";
    case CacheEvent::Kind::unavailable: return "unavailable";
    case CacheEvent::Kind::unanswered: return "unanswered";
    case CacheEvent::Kind::purge: return "purge";
    case CacheEvent::Kind::packet: return "packet";
  }
  return "unknown";
}

Querier::Querier(QuerierOptions options, uint64_t seed)
    : options_(std::move(options)), next_request_(static_cast<uint32_t>(seed ^ seed >> 32)) {}

// --- asking ---

bool Querier::ask(const SessionKey& key, GroupId group, Instant now, const Traveller& with) {
  if (auto at = questions_.find(key); at != questions_.end()) {
    if (with.packet.empty()) return true;
    at->second.asker = with.asker;
    keep_packet(at->second, with.packet);
    return true;
  }
  if (questions_.size() >= options_.questions_max) {
    ++counters_.questions_full;
    return false;
  }
  ++counters_.questions;
  auto at = questions_.emplace(key, Question{.group = group, .order = order(key, now)}).first;
  Question& q = at->second;
  q.form = with.form;
  q.asker = with.asker;
  q.packet.assign(with.packet.begin(), with.packet.end());
  retry(at, now);
  return true;
}

// It waits for a question that is out already: for a renewal, as a rule, whose lease was over before the answer came.
void Querier::keep_packet(Question& q, Bytes packet) {
  if (q.packet.empty())
    q.packet.assign(packet.begin(), packet.end());
  else
    ++counters_.packets_lost;
}

void Querier::set_view(View view, Instant now) {
  const View before = std::exchange(options_.view, std::move(view));
  std::vector<SessionKey> moved;
  for (const auto& [key, q] : questions_) {
    if (!before.same_placement(options_.view, key.slot())) moved.push_back(key);
  }
  for (const SessionKey& key : moved) {
    auto at = questions_.find(key);
    forget_tries(at->second);
    at->second.order = order(key, now);
    at->second.tries = 0;
    retry(at, now);
  }
}

// Itself first, then who answers, the nearest first, then placement order.
std::vector<Querier::Asked> Querier::order(const SessionKey& key, Instant now) const {
  std::vector<Asked> out;
  for (ProxyId p : options_.view.replicas(key.slot())) out.push_back({p});
  auto rank = [&](ProxyId p) { return std::pair(!reachable(p, now), p == options_.self ? -1 : rtt(p) / kRttGrain); };
  std::stable_sort(out.begin(), out.end(),
                   [&](const Asked& a, const Asked& b) { return rank(a.replica) < rank(b.replica); });
  return out;
}

bool Querier::reachable(ProxyId p, Instant now) const {
  if (p == options_.self) return true;
  if (known_unreachable(p)) return false;
  auto at = replicas_.find(p);
  return at == replicas_.end() || at->second.quiet_until <= now;
}

bool Querier::known_unreachable(ProxyId p) const {
  return p != options_.self && options_.reachable && !options_.reachable(p);
}

Duration Querier::rtt(ProxyId p) const {
  if (p == options_.self) return Duration{};
  auto at = replicas_.find(p);
  if (at != replicas_.end() && at->second.rtt_known) return at->second.rtt;
  const Duration told = options_.rtt ? options_.rtt(p) : Duration{};
  return told < kRttMax ? told : Duration{};
}

void Querier::heard(ProxyId p, Duration rtt) {
  Replica& r = replicas_[p];
  r.rtt = r.rtt_known ? (r.rtt * 7 + rtt) / 8 : rtt;
  r.rtt_known = true;
  r.quiet_until = {};
}

void Querier::send_query(const SessionKey& key, Question& q, Asked& to, Instant now) {
  uint32_t request = ++next_request_;
  to.word = Word::waiting;
  q.requests.push_back(request);
  tries_[request] = {key, to.replica, now};
  deadlines_.erase({q.deadline, key});
  q.deadline = now + std::max(kRetryMin, 2 * rtt(to.replica));
  deadlines_.insert({q.deadline, key});
  ++counters_.queries;
  MessageHeader header{
      .request = request, .origin = NodeId::proxy(options_.self), .hops = 0, .view = options_.view.id()};
  Query query{key, q.group};
  if (q.form != QueryForm::query && !q.packet.empty()) {
    query.form = q.form;
    query.packet = q.packet;
    counters_.packets_lost += q.carrier != 0;
    q.carrier = request;
  }
  outputs_.add(NodeId::proxy(to.replica), encode_as(header, query, outputs_.room()));
  if (q.carrier == request) q.packet.clear();
}

void Querier::go_on(Questions::iterator at, Instant now) {
  auto& [key, q] = *at;
  if (none_confirmed(q, false)) return finish(at, {.kind = CacheEvent::Kind::none, .key = key, .group = q.group});
  for (Asked& a : q.order)
    if (a.word == Word::unasked) return send_query(key, q, a, now);
  // Everybody was asked. What is settled already need not wait for the timer.
  bool open = std::any_of(q.order.begin(), q.order.end(),
                          [](const Asked& a) { return a.word == Word::waiting || a.word == Word::ask_another; });
  if (!open) conclude(at);
}

void Querier::retry(Questions::iterator at, Instant now) {
  auto& [key, q] = *at;
  if (q.order.empty() || q.tries >= kTriesMax) return conclude(at);
  if (q.tries++ > 0) ++counters_.retries;
  // Whom to ask: who has not been asked yet; else who was silent or could not say, in turn.
  for (Word wanted : {Word::unasked, Word::ask_another, Word::waiting}) {
    for (size_t i = 0; i < q.order.size(); ++i) {
      if (q.order[i].word != wanted) continue;
      send_query(key, q, q.order[i], now);
      std::rotate(q.order.begin() + static_cast<std::ptrdiff_t>(i),
                  q.order.begin() + static_cast<std::ptrdiff_t>(i) + 1, q.order.end());
      return;
    }
  }
  conclude(at);
}

// R-W+1 different replicas say so. A group that prefers availability takes one word for it when the other replicas
// cannot be reached: at once when that is known, else after the last try. Not against a replica that answered
// otherwise: `ask another` may mean that an insert is under way.
bool Querier::none_confirmed(const Question& q, bool last) const {
  auto said = [&](Word w) {
    return std::count_if(q.order.begin(), q.order.end(), [&](auto& a) { return a.word == w; });
  };
  auto nones = static_cast<unsigned>(said(Word::none));
  if (nones >= (broken(Broken::believe_one_none) ? 1 : options_.view.read_count())) return true;
  if (nones == 0 || !options_.partition_available || !options_.partition_available(q.group)) return false;
  return std::all_of(q.order.begin(), q.order.end(), [&](const Asked& a) {
    if (a.word == Word::none) return true;
    return !a.otherwise && (a.word == Word::waiting || a.word == Word::unasked) &&
           (last || known_unreachable(a.replica));
  });
}

void Querier::conclude(Questions::iterator at) {
  auto& [key, q] = *at;
  if (none_confirmed(q, true)) return finish(at, {.kind = CacheEvent::Kind::none, .key = key, .group = q.group});
  if (std::any_of(q.order.begin(), q.order.end(), [](const Asked& a) { return a.word == Word::no_bytes; }))
    return finish(at, q.no_bytes);
  finish(at, {.kind = CacheEvent::Kind::unanswered, .key = key, .group = q.group});
}

void Querier::forget_tries(Question& q) {
  for (uint32_t r : q.requests) tries_.erase(r);
  q.requests.clear();
  for (Asked& a : q.order) a.word = Word::unasked;
}

void Querier::close(Questions::iterator at) {
  counters_.packets_lost += at->second.carrier != 0 || !at->second.packet.empty();
  forget_tries(at->second);
  deadlines_.erase({at->second.deadline, at->first});
  questions_.erase(at);
}

void Querier::finish(Questions::iterator at, CacheEvent event) {
  const std::vector<uint8_t> packet = std::move(at->second.packet);
  event.packet = packet;
  event.asker = at->second.asker;
  close(at);
  emit(event);
}

void Querier::emit(CacheEvent event) {
  std::vector<uint8_t> packet(event.packet.begin(), event.packet.end());
  event.packet = {};
  events_.push_back({event, std::move(packet)});
}

// --- hearing ---

bool Querier::on_message(NodeId from, Bytes message, Instant now) {
  if (!from.is_proxy() || message.empty()) return false;
  const uint8_t type = message[0];
  if (type != message_type<QueryAnswer>() && type != message_type<Entry>() && type != message_type<Purge>())
    return false;
  auto m = decode(message);
  if (!m) return false;
  if (auto* answer = std::get_if<QueryAnswer>(&m->body)) {
    on_answer(from.as_proxy(), m->header, *answer, now);
  } else if (auto* entry = std::get_if<Entry>(&m->body)) {
    on_entry(from, m->header, *entry, now);
  } else if (auto* purge = std::get_if<Purge>(&m->body)) {
    on_purge(from, m->header, *purge, now);
  } else {
    return false;
  }
  return true;
}

void Querier::on_answer(ProxyId from, const MessageHeader& header, const QueryAnswer& answer, Instant now) {
  auto t = tries_.find(header.request);
  if (t == tries_.end() || t->second.replica != from || t->second.key != answer.key ||
      header.origin != NodeId::proxy(options_.self)) {
    ++counters_.answers_stale;
    return;
  }
  const Instant sent = t->second.sent;
  heard(from, now - sent);
  auto at = questions_.find(answer.key);
  Question& q = at->second;
  if (q.carrier == header.request) q.carrier = 0;
  if (!answer.packet.empty()) keep_packet(q, answer.packet);
  auto asked = std::find_if(q.order.begin(), q.order.end(), [&](const Asked& a) { return a.replica == from; });

  CacheEvent event{.key = answer.key,
                   .group = q.group,
                   .target = answer.target,
                   .member = answer.member,
                   .version = answer.version,
                   .lease_bytes = answer.lease_bytes};
  // The lease of this answer, counted from when its own question left.
  auto ends = [&](uint32_t ms) {
    Duration lease = std::min(milliseconds(ms), options_.lease_cap);
    return sent + lease - safety_margin(lease);
  };

  // R-W+1 replicas of one view have to say so.
  const Word none = header.view == options_.view.id() ? Word::none : Word::ask_another;
  using Status = QueryAnswer::Status;
  switch (answer.status) {
    case Status::live:
      event.kind = CacheEvent::Kind::lease;
      event.lease_ends = ends(answer.lease_ms);
      if (broken(Broken::absolute_clocks)) event.lease_ends = now + milliseconds(answer.lease_ms) - wall_clock(now);
      if (event.lease_ends > now) return finish(at, event);
      ++counters_.leases_over;  // the way took longer than the lease
      asked->word = Word::ask_another;
      break;
    case Status::tombstone:
      // A removed session is one that is not there, and like any "none" it takes R-W+1 replicas to say so: a newer
      // mapping may stand at the others. Only a revoked one is dropped.
      if (answer.state != RecordState::revoked) {
        asked->word = none;
        break;
      }
      event.kind = CacheEvent::Kind::tombstone;
      event.target = Target::drop;
      event.lease_ends = ends(answer.remaining_ms);
      if (event.lease_ends > now) return finish(at, event);
      ++counters_.leases_over;
      asked->word = Word::ask_another;
      break;
    case Status::unavailable:
      event.kind = CacheEvent::Kind::unavailable;
      event.lease_ends = now + kUnavailableCap;
      return finish(at, event);
    case Status::none: asked->word = none; break;
    case Status::ask_another: asked->word = Word::ask_another; break;
    case Status::no_bytes:
      asked->word = Word::no_bytes;
      event.kind = CacheEvent::Kind::no_bytes;
      event.lease_ends = now + kSpentCap;
      q.no_bytes = event;
      break;
  }
  asked->otherwise |= asked->word != Word::none;
  std::erase(q.requests, header.request);
  tries_.erase(t);
  go_on(at, now);
}

void Querier::on_entry(NodeId from, const MessageHeader& header, const Entry& entry, Instant now) {
  if (repeated(from, header, now)) {
    ++counters_.entries_repeated;
    return;
  }
  // A worker may have sealed the echoed envelope a little later than this step's `now`; then the lease counts from now.
  const uint64_t now_us = options_.timestamp_us(now);
  if (entry.echo.boot != options_.boot || entry.echo.timestamp_us > now_us + kEchoAheadMax / 1us) {
    ++counters_.entries_refused;
    return;
  }
  // The lease counts from the moment of ours that its sender had last seen.
  const uint64_t age_us = now_us - std::min(now_us, entry.echo.timestamp_us);
  const Duration lease = std::min(milliseconds(entry.lease_ms), options_.lease_cap);
  const Duration use = lease - safety_margin(lease);
  if (use <= Duration{} || age_us >= static_cast<uint64_t>(use / 1us)) {
    ++counters_.leases_over;
    return;
  }
  const Instant echoed = now - std::chrono::microseconds(age_us);
  if (purged_since(entry.key, entry.version, echoed)) {
    ++counters_.entries_refused;
    return;
  }
  ++counters_.entries;
  // It answers the open question too. What that one's replicas say was true before the insert.
  std::vector<uint8_t> waiting;
  uint8_t asker = 0;
  if (auto at = questions_.find(entry.key); at != questions_.end()) {
    waiting = std::move(at->second.packet);
    asker = at->second.asker;
    close(at);
  }
  CacheEvent event{.kind = CacheEvent::Kind::lease,
                   .key = entry.key,
                   .group = entry.group,
                   .target = entry.target,
                   .member = entry.member,
                   .version = entry.version,
                   .lease_ends = echoed + use,
                   .lease_bytes = entry.lease_bytes,
                   .packet = waiting,
                   .asker = asker};
  emit(event);
  if (!entry.packet.empty()) {
    event.kind = CacheEvent::Kind::packet;
    event.packet = entry.packet;
    emit(event);
  }
  // This replica has no share of its own (it has taken the slot over not long ago): another may.
  if (entry.lease_bytes == 0) ask(entry.key, entry.group, now);
}

void Querier::on_purge(NodeId from, const MessageHeader& header, const Purge& purge, Instant now) {
  ++counters_.purges;
  remember_purge(purge, now);
  CacheEvent event{.kind = CacheEvent::Kind::purge, .key = purge.key, .group = purge.group, .version = purge.version};
  if (purge.state == RecordState::revoked) {
    event.kind = CacheEvent::Kind::tombstone;
    event.target = Target::drop;
    // Nobody is harmed by a drop that ends early: the next packet asks. It ends after the cap so that an unrevoke that
    // does not reach us takes effect too.
    event.lease_ends = now + std::min(milliseconds(purge.remaining_ms), options_.lease_cap);
  }
  emit(event);
  // Answers that are under way may be older than the change.
  if (auto at = questions_.find(purge.key); at != questions_.end()) {
    forget_tries(at->second);
    if (event.kind == CacheEvent::Kind::tombstone) {
      close(at);
    } else {
      go_on(at, now);
    }
  }
  MessageHeader answer{.request = header.request, .origin = header.origin, .hops = 0, .view = options_.view.id()};
  outputs_.add(from, encode_as(answer, Ack{}, outputs_.room()));
}

// --- memory of purges and entries ---

bool Querier::purged_since(const SessionKey& key, const Version& version, Instant granted) const {
  if (granted < purged_floor_) return true;
  auto at = purged_.find(key);
  if (at == purged_.end() || granted >= at->second.at) return false;
  return at->second.state == RecordState::revoked || version <= at->second.version;
}

void Querier::remember_purge(const Purge& purge, Instant now) {
  auto [at, fresh] = purged_.try_emplace(purge.key);
  Purged& p = at->second;
  bool was_revoked = !fresh && p.state == RecordState::revoked && p.at + options_.lease_cap > now;
  p = {fresh ? purge.version : std::max(p.version, purge.version), was_revoked ? RecordState::revoked : purge.state,
       now};
  purged_order_.push_back({now, purge.key});
  while (!purged_order_.empty()) {
    auto [when, key] = purged_order_.front();
    bool over = when + options_.lease_cap <= now;
    if (!over && purged_order_.size() <= kPurgesMax) break;
    // Forgotten before its time: then nothing older than it is taken from anybody.
    if (!over) purged_floor_ = std::max(purged_floor_, when);
    purged_order_.pop_front();
    auto old = purged_.find(key);
    if (old != purged_.end() && old->second.at == when) purged_.erase(old);
  }
}

bool Querier::repeated(NodeId from, const MessageHeader& header, Instant now) {
  while (!entries_order_.empty() &&
         (entries_order_.size() > kEntriesMax || entries_order_.front().first + options_.lease_cap <= now)) {
    entries_seen_.erase(entries_order_.front().second);
    entries_order_.pop_front();
  }
  std::array<uint32_t, 3> name{from.value, header.origin.value, header.request};
  if (!entries_seen_.insert(name).second) return true;
  entries_order_.push_back({now, name});
  return false;
}

// --- time and queues ---

void Querier::on_deadline(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    auto at = questions_.find(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    for (const Asked& a : at->second.order)
      if (a.word == Word::waiting && a.replica != options_.self) replicas_[a.replica].quiet_until = now + kQuietTime;
    retry(at, now);
  }
}

Instant Querier::next_deadline() const {
  return deadlines_.empty() ? Instant::max() : deadlines_.begin()->first;
}

bool Querier::next_event(CacheEvent& out) {
  if (events_.empty()) return false;
  packet_ = std::move(events_.front().packet);
  out = events_.front().event;
  out.packet = packet_;
  events_.pop_front();
  return true;
}

}  // namespace statecast
