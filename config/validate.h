// SPDX-License-Identifier: BSD-3-Clause
// What makes a configuration wrong although each value is right by itself: ids that are there twice, members that
// nobody lists, gateways off their link. Errors go to `loading`, with the place in `tree`. Threads: pure functions.
// Ownership: none.
#pragma once

#include "config/config.h"
#include "config/pktgen_config.h"
#include "config/schema.h"

namespace statecast {

// REQUIRES: `c` was read from `tree` without errors.
void validate(Loading& loading, const YamlNode& tree, const ProxyConfig& c);
void validate(Loading& loading, const YamlNode& tree, const AgentConfig& c);
void validate(Loading& loading, const YamlNode& tree, const PktgenConfig& c);

}  // namespace statecast
