// SPDX-License-Identifier: BSD-3-Clause
// The whole packet path of one proxy on in-memory ports, measured: the real worker, cache and envelopes, all sessions
// equally likely, so that the machine's caches help as little as they can. One point of the matrix that
// bench/run.py goes over.
#include <rte_cycles.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/pipeline_churn.h"
#include "bench/pipeline_rig.h"
#include "bench/pipeline_sources.h"

namespace statecast::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned kSampleEvery = 997;
constexpr size_t kSampleMost = 4096;
constexpr double kPollSeconds = 0.4;

struct Options {
  std::string profile = "forward", table = "lines";
  uint32_t sessions = 1'000'000, groups = 1, members = 1;
  unsigned cores = 1, unknown_permille = 0;
  unsigned repeat = 1;
  double seconds = 2, load = 0.5, inserts = 0, renewals = 0, revocations = 0;
  uint64_t seed = 1;
  bool huge_pages = false, json = false;
};

void put_figure(Json& report, const Figure& all, const Figure& floor) {
  report["ns_per_packet"] = all.median;
  report["floor_ns"] = floor.median;
  report["above_floor_ns"] = all.median - floor.median;
  report["best_ns_per_packet"] = all.best;
  report["best_floor_ns"] = floor.best;
  report["mpps"] = 1000 / all.median;
}

void put_stages(Json& report, Rig& rig, double seconds) {
  for (const auto& [name, ns] : rig.stages(seconds)) report["stages"][name] = ns;
}

// Opens a sample of what was sent.
template <class Check>
void put_sample(Json& report, Rig& rig, Check check) {
  uint64_t verified = 0, failed = 0;
  for (const auto& frame : rig.port().take_sample(0)) ++(check(frame) ? verified : failed);
  report["verified"] = verified;
  report["failed"] = failed;
}

void forward(Rig& rig, const Options& o, Json& report) {
  ClientFrames clients(rig.fleet(), rig.port().mac(), o.seed,
                       {.own = o.sessions, .unknown_permille = o.unknown_permille});
  rig.port().set_source(0, &clients);
  rig.run(o.seconds / 8);
  const Figure floor = rig.floor(o.seconds / 4);
  rig.port().set_sampling(0, kSampleEvery, kSampleMost);
  const Figure all = rig.run(o.seconds)[0];
  put_figure(report, all, floor);
  put_sample(report, rig, [&](Bytes frame) { return rig.fleet().check(frame); });
  put_stages(report, rig, o.seconds / 4);
}

void give_back(Rig& rig, const Options& o, Json& report) {
  ReplyFrames replies(rig.fleet(), o.seed);
  rig.port().set_source(0, &replies);
  replies.refill(MonotonicClock::now());
  const Figure floor = rig.floor(o.seconds / 4);
  uint64_t next = 0;
  rig.between = [&] {
    if (rig.port().received(0) < next) return;
    replies.refill(MonotonicClock::now());
    next = rig.port().received(0) + 65'536 - 4096;
  };
  rig.port().set_sampling(0, kSampleEvery, kSampleMost);
  const Figure all = rig.run(o.seconds)[0];
  put_figure(report, all, floor);
  put_sample(report, rig, [&](Bytes frame) { return rig.fleet().check_reply(frame); });
  put_stages(report, rig, o.seconds / 4);
}

// Each kind of junk, beside what is forwarded.
void junk(Rig& rig, const Options& o, Json& report) {
  forward(rig, o, report);
  const double forwarded = report["ns_per_packet"];
  double worst = 0;
  for (Junk kind : {Junk::malformed, Junk::filtered, Junk::forged, Junk::unknown}) {
    JunkFrames frames(rig.fleet(), rig.port().mac(), kind, o.seed);
    rig.port().set_source(0, &frames);
    rig.run(o.seconds / 4);  // fills what can be filled: the miss table
    const uint64_t sent = rig.port().sent(0);
    const double ns = rig.run(o.seconds)[0].median;
    report["junk"][kJunkNames[size_t(kind)]] = ns;
    report["junk_sent"] = uint64_t(report.value("junk_sent", uint64_t(0))) + rig.port().sent(0) - sent;
    worst = std::max(worst, ns);
  }
  report["worst_junk_to_forward"] = worst / forwarded;
}

