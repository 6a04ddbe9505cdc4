# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the demonstration. Each takes a Stage and returns its checks [(what, held)] and figures."""
import contextlib
import itertools
import signal
import subprocess
import threading
import time

from . import topology as topo
from .capture import SessionCapture
from .programs import LabError
from .transfers import SAMPLE_S, Download, Upload, Watch, connect_once, resets_at, wait

HOLDERS_S = 12              # permit (1 s) + lease cap (10 s) + margin: a restarted replica does not know its holders
STILL_S = 5                 # step 1's transfers without a move: long enough for their usual stalls
BURST = 32                  # packets that may pass beyond a grant, per core and proxy that held one
REVOKE_PORTS = itertools.count(47_000 + int(time.time()) % 1000 * 2, 2)


class Stage:
    """What a step works with: the lab, a way to say what is going on, and how long transfers last."""

    def __init__(self, lab, say, short):
        self.lab, self.say, self.short = lab, say, short
        self.seconds = 12 if short else 20
        self.moves_wanted = 6 if short else 10


class Mover:
    """Moves the catchment to the next of the running proxies every second; notes when."""

    def __init__(self, stage, every_s=1.0):
        self.stage, self.every_s = stage, every_s
        self.moments = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def _loop(self):
        for proxy in itertools.cycle(("p2", "p3", "p1")):
            if self.stop.wait(self.every_s):
                return
            self.stage.lab.net.flip(proxy)
            self.moments.append(time.monotonic())


def transfers(stage, group, downloads, uploads, family=4, seconds=None, patience_s=20):
    seconds = seconds or stage.seconds
    return ([Download(stage.lab, group, seconds, family, patience_s) for _ in range(downloads)] +
            [Upload(stage.lab, group, seconds, family, patience_s) for _ in range(uploads)])


def start(fleet):
    for transfer in fleet:
        transfer.start()


def carry_while_moving(stage, fleets):
    """All transfers of the fleets at once, the catchment moving each second: (moves, resets, all ended)."""
    fleet = [t for f in fleets for t in f]
    before = resets_at(stage.lab, "client")
    stage.lab.net.flip("p1")
    with Watch(stage.lab, fleet), Mover(stage) as mover:
        start(fleet)
        ended = wait(fleet, stage.seconds + 30)
    stage.lab.net.flip("p1")
    return mover.moments, resets_at(stage.lab, "client") - before, ended


def survive_moves(stage, fleets):
    """Step 1's checks for some fleets of transfers."""
    moves, resets, ended = carry_while_moving(stage, fleets)
    fleet = [t for f in fleets for t in f]
    seen = [t.figures(moves) for t in fleet]
    for figure in seen:
        stage.say(f"{figure['kind']:8} {figure['group']} IPv{figure['family']}: {figure['moves_seen']} moves, "
                  f"checksum {'ok' if figure['checksum_ok'] else 'WRONG'}, {figure['retransmissions']} retransmissions, "
                  f"longest stall {figure['longest_stall_ms']} ms")
    checks = [("every transfer finished", ended and all(f["finished"] for f in seen)),
              (f"every transfer saw at least {stage.moves_wanted} moves", all(f["moves_seen"] >= stage.moves_wanted for f in seen)),
              ("no reset reached the client", resets == 0)]
    return checks, {"transfers": seen, "moves": len(moves), "resets": resets,
                    "longest_stall_ms": max(f["longest_stall_ms"] for f in seen),
                    "retransmissions": sum(f["retransmissions"] for f in seen)}


def step_moves(stage):
    """Beside the stalls under moves, those of the same transfers without any."""
    still = transfers(stage, "web", 5, 5, seconds=STILL_S)
    with Watch(stage.lab, still):
        start(still)
        ended = wait(still, STILL_S + 20)
    stall = {kind: max(t.longest_stall_ms for t in still if t.kind == kind) for kind in ("download", "upload")}
    stage.say(f"for comparison, {STILL_S} s without a move: longest stall of a download {stall['download']} ms, of an upload "
              f"{stall['upload']} ms (looked at each {SAMPLE_S * 1000:.0f} ms)")
    checks, figures = survive_moves(stage, [transfers(stage, "web", 5, 5)])
    checks.append(("every transfer finished without a move", ended and all(t.finished for t in still)))
    return checks, {**figures, "without_moves": {"seconds": STILL_S, "longest_stall_download_ms": stall["download"],
                                                 "longest_stall_upload_ms": stall["upload"]}}


