// SPDX-License-Identifier: BSD-3-Clause
// Net: hosts with a PeerTable each and a network between them that loses, duplicates, delays and reorders as asked, on
// a clock of its own. Everything sent is recorded, so that a test can replay it.
//
//   Net net(seed);
//   Host& m = net.member(7);  Host& p = net.proxy(1);
//   net.run(1s);
//   EXPECT_TRUE(m.table->ready(p.id));
//
// Threads: one. Ownership: owns hosts; references stay valid.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "dataplane/envelope/hello.h"
#include "dataplane/envelope/keys.h"
#include "dataplane/envelope/peers.h"

namespace statecast::test {

struct Wire {  // one datagram on its way
  Endpoint from, to;
  std::vector<uint8_t> bytes;
};

struct Host {
  NodeId id;
  Endpoint at;  // where the others see it; behind NAT this may change
  std::unique_ptr<PeerTable> table;
  std::map<OpenResult, int> results;
  std::vector<std::string> got;  // payloads of verified data envelopes
  bool running = true;
};

inline Endpoint address_of(NodeId id) {
  uint8_t raw[4] = {10, static_cast<uint8_t>(id.value >> 24), 0, static_cast<uint8_t>(id.number())};
  return {IpAddress::v4(raw), Port{kEnvelopePort}};
}

class Net {
 public:
  explicit Net(uint64_t seed) : rng_(seed) { fleet_.raw.fill(0x42); }

  Instant now{1000s};
  double loss = 0, duplicate = 0;
  Duration delay = 5ms, jitter{};
  std::vector<Wire> sent;                  // all that was ever sent
  std::function<bool(const Wire&)> drops;  // further reasons to lose it

  Host& proxy(uint32_t n) { return add(NodeId::proxy(ProxyId{n})); }
  Host& member(uint32_t n) { return add(NodeId::member(MemberId{n})); }

  // A new start of the same host: new boot, no memory.
  void restart(Host& h) {
    h.table = std::make_unique<PeerTable>(h.id, static_cast<uint32_t>(rng_.next()), uint8_t{2}, now - 1ms,
                                          [this](MutableBytes out) { rng_.fill(out); });
    for (auto& other : hosts_)
      if (other->id != h.id && (other->id.is_proxy() || h.id.is_proxy())) introduce(h, *other);
    flush(h);
  }

  void run(Duration d) {
    for (Instant end = now + d;;) {
      Instant next = end;
      if (!flying_.empty()) next = std::min(next, flying_.begin()->first);
      for (auto& h : hosts_)
        if (h->running) next = std::min(next, h->table->next_deadline());
      now = std::max(now, next);
      if (!flying_.empty() && flying_.begin()->first <= now) {
        Wire w = std::move(flying_.begin()->second);
        flying_.erase(flying_.begin());
        deliver(w);
      } else if (now >= end) {
        return;
      }
      for (auto& h : hosts_)
        if (h->running && h->table->next_deadline() <= now) {
          h->table->on_deadline(now);
          flush(*h);
        }
    }
  }

  void send(const Wire& w) {
    sent.push_back(w);
    if (rng_.chance(loss) || (drops && drops(w))) return;
    for (int copies = rng_.chance(duplicate) ? 2 : 1; copies > 0; --copies)
      flying_.emplace(now + delay + Duration(jitter.count() ? rng_.below(jitter.count()) : 0), w);
  }
  // Without the network: straight to whoever has the address.
  void inject(const Wire& w) { deliver(w); }

  // A data envelope; false if the sender has no keys or no address.
  bool data(Host& from, Host& to, const std::string& payload, uint8_t stream = 0) {
    std::vector<uint8_t> d(kEnvelopeSizeMin + payload.size());
    std::memcpy(d.data() + kEnvelopeSizeMin, payload.data(), payload.size());
    auto at = from.table->endpoint(to.id);
    size_t n = from.table->seal(to.id, stream, GroupId{10}, PayloadKind::ipv4, {}, from.table->timestamp_us(now),
                                Bytes(d).subspan(kEnvelopeSizeMin), MutableBytes(d).first(kEnvelopeSizeMin));
    if (n == 0 || !at) return false;
    send({from.at, *at, d});
    return true;
  }
  // Both ways, now: true if both arrived.
  bool talk(Host& a, Host& b) {
    std::string text = "packet " + std::to_string(++count_);
    if (!data(a, b, text) || !data(b, a, text)) return false;
    run(delay + jitter + 1ms);
    return !a.got.empty() && a.got.back() == text && !b.got.empty() && b.got.back() == text;
  }

  static PairKey pair_key(const FleetSecret& fleet, NodeId a, NodeId b) {
    if (a.is_proxy() && b.is_proxy()) return proxy_pair_key(fleet, a.as_proxy(), b.as_proxy());
    NodeId member = a.is_member() ? a : b, proxy = a.is_member() ? b : a;
    return member_pair_key(member_node_key(fleet, member.as_member()), proxy.as_proxy());
  }
  const FleetSecret& fleet() const { return fleet_; }

 private:
  Host& add(NodeId id) {
    hosts_.push_back(std::make_unique<Host>());
    Host& h = *hosts_.back();
    h.id = id;
    h.at = address_of(id);
    restart(h);
    for (auto& other : hosts_)
      if (other->id != id && (other->id.is_proxy() || id.is_proxy())) introduce(*other, h);
    return h;
  }
  void introduce(Host& to, Host& who) {
    to.table->add(who.id, pair_key(fleet_, to.id, who.id),
                  who.id.is_proxy() ? std::optional(address_of(who.id)) : std::nullopt);
  }
  void flush(Host& h) {
    for (PeerTable::Datagram d; h.table->next_output(d);)
      send({h.at, d.at, std::vector<uint8_t>(d.bytes.begin(), d.bytes.begin() + d.length)});
  }
  void deliver(const Wire& w) {
    for (auto& h : hosts_) {
      if (h->at != w.to || !h->running) continue;
      Envelope e;
      OpenResult r = h->table->open(w.bytes, e);
      ++h->results[r];
      if (r == OpenResult::hello) h->table->on_hello(e, w.from, now);
      if (r == OpenResult::bad_tag || r == OpenResult::unknown_peer)
        h->table->on_unverified(claimed_sender(w.bytes), w.from, now);
      if (r == OpenResult::ok) {
        h->table->heard(e, w.from, now);
        if (!h->table->on_path_message(e, w.from, now))
          h->got.emplace_back(reinterpret_cast<const char*>(e.payload.data()), e.payload.size());
      }
      flush(*h);
    }
  }

  Rng rng_;
  FleetSecret fleet_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::multimap<Instant, Wire> flying_;
  int count_ = 0;
};

}  // namespace statecast::test
