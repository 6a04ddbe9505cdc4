#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The agent alone, end to end: real TCP through it, against proxy_double in a namespace of its own.

  agent-p (client programs, proxy_double) --veth-- agent-m (statecast-agent, a server on the group's address)

  e2e.py AGENT PROXY_DOUBLE [--iperf SECONDS]     root only; without root it is skipped (exit 77)
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MEMBER, PROXY = f"agent-m{os.getpid()}", f"agent-p{os.getpid()}"
SERVER, CLIENT = "203.0.113.10", "198.51.100.7"
children = []


def sh(*words, **kw):
    return subprocess.run(words, check=True, **kw)


def spawn(ns, *words):
    child = subprocess.Popen(("ip", "netns", "exec", ns) + words)
    children.append(child)
    return child


def stop(child):
    child.send_signal(signal.SIGTERM)
    child.wait(5)
    children.remove(child)


def network():
    sh("ip", "netns", "add", MEMBER)
    sh("ip", "netns", "add", PROXY)
    sh("ip", "-n", MEMBER, "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", PROXY)
    for ns, address in ((MEMBER, "10.99.0.2/24"), (PROXY, "10.99.0.1/24")):
        sh("ip", "-n", ns, "addr", "add", address, "dev", "u0")
        sh("ip", "-n", ns, "link", "set", "u0", "up")
        sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh("ip", "netns", "exec", ns, "ethtool", "-K", "u0", "gro", "on", stdout=subprocess.DEVNULL)


def admin(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(json.dumps(request).encode() + b"\n")
        lines = []
        for line in s.makefile("rb"):
            lines.append(json.loads(line))
            if lines[-1].get("last"):
                return lines
    return lines


def wait_for(what, f, patience=10):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if f():
                return
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.05)
    sys.exit(f"{what}: not within {patience} s")


# Speaks first, then counts what it gets; says so when the connection is aborted.
SERVER_CODE = """
import socket, threading
s = socket.create_server(("203.0.113.10", 443))
def serve(c):
    c.sendall(b"x" * 3_000_000)
    try:
        while c.recv(65536): pass
        print("closed", flush=True)
    except OSError as e: print("aborted", e.errno, flush=True)
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
CLIENT_CODE = """
import socket, sys, time
s = socket.create_connection(("203.0.113.10", 443), 5, ("198.51.100.7", 40000))
n = 0
while n < 3_000_000: n += len(s.recv(65536))
print("received", n, flush=True)
sys.stdin.readline()
s.settimeout(1)
try:
    s.sendall(b"y" * 1000)
    print("reply", s.recv(1), flush=True)
except TimeoutError: print("silence", flush=True)
"""


def test(agent, double, tmp, iperf_s):
    key = os.path.join(tmp, "key")
    with open(key, "w", encoding="ascii") as f:
        f.write("statecast-node-key m7 " + "5a" * 32 + "\n")
    os.chmod(key, 0o600)
    config, admin_path = os.path.join(tmp, "agent.yaml"), os.path.join(tmp, "agent.sock")
    with open(config, "w", encoding="ascii") as f:
        f.write(f"id: 7\nnode_key: {key}\ncontrol_socket: {admin_path}\nstate_dir: {tmp}/state\ndevice: agent-g0\n"
                "proxies:\n  - {id: 1, address: 10.99.0.1:6081}\n"
                f"groups:\n  - {{id: 10, name: web, addresses: [{SERVER}]}}\n")
    spawn(PROXY, double, key, "10.99.0.1:6081", "agent-c0", CLIENT, "10")
    running = spawn(MEMBER, agent, "--config", config)
    wait_for("hello", lambda: admin(admin_path, {"command": "status"})[0]["proxies"][0]["heard"])

    if iperf_s:
        spawn(MEMBER, "iperf3", "-s", "-B", SERVER)
        time.sleep(0.5)
        for how in ([], ["-R"]):
            before = cpu(running.pid)
            out = subprocess.run(["ip", "netns", "exec", PROXY, "iperf3", "-c", SERVER, "-B", CLIENT, "-J", "-t",
                                  str(iperf_s)] + how, capture_output=True, text=True, check=True)
            rate = json.loads(out.stdout)["end"]["sum_received"]["bits_per_second"]
            used = (cpu(running.pid) - before) / iperf_s
            print(f"{'download' if how else 'upload'}: {rate / 1e6:.0f} Mb/s, agent {used * 100:.0f} % of a core, "
                  f"{rate / 1e6 / max(used, 0.001):.0f} Mb/s per core")
        return

    server = subprocess.Popen(["ip", "netns", "exec", MEMBER, sys.executable, "-c", SERVER_CODE],
                              stdout=subprocess.PIPE, text=True)
    children.append(server)
    time.sleep(0.5)
    client = subprocess.Popen(["ip", "netns", "exec", PROXY, sys.executable, "-c", CLIENT_CODE],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    children.append(client)
    assert client.stdout.readline() == "received 3000000\n"
    listed = admin(admin_path, {"command": "sessions.list"})[0]
    session = listed["sessions"][0]
    assert listed["total"] == 1 and session["state"] == "established" and session["acknowledged"], listed

    # An agent's restart: the session lives on, as the kernel's socket does.
    stop(running)
    running = spawn(MEMBER, agent, "--config", config)
    wait_for("hello after restart", lambda: admin(admin_path, {"command": "status"})[0]["proxies"][0]["heard"])
    found = admin(admin_path, {"command": "sessions.get", "id": session["id"]})[0]
    assert found["owned"] and found["version"]["incarnation"] == 2, found

    events = admin(admin_path, {"command": "revoke", "id": session["id"], "duration_ms": 60000})
    assert [e["event"] for e in events] == ["enforced", "stored", "silent"], events
    assert server.stdout.readline() == "aborted 103\n"
    client.stdin.write("go\n")
    client.stdin.flush()
    assert client.stdout.readline() == "silence\n", "nothing of a revoked session passes, not even a reset"

    # Its revocation outlives the agent.
    stop(running)
    running = spawn(MEMBER, agent, "--config", config)
    wait_for("hello", lambda: admin(admin_path, {"command": "status"})[0]["revocations"] == 1)
    rules = sh("ip", "-n", MEMBER, "rule", capture_output=True, text=True).stdout
    assert rules.count(SERVER) == 1, rules
    # The device is deleted: the agent ends and says why.
    sh("ip", "-n", MEMBER, "link", "del", "agent-g0")
    assert running.wait(5) == 1, "an agent without its device ends"
    print("3 MB through the tunnel, restart, revocation: as they should be;", events)


def cpu(pid):
    """CPU seconds of the program (`ip netns exec` becomes it)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    if os.geteuid() != 0 or not shutil.which("ip"):
        print("skipped: needs root, for network namespaces")
        sys.exit(77)
    iperf_s = int(sys.argv[4]) if len(sys.argv) > 4 and sys.argv[3] == "--iperf" else 0
    with tempfile.TemporaryDirectory() as tmp:
        try:
            network()
            test(sys.argv[1], sys.argv[2], tmp, iperf_s)
        finally:
            for child in list(children):
                child.kill()
                child.wait()
            for ns in (MEMBER, PROXY):
                subprocess.run(["ip", "netns", "del", ns], check=False)


if __name__ == "__main__":
    main()
