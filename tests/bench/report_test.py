#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run.py makes of its measurements: goals, tables, plots, instruction counts."""
import os
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import instructions  # noqa: E402
from report import directory, docs, goals, plan, plots  # noqa: E402
from report.measure import Results  # noqa: E402


def forward(ns, floor=9.0, **more):
    return {"profile": "forward", "huge_pages": True, "seed": 1, "sessions": 5, "ns_per_packet": ns + floor, "floor_ns": floor,
            "above_floor_ns": ns, "mpps": 1000 / (ns + floor), "bytes_per_session": 30.0, "verified": 10, "failed": 0,
            "stages": {"parse": 2.0, "resolve": ns - 2.0}, **more}


def churn(without, with_, inserts):
    return {**forward(without), "profile": "churn", "churn_ns_per_packet": with_, "inserts_per_second": inserts,
            "renewals_per_second": inserts / 10, "revocations_per_second": 0.0}


def goal(results, start):
    return next(g for g in goals.rows(results, {"lines": 1.5, "prefetched": 6.0}) if g["goal"].startswith(start))


class Goals(unittest.TestCase):
    def test_rows(self):
        for ns, reached in ((30.9, True), (31.0, True), (31.1, False)):
            results = Results()
            results.add(plan.point(), [forward(ns)])
            self.assertEqual(reached, goal(results, "forward, 1 million")["reached"], ns)

    def test_median_decides_not_an_outlier(self):
        results = Results()
        results.add(plan.point(), [forward(ns) for ns in (30, 99, 30, 29, 98)])
        self.assertEqual(30, goal(results, "forward, 1 million")["value"])
        self.assertEqual([30, 99, 30, 29, 98], goal(results, "forward, 1 million")["runs"])

    def test_what_was_not_measured_is_neither_reached_nor_not(self):
        results = Results()
        results.missing[plan.key(plan.point(sessions=10**8))] = "9400 MB are not free"
        g = goal(results, "forward, 100 million")
        self.assertEqual((None, None, "9400 MB are not free"), (g["value"], g["reached"], g["bound_by"]))

    def test_memory_is_a_number(self):
        results = Results()
        results.add(plan.point(), [forward(30)])
        results.add(plan.point(sessions=1000), [forward(18)])
        words = goal(results, "forward, 1 million")["bound_by"]
        self.assertIn("waits 12.0 for memory; 1.50 lines fetched ahead, of 6.0 each, would be 9.0", words)

    def test_churn(self):
        p = plan.churn(inserts=10**6)
        for with_, inserts, reached in ((42.0, 1e6, True), (60.0, 1e6, False), (42.0, 4e5, False)):  # too few inserts prove nothing
            results = Results()
            results.add(p, [churn(31.0, with_, inserts)])
            self.assertEqual(reached, goal(results, "loss with")["reached"], (with_, inserts))

    def test_more_is_better_for_cores(self):
        for times, reached in ((1.95, True), (1.85, False)):
            results = Results()
            results.add(plan.SHARED, [{**forward(30), "profile": "shared", "cores_to_one": times}])
            self.assertEqual(reached, goal(results, "two cores")["reached"])

    def test_the_dearest_junk_counts(self):
        results = Results()
        junk = {"malformed": 10.0, "filtered": 12.0, "forged": 34.0, "unknown": 20.0}
        results.add(plan.JUNK, [{**forward(31), "profile": "junk", "junk": junk}])
        self.assertEqual(0.85, goal(results, "the dearest junk")["value"])
        self.assertFalse(goal(results, "the dearest junk")["reached"])

    def test_members_against_one_member(self):
        results = Results()
        results.add(plan.point(), [forward(30)])
        results.add(plan.MEMBERS, [forward(46)])
        g = goal(results, "100,000 members")
        self.assertEqual((16, False), (g["value"], g["reached"]))
        self.assertIn("resolve +16.0", g["bound_by"])


def node(mappings=directory.MAPPINGS, **values):
    return [{"name": f"directory.{n}", "value": v, "unit": "ns", "parameters": {"mappings": mappings}, "runs": [v, v + 1]}
            for n, v in values.items()]


class Directory(unittest.TestCase):
    def reached(self, rows):
        return [g["reached"] for g in directory.goals(rows)]

    def test_rates_are_at_least_and_memory_is_at_most(self):
        self.assertEqual([True, True, True],
                         self.reached(node(ns_per_query_cold=98, ns_per_insert=990, bytes_per_mapping=95)))
        self.assertEqual([False, False, False],
                         self.reached(node(ns_per_query_cold=101, ns_per_insert=1010, bytes_per_mapping=97)))

    def test_a_quick_run_says_nothing_of_goals(self):
        self.assertEqual([None] * 3, self.reached(node(1000, ns_per_query_cold=1, ns_per_insert=1, bytes_per_mapping=1)))
        self.assertEqual(["took long"] * 3, [g["bound_by"] for g in directory.goals([], "took long")])

    def test_table_has_what_was_measured(self):
        self.assertIn("| query, drawn among all | 10,000,000 | 98 ns |", directory.table(node(ns_per_query_cold=98)))


