# SPDX-License-Identifier: BSD-3-Clause
"""Writes the figures of a report into docs/performance.md, between its marks, and the plots beside it."""
import os
import re

from . import directory, goals, plan, plots
from .measure import Results

STEPS = ("parse", "group", "open", "classify", "identify", "resolve", "encapsulate", "deliver", "finish")


def cell(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def goal_table(report, _):
    rows = []
    for g in (r for r in report if "goal" in r):
        digits = 2 if abs(g["limit"]) < 10 else 1
        reached = {None: "not measured", True: "reached", False: "**not reached**"}[g["reached"]]
        sign = "at least" if g["unit"] in ("times", directory.RATE) else "at most"
        rows.append([g["goal"], f"{sign} {g['limit']} {g['unit']}", cell(g["value"], digits), reached, g["bound_by"]])
    return table(["goal", "limit", "measured", "", "what bounds it"], rows)


def sessions_table(_, results):
    rows = []
    for name in ("lines", "rte_hash"):
        for n in plan.SESSIONS:
            p = plan.point(table=name, sessions=n)
            if results.get(p, "ns_per_packet") is None:
                continue
            stages = results.stages(p)
            rows.append([name, goals.n_text(n), cell(results.get(p, "above_floor_ns")), cell(results.get(p, "floor_ns")),
                         cell(results.get(p, "mpps"))] + [cell(stages.get(s)) for s in STEPS]
                        + [cell(results.get(p, "bytes_per_session"), 0)])
    return table(["table", "sessions", "above floor", "floor", "Mpps", *STEPS, "bytes per session"], rows)


def change_table(_, results):
    rows = []
    for p in [plan.churn(inserts=i) for i in plan.INSERTS] + [plan.churn(revocations=r) for r in plan.REVOCATIONS]:
        if results.get(p, "churn_ns_per_packet") is None:
            continue
        rows.append([f"{p['inserts']:,}", f"{p['revocations']:,}", cell(results.get(p, "inserts_per_second"), 0),
                     cell(results.get(p, "revocations_per_second"), 0), cell(results.get(p, "renewals_per_second"), 0),
                     cell(results.get(p, "above_floor_ns")), cell(results.get(p, "churn_above_floor_ns")),
                     f"{results.get(p, 'churn_loss') * 100:.1f} %"])
    return table(["inserts per second asked for", "revocations", "inserts reached", "revocations reached", "renewals reached",
                  "ns above floor without", "with", "loss"], rows)


def traffic_table(_, results):
    rows = []

    def add(what, p, name="above_floor_ns"):
        if results.get(p, name) is not None:
            floor = results.get(p, "floor_ns") if name != "above_floor_ns" else 0
            rows.append([what, goals.n_text(p["sessions"]), cell(results.get(p, name) - floor)])

    add("client to member", plan.point())
    add("member to client", plan.RETURN_SMALL)
    add("member to client", plan.RETURN)
    for u in plan.UNKNOWN[1:]:
        add(f"client to member, {u // 10} % of the packets of unknown sessions", plan.point(unknown=u))
    for kind in ("malformed", "filtered", "forged", "unknown"):
        add(f"junk: {kind}", plan.JUNK, f"junk.{kind}")
    add("10,000 groups, 1,000 members", plan.GROUPS)
    add("100,000 members", plan.MEMBERS)
    return table(["traffic", "sessions", "ns per packet above the floor"], rows)


def cores_table(_, results):
    one = results.get(plan.SHARED, "mpps")
    rows = [[1, cell(one), "1"]] if one else []
    for p in plan.shared(128):
        if results.get(p, "cores_mpps") is not None:
            rows.append([p["cores"], cell(results.get(p, "cores_mpps")), cell(results.get(p, "cores_to_one"), 2)])
    return table(["cores", "Mpps with the floor", "times one core"], rows)


def delay_table(_, results):
    names = ("p50", "p99", "p99_9", "max")
    values = [cell(results.get(plan.DELAY, f"delay_us.{n}")) for n in names]
    return table(["", *(n.replace("_", ".") for n in names)], [["delay, µs", *values]])


COMPONENTS = [  # what, ours, rivals: program/name
    ("session key, 16 bytes", "session_key/ours/eight_lanes/16",
     {"four lanes": "session_key/ours/four_lanes/16", "libsodium": "session_key/libsodium/16", "CRC-32": "session_key/crc/16",
      "Toeplitz": "session_key/toeplitz/16"}),
    ("look-up, 1 million", "session_cache/lookup/lines/1000000/cold",
     {"on rte_hash": "session_cache/lookup/rte_hash/1000000/cold", "rte_hash, keys only": "session_cache/rte_hash/1000000/cold",
      "std::unordered_map": "session_cache/map/1000000/cold"}),
    ("insert at load 0.9", "session_cache/insert/lines/1000000/load90", {"rte_hash": "session_cache/insert/rte_hash/1000000/load90"}),
    ("tag, 120 bytes", "envelope/tag_siphash_burst/eight_lanes",
     {"four lanes": "envelope/tag_siphash_burst/four_lanes", "libsodium": "envelope/tag_siphash_libsodium",
      "Poly1305": "envelope/tag_poly1305", "AES-256-GCM": "envelope/tag_aes256gcm"}),
    ("seal", "envelope/seal_burst/1000", {"one at a time": "envelope/seal/data/1000"}),
    ("open", "envelope/open/burst/1000", {"one at a time": "envelope/open/genuine/1000"}),
    ("group, 1", "group/ours/1", {"rte_lpm": "group/lpm/1", "rte_fib": "group/fib/1", "std::unordered_map": "group/map/1"}),
    ("group, 10,000", "group/ours/10000",
     {"rte_lpm": "group/lpm/10000", "rte_fib": "group/fib/10000", "std::unordered_map": "group/map/10000"}),
    ("outer headers", "envelope/outer_template", {"field by field": "envelope/outer/ipv4"}),
    ("parse, TCP over IPv4", "parse/burst/tcp4",
     {"one by one": "parse/parse/tcp4", "the careful way": "parse/carefully/tcp4", "rte_net_get_ptype": "parse/rte_net/tcp4"}),
    ("parse, TCP over IPv6", "parse/burst/tcp6",
     {"one by one": "parse/parse/tcp6", "the careful way": "parse/carefully/tcp6", "rte_net_get_ptype": "parse/rte_net/tcp6"}),
]


def components_table(report, _):
    values = {r["name"].removeprefix("component."): r["value"] for r in report if r.get("name", "").startswith("component.")}
    rows = []
    for what, ours, rivals in COMPONENTS:
        beside = ", ".join(f"{name} {values[at]:.1f}" for name, at in rivals.items() if at in values)
        rows.append([what, cell(values.get(ours)), beside])
    return table(["component", "ours", "beside it"], rows)


def memory_table(report, _):
    values = {r["name"]: r["value"] for r in report if "name" in r}
    sizes = (1, 16, 256, 1024)
    rows = [[what] + [cell(values.get(f"component.memory/{name}/{n}")) for n in sizes]
            for what, name in (("dependent load", "dependent"), ("prefetched, modified", "prefetched"))]
    lines = values.get("lines_per_packet")
    text = table(["ns per line, at random in", *(f"{n} MiB" for n in sizes)], rows)
    if lines is not None:
        text += f"\n\nOf a million sessions a forwarded packet touches {lines:.2f} lines that are not in 1 MiB of cache (simulated)."
    return text


def machine_list(report, _):
    machine = next(r for r in report if r.get("name") == "machine")["parameters"]
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


SECTIONS = {"goals": goal_table, "sessions": sessions_table, "change": change_table, "traffic": traffic_table,
            "cores": cores_table, "delay": delay_table, "directory": lambda report, _: directory.table(report), "components": components_table, "memory": memory_table,
            "machine": machine_list}


def write_plots(results, folder):
    os.makedirs(folder, exist_ok=True)
    tables = {name: [(n, results.get(plan.point(table=name, sessions=n), "above_floor_ns")) for n in plan.SESSIONS]
              for name in ("lines", "rte_hash")}
    bars = [(goals.n_text(n).replace(" thousand", "k").replace(" million", "M"),
             {s: ns for s, ns in results.stages(plan.point(sessions=n)).items() if ns}) for n in plan.SESSIONS]
    inserts = [plan.churn(inserts=i) for i in plan.INSERTS]
    churn = [(0, results.get(inserts[-1], "above_floor_ns"))] + [(p["inserts"], results.get(p, "churn_above_floor_ns")) for p in inserts]
    pictures = {
        "sessions.svg": plots.lines("A forwarded packet, by session table", "sessions, drawn uniformly", "ns above the floor", tables),
        "stages.svg": plots.stacked("Where the time goes (table: lines)", "sessions", "ns per packet",
                                    [b for b in bars if b[1]]),
        "churn.svg": plots.lines("A forwarded packet while sessions come and go", "inserts per second", "ns above the floor",
                                 {"1 million sessions": churn}),
    }
    for name, picture in pictures.items():
        if picture:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(picture)


def write(report, path):
    results = Results.from_rows(report)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for name, section in SECTIONS.items():
        mark = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- end -->)", re.S)
        if not mark.search(text):
            raise SystemExit(f"{path} has no mark for '{name}'")
        body = section(report, results)
        text = mark.sub(lambda m, body=body: f"{m.group(1)}{body}\n{m.group(2)}", text)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    write_plots(results, os.path.join(os.path.dirname(path), "plots"))
