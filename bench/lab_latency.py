#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures from outside, on a lab of its own, how long the directory keeps a session waiting: insert, query and revoke.

  bench/lab_latency.py --programs build              as root, some two minutes; makes the lab and removes it

  insert   from a client's SYN to its SYN/ACK, less the median of the same to a stateless group: the same proxy, member
           and tunnel, without the directory
  query    from a request to its answer, for the first packet of a live session after the catchment has moved to a proxy
           that has no entry of it, less the median of the same sessions' next requests, which find the entry; where
           that proxy is a replica of the session, and in a second lab (one replica per session) where it is not
  revoke   `statecast revoke --json` at the session's member: to `stored`, and to `silent`; in a quiet lab, while
           another proxy gets a flood of random sessions, and from when a third has been killed
"""
import argparse
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools", "lab"))
sys.dont_write_bytecode = True

import lab_ends  # noqa: E402
from statecast_lab import topology as topo  # noqa: E402
from statecast_lab.network import LabError, run  # noqa: E402
from statecast_lab.programs import Lab  # noqa: E402
from statecast_lab.report import Report  # noqa: E402
from statecast_lab.steps import HOLDERS_S  # noqa: E402

EPILOG = """examples:
  bench/lab_latency.py --programs build
  bench/lab_latency.py --sessions 500 --samples 50 --json > latency.json
"""
PORT = 7000
USED, FLOODED, KILLED = topo.PROXIES    # by the clients; by the flood; with SIGKILL
GROUP = topo.GROUPS["strict"]           # all members; `silent` comes without a dead proxy, by time
REQUESTS_PER_SECOND = 400               # over all sessions that are only there and in use
PACE_S = 0.05                           # between revocations
AT_ONCE = 30                            # revocations under way at one agent, which serves 32 clients
SILENT_S = 60                           # how long one may take
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def in_namespace(name):
    """Sockets that are made here belong to this network namespace for good."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path):
        with open(path, "rb") as f:
            if libc.setns(f.fileno(), CLONE_NEWNET) != 0:
                raise LabError(f"{path}: {os.strerror(ctypes.get_errno())}")

    with open("/proc/thread-self/ns/net", "rb") as before:
        enter(f"/run/netns/{name}")
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{before.fileno()}")


class Client:
    """A TCP session from the client's host to the server of a group."""

    def __init__(self, lab, group):
        with in_namespace(lab.net.ns("client")):
            self.socket = socket.socket()
        self.socket.settimeout(5)
        began = time.perf_counter()
        self.socket.connect((group.v4, PORT))
        self.connect_ms = (time.perf_counter() - began) * 1000
        self.port = self.socket.getsockname()[1]
        self.text = f"{group.id} tcp {topo.CLIENT_V4}:{self.port} {group.v4}:{PORT}"
        self.member = None

    def exchange_ms(self):
        began = time.perf_counter()
        self.socket.send(b"x")
        self.member = self.socket.recv(100).decode()
        return (time.perf_counter() - began) * 1000

    def close(self):
        self.socket.close()


