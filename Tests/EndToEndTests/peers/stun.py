"""A STUN server (RFC 8489) that answers late, wrongly, or not at all, and always tells the truth in
the end."""

import asyncio
import ipaddress
import os
import socket
import struct

import play

COOKIE = 0x2112A442
SUCCESS = 0x0101
FORGED = "6.6.6.6"


def mapped(address, identity):
    """XOR-MAPPED-ADDRESS."""
    address = ipaddress.ip_address(address)
    key = struct.pack(">I", COOKIE) + identity
    octets = bytes(a ^ b for a, b in zip(address.packed, key))
    family = 1 if address.version == 4 else 2
    value = struct.pack(">BBH", 0, family, 4711 ^ COOKIE >> 16) + octets
    return struct.pack(">HH", 0x0020, len(value)) + value


def response(address, identity, kind=SUCCESS, cookie=COOKIE, extra=b""):
    attributes = mapped(address, identity) + extra
    return struct.pack(">HHI", kind, len(attributes), cookie) + identity + attributes


def forgeries(identity):
    """What an edge must not believe."""
    right = response(FORGED, identity)
    yield response(FORGED, os.urandom(12))
    yield response(FORGED, identity, cookie=COOKIE ^ 1)
    yield response(FORGED, identity, kind=0x0001)
    yield from (right[:count] for count in (0, 1, 7, 19, 20, 27, 31))
    yield right + b"\0\0\0\0"
    yield response(FORGED, identity, extra=struct.pack(">HHI", 0x8028, 4, 1))  # fingerprint
    yield os.urandom(64)


async def serve(host, port, first, second):
    """The first transaction's first two requests are lost; the third gets forgeries at once and the
    answer after a while. The two that follow are answered with `first` too, all later ones with
    `second`."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    identities = []
    count = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock, socket.socket(
        family, socket.SOCK_DGRAM
    ) as stranger:
        sock.setblocking(False)
        sock.bind((host, port))
        print("serving", flush=True)
        while True:
            request, edge = await loop.sock_recvfrom(sock, 2048)
            kind, length, cookie = struct.unpack(">HHI", request[:8])
            assert (kind, length, cookie, len(request)) == (0x0001, 0, COOKIE, 20), request
            identity = request[8:]
            if identity not in identities:
                identities.append(identity)
            count += 1
            print(f"request {count} of transaction {len(identities)}", flush=True)
            if len(identities) == 1:
                if count < 3:
                    continue
                stranger.sendto(response(FORGED, identity), edge)
                for forgery in forgeries(identity):
                    sock.sendto(forgery, edge)
                await asyncio.sleep(0.3)
            sock.sendto(response(first if len(identities) <= 3 else second, identity), edge)


if __name__ == "__main__":
    play.main({"serve": serve})
