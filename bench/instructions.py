#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the instructions that a packet takes, per step of the pipeline, and compares them with bench/instructions.json.

  bench/instructions.py build/bench/instructions             fails where a count has grown by more than 10 %
  bench/instructions.py build/bench/instructions --update    writes the counts down as the new baseline
  bench/instructions.py build/bench/instructions --lines     cache lines per packet beyond 1 MiB, per step

The counts come from callgrind. It shows the program a machine without AVX-512, so they are those of the AVX2 path. A
change that makes a count grow changes the baseline in the same commit, and so shows it. Without valgrind: skipped (77).
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
BURST, GROWTH, SLACK = 32, 1.10, 1.0  # SLACK: instructions per packet that a small step may grow whatever its share
STEPS = {
    "parse": "parse_packets", "group": "find_groups", "open": "open_envelopes", "classify": "classify", "identify": "identify",
    "resolve": "resolve", "encapsulate": "encapsulate", "deliver": "deliver", "pipeline": ("run_front", "run_back"),
    "source": "bench::MemoryPort::on_receive",
}


def inclusive(path):
    """Of a callgrind file: {function: [events of all calls of it, with what they called]}, by name without arguments."""
    names, costs, events, called = {}, {}, [], None
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("events:"):
                events = line.split()[1:]
            elif match := re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line):
                number, name = match.groups()
                if name:
                    names[number] = name
                if line.startswith("cfn="):
                    called = names[number]
            elif line.startswith("calls="):
                cost = [int(word) for word in next(f).split()[1:]]
                # Calls from a function to itself and back would count twice; there are none on the packet's path.
                plain = called.split("(")[0].removeprefix("statecast::").split("'")[0]
                have = costs.setdefault(plain, [0] * len(events))
                for i, n in enumerate(cost):
                    have[i] += n
    return events, costs


def count(program, profile, sessions, turns, extra=()):
    """{step: {event: number per packet}} of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind.out")
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=counted_turns",
                               *extra, program, "--profile", profile, "--sessions", str(sessions), "--turns", str(turns)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"instructions: {program} under valgrind ended with {done.returncode}:\n{done.stderr}")
        events, costs = inclusive(out)
    packets = turns * BURST
    steps = {}
    for step, functions in {**STEPS, "turn": "Worker::turn"}.items():
        functions = (functions,) if isinstance(functions, str) else functions
        if missing := [f for f in functions if f not in costs]:
            raise SystemExit(f"instructions: no call of {missing[0]} in what callgrind saw")
        steps[step] = {e: sum(costs[f][i] for f in functions) / packets for i, e in enumerate(events)}
    return steps


def instructions(program):
    counts = {}
    for profile in ("forward", "return"):
        steps = count(program, profile, 10_000, 256)
        # The port's own work is the bench's, not the proxy's.
        rest = steps["turn"]["Ir"] - steps["pipeline"]["Ir"] - steps.pop("source")["Ir"]
        counts[profile] = {step: round(events["Ir"], 1) for step, events in steps.items() if step != "turn"}
        counts[profile]["receive, finish, send"] = round(rest, 1)
    return counts


def lines(program, sessions):
    """Lines per packet that are not in 1 MiB of cache, among many sessions: reads and writes."""
    extra = ["--cache-sim=yes", "--LL=1048576,16,64"]
    steps = count(program, "forward", sessions, 256, extra)
    return {step: round(e["DLmr"] + e["DLmw"], 2) for step, e in steps.items() if step not in ("turn", "source")}


def compare(counts, baseline):
    bad = 0
    for profile, steps in counts.items():
        for step, now in steps.items():
            was = baseline[profile].get(step)
            grown = was is None or now > was * GROWTH + SLACK
            bad += grown
            print(f"{profile:8} {step:22} {now:8.1f}  baseline {'none' if was is None else was:>8}{'  GROWN' if grown else ''}")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="bench/instructions of a release build")
    parser.add_argument("--update", action="store_true", help="write the baseline")
    parser.add_argument("--lines", action="store_true", help="cache lines per packet instead")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="for --lines (1000000)")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        print("instructions: skipped, there is no valgrind")
        return 77
    if args.lines:
        print(json.dumps(lines(args.program, args.sessions)))
        return 0
    counts = instructions(args.program)
    if args.update:
        with open(BASELINE, "w", encoding="utf-8") as f:
            json.dump({"what": "instructions per packet, g++ release build, AVX2 path (callgrind)", **counts}, f, indent=2)
            f.write("\n")
        print(f"written: {BASELINE}")
        return 0
    with open(BASELINE, encoding="utf-8") as f:
        bad = compare(counts, json.load(f))
    if bad:
        print(f"{bad} counts have grown by more than 10 %. If that is wanted: bench/instructions.py {args.program} --update")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
