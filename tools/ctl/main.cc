// SPDX-License-Identifier: BSD-3-Clause
// statecast, the command line. Exit codes: 0 done, 1 it did not work out, 2 the command was not understood.
#include <iostream>

#include "tools/ctl/command.h"
#include "tools/ctl/trace.h"

namespace statecast::ctl {

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;

bool wants_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--json") return true;
  return false;
}

int run(int argc, char** argv) {
  CLI::App app("Statecast's command line: keys, configuration, and what live programs do.", "statecast");
  app.require_subcommand(1);
  app.footer("`statecast COMMAND --help` has examples. Exit codes: 0 done, 1 it did not work out, 2 usage.");
  add_keys_command(app);
  add_check_config_command(app);
  add_status_command(app);
  add_stages_command(app);
  add_sessions_command(app);
  add_revoke_commands(app);
  add_directory_command(app);
  add_trace_command(app);

  try {
    app.parse(argc, argv);
    return kDone;
  } catch (const CLI::RuntimeError& e) {
    return e.get_exit_code();  // the command has said why
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? kDone : kUsage; } catch (const Failure& f) {
    if (wants_json(argc, argv))
      std::cout << admin_error(f.error).dump() << "\n";
    else
      std::cerr << f.error.message << "\n";
    return kFailed;
  } catch (const std::exception& e) {
    std::cerr << "statecast: " << e.what() << "\n";
    return kFailed;
  }
}

}  // namespace

}  // namespace statecast::ctl

int main(int argc, char** argv) {
  return statecast::ctl::run(argc, argv);
}
