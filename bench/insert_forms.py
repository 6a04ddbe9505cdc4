#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a new session waits for by the form of its insert, on a lab of its own whose underlay loses and delays datagrams.

  bench/insert_forms.py --programs build             as root, two to three minutes; makes the lab and removes it

Each of the lab's members inserts in another form; clients of one group of all three come to all of them in turns. Of each
session: from SYN to SYN/ACK, and from the first request to its answer. `again` counts sessions for which the client or the
member's kernel had to say something twice (900 ms and more).
"""
import argparse
import collections
import contextlib
import signal
import sys

import lab_latency
from lab_latency import Client, Ends, GROUP, PORT
from statecast_lab import topology as topo
from statecast_lab.network import LabError
from statecast_lab.programs import Lab
from statecast_lab.report import Report

# Of each host's link and direction; a datagram passes two.
NETWORKS = {
    "no impairment": {},
    "2 to 3 ms one way": {"delay_ms": 1, "jitter_ms": 0.5},
    "and 3 % lost, 2 % doubled": {"delay_ms": 1, "jitter_ms": 0.5, "loss": 0.015, "duplicate": 0.01},
}
AGAIN_MS = 900


def measure(lab, count):
    """(connect, first request) in ms, by member."""
    out = collections.defaultdict(list)
    while min(len(out[m]) for m in topo.MEMBERS) < count:
        with contextlib.closing(Client(lab, GROUP)) as client:
            first = client.exchange_ms()
            out[client.member].append((client.connect_ms, first))
    return {member: samples[:count] for member, samples in out.items()}


def cells(samples):
    shown = []
    for part in zip(*samples):
        cut = lab_latency.row("", part)
        shown += [f"{cut['p50_ms']:.2f}", f"{cut['p99_ms']:,.1f}"]
    return shown + [str(sum(max(pair) > AGAIN_MS for pair in samples))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="build folder with the programs")
    parser.add_argument("--name", default="inserts", help="of the lab: prefix of its namespaces (inserts)")
    parser.add_argument("--samples", type=int, default=300, help="sessions of each form and network (300)")
    args = parser.parse_args()
    say = Report(sys.stderr).say
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = Lab(args.name, args.programs, impaired=True)
    lab.down()
    rows = []
    try:
        lab.up()
        with Ends(lab) as ends:
            for member in topo.MEMBERS:
                if ends.start(member, "echo", member, PORT).stdout.readline() != "listening\n":
                    raise LabError(f"the server on {member} does not listen")
            for name, impairment in NETWORKS.items():
                say(name)
                for host in topo.UNDERLAY_PORTS:
                    for direction in ("in", "out"):
                        lab.impair(host, direction, **impairment)
                for member, samples in sorted(measure(lab, args.samples).items()):
                    rows.append((name, f"`{topo.INSERT_FORMS[member]}`", *cells(samples)))
    finally:
        lab.down()
    print("| underlay | form | SYN/ACK p50 ms | p99 | first answer p50 ms | p99 | again |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
