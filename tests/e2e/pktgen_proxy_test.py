#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""statecast-pktgen on both sides of a statecast-proxy on veth: clients and members are the generator's.

   generator 10.9.1.1  --wan---   proxy 10.9.1.2      groups 203.0.113.10, 2001:db8:1::10, UDP and TCP
             fd00:9::1                  fd00:9::2
   members   10.9.2.7  --under-- proxy 10.9.2.1
             10.9.2.8

Needs root and network namespaces; exits 77 (skipped) without.   pktgen_proxy_test.py BUILD
"""
import json
import os
import subprocess
import sys
import tempfile
import time

PROXY, CLIENTS = f"pktgen-{os.getpid()}-proxy", f"pktgen-{os.getpid()}"
CORES = [0, os.cpu_count() - 1]  # the generator's and the proxy's; the same one where there is one only
GROUP4, GROUP6 = "203.0.113.10", "2001:db8:1::10"
BUILD = sys.argv[1]


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def network_up():
    for name in (PROXY, CLIENTS):
        run("ip", "netns", "add", name)
    for link in ("wan", "under"):
        run("ip", "link", "add", link, "netns", PROXY, "type", "veth", "peer", "name", link, "netns", CLIENTS)
        for name in (PROXY, CLIENTS):
            # Nothing there is the kernel's.
            run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=1")
            run("ip", "netns", "exec", name, "ethtool", "-K", link, "tx", "off")
            run("ip", "-n", name, "link", "set", link, "up")


def network_down():
    for name in (PROXY, CLIENTS):
        run("ip", "netns", "del", name, check=False)


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return path


def proxy_config(folder):
    return write(os.path.join(folder, "proxy.yaml"), f"""id: 1
fleet_secret: {folder}/fleet.secret
control_socket: {folder}/proxy.sock
dpdk: {{huge_pages: false, memory_mb: 128, cores: [{CORES[1]}], file_prefix: {PROXY}, idle_sleep: 100us}}
cache: {{sessions: 65536}}
ports:
  - {{name: wan, device: "net_af_packet0,iface=wan", role: anycast, addresses: ["10.9.1.2/24", "fd00:9::2/64"],
     gateways: ["10.9.1.1", "fd00:9::1"]}}
  - {{name: under, device: "net_af_packet1,iface=under", role: underlay, addresses: ["10.9.2.1/24"]}}
proxies: [{{id: 1, address: "10.9.2.1:6081"}}]
members: [7, 8]
groups:
  - id: 10
    name: web
    addresses: ["{GROUP4}", "{GROUP6}"]
    members: [7, 8]
    unknown: admit
    rules:
      - {{protocol: tcp, ports: 443, class: stateful}}
      - {{protocol: udp, ports: [4000, 5000], class: stateful}}
""")


def profile(folder, name, streams, gateway="10.9.1.2", cores=(CORES[0],)):
    own = "10.9.1.1" if gateway == "10.9.1.2" else "fd00:9::1"
    return write(os.path.join(folder, name + ".yaml"), f"""duration: 2s
warm_up: 300ms
drain: 500ms
setup_per_second: 5000
dpdk: {{cores: {list(cores)}, file_prefix: {CLIENTS}, idle_sleep: 20us}}
ports:
  - {{name: wan, device: "net_af_packet0,iface=wan", addresses: ["{own}"], gateway: "{gateway}"}}
  - {{name: under, device: "net_af_packet1,iface=under", gateway: 10.9.2.1}}
streams:
{streams}
member_side:
  port: under
  group: 10
  members:
    - {{node_key: m7.key, address: 10.9.2.7}}
    - {{node_key: m8.key, address: 10.9.2.8}}
  proxies: [{{id: 1, address: "10.9.2.1:6081"}}]
