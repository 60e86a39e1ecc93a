"""Peers that mean no good, or know no better: half handshakes, malformed frames, floods."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import ssl
import struct

import play
import wire
from sockets import Connection, Target, connect, echo, resident_bytes
from wire import frame

TOO_LONG = "at most|too long"

# Frames that end the tunnel, and what the hub's log must say about each.
MALFORMED = {
    "DATA over 16 MiB": (frame(1, wire.DATA, length=(16 << 20) + 1), TOO_LONG),
    "OPEN over 107": (frame(1, wire.OPEN, b"x" * 108), TOO_LONG),
    "UDP_OPEN over 1,024": (frame(1, wire.UDP_OPEN, b"x" * 1025), TOO_LONG),
    "UDP payload over 65,507": (frame(1, wire.UDP_DATA, length=65_508), TOO_LONG),
    "PONG over 64": (frame(0, wire.PONG, b"x" * 65), TOO_LONG),
    "CLOSE over 64": (frame(1, wire.CLOSE, b"x" * 65), TOO_LONG),
    "WINDOW_UPDATE of 3": (frame(1, wire.WINDOW_UPDATE, b"xxx"), "window|too long"),
    "WINDOW_UPDATE of 5": (frame(1, wire.WINDOW_UPDATE, b"xxxxx"), "window|too long"),
    "unknown type over 1 MiB": (frame(0, 0x77, length=(1 << 20) + 1), "unknown"),
    "DATA_BACK from an edge": (frame(1, wire.DATA_BACK, b"x"), "direction"),
    "CONFIG from an edge": (frame(0, wire.CONFIG, b"{}"), "direction"),
    "PING from an edge": (frame(0, wire.PING, b"x"), "direction"),
    "OPEN on id 0": (frame(0, wire.OPEN, wire.proxy_line(1)), "stream 0|zero"),
    "DATA on id 0": (frame(0, wire.DATA, b"x"), "stream 0|zero"),
    "HELLO that is not JSON": (frame(0, wire.HELLO, b"hello"), "hello"),
    "HELLO that is no object": (frame(0, wire.HELLO, b"[1]"), "hello"),
}


async def malformed(hub, log, edge_id, secret, own_port, target):
    """Each malformed frame ends the tunnel that it came on, with a reason in the log."""
    with Target(target) as inside:
        inside.serve(echo)
        live = frame(7, wire.OPEN, wire.proxy_line(own_port))
        cases = dict(MALFORMED, **{"OPEN of a live id": (live + live, "in use|duplicate")})
        for name, (bytes_, reason) in cases.items():
            with open(log) as lines:
                lines.seek(0, 2)
                tunnel, _ = await wire.join(hub, edge_id, secret)
                await tunnel.send(bytes_)
                try:
                    await asyncio.wait_for(tunnel.ended(), 5)
                except TimeoutError:
                    raise AssertionError(f"{name}: the tunnel goes on")
                tunnel.close()
                said = await said_of(lines, edge_id, reason)
                assert said, f"{name}: the hub's log has no '{reason}' about {edge_id}"
    return {"cases": len(cases)}


async def said_of(lines, edge_id, reason):
    """Whether a log line with the id and the reason comes within 5 s."""
    for _ in range(100):
        for line in lines.readlines():
            if edge_id in line and re.search(reason, line, re.IGNORECASE):
                return True
        await asyncio.sleep(0.05)
    return False


async def tolerated(hub, edge_id, secret, own_port, target):
    """What must not end a tunnel: unknown types, unknown streams, resets of any length; streams
    that the hub refuses; DATA after CLOSE, which resets its stream alone."""
    with Target(target) as inside:
        tunnel, config = await wire.join(hub, edge_id, secret)
        assert config["listenPorts"] == [own_port], config
        await tunnel.send(frame(0, 0x77, b"x" * (1 << 20)) + frame(9, 0x78))
        await tunnel.send(frame(99, wire.DATA, b"lost") + frame(99, wire.CLOSE))
        await tunnel.send(frame(99, wire.WINDOW_UPDATE, b"\0\0\0\1") + frame(99, wire.CLOSE, b"\1"))
        # A header that is none, and a port that this edge does not own.
        await tunnel.send(frame(1, wire.OPEN, b"PROXY TCP4 me you 1 2\r\n"))
        assert await tunnel.wait_for(wire.CLOSE_BACK) == (1, wire.CLOSE_BACK, b"\1")
        await tunnel.send(frame(2, wire.OPEN, wire.proxy_line(own_port + 1)))
        assert await tunnel.wait_for(wire.CLOSE_BACK) == (2, wire.CLOSE_BACK, b"\1")
        # Data right behind the OPEN; then data behind the CLOSE.
        line = wire.proxy_line(own_port, source="192.0.2.7")
        await tunnel.send(frame(3, wire.OPEN, line) + frame(3, wire.DATA, b"early"))
        server = await inside.accept()
        assert server.proxy[2] == "192.0.2.7", server.proxy
        assert await server.read_exactly(5) == b"early"
        await tunnel.send(frame(3, wire.CLOSE) + frame(3, wire.DATA, b"late"))
        assert await tunnel.wait_for(wire.CLOSE_BACK) == (3, wire.CLOSE_BACK, b"\1")
        assert await server.ended() == "reset"
        # Any payload of CLOSE means reset.
        await tunnel.send(frame(4, wire.OPEN, wire.proxy_line(own_port)))
        server = await inside.accept()
        await tunnel.send(frame(4, wire.CLOSE, b"x" * 64))
        assert await server.ended() == "reset"
        tunnel.close()


async def overdrawn(hub, edge_id, secret, own_port, target):
    """More than 4 MiB outstanding towards a target that does not read resets that stream alone."""
    with Target(target) as inside:
        tunnel, _ = await wire.join(hub, edge_id, secret)
        await tunnel.send(frame(1, wire.OPEN, wire.proxy_line(own_port)))
        stuck = await inside.accept()
        granted = sent = 0

        async def flood():
            nonlocal sent
            while True:
                await tunnel.send(frame(1, wire.DATA, b"x" * 65536))
                sent += 65536

        flooding = asyncio.create_task(flood())
        while got := await tunnel.read_frame():
            if got[1] == wire.WINDOW_UPDATE_BACK:
                granted += struct.unpack(">I", got[2])[0]
            if got[1] == wire.CLOSE_BACK:
                break
        flooding.cancel()
        assert got == (1, wire.CLOSE_BACK, b"\1"), got
        assert sent - granted >= 4 << 20, f"reset with {sent - granted} bytes outstanding"
        await tunnel.send(frame(2, wire.OPEN, wire.proxy_line(own_port)))
        server = await inside.accept()
        await tunnel.send(frame(2, wire.DATA, b"other"))
        assert await server.read_exactly(5) == b"other"
        stuck.close()
        tunnel.close()


async def impostor(hub, edge_id, secret):
    """A wrong secret and an unknown id get the same line and the end; garbage gets the end."""
    for who, what in ((edge_id, "wrong"), ("nobody", secret)):
        tunnel, answer = await wire.join(hub, who, what)
        assert answer == {"error": "unauthorized"}, answer
        assert await tunnel.read_frame() is None
    too_long = f"EDGE {edge_id} {'s' * 4096}\n"
    lines = (b"\n", b"EDGE\n", b"EDGE a b c\n", b"GET / HTTP/1.1\r\n\r\n", too_long.encode())
    for line in lines + (b"x" * 5000, b"EDGE \xff\x00 b\n"):
        tunnel = await wire.dial(hub)
        await tunnel.send(line)
        await asyncio.wait_for(ending(tunnel), 5)

    async def offer(garbage):
        with await connect(hub) as raw:
            await raw.send(garbage)
            await asyncio.wait_for(raw.ended(), 15)

    garbage = (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", random.randbytes(1000))
    await asyncio.gather(*map(offer, garbage))


async def told_of_drain(hub, edge_id, secret, own_port, target, stop, known):
    """A hub that is told to stop tells its edges: those who know of it that it drains, with their
    configuration as it was; the others to close their ports. Streams live on either way."""
    with Target(target) as inside:
        inside.serve(echo)
        hello = ["drain"] if known else None
        tunnel, offered = await wire.join(hub, edge_id, secret, hello)
        assert "drain" in offered["extensions"], offered
        await tunnel.send(frame(1, wire.OPEN, wire.proxy_line(own_port)))
        await tunnel.send(frame(1, wire.DATA, b"x"))
        assert await tunnel.wait_for(wire.DATA_BACK) == (1, wire.DATA_BACK, b"x")
        os.kill(stop, signal.SIGTERM)
        config = json.loads((await tunnel.wait_for(wire.CONFIG))[2])
        if known:
            assert config == dict(offered, draining=True), config
        else:
            assert config["listenPorts"] == [] and "draining" not in config, config
        await tunnel.send(frame(1, wire.DATA, b"still there?"))
        assert await tunnel.wait_for(wire.DATA_BACK) == (1, wire.DATA_BACK, b"still there?")
        # No new ones; and with the last stream the hub ends.
        await tunnel.send(frame(2, wire.OPEN, wire.proxy_line(own_port)))
        assert await tunnel.wait_for(wire.CLOSE_BACK) == (2, wire.CLOSE_BACK, b"\1")
        await tunnel.send(frame(1, wire.CLOSE))
        await asyncio.wait_for(tunnel.ended(), 5)
        tunnel.close()


async def usurper(hub, edge_id, secret):
    """Takes the place of the edge with this id, and loses it when that edge comes back."""
    tunnel, config = await wire.join(hub, edge_id, secret)
    assert config["listenPorts"], config
    await asyncio.wait_for(tunnel.ended(), 10)
    tunnel.close()


async def ending(tunnel):
    """Reads what may be said in parting, until the end."""
    try:
        while await tunnel.reader.read(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass


async def slow_loris(hub, edge_id, secret):
    """Whoever does not get through the handshake within 10 s is cut off, wherever he stops."""
    hello = client_hello()

    async def drip(tunnel):
        for byte in f"EDGE {edge_id} ".encode() + b"x" * 1000:
            await tunnel.send(bytes([byte]))
            await asyncio.sleep(0.2)

    silent = await connect(hub)
    half = await connect(hub)
    await half.send(hello[: len(hello) // 2])
    mute = await wire.dial(hub)
    slow = await wire.dial(hub)
    dripping = asyncio.create_task(drip(slow))
    # 10 s and what a busy machine adds.
    async with asyncio.timeout(15):
        await asyncio.gather(silent.ended(), half.ended(), ending(mute), ending(slow))
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


def client_hello():
    """The first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


async def flood(hub, hub_pid, edge_id, secret, count=10_000, bytes_each=16 << 10):
    """Idle connections that never say who they are: a joined edge and a new one are served all
    the same, and each costs the hub little."""
    before = resident_bytes(hub_pid)
    idlers = []
    for index in range(count):
        sock = socket.socket()
        sock.bind(("127.0.0.2", 0))
        sock.setblocking(False)
        idlers.append(Connection(sock))
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", hub))
            if index % 2:
                await idlers[-1].send(b"\x16")
        except ConnectionError:
            pass  # The hub has enough of this address.
    async with asyncio.timeout(10):
        tunnel, config = await wire.join(hub, edge_id, secret)
        assert "listenPorts" in config, config
        tunnel.close()
    grown = resident_bytes(hub_pid) - before
    for idler in idlers:
        idler.close()
    # Only those that the limits let in cost anything: at most 512 a shard.
    assert grown <= 2 * 1024 * bytes_each, f"RSS grew by {grown}"
    return {"hubRSS": grown}


if __name__ == "__main__":
    play.main(globals())
