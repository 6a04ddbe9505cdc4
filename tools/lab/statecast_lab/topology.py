# SPDX-License-Identifier: BSD-3-Clause
"""What the lab looks like: hosts, addresses, groups. Only data and names; network.py builds it.

   client ──── router ─┬─ p1 ─┐              underlay 10.9.0.0/24
   198.51.100.2        ├─ p2 ─┼─ underlay ─┬─ m1
   2001:db8:1::2       └─ p3 ─┘  (bridge)  ├─ m2
                                           └─ nat ── m3   (192.168.3.0/24 behind it)

With etcd, it stands on a management network of its own, 10.8.0.0/24, that only the proxies' hosts are on.

The router's route for the groups' addresses is the catchment: it points at one proxy at a time, and `flip` moves it.
"""
from dataclasses import dataclass, field

PROXIES = ("p1", "p2", "p3")
MEMBERS = ("m1", "m2", "m3")
HOSTS = ("client", "router", *PROXIES, "underlay", *MEMBERS, "nat", "etcd")

UNDERLAY_PORTS = (*PROXIES, "m1", "m2", "nat")  # of its bridge

CLIENT_V4, CLIENT_V6 = "198.51.100.2", "2001:db8:1::2"
CATCHMENT_V4, CATCHMENT_V6 = "203.0.113.0/24", "2001:db8:10::/64"
ENVELOPE_PORT = 6081


def number(host):
    return int(host[1:])


def wan(proxy):
    """The link between the router and a proxy: (router v4, proxy v4, router v6, proxy v6), without lengths."""
    n = number(proxy)
    return f"10.1.{n}.1", f"10.1.{n}.2", f"fd00:1:{n}::1", f"fd00:1:{n}::2"


def management_address(host):
    return f"10.8.0.{100 if host == 'etcd' else number(host)}"


def link_devices(host):
    """Where the underlay is impaired, the devices between which statecast-link carries this host's frames."""
    return f"{host}-a", f"{host}-b"


def underlay_address(host):
    """Unicast address on the underlay; m3's is private, the NAT's public one is that of `nat`."""
    return {"p1": "10.9.0.1", "p2": "10.9.0.2", "p3": "10.9.0.3", "m1": "10.9.0.11", "m2": "10.9.0.12",
            "m3": "192.168.3.2", "nat": "10.9.0.20"}[host]


@dataclass
class Group:
    id: int
    name: str
    host: int                       # 203.0.113.<host>, 2001:db8:10::<host>
    members: tuple = MEMBERS
    rule: str = "stateful"
    own_member: bool = False        # each proxy has one member of its own (plain anycast)
    settings: dict = field(default_factory=dict)
    agent_settings: dict = field(default_factory=dict)

    @property
    def v4(self):
        return f"203.0.113.{self.host}"

    @property
    def v6(self):
        return f"2001:db8:10::{self.host}"

    def address(self, family):
        return self.v6 if family == 6 else self.v4

    def url_host(self, family):
        return f"[{self.v6}]" if family == 6 else self.v4


# One member for each form.
INSERT_FORMS = {"m1": "insert_and_forward", "m2": "insert_and_return", "m3": "insert"}

GROUPS = {g.name: g for g in (
    Group(10, "web", 10, settings={"partition": "available"}),
    Group(20, "plain", 20, rule="stateless", own_member=True),
    Group(30, "budget", 30, settings={"query": "query_and_forward"},
          agent_settings={"session_bytes": "4MiB", "refill": False}),
    Group(40, "strict", 40, settings={"partition": "safe", "query": "query_and_return"}),
    Group(50, "natted", 50, members=("m3",), settings={"query": "query_and_forward"}),
    Group(70, "solo", 70, members=("m1",)),
    Group(60, "udp", 60, settings={"unknown": "admit"}, agent_settings={"udp_idle": "5s"}),
)}
