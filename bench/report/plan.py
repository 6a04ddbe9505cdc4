# SPDX-License-Identifier: BSD-3-Clause
"""What `make bench` measures: points of the matrix, each one call of build/bench/pipeline, and the components' benches.

A point is known by its parameters (a dict of what differs from DEFAULTS); goals, tables and plots ask for points by
them, so that none is measured twice.
"""
DEFAULTS = {"profile": "forward", "table": "lines", "sessions": 1_000_000, "groups": 1, "members": 1, "cores": 1,
            "unknown": 0, "inserts": 0, "renewals": 0, "revocations": 0}

SESSIONS = [10**n for n in range(3, 9)]
REFERENCE_SESSIONS = [10**n for n in range(3, 8)]  # rte_hash has no room for 10^8 on a machine of 16 GB
UNKNOWN = [0, 500, 950]           # of 1,000
INSERTS = [100_000, 1_000_000]    # per second; 0 is in each run of the profile
REVOCATIONS = [10_000, 100_000]


def point(**differs):
    return {**DEFAULTS, **differs}


def key(p):
    return tuple(sorted(p.items()))


GROUPS = point(groups=10_000, members=1_000)
MEMBERS = point(members=100_000)
SHARED = point(profile="shared", cores=2)


def shared(cores):
    """One point per power of two."""
    return [point(profile="shared", cores=1 << i) for i in range(1, 8) if 1 << i <= cores]


JUNK = point(profile="junk")
DELAY = point(profile="delay")
RETURN = point(profile="return", sessions=10_000_000)
RETURN_SMALL = point(profile="return")


def churn(inserts=0, revocations=0):
    """Members renew as well: a tenth as often."""
    return point(profile="churn", inserts=inserts, renewals=inserts // 10, revocations=revocations)


def points(quick, cores):
    """In the order in which a round goes over them: the large ones apart, so that their memory is free again."""
    if quick:
        chosen = [point(sessions=n) for n in (1_000, 10_000, 1_000_000)] + [point(table="rte_hash"), RETURN_SMALL, JUNK, DELAY]
        chosen += [churn(inserts=INSERTS[-1]), GROUPS]
        return chosen + ([SHARED] if cores > 1 else [])
    chosen = [point(sessions=n) for n in SESSIONS]
    chosen += [point(table="rte_hash", sessions=n) for n in REFERENCE_SESSIONS]
    chosen += [RETURN, RETURN_SMALL, JUNK, DELAY, GROUPS, MEMBERS]
    chosen += [point(unknown=u) for u in UNKNOWN if u]
    if cores > 1:  # the control thread needs a core of its own
        chosen += shared(cores) + [churn(inserts=i) for i in INSERTS] + [churn(revocations=r) for r in REVOCATIONS]
    return chosen


def needs_mb(p):
    """Memory that a run takes: sessions in the cache, members' state at both ends, packet buffers."""
    per_session = 160 if p["table"] == "rte_hash" else 45
    return p["sessions"] * per_session // 10**6 + p["members"] * 7 // 1000 + 400


def huge_pages(p):
    """Pages of 2 MiB that DPDK takes: packet buffers, and the reference table, which lies in its memory."""
    table = p["sessions"] * 160 // 10**6 if p["table"] == "rte_hash" else 0
    return (256 + table) // 2 + 16


def once(p):
    """Filled once and measured several times: filling takes too long to do it for each run."""
    return p["sessions"] > 10_000_000


def arguments(p, seconds):
    words = ["--json", "--seconds", str(seconds)]
    for name, value in p.items():
        if value or name == "profile":
            words += [f"--{name}", str(value)]
    return words


# Components: program, and what of it to run. Their rivals stand in the same program.
COMPONENTS = {
    "session_key": None,
    "session_cache": "cold|insert.*load90",
    "envelope": None,
    "group": None,
    "parse": None,
    "memory": None,
}
