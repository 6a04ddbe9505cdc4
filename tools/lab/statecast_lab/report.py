# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration's timeline on the terminal, and its report as JSON."""
import json
import os
import sys
import time


class Report:
    def __init__(self, out=sys.stdout):
        self.out = out
        self.began = time.monotonic()
        self.steps = []

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", file=self.out, flush=True)

    def step(self, name, title, body):
        """Runs one step: body(say) gives its checks [(what, held)] and figures {name: value with its unit in the name}."""
        self.say("")
        self.say(f"== {name}: {title}")
        began = time.monotonic()
        try:
            checks, figures = body(lambda text: self.say(f"   {text}"))
        except Exception as error:  # a step that breaks must not take the report with it
            checks, figures = [(f"{type(error).__name__}: {error}", False)], {}
        for what, held in checks:
            self.say(f"   {'ok  ' if held else 'FAIL'} {what}")
        self.steps.append({"name": name, "title": title, "passed": bool(checks) and all(held for _, held in checks),
                           "checks": [{"what": what, "passed": held} for what, held in checks],
                           "seconds": round(time.monotonic() - began, 1), "figures": figures})

    @property
    def passed(self):
        return bool(self.steps) and all(step["passed"] for step in self.steps)

    def write(self, path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.steps, f, indent=2)
            f.write("\n")

    def summary(self):
        self.say("")
        for step in self.steps:
            self.say(f"{'passed' if step['passed'] else 'FAILED'}  {step['name']}: {step['title']} ({step['seconds']} s)")
