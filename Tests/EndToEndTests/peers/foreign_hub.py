"""A hub played by hand, to see what an edge does: whom it dials, what it opens, what it takes."""

import asyncio
import json
import os
import signal
import struct

import play
import wire
from sockets import connect
from wire import frame


async def unauthorized(port, certificate):
    """An edge that is told `unauthorized` does not hammer: it comes once, and not again at once."""
    async with wire.Hub(port, certificate, {"error": "unauthorized"}) as hub:
        async with asyncio.timeout(15):
            while hub.connections == 0:
                await asyncio.sleep(0.05)
        # SPEC 2.3: it waits 15 to 30 s.
        await asyncio.sleep(5)
        assert hub.connections == 1, f"{hub.connections} tries in 5 s"


async def reconfigured(port, certificate, first, second):
    """CONFIG replaces the ports: new ones open, old ones close, the streams on them live on."""
    async with wire.Hub(port, certificate, {"listenPorts": [first], "x": {"y": 1}}) as hub:
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        client = await dial_until_open(first)
        stream, _, line = await tunnel.wait_for(wire.OPEN)
        assert stream == 1 and line.endswith(f" {first}\r\n".encode()), (stream, line)
        await tunnel.send(frame(0, wire.CONFIG, b'{"listenPorts":[%d]}' % second))
        await until_closed(first)
        with await dial_until_open(second):
            # The clients that looked whether `first` was closed may have come through before.
            while not (await tunnel.wait_for(wire.OPEN))[2].endswith(f" {second}\r\n".encode()):
                pass
        await client.send(b"still here")
        got = await tunnel.wait_for(wire.DATA)
        assert got == (stream, wire.DATA, b"still here"), got
        await tunnel.send(frame(stream, wire.DATA_BACK, b"so am I"))
        assert await client.read_exactly(7) == b"so am I"
        client.close()
        await tunnel.send(frame(0, wire.PING, b"opaque \0 bytes"))
        assert await tunnel.wait_for(wire.PONG) == (0, wire.PONG, b"opaque \0 bytes")


async def bad_firewall(port, certificate, first, second):
    """A firewallConfig that breaks the rules refuses itself alone: the ports apply."""
    rule = {"id": "a", "direction": "input", "action": "accept; flush ruleset"}
    config = {"listenPorts": [first], "firewallConfig": {"rules": [rule]}}
    async with wire.Hub(port, certificate, config) as hub:
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        (await dial_until_open(first)).close()
        for firewall in (["x"], "x", 7, {"blockedIps": "all"}, {"blockedIps": [None]}):
            change = {"listenPorts": [second], "firewallConfig": firewall}
            await tunnel.send(frame(0, wire.CONFIG, json.dumps(change).encode()))
            await until_closed(first)
            (await dial_until_open(second)).close()
            first, second = second, first
        assert hub.connections == 1, hub.connections


async def withheld(port, certificate, first):
    """Without credit an edge sends 4 MiB of a stream (but for less than a buffer's worth) and no
    more; with credit, that much more, and in the end the rest."""

    def fills(taken, window):
        assert window - SPARE < taken <= window, f"{taken} bytes sent, {window} allowed"

    async with wire.Hub(port, certificate, {"listenPorts": [first]}) as hub:
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        with await dial_until_open(first) as client:
            stream = (await tunnel.wait_for(wire.OPEN))[0]
            sending = asyncio.create_task(client.send(bytes(6 << 20)))
            taken = await data_up_to(tunnel, 4 << 20)
            fills(taken, 4 << 20)
            await tunnel.send(frame(stream, wire.WINDOW_UPDATE_BACK, struct.pack(">I", 1 << 20)))
            taken += await data_up_to(tunnel, (5 << 20) - taken)
            fills(taken, 5 << 20)
            await tunnel.send(frame(stream, wire.WINDOW_UPDATE_BACK, struct.pack(">I", 4 << 20)))
            taken += await data_up_to(tunnel, (6 << 20) - taken, spare=0)
            assert taken == 6 << 20, taken
            await sending


async def agreed(port, certificate, first):
    """An edge answers what it knows of a hub's offer, in its first frame; to a hub without an offer
    it says nothing."""
    offer = ["later", "drain", "autoWindow"]
    async with wire.Hub(port, certificate, {"listenPorts": [first], "extensions": offer}) as hub:
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        (await dial_until_open(first)).close()
        stream, kind, payload = await tunnel.read_frame()
        hello = json.loads(payload)
        assert (stream, kind) == (0, wire.HELLO), (stream, kind)
        assert hello["extensions"] == ["autoWindow", "drain"], hello
        assert hello["version"] and "draining" not in hello, hello
        assert (await tunnel.read_frame())[1] == wire.OPEN
        hub.config = {"listenPorts": [first]}
        tunnel.close()
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        # A client that comes too early for the second tunnel is turned away.
        while (got := await opened(tunnel, first)) is None:
            pass
        assert got[:2] == (1, wire.OPEN), got


