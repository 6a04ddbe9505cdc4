#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes keys.json and envelope.json from the prose of docs/wire-format.md, without the product's code: BLAKE2b is
hashlib's, SipHash-2-4-128 is written out below. Run it in this folder after a change of the format."""
import hashlib
import json
import struct

MASK = (1 << 64) - 1


def siphash128(key, data):
    def rotl(x, b):
        return ((x << b) | (x >> (64 - b))) & MASK

    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for i in range(0, len(padded), 8):
        (m,) = struct.unpack_from("<Q", padded, i)
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return struct.pack("<QQ", first, v[0] ^ v[1] ^ v[2] ^ v[3])


def kdf(parent, label, fields, size):
    return hashlib.blake2b(label.encode() + b"\0" + fields, key=parent, digest_size=size).digest()


def u(n, size):
    return n.to_bytes(size, "big")


def proxy(n):
    return 1 << 24 | n


def member(n):
    return 2 << 24 | n


# --- keys ---

FLEET = bytes(range(32))
NODE = kdf(FLEET, "statecast member", u(7, 4), 32)
PAIR = kdf(NODE, "statecast pair", u(1, 4), 32)
SALT_I, SALT_R = bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30))


def session_key(sender):
    return kdf(PAIR, "statecast session", SALT_I + SALT_R + u(sender, 4), 16)


keys = {
    "draft": True,
    "format": "docs/wire-format.md, Keys",
    "valid": [
        {"derive": "member_node_key", "parent": FLEET.hex(), "member": 7, "key": NODE.hex()},
        {"derive": "member_pair_key", "parent": NODE.hex(), "proxy": 1, "key": PAIR.hex()},
        {
            "derive": "proxy_pair_key",
            "parent": FLEET.hex(),
            "proxies": [1, 2],
            "key": kdf(FLEET, "statecast proxy", u(1, 4) + u(2, 4), 32).hex(),
        },
        {
            "derive": "proxy_pair_key",
            "parent": FLEET.hex(),
            "proxies": [300, 2],
            "key": kdf(FLEET, "statecast proxy", u(2, 4) + u(300, 4), 32).hex(),
        },
    ]
    + [
        {
            "derive": "group_secret",
            "parent": FLEET.hex(),
            "group": group,
            "epoch": epoch,
            "key": kdf(FLEET, "statecast group", u(group, 4) + u(epoch, 1), 16).hex(),
        }
        for group, epoch in [(10, 0), (10, 1), (0xFFFFFF, 255)]
    ]
    + [
        {
            "derive": "session_tag_key",
            "parent": PAIR.hex(),
            "initiator_salt": SALT_I.hex(),
            "responder_salt": SALT_R.hex(),
            "sender": sender,
            "key": session_key(sender).hex(),
        }
        for sender in [proxy(1), member(7)]
    ]
    + [
        {
            "derive": "hello_tag_key",
            "parent": PAIR.hex(),
            "sender": sender,
            "key": kdf(PAIR, "statecast hello", u(sender, 4), 16).hex(),
        }
        for sender in [proxy(1), member(7)]
    ],
    "valid_files": [
        {"kind": "fleet", "text": "statecast-fleet-secret " + FLEET.hex() + "\n", "key": FLEET.hex()},
        {"kind": "fleet", "text": "statecast-fleet-secret " + FLEET.hex(), "key": FLEET.hex()},
        {"kind": "node", "text": "statecast-node-key m7 " + NODE.hex() + "\n", "member": 7, "key": NODE.hex()},
    ],
    "invalid_files": [
        {"kind": "fleet", "text": "", "why": "empty"},
        {"kind": "fleet", "text": FLEET.hex() + "\n", "why": "no kind word"},
        {"kind": "fleet", "text": "statecast-fleet-secret " + FLEET.hex()[:-2] + "\n", "why": "62 digits"},
        {"kind": "fleet", "text": "statecast-fleet-secret " + FLEET.hex() + "00\n", "why": "66 digits"},
        {"kind": "fleet", "text": "statecast-fleet-secret " + "g" + FLEET.hex()[1:] + "\n", "why": "not hex"},
        {"kind": "fleet", "text": "statecast-node-key m7 " + NODE.hex() + "\n", "why": "the other kind"},
        {"kind": "node", "text": "statecast-fleet-secret " + FLEET.hex() + "\n", "why": "the other kind"},
        {"kind": "node", "text": "statecast-node-key " + NODE.hex() + "\n", "why": "no member"},
        {"kind": "node", "text": "statecast-node-key m0 " + NODE.hex() + "\n", "why": "member 0"},
        {"kind": "node", "text": "statecast-node-key m16777216 " + NODE.hex() + "\n", "why": "member of 25 bits"},
        {"kind": "node", "text": "statecast-node-key p7 " + NODE.hex() + "\n", "why": "a proxy"},
        {"kind": "node", "text": "statecast-node-key m7\n", "why": "no key"},
    ],
}

