#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes session.json: session IDs and session keys from the format's description alone (nothing of the C++ code).

    tests/vectors/make_session.py > tests/vectors/session.json
"""
import ipaddress
import json
import struct

MASK = (1 << 64) - 1
FORMS = {"tcp4": 1, "tcp6": 2, "udp4": 3, "udp6": 4, "announced4": 5, "announced6": 6, "connection_id": 7, "spi": 8,
         "verification_tag": 9, "generic": 10, "client4": 11, "client6": 12}


def siphash_2_4_128(key, message):
    def rotl(x, b):
        return (x << b | x >> (64 - b)) & MASK

    def rounds(v, n):
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

    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xff])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xee
    rounds(v, 4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xdd
    rounds(v, 4)
    return struct.pack("<QQ", first, v[0] ^ v[1] ^ v[2] ^ v[3])


def head(form, group):
    return bytes([FORMS[form]]) + group.to_bytes(3, "big")


def address(text):
    return ipaddress.ip_address(text).packed


def port(n):
    return n.to_bytes(2, "big")


def shown(text, number):
    return f"[{text}]:{number}" if ":" in text else f"{text}:{number}"


valid = []
secrets = [bytes(range(16)), bytes.fromhex("ffeeddccbbaa99887766554433221100")]


def add(name, form, group, fields, body, text):
    raw = head(form, group) + body
    secret = secrets[len(valid) % 2]
    valid.append({"name": name, "form": form, "group": group, "fields": fields, "text": text, "id": raw.hex(),
                  "secret": secret.hex(), "key": siphash_2_4_128(secret, raw).hex()})


def tuple_row(name, protocol, group, client, client_port, server, server_port):
    form = protocol + ("6" if ":" in client else "4")
    add(name, form, group,
        {"client": client, "client_port": client_port, "server": server, "server_port": server_port},
        address(client) + address(server) + port(client_port) + port(server_port),
        f"{group} {protocol} {shown(client, client_port)} {shown(server, server_port)}")


def other_row(name, form, group, fields, body):
    add(name, form, group, fields, body, f"{group} {form} {body.hex()}")


tuple_row("TCP over IPv4", "tcp", 10, "198.51.100.7", 40000, "203.0.113.10", 443)
tuple_row("TCP over IPv6", "tcp", 10, "2001:db8:7::7", 40000, "2001:db8::10", 443)
tuple_row("UDP over IPv4", "udp", 10, "198.51.100.7", 40000, "203.0.113.10", 443)
tuple_row("UDP over IPv6", "udp", 10, "2001:db8:7::7", 40000, "2001:db8::10", 443)
tuple_row("the ends of the ranges", "tcp", (1 << 24) - 1, "0.0.0.0", 0, "255.255.255.255", 65535)
tuple_row("the smallest group", "udp", 1, "::", 1, "::1", 2)
other_row("FTP data, active mode", "announced4", 300, {"client": "198.51.100.7", "server": "203.0.113.10",
          "server_port": 20}, address("198.51.100.7") + address("203.0.113.10") + port(20))
other_row("announced, IPv6", "announced6", 300, {"client": "2001:db8:7::7", "server": "2001:db8::10",
          "server_port": 20}, address("2001:db8:7::7") + address("2001:db8::10") + port(20))
other_row("connection ID, 1 byte", "connection_id", 11, {"connection_id": "5a"}, b"\x5a")
other_row("connection ID, 20 bytes", "connection_id", 11, {"connection_id": bytes(range(20)).hex()}, bytes(range(20)))
other_row("SPI, IPv4", "spi", 12, {"spi": 0xc0ffee, "server": "203.0.113.10"},
          (0xc0ffee).to_bytes(4, "big") + address("203.0.113.10"))
other_row("SPI, IPv6", "spi", 12, {"spi": 0xc0ffee, "server": "2001:db8::10"},
          (0xc0ffee).to_bytes(4, "big") + address("2001:db8::10"))
other_row("SCTP", "verification_tag", 13, {"verification_tag": 0x01020304, "client_port": 5000, "server_port": 36412},
          bytes([1, 2, 3, 4]) + port(5000) + port(36412))
other_row("generic, 1 byte", "generic", 14, {"bytes": "00"}, b"\x00")
other_row("generic, 60 bytes", "generic", 14, {"bytes": bytes(range(60)).hex()}, bytes(range(60)))
other_row("client, IPv4", "client4", 15, {"client": "198.51.100.7"}, address("198.51.100.7"))
other_row("client, IPv6 /64", "client6", 15, {"client": "2001:db8:7::"}, address("2001:db8:7::")[:8])

tcp4 = address("198.51.100.7") + address("203.0.113.10") + port(40000) + port(443)
invalid = [
    {"name": "empty", "id": ""},
    {"name": "form alone", "id": "01"},
    {"name": "no fields", "id": head("tcp4", 10).hex()},
    {"name": "form 0", "id": (b"\0" + head("tcp4", 10)[1:] + tcp4).hex()},
    {"name": "form 13", "id": (b"\x0d" + head("tcp4", 10)[1:] + tcp4).hex()},
    {"name": "group 0", "id": (head("tcp4", 0) + tcp4).hex()},
    {"name": "tcp4 a byte short", "id": (head("tcp4", 10) + tcp4[:-1]).hex()},
    {"name": "tcp4 a byte long", "id": (head("tcp4", 10) + tcp4 + b"\0").hex()},
    {"name": "tcp6 with IPv4 fields", "id": (head("tcp6", 10) + tcp4).hex()},
    {"name": "connection ID of 0 bytes", "id": head("connection_id", 10).hex()},
    {"name": "connection ID of 21 bytes", "id": (head("connection_id", 10) + bytes(21)).hex()},
    {"name": "SPI with 8 bytes of address", "id": (head("spi", 10) + bytes(12)).hex()},
    {"name": "generic of 61 bytes", "id": (head("generic", 10) + bytes(61)).hex()},
    {"name": "client6 with a whole address", "id": (head("client6", 10) + bytes(16)).hex()},
]
invalid_text = ["", "10", "10 tcp", "10 tcp 198.51.100.7:40000", "0 tcp 198.51.100.7:40000 203.0.113.10:443",
                "16777216 tcp 198.51.100.7:40000 203.0.113.10:443", "-1 tcp 198.51.100.7:40000 203.0.113.10:443",
                "web tcp 198.51.100.7:40000 203.0.113.10:443", "10 sctp 198.51.100.7:40000 203.0.113.10:443",
                "10 tcp 198.51.100.7:40000 [2001:db8::10]:443", "10 tcp 198.51.100.7:40000 203.0.113.10",
                "10 tcp 198.51.100.7:40000  203.0.113.10:443", "10 tcp 198.51.100.7:40000 203.0.113.10:443 ",
                "10 tcp 2001:db8::7:40000 [2001:db8::10]:443", "10 spi c0ffee", "10 generic 0", "10 generic 0g",
                "10 generic " + "00" * 61, "10 generic", "10 client4 c633640700", " 10 generic 00"]
print(json.dumps({"draft": True, "about": "Session IDs and session keys; `key` is SipHash-2-4-128 of `id` under `secret`."
                  " `invalid` are bytes, `invalid_text` texts, that are no session ID. Written by make_session.py.",
                  "valid": valid, "invalid": invalid, "invalid_text": invalid_text}, indent=1))
