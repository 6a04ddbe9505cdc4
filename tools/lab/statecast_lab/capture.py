# SPDX-License-Identifier: BSD-3-Clause
"""One session's packets on a member's underlay interface, by tcpdump: when the last one came, how many bytes passed."""
import ipaddress
import signal
import struct
import subprocess
import time

ENVELOPE = 8 + 44  # Geneve header and auth option: where the inner packet starts in a steady-state data envelope


class SessionCapture:
    """Captures envelopes towards the member whose inner packet is of the session (client, port).

    with SessionCapture(lab, "m1", "198.51.100.2", 40000) as capture: ...
    capture.packets()   ->  [(wall-clock seconds, inner IP length), ...]
    """

    def __init__(self, lab, member, client, port):
        self.lab, self.member, self.port = lab, member, port
        self.client = ipaddress.ip_address(client)
        self.file = lab.path(f"capture-{member}-{port}.pcap")

    def filter(self):
        at = 8 + ENVELOPE  # udp[] counts from the UDP header
        if self.client.version == 4:
            address, port = f"udp[{at + 12}:4] = {int(self.client)}", f"udp[{at + 20}:2] = {self.port}"
        else:
            words = struct.unpack("!4I", self.client.packed)
            address = " and ".join(f"udp[{at + 8 + 4 * i}:4] = {word}" for i, word in enumerate(words))
            port = f"udp[{at + 40}:2] = {self.port}"
        return f"udp src port 6081 and {address} and {port}"

    def __enter__(self):
        self.process = self.lab.popen(self.member, "tcpdump", "-i", "under", "-U", "--immediate-mode", "-s", "160", "-n",
                                      "-B", "8192", "-Z", "root", "-w", self.file, self.filter(), stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE)
        self.process.stderr.readline()  # "listening on ..."
        return self

    def __exit__(self, *_):
        time.sleep(0.2)
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()

    def packets(self):
        with open(self.file, "rb") as f:
            data = f.read()
        out, at = [], 24
        while at + 16 <= len(data):
            seconds, micros, kept, _ = struct.unpack_from("<IIII", data, at)
            frame = data[at + 16:at + 16 + kept]
            inner = frame[14 + 20 + 8 + ENVELOPE:]
            length = struct.unpack_from("!H", inner, 2)[0] if inner[0] >> 4 == 4 else 40 + struct.unpack_from("!H", inner, 4)[0]
            out.append((seconds + micros / 1e6, length))
            at += 16 + kept
        return out
