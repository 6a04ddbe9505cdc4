# SPDX-License-Identifier: BSD-3-Clause
"""The directory node: build/bench/directory_bench, its goals and its table."""
import json
import statistics
import subprocess

MAPPINGS = 10_000_000
QUICK_MAPPINGS = 200_000
RATE = "million a second"


def run(program, quick, repetitions):
    """A row for each value: {name, value, unit, parameters, runs}; or the reason why there is none."""
    mappings = QUICK_MAPPINGS if quick else MAPPINGS
    values = {}
    for turn in range(repetitions):
        words = [program, f"--mappings={mappings}", f"--seconds={0.05 if quick else 0.3}"] + (["--rival"] if turn == 0 else [])
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
        except subprocess.TimeoutExpired:
            return [], "took more than 240 s"
        if done.returncode != 0:
            return [], f"FAILED ({' '.join(words)}): {(done.stderr.strip().splitlines()[-1:] or ['?'])[0]}"
        measured = json.loads(done.stdout)
        for name, value in measured.pop("rival", {}).items():
            values.setdefault(f"rival.{name}", []).append(value)
        measured.pop("mappings")
        for name, value in measured.items():
            values.setdefault(name, []).append(value)
    return [{"name": f"directory.{name}", "value": round(statistics.median(runs), 2),
             "unit": "bytes" if "bytes" in name else "ns", "parameters": {"mappings": mappings},
             "runs": [round(r, 2) for r in runs]} for name, runs in values.items()], None


def values_of(rows, mappings=None):
    """{name: row} of the directory's rows, of one number of mappings or of any."""
    return {r["name"].removeprefix("directory."): r for r in rows if r.get("name", "").startswith("directory.")
            and mappings in (None, r["parameters"]["mappings"])}


def goals(rows, why_not=None):
    """As goals.rows. Of a quick run, which has fewer mappings, there is none."""
    got = values_of(rows, MAPPINGS)

    def median(name):
        return got[name]["value"] if name in got else None

    def text(name):
        return "-" if median(name) is None else f"{median(name):,.0f}"

    def add(goal, name, limit, unit, bound_by):
        at_least = unit == RATE
        runs = [1000 / r if at_least else r for r in got[name]["runs"]] if name in got else []
        value = statistics.median(runs) if runs else None
        reached = None if value is None else value >= limit if at_least else value <= limit
        return {"goal": goal, "value": None if value is None else round(value, 3), "unit": unit, "limit": limit,
                "reached": reached, "bound_by": why_not or (bound_by if runs else "not measured in this run"),
                "parameters": {"mappings": MAPPINGS}, "runs": [round(r, 3) for r in runs]}

    return [
        add("directory queries answered by one core, 10 million mappings", "ns_per_query_cold", 10, RATE,
            f"ns: {text('ns_per_query_cold')} drawn among all, {text('ns_per_query_hot')} among 1,000, "
            f"{text('ns_per_query_cold_one_by_one')} among all but one at a time; the difference is memory"),
        add("directory inserts by one core, 10 million mappings", "ns_per_insert", 1, RATE,
            f"ns: {text('ns_per_insert')} where others have ended before, {text('ns_per_insert_first')} while the node grows "
            f"(the kernel clears its pages)"),
        add("directory memory per mapping, 10 million mappings", "bytes_per_mapping", 96, "bytes",
            "all that the process has got from the kernel: record 64, two indexes 20 to 22, expiry 8"),
    ]


WORDS = (("ns_per_query_cold", "query, drawn among all"), ("ns_per_query_hot", "query, among 1,000"),
         ("ns_per_query_cold_one_by_one", "query, among all, one message at a time"), ("ns_per_insert", "insert"),
         ("ns_per_insert_first", "insert while the node grows"), ("ns_per_refresh", "refresh, per handle"),
         ("ns_per_expiry", "end of a record"), ("bytes_per_mapping", "memory per mapping"),
         ("rival.ns_per_find_cold", "std::unordered_map of records: look-up alone"),
         ("rival.bytes_per_mapping", "std::unordered_map of records: memory per mapping"))


def table(rows):
    got = values_of(rows)
    out = ["| what | mappings | measured |", "|---|---|---|"]
    for name, words in WORDS:
        if name in got:
            r = got[name]
            out.append(f"| {words} | {r['parameters']['mappings']:,} | {r['value']:,.0f} {r['unit']} |")
    return "\n".join(out)
