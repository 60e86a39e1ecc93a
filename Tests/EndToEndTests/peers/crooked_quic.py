"""Peers over QUIC that mean no good, or know no better: crooked.py and foreign_hub.py over QUIC, as
far as there is something to be crooked with; what QUIC itself limits; many edges at once."""

import asyncio
import contextlib
import json
import random
import struct
import time

from aioquic.asyncio import connect as quic_connect, serve as quic_serve

import play
import wire
from crooked import said_of
from foreign_quic import SIGNATURE, Tunnel, configuration, header_v2
from sockets import Target, echo
from wire import CONFIG, HELLO, PING, PONG, proxy_line

# Errors of CONNECTION_CLOSE (RFC 9000 section 20.1, docs/PROTOCOL.md section 10).
FLOW_CONTROL_ERROR, STREAM_LIMIT_ERROR = 0x3, 0x4
VIOLATION, REFUSED = 1, 2


def message(kind, payload=b"", length=None):
    """A message of the control channel; `length` may lie about the payload."""
    return struct.pack(">BI", kind, len(payload) if length is None else length) + payload


# What ends a tunnel when an edge says it, and what the hub's log must say about it.
MALFORMED = {
    "PONG over 64": (message(PONG, b"x" * 65), "at most|too long"),
    "HELLO over 64 KiB": (message(HELLO, length=(64 << 10) + 1), "at most|too long"),
    "unknown type over 1 MiB": (message(0x77, length=(1 << 20) + 1), "unknown"),
    "CONFIG from an edge": (message(CONFIG, b"{}"), "direction"),
    "PING from an edge": (message(PING, b"x"), "direction"),
    "HELLO that is not JSON": (message(HELLO, b"hello"), "hello"),
    "HELLO that is no object": (message(HELLO, b"[1]"), "hello"),
}


def dial(hub):
    """A connection without a word yet."""
    return quic_connect(
        "127.0.0.1", hub, configuration=configuration(True), create_protocol=Tunnel)


@contextlib.asynccontextmanager
async def join(hub, edge_id, secret):
    """A tunnel that is up, and what the hub has said to it."""
    async with dial(hub) as tunnel:
        tunnel.send(tunnel.open(), f"EDGE {edge_id} {secret}\n".encode())
        tunnel.offer = json.loads(await tunnel.line())
        yield tunnel


async def closed(tunnel, name, *codes, seconds=5):
    """The hub ends the connection with one of these errors."""
    try:
        await tunnel.until(lambda: tunnel.closed, seconds)
    except TimeoutError:
        raise AssertionError(f"{name}: the tunnel goes on")
    assert tunnel.closed.error_code in codes, f"{name}: {tunnel.closed}"


async def malformed(hub, log, edge_id, secret):
    """Each malformed message ends the tunnel that it came on, with a reason in the log; and so
    does the end of the control channel."""
    for name, (bytes_, reason) in MALFORMED.items():
        with open(log) as lines:
            lines.seek(0, 2)
            async with join(hub, edge_id, secret) as tunnel:
                tunnel.send(0, bytes_)
                await closed(tunnel, name, VIOLATION)
            said = await said_of(lines, edge_id, reason)
            assert said, f"{name}: the hub's log has no '{reason}' about {edge_id}"
    async with join(hub, edge_id, secret) as tunnel:
        tunnel.send(0, b"", end=True)
        await closed(tunnel, "the end of the control channel", VIOLATION)
    async with join(hub, edge_id, secret) as tunnel:
        tunnel.reset(0)
        await closed(tunnel, "a reset of the control channel", VIOLATION)


