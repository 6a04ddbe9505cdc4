#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the demonstration does not show, on the same lab: restarts, revocation by the command line, UDP, silence.

  tests/e2e/lab_test.py --programs build        (as root; makes a lab of its own and removes it)
"""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import lab_case
from statecast_lab import topology as topo
from statecast_lab.transfers import Download, Upload, Watch, connect_once, resets_at, wait

LAB = None


def use(lab):
    global LAB
    LAB = lab

# A small TCP client of one session that can be told to send and asked what came back.
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5, (sys.argv[3], int(sys.argv[4])))
s.settimeout(3)
print("connected", flush=True)
for line in sys.stdin:
    s.sendall(b"HEAD / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    try:
        print("answered" if s.recv(4096) else "closed", flush=True)
    except TimeoutError:
        print("silent", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""

UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("203.0.113.60", 7000))
while True:
    data, who = s.recvfrom(2000)
    s.sendto(data.upper(), who)
"""

UDP_CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
s.settimeout(1)
answered = 0
for i in range(int(sys.argv[2])):
    s.sendto(b"hello %d" % i, ("203.0.113.60", 7000))
    try:
        answered += s.recv(2000) == b"HELLO %d" % i
    except TimeoutError:
        pass
print(answered)
"""


class Talk:
    """One TCP session from the client's host, kept open."""
    next_port = 61_000

    def __init__(self, group="web", address=None, port=None):
        self.group = topo.GROUPS[group]
        Talk.next_port += 1
        self.port = port or Talk.next_port
        self.process = LAB.popen("client", "python3", "-c", TALK, self.group.v4, 80, topo.CLIENT_V4, self.port,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.connected = self.process.stdout.readline().strip() == "connected"

    @property
    def text(self):
        return f"{self.group.id} tcp {topo.CLIENT_V4}:{self.port} {self.group.v4}:80"

    def say(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def ctl(program, *words):
    return lab_case.ctl(LAB, program, *words)


def ctl_json(program, *words):
    return lab_case.ctl_json(LAB, program, *words)


def owner_of(text):
    for member in topo.MEMBERS:
        if ctl_json(member, "sessions", "get", text)[-1].get("owned"):
            return member
    return None


class LabTest(unittest.TestCase):
    def setUp(self):
        LAB.net.flip("p1")

    def test_session_goes_on_at_another_proxy(self):
        with Talk() as talk:
            self.assertTrue(talk.connected)
            for proxy in ("p2", "p3", "p1"):
                self.assertEqual(talk.say(), "answered")
                LAB.net.flip(proxy)
            self.assertEqual(talk.say(), "answered")

    def test_a_packet_travels_with_the_question_and_the_session_goes_on(self):
        def counted(name):
            return sum(LAB.status(p)["counters"][name] for p in topo.PROXIES)

        for group, name in (("budget", "directory.query.forwarded.packets"),
                            ("strict", "directory.query.returned.packets")):
            before = counted(name)
            with Talk(group) as talk:
                self.assertTrue(talk.connected)
                for proxy in ("p2", "p3", "p1"):
                    self.assertEqual(talk.say(), "answered", group)
                    LAB.net.flip(proxy)
                self.assertEqual(talk.say(), "answered", group)
            self.assertGreaterEqual(counted(name) - before, 2, group)

    def test_revoked_by_its_member_it_is_silent_at_every_proxy(self):
        with Talk() as talk, Talk() as other:
            self.assertEqual(talk.say(), "answered")
            member = owner_of(talk.text)
            lines = ctl_json(member, "revoke", talk.text)
            self.assertIn("silent", [line.get("event") for line in lines])
            for proxy in topo.PROXIES:
                LAB.net.flip(proxy)
                self.assertNotEqual(talk.say(), "answered")
                self.assertEqual(other.say(), "answered")
            # A new SYN of the revoked session is not answered either; after unrevoke it is.
            with Talk(port=talk.port) as again:
                self.assertFalse(again.connected)
            ctl_json(member, "unrevoke", talk.text)

    def test_revoked_by_the_operator_at_any_proxy(self):
        with Talk() as talk:
            self.assertEqual(talk.say(), "answered")
            ctl_json("p3", "revoke", talk.text)
            self.assertNotEqual(talk.say(), "answered")
            found = ctl_json("p2", "directory", "get", talk.text)[-1]
            self.assertEqual(found["state"], "revoked")
            ctl_json("p3", "unrevoke", talk.text)

    def test_agent_restarts_under_a_transfer(self):
        transfer = Download(LAB, "solo", 8, patience_s=30)
        before = resets_at(LAB, "client")
        with Watch(LAB, [transfer]):
            transfer.start()
            time.sleep(3)
            LAB.stop("m1", signal.SIGKILL)
            LAB.start("m1")
            self.assertTrue(wait([transfer], 40))
        self.assertTrue(transfer.finished, transfer.figures())
        self.assertEqual(resets_at(LAB, "client"), before)
        LAB.wait_ready()

    def test_proxy_restarts_under_transfers(self):
        fleet = [Download(LAB, "web", 8, patience_s=30), Upload(LAB, "web", 8, patience_s=30)]
        with Watch(LAB, fleet):
            for transfer in fleet:
                transfer.start()
            time.sleep(2)
            LAB.stop("p1", signal.SIGKILL)
            LAB.start("p1")
            self.assertTrue(wait(fleet, 40))
        self.assertTrue(all(t.finished for t in fleet), [t.figures() for t in fleet])
        LAB.wait_ready()

    def test_udp_session_is_admitted_and_survives_a_move(self):
        servers = [LAB.popen(m, "python3", "-c", UDP_ECHO) for m in topo.MEMBERS]
        try:
            time.sleep(0.5)
            client = LAB.popen("client", "python3", "-c", UDP_CLIENT, 62_000, 40, stdout=subprocess.PIPE, text=True)
            time.sleep(0.05)
            LAB.net.flip("p2")
            answered = int(client.communicate(timeout=60)[0])
        finally:
            for server in servers:
                server.kill()
                server.wait()
        self.assertGreaterEqual(answered, 38)

    def test_nothing_answers_for_what_no_group_has(self):
        """Neither the proxy nor its host's kernel: no reset, no unreachable, no redirect."""
        with LAB.popen("router", "tcpdump", "-i", "p1", "-n", "-l", "--immediate-mode", "inbound and not arp and not icmp6",
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as dump:
            time.sleep(0.5)
            for address, port in (("203.0.113.99", 443), ("203.0.113.99", 22), ("203.0.113.10", 443)):
                LAB.net.do("client", "timeout", "1", "bash", "-c", f"</dev/tcp/{address}/{port}", check=False)
            time.sleep(0.3)
            dump.send_signal(signal.SIGINT)
            heard = dump.communicate()[0]
        self.assertIn(topo.GROUPS["web"].v4, heard)  # the capture hears what is there to hear
        self.assertNotIn("203.0.113.99", heard)
        self.assertNotIn("ICMP", heard)

    def test_replicas_are_compared(self):
        with Talk() as talk:
            self.assertEqual(talk.say(), "answered")
            held = [ctl_json(p, "directory", "get", talk.text)[-1] for p in topo.PROXIES]
            self.assertIn(1, [h["proxy"] for found in held for h in found["holders"]], "the proxy in use has a lease")
            told = ctl_json("p2", "directory", "view")[-1]
            self.assertEqual((told["slots"], told["slots_out_of_sync"]), (65_536, 0))
            self.assertTrue(all(peer["permit"] for peer in told["peers"]))
            report = ctl_json("p2", "directory", "verify")[-1]
            self.assertEqual((report["pairs"], report["pairs_compared"], report["differences"]), (3, 3, []))
            self.assertEqual(report["slots_compared"], 3 * 65_536)
        LAB.stop("p3")
        code, out, _ = ctl("p1", "directory", "verify")
        LAB.start("p3")
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(out)["not_compared"], {"3": "does not answer"})
        LAB.wait_ready()

    def test_metrics_have_every_counter(self):
        page = LAB.net.do("p1", "curl", "-s", "http://127.0.0.1:9101/metrics")
        with open(os.path.join(lab_case.ROOT, "dataplane", "counters.def"), encoding="utf-8") as f:
            names = [line.split('"')[1] for line in f if line.startswith("COUNTER(")]
        for name in names:
            self.assertIn("statecast_" + name.replace(".", "_"), page)
        self.assertIn("statecast_", LAB.net.do("m1", "curl", "-s", "http://127.0.0.1:9201/metrics"))

    def test_errors_say_what_to_do(self):
        code, out, _ = ctl("p1", "sessions", "get", "nonsense")
        self.assertNotEqual(code, 0)
        self.assertIn("error", json.loads(out))
        LAB.stop("m2")
        code, out, _ = ctl("m2", "status")
        LAB.start("m2")
        self.assertEqual(code, 1)
        self.assertIn(LAB.socket("m2"), json.loads(out)["error"])
        LAB.wait_ready()

    def test_new_connections_while_flipping(self):
        opened = []
        for i in range(30):
            LAB.net.flip(topo.PROXIES[i % 3])
            opened.append(connect_once(LAB, "web"))
            time.sleep(0.03)
        self.assertEqual([p.wait() for p in opened], [0] * 30)


if __name__ == "__main__":
    sys.exit(lab_case.main(__doc__, "e2elab", use))
