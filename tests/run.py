#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the tests of a build folder and ends with 'N passed, N failed'.

  tests/run.py build                      every test
  tests/run.py build --no-suite e2e       all but those of a suite

Counts gtest's cases one by one (from meson's JUnit file); any other test counts as one.
"""
import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def counts(junit_path):
    passed, failed, skipped, names = 0, 0, 0, []
    for case in ElementTree.parse(junit_path).iter("testcase"):
        outcome = {child.tag for child in case}
        if outcome & {"failure", "error"}:
            failed += 1
            names.append(f"{case.get('classname', '')} {case.get('name')}".strip())
        elif "skipped" in outcome:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped, names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="meson build folder, built")
    parser.add_argument("--no-suite", action="append", default=[], help="leave this suite out (may be repeated)")
    args = parser.parse_args()

    junit = os.path.join(args.build, "meson-logs", "testlog.junit.xml")
    if os.path.exists(junit):
        os.remove(junit)
    command = ["meson", "test", "-C", args.build, "--no-rebuild", "--print-errorlogs"]
    for suite in args.no_suite:
        command += ["--no-suite", suite]
    status = subprocess.run(command).returncode
    if not os.path.exists(junit):
        print("meson test left no result: nothing ran")
        return 1
    passed, failed, skipped, names = counts(junit)
    if status != 0 and failed == 0:  # a test that died before it could say which case
        failed = 1
    for name in names:
        print("failed:", name)
    if passed == 0:
        print("no test ran")
        failed = max(failed, 1)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
