// SPDX-License-Identifier: BSD-3-Clause
// statecast-sim: main() says what the command line means and what is printed.
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "config/values.h"
#include "directory/broken.h"
#include "tools/sim/flood.h"
#include "tools/sim/report.h"

namespace statecast::sim {
namespace {

struct Arguments {
  RunOptions run;
  FloodOptions flood;
  uint64_t seeds = 1;
  std::string faults, duration, pace, broken;
  bool json = false, progress = false, trace_all = false;
};

const char* const kExamples = R"(
Examples:
  statecast-sim --seeds 300                        300 fleets, each drawn from its seed, with faults of its own
  statecast-sim --seed 17 --trace 4                one of them again, with what happened to session 4
  statecast-sim --proxies 25 --members 5 --sessions 200 --faults all --duration 60s --json
  statecast-sim --bogus 100 --duration 10s         what a flood of random session IDs costs ten proxies, and leaves
  statecast-sim --bogus 100 --no-summaries         the same where proxies have to ask about each of them
  statecast-sim --proxies 1000 --members 20 --sessions 100000 --faults none --duration 5s

What is not said is drawn from the seed. The same arguments give the same output, byte for byte.
Exit status: 0, or 1 where a checker found something; then the last lines say how to see it again.
)";

std::string fault_help() {
  std::string out = "what goes wrong: `all`, `none`, or of these with commas (default: drawn from the seed):";
  for (const FaultRow& row : fault_rows()) out += std::string("\n    ") + row.name + ": " + row.help;
  return out;
}

Result<> parse(Arguments& a) {
  if (!a.faults.empty()) {
    auto f = parse_faults(a.faults);
    if (!f) return fail(f.error());
    a.run.faults = *f;
  }
  for (auto [text, name, to] :
       {std::tuple{&a.duration, "--duration", &a.run.duration}, std::tuple{&a.pace, "--pace", &a.run.pace}}) {
    if (text->empty()) continue;
    auto d = parse_duration(*text);
    if (!d || *d < 1ms)
      return fail(Code::invalid, std::string(name) + ": expected a time such as \"10s\" or \"300ms\"");
    *to = *d;
  }
  a.run.trace.all = a.trace_all;
  return {};
}

// Once more, with what happened to the session that a checker complains of.
RunResult with_trace(const RunOptions& options, const RunResult& r) {
  if (options.trace.on()) return r;
  RunOptions again = options;
  again.trace.session = r.breaches.front().session;
  return run_one(again);
}

#ifdef SC_BROKEN
constexpr const char* kProgram = "build/tools/sim/statecast-sim-broken";

// How many seeds it takes until a checker sees that the node is broken so; 1 where none does.
int catch_broken(const Arguments& a) {
  int status = 0;
  for (size_t i = 1; i < std::size(kBrokenNames); ++i) {
    if (a.broken != "all" && a.broken != kBrokenNames[i]) continue;
    g_broken = static_cast<Broken>(i);
    std::optional<RunResult> caught;
    RunOptions options = a.run;
    for (uint64_t n = 0; n < a.seeds && !caught; ++n, ++options.seed) {
      RunResult r = run_one(options);
      if (r.breaches.empty()) continue;
      g_broken = Broken::nothing;  // what breaks without it, too, says nothing
      if (run_one(options).breaches.empty()) caught = std::move(r);
      g_broken = static_cast<Broken>(i);
    }
    if (caught)
      std::printf("%-30s caught after %4llu seeds by \"%s\": %s\n", kBrokenNames[i],
                  static_cast<unsigned long long>(caught->seed - a.run.seed + 1), caught->breaches.front().rule.c_str(),
                  caught->breaches.front().what.c_str());
    else
      std::printf("%-30s not caught within %llu seeds\n", kBrokenNames[i], static_cast<unsigned long long>(a.seeds));
    std::fflush(stdout);
    status |= !caught;
  }
  return status;
}
#else
constexpr const char* kProgram = "build/tools/sim/statecast-sim";
#endif

std::map<std::string, QueryForm> query_forms() {
  std::map<std::string, QueryForm> out;
  for (QueryForm f : {QueryForm::query, QueryForm::query_and_forward, QueryForm::query_and_return})
    out[to_string(f)] = f;
  return out;
}

int run_seeds(Arguments a) {
  const uint64_t first = a.run.seed;
  uint64_t failed = 0, sessions = 0, events = 0;
  Duration in_sync_max{}, virtual_time{};
  for (a.run.seed = first; a.run.seed < first + a.seeds; ++a.run.seed) {
    RunResult r = run_one(a.run);
    failed += !r.breaches.empty();
    sessions += r.workload.sessions;
    events += r.events;
    in_sync_max = std::max(in_sync_max, r.in_sync_after);
    virtual_time += r.virtual_time;
    if (a.seeds == 1 || !r.breaches.empty()) {
      if (a.run.trace.on())
        for (const std::string& l : r.trace) std::printf("%s\n", l.c_str());
      if (a.json)
        std::printf("%s\n", to_json(r).dump(2).c_str());
      else if (a.seeds == 1)
        std::printf("%s", to_text(r).c_str());
    }
    if (!r.breaches.empty()) {
      RunOptions shown = a.run;
      shown.trace.session = r.breaches.front().session;
      std::fprintf(stderr, "%s", breach_text(with_trace(a.run, r), replay_command(shown, kProgram)).c_str());
    }
    if (a.progress && (a.run.seed - first) % 100 == 99)
      std::fprintf(stderr, "%llu seeds, %llu failed\n", static_cast<unsigned long long>(a.run.seed - first + 1),
                   static_cast<unsigned long long>(failed));
  }
  if (a.seeds > 1)
    std::printf(
        "%llu seeds from %llu: %llu failed; %llu sessions, %.0f s of virtual time, %llu events; in sync at most "
        "%.1f s after the last fault\n",
        static_cast<unsigned long long>(a.seeds), static_cast<unsigned long long>(first),
        static_cast<unsigned long long>(failed), static_cast<unsigned long long>(sessions),
        double(virtual_time.count()) / 1e9, static_cast<unsigned long long>(events), double(in_sync_max.count()) / 1e9);
  return failed > 0;
}

}  // namespace
}  // namespace statecast::sim