def step_contrast(stage):
    fleet = transfers(stage, "plain", 5, 5, patience_s=5)
    moves, resets, _ = carry_while_moving(stage, [fleet])
    seen = [t.figures(moves) for t in fleet]
    died = sum(not f["finished"] for f in seen)
    stage.say(f"{died} of {len(fleet)} transfers died; {resets} resets")
    return ([("plain anycast loses transfers when the catchment moves", died > 0)],
            {"transfers": seen, "died": died, "of": len(fleet), "moves": len(moves), "resets": resets})


def open_connections(stage, group, count, over_s):
    """Opens `count` connections spread over `over_s`; how many were answered."""
    opened = []
    for _ in range(count):
        opened.append(connect_once(stage.lab, group))
        time.sleep(over_s / count)
    return sum(p.wait() == 0 for p in opened)


def kill_and_withdraw(stage, proxy, to):
    """SIGKILL now, the route gone 200 ms later. Returns when it was killed (monotonic)."""
    killed = time.monotonic()
    stage.lab.stop(proxy, signal.SIGKILL)
    threading.Timer(max(0.0, killed + 0.2 - time.monotonic()), stage.lab.net.flip, [to]).start()
    return killed


def step_kill(stage):
    lab = stage.lab
    lab.net.flip("p1")
    fleet = transfers(stage, "web", 5, 5)
    with Watch(lab, fleet):
        start(fleet)
        time.sleep(4)
        stage.say("p1 is killed (SIGKILL); its route is withdrawn 200 ms later; 20 connections are opened meanwhile")
        kill_and_withdraw(stage, "p1", "p2")
        opened = open_connections(stage, "web", 20, 1.0)
        wait(fleet, stage.seconds + 30)
    seen = [t.figures() for t in fleet]
    stall = max(f["longest_stall_ms"] for f in seen)
    stage.say(f"{sum(f['finished'] for f in seen)} of 10 transfers finished, longest stall {stall} ms; "
              f"{opened} of 20 connections opened in that second succeeded")
    figures = {"transfers": seen, "longest_stall_ms": stall, "opened_in_that_second": 20, "opened_successfully": opened}
    checks = [("every transfer finished though its proxy was killed", all(f["finished"] for f in seen))]

    more_checks, more_figures = second_kill(stage)
    return checks + more_checks, {**figures, **more_figures}


def second_kill(stage):
    """One proxy of three is left: `available` serves on, `safe` ends as leases do. With etcd the one that was killed first is
    out of the view by now, and the second soon is: then `safe` goes on, too."""
    lab = stage.lab
    seconds = 20
    web, strict = transfers(stage, "web", 2, 1, seconds=seconds), transfers(stage, "strict", 0, 3, seconds=seconds, patience_s=2)
    with Watch(lab, web + strict):
        start(web + strict)
        time.sleep(2)
        lab.net.flip("p3")
        time.sleep(2)
        stage.say("p2 is killed, too; p3 is alone. Group web is `partition: available`, group strict is `safe`")
        killed = kill_and_withdraw(stage, "p2", "p3")
        time.sleep(3)
        status = lab.status("p3")
        fresh_web = open_connections(stage, "web", 10, 1.0)
        wait(web + strict, seconds + 30)
        fresh_strict = open_connections(stage, "strict", 3, 0.1)
    ends = [last_progress(t) - killed for t in strict]
    stage.say(f"web: {sum(t.finished for t in web)} of 3 transfers finished, {fresh_web} of 10 new connections; "
              f"p3 says degraded: {status['degraded']}")
    stage.say(f"strict: transfers stopped {', '.join(f'{e:.1f}' for e in ends)} s after the kill; "
              f"{fresh_strict} of 3 new connections")
    stage.say("p1 and p2 start again")
    lab.start("p1")
    lab.start("p2")
    lab.wait_ready()
    lab.net.flip("p1")
    stage.say(f"{HOLDERS_S} s more, until what they granted before the restart is over: only then can a revocation be silent at once")
    time.sleep(HOLDERS_S)
    checks = [("available: every transfer finished with one proxy of three", all(t.finished for t in web)),
              ("available: new sessions are served", fresh_web == 10),
              ("the proxy that is left says that it is degraded", status["degraded"] is True)]
    if lab.etcd:
        checks += [("safe: every transfer finished, as the dead are out of the view", all(t.finished for t in strict)),
                   ("safe: new sessions are served", fresh_strict == 3)]
    else:
        checks += [("safe: sessions went on after the kill, and ended within their leases (10 s)",
                    all(0 < e < 11 for e in ends) and not any(t.finished for t in strict)),
                   ("safe: no new sessions", fresh_strict == 0)]
    return checks, {"available": {"transfers": [t.figures() for t in web], "opened_successfully": fresh_web, "opened": 10,
                                  "degraded": status["degraded"]},
                    "safe": {"sessions_ended_after_s": [round(e, 1) for e in ends], "opened_successfully": fresh_strict}}


