# SPDX-License-Identifier: BSD-3-Clause
"""What the tests on a lab share: the way to its modules, the command line, and a lab that goes away whatever happens."""
import argparse
import json
import os
import signal
import subprocess
import sys
import unittest
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lab"))
sys.dont_write_bytecode = True

from statecast_lab.programs import Lab  # noqa: E402


def ctl(lab, program, *words, patience_s=30):
    done = subprocess.run([lab.program("ctl/statecast"), *words, "--socket", lab.socket(program), "--json"],
                          capture_output=True, text=True, timeout=patience_s)
    return done.returncode, done.stdout, done.stderr


def ctl_json(lab, program, *words, patience_s=30):
    code, out, err = ctl(lab, program, *words, patience_s=patience_s)
    if code != 0:
        raise AssertionError(f"statecast {' '.join(words)}: {err or out}")
    return [json.loads(line) for line in out.splitlines()]


def main(doc, name, use, **options):
    """Runs the tests of the calling program on a lab of its own; `use` is given that lab first."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="build folder with the programs")
    parser.add_argument("--name", default=name)
    args, rest = parser.parse_known_args()
    lab = Lab(args.name, args.programs, **options)
    use(lab)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    warnings.simplefilter("ignore", ResourceWarning)  # programs of the lab outlive the objects that started them
    lab.down()
    try:
        lab.up()
        tests = unittest.main(argv=[sys.argv[0], *rest], exit=False, verbosity=2, warnings="ignore")
        return 0 if tests.result.wasSuccessful() else 1
    finally:
        lab.down()
