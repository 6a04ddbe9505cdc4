#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The program itself on a port of memory that sends everything back: nothing is lost, JSON and page are well-formed.

loop_test.py STATECAST_PKTGEN
"""
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

PROGRAM = sys.argv[1]


def run(*words, code=0):
    done = subprocess.run([PROGRAM, *words, "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def check(trial, **expected):
    for key, value in expected.items():
        assert trial[key] == value, f"{key} is {trial[key]}, expected {value}"


def loop(folder):
    report = os.path.join(folder, "loop.html")
    result = json.loads(run("--loop", "--duration", "300ms", "--json", "--report", report).stdout)
    (trial,) = result["trials"]
    check(trial, lost=0, duplicate=0, reordered=0, wrong_member=0)
    assert trial["sent"] == trial["received"] > 10_000, trial["sent"]
    assert trial["counters"]["foreign"] == 0
    assert 0 < trial["latency"]["p50_ns"] <= trial["latency"]["p99_ns"] <= trial["latency"]["max_ns"]
    with open(report, encoding="utf-8") as f:
        page = f.read()
    for part in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
    print("loop:", round(trial["sent_pps"] / 1e6, 2), "Mpps")


def rate():
    (trial,) = json.loads(run("--loop", "--duration", "500ms", "--rate", "100kpps", "--json").stdout)["trials"]
    check(trial, lost=0)
    # A machine that is busy with other things sends less, and says so; never more.
    flow = trial["flows"][0]
    assert flow["sent"] + flow["not_sent"] >= 0.97 * 100_000 * trial["seconds"], flow
    assert flow["sent"] <= 1.01 * 100_000 * trial["seconds"] + 64, flow


def mixture(folder):
    path = os.path.join(folder, "mixture.yaml")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"""duration: 500ms
warm_up: 0s
dpdk: {{file_prefix: pktgen-test-{os.getpid()}}}
ports: [{{name: a, device: net_ring0}}]
streams:
  - {{name: v4, destinations: ["203.0.113.10:443", "203.0.113.11:443"], sizes: [7x64, 4x594, 1x1518], rate: 50Mbps}}
  - {{name: v6, protocol: tcp, destinations: ["[2001:db8::1]:443"], popularity: zipf, rate: 20kpps, ramp_from: 1kpps,
     ramp_time: 200ms}}
  - {{name: flood, kind: syn_flood, destinations: ["203.0.113.10:443"], rate: 10kpps}}
  - {{name: strange, kind: random_sessions, destinations: ["203.0.113.10:443"], rate: 10kpps, start: 100ms}}
  - {{name: broken, kind: malformed, destinations: ["203.0.113.10:443"], rate: 10kpps}}
  - {{name: forged, kind: forged_envelopes, destinations: ["203.0.113.10:6081"], rate: 10kpps}}
""")
    (trial,) = json.loads(run(path, "--json").stdout)["trials"]
    check(trial, lost=0, duplicate=0)
    flows = {f["stream"]: f for f in trial["flows"]}
    for name, flow in flows.items():
        assert flow["sent"] > 50, f"{name}: {flow}"
        assert flow["attack"] == (name not in ("v4", "v6"))
    assert flows["v4"]["received"] == flows["v4"]["sent"]
    assert flows["strange"]["received"] == flows["strange"]["sent"], "marked, so counted"
    unmarked = sum(flows[name]["sent"] for name in ("flood", "broken", "forged"))
    assert trial["counters"]["foreign"] == unmarked, (trial["counters"], unmarked)


def search():
    result = json.loads(run("--loop", "--search", "--duration", "200ms", "--json").stdout)
    assert result["throughput"]["pps"] > 1e5 and result["throughput"]["generator_limited"], result["throughput"]
    whats = [t["what"] for t in result["trials"]]
    assert whats == ["throughput, trial 1", "latency at 10 %", "latency at 50 %", "latency at 90 %"], whats
    for trial in result["trials"]:
        check(trial, lost=0)


def refusals():
    for words, text in (([], "say one of"), (["--loop", "--rate", "fast"], "--rate"),
                        (["--loop", "--size", "9"], "--size"), (["/nowhere.yaml"], "cannot be read"),
                        (["--device", "net_nothing0"], "net_nothing0")):
        done = run(*words, "--json", code=1)
        assert text in done.stderr, done.stderr
        assert text in json.loads(done.stdout.splitlines()[-1])["error"]


def main():
    with tempfile.TemporaryDirectory(prefix="statecast-pktgen-test-") as folder:
        loop(folder)
        rate()
        mixture(folder)
        search()
        refusals()
    print("fine")


if __name__ == "__main__":
    main()
