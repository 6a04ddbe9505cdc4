# SPDX-License-Identifier: BSD-3-Clause
"""Chaos: faults at random under real transfers, none of which may fail.

A seed draws the plan: what breaks, for how long, and what comes next. Of the proxies one at a time is away, and the next
when the fleet is whole again, because that is what W of R promises; besides, the catchment keeps moving, and the
underlay's links lose, delay, double and reorder for a while. A proxy that is away has the catchment for 200 ms more, as
long as routing takes to notice.
"""
import json
import random
import signal
import time

from . import topology as topo
from .transfers import Download, Upload, Watch, resets_at, wait

NOTICE_S = 0.2              # until the route of a proxy that is away is withdrawn
TRANSFERS = 6               # at any time
PATIENCE_S = 60             # of a transfer, beyond what it takes without faults
GROUPS = ("web", "natted", "strict")


class Fault:
    """One kind: its targets, how long it lasts (seconds), and what it does to its target and ends, of a Chaos."""

    def __init__(self, targets, least, most, begin, end):
        self.targets, self.least, self.most, self.begin, self.end = targets, least, most, begin, end


def kill(chaos, name):
    chaos.lab.stop(name, signal.SIGKILL)


def start(chaos, name):
    chaos.lab.start(name)


def stop(chaos, name):
    chaos.lab.send(name, signal.SIGSTOP)


def go_on(chaos, name):
    chaos.lab.send(name, signal.SIGCONT)


def cut(*directions):
    return lambda chaos, name: chaos.cut(name, directions)


FAULTS = {
    "proxy killed": Fault(topo.PROXIES, 1, 6, kill, start),
    "proxy stopped": Fault(topo.PROXIES, 0.3, 6, stop, go_on),
    "proxy cut off": Fault(topo.PROXIES, 0.3, 6, cut("in", "out"), cut()),
    "proxy deaf": Fault(topo.PROXIES, 0.3, 6, cut("in"), cut()),
    "proxy mute": Fault(topo.PROXIES, 0.3, 6, cut("out"), cut()),
    "agent killed": Fault(topo.MEMBERS, 0.2, 2, kill, start),
    "agent stopped": Fault(topo.MEMBERS, 0.2, 6, stop, go_on),
    "member cut off": Fault(topo.MEMBERS, 0.2, 6, cut("in", "out"), cut()),
}
KINDS = (*FAULTS, "bad links")


