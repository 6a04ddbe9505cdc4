# SPDX-License-Identifier: BSD-3-Clause
"""The commands of statecast-lab."""
import os
import signal
import subprocess
import sys
import time

from . import chaos, steps
from . import topology as topo
from .programs import Lab, LabError
from .report import Report


def add_commands(commands):
    def command(name, help_text, run):
        parser = commands.add_parser(name, help=help_text, description=help_text)
        parser.set_defaults(run=lambda args: guarded(run, args))
        return parser

    def etcd_option(parser):
        parser.add_argument("--etcd", action="store_true", help="the view comes from an etcd of the lab's own")

    etcd_option(command("up", "bring the lab up and leave it there", up))
    command("down", "remove the lab: programs, namespaces, files", lambda lab, args: lab.down())
    command("status", "who runs, where the catchment is, what the proxies say", status)
    flip = command("flip", "move the catchment to a proxy", lambda lab, args: lab.net.flip(args.proxy))
    flip.add_argument("proxy", choices=topo.PROXIES)
    kill = command("kill", "SIGKILL a proxy or agent", kill_program)
    kill.add_argument("program", choices=topo.PROXIES + topo.MEMBERS)
    start = command("start", "start a proxy or agent that was killed", start_program)
    start.add_argument("program", choices=topo.PROXIES + topo.MEMBERS)
    execute = command("exec", "run a command in a host: exec client -- curl ...", exec_in_host)
    execute.add_argument("host", choices=topo.HOSTS)
    execute.add_argument("words", nargs="+", metavar="COMMAND")
    demo = command("demo", "the demonstration; removes its lab whatever happens", run_demo)
    demo.add_argument("--report", default="build/demo/report.json", help="where the JSON goes (build/demo/report.json)")
    etcd_option(demo)
    demo.add_argument("--step", action="append", choices=list(steps.STEPS), help="only this step (may be repeated)")
    demo.add_argument("--short", action="store_true", help="shorter transfers, as the tests run it")
    demo.add_argument("--keep-logs", metavar="FOLDER", help="copy the programs' logs there before the lab is removed")
    run = command("chaos", "faults at random under real transfers; removes its lab whatever happens", run_chaos)
    run.add_argument("--seed", type=int, default=int(time.time()), help="of the faults (the time); the report says it")
    run.add_argument("--seconds", type=int, default=180, help="how long new transfers and faults begin (180)")
    etcd_option(run)
    run.add_argument("--fault", action="append", choices=chaos.KINDS, help="only this kind (may be repeated)")
    run.add_argument("--report", default="build/chaos/report.json", help="where the JSON goes (build/chaos/report.json)")
    run.add_argument("--keep-logs", metavar="FOLDER", help="copy the programs' logs there before the lab is removed")


def guarded(run, args):
    if os.geteuid() != 0:
        print("statecast-lab needs root for network namespaces: sudo statecast-lab ...", file=sys.stderr)
        return 1
    try:
        impaired = args.command == "chaos"
        return run(Lab(args.name, args.programs, impaired, getattr(args, "seed", 1), getattr(args, "etcd", False)), args) or 0
    except LabError as error:
        print(f"statecast-lab: {error}", file=sys.stderr)
        return 1


def up(lab, _):
    lab.up(say=lambda text: print(f"  {text}", flush=True))
    tool = f"tools/lab/statecast-lab{'' if lab.name == 'sc' else ' --name ' + lab.name}"
    print(f"""
The lab is up: client - router - p1, p2, p3 - underlay - m1, m2, m3 (m3 behind NAT). The catchment is {lab.net.catchment()}.
Files, logs and sockets are in {lab.state}. To play with it:

  {tool} exec client -- curl --cacert {lab.path('tls.crt')} https://{topo.GROUPS['web'].v4}/
  {tool} flip p2
  {tool} kill p1
  {tool} status
  {lab.program('ctl/statecast')} sessions list --socket {lab.socket('m1')}
  {tool} down""")


def status(lab, _):
    running = lab.running()
    if not running:
        raise LabError("no lab is up")
    print(f"catchment  {lab.net.catchment()}")
    for name in topo.PROXIES:
        if name not in running:
            print(f"{name:10} not running")
            continue
        told = lab.status(name)
        heard = [f"p{p['id']}" for p in told["peers"] if p["heard"]] + [f"m{m['id']}" for m in told["members"] if m["reachable"]]
        print(f"{name:10} in sync {told['in_sync']}, degraded {told['degraded']}, records {told['directory']['records']}, "
              f"hears {' '.join(heard) or 'nobody'}")
    for name in topo.MEMBERS:
        print(f"{name:10} {'running' if name in running else 'not running'}")


def kill_program(lab, args):
    if not lab.stop(args.program, signal.SIGKILL):
        raise LabError(f"{args.program} does not run")


def start_program(lab, args):
    if args.program in lab.running():
        raise LabError(f"{args.program} runs already")
    lab.start(args.program)


def exec_in_host(lab, args):
    return subprocess.run(lab.net.in_host(args.host, *args.words)).returncode


def run_demo(lab, args):
    def play(report):
        for name in args.step or steps.STEPS:
            title, body = steps.STEPS[name]
            report.step(name, title, lambda say, body=body: body(steps.Stage(lab, say, args.short)))

    return in_lab(lab, args, play)


def run_chaos(lab, args):
    title = f"faults at random, seed {args.seed}, {args.seconds} s"
    return in_lab(lab, args, lambda report: report.step(
        "chaos", title, lambda say: chaos.Chaos(lab, say, args.seed, args.seconds, args.fault or chaos.KINDS).run()))


def in_lab(lab, args, play):
    report = Report()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that the lab is removed then, too
    try:
        report.say("bringing the lab up: client - router - p1, p2, p3 - underlay - m1, m2, m3 (behind NAT)")
        lab.up(say=lambda text: report.say(f"   {text}"))
        play(report)
    finally:
        if args.keep_logs:
            os.makedirs(args.keep_logs, exist_ok=True)
            subprocess.run(f"cp {lab.state}/*.log {lab.state}/*.yaml {args.keep_logs}/", shell=True, check=False)
        lab.down()
        report.write(args.report)
    report.summary()
    report.say(f"report: {args.report}")
    return 0 if report.passed else 1
