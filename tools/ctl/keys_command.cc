// SPDX-License-Identifier: BSD-3-Clause
// statecast keys: makes the fleet's secret, and from it the key of each member.
#include <iostream>
#include <memory>

#include "dataplane/envelope/keys.h"
#include "tools/ctl/command.h"

namespace statecast::ctl {

namespace {

struct KeysOptions {
  std::string out, fleet;
  uint32_t member = 0;
  bool json = false;
};

void say(const KeysOptions& o, const Json& line, const std::string& text) {
  std::cout << (o.json ? line.dump() : text) << "\n";
}

}  // namespace

void add_keys_command(CLI::App& app) {
  CLI::App* keys = add_command(app, "keys", "Make the fleet's secret and the members' keys",
                               "statecast keys fleet --out fleet.secret\n"
                               "statecast keys member --fleet fleet.secret --member 7 --out member-7.key");
  keys->require_subcommand(1);
  auto o = std::make_shared<KeysOptions>();

  CLI::App* fleet =
      add_command(*keys, "fleet", "Make a new fleet secret: one file, the same on all proxies and on nothing else",
                  "statecast keys fleet --out /etc/statecast/fleet.secret");
  fleet->add_option("--out", o->out, "File to write; it must not exist")->required();
  add_json_option(*fleet, o->json);
  fleet->callback([o] {
    or_fail(write_fleet_secret(o->out, make_fleet_secret()));
    say(*o, {{"file", o->out}},
        "wrote " + o->out + ": copy it to every proxy (fleet_secret), and keep it from everybody else");
  });

  CLI::App* member = add_command(*keys, "member", "Derive a member's node key from the fleet secret",
                                 "statecast keys member --fleet fleet.secret --member 7 --out member-7.key");
  member->add_option("--fleet", o->fleet, "File made by `statecast keys fleet`")->required();
  member->add_option("--member", o->member, "The member's id")->required()->check(CLI::Range(1u, kId24Max));
  member->add_option("--out", o->out, "File to write; it must not exist")->required();
  add_json_option(*member, o->json);
  member->callback([o] {
    MemberId id{o->member};
    or_fail(write_node_key(o->out, id, member_node_key(or_fail(read_fleet_secret(o->fleet)), id)));
    say(*o, {{"file", o->out}, {"member", o->member}},
        "wrote " + o->out + ": copy it to member " + std::to_string(o->member) + " (node_key)");
  });
}

}  // namespace statecast::ctl
