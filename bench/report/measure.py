# SPDX-License-Identifier: BSD-3-Clause
"""Runs the programs: huge pages, memory, time limits; median and runs of each value."""
import json
import os
import statistics
import subprocess

from . import plan


class HugePages:
    """Reserves huge pages for the next run where the kernel lets us, and gives all back at the end."""
    PATH = "/proc/sys/vm/nr_hugepages"

    def __init__(self):
        self.before = self.total()

    def total(self):
        return self.memory("HugePages_Total", 1)

    @staticmethod
    def memory(name, unit=1024):
        with open("/proc/meminfo", encoding="utf-8") as f:
            for line in f:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * unit
        return 0

    def set(self, pages):
        try:
            with open(self.PATH, "w", encoding="utf-8") as f:
                f.write(str(pages))
        except OSError:
            pass

    def have(self, pages):
        """True if so many are free now."""
        free = self.memory("HugePages_Free", 1)
        used = self.total() - free
        if free < pages or free > pages + 64 and self.total() > self.before:
            self.set(max(self.before, used + pages))
        return self.memory("HugePages_Free", 1) >= pages

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.set(self.before)


def available_mb():
    return HugePages.memory("MemAvailable") // 10**6


def run_point(program, p, pages, seconds, repeat=1, timeout=240):
    """The reports of one call, or the reason why there is none."""
    if available_mb() < plan.needs_mb(p) * 1.1 + 500:
        return [], f"{plan.needs_mb(p)} MB are not free"
    words = [program] + plan.arguments(p, seconds) + ["--repeat", str(repeat)]
    if pages.have(plan.huge_pages(p)):
        words.append("--huge-pages")
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return [], f"took more than {timeout} s"
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0:
        bad = sum(1 for r in reports if r["failed"] or not r["verified"])
        why = f"{bad} runs had packets that did not verify" if bad else (done.stderr.strip().splitlines()[-1:] or ["?"])[0]
        return [], f"FAILED ({' '.join(words)}): {why}"
    return reports, None


def component(program, pattern, quick, repetitions):
    """{name: [ns per item of each repetition]} of a Google Benchmark program."""
    words = [program, f"--benchmark_repetitions={repetitions}", f"--benchmark_min_time={0.002 if quick else 0.02}",
             "--benchmark_format=json"]
    if pattern:
        words.append(f"--benchmark_filter={pattern}")
    if "session_cache" in os.path.basename(program):
        words.append(f"--sessions={100_000 if quick else 1_000_000}")
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program} failed with {done.returncode}")
    values = {}
    for row in json.loads(done.stdout[done.stdout.index("{"):])["benchmarks"]:
        if row["run_type"] != "iteration" or row.get("error_occurred"):
            continue
        if "items_per_second" in row:
            value = 1e9 / row["items_per_second"]
        else:  # a counter of seconds per item
            value = next((row[c] * 1e9 for c in ("packet", "insert") if c in row), row["cpu_time"])
        values.setdefault(row["run_name"], []).append(value)
    return values


def flatten(report, prefix=""):
    """The numbers of a report, nested ones by dotted names."""
    out = {}
    for name, value in report.items():
        if isinstance(value, dict) and name != "counters":
            out.update(flatten(value, f"{prefix}{name}."))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out[prefix + name] = float(value)
    return out


UNITS = (("delay_us", "µs"), ("stalled_ms", "ms"), ("mpps", "million packets per second"), ("bytes_per_session", "bytes"), ("_per_second", "per second"),
         ("to_forward", "ratio"), ("to_one", "ratio"), ("loss", "share"), ("ns", "ns per packet"), ("stages", "ns per packet"),
         ("junk.", "ns per packet"))


class Results:
    """Values by point: the runs of each, and their median. What report.json holds, and what comes back from it."""

    def __init__(self):
        self.values = {}   # key of a point -> {name: runs}
        self.points = {}
        self.missing = {}  # key -> why nothing was measured
        self.pages = {}

    def add(self, p, reports):
        for r in reports:
            flat = flatten(r)
            if flat.get("churn_ns_per_packet"):
                flat["churn_above_floor_ns"] = flat["churn_ns_per_packet"] - flat["floor_ns"]
                flat["churn_loss"] = 1 - flat["ns_per_packet"] / flat["churn_ns_per_packet"]
            if r["profile"] == "junk":
                flat["junk_to_forward"] = max(r["junk"].values()) / r["ns_per_packet"]
            self.points[plan.key(p)] = p
            self.pages[plan.key(p)] = r["huge_pages"]
            for name, value in flat.items():
                if name not in plan.DEFAULTS and name not in ("seed", "unknown_permille"):
                    self.values.setdefault(plan.key(p), {}).setdefault(name, []).append(value)

    def all(self, p, name):
        return self.values.get(plan.key(p), {}).get(name, [])

    def get(self, p, name):
        """The median, or None."""
        runs = self.all(p, name)
        return statistics.median(runs) if runs else None

    def stages(self, p):
        names = [n for n in self.values.get(plan.key(p), {}) if n.startswith("stages.")]
        return {n.removeprefix("stages."): self.get(p, n) for n in names}

    def rows(self):
        for k, values in self.values.items():
            for name, runs in values.items():
                unit = next((u for part, u in UNITS if part in name), "packets" if name in ("verified", "failed") else "")
                yield {"name": f"pipeline.{name}", "value": round(statistics.median(runs), 4), "unit": unit,
                       "parameters": {**self.points[k], "huge_pages": self.pages[k]}, "runs": [round(r, 4) for r in runs]}

    @staticmethod
    def from_rows(rows):
        results = Results()
        for row in rows:
            if row.get("name", "").startswith("pipeline."):
                p = {n: v for n, v in row["parameters"].items() if n != "huge_pages"}
                results.points[plan.key(p)] = p
                results.pages[plan.key(p)] = row["parameters"]["huge_pages"]
                results.values.setdefault(plan.key(p), {})[row["name"].removeprefix("pipeline.")] = row["runs"]
        return results
