#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every benchmark of a build folder several times and writes <build>/bench/report.json.

  bench/run.py build [--repetitions 5] [--only session_cache]

The report is a list of {name, benchmark, value, unit, runs}; value is the median. Rivals stand in the same run.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys


def run(program, repetitions):
    done = subprocess.run([program, f"--benchmark_repetitions={repetitions}", "--benchmark_format=json"],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{program} failed with {done.returncode}")
    runs = {}
    for row in json.loads(done.stdout)["benchmarks"]:
        if row["run_type"] == "iteration":
            runs.setdefault(row["run_name"], []).append(row)
    for name, rows in runs.items():
        # Work per item where the benchmark counts items; whole iterations otherwise.
        if "items_per_second" in rows[0]:
            values, unit = [1e9 / row["items_per_second"] for row in rows], "ns/item"
        else:
            values, unit = [row["cpu_time"] for row in rows], rows[0]["time_unit"] + "/iteration"
        yield {"name": name, "benchmark": os.path.basename(program), "value": round(statistics.median(values), 2), "unit": unit,
               "runs": [round(v, 2) for v in values]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="meson build folder, built")
    parser.add_argument("--repetitions", type=int, default=5, help="runs of each; the median is reported (5)")
    parser.add_argument("--only", default="", help="only benchmarks whose name contains this")
    args = parser.parse_args()
    report = []
    for program in sorted(glob.glob(os.path.join(args.build, "bench", f"*{args.only}*_bench"))):
        print(f"== {os.path.basename(program)}", flush=True)
        for row in run(program, args.repetitions):
            print(f"{row['value']:12.2f} {row['unit']:14} {row['name']}", flush=True)
            report.append(row)
    path = os.path.join(args.build, "bench", "report.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=2)
    print(f"report: {path}")
    return 0 if report else 1


if __name__ == "__main__":
    sys.exit(main())
