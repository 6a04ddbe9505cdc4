#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ways to break a node (directory/broken.h) are noticed by the simulator's checkers within so many seeds, in runs that
break nothing otherwise. (count-over-two-views: tests/directory/node_view_test.cc.)

  tests/sim/broken_test.py build/tools/sim/statecast-sim-broken
"""
import subprocess
import sys

# Name, seeds that it may take, and what the runs look like: the faults under which the rule matters.
SAFE = "--proxies 3 --replicas 3 --writes 2"
ROWS = [
    ("acknowledge-before-replicate", 20, ""),
    ("believe-one-none", 40, "--proxies 5 --replicas 3 --writes 2 --faults loss,late,catchment"),
    ("ignore-term", 20, "--proxies 4 --replicas 3 --writes 2 --faults loss,late,member-restart,catchment"),
    ("lift-tombstone-on-restart", 40, SAFE + " --faults crash,catchment --duration 30s"),
    ("grant-without-permit", 40, SAFE + " --faults partition,catchment --duration 40s"),
    ("answer-before-in-sync", 20, "--faults crash,loss,catchment"),
    ("forget-a-holder", 20, ""),
    ("grant-anothers-share", 20, ""),
    ("absolute-clocks", 40, SAFE + " --faults partition,wall-step,catchment --duration 40s"),
]


def main():
    failed = 0
    for name, seeds, options in ROWS:
        command = [sys.argv[1], "--broken", name, "--seeds", str(seeds)] + options.split()
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)
        failed += done.returncode != 0
    print(f"{len(ROWS) - failed} of {len(ROWS)} caught")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
