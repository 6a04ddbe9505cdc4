// SPDX-License-Identifier: BSD-3-Clause
#include "tools/sim/flood.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/sim/report.h"

namespace statecast::sim {

namespace {

constexpr Duration kAnswerWithin = 100ms;                                    // beyond it the client's next try comes
constexpr std::array<Duration, 3> kRetransmissions = {200ms, 400ms, 800ms};  // TCP's least, doubled
constexpr size_t kBogusBytes = 64;

class Flood {
 public:
  explicit Flood(const FloodOptions& o)
      : o_(o),
        rng_(o.seed),
        world_({.seed = o.seed,
                .proxies = o.proxies,
                .members = o.members,
                .cache_entries = 1 << 16,
                .ports_per_client = 1,
                .gated = o.summaries}) {}

  FloodResult run() {
    world_.run(3s);
    for (SessionNumber s = 0; s < o_.sessions; ++s) world_.after(some(2s), [this, s] { open(s); });
    world_.run(5s);
    const auto before = world_.traffic();
    const World::Unknown unknown_before = world_.unknown();
    ends_ = world_.now() + o_.length;
    every(o_.lookups, [this] { look_up(); });
    every(o_.lookups / 10, [this] { open(next_++); });
    if (o_.bogus > 0) every(o_.lookups * o_.bogus, [this] { bogus(); });
    next_ = o_.sessions;
    world_.run(o_.length);
    const auto after = world_.traffic();
    r_.bogus_absent = world_.unknown().absent - unknown_before.absent;
    for (size_t type = 0; type < after.size(); ++type) {
      const World::Traffic was = type < before.size() ? before[type] : World::Traffic{};
      r_.messages += after[type].messages - was.messages;
      r_.bytes += after[type].bytes - was.bytes;
      const std::string name = type_name(type);
      if (name == "query") r_.queries = after[type].messages - was.messages;
      if (name.starts_with("summary")) r_.summary_bytes += after[type].bytes - was.bytes;
    }
    r_.summary_memory = world_.summary_memory(1);
    r_.seconds = std::chrono::duration<double>(o_.length).count();
    world_.run(2s);  // those that were asked last
    return r_;
  }

 private:
  Duration some(Duration most) {
    return Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(most.count()))));
  }
  uint32_t proxy() { return static_cast<uint32_t>(rng_.between(1, o_.proxies)); }

  void every(double per_second, std::function<void()> what) {
    const auto period = Duration(static_cast<int64_t>(1e9 / per_second));
    world_.after(period, [this, per_second, what] {
      what();
      if (world_.now() < ends_) every(per_second, what);
    });
  }

  void open(SessionNumber s) {
    const uint32_t p = proxy();
    world_.syn(s, p, static_cast<uint32_t>(rng_.between(1, o_.members)));
    world_.after(20ms, [this, s, p] {
      if (!world_.client(s).open) return;
      world_.data(s, p);
      if (born_.size() <= s) born_.resize(s + 1, Instant::max());
      born_[s] = world_.now();
    });
  }

  // One in ten is of a session that was opened within the last second.
  void look_up() {
    const SessionNumber all = std::max(next_, o_.sessions), new_ones = static_cast<SessionNumber>(o_.lookups / 10);
    const SessionNumber s = next_ > o_.sessions + new_ones && rng_.chance(0.1)
                                ? all - 1 - static_cast<SessionNumber>(rng_.below(new_ones))
                                : static_cast<SessionNumber>(rng_.below(all));
    if (s >= born_.size() || born_[s] == Instant::max()) return;
    const uint32_t p = proxy();
    if (knows(p, s)) return;
    const bool young = world_.now() - born_[s] < 1s;
    FloodResult::Lookups& of = young ? r_.young : r_.old;
    ++of.met;
    attempt(s, p, of, young ? 0 : kRetransmissions.size());
  }

  void attempt(SessionNumber s, uint32_t p, FloodResult::Lookups& of, size_t tries) {
    world_.data(s, p);
    world_.after(kAnswerWithin, [this, s, p, &of, tries] {
      if (knows(p, s)) {
        ++of.answered;
      } else if (tries < kRetransmissions.size()) {
        world_.after(kRetransmissions[tries] - kAnswerWithin,
                     [this, s, p, &of, tries] { attempt(s, p, of, tries + 1); });
      }
    });
  }

  bool knows(uint32_t p, SessionNumber s) {
    const auto entry = world_.cached(p, s);
    return entry && entry->target == CacheTarget::member;
  }

  void bogus() {
    ++r_.bogus_packets;
    const auto host = static_cast<uint32_t>(rng_.next());
    const uint8_t source[] = {static_cast<uint8_t>(host >> 24), static_cast<uint8_t>(host >> 16),
                              static_cast<uint8_t>(host >> 8), static_cast<uint8_t>(host)};
    world_.bogus({rng_.next(), rng_.next()}, IpAddress::v4(source), proxy());
  }

  FloodOptions o_;
  Rng rng_;
  World world_;
  FloodResult r_;
  SessionNumber next_ = 0;
  std::vector<Instant> born_;
  Instant ends_{};
};

}  // namespace

