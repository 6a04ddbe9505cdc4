# SPDX-License-Identifier: BSD-3-Clause
"""The goals, each with what was measured, whether it was reached, and what bounds it."""
from . import plan

ABOVE = "ns per packet above the floor"


def n_text(n):
    for unit, name in ((10**6, " million"), (1000, " thousand")):
        if n >= unit:
            return f"{n // unit:,}{name}"
    return str(n)


def memory_share(results, memory, p):
    """What waits for memory, and what would if every line were fetched ahead; as half a sentence."""
    small, here = results.get(plan.point(sessions=1000), "stages.resolve"), results.get(p, "stages.resolve")
    lines, cost = memory.get("lines"), memory.get("prefetched")
    if None in (small, here, lines, cost) or p["sessions"] < 10**6:
        return ""
    return (f"; resolve waits {here - small:.1f} for memory; {lines:.2f} lines fetched ahead, of {cost:.1f} each, would be "
            f"{lines * cost:.1f}")


def percent(share):
    return None if share is None else 100 * share


def largest(results, p, most=3):
    stages = sorted(results.stages(p).items(), key=lambda s: -(s[1] or 0))[:most]
    return ", ".join(f"{name} {ns:.1f}" for name, ns in stages if ns)


def rows(results, memory):
    """List of {goal, value, unit, limit, reached, bound_by, runs}. value None: not measured."""
    out = []

    def add(goal, p, value, limit, unit, bound_by, runs=(), below=True):
        reached = None if value is None else value <= limit if below else value >= limit
        why = results.missing.get(plan.key(p)) if value is None else bound_by
        out.append({"goal": goal, "value": None if value is None else round(value, 3), "unit": unit, "limit": limit,
                    "reached": reached, "bound_by": why or "not measured in this run", "parameters": p,
                    "runs": [round(r, 3) for r in runs]})

    def get(p, name):
        return results.get(p, name)

    for n, limit in ((10**4, 28), (10**6, 31), (10**7, 39), (10**8, 44)):
        p = plan.point(sessions=n)
        add(f"forward, {n_text(n)} sessions", p, get(p, "above_floor_ns"), limit, ABOVE,
            f"steps: {largest(results, p)}" + memory_share(results, memory, p), results.all(p, "above_floor_ns"))

    measured = [p for p in (plan.point(sessions=n) for n in reversed(plan.SESSIONS)) if get(p, "bytes_per_session")]
    p = measured[0] if measured else plan.point()
    add(f"cache memory per live session, {n_text(p['sessions'])} sessions", p, get(p, "bytes_per_session"), 40, "bytes",
        "hot and cold, all of the cache's lists, divided by the sessions in it", results.all(p, "bytes_per_session"))

    p = plan.RETURN
    add("member to client, 10 million sessions", p, get(p, "above_floor_ns"), 45, ABOVE,
        f"steps: {largest(results, p)}", results.all(p, "above_floor_ns"))

    p = plan.JUNK
    kinds = {n: get(p, f"junk.{n}") for n in ("malformed", "filtered", "forged", "unknown")}
    add("the dearest junk that is dropped", p, get(p, "junk_to_forward"), 0.8, "of a forwarded packet",
        "ns with the floor: " + ", ".join(f"{n} {ns:.0f}" for n, ns in kinds.items() if ns)
        + f"; forwarded {get(p, 'ns_per_packet') or 0:.0f}", results.all(p, "junk_to_forward"))

    p = plan.churn(inserts=plan.INSERTS[-1])
    done = get(p, "inserts_per_second")
    add("loss with 1 million inserts a second", p, percent(get(p, "churn_loss")), 15, "% of the packets",
        f"the writer reached {(done or 0) / 1e6:.2f} million inserts and {(get(p, 'renewals_per_second') or 0) / 1e6:.2f} "
        f"million renewals a second on the other core, and evicted {get(p, 'evicted') or 0:,.0f} entries in all",
        [100 * r for r in results.all(p, "churn_loss")])
    if done is not None and done < 0.95e6:
        out[-1]["reached"] = False

    p = plan.SHARED
    add("two cores against one, a tenth of the packets on shared sessions", p, get(p, "cores_to_one"), 1.9, "times",
        f"{get(p, 'mpps') or 0:.1f} and {get(p, 'cores_mpps') or 0:.1f} million packets a second; what is shared is memory, and "
        f"what else the machine does", results.all(p, "cores_to_one"), below=False)

    base, many = get(plan.point(), "ns_per_packet"), get(plan.GROUPS, "ns_per_packet")
    add("10,000 groups and 1,000 members instead of one of each", plan.GROUPS, base and many and percent(many / base - 1), 10,
        "% slower", more(results, plan.GROUPS), [100 * (r / base - 1) for r in results.all(plan.GROUPS, "ns_per_packet")] if base else ())
    base, many = get(plan.point(), "above_floor_ns"), get(plan.MEMBERS, "above_floor_ns")
    add("100,000 members instead of one", plan.MEMBERS, base and many and many - base, 15, "ns per packet more",
        more(results, plan.MEMBERS), [r - base for r in results.all(plan.MEMBERS, "above_floor_ns")] if base else ())

    p = plan.DELAY
    add("p99.9 of the proxy's own delay at half load", p, get(p, "delay_us.p99_9"), 50, "µs",
        f"p50 {get(p, 'delay_us.p50') or 0:.1f}, p99 {get(p, 'delay_us.p99') or 0:.1f}, max {get(p, 'delay_us.max') or 0:.0f}; "
        f"the machine stood still {get(p, 'stalls') or 0:.0f} times in a run, {get(p, 'stalled_ms') or 0:.1f} ms in all", results.all(p, "delay_us.p99_9"))
    return out


def more(results, p):
    """Which steps have grown against one group and one member."""
    base, now = results.stages(plan.point()), results.stages(p)
    grown = sorted(((now[s] - base.get(s, 0), s) for s in now if now[s] is not None), reverse=True)[:3]
    return "what has grown, ns: " + ", ".join(f"{s} +{d:.1f}" for d, s in grown if d > 0.05) if grown else ""