// The same traffic without and with what the control thread does meanwhile.
void churn(Rig& rig, const Options& o, Json& report) {
  forward(rig, o, report);
  const ChurnRates wanted = o.inserts + o.renewals + o.revocations > 0
                                ? ChurnRates{o.inserts, o.renewals, o.revocations}
                                : ChurnRates{1e6, 1e5, 0};
  ClientFrames clients(rig.fleet(), rig.port().mac(), o.seed + 1,
                       {.own = o.sessions, .unknown_permille = o.unknown_permille});
  rig.port().set_source(0, &clients);
  Churn writer(rig.fleet(), wanted, o.seed);
  rig.meanwhile = [&] { writer.turn(); };
  rig.port().set_sampling(0, kSampleEvery, kSampleMost);
  const Figure with = rig.run(o.seconds)[0];
  rig.meanwhile = nullptr;
  const double t = writer.seconds();
  report["churn_ns_per_packet"] = with.median;
  report["churn_to_forward"] = with.median / double(report["ns_per_packet"]);
  report["inserts_per_second"] = writer.done().inserts / t;
  report["renewals_per_second"] = writer.done().renewals / t;
  report["revocations_per_second"] = writer.done().revocations / t;
  report["evicted"] = rig.fleet().cache().stats().evicted;
  put_sample(report, rig, [&](Bytes frame) { return rig.fleet().check(frame); });
}

// One core, then all of them, a tenth of the packets on sessions that they share.
void shared(Rig& rig, const Options& o, Json& report) {
  const uint32_t common = o.sessions / 10, own = (o.sessions - common) / o.cores;
  std::vector<std::unique_ptr<ClientFrames>> clients;
  for (unsigned c = 0; c < o.cores; ++c) {
    clients.push_back(std::make_unique<ClientFrames>(
        rig.fleet(), rig.port().mac(), o.seed + c,
        Draw{.first = common + c * own, .own = own, .shared = common, .shared_permille = 100}));
    rig.port().set_source(static_cast<uint16_t>(c), clients.back().get());
  }
  const Figure floor = rig.floor(o.seconds / 4);
  const Figure one = rig.run(o.seconds)[0];
  put_figure(report, one, floor);
  rig.port().set_sampling(0, kSampleEvery, kSampleMost);
  double mpps = 0;
  for (const Figure& f : rig.run(o.seconds, o.cores)) mpps += 1000 / f.median;
  report["cores_mpps"] = mpps;
  report["cores_to_one"] = mpps * one.median / 1000;
  put_sample(report, rig, [&](Bytes frame) { return rig.fleet().check(frame); });
}

// The proxy's own delay, from a frame's arrival to its departure, at a share of the highest rate measured.
void delay(Rig& rig, const Options& o, Json& report) {
  ClientFrames clients(rig.fleet(), rig.port().mac(), o.seed, {.own = o.sessions});
  rig.port().set_source(0, &clients);
  rig.run(o.seconds / 8);
  const Figure floor = rig.floor(o.seconds / 4), all = rig.run(o.seconds / 4)[0];
  put_figure(report, all, floor);
  const double cycles_per_us = double(rte_get_tsc_hz()) / 1e6;
  PacedFrames paced(clients, all.median / 1000 * cycles_per_us / o.load);
  auto delays = std::make_unique<Histogram>();
  rig.port().set_source(0, &paced);
  rig.port().set_sampling(0, kSampleEvery, kSampleMost);
  rig.port().set_delays(0, delays.get());
  Disturbance all_seen;
  for (double left = o.seconds; left > 0; left -= kPollSeconds) {
    paced.restart();
    const Disturbance seen = rig.poll(std::min(left, kPollSeconds));
    all_seen.preempted += seen.preempted;
    all_seen.stalls += seen.stalls;
    all_seen.stalled_ms += seen.stalled_ms;
    usleep(100'000);  // the others' share
  }
  rig.port().set_delays(0, nullptr);
  auto us = [&](uint64_t cycles) { return double(cycles) / cycles_per_us; };
  report["load"] = o.load;
  report["delay_us"] = {{"p50", us(delays->percentile(50))},
                        {"p99", us(delays->percentile(99))},
                        {"p99_9", us(delays->percentile(99.9))},
                        {"max", us(delays->max())}};
  report["delay_packets"] = delays->count();
  report["preempted"] = all_seen.preempted;  // the core was another process's so many times
  report["stalls"] = all_seen.stalls;
  report["stalled_ms"] = all_seen.stalled_ms;
  put_sample(report, rig, [&](Bytes frame) { return rig.fleet().check(frame); });
}

Json measure_once(Rig& rig, const Options& o) {
  Json report{{"profile", o.profile}, {"table", o.table},           {"sessions", o.sessions},
              {"groups", o.groups},   {"members", o.members},       {"cores", o.cores},
              {"seed", o.seed},       {"huge_pages", o.huge_pages}, {"unknown_permille", o.unknown_permille}};
  if (o.profile == "forward") forward(rig, o, report);
  if (o.profile == "return") give_back(rig, o, report);
  if (o.profile == "junk") junk(rig, o, report);
  if (o.profile == "churn") churn(rig, o, report);
  if (o.profile == "shared") shared(rig, o, report);
  if (o.profile == "delay") delay(rig, o, report);
  rig.between = [] {};
  report["bytes_per_session"] =
      double(rig.fleet().cache().memory_bytes()) / double(rig.fleet().cache().stats().entries);
  for (size_t c = 0; c < kCounterCount; ++c) {
    uint64_t sum = 0;
    for (unsigned w = 0; w < o.cores; ++w) sum += rig.worker(w).counters().get(Counter(c));
    if (sum != 0) report["counters"][counter_name(Counter(c))] = sum;
  }
  return report;
}

int run(Options o) {
  if (o.profile == "shared" && o.cores < 2) o.cores = 2;
  RigOptions options{.fleet = {.sessions = o.sessions,
                               .room = o.profile == "churn" ? o.sessions / 4 : 0,
                               .groups = o.groups,
                               .members = o.members,
                               .workers = o.cores,
                               .cache = {}},
                     .huge_pages = o.huge_pages};
  options.fleet.cache.table = o.table == "rte_hash" ? SessionTable::rte_hash : SessionTable::lines;
  auto made = Rig::create(options);
  if (!made) {
    std::fprintf(stderr, "pipeline: %s\n", made.error().message.c_str());
    return 1;
  }
  Rig& rig = **made;
  rig.fleet().fill(MonotonicClock::now());

  bool all_verified = true;
  for (unsigned i = 0; i < o.repeat; ++i, ++o.seed) {
    const Json report = measure_once(rig, o);
    std::printf("%s\n", report.dump(o.json ? -1 : 2).c_str());
    std::fflush(stdout);
    all_verified &= report["failed"] == 0u && report["verified"] != 0u;
  }
  return all_verified ? 0 : 1;
}

}  // namespace
}  // namespace statecast::bench