async def tolerated(hub, edge_id, secret, own_port, target):
    """What must not end a tunnel: unknown messages, streams that the hub refuses, datagrams that
    are none of a session."""
    with Target(target) as inside:
        inside.serve(echo)
        async with join(hub, edge_id, secret) as tunnel:
            assert tunnel.offer["listenPorts"] == [own_port], tunnel.offer
            tunnel.send(0, message(0x77, b"x" * (1 << 20)) + message(0x78))
            # Headers that are none, that never end, and of a port that is not this edge's.
            for header in (
                b"PROXY TCP4 me you 1 2\r\n", b"x" * 4000, b"\r\n", b"\xff" * 107,
                proxy_line(own_port + 1), proxy_line(own_port)[:-2] + b" " * 100,
            ):
                stream = tunnel.open()
                tunnel.send(stream, header)
                await tunnel.until(lambda: stream in tunnel.resets or tunnel.closed)
                assert tunnel.resets.get(stream) == 1, (header, tunnel.closed)
            # A stream that is over before its header is.
            tunnel.send(tunnel.open(), b"PROXY", end=True)
            stream = tunnel.open()
            tunnel.send(stream, b"PROXY")
            tunnel.reset(stream)
            opening = b"\xff" + header_v2(own_port)
            for datagram in (
                b"", b"\0", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\7", b"\0\0\0\7lost",
                b"\xff\xff\xff\xff\xff" + SIGNATURE, b"\0\0\0\7\xff" + SIGNATURE + b"\x21\x12",
                b"\0\0\0\7" + opening[:-1], b"\0\0\0\7" + opening, b"\0\0\0\0" + opening,
                b"\0\0\0\7\xff" + SIGNATURE + b"\x21\x12\x04\x00" + bytes(1024),
                *(random.randbytes(random.randrange(1100)) for _ in range(200)),
            ):
                tunnel.send_datagram(datagram)
            # All the same a stream is served.
            stream = tunnel.open()
            tunnel.send(stream, proxy_line(own_port) + b"still there?", end=True)
            await tunnel.until(lambda: stream in tunnel.ends or tunnel.closed)
            assert bytes(tunnel.data[stream]) == b"still there?" and not tunnel.closed


async def overreaching(hub, edge_id, secret):
    """Who takes more than QUIC has granted is cut off: streams and bytes before it has said who it
    is, streams beyond their number, streams of a kind that was not agreed on."""

    def push(tunnel, stream, data):
        # What aioquic would hold back.
        tunnel._quic._remote_max_streams_bidi = tunnel._quic._remote_max_streams_uni = 1 << 40
        tunnel._quic._remote_max_data = 1 << 40
        tunnel._quic._remote_max_stream_data_bidi_remote = 1 << 40
        tunnel._quic._remote_max_stream_data_uni = 1 << 40
        tunnel.send(stream, data)

    async with dial(hub) as stranger:
        push(stranger, 4, proxy_line(80))
        await closed(stranger, "a stranger's second stream", STREAM_LIMIT_ERROR)
    async with dial(hub) as stranger:
        push(stranger, 0, b"x" * (64 << 10))
        await closed(stranger, "a stranger's many bytes", FLOW_CONTROL_ERROR, VIOLATION)
    async with join(hub, edge_id, secret) as tunnel:
        push(tunnel, 4 * 70_000, proxy_line(80))
        await closed(tunnel, "too many streams", STREAM_LIMIT_ERROR)
    async with join(hub, edge_id, secret) as tunnel:
        push(tunnel, 2, b"\0\0\0\1large")
        await closed(tunnel, "a large datagram that was not agreed on", STREAM_LIMIT_ERROR)


async def impostor(hub, edge_id, secret):
    """A wrong secret and an unknown id get the same line and the end; garbage gets the end."""
    for who, what in ((edge_id, "wrong"), ("nobody", secret)):
        async with join(hub, who, what) as tunnel:
            assert tunnel.offer == {"error": "unauthorized"}, tunnel.offer
            await closed(tunnel, "an impostor", REFUSED)
    too_long = f"EDGE {edge_id} {'s' * 4096}\n"
    lines = (b"\n", b"EDGE\n", b"EDGE a b c\n", b"GET / HTTP/1.1\r\n\r\n", too_long.encode())
    for line in lines + (b"x" * 5000, b"EDGE \xff\x00 b\n"):
        async with dial(hub) as tunnel:
            tunnel.send(tunnel.open(), line)
            await closed(tunnel, line[:30], VIOLATION)
    async with dial(hub) as tunnel:
        tunnel.send(tunnel.open(), b"EDGE ", end=True)
        await closed(tunnel, "a line that ends early", VIOLATION)