FloodResult run_flood(const FloodOptions& options) {
  return Flood(options).run();
}

std::string flood_report(const FloodOptions& options, bool json) {
  FloodOptions calm = options;
  calm.bogus = 0;
  const FloodResult without = run_flood(calm), r = run_flood(options);
  const double bogus_bytes = double(r.bogus_packets) * kBogusBytes;
  const double added = double(r.bytes) - double(without.bytes);
  const double per_byte = bogus_bytes == 0 ? 0 : added / bogus_bytes;
  if (json) {
    return nlohmann::json{{"proxies", options.proxies},
                          {"summaries", options.summaries},
                          {"bogus_times", options.bogus},
                          {"old", {{"met", r.old.met}, {"answered", r.old.answered}, {"share", r.old.share()}}},
                          {"young", {{"met", r.young.met}, {"answered", r.young.answered}, {"share", r.young.share()}}},
                          {"bogus_packets", r.bogus_packets},
                          {"bogus_absent", r.bogus_absent},
                          {"queries_per_second", double(r.queries) / r.seconds},
                          {"queries_per_second_without_bogus", double(without.queries) / without.seconds},
                          {"underlay_bytes_per_bogus_byte", per_byte},
                          {"summary_bytes_per_second", double(r.summary_bytes) / r.seconds},
                          {"summary_memory_bytes", r.summary_memory}}
               .dump(2) +
           "\n";
  }
  char text[1024];
  std::snprintf(text, sizeof text,
                "%u proxies, %.0f look-ups a second of live sessions, %.0f times as many of random ones, %s\n"
                "  sessions older than 1 s   %llu look-ups, %.2f %% answered at the first try\n"
                "  younger ones              %llu look-ups, %.2f %% answered within three retransmissions\n"
                "  random ones               %llu packets, %.2f %% known absent\n"
                "  queries                   %.0f a second, %.0f without the random ones\n"
                "  underlay                  %.2f bytes more per byte of theirs (%zu each)\n"
                "  summaries                 %.0f bytes a second in all, %zu bytes of memory at a proxy\n",
                options.proxies, options.lookups, options.bogus, options.summaries ? "summaries" : "no summaries",
                static_cast<unsigned long long>(r.old.met), 100 * r.old.share(),
                static_cast<unsigned long long>(r.young.met), 100 * r.young.share(),
                static_cast<unsigned long long>(r.bogus_packets),
                r.bogus_packets == 0 ? 0 : 100 * double(r.bogus_absent) / double(r.bogus_packets),
                double(r.queries) / r.seconds, double(without.queries) / without.seconds, per_byte, kBogusBytes,
                double(r.summary_bytes) / r.seconds, r.summary_memory);
  return text;
}

}  // namespace statecast::sim