class Chaos:
    def __init__(self, lab, say, seed, seconds, kinds=KINDS):
        self.lab, self.say, self.seconds = lab, say, seconds
        self.random = random.Random(seed)
        self.faults = [k for k in FAULTS if k in kinds]
        self.bad_links = "bad links" in kinds
        self.bad = {}           # by port of the underlay: how it is impaired
        self.cuts = {}          # and which directions are cut
        self.away = None        # the proxy that is away, from when its route is withdrawn
        self.history = []
        self.fleet = []
        self.moves = 0

    def run(self):
        """Returns (checks, figures)."""
        lab = self.lab
        before = resets_at(lab, "client")
        lab.net.flip("p1")
        with Watch(lab, []) as watch:
            began = time.monotonic()
            due = []            # (when, what), soonest first
            self._at(due, 3, lambda: self._next_fault(due))
            self._at(due, 1, lambda: self._move(due))
            if self.bad_links:
                self._at(due, 5, lambda: self._links_bad(due))
            self.due_until = began + self.seconds
            while time.monotonic() < self.due_until or len(due) > 0:
                self._keep_transferring(watch)
                due.sort(key=lambda entry: entry[0])
                if due and due[0][0] <= time.monotonic():
                    due.pop(0)[1]()
                time.sleep(0.02)
            ended = wait(self.fleet, PATIENCE_S + 30)
        resets = resets_at(lab, "client") - before
        links = lab.end_links()
        failed = [t for t in self.fleet if not t.finished]
        for t in failed:
            self.say(f"FAILED: {json.dumps(t.figures())}")
        self.say(f"{len(self.fleet)} transfers, {len(failed)} failed, {resets} resets; {len(self.history)} faults, {self.moves} moves")
        stalls = sorted(t.longest_stall_ms for t in self.fleet)
        checks = [("every transfer ended", ended), ("no transfer failed", not failed), ("no reset reached the client", resets == 0),
                  ("there were faults, moves and transfers", bool(self.history) and self.moves > 0 and bool(self.fleet))]
        if self.bad_links:
            checks.append(("links lost and doubled frames", all(sum(link[what] for link in links) > 0 for what in ("lost", "duplicated"))))
        return checks, {"seconds": self.seconds, "transfers": len(self.fleet), "failed": [t.figures() for t in failed],
                        "resets": resets, "moves": self.moves, "faults": self.history,
                        "longest_stall_ms": stalls[-1] if stalls else None,
                        "median_stall_ms": stalls[len(stalls) // 2] if stalls else None,
                        "links": links, "retransmissions": sum(t.retransmissions for t in self.fleet)}

    @staticmethod
    def _at(due, after_s, what):
        due.append((time.monotonic() + after_s, what))

    def _over(self):
        return time.monotonic() >= self.due_until

    # --- transfers ---

    def _keep_transferring(self, watch):
        while not self._over() and sum(t.ended is None for t in self.fleet) < TRANSFERS:
            kind = Download if len(self.fleet) % 2 else Upload
            group = GROUPS[len(self.fleet) % len(GROUPS)]
            transfer = kind(self.lab, group, self.random.uniform(8, 20), patience_s=PATIENCE_S)
            self.fleet.append(transfer)
            watch.by_port[transfer.port] = transfer
            transfer.start()

    # --- the catchment ---

    def _move(self, due):
        if self._over():
            return
        self._move_to(self.random.choice([p for p in topo.PROXIES if p not in (self.away, self.lab.net.catchment())]))
        self._at(due, self.random.uniform(0.5, 3), lambda: self._move(due))

    def _move_to(self, proxy):
        self.lab.net.flip(proxy)
        self.moves += 1

    def _withdraw(self, proxy):
        self.away = proxy
        if self.lab.net.catchment() == proxy:
            self._move_to(self.random.choice([p for p in topo.PROXIES if p != proxy]))

    # --- faults, one at a time ---

    def _next_fault(self, due):
        if self._over() or not self.faults:
            return
        name = self.random.choice(self.faults)
        fault = FAULTS[name]
        target = self.random.choice(fault.targets)
        lasts = self.random.uniform(fault.least, fault.most)
        self.say(f"{name}: {target}, {lasts:.1f} s")
        self.history.append({"fault": name, "target": target, "seconds": round(lasts, 2)})
        fault.begin(self, target)
        if target in topo.PROXIES and lasts > NOTICE_S:
            self._at(due, NOTICE_S, lambda: self._withdraw(target))
        self._at(due, lasts, lambda: self._end(due, fault, target))

    def _end(self, due, fault, target):
        fault.end(self, target)
        self._at(due, 0.3, lambda: self._until_whole(due, time.monotonic() + 30))

    def _until_whole(self, due, deadline):
        """The next fault comes when everybody hears everybody again."""
        why = self.lab.not_ready()
        if why and time.monotonic() < deadline:
            return self._at(due, 0.3, lambda: self._until_whole(due, deadline))
        if why:
            self.say(f"not whole after 30 s: {why}")
            self.history.append({"fault": "not whole after 30 s", "target": why})
        self.away = None
        self._at(due, self.random.uniform(0.5, 3), lambda: self._next_fault(due))

    # --- links ---

    def cut(self, host, directions):
        port = "nat" if host == "m3" else host
        self.cuts[port] = directions
        self._impair(port)

    def _impair(self, port):
        for direction in ("in", "out"):
            self.lab.impair(port, direction, cut=direction in self.cuts.get(port, ()), **self.bad.get(port, {}))

    def _links_bad(self, due):
        if self._over():
            return
        how = {"loss": round(self.random.uniform(0, 0.02), 3), "duplicate": round(self.random.uniform(0, 0.02), 3),
               "delay_ms": round(self.random.uniform(0, 5), 1), "jitter_ms": round(self.random.uniform(0, 5), 1)}
        host = self.random.choice(topo.UNDERLAY_PORTS)
        lasts = self.random.uniform(2, 8)
        self.history.append({"fault": "bad link", "target": host, "seconds": round(lasts, 2), **how})
        self.bad[host] = how
        self._impair(host)
        self._at(due, lasts, lambda: self._links_good(due, host))

    def _links_good(self, due, host):
        del self.bad[host]
        self._impair(host)
        self._at(due, self.random.uniform(1, 5), lambda: self._links_bad(due))
