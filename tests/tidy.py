#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The house rules that a machine can check. Run from anywhere; prints one line per breach and fails if there is one.
Looks at what git knows; where there is no git, or no repository of our own, it exits with 77: skipped.

Checked: who includes whom; DPDK, yaml-cpp and sockets only where they belong; the SPDX line; file length; one H1 per
document; no left-over marks; counters used and listed.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYER = {"base": 0, "config": 1, "dataplane": 1, "directory": 1, "control": 2, "tools": 3}
MAX_LINES = 600
SOURCE = (".h", ".cc")
TEXT = SOURCE + (".py", ".sh", ".build", ".def", ".yaml")
SOCKET_HEADERS = r"sys/socket\.h|sys/epoll\.h|sys/un\.h|linux/if_tun\.h|linux/netlink\.h|linux/sock_diag\.h"
SOCKETS_ALLOWED = re.compile(r"_io\.(h|cc)$|^control/admin|^tools/|^tests/|^control/metrics")
DPDK_ALLOWED = re.compile(r"^(dataplane/cache|dataplane/worker|tools/proxy|tools/pktgen|tools/ctl/trace|control|tests|bench)/?")


def tracked():
    # The tests may run as root in a clone that is somebody else's.
    command = ["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [n for n in names.split("\n") if n and os.path.isfile(os.path.join(ROOT, n))]


def include_breaches(name, text):
    top = name.split("/")[0]
    if top not in LAYER:
        return
    for target in re.findall(r'#include "(\w+)/([\w./]*)"', text):
        other, rest = target
        if other not in LAYER or other == top:
            continue
        if LAYER[other] < LAYER[top]:
            continue
        if top == "directory" and other == "dataplane" and rest.startswith(("envelope/", "session/")):
            continue
        yield f'includes "{other}/{rest}", against the arrows'


def source_breaches(name, text):
    if text.count("\n") > MAX_LINES and not name.startswith("tests/"):
        yield f"{text.count(chr(10))} lines (at most {MAX_LINES})"
    if re.search(r'#include\s*[<"]rte_', text) and not DPDK_ALLOWED.search(name):
        yield "includes DPDK where no packets move"
    if "#include <yaml-cpp" in text and not name.startswith(("config/", "tests/")):
        yield "includes yaml-cpp outside config/"
    if re.search(rf"#include <({SOCKET_HEADERS})>", text) and not SOCKETS_ALLOWED.search(name):
        yield "opens sockets outside an *_io file"
    if name.endswith(".h") and "#pragma once" not in text:
        yield "header without #pragma once"
    yield from include_breaches(name, text)


def counter_breaches(files):
    """Each counter of a .def is counted somewhere: its symbol stands in a source file other than the list."""
    for definition in [n for n in files if n.endswith("counters.def")]:
        symbols = re.findall(r"^COUNTER\((\w+),", files[definition], re.M)
        for repeated in {s for s in symbols if symbols.count(s) > 1}:
            yield definition, f"{repeated} is listed twice"
        sources = "\n".join(t for n, t in files.items() if n.endswith(SOURCE) and not n.startswith("tests/"))
        for symbol in symbols:
            stem = symbol.removeprefix("parse_drop_") if symbol.startswith("parse_drop_") else symbol
            if not re.search(rf"\b({symbol}|{stem})\b", sources):
                yield definition, f"{symbol} is never counted"


def breaches():
    files = {}
    for name in tracked():
        if name.startswith("tests/fuzz/corpus/") or os.path.getsize(os.path.join(ROOT, name)) > 2_000_000:
            continue
        with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as f:
            files[name] = f.read()
    for name, text in files.items():
        head = "\n".join(text.split("\n")[:3])
        if name.endswith(TEXT) and "SPDX-License-Identifier: BSD-3-Clause" not in head:
            yield name, "no SPDX line at its top"
        if name != "tests/tidy.py" and re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text):
            yield name, "left-over mark"
        if name.endswith(".md"):
            prose = re.sub(r"```.*?```", "", text, flags=re.S)
            if len(re.findall(r"^# ", prose, re.M)) != 1:
                yield name, "a document has one H1"
        if name.endswith(SOURCE):
            for what in source_breaches(name, text):
                yield name, what
    yield from counter_breaches(files)


def main():
    try:
        ours = os.path.exists(os.path.join(ROOT, ".git"))  # else git would look in the folders above
        found = sorted(set(breaches())) if ours else None
    except (FileNotFoundError, subprocess.CalledProcessError):
        found = None
    if found is None:
        print("tidy: skipped, there is no git or no repository")
        return 77
    for name, what in found:
        print(f"{name}: {what}")
    print(f"tidy: {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
