# SPDX-License-Identifier: BSD-3-Clause
"""The programs of the lab: their files, starting and stopping them, and asking them.

Each runs in its host's namespace, is known by its pid and start time (a pid alone may be someone else's by now), and
writes its output to <state>/<name>.log.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from . import topology as topo
from .network import LabError, Network

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))


def start_time(pid):
    """Field 22 of /proc/PID/stat: with the pid it names one process for good."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


class Lab:
    def __init__(self, name="sc", programs=None, impaired=False, seed=1, etcd=False, replicas=3):
        self.name = name
        self.build = os.path.abspath(programs or os.path.join(ROOT, "build"))
        self.state = f"/run/statecast-lab-{name}"
        self.net = Network(name, impaired, etcd)
        self.etcd = etcd        # the proxies' view comes from it
        self.replicas = replicas
        self.seed = seed        # of the impaired links
        self.links = None       # statecast-link, where the underlay is impaired

    # --- life ---

    def up(self, say=lambda text: None):
        if self.net.existing():
            raise LabError(f"a lab named {self.name} is up already; `statecast-lab --name {self.name} down` removes it")
        tools = ["proxy/statecast-proxy", "agent/statecast-agent", "ctl/statecast"]
        for tool in tools + (["lab/link/statecast-link"] if self.net.impaired else []):
            if not os.path.exists(self.program(tool)):
                raise LabError(f"{self.program(tool)} is not there: `make build` makes it (`make chaos`, statecast-link)")
        try:
            shutil.rmtree(self.state, ignore_errors=True)
            os.makedirs(self.state)
            say("namespaces, links and routes")
            self.net.up()
            if self.net.impaired:
                self._start_links()
            say("keys and configuration")
            self._keys()
            self._certificate()
            for proxy in topo.PROXIES:
                self._write(f"{proxy}.yaml", proxy_yaml(self, proxy))
            for member in topo.MEMBERS:
                self._write(f"{member}.yaml", agent_yaml(self, member))
            if self.etcd:
                if not shutil.which("etcd"):
                    raise LabError("etcd is not installed: apt-get install etcd-server")
                say("etcd")
                self.start("etcd")
            say("proxies, agents, nginx, iperf3")
            for proxy in topo.PROXIES:
                self.start(proxy)
            for member in topo.MEMBERS:
                self.start(member)
                self._nginx(member)
                self._spawn(f"iperf3-{member}", member, ["iperf3", "-s"])
            self.wait_ready()
        except BaseException:
            self.down()
            raise

    def down(self):
        for name in list(self._processes()):
            self.stop(name, signal.SIGTERM)
        self.end_links()
        self.net.down()
        shutil.rmtree(self.state, ignore_errors=True)

    def _start_links(self):
        words = [f"{host}={','.join(topo.link_devices(host))}" for host in topo.UNDERLAY_PORTS]
        with open(self.path("links.log"), "ab") as log:
            self.links = self.popen("underlay", self.program("lab/link/statecast-link"), "--seed", self.seed, *words,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def end_links(self):
        """Nothing passes the underlay any more. What each link and direction has done."""
        if not self.links:
            return []
        told, _ = self.links.communicate()
        self.links = None
        return json.loads(told) if told else []

    def impair(self, link, direction=None, **how):
        """What happens to frames of this host's link from now on (statecast-link --help); nothing named: nothing."""
        order = {"link": link, **({"direction": direction} if direction else {}), **how}
        self.links.stdin.write(json.dumps(order) + "\n")
        self.links.stdin.flush()

    def send(self, name, how):
        """SIGSTOP and SIGCONT, by name."""
        self._signal(self._processes()[name], how)

    def start(self, name):
        if name in topo.PROXIES:
            self._spawn(name, name, [self.program("proxy/statecast-proxy"), "--config", self.path(f"{name}.yaml")])
        elif name in topo.MEMBERS:
            self._spawn(name, name, [self.program("agent/statecast-agent"), "--config", self.path(f"{name}.yaml")])
        elif name == "etcd" and self.etcd:
            self._spawn(name, name, ["etcd", "--name", "lab", "--data-dir", self.path("etcd"), "--log-level", "warn",
                                     "--listen-client-urls", etcd_url(), "--advertise-client-urls", etcd_url(),
                                     "--listen-peer-urls", "http://127.0.0.1:2380"])
        else:
            raise LabError(f"no program {name}; there are {', '.join(topo.PROXIES + topo.MEMBERS)}")

    def stop(self, name, how=signal.SIGTERM, patience_s=5):
        """Ends one process by its pid; SIGKILL when it does not go in time."""
        processes = self._processes()
        entry = processes.pop(name, None)
        self._save(processes)
        if not entry:
            return False
        self._signal(entry, how)
        deadline = time.monotonic() + patience_s
        while self._is_there(entry):
            if time.monotonic() > deadline:
                self._signal(entry, signal.SIGKILL)
                deadline += patience_s
            self._reap(entry["pid"])
            time.sleep(0.01)
        self._reap(entry["pid"])
        return True

    def wait_ready(self, patience_s=30):
        """Until every running proxy is in sync and hears each peer and member that runs."""
        deadline = time.monotonic() + patience_s
        why = "nothing answered"
        while time.monotonic() < deadline:
            why = self.not_ready()
            if why is None:
                return
            time.sleep(0.1)
        raise LabError(f"the lab did not get ready in {patience_s} s: {why}; logs are in {self.state}")

    def not_ready(self):
        """Why not, in words; None when all is well."""
        running = self.running()
        for proxy in topo.PROXIES:
            if proxy not in running:
                if proxy in self._processes():
                    return f"{proxy} has ended"
                continue
            try:
                status = self.status(proxy)
            except LabError as error:
                return str(error)
            if not status["in_sync"]:
                return f"{proxy} is not in sync"
            for peer in status["peers"]:
                if f"p{peer['id']}" in running and not (peer["heard"] and peer["permit"]):
                    return f"{proxy} has no permit of p{peer['id']}"
            for member in status["members"]:
                if f"m{member['id']}" in running and not member["reachable"]:
                    return f"{proxy} does not hear m{member['id']}"
        return None

    # --- asking ---

    def socket(self, name):
        return self.path(f"{name}.sock")

    def admin(self, name, request, patience_s=5):
        """Sends one request to a program's admin socket; yields its answer lines as they come."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(patience_s)
            try:
                s.connect(self.socket(name))
                s.sendall(json.dumps(request).encode() + b"\n")
                for line in s.makefile("rb"):
                    answer = json.loads(line)
                    if "error" in answer:
                        raise LabError(f"{name}: {request['command']}: {answer['error']}")
                    yield answer
                    if answer.get("last"):
                        return
            except OSError as error:
                raise LabError(f"{name} does not answer at {self.socket(name)}: {error}") from error

    def status(self, name):
        return next(self.admin(name, {"command": "status"}))

    def running(self):
        return [name for name, entry in self._processes().items()
                if self._is_there(entry)]

    def popen(self, host, *words, **kwargs):
        return subprocess.Popen(self.net.in_host(host, *words), **kwargs)

    # --- files ---

    def program(self, name):
        return os.path.join(self.build, "tools", name)

    def path(self, name):
        return os.path.join(self.state, name)

    def _write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def _keys(self):
        fleet = self.path("fleet.key")
        run = lambda *words: subprocess.run([self.program("ctl/statecast"), *words], check=True, capture_output=True)  # noqa: E731
        run("keys", "fleet", "--out", fleet)
        for member in topo.MEMBERS:
            run("keys", "member", "--fleet", fleet, "--member", str(topo.number(member)), "--out", self.path(f"{member}.key"))

    def _certificate(self):
        names = ",".join(f"IP:{a}" for g in topo.GROUPS.values() for a in (g.v4, g.v6))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=statecast-lab", "-addext", f"subjectAltName={names}",
                        "-keyout", self.path("tls.key"), "-out", self.path("tls.crt")], check=True, capture_output=True)

    def _nginx(self, member):
        root = self.path(f"www-{member}")
        os.makedirs(os.path.join(root, "up"), exist_ok=True)
        os.chmod(root, 0o755)
        self._write(f"nginx-{member}.conf", nginx_conf(self, member, root))
        with open(os.path.join(root, "index.html"), "w", encoding="ascii") as f:
            f.write(f"{member}\n")
        self._spawn(f"nginx-{member}", member, ["nginx", "-c", self.path(f"nginx-{member}.conf"), "-e", self.path(f"nginx-{member}.err")])

    # --- processes ---

    def _spawn(self, name, host, words):
        with open(self.path(f"{name}.log"), "ab") as log:
            process = self.popen(host, *words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        processes = self._processes()
        processes[name] = {"pid": process.pid, "started": start_time(process.pid)}
        self._save(processes)

    def _processes(self):
        try:
            with open(self.path("processes.json"), encoding="utf-8") as f:
                return json.load(f)
        except FileNotFoundError:
            return {}

    def _save(self, processes):
        if os.path.isdir(self.state):
            self._write("processes.json", json.dumps(processes))

    @staticmethod
    def _signal(entry, how):
        if start_time(entry["pid"]) == entry["started"]:
            os.kill(entry["pid"], how)

    @staticmethod
    def _is_there(entry):
        """Until its last thread has ended: the first may be a zombie while others still hold the sockets."""
        pid = entry["pid"]
        if start_time(pid) != entry["started"]:
            return False
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                zombie = f.read().rpartition(")")[2].split()[0] == "Z"
            return not zombie or len(os.listdir(f"/proc/{pid}/task")) > 1
        except OSError:
            return False

    @staticmethod
    def _reap(pid):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # started by an earlier run of this tool: not our child


# --- what the files say ---

def yaml_value(value):
    return json.dumps(value) if isinstance(value, (str, bool)) else str(value)


def group_yaml(group, members, settings):
    lines = [f"  - id: {group.id}", f"    name: {group.name}", f"    addresses: [\"{group.v4}/32\", \"{group.v6}/128\"]"]
    if members is not None:
        lines.append("    members: [" + ", ".join(f"{{id: {topo.number(m)}}}" for m in members) + "]")
    protocols = ("tcp", "udp")
    lines.append("    rules: [" + ", ".join(f"{{protocol: {p}, class: {group.rule}}}" for p in protocols) + "]")
    lines += [f"    {key}: {yaml_value(value)}" for key, value in settings.items()]
    return lines


def etcd_url():
    return f"http://{topo.management_address('etcd')}:2379"


def directory_yaml(lab):
    """With etcd, shorter times than the defaults, so that a test of them takes seconds."""
    lines = ["directory:", f"  replicas: {lab.replicas}", f"  writes: {min(2, lab.replicas)}"]
    if lab.etcd:
        lines.append(f"  etcd: {{endpoints: [\"{etcd_url()}\"], lease: 2s, hold_down: 4s, settle: 1s}}")
    return lines


def fleet_yaml():
    return ["proxies:"] + [f"  - {{id: {topo.number(p)}, address: \"{topo.underlay_address(p)}:{topo.ENVELOPE_PORT}\", zone: {p}}}"
                           for p in topo.PROXIES]


def proxy_yaml(lab, proxy):
    n = topo.number(proxy)
    router4, own4, router6, own6 = topo.wan(proxy)
    ring = ",framecnt=4096,qdisc_bypass=1"  # room for what comes while the proxy waits for one of two cores
    lines = [f"id: {n}", f"fleet_secret: {lab.path('fleet.key')}", f"control_socket: {lab.socket(proxy)}",
             f"metrics: \"127.0.0.1:910{n}\"",
             "dpdk:", "  huge_pages: false", "  memory_mb: 192", f"  cores: [{(n - 1) % (os.cpu_count() or 1)}]",
             f"  file_prefix: {lab.name}-{proxy}", "  idle_sleep: 200us", "  packet_buffers: 8192",
             "cache: {sessions: 65536, negative: 4096, miss_packets: 2048, miss_packets_per_group: 1024}",
             *directory_yaml(lab),
             "ports:",
             f"  - {{name: wan, device: \"net_af_packet0,iface=wan{ring}\", role: anycast, addresses: [\"{own4}/24\", \"{own6}/64\"],",
             f"     gateways: [\"{router4}\", \"{router6}\"]}}",
             f"  - {{name: under, device: \"net_af_packet1,iface=under{ring}\", role: underlay,",
             f"     addresses: [\"{topo.underlay_address(proxy)}/24\"], gateways: []}}",
             *fleet_yaml(), "members: [" + ", ".join(str(topo.number(m)) for m in topo.MEMBERS) + "]", "groups:"]
    for group in topo.GROUPS.values():
        members = (f"m{n}",) if group.own_member else group.members
        lines += group_yaml(group, members, group.settings)
    return "\n".join(lines) + "\n"


def agent_yaml(lab, member):
    n = topo.number(member)
    lines = [f"id: {n}", f"node_key: {lab.path(member + '.key')}", f"control_socket: {lab.socket(member)}",
             f"state_dir: {lab.path('state-' + member)}", f"metrics: \"127.0.0.1:920{n}\"", "device: statecast0",
             f"insert: {topo.INSERT_FORMS[member]}", *fleet_yaml(), "groups:"]
    for group in topo.GROUPS.values():
        if member in group.members:
            lines += group_yaml(group, None, group.agent_settings)
    return "\n".join(lines) + "\n"


def nginx_conf(lab, member, root):
    return f"""worker_processes 1;
daemon off;
pid {lab.path(f'nginx-{member}.pid')};
error_log {lab.path(f'nginx-{member}.err')} warn;
user root;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  client_max_body_size 0;
  # How long a silent client is waited for: a session whose catchment has gone for good ends here.
  send_timeout 60s;
  client_body_timeout 60s;
  server {{
    listen 80;
    listen [::]:80;
    listen 443 ssl;
    listen [::]:443 ssl;
    ssl_certificate {lab.path('tls.crt')};
    ssl_certificate_key {lab.path('tls.key')};
    root {root};
    location /data/ {{ alias {lab.path('data')}/; }}
    location /up/ {{ dav_methods PUT; }}
  }}
}}
"""