def last_progress(transfer):
    """When the last new byte arrived."""
    best, when = -1, transfer.started
    for at, count in transfer.progress:
        if count > best:
            best, when = count, at
    return when


def rate_mbps(fleet, since, until):
    return round(sum(t.bytes_at(until) - t.bytes_at(since) for t in fleet) * 8 / (until - since) / 1e6, 1)


def flood_and_revoke(stage, group, member, family, bystanders):
    """A session floods; its member revokes it. Checks and figures; bystanders are transfers that run meanwhile."""
    lab, port = stage.lab, next(REVOKE_PORTS)
    host = topo.GROUPS[group].address(family)
    client = topo.CLIENT_V6 if family == 6 else topo.CLIENT_V4
    text = f"{topo.GROUPS[group].id} tcp {f'[{client}]' if family == 6 else client}:{port} " \
           f"{topo.GROUPS[group].url_host(family)}:5201"
    flood_s = 5
    with SessionCapture(lab, member, client, port) as capture:
        began = time.monotonic()
        flood = lab.popen("client", "iperf3", "-c", host, "--cport", port, "-t", 30, "-b", "400M", stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
        try:
            time.sleep(flood_s)
            called, called_mono = time.time(), time.monotonic()
            events = {}
            for line in lab.admin(member, {"command": "revoke", "id": text, "duration_ms": 600_000}, patience_s=20):
                if "event" in line:
                    events[line["event"]] = round((time.time() - called) * 1000, 1)
            time.sleep(flood_s)
        finally:
            flood.kill()
            flood.wait()
        ended = time.monotonic()
    packets = capture.packets()
    before = [at for at, _ in packets if at <= called]
    after = [at for at, _ in packets if at > called]
    last_ms = round((after[-1] - called) * 1000, 1) if after else 0.0
    flood_mbps = round(sum(n for at, n in packets if at <= called) * 8 / flood_s / 1e6, 1)
    during, afterwards = rate_mbps(bystanders, began + 1, called_mono), rate_mbps(bystanders, called_mono + 1, ended)
    stage.say(f"IPv{family}, member {member}: flood of {flood_mbps} Mb/s; from the call: stored {events.get('stored')} ms, silent "
              f"{events.get('silent')} ms, last packet on the member's underlay {last_ms} ms; others {during} -> {afterwards} Mb/s")
    silent = events.get("silent")
    checks = [(f"IPv{family}, {member}: the flood reached the member before the call", len(before) > 1000),
              (f"IPv{family}, {member}: revocation was stored, then silent", "stored" in events and silent is not None),
              (f"IPv{family}, {member}: no packet of the session on the underlay after silent",
               silent is not None and last_ms <= silent + 1)]
    return checks, {"member": member, "family": family, "flood_mbps": flood_mbps, "stored_ms": events.get("stored"),
                    "silent_ms": silent, "last_packet_ms": last_ms, "packets_before": len(before), "packets_after": len(after),
                    "others_during_mbps": during, "others_after_mbps": afterwards}


def step_revoke(stage):
    fleet = transfers(stage, "web", 2, 2, seconds=14)
    with Watch(stage.lab, fleet):
        start(fleet)
        time.sleep(1)
        checks, figures = flood_and_revoke(stage, "solo", "m1", 4, fleet)
        wait(fleet, 40)
    checks.append(("the other transfers finished", all(t.finished for t in fleet)))
    return checks, figures


def step_v6_and_nat(stage):
    stage.say("transfers over an IPv6 group address, and through the member behind NAT, at once")
    checks, figures = survive_moves(stage, [transfers(stage, "web", 3, 2, family=6), transfers(stage, "natted", 3, 2)])
    out = {"moves": figures}
    for label, group, member, family in (("revoke_ipv6", "solo", "m1", 6), ("revoke_nat", "natted", "m3", 4)):
        fleet = transfers(stage, "web", 1, 1, family=family, seconds=12)
        with Watch(stage.lab, fleet):
            start(fleet)
            time.sleep(1)
            more, out[label] = flood_and_revoke(stage, group, member, family, fleet)
            wait(fleet, 40)
        checks += more
    return checks, out


def owner_of(lab, group, text):
    for member in topo.GROUPS[group].members:
        with contextlib.suppress(LabError):
            for line in lab.admin(member, {"command": "sessions.get", "id": text}):
                if line.get("state"):
                    return member
    return None


def step_bytes(stage):
    """An upload through a group whose sessions have 4 MiB."""
    lab, bucket = stage.lab, 4 << 20
    upload = Upload(lab, "budget", 8, patience_s=40)
    with contextlib.ExitStack() as captures, Watch(lab, [upload]):
        watched = {m: captures.enter_context(SessionCapture(lab, m, topo.CLIENT_V4, upload.port)) for m in topo.MEMBERS}
        upload.start()
        time.sleep(7)
        stopped, stopped_at = upload.bytes_at(float("inf")), time.monotonic()
        member = owner_of(lab, "budget", upload.session_text())
        stage.say(f"the session has 4 MiB; it stopped after {stopped} bytes of file; owner {member}")
        stalled_ms = round((time.monotonic() - last_progress(upload)) * 1000)
        refreshed = time.time()
        if member:
            for _ in lab.admin(member, {"command": "sessions.refresh", "id": upload.session_text(), "bytes": bucket}):
                pass
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and upload.bytes_at(float("inf")) <= stopped + bucket // 2:
            time.sleep(0.1)
        resumed_ms = next((round((at - stopped_at) * 1000) for at, n in upload.progress if n > stopped), None)
        time.sleep(6)
        flowing = upload.bytes_at(float("inf"))
    packets = [p for c in watched.values() for p in c.packets()]
    first = sum(n for at, n in packets if at <= refreshed)
    total = sum(n for _, n in packets)
    slack = BURST * 1400 * len(topo.PROXIES)
    stage.say(f"passed before the refresh {first} bytes, after it {total}; bound {bucket} + {slack}; flowed again after {resumed_ms} ms")
    checks = [("it stopped at the proxy when its bytes were spent", stalled_ms > 1000 and stopped > 0),
              ("bytes passed stayed within the bound", 0 < first <= bucket + slack),
              ("it flowed again after the member's refresh", flowing > stopped + bucket // 2),
              ("bytes passed stayed within the bound after the refresh", total <= 2 * bucket + slack)]
    return checks, {"bucket_bytes": bucket, "passed_before_refresh_bytes": first, "passed_in_all_bytes": total,
                    "slack_bytes": slack, "stalled_ms": stalled_ms, "resumed_after_ms": resumed_ms, "owner": member}


STEPS = {
    "moves": ("downloads and uploads while the catchment moves every second", step_moves),
    "contrast": ("the same on plain anycast", step_contrast),
    "kill": ("the proxy in use is killed, then a second one", step_kill),
    "revoke": ("one session floods; its member revokes it", step_revoke),
    "ipv6_and_nat": ("moves and revocation over IPv6, and with the member behind NAT", step_v6_and_nat),
    "bytes": ("a session's bytes are spent, and given anew", step_bytes),
}
