#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A proxy on veth: what it answers itself, and that the host's kernel answers nothing for it.

   router 10.9.1.1, fd00:9::1 --wan-- proxy 10.9.1.2, fd00:9::2      groups 203.0.113.10, 2001:db8:1::10
          10.9.2.254          --under-- 10.9.2.1                      (member 7 never comes)

Needs root and network namespaces; exits 77 (skipped) without.   proxy_test.py BUILD
"""
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

PROXY, ROUTER = f"proxy-{os.getpid()}", f"proxy-{os.getpid()}-router"
CORES = [0, os.cpu_count() - 1][:os.cpu_count()]  # two workers where there are two cores: queues of their own, one shared
GROUP4, GROUP6 = "203.0.113.10", "2001:db8:1::10"


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def network_up():
    for name in (PROXY, ROUTER):
        run("ip", "netns", "add", name)
    for link in ("wan", "under"):
        run("ip", "link", "add", link, "netns", PROXY, "type", "veth", "peer", "name", link, "netns", ROUTER)
        # The proxy's ends have no address and no IPv6: whatever comes there is nobody's for the kernel.
        run("ip", "netns", "exec", PROXY, "sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=1")
        run("ip", "netns", "exec", ROUTER, "ethtool", "-K", link, "tx", "off")
        for name in (PROXY, ROUTER):
            run("ip", "-n", name, "link", "set", link, "up")
    run("ip", "-n", ROUTER, "addr", "add", "10.9.1.1/24", "dev", "wan")
    run("ip", "-n", ROUTER, "addr", "add", "fd00:9::1/64", "dev", "wan", "nodad")
    run("ip", "-n", ROUTER, "addr", "add", "10.9.2.254/24", "dev", "under")
    run("ip", "-n", ROUTER, "route", "add", f"{GROUP4}/32", "via", "10.9.1.2")
    run("ip", "-n", ROUTER, "route", "add", f"{GROUP6}/128", "via", "fd00:9::2")


def network_down():
    for name in (PROXY, ROUTER):
        run("ip", "netns", "del", name, check=False)


def configuration(folder):
    secret = os.path.join(folder, "fleet.key")
    with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("statecast-fleet-secret " + os.urandom(32).hex() + "\n")
    path = os.path.join(folder, "proxy.yaml")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"""id: 1
fleet_secret: {secret}
control_socket: {folder}/proxy.sock
dpdk: {{huge_pages: false, memory_mb: 128, cores: {CORES}, file_prefix: {PROXY}, idle_sleep: 200us, packet_buffers: 4096}}
cache: {{sessions: 4096, negative: 1024, miss_packets: 1024, miss_packets_per_group: 512}}
ports:
  - {{name: wan, device: "net_af_packet0,iface=wan,qpairs={len(CORES)}", role: anycast, addresses: ["10.9.1.2/24", "fd00:9::2/64"],
     gateways: ["10.9.1.1", "fd00:9::1"]}}
  - {{name: under, device: "net_af_packet1,iface=under", role: underlay, addresses: ["10.9.2.1/24"]}}
proxies: [{{id: 1, address: "10.9.2.1:6081", zone: a}}]
members: [7]
groups:
  - {{id: 10, name: web, addresses: ["{GROUP4}", "{GROUP6}"], members: [7], rules: [{{protocol: tcp, ports: 443, class: stateful}}]}}
""")
    return path


def ask(folder, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(os.path.join(folder, "proxy.sock"))
        s.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += s.recv(65536)
    return json.loads(answer.splitlines()[0])


def wait_until(what, condition, patience_s=20):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {patience_s} s: {what}")


def enter(namespace):
    with open(f"/run/netns/{namespace}", encoding="ascii") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def frames_from_proxy(seconds):
    """What comes in on the router's wan end in that time, after the probes were sent."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.bind(("wan", 0))
    for family, address in ((socket.AF_INET, GROUP4), (socket.AF_INET6, GROUP6)):
        for port in (443, 22):  # one that the group serves (no member: dropped), one that no rule takes
            s = socket.socket(family, socket.SOCK_STREAM)
            s.setblocking(False)
            s.connect_ex((address, port))
            u = socket.socket(family, socket.SOCK_DGRAM)
            u.sendto(b"x", (address, port))
    # To the proxy's own address, to a port that nobody listens at: a kernel that minded it would answer.
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setblocking(False)
    s.connect_ex(("10.9.1.2", 80))
    frames, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([tap], [], [], 0.05)[0]:
            frame, where = tap.recvfrom(2048)
            if where[2] != socket.PACKET_OUTGOING:
                frames.append(frame)
    return frames


def what_is(frame):
    ethertype = struct.unpack("!H", frame[12:14])[0]
    if ethertype == 0x0806:
        return "arp"
    if ethertype == 0x0800:
        protocol, l4 = frame[23], 14 + 4 * (frame[14] & 15)
    elif ethertype == 0x86DD:
        protocol, l4 = frame[20], 54
    else:
        return f"ethertype {ethertype:04x}"
    if protocol == 58 and frame[l4] in (135, 136):
        return "neighbour discovery"
    return f"protocol {protocol} {frame[l4:l4 + 14].hex()}"


def ping(address):
    result = run("ip", "netns", "exec", ROUTER, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)
    assert result.returncode == 0, f"no answer from {address}: {result.stdout}"


def main():
    if os.geteuid() != 0:
        print("needs root")
        return 77
    program = os.path.join(sys.argv[1], "tools", "proxy", "statecast-proxy")
    with tempfile.TemporaryDirectory(prefix="statecast-proxy-test-") as folder:
        path = configuration(folder)
        log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        proxy = None
        try:
            network_up()
            proxy = subprocess.Popen(["ip", "netns", "exec", PROXY, program, "--config", path], stdout=log, stderr=log)
            wait_until("the proxy answers its socket", lambda: ask(folder, {"command": "status"})["in_sync"])

            for address in (GROUP4, GROUP6, "10.9.1.2", "fd00:9::2"):
                ping(address)
            neighbours = run("ip", "-n", ROUTER, "neigh").stdout
            assert "10.9.1.2 dev wan lladdr" in neighbours and "fd00:9::2 dev wan lladdr" in neighbours, neighbours
            assert GROUP4 not in neighbours, "a group's address is no neighbour"
            print("answers ARP, neighbour discovery and ping")

            child = os.fork()
            if child == 0:
                enter(ROUTER)
                unasked = [w for w in map(what_is, frames_from_proxy(2.5)) if w not in ("arp", "neighbour discovery")]
                for w in unasked:
                    print("came back:", w, file=sys.stderr)
                os._exit(1 if unasked else 0)
            assert os.waitpid(child, 0)[1] == 0, "the kernel (or the proxy) answered for a group's address"
            print("no reset, unreachable or redirect")

            counters = ask(folder, {"command": "status"})["counters"]
            for name, least in (("group.client.echo.packets", 12), ("resolve.drop.no_member.packets", 2),
                                ("classify.drop.no_rule.packets", 4), ("group.kernel.not_ours.packets", 1)):
                assert counters[name] >= least, f"{name} is {counters[name]}, expected {least} or more"
            print("each packet has its counter")

            proxy.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            assert proxy.poll() is None, "SIGHUP ended it"
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait(10) == 0, f"ended with {proxy.returncode}"
            assert not os.path.exists(os.path.join(folder, "proxy.sock"))
            print("ends cleanly")
            return 0
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            if proxy and proxy.poll() is None:
                proxy.kill()
                proxy.wait()
            network_down()


if __name__ == "__main__":
    sys.exit(main())