int main(int argc, char** argv) {
  using namespace statecast;
  using namespace statecast::sim;
  Arguments a;
  CLI::App app{"Simulates a fleet: the directory's and the cache's own code, virtual time, faults, and checkers."};
  app.footer(kExamples);
  app.add_option("--seed", a.run.seed, "the first seed");
  app.add_option("--seeds", a.seeds, "so many runs, one seed after the other");
  app.add_option("--proxies", a.run.proxies, "in the first view")->check(CLI::Range(1, 20'000));
  app.add_option("--members", a.run.members, "servers")->check(CLI::Range(1, 10'000));
  app.add_option("--sessions", a.run.sessions, "clients")->check(CLI::Range(1, 50'000'000));
  app.add_option("--replicas", a.run.replicas, "R")->check(CLI::Range(1, 16));
  app.add_option("--writes", a.run.writes, "W")->check(CLI::Range(1, 16));
  app.add_option("--duration", a.duration, "of faults and clients, such as 60s; what follows comes on top");
  app.add_option("--pace", a.pace, "between two packets of a client, on average");
  app.add_option("--faults", a.faults, fault_help());
  app.add_option("--query-form", a.run.query_form, "of a proxy's questions: query, query_and_forward, query_and_return")
      ->transform(CLI::CheckedTransformer(query_forms()));
  app.add_option("--trace", a.run.trace.session, "print what happens to this session, and faults");
  app.add_flag("--messages", a.run.trace.messages, "with --trace: also the messages that name the session");
  app.add_flag("--trace-all", a.trace_all, "print what happens to every session");
  app.add_flag("--empty", a.run.ends_empty, "at the end all sessions close, and memory has to be given back");
  app.add_option("--bogus", a.flood.bogus,
                 "instead: a flood of random sessions, so many times the look-ups of live ones")
      ->check(CLI::Range(1.0, 10'000.0));
  app.add_flag("--no-summaries{false}", a.flood.summaries, "with --bogus: proxies do not ask for summaries");
  app.add_flag("--json", a.json, "the result as JSON");
  app.add_flag("--progress", a.progress, "a line on stderr for every 100 seeds");
#ifdef SC_BROKEN
  app.add_option("--broken", a.broken, "break the node so, or `all`, one after the other; see directory/broken.h");
#endif
  CLI11_PARSE(app, argc, argv);
  if (auto ok = parse(a); !ok) {
    std::fprintf(stderr, "%s: %s\n", kProgram, ok.error().message.c_str());
    return 2;
  }
  // The caches ask for huge pages; a thousand small ones would take 2 MiB each.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
#ifdef SC_BROKEN
  if (!a.broken.empty() && a.seeds > 1) return catch_broken(a);
  for (size_t i = 0; i < std::size(kBrokenNames); ++i)
    if (a.broken == kBrokenNames[i]) g_broken = static_cast<Broken>(i);
#endif
  if (app.count("--bogus") > 0) {
    a.flood.seed = a.run.seed;
    if (a.run.proxies) a.flood.proxies = *a.run.proxies;
    if (a.run.members) a.flood.members = *a.run.members;
    if (a.run.sessions) a.flood.sessions = *a.run.sessions;
    if (a.run.duration) a.flood.length = *a.run.duration;
    std::fputs(flood_report(a.flood, a.json).c_str(), stdout);
    return 0;
  }
  return run_seeds(a);
}