class Docs(unittest.TestCase):
    def report(self):
        results = Results()
        for n in plan.SESSIONS:
            results.add(plan.point(sessions=n), [forward(20 + len(str(n)))])
        results.add(plan.point(table="rte_hash"), [forward(61.25)])
        results.add(plan.churn(inserts=10**6), [churn(31.0, 44.0, 1e6)])
        machine = {"name": "machine", "value": 2, "unit": "cores", "parameters": {"processor": "one of ours"}}
        component = {"name": "component.group/ours/1", "value": 1.25, "unit": "ns per item", "parameters": {}, "runs": [1.25]}
        return [machine, component] + goals.rows(results, {}) + list(results.rows())

    def test_results_come_back_from_a_report(self):
        results = Results.from_rows(self.report())
        self.assertEqual(27, results.get(plan.point(), "above_floor_ns"))
        self.assertEqual({"parse": 2.0, "resolve": 25.0}, results.stages(plan.point()))

    def test_writes_tables_and_plots_between_the_marks(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "performance.md")
            with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as f:
                text = f.read()
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            written = []
            for _ in range(2):
                docs.write(self.report(), path)
                with open(path, encoding="utf-8") as f:
                    written.append(f.read())
            self.assertEqual(written[0], written[1], "writing twice changes nothing")
            self.assertIn("- processor: one of ours", written[0])
            self.assertIn("| rte_hash | 1 million | 61.2 |", written[0])
            self.assertIn("| group, 1 | 1.2 |", written[0])
            outside = re.compile(r"(<!-- bench: \w+ -->\n).*?(<!-- end -->)", re.S)
            self.assertEqual(outside.sub("", text), outside.sub("", written[0]), "what people wrote stays")
            for name in ("sessions", "stages", "churn"):
                ElementTree.parse(os.path.join(folder, "plots", name + ".svg"))

    def test_a_lost_mark_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "performance.md")
            with open(path, "w", encoding="utf-8") as f:
                f.write("# Performance\n")
            with self.assertRaises(SystemExit):
                docs.write(self.report(), path)


class Plots(unittest.TestCase):
    def test_points_stand_where_they_belong(self):
        root = ElementTree.fromstring(plots.lines("t", "x", "y", {"a": [(1, 10), (10, 20)], "gone": [(1, None)]}))
        dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("{http://www.w3.org/2000/svg}circle")]
        self.assertEqual(2, len(dots))
        self.assertLess(dots[0][0], dots[1][0])
        bottom = plots.HEIGHT - plots.BOTTOM
        self.assertAlmostEqual(2, (bottom - dots[1][1]) / (bottom - dots[0][1]), places=1)  # twice as high above the axis

    def test_bars_add_up(self):
        root = ElementTree.fromstring(plots.stacked("t", "x", "y", [("1k", {"parse": 10, "group": 20, "resolve": 30})]))
        bars = [(float(r.get("y")), float(r.get("height"))) for r in root.iter("{http://www.w3.org/2000/svg}rect")
                if r.get("height") not in (str(plots.HEIGHT), "12")]
        self.assertAlmostEqual(3, bars[2][1] / bars[0][1], places=1)
        for below, above in zip(bars, bars[1:]):
            self.assertAlmostEqual(below[0], above[0] + above[1], places=0)

    def test_nothing_to_draw(self):
        self.assertIsNone(plots.lines("t", "x", "y", {"a": []}))


class Instructions(unittest.TestCase):
    FILE = ("events: Ir\nfn=(1) counted_turns\n3 10\ncfn=(2) statecast::Worker::turn()\ncalls=2 5\n3 600\n"
            "fn=(2)\n7 100\ncfn=(3) statecast::classify(statecast::Burst&)\ncalls=1 9\n8 200\ncfn=(3)\ncalls=1 9\n9 300\n")

    def test_reads_inclusive_costs(self):
        with tempfile.NamedTemporaryFile("w", suffix=".out") as f:
            f.write(self.FILE)
            f.flush()
            events, costs = instructions.inclusive(f.name)
        self.assertEqual((["Ir"], {"Worker::turn": [600], "classify": [500]}), (events, costs))

    def test_growth_beyond_a_tenth_fails(self):
        for now, bad in ((110.0, 0), (111.0, 0), (111.1, 1)):
            self.assertEqual(bad, instructions.compare({"forward": {"parse": now}}, {"forward": {"parse": 100.0}}), now)
        self.assertEqual(0, instructions.compare({"forward": {"open": 1.5}}, {"forward": {"open": 0.7}}), "too small to matter")
        self.assertEqual(1, instructions.compare({"forward": {"new": 5.0}}, {"forward": {}}), "a step without a baseline")


if __name__ == "__main__":
    unittest.main()
