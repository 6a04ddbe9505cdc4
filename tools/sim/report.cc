// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace statecast::sim {

const char* type_name(size_t type) {
  const char* name = nullptr;
  [&]<size_t... I>(std::index_sequence<I...>) {
    (void)((type == kMessageTypeFirst + I ? (name = message_name(std::variant_alternative_t<I, MessageBody>{}), true)
                                          : false) ||
           ...);
  }
  (std::make_index_sequence<std::variant_size_v<MessageBody>>());
  return name ? name : "unknown";
}

namespace {

constexpr size_t kTraceLines = 60;

double seconds(Duration d) {
  return double(d.count()) / 1e9;
}

template <class... A>
std::string format(const char* f, A... a) {
  char out[400];
  std::snprintf(out, sizeof out, f, a...);
  return out;
}

std::string fault_names(const RunResult& r) {
  std::string out;
  for (Fault f : r.faults) out += (out.empty() ? "" : ",") + std::string(to_string(f));
  return out.empty() ? "none" : out;
}

nlohmann::json asked_json(const World::Asked& a) {
  std::vector<Duration> d = a.delays;
  std::sort(d.begin(), d.end());
  auto part = [&](double p) {
    return d.empty() ? nlohmann::json(nullptr)
                     : nlohmann::json(seconds(d[static_cast<size_t>(p * double(d.size() - 1))]) * 1e3);
  };
  return {{"packets", a.packets},
          {"arrived", d.size()},
          {"overtaken", a.overtaken},
          {"delay_ms", {{"p50", part(0.5)}, {"p99", part(0.99)}}}};
}

}  // namespace

nlohmann::json to_json(const RunResult& r) {
  nlohmann::json traffic = nlohmann::json::object();
  uint64_t messages = 0, bytes = 0;
  for (size_t type = 0; type < r.traffic.size(); ++type) {
    const auto& t = r.traffic[type];
    if (t.messages == 0) continue;
    traffic[type_name(type)] = {{"messages", t.messages}, {"bytes", t.bytes}};
    messages += t.messages;
    bytes += t.bytes;
  }
  nlohmann::json breaches = nlohmann::json::array();
  for (const Breach& b : r.breaches)
    breaches.push_back(
        {{"at_ms", to_ms(b.at.time_since_epoch() - 1h)}, {"session", b.session}, {"rule", b.rule}, {"what", b.what}});
  return {{"seed", r.seed},
          {"fleet",
           {{"proxies", r.world.proxies},
            {"spares", r.world.spares},
            {"members", r.world.members},
            {"sessions", r.workload.sessions},
            {"replicas", r.world.replicas},
            {"writes", r.world.writes},
            {"regions", r.world.network.regions},
            {"partition", r.world.partition_available ? "available" : "safe"},
            {"query_form", to_string(r.world.query_form)}}},
          {"faults", fault_names(r)},
          {"duration_ms", to_ms(r.duration)},
          {"virtual_ms", to_ms(r.virtual_time)},
          {"in_sync_after_ms", to_ms(r.in_sync_after)},
          {"views", r.views},
          {"steps", r.counts.steps},
          {"packets", r.counts.packets},
          {"asked_about", asked_json(r.asked)},
          {"acknowledged_established", r.acknowledged},
          {"silent", r.silent},
          {"events", r.events},
          {"looks", r.looks},
          {"messages", messages},
          {"bytes", bytes},
          {"traffic", traffic},
          {"digest", format("%016llx", static_cast<unsigned long long>(r.digest))},
          {"breaches", breaches}};
}

std::string to_text(const RunResult& r) {
  uint64_t messages = 0, bytes = 0;
  for (const auto& t : r.traffic) messages += t.messages, bytes += t.bytes;
  std::string out = format("seed %llu: %u proxies (%u spare), %u members, %u sessions, R %u W %u, %u regions, %s, %s\n",
                           static_cast<unsigned long long>(r.seed), r.world.proxies, r.world.spares, r.world.members,
                           r.workload.sessions, r.world.replicas, r.world.writes, r.world.network.regions,
                           r.world.partition_available ? "available" : "safe", to_string(r.world.query_form));
  out += "faults: " + fault_names(r) + "\n";
  out += format("%.1f s of faults, %.1f s in all; in sync %.2f s after the last; %llu views, %llu events\n",
                seconds(r.duration), seconds(r.virtual_time), seconds(r.in_sync_after),
                static_cast<unsigned long long>(r.views), static_cast<unsigned long long>(r.events));
  const double session_seconds = seconds(r.duration) * r.workload.sessions;
  out += format(
      "%llu packets of clients, %llu sessions at the end, %llu silent; %.2f messages and %.1f bytes per "
      "session and second\n",
      static_cast<unsigned long long>(r.counts.packets), static_cast<unsigned long long>(r.acknowledged),
      static_cast<unsigned long long>(r.silent), double(messages) / session_seconds, double(bytes) / session_seconds);
  for (size_t type = 0; type < r.traffic.size(); ++type) {
    const auto& t = r.traffic[type];
    if (t.messages > 0)
      out += format("  %-16s %12llu messages %14llu bytes\n", type_name(type),
                    static_cast<unsigned long long>(t.messages), static_cast<unsigned long long>(t.bytes));
  }
  out += format("digest %016llx\n", static_cast<unsigned long long>(r.digest));
  return out;
}

std::string breach_text(const RunResult& r, const std::string& replay) {
  std::string out;
  const Breach& first = r.breaches.front();
  const size_t from = r.trace.size() > kTraceLines ? r.trace.size() - kTraceLines : 0;
  for (size_t i = from; i < r.trace.size(); ++i) out += r.trace[i] + "\n";
  for (const Breach& b : r.breaches)
    out += format("%12.3f ms  BREACH of \"%s\", session %u: ", seconds(b.at.time_since_epoch() - 1h) * 1e3,
                  b.rule.c_str(), b.session) +
           b.what + "\n";
  out += format("seed %llu breaks \"%s\". Again:\n  ", static_cast<unsigned long long>(r.seed), first.rule.c_str());
  return out + replay + "\n";
}

}  // namespace statecast::sim