# --- envelopes ---

PROTOCOL = {"ipv4": 0x0800, "ipv6": 0x86DD, "message": 0x88B5}
IPV4 = bytes.fromhex("4500001c00004000401100000a0000010a000002") + b"\x00\x35\x00\x35\x00\x08\x00\x00"
IPV6 = bytes.fromhex("6000000000081140") + bytes(15) + b"\x01" + bytes(15) + b"\x02" + b"\x00\x35\x00\x35\x00\x08\x00\x00"


def version(v):
    return u(v["term"], 2) + u(v["incarnation"], 3) + u(v["counter"], 5)


def option(kind, body=b"", option_class=0xFF53):
    assert len(body) % 4 == 0
    return u(option_class, 2) + u(kind, 1) + u(len(body) // 4, 1) + body


def encode_options(o):
    out = b""
    if "replica_hint" in o:
        out += option(0x02, u(o["replica_hint"], 4))
    if "ingress" in o:
        out += option(0x83, u(o["ingress"], 4))
    if "forward_to" in o:
        out += option(0x84, u(o["forward_to"], 4))
    if "not_mine" in o:
        out += option(0x85, version(o["not_mine"]) + bytes(2))
    if "lease" in o:
        lease = o["lease"]
        out += option(
            0x06,
            version(lease["version"])
            + u(lease["echo_timestamp_us"], 6)
            + u(lease["echo_boot"], 4)
            + u(lease["lease_ms"], 4)
            + u(lease["lease_bytes"], 8),
        )
    if "workload" in o:
        out += option(0x07, u(o["workload"]["load_permille"], 2) + u(o["workload"]["flags"], 1) + b"\0")
    if o.get("admitted"):
        out += option(0x88)
    if o.get("forwarded"):
        out += option(0x89)
    return out


def envelope(f, payload, options=None, **wrong):
    """`wrong` overrides what the rules say."""
    key = session_key(f["sender"])
    options = encode_options(f.get("options", {})) if options is None else options
    auth = u(f["sender"], 4) + u(f["boot"], 4) + u(f["stream"], 1) + u(f["key_epoch"], 1)
    auth += u(f["timestamp_us"], 6) + u(f["sequence"], 8)
    first = wrong.get("auth_header", u(0xFF53, 2) + b"\x81\x0a")
    size = wrong.get("opt_len", (44 + len(options)) // 4)
    head = u(wrong.get("version", 0) << 6 | size, 1)
    head += u(wrong.get("flags", 0xC0 if f["kind"] == "message" else 0x40), 1)
    head += u(wrong.get("protocol", PROTOCOL[f["kind"]]), 2) + u(f["group"], 3) + u(wrong.get("reserved", 0), 1)
    covered = payload if f["kind"] == "message" else payload[:64]
    tag = siphash128(key, head + first + auth + bytes(16) + options + u(len(payload), 4) + covered)
    return head + first + auth + tag + options + payload


def fields(**kw):
    f = {
        "sender": proxy(1),
        "boot": 0x01020304,
        "group": 10,
        "stream": 0,
        "key_epoch": 1,
        "timestamp_us": 1_000_000,
        "sequence": 1,
        "kind": "ipv4",
    }
    f.update(kw)
    return f


V = {"term": 3, "incarnation": 0x010203, "counter": 0x0405060708}
LEASE = {
    "version": V,
    "echo_timestamp_us": 0x0A0B0C0D0E0F,
    "echo_boot": 0x11223344,
    "lease_ms": 10_000,
    "lease_bytes": 1 << 40,
}
cases = [
    ("smallest data packet", fields(), IPV4),
    ("IPv6 inside", fields(kind="ipv6"), IPV6),
    ("message", fields(kind="message", group=0), bytes(range(0x20, 0x60))),
    ("largest of every field", fields(sender=proxy(0xFFFFFF), boot=0xFFFFFFFF, group=0xFFFFFF, stream=63, key_epoch=255,
                                      timestamp_us=(1 << 48) - 1, sequence=(1 << 64) - 1), IPV4),
    ("1,368 bytes inside, tag covers 64", fields(), IPV4 + bytes(1340)),
    ("replica hint", fields(options={"replica_hint": 2}), IPV4),
    ("ingress", fields(options={"ingress": 3}), IPV4),
    ("admitted", fields(options={"admitted": True}), IPV4),
    ("forwarded", fields(options={"forwarded": True}), IPV4),
    ("all of a proxy", fields(options={"replica_hint": 2, "ingress": 3, "admitted": True, "forwarded": True}), IPV4),
    ("forward to", fields(sender=member(7), options={"forward_to": 9}), IPV4),
    ("not mine", fields(sender=member(7), options={"not_mine": V}), IPV4),
    ("lease", fields(sender=member(7), options={"lease": LEASE}), IPV4),
    ("workload", fields(sender=member(7), options={"workload": {"load_permille": 850, "flags": 1}}), IPV4),
    ("most of a member: 96 bytes of options", fields(sender=member(7), options={
        "forward_to": 9, "lease": LEASE, "workload": {"load_permille": 1000, "flags": 0}}), IPV4),
]


def case(name, f, payload, data, **more):
    return {"name": name, "key": session_key(f["sender"]).hex(), **f, "options": f.get("options", {}),
            "payload": payload.hex(), "bytes": data.hex(), **more}


valid = [case(n, f, p, envelope(f, p)) for n, f, p in cases]
f = fields(options={"ingress": 3})
skipped = option(0x02, u(2, 4)) + option(0x83, u(3, 4)) + option(0x7F, bytes(8)) + option(0x01, bytes(4), 0x0102)
valid.append(case("unknown options that are not critical are skipped, of our class and another",
                  fields(options={"replica_hint": 2, "ingress": 3}), IPV4, envelope(f, IPV4, skipped), rewrite=False))
valid.append(case("reserved bits are ignored", fields(), IPV4,
                  envelope(fields(), IPV4, flags=0x7F, reserved=0xFF, auth_header=b"\xff\x53\x81\xea"), rewrite=False))

good = envelope(fields(), IPV4)
hint = fields(options={"replica_hint": 2})
message = fields(kind="message", group=0)
invalid = [
    ("empty", "head", b""),
    ("one byte short of the fixed part", "head", good[:51]),
    ("no payload", "head", good[:52]),
    ("version 1", "head", envelope(fields(), IPV4, version=1)),
    ("C is 0", "head", envelope(fields(), IPV4, flags=0x00)),
    ("O with an inner packet", "head", envelope(fields(), IPV4, flags=0xC0)),
    ("message without O", "head", envelope(message, b"\x20", flags=0x40)),
    ("another Ethertype", "head", envelope(fields(), IPV4, protocol=0x6558)),
    ("options shorter than the auth option", "head", envelope(fields(), IPV4, opt_len=10)),
    ("options longer than the datagram", "head", envelope(fields(), IPV4, opt_len=63)),
    ("more than 96 bytes of options with an inner packet", "head",
     envelope(fields(), IPV4, option(0x02, u(2, 4)) + option(0x7E, bytes(44)))),
    ("first option of another class", "head", envelope(fields(), IPV4, auth_header=b"\xff\x54\x81\x0a")),
    ("first option of another type", "head", envelope(fields(), IPV4, auth_header=b"\xff\x53\x82\x0a")),
    ("auth option of another length", "head", envelope(fields(), IPV4, auth_header=b"\xff\x53\x81\x0b")),
    ("tag: one bit of the payload", "tag", good[:-1] + bytes([good[-1] ^ 1])),
    ("tag: one bit of the sequence", "tag", good[:35] + bytes([good[35] ^ 1]) + good[36:]),
    ("tag: payload one byte longer", "tag", good + b"\0"),
    ("tag: byte 63 of the payload", "tag", (lambda d: d[:52 + 63] + b"\x01" + d[52 + 64:])(envelope(fields(), IPV4 + bytes(100)))),
    ("unknown critical option", "options", envelope(fields(), IPV4, option(0xFF, bytes(4)))),
    ("unknown critical option of another class", "options", envelope(fields(), IPV4, option(0x80, b"", 0x0102))),
    ("options out of order", "options", envelope(hint, IPV4, option(0x83, u(3, 4)) + option(0x02, u(2, 4)))),
    ("an option twice", "options", envelope(hint, IPV4, option(0x02, u(2, 4)) * 2)),
    ("a second auth option", "options", envelope(fields(), IPV4, option(0x81, bytes(40)))),
    ("critical bit on an option that has none", "options", envelope(hint, IPV4, option(0x82, u(2, 4)))),
    ("option ends behind the options", "options", envelope(fields(), IPV4, u(0xFF53, 2) + b"\x02\x02" + u(2, 4))),
    ("replica hint too long", "options", envelope(fields(), IPV4, option(0x02, u(2, 8)))),
    ("replica hint 0", "options", envelope(fields(), IPV4, option(0x02, u(0, 4)))),
    ("ingress of 25 bits", "options", envelope(fields(), IPV4, option(0x83, u(1 << 24, 4)))),
    ("lease without bytes", "options", envelope(fields(), IPV4, option(0x06, bytes(24)))),
    ("admitted with a body", "options", envelope(fields(), IPV4, option(0x88, bytes(4)))),
]
envelopes = {
    "draft": True,
    "format": "docs/wire-format.md",
    "valid": valid,
    "invalid": [{"name": n, "fails_at": at, "key": session_key(proxy(1)).hex(), "bytes": d.hex()} for n, at, d in invalid],
}

for name, content in [("keys.json", keys), ("envelope.json", envelopes)]:
    with open(name, "w") as out:
        json.dump(content, out, indent=1)
        out.write("\n")