async def slow_loris(hub, edge_id, secret):
    """Whoever does not say who it is within 10 s is cut off."""

    async def drip(tunnel):
        stream = tunnel.open()
        for byte in f"EDGE {edge_id} ".encode() + b"x" * 1000:
            tunnel.send(stream, bytes([byte]))
            await asyncio.sleep(0.2)

    async with dial(hub) as mute, dial(hub) as slow:
        dripping = asyncio.create_task(drip(slow))
        # 10 s and what a busy machine adds.
        await asyncio.gather(
            *(closed(each, "slow", 0, VIOLATION, seconds=15) for each in (mute, slow)))
        dripping.cancel()


async def usurper(hub, edge_id, secret):
    """Takes the place of the edge with this id, and loses it when that edge comes back."""
    async with join(hub, edge_id, secret) as tunnel:
        assert tunnel.offer["listenPorts"], tunnel.offer
        await closed(tunnel, "the usurper", 0, seconds=10)
        assert "replaced" in tunnel.closed.reason_phrase, tunnel.closed


async def malformed_hub(port, certificate, first):
    """A hub's malformed message ends the tunnel, and so does a stream that a hub has no right to;
    the edge comes back and serves on."""
    cases = {
        "CONFIG that is not JSON": (message(CONFIG, b"ports"), VIOLATION),
        "CONFIG with ports that are none": (message(CONFIG, b'{"listenPorts":["x"]}'), VIOLATION),
        "PONG from a hub": (message(PONG, b"x"), VIOLATION),
        "a stream that a hub opens": (None, STREAM_LIMIT_ERROR),
    }
    config = configuration(False)
    config.load_cert_chain(certificate, certificate)
    Tunnel.made = asyncio.Queue()
    server = await quic_serve("127.0.0.1", port, configuration=config, create_protocol=Tunnel)
    answer = json.dumps({"listenPorts": [first], "stunIntervalSecs": 0}).encode() + b"\n"
    for name, (bytes_, code) in cases.items():
        # The back-off grows with each short tunnel: at most 1 + 2 + 4 + 8 s.
        tunnel = await asyncio.wait_for(Tunnel.made.get(), 20)
        assert (await tunnel.line()).startswith(b"EDGE ")
        tunnel.send(0, answer)
        if bytes_:
            tunnel.send(0, bytes_)
        else:
            tunnel._quic._remote_max_streams_bidi = 1 << 40
            tunnel.send(1, b"x")
        await closed(tunnel, name, code)
    server.close()


class Edge:
    """An edge without clients: joins, makes sure that its hub is there, and joins again."""

    def __init__(self, hub, name, secret):
        self.hub, self.name, self.secret = hub, name, secret
        self.joined = 0.0

    async def live(self):
        attempt = 0
        while True:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                await self.stay()
            self.joined = 0.0
            longest = min(30, 2**attempt)
            attempt += 1
            await asyncio.sleep(random.uniform(longest / 2, longest))

    async def stay(self):
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(10):
                tunnel = await stack.enter_async_context(join(self.hub, self.name, self.secret))
            assert "error" not in tunnel.offer, tunnel.offer
            self.joined = time.monotonic()
            try:
                while True:
                    # aioquic knows no stateless reset: silence tells it as much.
                    async with asyncio.timeout(5):
                        await tunnel.ping()
                    await asyncio.sleep(2)
            finally:
                self.joined = 0.0


async def storm(hub, secret, count, prefix):
    """As storm.py: many edges lose their hub at once and come back."""
    from storm import until

    edges = [Edge(hub, f"{prefix}{index}", secret) for index in range(count)]
    tasks = [asyncio.create_task(edge.live()) for edge in edges]
    await until(lambda: all(edge.joined for edge in edges), tasks)
    print("all joined", flush=True)
    await until(lambda: not any(edge.joined for edge in edges), tasks)
    lost = time.monotonic()
    print("all lost", flush=True)
    await until(lambda: all(edge.joined for edge in edges), tasks)
    back = sorted(edge.joined - lost for edge in edges)
    assert back[-1] <= 60, f"the last was back after {back[-1]} s"
    print(f"all back: half in {back[count // 2]:.1f} s, all in {back[-1]:.1f} s", flush=True)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    play.main(globals())
