#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a session's first packet at a proxy without a lease goes through, by query form, in the simulator.

  bench/query_forms.py build                   20 fleets, 3 kinds of network, 3 forms; half a minute

Delays are from the proxy that has to ask to the member's kernel, of packets that arrived. Bytes are those of queries and
their answers as messages (an envelope's 52 and the outer headers come on top), per packet that was asked about.
"""
import argparse
import json
import statistics
import subprocess
import sys

FORMS = ("query", "query_and_forward", "query_and_return")
NETWORKS = {"catchments move": "catchment", "and up to 15 % loss": "catchment,loss",
            "and loss, reordering, duplicates": "catchment,loss,reorder,duplicate"}


def run(build, seed, faults, form):
    words = [f"{build}/tools/sim/statecast-sim", "--seed", seed, "--proxies", 6, "--members", 4, "--sessions", 100,
             "--duration", "20s", "--pace", "20ms", "--faults", faults, "--query-form", form, "--json"]
    return json.loads(subprocess.run([str(w) for w in words], capture_output=True, check=True).stdout)


def row(build, seeds, faults, form):
    runs = [run(build, seed, faults, form) for seed in seeds]
    asked = [r["asked_about"] for r in runs]
    packets, arrived = sum(a["packets"] for a in asked), sum(a["arrived"] for a in asked)
    size = sum(r["traffic"][kind]["bytes"] for r in runs for kind in ("query", "query_answer"))

    def delay(part, near):
        return statistics.median(a["delay_ms"][part] for r, a in zip(runs, asked)
                                 if a["arrived"] and (r["fleet"]["regions"] == 1) == near)
    return [f"{delay(part, near):.1f}" for near in (True, False) for part in ("p50", "p99")] + [
        f"{size / packets:.0f}", f"{100 * arrived / packets:.0f} %", f"{sum(a['overtaken'] for a in asked):,}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="build folder with the simulator")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    print("| network | form | p50 ms | p99 ms | p50 ms, regions | p99 ms, regions | bytes | arrived | overtaken |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, faults in NETWORKS.items():
        for form in FORMS:
            cells = row(args.build, range(1, args.seeds + 1), faults, form)
            print(f"| {name} | `{form}` | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