async def opened(tunnel, port):
    """The first frame once a client has come, or None when none has been sent for a while."""
    (await dial_until_open(port)).close()
    try:
        return await asyncio.wait_for(tunnel.read_frame(), 0.2)
    except TimeoutError:
        return None


async def made_way(port, certificate, first):
    """A hub that drains: its edge dials again at once and keeps the old tunnel for its stream."""
    config = {"listenPorts": [first], "extensions": ["drain"]}
    async with wire.Hub(port, certificate, config) as hub:
        old = await asyncio.wait_for(hub.accept(), 15)
        client = await dial_until_open(first)
        stream = (await old.wait_for(wire.OPEN))[0]
        draining = json.dumps(dict(config, draining=True)).encode()
        await old.send(frame(0, wire.CONFIG, draining))
        new = await asyncio.wait_for(hub.accept(), 5)
        with await dial_until_open(first) as other:
            await other.send(b"to the new one")
            assert (await new.wait_for(wire.DATA))[2] == b"to the new one"
            await client.send(b"to the old one")
            assert await old.wait_for(wire.DATA) == (stream, wire.DATA, b"to the old one")
            await old.send(frame(stream, wire.DATA_BACK, b"answer"))
            assert await client.read_exactly(6) == b"answer"
            client.finish()
            assert await old.wait_for(wire.CLOSE) == (stream, wire.CLOSE, b"")
            await old.send(frame(stream, wire.CLOSE_BACK))
            # With its last stream the old tunnel is over, and the edge leaves it.
            assert await asyncio.wait_for(old.wait_for(wire.OPEN), 5) is None
            await other.send(b"still here")
            assert (await new.wait_for(wire.DATA))[2] == b"still here"
            assert hub.connections == 2, hub.connections
        client.close()


async def took_leave(port, certificate, first, stop):
    """An edge that is told to stop says so, where its hub knows of it."""
    config = {"listenPorts": [first], "extensions": ["drain"]}
    async with wire.Hub(port, certificate, config) as hub:
        tunnel = await asyncio.wait_for(hub.accept(), 15)
        assert (await tunnel.read_frame())[1] == wire.HELLO
        client = await dial_until_open(first)
        stream = (await tunnel.wait_for(wire.OPEN))[0]
        os.kill(stop, signal.SIGTERM)
        hello = json.loads((await tunnel.wait_for(wire.HELLO))[2])
        assert hello["draining"] is True and hello["extensions"] == ["drain"], hello
        await until_closed(first)
        await tunnel.send(frame(stream, wire.DATA_BACK, b"to the end"))
        assert await client.read_exactly(10) == b"to the end"
        await tunnel.send(frame(stream, wire.CLOSE_BACK))
        client.finish()
        assert await client.ended() == "eof"
        await asyncio.wait_for(tunnel.ended(), 5)
        tunnel.close()


async def malformed(port, certificate, first):
    """A hub's malformed frame ends the tunnel; the edge comes back and serves on."""
    cases = {
        "DATA from a hub": frame(1, wire.DATA, b"x"),
        "CONFIG that is not JSON": frame(0, wire.CONFIG, b"ports"),
        "CONFIG with ports that are none": frame(0, wire.CONFIG, b'{"listenPorts":["http"]}'),
        "WINDOW_UPDATE_BACK of 3": frame(1, wire.WINDOW_UPDATE_BACK, b"xxx"),
    }
    async with wire.Hub(port, certificate, {"listenPorts": [first]}) as hub:
        for name, bytes_ in cases.items():
            # The back-off grows with each short tunnel: at most 1 + 2 + 4 + 8 s.
            tunnel = await asyncio.wait_for(hub.accept(), 20)
            await tunnel.send(bytes_)
            try:
                await asyncio.wait_for(tunnel.ended(), 5)
            except TimeoutError:
                raise AssertionError(f"{name}: the tunnel goes on")


# What is too little for another buffer may stay unsent.
SPARE = 64 << 10


async def data_up_to(tunnel, count, spare=SPARE - 1):
    """Bytes of DATA: about `count` of them, however long they take, and whatever comes within a
    second after that."""
    taken = 0
    try:
        while True:
            patience = 1 if taken >= count - spare else 20
            got = await asyncio.wait_for(tunnel.wait_for(wire.DATA), patience)
            assert got, "the tunnel ended"
            taken += len(got[2])
    except TimeoutError:
        return taken


async def dial_until_open(port):
    async with asyncio.timeout(10):
        while True:
            try:
                return await connect(port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


async def until_closed(port):
    async with asyncio.timeout(10):
        while True:
            try:
                (await connect(port)).close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # It was in the backlog when the listener closed.
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    play.main(globals())