""")


def generate(path):
    done = subprocess.run(["ip", "netns", "exec", CLIENTS, os.path.join(BUILD, "tools", "pktgen", "statecast-pktgen"),
                           path, "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{path}: {done.stdout}\n{done.stderr}"
    (trial,) = json.loads(done.stdout)["trials"]
    print(os.path.basename(path), {f"{f['stream']} {f['flow']}": (f["sent"], f["received"]) for f in trial["flows"]},
          {k: v for k, v in trial["counters"].items() if v})
    return trial, {(f["stream"], f["flow"]): f for f in trial["flows"]}


def clean(trial, flows, loss=0.01):
    """Nothing where it does not belong; loss as little as a test on a busy machine can promise."""
    for key in ("wrong_member", "duplicate"):
        assert trial[key] == trial["answers"][key] == 0, f"{key}: {trial[key]} and {trial['answers'][key]} of answers"
    for key in ("bad_tag", "replayed", "bad_envelope", "answers_failed"):
        assert trial["counters"][key] == 0, f"{key}: {trial['counters'][key]}"
    for name, flow in flows.items():
        if flow["attack"]:
            continue
        assert flow["sent"] > 500, f"{name}: {flow['sent']} sent"
        assert flow["received"] >= (1 - loss) * flow["sent"], f"{name}: {flow['received']} of {flow['sent']}"


def tests(folder):
    trial, flows = generate(profile(folder, "syn", f"""
  - {{name: web, protocol: tcp, setup: syn, sessions: 1000, destinations: ["{GROUP4}:443"], rate: 2kpps}}""",
        cores=sorted(set(CORES))))
    clean(trial, flows)
    assert flows["web", "answer"]["sent"] == flows["web", "forward"]["received"], "each packet is answered"
    print("sessions by SYN, both directions; with two cores, the members on one of their own")

    trial, flows = generate(profile(folder, "insert", f"""
  - {{name: game, setup: insert, sessions: 1000, popularity: zipf, clients: 10.66.0.0/16, destinations: ["{GROUP4}:4000"],
     sizes: [7x64, 4x594, 1x1300], rate: 2kpps}}"""))
    clean(trial, flows)
    print("sessions inserted, sizes mixed")

    trial, flows = generate(profile(folder, "v6", f"""
  - {{name: web6, protocol: tcp, setup: syn, sessions: 200, destinations: ["[{GROUP6}]:443"], rate: 1kpps}}
  - {{name: game6, setup: insert, sessions: 200, clients: "2001:db8:d::/48", destinations: ["[{GROUP6}]:4000"],
     rate: 1kpps}}""", gateway="fd00:9::2"))
    clean(trial, flows)
    print("IPv6")

    trial, flows = generate(profile(folder, "admit", f"""
  - {{name: new, sessions: 200, clients: 10.67.0.0/16, destinations: ["{GROUP4}:5000"], rate: 1kpps}}"""))
    clean(trial, flows)
    print("UDP sessions that the proxy admits")

    trial, flows = generate(profile(folder, "attacks", f"""
  - {{name: web, protocol: tcp, setup: syn, sessions: 500, clients: 10.68.0.0/16, destinations: ["{GROUP4}:443"],
     rate: 1kpps}}
  - {{name: flood, kind: syn_flood, clients: 10.99.0.0/16, destinations: ["{GROUP4}:443"], rate: 500pps}}
  - {{name: strange, kind: random_sessions, protocol: tcp, clients: 10.98.0.0/16, destinations: ["{GROUP4}:443"],
     rate: 500pps}}
  - {{name: broken, kind: malformed, clients: 10.97.0.0/16, destinations: ["{GROUP4}:443"], rate: 500pps}}
  - {{name: forged, kind: forged_envelopes, port: under, clients: 10.9.2.8/30, destinations: ["10.9.2.1:6081"],
     rate: 500pps}}"""))
    clean(trial, flows, loss=0.02)
    assert trial["counters"]["member_syn"] > 500, "a flood's SYNs reach the members: they look like any other"
    print("attacks beside good traffic")
    counters = status(folder)["counters"]
    bad = sum(v for k, v in counters.items() if k.startswith("parse.drop"))
    assert bad >= 0.9 * flows["broken", "forward"]["sent"], counters

    asked_before = counters["querier.sent.queries"]
    trial, flows = generate(profile(folder, "flood", f"""
  - {{name: web, protocol: tcp, setup: syn, sessions: 500, clients: 10.69.0.0/16, destinations: ["{GROUP4}:443"],
     rate: 1kpps}}
  - {{name: strange, kind: random_sessions, protocol: tcp, clients: 10.0.0.0/8, destinations: ["{GROUP4}:443"],
     rate: 20kpps}}"""))
    clean(trial, flows, loss=0.02)
    counters = status(folder)["counters"]
    sent, absent = flows["strange", "forward"]["sent"], counters["resolve.drop.absent.packets"]
    asked = counters["querier.sent.queries"] - asked_before
    print(f"a flood of {sent} random sessions: {absent} known to be absent, {asked} questions")
    assert sent > 20_000, "no flood"
    assert absent > sent / 2 and asked < sent / 2, counters


def status(folder):
    done = run(os.path.join(BUILD, "tools", "ctl", "statecast"), "status", "--json", "--socket",
               os.path.join(folder, "proxy.sock"))
    return json.loads(done.stdout)


def wait_until_ready(folder, patience_s=20):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if status(folder)["in_sync"]:
                return
        except (subprocess.CalledProcessError, ValueError):
            pass
        time.sleep(0.1)
    raise AssertionError("the proxy does not answer its socket")


def main():
    if os.geteuid() != 0:
        print("needs root")
        return 77
    statecast = os.path.join(BUILD, "tools", "ctl", "statecast")
    with tempfile.TemporaryDirectory(prefix="statecast-pktgen-proxy-") as folder:
        secret = os.path.join(folder, "fleet.secret")
        run(statecast, "keys", "fleet", "--out", secret)
        for member in ("7", "8"):
            run(statecast, "keys", "member", "--fleet", secret, "--member", member, "--out",
                os.path.join(folder, f"m{member}.key"))
        log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        proxy = None
        try:
            network_up()
            program = os.path.join(BUILD, "tools", "proxy", "statecast-proxy")
            proxy = subprocess.Popen(["ip", "netns", "exec", PROXY, program, "--config", proxy_config(folder)],
                                     stdout=log, stderr=log)
            wait_until_ready(folder)
            tests(folder)
            return 0
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            if proxy and proxy.poll() is None:
                proxy.terminate()
                proxy.wait(10)
            network_down()


if __name__ == "__main__":
    sys.exit(main())
