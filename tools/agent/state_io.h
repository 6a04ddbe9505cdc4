// SPDX-License-Identifier: BSD-3-Clause
// What an agent keeps on disk (state_dir): its incarnation and its revocations.
//
//   auto n = raise_incarnation(dir);                  // read, add one, write, fsync
//   save_incarnation(dir, core.incarnation());        // the fleet knew of a higher one: the file had been lost
//   auto r = load_revocations(dir);  save_revocations(dir, core.revocations().left(now));
//
// incarnation         "statecast-incarnation 1 42": format version, number
// revocations.json    {"version": 1, "boot_id": "...", "saved_ms": 8123, "revocations": [{"id": "10 tcp ...",
//                     "remaining_ms": 599000, "name": 77120395}, ...]}
//
// A revocation is written as the time that is left of it and the machine's CLOCK_BOOTTIME at which that was so: the
// wall clock may be stepped, and a step must not lift a revocation. After a reboot (another boot ID) the clock starts
// anew and the time spent switched off is unknown; what is left counts from the load then: longer than asked, never
// shorter.
//
// Files are written beside their place, synced and renamed. Threads: any, one at a time per directory. Ownership: none.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "tools/agent/revocations.h"

namespace statecast {

Result<uint32_t> raise_incarnation(const std::string& dir);
Result<> save_incarnation(const std::string& dir, uint32_t incarnation);
Result<std::vector<Revocations::Left>> load_revocations(const std::string& dir);
Result<> save_revocations(const std::string& dir, const std::vector<Revocations::Left>& revocations);

}  // namespace statecast
