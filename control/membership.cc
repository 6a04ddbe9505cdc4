// SPDX-License-Identifier: BSD-3-Clause
// What goes over the wire is described at https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/: keys and values in
// base64, 64-bit numbers as strings, fields with the value 0 left out.
#include "control/membership.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

namespace statecast {

namespace {

using nlohmann::json;

constexpr Duration kReadPeriod = 2s;  // should the watch have missed something
constexpr Duration kRetry = 500ms;    // after a failure
constexpr Duration kAnswerMax = 3s;   // of a request that is no stream; the edge gives up sooner
constexpr Duration kReachable = 5s;   // since the last good read
constexpr Duration kPerRank = 500ms;  // the proxy of the lowest number proposes first
constexpr size_t kNodesMax = 4'096;   // in a view that is taken
constexpr size_t kRequestsMax = 16;

std::string base64(std::string_view text) {
  std::string out(sodium_base64_ENCODED_LEN(text.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();  // its final zero
  return out;
}

std::string from_base64(const std::string& text) {
  std::string out(text.size(), '\0');
  size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(), text.size(), nullptr,
                        &length, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    return {};
  out.resize(length);
  return out;
}

// 64-bit numbers come as strings; 0 is left out.
int64_t number(const json& j, const char* name) {
  auto at = j.find(name);
  if (at == j.end()) return 0;
  if (at->is_number_integer()) return at->get<int64_t>();
  int64_t n = 0;
  if (at->is_string()) {
    const auto& text = at->get_ref<const std::string&>();
    std::from_chars(text.data(), text.data() + text.size(), n);
  }
  return n;
}

// All keys that begin with `prefix`, as a request names them.
json range_of(const std::string& prefix) {
  std::string end = prefix;
  ++end.back();
  return {{"key", base64(prefix)}, {"range_end", base64(end)}};
}

json parse(std::string_view text) {
  json j = json::parse(text, nullptr, false);
  return j.is_object() ? j : json::object();
}

std::optional<View> read_view(const std::string& text) {
  try {
    const json j = json::parse(text);
    std::vector<ViewNode> nodes;
    for (const json& n : j.at("nodes")) {
      const ProxyId id{n.at("id").get<uint32_t>()};
      if (id.value == 0 || id.value > kId24Max) return std::nullopt;
      nodes.push_back({id, n.value("zone", std::string())});
    }
    if (j.at("revision").get<uint64_t>() > UINT32_MAX) return std::nullopt;
    const ViewOptions o{.revision = j.at("revision").get<uint32_t>(),
                        .replicas = j.at("replicas").get<unsigned>(),
                        .writes = j.at("writes").get<unsigned>()};
    const bool sound = o.revision != 0 && o.replicas >= 1 && o.replicas <= kReplicasMax && o.writes >= 1 &&
                       o.writes <= o.replicas && !nodes.empty() && nodes.size() <= kNodesMax;
    return sound ? std::optional(View(o, std::move(nodes))) : std::nullopt;
  } catch (const json::exception&) { return std::nullopt; }
}

std::string written(const ViewOptions& o, const std::vector<ViewNode>& nodes) {
  json list = json::array();
  for (const ViewNode& n : nodes) list.push_back({{"id", n.id.value}, {"zone", n.zone}});
  return json{{"revision", o.revision}, {"replicas", o.replicas}, {"writes", o.writes}, {"nodes", std::move(list)}}
      .dump();
}

std::string name(ProxyId p) {
  return "proxy " + std::to_string(p.value);
}

}  // namespace

Membership::Membership(MembershipOptions options, Instant now)
    : options_(std::move(options)), read_at_(now), retry_at_(now) {
  work(now);
}

// --- requests ---

void Membership::send(Kind kind, const std::string& path, std::string body, Instant now, bool stream) {
  const uint32_t n = next_number_++;
  out_[n] = {kind, now};
  requests_.push_back({n, "/v3/" + path, std::move(body), stream});
}

bool Membership::next_request(StoreRequest& out) {
  if (requests_.empty()) return false;
  out = std::move(requests_.front());
  requests_.pop_front();
  return true;
}

bool Membership::is_out(Kind kind) const {
  return std::any_of(out_.begin(), out_.end(), [&](const auto& o) { return o.second.kind == kind; });
}

std::string Membership::key(const std::string& below) const {
  return options_.prefix + "/" + below;
}

// Whatever is due and not under way.
void Membership::work(Instant now) {
  if (now < retry_at_ || requests_.size() >= kRequestsMax) return;
  if (lease_.empty()) {
    if (!is_out(Kind::grant))
      send(Kind::grant, "lease/grant", json{{"TTL", std::to_string(options_.lease / 1s)}}.dump(), now);
  } else if (keep_at_ <= now && !is_out(Kind::keep)) {
    send(Kind::keep, "lease/keepalive", json{{"ID", lease_}}.dump(), now);
  }
  if (!lease_.empty() && put_ != said() && !is_out(Kind::put)) {
    putting_ = said();
    const json value = {{"revision", putting_->revision},
                        {"in_sync", putting_->in_sync},
                        {"leaving", putting_->leaving},
                        {"zone", options_.zone}};
    const json body = {
        {"key", base64(key_of("proxies/", options_.self))}, {"value", base64(value.dump())}, {"lease", lease_}};
    send(Kind::put, "kv/put", body.dump(), now);
  }
  if (read_at_ <= now && !is_out(Kind::read)) {
    read_at_ = now + kReadPeriod;
    send(Kind::read, "kv/range", range_of(key("")).dump(), now);
  }
  if (store_revision_ > 0 && !is_out(Kind::watch)) {
    json create = range_of(key(""));
    create["start_revision"] = std::to_string(store_revision_ + 1);
    send(Kind::watch, "watch", json{{"create_request", create}}.dump(), now, true);
  }
}

std::string Membership::key_of(const char* folder, ProxyId p) const {
  return key(folder + std::to_string(p.value));
}

void Membership::lose_lease() {
  lease_.clear();
  put_.reset();
}

void Membership::on_answer(uint32_t n, std::string_view body, Instant now) {
  auto at = out_.find(n);
  if (at == out_.end()) return;
  const Out out = at->second;
  try {
    take_answer(n, out.kind, out.sent, parse(body), now);
    if (out.kind != Kind::watch) out_.erase(n);
  } catch (const json::exception& e) { return on_failure(n, std::string("no answer of etcd: ") + e.what(), now); }
  work(now);
}

void Membership::take_answer(uint32_t n, Kind kind, Instant sent, const json& j, Instant now) {
  switch (kind) {
    case Kind::grant:
      if (j.contains("ID") && j["ID"].is_string()) {
        lease_ = j["ID"].get<std::string>();
        keep_at_ = sent + options_.lease / 3;
        ++counted_.leases;
      }
      break;
    case Kind::keep:
      // One that is over has no time left, which is not said.
      if (number(j.value("result", json::object()), "TTL") > 0)
        keep_at_ = sent + options_.lease / 3;
      else
        lose_lease();
      break;
    case Kind::put: put_ = putting_; break;
    case Kind::read: on_read(j, sent, now); break;
    case Kind::declare: read_at_ = now; break;
    case Kind::propose:
      if (!j.value("succeeded", false)) ++counted_.lost_proposals;
      read_at_ = now;
      break;
    case Kind::watch: {
      const json result = j.value("result", json::object());
      const bool over = result.value("canceled", false);  // what it asked for is not kept any more
      if (over) out_.erase(n), store_revision_ = 0;
      if (over || result.contains("events")) read_at_ = std::min(read_at_, now);
      break;
    }
  }
}

void Membership::on_failure(uint32_t n, std::string_view why, Instant now) {
  auto at = out_.find(n);
  if (at == out_.end()) return;
  const Kind kind = at->second.kind;
  out_.erase(at);
  ++counted_.failures;
  trouble_ = why;
  // A lease that is over refuses what is put under it; a new one does no harm if it is not.
  if (kind == Kind::put) lose_lease();
  if (kind == Kind::read) read_at_ = now;
  std::erase_if(out_, [](const auto& o) { return o.second.kind == Kind::watch; });  // the next may go to another etcd
  retry_at_ = now + kRetry;
}

// --- what etcd has ---

void Membership::on_read(const json& j, Instant asked, Instant now) {
  read_ = asked;
  trouble_.clear();
  const json header = j.value("header", json::object());
  store_revision_ = number(header, "revision");
  std::map<ProxyId, Registration> there;
  std::set<ProxyId> dead;
  const std::string proxies = key("proxies/"), declared = key("dead/");
  auto id_in = [](const std::string& text, const std::string& before) -> std::optional<ProxyId> {
    uint32_t id = 0;
    std::from_chars(text.data() + before.size(), text.data() + text.size(), id);
    return id != 0 && id <= kId24Max ? std::optional(ProxyId{id}) : std::nullopt;
  };
  bool has_view = false;
  for (const json& kv : j.value("kvs", json::array())) {
    const std::string at = from_base64(kv.value("key", std::string()));
    const std::string value = from_base64(kv.value("value", std::string()));
    if (at == key("view")) {
      has_view = true;
      const int64_t modified = number(kv, "mod_revision");
      if (modified != view_modified_) take_view(at, value);
      view_modified_ = modified;
    } else if (at.starts_with(proxies)) {
      const auto id = id_in(at, proxies);
      const json r = parse(value);
      try {
        if (id) there[*id] = {r.at("revision"), r.at("in_sync"), r.at("leaving"), r.at("zone")};
      } catch (const json::exception&) { trouble_ = at + ": no registration that makes sense"; }
    } else if (at.starts_with(declared)) {
      if (const auto id = id_in(at, declared)) dead.insert(*id);
    }
  }
  if (!has_view) view_modified_ = 0, view_trouble_.clear();
  if (!view_trouble_.empty()) trouble_ = view_trouble_;
  for (const auto& [id, r] : there) {
    there_since_.try_emplace(id, now);
    gone_since_.erase(id);
  }
  std::erase_if(there_since_, [&](const auto& t) { return !there.contains(t.first); });
  std::erase_if(gone_since_, [&](const auto& g) { return !view_.contains(g.first); });
  for (const ViewNode& node : view_.nodes())
    if (!there.contains(node.id)) gone_since_.try_emplace(node.id, now);
  registered_ = std::move(there);
  dead_ = std::move(dead);
  if (dead_.contains(options_.self) && registered_.contains(options_.self) && !is_out(Kind::declare))
    send(Kind::declare, "kv/deleterange", json{{"key", base64(key_of("dead/", options_.self))}}.dump(), now);
  decide(now);
}

void Membership::take_view(const std::string& at, const std::string& value) {
  view_trouble_.clear();
  auto view = read_view(value);
  if (!view)
    view_trouble_ = at + ": no view that makes sense; mend it, or remove it while no proxy runs";
  else if (view->id().revision > view_.id().revision)
    view_ = std::move(*view);
  else if (view->id().revision < view_.id().revision)
    view_trouble_ = at + ": older than the view in force; it has been set back by hand, or etcd has lost it";
  else if (view->id() != view_.id())
    view_trouble_ = at + ": another view of the same revision; it has been changed by hand";
}

// --- the next view ---

void Membership::decide(Instant now) {
  auto nodes = reachable(now) && view_trouble_.empty() ? next_nodes(now) : std::nullopt;
  if (!nodes) return ready_since_.reset();
  if (!ready_since_) ready_since_ = now;
  if (is_out(Kind::propose)) return;
  if (now - *ready_since_ < rank() * kPerRank) return;
  propose(*nodes, now);
}

bool Membership::reachable(Instant now) const {
  return read_ && now - *read_ <= kReachable;
}

bool Membership::has_its_slots(const Registration& r) const {
  return r.revision == view_.id().revision && r.in_sync;
}

unsigned Membership::rank() const {
  return static_cast<unsigned>(
      std::count_if(registered_.begin(), registered_.end(), [&](const auto& r) { return r.first < options_.self; }));
}

// nullopt: it stays as it is.
std::optional<std::vector<ViewNode>> Membership::next_nodes(Instant now) {
  waits_.clear();
  auto settled = [&](ProxyId p) {
    auto at = there_since_.find(p);
    return at != there_since_.end() && now - at->second >= options_.settle;
  };
  std::vector<ViewNode> nodes;
  bool changed = view_.id().revision != 0 && view_modified_ == 0;  // etcd has lost it: it is written again
  for (const ViewNode& n : view_.nodes()) {
    auto at = registered_.find(n.id);
    const auto gone = gone_since_.find(n.id);
    const bool away = at == registered_.end() && gone != gone_since_.end() &&
                      now - gone->second >= options_.hold_down && !report_.heard.contains(n.id);
    const bool dead = away || (at == registered_.end() && dead_.contains(n.id));
    const bool leaves = at != registered_.end() && at->second.leaving;
    if (dead || leaves)
      changed = true;
    else
      nodes.push_back(n);
  }
  for (const auto& [id, r] : registered_) {
    if (view_.contains(id) || r.leaving) continue;
    if (!options_.known.contains(id)) {
      waits_ = name(id) + " is registered, but not in this proxy's file";
      continue;
    }
    // The first view is of all who come together.
    if (!settled(id) && view_.id().revision == 0) {
      waits_ = name(id) + " has only just come";
      return std::nullopt;
    }
    if (!settled(id)) continue;
    nodes.push_back({id, r.zone});
    changed = true;
  }
  if (!changed) return std::nullopt;
  if (nodes.empty()) {
    waits_ = "the last one does not leave";
    return std::nullopt;
  }
  for (const auto& [id, r] : registered_) {
    if (r.revision <= view_.id().revision) continue;
    waits_ = name(id) + " has a newer view than etcd";
    return std::nullopt;
  }
  // One view at a time: what the last one gave has to be there first, with all that can say so. Who cannot may live,
  // and go on in the last view with others like it: they must be too few for that.
  std::string missing;
  unsigned missing_count = 0;
  for (const ViewNode& n : view_.nodes()) {
    auto at = registered_.find(n.id);
    if (at == registered_.end()) {
      if (dead_.contains(n.id)) continue;
      missing += (missing_count++ > 0 ? ", " : "") + std::to_string(n.id.value);
      continue;
    }
    if (has_its_slots(at->second)) continue;
    waits_ = name(n.id) + (at->second.in_sync ? " has not taken" : " is not in sync in") + " view " +
             std::to_string(view_.id().revision) + " yet";
    return std::nullopt;
  }
  if (missing_count > 0 && missing_count >= view_.write_count()) {
    waits_ = "proxies " + missing + " are not registered: together they may go on in view " +
             std::to_string(view_.id().revision) +
             "; bring one back, or say which is dead (statecast directory forget ID)";
    return std::nullopt;
  }
  return nodes;
}

void Membership::propose(const std::vector<ViewNode>& nodes, Instant now) {
  const std::string at = base64(key("view"));
  const ViewOptions o{.revision = view_.id().revision + 1, .replicas = options_.replicas, .writes = options_.writes};
  // It counts only if the view, and what all proxies say, is still what the decision rests on.
  auto modified = [](json keys, const char* result, int64_t revision) {
    keys.update({{"target", "MOD"}, {"result", result}, {"mod_revision", std::to_string(revision)}});
    return keys;
  };
  const json compare = json::array({modified(json::object({{"key", at}}), "EQUAL", view_modified_),
                                    modified(range_of(key("proxies/")), "LESS", store_revision_ + 1)});
  const json put = {{"request_put", {{"key", at}, {"value", base64(written(o, nodes))}}}};
  ++counted_.proposals;
  send(Kind::propose, "kv/txn", json{{"compare", compare}, {"success", json::array({put})}}.dump(), now);
}

// --- time, and what this proxy says of itself ---

void Membership::on_deadline(Instant now) {
  // What the edge has lost.
  std::vector<uint32_t> lost;
  for (const auto& [n, o] : out_)
    if (o.kind != Kind::watch && now - o.sent >= kAnswerMax) lost.push_back(n);
  for (uint32_t n : lost) on_failure(n, "no answer", now);
  decide(now);
  work(now);
}

Instant Membership::next_deadline() const {
  Instant next = Instant::max();
  for (const auto& [n, o] : out_)
    if (o.kind != Kind::watch) next = std::min(next, o.sent + kAnswerMax);
  auto due = [&](Kind kind, Instant at) {
    if (!is_out(kind)) next = std::min(next, std::max(at, retry_at_));
  };
  due(Kind::read, read_at_);
  if (lease_.empty())
    due(Kind::grant, retry_at_);
  else
    due(Kind::keep, keep_at_);
  if (ready_since_) due(Kind::propose, *ready_since_ + rank() * kPerRank);
  return next;
}

void Membership::report(MembershipReport report, Instant now) {
  report_ = std::move(report);
  work(now);
}

void Membership::leave(bool leaving, Instant now) {
  leaving_ = leaving;
  work(now);
}

void Membership::forget(ProxyId dead, Instant now) {
  const json put = {{"key", base64(key_of("dead/", dead))}, {"value", base64("{}")}};
  send(Kind::declare, "kv/put", put.dump(), now);
}

bool Membership::handed_over() const {
  if (view_.contains(options_.self) || view_.id().revision == 0) return false;
  return std::all_of(view_.nodes().begin(), view_.nodes().end(), [&](const ViewNode& n) {
    auto at = registered_.find(n.id);
    return at == registered_.end() || has_its_slots(at->second);
  });
}

MembershipStatus Membership::status(Instant now) const {
  MembershipStatus s = counted_;
  s.reachable = reachable(now);
  s.registered = registered_.contains(options_.self);
  s.trouble = trouble_;
  s.waits = waits_;
  for (const auto& [id, r] : registered_)
    s.proxies.push_back({id, r.revision, r.in_sync, r.leaving, view_.contains(id)});
  return s;
}

}  // namespace statecast
