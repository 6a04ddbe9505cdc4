#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes docs/counters.md from the lists of counters; with --check, fails when the page is not what it would write."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "counters.md")
PACKETS = "dataplane/counters.def"
DIRECTORY = "directory/node_state.h"
GAUGES = "control/proxy_metrics.cc"
AGENT = "tools/agent/agent_counters.def"
TEXT = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
COUNTER = re.compile(r'^COUNTER\((\w+), "([a-z0-9_.]+)", (info|warn|error), (\w+),\s*' + TEXT + r'\)$', re.M)
NODE_COUNTER = re.compile(r'\bX\(\w+,\s*"([a-z0-9_.]+)",\s*' + TEXT + r'\)')
GAUGE = re.compile(r'\b(?:gauge|counted)\("([a-z0-9_.]+)",\s*' + TEXT + r',')

INTRODUCTION = """# Counters

This page is printed by docs/make_counters.py from the lists that the programs are built from; a test compares the two.

A name is stage.outcome.reason.unit: `resolve.drop.revoked.packets` are packets that the step *resolve* dropped because
their session was revoked. Every packet that is dropped has one of these reasons.

    statecast status                # counters of drops that are not zero
    statecast status --counters     # every counter that is not zero
    statecast status --json         # all of them

On the Prometheus page (`metrics` in the configuration) the same counter is `statecast_resolve_drop_revoked_packets`:
`statecast_` and the name with `_` for each `.`.

Severity: `info` is normal; `warn` is worth a look when it grows; `error` means that something is wrong.
"""


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def sentence(quoted):
    """One or more C string literals as a sentence in a cell."""
    text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', quoted)).replace('\\"', '"').replace("|", "\\|")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def by_stage(path):
    text = read(path)
    rows = COUNTER.findall(text)
    understood = {row[0] for row in rows}
    odd = [symbol for symbol in re.findall(r"^COUNTER\((\w*)", text, re.M) if symbol not in understood]
    if odd:
        sys.exit(f"{path}: not understood: {', '.join(odd)}")
    lines, last = [], None
    for _, name, severity, unit, quoted in rows:
        stage = name.split(".")[0]
        if stage != last:
            lines += ["", f"### {stage}", "", "| counter | severity | unit | |", "|---|---|---|---|"]
            last = stage
        lines.append(f"| `{name}` | {severity} | {unit} | {sentence(quoted)} |")
    return lines


def plain(path, pattern, title):
    # A macro's lines end in a backslash.
    rows = pattern.findall(re.sub(r"\\\n", "\n", read(path)))
    if not rows:
        sys.exit(f"{path}: no rows found")
    return ["", f"| {title} | |", "|---|---|"] + [f"| `{name}` | {sentence(quoted)} |" for name, quoted in rows]


def page():
    lines = [INTRODUCTION.rstrip("\n"), "", "## statecast-proxy: packets"] + by_stage(PACKETS)
    lines += ["", "## statecast-proxy: the directory node"] + plain(DIRECTORY, NODE_COUNTER, "counter")
    lines += ["", "## statecast-proxy: gauges", "", "On the Prometheus page only."] + plain(GAUGES, GAUGE, "gauge")
    lines += ["", "## statecast-agent"] + by_stage(AGENT)
    return "\n".join(lines) + "\n"


def main():
    text = page()
    if "--check" not in sys.argv[1:]:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(text)
        return
    if read("docs/counters.md") != text:
        sys.exit("docs/counters.md is not up to date: run python3 docs/make_counters.py")


if __name__ == "__main__":
    main()
