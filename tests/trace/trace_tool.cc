// SPDX-License-Identifier: BSD-3-Clause
// The trace subcommand alone, for tests that call it as a program.
#include <CLI/CLI.hpp>

#include "tools/ctl/trace.h"

int main(int argc, char** argv) {
  CLI::App app("trace_tool");
  app.require_subcommand(1);
  statecast::add_trace_command(app);
  CLI11_PARSE(app, argc, argv);
}
