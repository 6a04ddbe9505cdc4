# SPDX-License-Identifier: BSD-3-Clause
"""Real transfers and what is measured of them: curl moves the bytes, the kernel's own socket figures (ss) tell the rest.

  fleet = [Download(lab, "web", 20), Upload(lab, "web", 20)]
  with Watch(lab, fleet): ...; wait(fleet, 40)
  fleet[0].finished, fleet[0].checksum_ok, fleet[0].longest_stall_ms
"""
import hashlib
import itertools
import os
import re
import subprocess
import threading
import time

from . import topology as topo

RATE = 2_500_000            # bytes per second of one transfer
SAMPLE_S = 0.1              # how often the client's sockets are looked at: what a stall is measured to
PORTS = itertools.count(20_000 + int(time.time()) % 10_000)  # client ports: each transfer has its own, to be found again


class Transfer:
    """One curl. `kind`, `group`, `family`, `port` name it; figures are filled in by its Watch and when it ends."""

    def __init__(self, lab, group, seconds, family=4, patience_s=20):
        self.lab, self.group, self.family = lab, topo.GROUPS[group], family
        self.port = next(PORTS)
        self.size = int(seconds * RATE)
        self.max_time = seconds + patience_s
        self.started = self.ended = None
        self.exit_code = None
        self.retransmissions = 0
        self.progress = []      # (monotonic time, bytes that have arrived at the far end's kernel)
        self.error = ""

    def curl(self, *words, **kwargs):
        return self.lab.popen("client", "curl", "-sS", "--cacert", self.lab.path("tls.crt"), "--limit-rate", str(RATE),
                              "--local-port", str(self.port), "--connect-timeout", "10", "--max-time", str(self.max_time),
                              "--fail", *words, stderr=subprocess.PIPE, **kwargs)

    def start(self):
        self.started = time.monotonic()
        threading.Thread(target=self._run_and_note, daemon=True).start()
        return self

    def _run_and_note(self):
        try:
            self._run()
        finally:
            self.ended = time.monotonic()

    @property
    def finished(self):
        return self.exit_code == 0 and self.checksum_ok

    def session_text(self):
        client = f"[{topo.CLIENT_V6}]" if self.family == 6 else topo.CLIENT_V4
        return f"{self.group.id} tcp {client}:{self.port} {self.group.url_host(self.family)}:443"

    def bytes_at(self, when):
        """Bytes that had arrived by this moment."""
        done = 0
        for at, count in self.progress:
            if at > when:
                break
            done = count
        return done

    @property
    def longest_stall_ms(self):
        """Longest time without progress between the first byte and the end."""
        moments, last = [], -1
        for at, count in self.progress:
            if count > last:
                moments.append(at)
                last = count
        if self.ended and not self.finished:
            moments.append(self.ended)
        return round(max((b - a for a, b in zip(moments, moments[1:])), default=0) * 1000)

    def figures(self, moves=None):
        out = {"kind": self.kind, "group": self.group.name, "family": self.family, "finished": self.finished,
               "checksum_ok": self.checksum_ok, "curl_exit_code": self.exit_code, "bytes": self.bytes_at(float("inf")),
               "retransmissions": self.retransmissions, "longest_stall_ms": self.longest_stall_ms}
        if moves is not None:
            out["moves_seen"] = sum(self.started < at < (self.ended or float("inf")) for at in moves)
        if self.error:
            out["error"] = self.error
        return out


class Download(Transfer):
    kind = "download"
    checksum_ok = False

    def _run(self):
        path, wanted = data_file(self.lab, self.size)
        process = self.curl(f"https://{self.group.url_host(self.family)}/data/{os.path.basename(path)}",
                            stdout=subprocess.PIPE)
        digest = hashlib.sha256()
        while chunk := process.stdout.read1(65536):
            digest.update(chunk)
        self.error = process.stderr.read().decode().strip()
        self.exit_code = process.wait()
        self.checksum_ok = digest.hexdigest() == wanted


class Upload(Transfer):
    kind = "upload"
    checksum_ok = False

    def _run(self):
        path, wanted = data_file(self.lab, self.size)
        name = f"{self.group.name}-{self.port}"
        process = self.curl("-T", path, f"https://{self.group.url_host(self.family)}/up/{name}", stdout=subprocess.DEVNULL)
        self.error = process.stderr.read().decode().strip()
        self.exit_code = process.wait()
        for member in topo.MEMBERS:
            there = self.lab.path(f"www-{member}/up/{name}")
            if os.path.exists(there):
                with open(there, "rb") as f:
                    self.checksum_ok = hashlib.file_digest(f, "sha256").hexdigest() == wanted
                os.remove(there)


DATA_LOCK = threading.Lock()


def data_file(lab, size):
    """A file of random bytes that nginx serves and curl uploads: (path, its SHA-256)."""
    with DATA_LOCK:
        os.makedirs(lab.path("data"), exist_ok=True)
        path = lab.path(f"data/{size}")
        if not os.path.exists(path + ".sha256"):
            data = os.urandom(size)
            with open(path, "wb") as f:
                f.write(data)
            with open(path + ".sha256", "w", encoding="ascii") as f:
                f.write(hashlib.sha256(data).hexdigest())
        with open(path + ".sha256", encoding="ascii") as f:
            return path, f.read()


class Watch:
    """Samples the sockets while transfers run: their progress, and the sender's retransmissions.

    Progress is what the far end's kernel has: curl reads from a buffer that hides a stall of seconds.
    """

    def __init__(self, lab, transfers):
        self.lab = lab
        self.by_port = {t.port: t for t in transfers}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def _loop(self):
        turn = 0
        while not self.stop.wait(SAMPLE_S):
            self._sample("client", local=True)
            if turn % 10 == 0:
                for member in topo.MEMBERS:
                    self._sample(member, local=False)
            turn += 1

    def _sample(self, host, local):
        now = time.monotonic()
        for line in self.lab.net.do(host, "ss", "-tinHO", "state", "established", check=False).splitlines():
            ends = re.findall(r"\]?:(\d+)\s", line)
            if len(ends) < 2:
                continue
            transfer = self.by_port.get(int(ends[0 if local else 1]))
            if transfer is None:
                continue
            figure = {key: int(value) for key, value in re.findall(r"(bytes_acked|bytes_received):(\d+)", line)}
            retransmitted = re.search(r"retrans:\d+/(\d+)", line)
            sender = transfer.kind == ("upload" if local else "download")
            if sender and retransmitted:
                transfer.retransmissions = max(transfer.retransmissions, int(retransmitted[1]))
            if local and transfer.ended is None:
                transfer.progress.append((now, figure.get("bytes_acked" if sender else "bytes_received", 0)))


def wait(transfers, patience_s):
    deadline = time.monotonic() + patience_s
    while any(t.ended is None for t in transfers) and time.monotonic() < deadline:
        time.sleep(0.05)
    return all(t.ended is not None for t in transfers)


def connect_once(lab, group, family=4, patience_s=8):
    """One short HTTPS request; true if it was answered."""
    host = topo.GROUPS[group].url_host(family)
    return lab.popen("client", "curl", "-sS", "--cacert", lab.path("tls.crt"), "--max-time", str(patience_s), "-o", "/dev/null",
                     "--fail", f"https://{host}/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def resets_at(lab, host):
    """Connections that this host's kernel saw reset or aborted while established."""
    lines = [line.split() for line in lab.net.do(host, "cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(lines[0], lines[1]))["EstabResets"])
