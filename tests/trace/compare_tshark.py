#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares `statecast trace` with tshark over every capture: addresses, ports and validity of TCP and UDP over IPv4 and
IPv6. Each difference has to stand in tshark_differences.tsv with its reason; one that does not, or a line there that
no packet needs any more, fails.

    compare_tshark.py TRACE_TOOL MERGE_CAPTURES [--list]      --list prints the differences instead of judging them

Captures: $STATECAST_CAPTURES, else ../shared/captures beside the source tree. Skipped (77) without them or tshark.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "tshark_differences.tsv")
CONFIG = os.path.join(HERE, "golden", "proxy.yaml")

# Our reasons that say "this is no well-formed TCP or UDP packet". The other drops (bad_address, bad_port, bad_l4_flags)
# are a proxy's policy, on which tshark has no opinion.
INVALID = {"truncated_l2", "truncated_l3", "bad_ip_version", "bad_ip_header_length", "bad_ip_checksum", "bad_ip_length",
           "bad_extension_header", "bad_fragment", "truncated_l4", "bad_l4_length", "no_memory"}
POLICY_WITHOUT_FIELDS = {"bad_port", "bad_l4_flags"}
FIELDS = ["frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport",
          "udp.dstport", "ip.checksum.status", "_ws.malformed", "_ws.short", "tcp.hdr_len", "udp.length", "ip.frag_offset"]
NETWORK = re.compile(r"^(?:eth:ethertype:(?:vlan:ethertype:){0,2}|raw:)(ip|ipv6)((?::[^:]+)*)$")
EXTENSIONS = {"ipv6.hopopts", "ipv6.routing", "ipv6.fraghdr", "ipv6.dstopts"}


def tshark(capture):
    """Per packet None, or what the outermost network layer carries as tshark sees it."""
    command = ["tshark", "-n", "-r", capture, "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t",
               "-o", "ip.check_checksum:TRUE", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.desegment_tcp_streams:FALSE"]
    for field in FIELDS:
        command += ["-e", field]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in text.split("\n")[:-1]:
        f = dict(zip(FIELDS, line.split("\t")))
        path = NETWORK.match(f["frame.protocols"])
        if not path:
            yield None
            continue
        layers = [x for x in path[2].split(":") if x]
        while layers and path[1] == "ipv6" and layers[0] in EXTENSIONS:
            layers.pop(0)
        l4 = layers[0] if layers and layers[0] in ("tcp", "udp") else None
        if not l4:
            yield None
            continue
        v = path[1]
        # A layer is malformed or cut where tshark stopped in it: nothing of the next one is there.
        stopped = (f["_ws.malformed"] or f["_ws.short"]) and len(layers) < 2
        broken = f["ip.checksum.status"] == "0" if v == "ip" else False
        ports = (f[l4 + ".srcport"], f[l4 + ".dstport"])
        yield {"protocol": l4, "addresses": (f[v + ".src"], f[v + ".dst"]), "ports": ports,
               "valid": not broken and not stopped and all(ports)}


def ours(tool, capture):
    text = subprocess.run([tool, "trace", "--config", CONFIG, "--pcap", capture, "--json"], capture_output=True,
                          text=True, check=True).stdout
    for n, line in enumerate(text.split("\n")[:-1]):
        packet = json.loads(line)
        assert packet["n"] == n, line
        yield packet


def difference(mine, theirs):
    """What the two say differently about one packet, or None."""
    session, reason = mine["session"], mine["reason"]
    if theirs is None:
        return f"trace sees {mine['protocol']}, tshark does not" if session else None
    if reason in INVALID:
        return f"trace: {reason}, tshark: valid {theirs['protocol']}" if theirs["valid"] else None
    if reason in POLICY_WITHOUT_FIELDS:
        return None if theirs["valid"] else f"trace: {reason}, tshark: invalid"
    if not session:
        return f"trace: {reason}, tshark: {theirs['protocol']}"
    if mine["protocol"] != theirs["protocol"]:
        return f"trace: {mine['protocol']}, tshark: {theirs['protocol']}"
    if (session["client"], session["server"]) != theirs["addresses"]:
        return f"addresses: {session['client']} > {session['server']}, tshark {theirs['addresses']}"
    if session["client_port"] is not None:
        if (str(session["client_port"]), str(session["server_port"])) != theirs["ports"]:
            return f"ports: {session['client_port']} > {session['server_port']}, tshark {theirs['ports']}"
        if not theirs["valid"]:
            return f"trace: valid {mine['protocol']}, tshark: invalid"
    return None


def read_table():
    """{(capture, packet): (row, kind)}; a packet column of "*" is every packet of the capture."""
    rows = []
    with open(TABLE, encoding="utf-8") as table:
        for line in table:
            if line.strip() and not line.startswith("#"):
                rows.append(line.rstrip("\n").split("\t"))
    for row in rows:
        assert len(row) == 4 and row[3], f"{TABLE}: four columns, the last an explanation: {row}"
    return rows


def covers(packets, n):
    for part in packets.split(","):
        first, _, last = part.partition("-")
        if int(first) <= n <= int(last or first):
            return True
    return False


def main():
    listing = "--list" in sys.argv
    tool, merge = sys.argv[1:3]
    captures = os.environ.get("STATECAST_CAPTURES") or os.path.join(HERE, "..", "..", "..", "shared", "captures")
    if not os.path.isdir(captures):
        print(f"skipped: no captures at {captures} (set STATECAST_CAPTURES)")
        return 77
    if not shutil.which("tshark"):
        print("skipped: tshark is not installed")
        return 77
    files = sorted(os.path.join(captures, f) for f in os.listdir(captures))
    rows = [] if listing else read_table()
    used, unknown, compared, both = set(), 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        merged = {"ethernet": os.path.join(scratch, "ethernet.pcap"), "raw_ip": os.path.join(scratch, "raw_ip.pcap")}
        index = subprocess.run([merge, merged["ethernet"], merged["raw_ip"], *files], capture_output=True, text=True,
                               check=True).stdout
        for link, capture in merged.items():
            where = []
            for line in index.splitlines():
                of, count, path = line.split(" ", 2)
                if of == link:
                    where += [(os.path.basename(path), n) for n in range(int(count))]
            mine, theirs = list(ours(tool, capture)), list(tshark(capture))
            assert len(mine) == len(theirs) == len(where), (link, len(mine), len(theirs), len(where))
            for (name, n), m, t in zip(where, mine, theirs):
                compared += 1
                both += bool(t and m["session"])
                kind = difference(m, t)
                if not kind:
                    continue
                if listing:
                    print(f"{name}\t{n}\t{kind}\t")
                    continue
                row = next((i for i, r in enumerate(rows) if r[0] == name and covers(r[1], n) and r[2] in kind), None)
                if row is None:
                    unknown += 1
                    print(f"not in the table: {name} packet {n}: {kind}")
                used.add(row)
    if listing:
        return 0
    stale = [r for i, r in enumerate(rows) if i not in used]
    for r in stale:
        print(f"needed no more: {r[0]} packets {r[1]}: {r[2]}")
    print(f"{compared} packets, {both} of them TCP or UDP for both; {len(rows)} explained differences, "
          f"{unknown} unexplained")
    return 1 if unknown or stale else 0


if __name__ == "__main__":
    sys.exit(main())
