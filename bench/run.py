#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures the packet path and the directory node against their goals, over a matrix of loads, and writes <build>/bench/report.json.

  bench/run.py build                 all of it, at most 10 minutes on 2 cores
  bench/run.py build --quick         a taste of it, half a minute; for figures of a sort, and as a test of all this
  bench/run.py build --docs          writes the report's figures into docs/performance.md (measures nothing)

The report is a list: {name, value, unit, parameters, runs} for each value, median of its runs, and {goal, value, unit, limit,
reached, bound_by, runs} for each goal. Runs of all points take turns, so that what else the machine does hits all alike.
"""
import argparse
import datetime
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import directory, docs, goals, measure, plan  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMIT_S = 585


class Clock:
    def __init__(self):
        self.start = time.monotonic()

    def left(self):
        return LIMIT_S - (time.monotonic() - self.start)

    def say(self, words):
        print(f"{time.monotonic() - self.start:5.0f} s  {words}", flush=True)


def machine(load_before, pages):
    def first(path, name):
        with open(path, encoding="utf-8") as f:
            return next((line.split(":")[1].strip() for line in f if line.startswith(name)), "?")

    commit = "unknown"
    if shutil.which("git"):
        described = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "describe", "--always", "--dirty"],
                                   capture_output=True, text=True, check=False)
        commit = described.stdout.strip() or commit
    flags = first("/proc/cpuinfo", "flags").split()
    lanes = "eight lanes of SipHash (AVX-512)" if {"avx512f", "avx512vl"} <= set(flags) else "four lanes (AVX2)" if "avx2" in flags else "one lane"
    return {"name": "machine", "value": os.cpu_count(), "unit": "cores", "parameters": {
        "date": datetime.date.today().isoformat(), "commit": commit,
        "processor": f"{first('/proc/cpuinfo', 'model name')}, family {first('/proc/cpuinfo', 'cpu family')}, {os.cpu_count()} cores",
        "clock": f"{first('/proc/cpuinfo', 'cpu MHz')} MHz, as the kernel says it",
        "caches": caches(),
        "vectors": lanes, "kernel": ".".join(os.uname().release.split(".")[:2]),
        "memory": f"{measure.HugePages.memory('MemTotal') / 2**30:.0f} GiB",
        "packet buffers": "on huge pages" if pages else "on pages of 4 KiB, since no huge pages could be reserved",
        "load average before and after": f"{load_before:.1f}, {os.getloadavg()[0]:.1f} (the benchmark itself makes 1 to 2)"}}


def caches():
    found = []
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        words = []
        for name in ("level", "type", "size"):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                words.append(f.read().strip())
        if words[1] != "Instruction":
            found.append(f"L{words[0]} {words[2]}")
    return ", ".join(found) or "not known"


def run_points(build, quick, seconds, repetitions, clock):
    program = os.path.join(build, "bench", "pipeline")
    results, cores = measure.Results(), os.cpu_count()
    points = plan.points(quick, cores)
    with measure.HugePages() as pages:
        for p in (p for p in points if plan.once(p)):
            reports, reason = measure.run_point(program, p, pages, seconds, repetitions)
            results.add(p, reports)
            if reason:
                results.missing[plan.key(p)] = reason
            clock.say(f"{p['sessions']:,} sessions: {reason or 'done'}")
        slowest = {}
        for turn in range(repetitions):
            for p in (p for p in points if not plan.once(p)):
                if clock.left() < 2 * slowest.get(plan.key(p), 0):
                    continue
                before = time.monotonic()
                reports, reason = measure.run_point(program, p, pages, seconds)
                results.add(p, reports)
                if reason:
                    results.missing[plan.key(p)] = reason
                    clock.say(reason)
                slowest[plan.key(p)] = time.monotonic() - before
            clock.say(f"round {turn + 1} of {repetitions}: {len(points)} points")
    return results


def run_components(build, quick, repetitions, clock):
    for name, pattern in plan.COMPONENTS.items():
        program = os.path.join(build, "bench", f"{name}_bench")
        values = measure.component(program, pattern, quick, 1 if quick else repetitions)
        clock.say(f"{name}: {len(values)} benchmarks")
        for bench, runs in values.items():
            yield {"name": f"component.{name}/{bench}", "value": round(statistics.median(runs), 2), "unit": "ns per item",
                   "parameters": {}, "runs": [round(r, 2) for r in runs]}


def run_lines(build, clock):
    """Cache lines per packet, by simulation. Nothing where there is no valgrind."""
    done = subprocess.run([os.path.join(ROOT, "bench", "instructions.py"), os.path.join(build, "bench", "instructions"), "--lines"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        clock.say(f"lines per packet: not counted ({done.stdout.strip() or done.stderr.strip()})")
        return None
    clock.say("lines per packet: counted")
    return json.loads(done.stdout)["pipeline"]


def print_goals(rows):
    for g in rows:
        mark = {None: "   -   ", True: "reached", False: "  NOT  "}[g["reached"]]
        value = "-" if g["value"] is None else f"{g['value']:.2f}"
        print(f"{mark} {value:>9} (limit {g['limit']:g}) {g['unit']:30} {g['goal']}\n{'':27}{g['bound_by']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="meson build folder, built")
    parser.add_argument("--quick", action="store_true", help="fewer points, one run of each")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md from the last report")
    parser.add_argument("--report", help="where the report is (<build>/bench/report.json)")
    args = parser.parse_args()
    path = args.report or os.path.join(args.build, "bench", "report.json")
    if args.docs:
        with open(path, encoding="utf-8") as f:
            docs.write(json.load(f), os.path.join(ROOT, "docs", "performance.md"))
        return 0

    clock, load = Clock(), os.getloadavg()[0]
    report = list(run_components(args.build, args.quick, 5, clock))
    lines = None if args.quick else run_lines(args.build, clock)
    if lines is not None:
        report.append({"name": "lines_per_packet", "value": lines, "unit": "lines", "parameters": {"sessions": 1_000_000}, "runs": [lines]})
    node, why_not = directory.run(os.path.join(args.build, "bench", "directory_bench"), args.quick, 1 if args.quick else 3)
    clock.say(f"directory: {why_not or f'{len(node)} values'}")
    report += node
    results = run_points(args.build, args.quick, 0.2 if args.quick else 0.4, 1 if args.quick else 5, clock)
    prefetched = next((r["value"] for r in report if r["name"] == "component.memory/prefetched/1024"), None)
    rows = goals.rows(results, {"lines": lines, "prefetched": prefetched}) + directory.goals(node, why_not)
    report = [machine(load, any(results.pages.values()))] + rows + list(results.rows()) + report
    with open(path, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1, ensure_ascii=False)
        f.write("\n")
    for name in ("sessions", "change", "traffic", "cores", "delay", "directory", "components", "memory"):
        print(f"{docs.SECTIONS[name](report, results)}\n")
    print_goals(rows)
    clock.say(f"report: {path}")
    reasons = list(results.missing.values()) + [why_not or ""]
    return 1 if any(reason.startswith("FAILED") for reason in reasons) else 0


if __name__ == "__main__":
    sys.exit(main())
