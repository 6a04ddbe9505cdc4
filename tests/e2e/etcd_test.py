#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The view from a real etcd, on a lab of its own: leaving and joining, death, flapping, and etcd away, under transfers.

  tests/e2e/etcd_test.py --programs build       (as root; makes a lab of its own and removes it)
"""
import signal
import sys
import time
import unittest

import lab_case
from statecast_lab import topology as topo
from statecast_lab.transfers import Download, Upload, Watch, connect_once, wait

LAB = None


def use(lab):
    global LAB
    LAB = lab


def ctl(program, *words):
    return lab_case.ctl_json(LAB, program, *words, patience_s=120)


def view(program):
    return ctl(program, "directory", "view")[-1]


def nodes(program):
    return {f"p{n['id']}" for n in view(program)["nodes"]}


def until(what, patience_s, says):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {patience_s} s: {says()}")


def settled(members, patience_s=30):
    """All of these are in one view of just them, and in sync."""
    def there():
        try:
            views = [view(p) for p in members]
        except AssertionError:  # one that has only just started does not answer yet
            return False
        return all(nodes(p) == set(members) for p in members) and len({v["revision"] for v in views}) == 1 and \
            all(LAB.status(p)["in_sync"] for p in members)
    until(there, patience_s, lambda: [LAB.not_ready(), *(nodes(p) for p in members if p in LAB.running())])


class Transfers:
    """Downloads and uploads that have to come through whatever is done meanwhile."""
    def __init__(self, test, seconds):
        self.test = test
        self.fleet = [Download(LAB, "web", seconds, patience_s=40), Upload(LAB, "web", seconds, patience_s=40),
                      Download(LAB, "strict", seconds, patience_s=40)]
        self.watch = Watch(LAB, self.fleet)

    def __enter__(self):
        self.watch.__enter__()
        for transfer in self.fleet:
            transfer.start()
        return self

    def __exit__(self, kind, *_):
        done = wait(self.fleet, 60)
        self.watch.__exit__()
        if kind is None:
            self.test.assertTrue(done and all(t.finished for t in self.fleet), [t.figures() for t in self.fleet])


class EtcdTest(unittest.TestCase):
    def setUp(self):
        LAB.net.flip("p1")
        for program in ("etcd", *topo.PROXIES):
            if program not in LAB.running():
                LAB.start(program)
        settled(topo.PROXIES)
        LAB.wait_ready()

    def connects(self):
        self.assertEqual([connect_once(LAB, "web").wait() for _ in range(3)], [0] * 3)

    def test_all_are_registered_and_in_the_view(self):
        told = view("p2")
        self.assertEqual(told["membership"]["source"], "etcd")
        self.assertTrue(told["membership"]["reachable"])
        self.assertIsNone(told["membership"]["trouble"])
        self.assertEqual({p["id"] for p in told["membership"]["proxies"]}, {1, 2, 3})
        page = LAB.net.do("p1", "curl", "-s", "http://127.0.0.1:9101/metrics")
        self.assertIn("statecast_membership_reachable 1", page)
        self.assertIn(f"statecast_directory_view_revision {told['revision']}", page)

    def test_one_leaves_is_stopped_and_comes_back(self):
        with Transfers(self, 16):
            time.sleep(1)
            events = ctl("p3", "directory", "leave")
            self.assertEqual(events[-1]["event"], "done")
            self.assertEqual(nodes("p1"), {"p1", "p2"})
            LAB.stop("p3")
            self.connects()
            LAB.net.flip("p2")
            LAB.start("p3")
            settled(topo.PROXIES)
            LAB.net.flip("p3")
            self.connects()

    def test_one_leaves_and_joins_again(self):
        ctl("p2", "directory", "leave")
        self.assertEqual(nodes("p2"), {"p1", "p3"})
        LAB.net.flip("p2")
        self.connects()  # in no view it still forwards
        self.assertEqual(ctl("p2", "directory", "join")[-1]["event"], "done")
        settled(topo.PROXIES)

    # Who has taken slots over has no share of new buckets for a while; the others have.
    def test_a_byte_budget_flows_at_once_after_a_change(self):
        ctl("p1", "directory", "leave")
        ctl("p1", "directory", "join")
        settled(topo.PROXIES)
        upload = Upload(LAB, "budget", 0.8, patience_s=10)  # 2 MB of 4 MiB
        with Watch(LAB, [upload]):
            upload.start()
            wait([upload], 12)
        self.assertTrue(upload.finished, upload.figures())
        self.assertLess(upload.ended - upload.started, 4, upload.figures())

    def test_one_dies(self):
        with Transfers(self, 16):
            time.sleep(1)
            LAB.net.flip("p2")
            LAB.stop("p3", signal.SIGKILL)
            self.connects()
            time.sleep(2)
            self.assertEqual(nodes("p1"), {"p1", "p2", "p3"}, "held for a while")
            until(lambda: nodes("p1") == {"p1", "p2"}, 10, lambda: view("p1"))
        LAB.start("p3")
        settled(topo.PROXIES)

    def test_two_die_at_once(self):
        LAB.stop("p2", signal.SIGKILL)
        LAB.stop("p3", signal.SIGKILL)
        until(lambda: "2, 3 are not registered" in (view("p1")["membership"]["waits"] or ""), 15, lambda: view("p1"))
        self.assertEqual(nodes("p1"), set(topo.PROXIES), "they may be cut off together")
        self.connects()
        ctl("p1", "directory", "forget", "3")
        until(lambda: nodes("p1") == {"p1"}, 10, lambda: view("p1"))
        until(lambda: LAB.status("p1")["in_sync"], 30, lambda: LAB.status("p1")["peers"])  # 15 s for who is not heard
        self.assertEqual(connect_once(LAB, "strict").wait(), 0, "the last one of the view needs no other")
        LAB.start("p2")
        LAB.start("p3")
        settled(topo.PROXIES)

    def test_one_flaps(self):
        revision = view("p1")["revision"]
        for _ in range(3):
            LAB.stop("p3", signal.SIGKILL)
            LAB.start("p3")
            until(lambda: LAB.not_ready() is None, 20, LAB.not_ready)
        self.assertEqual(view("p1")["revision"], revision)

    def test_etcd_is_away(self):
        revision = view("p1")["revision"]
        with Transfers(self, 16):
            LAB.stop("etcd", signal.SIGKILL)
            until(lambda: not view("p1")["membership"]["reachable"], 10, lambda: view("p1"))
            self.assertIn("10.8.0.100", view("p1")["membership"]["trouble"])
            for proxy in ("p2", "p3", "p1"):
                LAB.net.flip(proxy)
                self.connects()
            time.sleep(3)
            LAB.start("etcd")
            until(lambda: all(len(view(p)["membership"]["proxies"]) == 3 and view(p)["membership"]["reachable"]
                              for p in topo.PROXIES), 20, lambda: view("p1"))
            time.sleep(6)
        self.assertEqual([view(p)["revision"] for p in topo.PROXIES], [revision] * 3)


if __name__ == "__main__":
    sys.exit(lab_case.main(__doc__, "e2eetcd", use, etcd=True))
