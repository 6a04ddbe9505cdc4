#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The ends that bench/lab_latency.py starts in the lab's namespaces: a server on members, sessions in use, a flood.

  lab_ends.py echo m1 7000                           answers each request on port 7000 with its name
  lab_ends.py hold 203.0.113.40 7000 2000 400        2000 sessions, 400 requests a second over all, until stdin ends
  lab_ends.py flood 203.0.113.40 7000 2000           2000 TCP ACKs a second of random sessions, until stdin ends
"""
import contextlib
import itertools
import random
import resource
import select
import selectors
import socket
import struct
import sys
import time

FLOOD_SOURCES = "100.64.0.0/10"     # the flood's packets come from anywhere in it
TURN_S = 0.01                       # between bursts of the flood


def many_files():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def echo(name, port):
    listener = socket.create_server(("", int(port)), backlog=4096)
    listener.setblocking(False)
    sockets = selectors.DefaultSelector()
    sockets.register(listener, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in sockets.select():
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                sockets.register(accepted, selectors.EVENT_READ)
                continue
            with contextlib.suppress(OSError):  # the agent has ended a revoked session
                if key.fileobj.recv(4096):
                    key.fileobj.send(name.encode())
                    continue
            sockets.unregister(key.fileobj)
            key.fileobj.close()


def answered(session):
    try:
        return bool(session.recv(4096))
    except OSError:
        return False


def ask(session):
    with contextlib.suppress(OSError):  # one that has ended does not answer in the end
        session.send(b"x")


def hold(address, port, count, rate):
    """Prints how many sessions it has opened, and at the end how many of them still answer."""
    sessions = []
    for _ in range(int(count)):
        with contextlib.suppress(OSError):
            sessions.append(socket.create_connection((address, int(port)), timeout=3))
            sessions[-1].setblocking(False)
    print(len(sessions), flush=True)
    for session in itertools.cycle(sessions):
        if select.select([sys.stdin], [], [], 1 / float(rate))[0]:
            break
        answered(session)
        ask(session)
    for session in sessions:
        answered(session)
        ask(session)
        time.sleep(TURN_S / 20)
    time.sleep(1)
    print(sum(answered(session) for session in sessions), flush=True)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def acknowledgement(destination, port):
    """An IPv4 packet with a TCP ACK of a random session."""
    network, length = FLOOD_SOURCES.split("/")
    host = random.getrandbits(32 - int(length))
    source = (int.from_bytes(socket.inet_aton(network), "big") | host).to_bytes(4, "big")
    tcp = struct.pack("!HHIIBBHHH", random.randrange(1024, 65_536), port, random.getrandbits(32),
                      random.getrandbits(32), 5 << 4, 0x10, 512, 0, 0)
    tcp_sum = checksum(source + destination + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp)
    # The kernel writes the checksum of the IPv4 header.
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, socket.IPPROTO_TCP, 0, source,
                         destination)
    return header + tcp[:16] + struct.pack("!H", tcp_sum) + tcp[18:]


def flood(address, port, rate):
    """Prints at the end how many packets a second it has sent."""
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    began, sent = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], TURN_S)[0]:
        while sent < (time.monotonic() - began) * float(rate):
            out.sendto(acknowledgement(socket.inet_aton(address), int(port)), (address, 0))
            sent += 1
    print(round(sent / (time.monotonic() - began)), flush=True)


if __name__ == "__main__":
    many_files()
    {"echo": echo, "hold": hold, "flood": flood}[sys.argv[1]](*sys.argv[2:])
