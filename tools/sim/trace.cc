// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/trace.h"

#include <cstdio>

namespace statecast::sim {

Trace::Trace(World& world, TraceOptions options) : world_(world), options_(options) {
  world.observe(this);
  if (options_.session && options_.messages) world.observe_messages(this);
}

// FNV-1a over words.
void Trace::note(uint64_t what, uint64_t who, uint64_t session) {
  for (uint64_t word : {static_cast<uint64_t>(world_.now().time_since_epoch().count()), what, who, session})
    digest_ = (digest_ ^ word) * 1099511628211u;
}

void Trace::line(const std::string& text) {
  char time[32];
  std::snprintf(time, sizeof time, "%12.3f ms  ", double((world_.now().time_since_epoch() - 1h).count()) / 1e6);
  lines_.push_back(time + text);
  if (lines_.size() > options_.lines_max) lines_.pop_front();
}

void Trace::line(SessionNumber s, const std::string& text) {
  line("s" + std::to_string(s) + "  " + text + (options_.session == s ? replicas(s) : std::string()));
}

std::string Trace::replicas(SessionNumber s) {
  std::string out;
  const SessionKey& key = world_.key(s);
  for (ProxyId p : world_.view().replicas(key.slot())) {
    out += " | p" + std::to_string(p.value) + " ";
    if (!world_.up(p.value)) {
      out += "down";
      continue;
    }
    Node& node = world_.node(p.value);
    if (!node.in_sync(key.slot())) out += "(out of sync) ";
    auto r = node.find(key, world_.local(p.value));
    if (!r) {
      out += "-";
      continue;
    }
    char text[120];
    std::snprintf(text, sizeof text, "%s %s %s t%u i%u c%llu %u ms", node.is_held(key) ? "held" : "placed",
                  to_string(r->owner).c_str(), to_string(r->state), r->version.term, r->version.incarnation,
                  static_cast<unsigned long long>(r->version.counter), r->remaining_ms);
    out += text;
  }
  return out;
}

void Trace::on_cache_event(ProxyId p, SessionNumber s, const CacheEvent& e) {
  note(1 + (static_cast<uint64_t>(e.kind) << 8), NodeId::proxy(p).value, s);
  if (!wants(s)) return;
  std::string text = to_string(NodeId::proxy(p)) + " " + to_string(e.kind);
  if (e.member.value != 0) text += " " + to_string(NodeId::member(e.member));
  if (e.kind == CacheEvent::Kind::lease)
    text += " for " + std::to_string(to_ms(e.lease_ends - world_.local(p.value))) + " ms" +
            (e.lease_bytes == kUnlimitedBytes ? "" : ", " + std::to_string(e.lease_bytes) + " bytes");
  line(s, text);
}

void Trace::on_passed(ProxyId p, const Packet& packet, MemberId m) {
  note(2, NodeId::proxy(p).value + (uint64_t(m.value) << 32), packet.session);
  if (wants(packet.session))
    line(packet.session, to_string(NodeId::proxy(p)) + (packet.syn ? " passes SYN " : " passes packet ") +
                             std::to_string(packet.connection) + " to " + to_string(NodeId::member(m)));
}

void Trace::on_proxy(ProxyId p, ProxyChange change) {
  note(3 + (static_cast<uint64_t>(change) << 8), p.value, 0);
  if (options_.on()) line(to_string(NodeId::proxy(p)) + " " + to_string(change));
}

void Trace::on_owner_event(MemberId m, SessionNumber s, const OwnerEvent& e) {
  note(4 + (static_cast<uint64_t>(e.kind) << 8), m.value, s);
  if (!wants(s)) return;
  std::string text = to_string(NodeId::member(m)) + " " + to_string(e.kind) + (e.degraded ? " degraded" : "") +
                     " copies " + std::to_string(e.copies);
  if (e.record) text += std::string(" with ") + to_string(e.record->state) + " of " + to_string(e.record->owner);
  line(s, text);
}

void Trace::on_kernel(MemberId m, const Packet& packet) {
  note(5, m.value, packet.session);
  if (wants(packet.session))
    line(packet.session, to_string(NodeId::member(m)) + "'s kernel gets " + (packet.syn ? "SYN " : "packet ") +
                             std::to_string(packet.connection));
}

void Trace::on_socket_destroyed(MemberId m, SessionNumber s, OwnerEvent::Kind why) {
  note(6, m.value, s);
  if (wants(s)) line(s, to_string(NodeId::member(m)) + "'s socket is destroyed: " + to_string(why));
}

void Trace::on_insert(MemberId m, SessionNumber s) {
  note(7, m.value, s);
  if (wants(s)) line(s, to_string(NodeId::member(m)) + " inserts");
}

void Trace::on_close(MemberId m, SessionNumber s) {
  note(8, m.value, s);
  if (wants(s)) line(s, to_string(NodeId::member(m)) + "'s kernel closes");
}

void Trace::on_revoke(MemberId m, SessionNumber s) {
  note(9, m.value, s);
  if (wants(s)) line(s, (m.value ? to_string(NodeId::member(m)) : std::string("operator")) + " revokes");
}

void Trace::on_unrevoke(MemberId m, SessionNumber s) {
  note(10, m.value, s);
  if (wants(s)) line(s, to_string(NodeId::member(m)) + " unrevokes");
}

void Trace::on_operator_answer(SessionNumber s, RequestAnswer::Status status) {
  note(11, static_cast<uint64_t>(status), s);
  if (wants(s)) line(s, "operator is answered " + std::to_string(static_cast<int>(status)));
}

void Trace::on_member(MemberId m, MemberChange change) {
  note(12, m.value, static_cast<uint64_t>(change));
  const char* what = change == MemberChange::killed    ? " dies"
                     : change == MemberChange::started ? " is up"
                     : change == MemberChange::forgot  ? " restarts, its disk is lost"
                                                       : " restarts";
  if (options_.on()) line(to_string(NodeId::member(m)) + what);
}

namespace {
// What a message says of a session, where it is about one.
struct About {
  std::optional<SessionKey> key;
  std::optional<SessionId> id;
  std::string what;
  void record(const Record& r) {
    key = r.key;
    what = std::string(" ") + to_string(r.state) + " of " + to_string(r.owner);
    version(r.version);
  }
  void version(const Version& v) {
    what += " t" + std::to_string(v.term) + " i" + std::to_string(v.incarnation) + " c" + std::to_string(v.counter);
  }
};

About about(const Message& m) {
  About out;
  std::visit(
      [&](const auto& b) {
        if constexpr (requires { b.id; }) {
          if constexpr (std::is_same_v<decltype(b.id), SessionId>) out.id = b.id;
          if constexpr (std::is_same_v<decltype(b.id), std::optional<SessionId>>) out.id = b.id;
        }
        if constexpr (requires { b.key; }) out.key = b.key;
        if constexpr (requires { b.version; }) {
          if constexpr (std::is_same_v<decltype(b.version), Version>) out.version(b.version);
        }
        if constexpr (requires { b.record; }) {
          if constexpr (std::is_same_v<decltype(b.record), Record>) out.record(b.record);
        }
        if constexpr (requires { b.status; }) out.what += " status " + std::to_string(static_cast<int>(b.status));
      },
      m.body);
  return out;
}
}  // namespace

// Answers to members name no session; those of its owners' requests are in the trace as events.
void Trace::on_message(NodeId from, NodeId to, Bytes bytes, bool arrives) {
  auto m = decode(bytes);
  if (!m) return;
  const About a = about(*m);
  const SessionNumber s = *options_.session;
  const bool ours = (a.key && *a.key == world_.key(s)) || (a.id && *a.id == world_.id(s));
  if (ours)
    line("s" + std::to_string(s) + "    " + to_string(from) + " > " + to_string(to) + " " + message_name(m->body) +
         a.what + " #" + std::to_string(m->header.request) + (arrives ? "" : " (lost)"));
}

void Trace::on_fault(const std::string& what) {
  note(13, what.size(), 0);
  if (options_.on()) line(what);
}

}  // namespace statecast::sim