class Ends:
    """Programs of lab_ends.py, which end with this."""

    def __init__(self, lab):
        self.lab, self.started = lab, []

    def start(self, host, *words):
        program = os.path.join(ROOT, "bench", "lab_ends.py")
        process = self.lab.popen(host, sys.executable, program, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        self.started.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
            process.communicate()


def finish(process):
    """Ends a program of lab_ends.py by the end of its input; the number that it says then."""
    return int(process.communicate(timeout=30)[0])


def row(what, samples, less=0.0):
    cut = statistics.quantiles(samples, n=100, method="inclusive")
    return {"what": what, "samples": len(samples), "p50_ms": round(cut[49] - less, 2),
            "p99_ms": round(cut[98] - less, 2)}


def measure_insert(lab, count):
    """Both kinds in turns, to the same member, so that what else the machine does hits both alike."""
    plain, inserted = [], []
    for _ in range(count):
        for group, samples in ((topo.GROUPS["plain"], plain), (topo.GROUPS["solo"], inserted)):
            client = Client(lab, group)
            samples.append(client.connect_ms)
            client.close()
    network = statistics.median(plain)
    return [row("SYN to SYN/ACK, stateless", plain), row("SYN to SYN/ACK, with the insert", inserted),
            row("insert", inserted, network)]


def is_replica(lab, proxy, client):
    placed = next(lab.admin(proxy, {"command": "directory.placement", "id": client.text}))
    return topo.number(proxy) in placed["replicas"]


def measure_query(lab, count, where, replica):
    """Of sessions of which the proxy to which the catchment moves is a replica, or is not."""
    with contextlib.ExitStack() as stack:
        clients = []
        while len(clients) < count + 1:
            client = stack.enter_context(contextlib.closing(Client(lab, GROUP)))
            if is_replica(lab, FLOODED, client) == replica:
                clients.append(client)
        for client in clients:
            client.exchange_ms()
        lab.net.flip(FLOODED)
        clients.pop().exchange_ms()     # pays for what the network has to learn after the move
        pairs = [(client.exchange_ms(), client.exchange_ms()) for client in clients]
        lab.net.flip(USED)
    cold, warm = zip(*pairs)
    network = statistics.median(warm)
    return [row(f"first request at a proxy, {where}", cold), row("the request after it", warm),
            row(f"query, {where}", cold, network)]


def revoke_all(lab, clients, before_each):
    """Revokes these sessions one after the other, each just after it was in use; their events, {event: ms} for each."""
    running = []
    under_way = {member: [] for member in topo.MEMBERS}
    try:
        for number, client in enumerate(clients):
            before_each(number)
            client.exchange_ms()        # tells its member
            at_member = under_way[client.member]
            while len(at_member) >= AT_ONCE:
                time.sleep(PACE_S)
                at_member[:] = [process for process in at_member if process.poll() is None]
            client.exchange_ms()
            running.append(subprocess.Popen([lab.program("ctl/statecast"), "revoke", client.text, "--socket",
                                             lab.socket(client.member), "--json"], stdout=subprocess.PIPE, text=True))
            at_member.append(running[-1])
            time.sleep(PACE_S)
        told = [process.communicate(timeout=SILENT_S)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    events = [[json.loads(line) for line in text.splitlines()] for text in told]
    return [{line["event"]: line["ms"] for line in lines if "event" in line} for lines in events]


def measure_revoke(lab, count, how, kill=None):
    """With `kill`, that proxy is killed after a tenth as many revocations more, which do not count."""
    first = count // 10 if kill else 0

    def before_each(number):
        if kill and number == first:
            lab.stop(kill, signal.SIGKILL)

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(Client(lab, GROUP))) for _ in range(first + count)]
        told = revoke_all(lab, clients, before_each)
    for event in ("stored", "silent"):
        samples = [events[event] for events in told[first:] if event in events]
        if len(samples) < count:
            raise LabError(f"{how}: {len(samples)} of {count} revocations were {event}")
        yield row(f"revoke to {event}, {how}", samples)


def counted(lab, proxy, name):
    page = lab.net.do(proxy, "curl", "-s", f"http://127.0.0.1:910{topo.number(proxy)}/metrics")
    return sum(int(value) for value in re.findall(rf"^statecast_{name}(?:{{.*}})? (\d+)$", page, re.MULTILINE))


def flooded(lab, ends, rate, count):
    """Revocations while a proxy gets packets of random sessions; what the flood was."""
    _, via, _, _ = topo.wan(FLOODED)
    router = lab.net.ns("router")
    run("ip", "-n", router, "route", "add", topo.CATCHMENT_V4, "via", via, "dev", FLOODED, "table", 10)
    run("ip", "-n", router, "rule", "add", "from", lab_ends.FLOOD_SOURCES, "table", 10)
    names = {"asked": "resolve_asked_questions_questions", "dropped_as_absent": "resolve_drop_absent_packets",
             "dropped_for_room": "resolve_drop_miss_full_packets"}
    flood = ends.start("client", "flood", GROUP.v4, PORT, rate)
    time.sleep(1)
    began, before = time.monotonic(), {name: counted(lab, FLOODED, counter) for name, counter in names.items()}
    rows = list(measure_revoke(lab, count, f"{FLOODED} flooded"))
    seconds = time.monotonic() - began
    per_second = {f"{name}_per_second": round((counted(lab, FLOODED, counter) - before[name]) / seconds)
                  for name, counter in names.items()}
    return rows, {"packets_per_second": finish(flood), **per_second}


