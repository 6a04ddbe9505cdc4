// SPDX-License-Identifier: BSD-3-Clause
// A fixed number of the worker's turns over a fixed order of packets, for bench/instructions.py to count under
// callgrind, which looks at what happens below counted_turns() only.
//
//   build/bench/instructions --profile return --sessions 10000 --turns 256
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/check.h"
#include "bench/pipeline_rig.h"
#include "bench/pipeline_sources.h"

namespace statecast::bench {
namespace {

struct Options {
  std::string profile = "forward";
  uint32_t sessions = 10'000;
  unsigned turns = 256;
};

// By this name the counts are found.
extern "C" [[gnu::noinline]] void counted_turns(Worker& worker, unsigned turns) {
  for (unsigned i = 0; i < turns; ++i) worker.turn();
}

int run(const Options& o) {
  auto made = Rig::create({.fleet = {.sessions = o.sessions, .cache = {}}});
  if (!made) {
    std::fprintf(stderr, "instructions: %s\n", made.error().message.c_str());
    return 1;
  }
  Rig& rig = **made;
  rig.fleet().fill(MonotonicClock::now());
  ClientFrames clients(rig.fleet(), rig.port().mac(), 1, {.own = o.sessions});
  ReplyFrames replies(rig.fleet(), 1);
  if (o.profile == "return") {
    replies.refill(MonotonicClock::now());
    rig.port().set_source(0, &replies);
  } else {
    rig.port().set_source(0, &clients);
  }
  for (unsigned i = 0; i < 16; ++i) rig.worker(0).turn();  // what is made once
  const uint64_t before = rig.port().sent(0);
  counted_turns(rig.worker(0), o.turns / Worker::kBurstsPerTurn);
  SC_ASSERT(rig.port().sent(0) - before == uint64_t(o.turns) * kBurstMax);  // every packet was forwarded
  return 0;
}

}  // namespace
}  // namespace statecast::bench

int main(int argc, char** argv) {
  statecast::bench::Options o;
  CLI::App app("Carries a fixed number of bursts through one worker; bench/instructions.py counts what it executes.");
  app.add_option("--profile", o.profile, "forward | return")
      ->check(CLI::IsMember({"forward", "return"}))
      ->capture_default_str();
  app.add_option("--sessions", o.sessions, "live sessions")->capture_default_str();
  app.add_option("--turns", o.turns, "bursts of 32, a multiple of 4")
      ->check(CLI::Range(4u, 2000u))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run(o);
}
