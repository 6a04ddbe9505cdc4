# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces, veth pairs and routes of the lab. Everything is made inside namespaces that carry the lab's prefix."""
import subprocess

from . import topology as topo


class LabError(Exception):
    """What a person can act on; the command line prints it without a traceback."""


def run(*words, check=True):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Network:
    def __init__(self, name, impaired=False, etcd=False):
        self.name = name
        self.etcd = etcd            # there is a management network with etcd
        self.impaired = impaired    # statecast-link carries what passes between the underlay's bridge and its hosts

    def ns(self, host):
        return f"{self.name}-{host}"

    def in_host(self, host, *words):
        return ["ip", "netns", "exec", self.ns(host), *[str(w) for w in words]]

    def do(self, host, *words, check=True):
        return run(*self.in_host(host, *words), check=check)

    def existing(self):
        listed = {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()}
        return [h for h in topo.HOSTS if self.ns(h) in listed]

    def down(self):
        for host in self.existing():
            run("ip", "netns", "del", self.ns(host), check=False)

    def up(self):
        for host in topo.HOSTS:
            if host == "etcd" and not self.etcd:
                continue
            run("ip", "netns", "add", self.ns(host))
            self.do(host, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                    "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.autoconf=0",
                    "net.ipv6.conf.default.accept_ra=0", "net.ipv4.conf.all.send_redirects=0",
                    "net.ipv4.conf.default.send_redirects=0")
            run("ip", "-n", self.ns(host), "link", "set", "lo", "up")
        self._client_and_router()
        self._underlay()
        self._nat()
        if self.etcd:
            self._management()
        self.flip("p1")

    def link(self, a, dev_a, b, dev_b):
        run("ip", "link", "add", dev_a, "netns", self.ns(a), "type", "veth", "peer", "name", dev_b, "netns", self.ns(b))

    def set_up(self, host, dev, *addresses):
        for address in addresses:
            family = ["-6"] if ":" in address else []
            nodad = ["nodad"] if family else []
            run("ip", "-n", self.ns(host), *family, "addr", "add", address, "dev", dev, *nodad)
        run("ip", "-n", self.ns(host), "link", "set", dev, "up")

    def offload(self, host, dev, *settings):
        self.do(host, "ethtool", "-K", dev, *settings)

    def _client_and_router(self):
        self.link("client", "eth0", "router", "client")
        self.set_up("client", "eth0", f"{topo.CLIENT_V4}/24", f"{topo.CLIENT_V6}/64")
        self.set_up("router", "client", "198.51.100.1/24", "2001:db8:1::1/64")
        # A receive buffer of a megabyte: with the tens that the kernel would give, a stalled download reads on for seconds.
        self.do("client", "sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 1048576")
        run("ip", "-n", self.ns("client"), "route", "add", "default", "via", "198.51.100.1")
        run("ip", "-n", self.ns("client"), "-6", "route", "add", "default", "via", "2001:db8:1::1")
        self.do("router", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for proxy in topo.PROXIES:
            router4, _, router6, _ = topo.wan(proxy)
            self.link("router", proxy, proxy, "wan")
            self.offload("router", proxy, "tx", "off")  # a DPDK port wants whole checksums
            self.set_up("router", proxy, f"{router4}/24", f"{router6}/64")
            self._quiet_port(proxy, "wan")

    def _underlay(self):
        run("ip", "-n", self.ns("underlay"), "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.do("underlay", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "-n", self.ns("underlay"), "link", "set", "br0", "up")
        for host in topo.UNDERLAY_PORTS:
            if self.impaired:
                outer, inner = topo.link_devices(host)
                self.link("underlay", host, "underlay", outer)
                self.link("underlay", inner, host, "under")
                for dev in (outer, inner):
                    self.offload("underlay", dev, "tx", "off", "gro", "off")
                    run("ip", "-n", self.ns("underlay"), "link", "set", dev, "up")
            else:
                self.link("underlay", host, host, "under")
            run("ip", "-n", self.ns("underlay"), "link", "set", host, "master", "br0", "up")
            if host in topo.PROXIES:
                self._quiet_port(host, "under")
            else:
                self.offload(host, "under", "tx", "off", "gro", "on")
                self.set_up(host, "under", f"{topo.underlay_address(host)}/24")

    def _quiet_port(self, host, dev):
        """A proxy's port: the host's kernel has no address there and stays silent."""
        self.do(host, "sysctl", "-qw", f"net.ipv6.conf.{dev}.disable_ipv6=1")
        run("ip", "-n", self.ns(host), "link", "set", dev, "up")

    def _nat(self):
        self.link("nat", "inside", "m3", "under")
        self.offload("m3", "under", "tx", "off", "gro", "on")
        self.set_up("nat", "inside", "192.168.3.1/24")
        self.set_up("m3", "under", f"{topo.underlay_address('m3')}/24")
        run("ip", "-n", self.ns("m3"), "route", "add", "default", "via", "192.168.3.1")
        self.do("nat", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.do("nat", "nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; "
                              "add rule ip nat out oifname under masquerade random")

    def _management(self):
        run("ip", "-n", self.ns("etcd"), "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.set_up("etcd", "br0", f"{topo.management_address('etcd')}/24")
        for proxy in topo.PROXIES:
            self.link("etcd", proxy, proxy, "manage")
            run("ip", "-n", self.ns("etcd"), "link", "set", proxy, "master", "br0", "up")
            self.set_up(proxy, "manage", f"{topo.management_address(proxy)}/24")

    # --- the catchment ---

    def flip(self, proxy):
        """From the next packet on, the groups' addresses lead to this proxy."""
        _, via4, _, via6 = topo.wan(proxy)
        run("ip", "-n", self.ns("router"), "route", "replace", topo.CATCHMENT_V4, "via", via4, "dev", proxy)
        run("ip", "-n", self.ns("router"), "-6", "route", "replace", topo.CATCHMENT_V6, "via", via6, "dev", proxy)

    def catchment(self):
        for word in run("ip", "-n", self.ns("router"), "route", "show", topo.CATCHMENT_V4).split():
            if word in topo.PROXIES:
                return word
        return None
