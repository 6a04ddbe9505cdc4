#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""statecast-pktgen against a plain forwarder, dpdk-testpmd, over memif: what comes back is what was sent.

Skipped (77) where dpdk-testpmd (package dpdk-dev) is not installed.   pktgen_testpmd_test.py BUILD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

PKTGEN = os.path.join(sys.argv[1], "tools", "pktgen", "statecast-pktgen")


class Forwarder:
    """dpdk-testpmd behind a memif socket; ends when its standard input does."""

    def __init__(self, mode, folder):
        self.prefix = f"pktgen-{mode}-{os.getpid()}"
        self.socket = os.path.join(folder, mode + ".sock")
        self.log = open(os.path.join(folder, mode + ".log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["dpdk-testpmd", "--no-huge", "-m", "192", "--no-pci", "--no-telemetry", "--no-shconf", "--file-prefix",
             self.prefix, "--lcores", f"0,1@{os.cpu_count() - 1}", "--vdev",
             f"net_memif0,role=server,socket={self.socket},socket-abstract=no,rsize=12", "--", "--forward-mode", mode,
             "--nb-cores=1", "--total-num-mbufs=16384"],
            stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        # The socket is there before the port is started; who connects in between is turned away for good.
        deadline = time.monotonic() + 40
        while "Checking link statuses" not in self.said():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self):
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)


def generate(socket, *more):
    done = subprocess.run(
        [PKTGEN, "--device", f"net_memif0,role=client,socket={socket},socket-abstract=no,rsize=12", "--duration", "2s",
         "--json", *more], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def main():
    if not shutil.which("dpdk-testpmd"):
        print("dpdk-testpmd is not installed")
        return 77
    with tempfile.TemporaryDirectory(prefix="statecast-pktgen-testpmd-") as folder:
        for mode in ("macswap", "5tswap"):
            forwarder = Forwarder(mode, folder)
            try:
                (trial,) = generate(forwarder.socket, "--rate", "20kpps", "--size", "7x64", "4x594", "1518")["trials"]
                assert trial["sent"] > 10_000, trial["sent"]
                assert trial["received"] >= 0.99 * trial["sent"], (trial["received"], trial["sent"])
                for key in ("duplicate", "wrong_member", "reordered"):
                    assert trial[key] == 0, f"{key}: {trial[key]}"
                assert trial["counters"]["foreign"] == 0, trial["counters"]
                print(mode, "p50", trial["latency"]["p50_ns"] / 1e3, "us")
            finally:
                forwarder.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
