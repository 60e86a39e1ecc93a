"""Packets of strangers at a hub's QUIC port: floods of first packets, garbage, packets of tunnels
that there are not. What the hub sends back is counted: it is what a forged address would get."""

import asyncio
import random
import socket
import time

from aioquic.quic.connection import QuicConnection

import play
from crooked_quic import join
from foreign_quic import configuration
from sockets import resident_bytes

# RFC 9000 section 8.1.
AMPLIFICATION_MAX = 3


class Stranger:
    """A socket that sends and counts, and never answers."""

    def __init__(self, hub, source="127.0.0.2"):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", hub))
        self.sock.setblocking(False)
        self.sent = self.received = self.answers = 0

    def send(self, data):
        try:
            self.sent += self.sock.send(data)
        except BlockingIOError:
            pass

    def drain(self):
        try:
            while True:
                self.received += len(self.sock.recv(65_536))
                self.answers += 1
        except BlockingIOError:
            pass


def first_packet():
    """The first packet of a client that means it."""
    client = QuicConnection(configuration=configuration(True))
    client.connect(("127.0.0.1", 1), now=0.0)
    return client.datagrams_to_send(now=0.0)[0][0]


async def handshakes(hub, hub_pid, edge_id, secret, count=600):
    """Clients that begin a handshake and are never heard of again: each gets three times at most
    what it has sent, many of them only a Retry; an edge comes through meanwhile."""
    packets = [first_packet() for _ in range(count)]
    before = resident_bytes(hub_pid)
    strangers = [Stranger(hub) for _ in packets]
    for index, (stranger, packet) in enumerate(zip(strangers, packets)):
        stranger.send(packet)
        if index % 20 == 0:
            await asyncio.sleep(0.005)
    async with asyncio.timeout(10):
        async with join(hub, edge_id, secret) as tunnel:
            assert "listenPorts" in tunnel.offer, tunnel.offer
    # What is sent again comes within the first seconds.
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for stranger in strangers:
            stranger.drain()
        await asyncio.sleep(0.1)
    for stranger in strangers:
        assert stranger.received <= AMPLIFICATION_MAX * stranger.sent, (
            f"{stranger.received} bytes for {stranger.sent}")
    answered = sum(stranger.answers > 0 for stranger in strangers)
    retried = sum(0 < stranger.received < 400 for stranger in strangers)
    assert answered > count / 2, f"{answered} of {count} were answered"
    assert retried > count / 4, f"{retried} of {count} got a Retry"
    return {
        "answered": answered, "retried": retried,
        "most": max(stranger.received for stranger in strangers),
        "hubRSS": resident_bytes(hub_pid) - before,
    }


async def garbage(hub, hub_pid, edge_id, secret, count=3000):
    """Bytes that are no packets, other versions, packets of no tunnel: less comes back than was
    sent, and no more than the hub's limit on answers."""
    before = resident_bytes(hub_pid)
    stranger = Stranger(hub)
    began = time.monotonic()
    for index in range(count):
        kind = index % 4
        if kind == 0:
            stranger.send(random.randbytes(random.randrange(1, 1500)))
        elif kind == 1:
            # Another version; answered only when as long as a first packet.
            head = b"\xc0\xfa\xce\xb0\x0c\x08" + random.randbytes(8) + b"\x08" + bytes(8)
            stranger.send(head + bytes(random.choice((100, 1200))))
        elif kind == 2:
            # A short header with an id that nobody has.
            stranger.send(b"\x40" + random.randbytes(random.randrange(1, 100)))
        else:
            # A first packet, broken.
            packet = bytearray(FIRST)
            packet[random.randrange(30, len(packet))] ^= 0xFF
            stranger.send(bytes(packet))
        if index % 20 == 0:
            stranger.drain()
            await asyncio.sleep(0.005)
    await asyncio.sleep(1)
    stranger.drain()
    seconds = time.monotonic() - began
    # A quarter of a second's answers at once, 1,000 a second and shard after that, of two shards.
    assert stranger.answers <= 2 * (250 + 1000 * seconds), (stranger.answers, seconds)
    assert stranger.received < stranger.sent, (stranger.received, stranger.sent)
    assert stranger.answers > 0
    async with asyncio.timeout(10):
        async with join(hub, edge_id, secret) as tunnel:
            assert "listenPorts" in tunnel.offer, tunnel.offer
    return {
        "answers": stranger.answers, "sent": stranger.sent, "received": stranger.received,
        "hubRSS": resident_bytes(hub_pid) - before,
    }


FIRST = first_packet()

if __name__ == "__main__":
    play.main(globals())