int main(int argc, char** argv) {
  using namespace statecast::bench;
  Options o;
  CLI::App app(
      "Measures the packet path of one proxy on an in-memory port: 64-byte frames, sessions uniformly at random.\n"
      "Prints one JSON object. `floor_ns` is the port alone, in the same run. Exits non-zero when a packet of the "
      "sample\n"
      "did not verify.\n\n"
      "  build/bench/pipeline --sessions 10000000 --seconds 3 --json\n"
      "  build/bench/pipeline --profile junk --table rte_hash\n"
      "  build/bench/pipeline --profile churn --sessions 1000000 --inserts 1000000\n"
      "  build/bench/pipeline --profile delay --load 0.5");
  app.add_option("--profile", o.profile, "forward | return | junk | churn | shared | delay")
      ->check(CLI::IsMember({"forward", "return", "junk", "churn", "shared", "delay"}))
      ->capture_default_str();
  app.add_option("--table", o.table, "session table: lines | rte_hash")
      ->check(CLI::IsMember({"lines", "rte_hash"}))
      ->capture_default_str();
  app.add_option("--sessions", o.sessions, "live sessions")->check(CLI::Range(100u, 1u << 30))->capture_default_str();
  app.add_option("--groups", o.groups, "groups")->check(CLI::Range(1u, 100'000u))->capture_default_str();
  app.add_option("--members", o.members, "members in all")->check(CLI::Range(1u, 200'000u))->capture_default_str();
  app.add_option("--cores", o.cores, "workers (profile shared)")->check(CLI::Range(1u, 64u))->capture_default_str();
  app.add_option("--unknown", o.unknown_permille, "of 1,000 packets, how many of unknown sessions")
      ->check(CLI::Range(0u, 1000u))
      ->capture_default_str();
  app.add_option("--inserts", o.inserts, "new sessions per second (profile churn)");
  app.add_option("--renewals", o.renewals, "renewals per second (profile churn)");
  app.add_option("--revocations", o.revocations, "revocations per second (profile churn)");
  app.add_option("--load", o.load, "share of the highest rate (profile delay)")
      ->check(CLI::Range(0.01, 0.99))
      ->capture_default_str();
  app.add_option("--repeat", o.repeat, "measures so many times, on the same sessions; prints an object each time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seconds", o.seconds, "of each measurement")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seed", o.seed, "of the order of sessions")->capture_default_str();
  app.add_flag("--huge-pages", o.huge_pages, "packet buffers and rte_hash on reserved huge pages");
  app.add_flag("--json", o.json, "on one line");
  CLI11_PARSE(app, argc, argv);
  return run(o);
}
