// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/agent_admin.h"

#include <algorithm>

namespace statecast {

namespace {

constexpr size_t kWaitingMax = 10'000;  // revocations whose end somebody waits for
constexpr int64_t kDurationMaxMs = int64_t(30) * 24 * 3'600 * 1'000;

double ms(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

// The session that a request names; an exception of the JSON library (no such key) becomes an error at the server.
Result<SessionId> session_id(const Json& request) {
  const auto text = request.at("id").get<std::string>();
  if (auto id = parse_session_text(text)) return *id;
  return fail(Code::invalid, "\"" + text +
                                 "\" is no session ID: write \"GROUP PROTOCOL CLIENT:PORT SERVER:PORT\", as in "
                                 "\"10 tcp 198.51.100.7:40000 203.0.113.10:443\"");
}

Json error(const Error& e) {
  return admin_error(e);
}

const char* to_string(RequestAnswer::Status s) {
  switch (s) {
    case RequestAnswer::Status::denied: return "the directory denies it to this member";
    case RequestAnswer::Status::not_found: return "the directory knows nothing of it";
    default: return "no directory node answered in time";
  }
}

Json describe(const MemberSession& s, Instant now) {
  return {{"id", to_string(s.id)},    {"state", to_string(s.phase)},
          {"proxy", s.proxy.value},   {"idle_ms", to_ms(now - s.last_packet)},
          {"packets", s.packets},     {"bytes", s.bytes},
          {"acknowledged", s.held},   {"version", nullptr},
          {"replicas", Json::array()}};
}

void describe_mapping(Json& out, const Owner::Listed& m) {
  out["acknowledged"] = m.acknowledged;
  out["version"] = {{"term", m.version.term}, {"incarnation", m.version.incarnation}, {"counter", m.version.counter}};
  for (ProxyId p : m.replicas) out["replicas"].push_back(p.value);
}

}  // namespace

void AgentAdmin::serve(AdminServer& server) {
  server.on("status", [this](const Json&, AdminReply reply) { reply(status(), AdminLast::yes); });
  server.on("sessions.list", [this](const Json& request, AdminReply reply) {
    reply(sessions_list(request.value("limit", size_t(1'000))), AdminLast::yes);
  });
  server.on("sessions.get", [this](const Json& request, AdminReply reply) {
    auto id = session_id(request);
    reply(id ? session(*id) : error(id.error()), AdminLast::yes);
  });
  server.on("sessions.refresh", [this](const Json& request, AdminReply reply) { refresh(request, reply); });
  server.on("revoke", [this](const Json& request, AdminReply reply) { revoke(request, reply); });
  server.on("unrevoke", [this](const Json& request, AdminReply reply) { unrevoke(request, reply); });
}

Json AgentAdmin::status() const {
  Instant now = clock_();
  const AgentConfig& c = core_.config();
  const MemberSessions& s = core_.sessions();
  Json proxies = Json::array(), groups = Json::array(), counters = Json::object();
  for (const auto& p : core_.proxies(now)) {
    Json heard_ms = p.silence ? Json(to_ms(*p.silence)) : Json(nullptr);
    proxies.push_back(
        {{"id", p.id.value}, {"address", to_string(p.address)}, {"heard", p.heard}, {"heard_ms", heard_ms}});
  }
  for (const auto& g : c.groups) {
    Json addresses = Json::array();
    for (const auto& a : g.addresses) addresses.push_back(to_string(a));
    groups.push_back({{"id", g.id.value}, {"name", g.name}, {"addresses", addresses}});
  }
  for (size_t i = 0; i < kAgentCounterCount; ++i)
    counters[kAgentCounters[i].name] = core_.counters().get(static_cast<AgentCounter>(i));
  return {{"member", c.id.value},
          {"incarnation", core_.incarnation()},
          {"device", c.device},
          {"uptime_ms", to_ms(now - core_.started_at())},
          {"sessions",
           {{"syn", s.count(SessionPhase::syn)},
            {"half_open", s.count(SessionPhase::half_open)},
            {"established", s.count(SessionPhase::established)},
            {"closing", s.count(SessionPhase::closing)},
            {"udp", s.count(SessionPhase::udp_new) + s.count(SessionPhase::udp)}}},
          {"revocations", core_.revocations().size()},
          {"proxies", proxies},
          {"groups", groups},
          {"counters", counters}};
}

Json AgentAdmin::sessions_list(size_t limit) const {
  Instant now = clock_();
  std::unordered_map<SessionId, Json> found;
  core_.sessions().for_each([&](const MemberSession& s) {
    if (found.size() < limit) found.emplace(s.id, describe(s, now));
  });
  if (!found.empty()) {
    for (const auto& m : core_.owner().list())
      if (auto at = found.find(m.id); at != found.end()) describe_mapping(at->second, m);
  }
  Json sessions = Json::array();
  for (auto& [id, j] : found) sessions.push_back(std::move(j));
  std::sort(sessions.begin(), sessions.end(), [](const Json& a, const Json& b) {
    return a["id"].get_ref<const std::string&>() < b["id"].get_ref<const std::string&>();
  });
  return {{"total", core_.sessions().size()}, {"sessions", std::move(sessions)}};
}

Json AgentAdmin::session(const SessionId& id) const {
  const MemberSession* s = core_.sessions().find(id);
  bool revoked = core_.revocations().contains(id, clock_());
  if (!s) return {{"id", to_string(id)}, {"owned", false}, {"revoked", revoked}};
  Json out = describe(*s, clock_());
  for (const auto& m : core_.owner().list())
    if (m.id == id) describe_mapping(out, m);
  out["owned"] = core_.owner().owns(id);
  out["revoked"] = revoked;
  return out;
}

void AgentAdmin::refresh(const Json& request, const AdminReply& reply) {
  auto id = session_id(request);
  if (!id) return reply(error(id.error()), AdminLast::yes);
  const Json& bytes = request.at("bytes");
  bool unlimited = bytes.is_string() && bytes.get<std::string>() == "unlimited";
  if (!unlimited && !bytes.is_number_unsigned())
    return reply(error({Code::invalid, "bytes: a number of bytes or \"unlimited\""}), AdminLast::yes);
  uint64_t count = unlimited ? kUnlimitedBytes : bytes.get<uint64_t>();
  if (auto done = core_.refresh(*id, count, clock_()); !done) return reply(error(done.error()), AdminLast::yes);
  reply({{"id", to_string(*id)}, {"bytes", bytes}}, AdminLast::yes);
}

void AgentAdmin::revoke(const Json& request, const AdminReply& reply) {
  Instant asked = clock_();
  auto id = session_id(request);
  if (!id) return reply(error(id.error()), AdminLast::yes);
  int64_t duration_ms = request.value("duration_ms", int64_t(600'000));
  if (duration_ms <= 0 || duration_ms > kDurationMaxMs)
    return reply(error({Code::invalid, "duration_ms: 1 to " + std::to_string(kDurationMaxMs) + " (30 days)"}),
                 AdminLast::yes);
  auto number = core_.revoke(*id, std::chrono::milliseconds(duration_ms), asked);
  if (!number) return reply(error(number.error()), AdminLast::yes);
  reply({{"event", "enforced"}, {"ms", ms(clock_() - asked)}}, AdminLast::no);
  if (waiting_.size() < kWaitingMax)
    waiting_[*number] = {asked, reply};
  else
    reply(error({Code::unavailable, "it is enforced here and sent; too many wait for its end"}), AdminLast::yes);
}

void AgentAdmin::unrevoke(const Json& request, const AdminReply& reply) {
  Instant asked = clock_();
  auto id = session_id(request);
  if (!id) return reply(error(id.error()), AdminLast::yes);
  auto number = core_.unrevoke(*id, asked);
  if (!number) return reply(error(number.error()), AdminLast::yes);
  if (waiting_.size() < kWaitingMax)
    waiting_[*number] = {asked, reply};
  else
    reply(error({Code::unavailable, "it is sent; too many wait for its end"}), AdminLast::yes);
}

void AgentAdmin::pass_events_on() {
  for (AgentEvent e; core_.next_event(e);) {
    auto at = waiting_.find(e.request);
    if (at == waiting_.end()) continue;
    Json line = {{"ms", ms(clock_() - at->second.asked)}};
    AdminReply reply = at->second.reply;
    switch (e.kind) {
      case AgentEvent::Kind::stored:
        line["event"] = "stored";
        reply(line, AdminLast::no);
        continue;
      case AgentEvent::Kind::silent: line["event"] = "silent"; break;
      case AgentEvent::Kind::done: line["event"] = "done"; break;
      case AgentEvent::Kind::failed: line["error"] = to_string(e.failed_status); break;
    }
    reply(line, AdminLast::yes);
    waiting_.erase(at);
  }
}

std::vector<Metric> agent_metrics(const AgentCounters& counters) {
  std::vector<Metric> out;
  for (size_t i = 0; i < kAgentCounterCount; ++i) {
    out.push_back({metric_name(kAgentCounters[i].name),
                   kAgentCounters[i].sentence,
                   {},
                   static_cast<double>(counters.get(static_cast<AgentCounter>(i)))});
  }
  return out;
}

}  // namespace statecast
