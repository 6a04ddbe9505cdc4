// SPDX-License-Identifier: BSD-3-Clause
// The admin commands of a proxy, each a JSON object in and one or more out (`statecast --json` prints them as they
// are). A session is named by "id" (its text, "10 tcp 198.51.100.7:40000 203.0.113.10:443") or by "key" (32 hex digits)
// with "group".
#include <algorithm>
#include <cstdio>
#include <memory>

#include "control/admin.h"
#include "control/etcd_io.h"
#include "control/proxy_control.h"
#include "dataplane/worker/counters.h"
#include "dataplane/worker/stage_clock.h"

namespace statecast {

namespace {

struct Named {
  std::optional<SessionId> id;
  SessionKey key;
  GroupId group;
};

std::string hex32(uint32_t v) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", v);
  return text;
}

std::optional<SessionKey> parse_key(const std::string& text) {
  if (text.size() != 32 || text.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return std::nullopt;
  return SessionKey{std::stoull(text.substr(0, 16), nullptr, 16), std::stoull(text.substr(16), nullptr, 16)};
}

Result<Named> named(const Json& r, const ProxyControl& control) {
  Named n;
  if (r.contains("id")) {
    std::string text = r.at("id");
    n.id = parse_session_text(text);
    if (!n.id) {
      return fail(Code::invalid, "'" + text +
                                     "' is no session; expected GROUP PROTOCOL CLIENT:PORT SERVER:PORT, "
                                     "as in \"10 tcp 198.51.100.7:40000 203.0.113.10:443\"");
    }
    n.group = n.id->group();
  } else {
    if (!r.contains("key") || !r.contains("group"))
      return fail(Code::invalid, "name the session by id, or by key and group");
    auto key = parse_key(r.at("key"));
    if (!key) return fail(Code::invalid, "key: expected 32 hex digits");
    n.key = *key;
    n.group = GroupId{r.at("group")};
  }
  const Group* g = control.find_group(n.group);
  if (!g) return fail(Code::not_found, "no group " + std::to_string(n.group.value) + " on this proxy");
  if (n.id) n.key = session_key(*n.id, g->secret);
  return n;
}

const char* text_of(CacheTarget t) {
  switch (t) {
    case CacheTarget::member: return "member";
    case CacheTarget::drop: return "drop";
    case CacheTarget::stateless: return "stateless";
    case CacheTarget::negative: return "negative";
    case CacheTarget::unavailable: return "unavailable";
  }
  return "?";
}

Json version_json(const Version& v) {
  return {{"term", v.term}, {"incarnation", v.incarnation}, {"counter", v.counter}};
}
Json bytes_json(uint64_t bytes) {
  return bytes == kUnlimitedBytes ? Json(nullptr) : Json(bytes);
}
double ms_since(Instant t) {
  return std::chrono::duration<double, std::milli>(MonotonicClock::now() - t).count();
}
Json ids(std::span<const ProxyId> proxies) {
  Json list = Json::array();
  for (ProxyId p : proxies) list.push_back(p.value);
  return list;
}

Json view_json(const View& view) {
  return {{"revision", view.id().revision},
          {"hash", hex32(view.id().hash)},
          {"replicas", view.replica_count()},
          {"writes", view.write_count()}};
}

Error static_membership() {
  return {Code::invalid,
          "the view is the list `proxies` of the files: change it there, with a higher revision, and restart the "
          "proxies; or take it from etcd (directory.etcd)"};
}

Json membership_json(const ProxyControl& control) {
  const EtcdMembership* m = control.setup().membership;
  if (!m) return {{"source", "file"}};
  const MembershipStatus s = m->status();
  auto text = [](const std::string& t) { return t.empty() ? Json(nullptr) : Json(t); };
  Json proxies = Json::array();
  for (const auto& p : s.proxies) {
    proxies.push_back({{"id", p.id.value},
                       {"revision", p.revision},
                       {"in_sync", p.in_sync},
                       {"leaving", p.leaving},
                       {"in_view", p.in_view}});
  }
  return {{"source", "etcd"},
          {"endpoint", m->endpoint()},
          {"reachable", s.reachable},
          {"registered", s.registered},
          {"handed_over", m->handed_over()},
          {"trouble", text(s.trouble)},
          {"waits", text(s.waits)},
          {"proxies", proxies}};
}

Json verify_json(const VerifyReport& r) {
  Json not_compared = Json::object(), differences = Json::array();
  for (const auto& [id, why] : r.not_compared) not_compared[std::to_string(id.value)] = why;
  auto held = [](const std::optional<AuditAnswer::Entry>& e) -> Json {
    if (!e) return nullptr;
    return {{"state", to_string(e->state)}, {"owner", to_string(e->owner)}, {"version", version_json(e->version)}};
  };
  for (const auto& d : r.differences) {
    differences.push_back({{"slot", d.slot.value},
                           {"key", to_string((d.at_a ? d.at_a : d.at_b)->key)},
                           {"proxies", {d.a.value, d.b.value}},
                           {"held", {held(d.at_a), held(d.at_b)}}});
  }
  return {{"revision", r.revision},
          {"pairs", r.pairs},
          {"pairs_compared", r.pairs_compared},
          {"slots_compared", r.slots},
          {"slots_differing_at_first", r.slots_differing},
          {"not_compared", not_compared},
          {"differences", differences},
          {"more", r.more}};
}

Json peers_json(const NodeStatus& node) {
  Json peers = Json::array();
  for (const auto& p : node.peers) {
    peers.push_back({{"id", p.id.value},
                     {"heard", p.heard},
                     {"permit", p.permit},
                     {"out_of_sync", p.out_of_sync},
                     {"rtt_us", p.rtt == Duration::max() ? Json(nullptr) : Json(p.rtt.count() / 1000)},
                     {"changes_pending", p.changes_pending}});
  }
  return peers;
}

Json status(const ProxyControl& control) {
  Instant now = MonotonicClock::now();
  const ProxyControlSetup& setup = control.setup();
  const Snapshot& s = setup.board->newest();
  NodeStatus node = control.node().status(now);
  SessionCache::Stats cache = setup.cache->stats();
  Json members = Json::array(), groups = Json::array(), counters = Json::object();
  for (size_t i = 0; i < s.peers.size(); ++i) {
    NodeId id = s.layout->peers[i];
    if (!id.is_member()) continue;
    Instant heard = setup.peers->last_heard(id);
    members.push_back(
        {{"id", id.number()},
         {"reachable", s.peers[i].reachable},
         {"address", s.peers[i].endpoint.address.is_none() ? Json(nullptr) : Json(to_string(s.peers[i].endpoint))},
         {"heard_ms", heard == Instant{} ? Json(nullptr) : Json(to_ms(now - heard))}});
  }
  for (const Group& g : s.layout->groups) {
    Json list = Json::array();
    unsigned reachable = 0;
    for (const GroupMember& m : g.members) {
      list.push_back(m.id.value);
      reachable += m.peer != NodeIndex::kNone && s.peers[m.peer].reachable;
    }
    groups.push_back({{"id", g.id.value}, {"name", g.name}, {"members", list}, {"reachable", reachable}});
  }
  for (size_t i = 0; i < kCounterCount; ++i) {
    Counter c = static_cast<Counter>(i);
    counters[counter_name(c)] = control.counter(c);
  }
  for (const Node::Counter& c : control.node().counters()) counters[c.name] = c.value;
  const QuerierCounters& q = control.querier().counters();
  const Summaries::Status summaries = control.summaries().status(now);
  counters["querier.taken.entries"] = q.entries;
  counters["querier.refused.entries"] = q.entries_refused;
  counters["querier.sent.queries"] = q.queries;
  counters["querier.taken.purges"] = q.purges;
  return {{"program", "statecast-proxy"},
          {"id", s.layout->self.value},
          {"boot", setup.peers->boot()},
          {"uptime_ms", to_ms(now - control.started())},
          {"view", view_json(setup.view)},
          {"membership", membership_json(control)},
          {"in_sync", node.in_sync},
          {"degraded", node.degraded},
          {"partitioned", control.partitioned()},
          {"peers", peers_json(node)},
          {"members", members},
          {"groups", groups},
          {"directory",
           {{"records", node.records},
            {"tombstones", node.tombstones},
            {"placed", node.placed},
            {"holders", control.node().holders(now)}}},
          {"cache",
           {{"entries", cache.entries},
            {"negative", cache.negative},
            {"evicted", cache.evicted},
            {"capacity", setup.config->cache.sessions}}},
          {"questions", control.querier().outstanding()},
          {"pressure",
           {{"on", control.summaries().following()},
            {"summaries", summaries.sources},
            {"fresh", summaries.fresh},
            {"bytes", summaries.bytes}}},
          {"counters", counters}};
}

Json session_get(const ProxyControl& control, const Named& n) {
  Instant now = MonotonicClock::now();
  Json j = {{"id", n.id ? Json(to_string(*n.id)) : Json(nullptr)}, {"key", to_string(n.key)}, {"group", n.group.value}};
  auto e = control.setup().cache->find(n.key, now);
  j["cached"] = e.has_value();
  if (!e) return j;
  j["target"] = text_of(e->target);
  j["member"] = e->target == CacheTarget::member ? Json(e->member.value) : Json(nullptr);
  j["version"] = version_json(e->version);
  j["bytes_left"] = bytes_json(e->bytes);
  j["expires_in_ms"] = to_ms(e->ends - now);
  return j;
}

Json directory_get(const ProxyControl& control, const Named& n) {
  Instant now = MonotonicClock::now();
  const View& view = control.setup().view;
  Json j = {{"key", to_string(n.key)}, {"replica", true}, {"replicas", ids(view.replicas(n.key.slot()))}};
  auto r = control.node().find(n.key, now);
  j["found"] = r.has_value();
  j["replica"] = view.is_replica(control.setup().layout->self, n.key.slot());
  if (!r) return j;
  j["held"] = control.node().is_held(n.key);
  j["state"] = to_string(r->state);
  j["target"] = to_string(r->target);
  j["member"] = r->target == Target::member ? Json(r->member.value) : Json(nullptr);
  j["owner"] = to_string(r->owner);
  j["version"] = version_json(r->version);
  j["remaining_ms"] = r->remaining_ms;
  j["bucket_bytes"] = bytes_json(r->bucket_bytes);
  j["holders"] = Json::array();
  for (const auto& h : control.node().holders_of(n.key, now))
    j["holders"].push_back({{"proxy", h.proxy.value}, {"left_ms", to_ms(h.left)}});
  return j;
}

Error refusal(RequestAnswer::Status s) {
  switch (s) {
    case RequestAnswer::Status::denied: return {Code::denied, "the directory does not let the operator do this"};
    case RequestAnswer::Status::not_found: return {Code::not_found, "the directory has no such session"};
    case RequestAnswer::Status::try_again:
      return {Code::unavailable, "no replica could take it now: try again, or at another proxy"};
    default: return {Code::unavailable, "the directory did not carry it out"};
  }
}

// Answers to remove, revoke, unrevoke. `stream`: a revoke's `stored` is not its last word.
OperatorAnswer answer_request(AdminReply reply, bool stream) {
  return [reply = std::move(reply), stream, started = MonotonicClock::now()](const MessageBody& body) {
    auto* a = std::get_if<RequestAnswer>(&body);
    if (!a) return false;
    using Status = RequestAnswer::Status;
    switch (a->status) {
      case Status::ok: reply({{"event", "done"}, {"ms", ms_since(started)}}, AdminLast::yes); return true;
      case Status::stored:
        reply({{"event", "stored"}, {"ms", ms_since(started)}, {"copies", a->copies}},
              stream ? AdminLast::no : AdminLast::yes);
        return !stream;
      case Status::silent: reply({{"event", "silent"}, {"ms", ms_since(started)}}, AdminLast::yes); return true;
      case Status::degraded:
        reply({{"event", "degraded"}, {"ms", ms_since(started)}, {"copies", a->copies}},
              stream ? AdminLast::no : AdminLast::yes);
        return !stream;
      default: reply(admin_error(refusal(a->status)), AdminLast::yes); return true;
    }
  };
}

OperatorAnswer answer_insert(AdminReply reply) {
  return [reply = std::move(reply), started = MonotonicClock::now()](const MessageBody& body) {
    auto* a = std::get_if<InsertAnswer>(&body);
    if (!a) return false;
    using Status = InsertAnswer::Status;
    switch (a->status) {
      case Status::ok:
      case Status::degraded:
        reply({{"event", "done"},
               {"ms", ms_since(started)},
               {"copies", a->copies},
               {"degraded", a->status == Status::degraded}},
              AdminLast::yes);
        return true;
      case Status::conflict: {
        std::string what = !a->record ? "another record"
                           : is_tombstone(a->record->state)
                               ? "a tombstone (" + std::string(to_string(a->record->state)) + ")"
                               : "a mapping of " + to_string(a->record->owner);
        reply(admin_error({Code::conflict, what + " stands there: remove or unrevoke it first"}), AdminLast::yes);
        return true;
      }
      case Status::busy:
        reply(admin_error({Code::conflict, "another insert of this session is under way: try again"}), AdminLast::yes);
        return true;
      case Status::refused:
        reply(admin_error({Code::unavailable, "refused: too few replicas, or an older version"}), AdminLast::yes);
        return true;
      case Status::try_again:
        reply(admin_error({Code::unavailable, "no replica could take it now: try again, or at another proxy"}),
              AdminLast::yes);
        return true;
    }
    return true;
  };
}

// Cycles of each step since the workers started, as far as they were measured: {"on": true} and false switch that.
Json stages(const ProxyControl& control, const Json& r) {
  Json workers = Json::array();
  for (const WorkerView& w : control.setup().workers) {
    if (!w.stage_clock) continue;
    if (r.contains("on")) w.measure_stages(r.at("on"));
    Json steps = Json::array();
    for (size_t i = 0; i < size_t(Stage::count); ++i)
      steps.push_back({{"step", kStageNames[i]}, {"cycles", w.stage_clock->cycles(Stage(i))}});
    workers.push_back({{"packets", w.stage_clock->packets()}, {"steps", steps}});
  }
  return {{"cycles_per_second", rte_get_tsc_hz()}, {"workers", workers}};
}

}  // namespace

void register_proxy_commands(AdminServer& server, ProxyControl& control) {
  // Runs a command that names a session; what is wrong with the name is answered here.
  auto with_session = [&server, &control](const std::string& command,
                                          std::function<void(const Json&, const Named&, AdminReply)> act) {
    server.on(command, [&control, act = std::move(act)](const Json& r, AdminReply reply) {
      auto n = named(r, control);
      if (!n) return reply(admin_error(n.error()), AdminLast::yes);
      act(r, *n, std::move(reply));
    });
  };

  // The same for one that changes the membership, and is answered with it as it then stands.
  auto with_membership = [&server, &control](const std::string& command,
                                             std::function<Result<void>(const Json&, EtcdMembership&)> act) {
    server.on(command, [&control, act = std::move(act)](const Json& r, AdminReply reply) {
      EtcdMembership* m = control.setup().membership;
      auto done = m ? act(r, *m) : Result<void>(tl::unexpected(static_membership()));
      reply(done ? membership_json(control) : admin_error(done.error()), AdminLast::yes);
    });
  };

  server.on("status", [&control](const Json&, AdminReply reply) { reply(status(control), AdminLast::yes); });
  server.on("stages", [&control](const Json& r, AdminReply reply) { reply(stages(control, r), AdminLast::yes); });
  with_session("sessions.get", [&control](const Json&, const Named& n, AdminReply reply) {
    reply(session_get(control, n), AdminLast::yes);
  });
  with_session("revoke", [&control](const Json& r, const Named& n, AdminReply reply) {
    Revoke revoke{.id = n.id, .key = n.key, .group = n.group, .duration_ms = r.value("duration_ms", 600'000u)};
    control.request(revoke, answer_request(std::move(reply), true), MonotonicClock::now());
  });
  with_session("unrevoke", [&control](const Json&, const Named& n, AdminReply reply) {
    control.request(Unrevoke{.id = n.id, .key = n.key, .group = n.group}, answer_request(std::move(reply), false),
                    MonotonicClock::now());
  });
  server.on("directory.view", [&control](const Json&, AdminReply reply) {
    Json j = view_json(control.setup().view);
    j["nodes"] = Json::array();
    for (const ViewNode& n : control.setup().view.nodes()) j["nodes"].push_back({{"id", n.id.value}, {"zone", n.zone}});
    j["membership"] = membership_json(control);
    const NodeStatus node = control.node().status(MonotonicClock::now());
    j["slots"] = node.slots;
    j["slots_out_of_sync"] = node.slots_out_of_sync;
    j["peers"] = peers_json(node);
    reply(j, AdminLast::yes);
  });
  server.on("directory.verify", [&control](const Json&, AdminReply reply) {
    auto report = [reply](const VerifyReport& r) { reply(verify_json(r), AdminLast::yes); };
    if (!control.verify(report, MonotonicClock::now()))
      reply(admin_error({Code::conflict, "a comparison is under way already"}), AdminLast::yes);
  });
  with_membership("directory.forget", [&control](const Json& r, EtcdMembership& m) -> Result<void> {
    const ProxyId dead{r.at("proxy").get<uint32_t>()};
    const std::string name = "proxy " + std::to_string(dead.value);
    const MembershipStatus s = m.status();
    if (std::any_of(s.proxies.begin(), s.proxies.end(), [&](const auto& p) { return p.id == dead; }))
      return fail(Code::conflict, name + " is registered in etcd, so it lives: let it leave");
    if (!control.setup().view.contains(dead)) return fail(Code::not_found, name + " is not in the view");
    m.forget(dead);
    return {};
  });
  for (bool leaves : {true, false}) {
    with_membership(leaves ? "directory.leave" : "directory.join",
                    [leaves](const Json&, EtcdMembership& m) -> Result<void> {
                      m.leave(leaves);
                      return {};
                    });
  }
  with_session("directory.placement", [&control](const Json&, const Named& n, AdminReply reply) {
    reply({{"key", to_string(n.key)},
           {"slot", n.key.slot().value},
           {"replicas", ids(control.setup().view.replicas(n.key.slot()))}},
          AdminLast::yes);
  });
  with_session("directory.get", [&control](const Json&, const Named& n, AdminReply reply) {
    reply(directory_get(control, n), AdminLast::yes);
  });
  with_session("directory.put", [&control](const Json& r, const Named& n, AdminReply reply) {
    if (!n.id) return reply(admin_error({Code::invalid, "directory.put needs the session's id"}), AdminLast::yes);
    Insert insert;
    insert.id = *n.id;
    insert.state = RecordState::established;
    insert.member = MemberId{r.at("member")};
    insert.lifetime_ms = r.value("lifetime_ms", 60'000u);
    // Above the put that this node knows; else by the host's uptime, so that two puts through one proxy that is no
    // replica are ordered too. Only there, after a restart of the host, may a put be refused as older.
    Instant now = MonotonicClock::now();
    insert.version.incarnation = 1;
    insert.version.counter = static_cast<uint64_t>(to_ms(now.time_since_epoch()));
    if (auto known = control.node().find(n.key, now); known && known->owner.is_op() && !is_tombstone(known->state))
      insert.version.counter = std::max(insert.version.counter, known->version.counter + 1);
    insert.version.counter &= kCounterMask;
    control.request(insert, answer_insert(std::move(reply)), MonotonicClock::now());
  });
  with_session("directory.remove", [&control](const Json&, const Named& n, AdminReply reply) {
    if (!n.id) return reply(admin_error({Code::invalid, "directory.remove needs the session's id"}), AdminLast::yes);
    Remove remove{.id = *n.id, .version = {}};
    if (auto record = control.node().find(n.key, MonotonicClock::now())) remove.version = record->version;
    control.request(remove, answer_request(std::move(reply), false), MonotonicClock::now());
  });
}

}  // namespace statecast