@contextlib.contextmanager
def populated(args, say, replicas):
    """A lab with servers and sessions in use: (lab, its Ends, the program that holds them, how many there are)."""
    lab = Lab(args.name, args.programs, replicas=replicas)
    lab.down()
    try:
        say(f"bringing a lab up; replicas of each session: {replicas}")
        lab.up()
        with Ends(lab) as ends:
            for member in topo.MEMBERS:
                if ends.start(member, "echo", member, PORT).stdout.readline() != "listening\n":
                    raise LabError(f"the server on {member} does not listen")
            say(f"opening {args.sessions} sessions")
            load = ends.start("client", "hold", GROUP.v4, PORT, args.sessions, REQUESTS_PER_SECOND)
            opened = int(load.stdout.readline())
            say(f"{opened} of {args.sessions} are there, {REQUESTS_PER_SECOND} requests a second over all")
            yield lab, ends, load, opened
    finally:
        lab.down()


def measure(args, say):
    out = {"proxies": len(topo.PROXIES), "load_average_before": round(os.getloadavg()[0], 1), "rows": []}

    def add(rows):
        for one in rows:
            out["rows"].append(one)
            say(f"{one['what']}: p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms of {one['samples']}")

    with populated(args, say, replicas=1) as (lab, _, _, _):
        elsewhere = measure_query(lab, args.samples, "answered by another proxy", replica=False)
    with populated(args, say, replicas=3) as (lab, ends, load, out["sessions_opened"]):
        holders_known = time.monotonic() + HOLDERS_S
        add(measure_insert(lab, args.samples))
        add(measure_query(lab, args.samples, "answered by its own node", replica=True))
        add(elsewhere)
        say("waiting until the proxies have been up for long enough to know all holders")
        time.sleep(max(0, holders_known - time.monotonic()))
        add(measure_revoke(lab, args.samples, "quiet"))
        say(f"{args.flood} packets a second of random sessions to {FLOODED}")
        rows, out["flood"] = flooded(lab, ends, args.flood, args.samples)
        add(rows)
        say(f"{KILLED} is killed meanwhile")
        add(measure_revoke(lab, args.samples, f"{KILLED} killed", KILLED))
        out["sessions_answering_at_the_end"] = finish(load)
        say(f"{out['sessions_answering_at_the_end']} of {out['sessions_opened']} sessions answer at the end")
    out["load_average_after"] = round(os.getloadavg()[0], 1)
    return out


def table(out):
    print("| | p50 | p99 | samples |\n|---|---|---|---|")
    for one in out["rows"]:
        print(f"| {one['what']} | {one['p50_ms']:,.2f} ms | {one['p99_ms']:,.2f} ms | {one['samples']} |")
    flood = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in out["flood"].items())
    opened, left = out["sessions_opened"], out["sessions_answering_at_the_end"]
    print(f"\n{opened} sessions in use besides; {left} answer at the end.")
    print(f"The flood: {flood}.")
    print(f"Load average before and after: {out['load_average_before']}, {out['load_average_after']}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default=None, help="build folder with the programs (build)")
    parser.add_argument("--name", default="latency", help="of the lab: prefix of its namespaces (latency)")
    parser.add_argument("--sessions", type=int, default=2000, help="that are there and in use besides (2000)")
    parser.add_argument("--samples", type=int, default=200, help="of each figure (200)")
    parser.add_argument("--flood", type=int, default=10_000, help="packets a second of random sessions (10000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    args = parser.parse_args()
    if args.samples < 2:
        parser.error("--samples: at least 2")
    say = Report(sys.stderr).say
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that the lab is removed then, too
    lab_ends.many_files()
    try:
        out = measure(args, say)
    except LabError as error:
        sys.exit(f"lab_latency: {error}")
    if args.json:
        print(json.dumps(out))
    else:
        table(out)


if __name__ == "__main__":
    main()
