"""Client and target at once: what a stream must carry from one to the other, and back."""

import asyncio
import os
import pathlib
import random
import signal
import time

import play
from sockets import Connection, Target, connect, echo, open_pair, resident_bytes

MIB = 1 << 20


async def crowd(edge, target, clients=1000):
    """Many clients open at the same time; each gets back exactly what it sent."""
    noise = random.randbytes(2 * MIB)

    async def exchange(client, index):
        start, count = random.randrange(MIB), random.randint(1, 64 << 10)
        sent = index.to_bytes(4) + noise[start : start + count]
        sending = asyncio.create_task(client.send(sent))
        assert await client.read_exactly(len(sent)) == sent, f"client {index}: other bytes"
        await sending
        client.finish()
        assert await client.ended() == "eof"
        client.close()
        return len(sent)

    with Target(target) as inside:
        inside.serve(echo)
        crowd = [await connect(edge) for _ in range(clients)]
        sizes = await asyncio.gather(*(exchange(c, i) for i, c in enumerate(crowd)))
    return {"clients": clients, "bytes": sum(sizes)}


async def kept(edge, target, hub_pid, config, changed, log, clients=1000, reloads=3):
    """A hub reads its configuration again, and none of many live streams notices."""
    texts = [pathlib.Path(changed).read_text(), pathlib.Path(config).read_text()]
    said = pathlib.Path(log)

    async def exchange(client, text):
        await client.send(text)
        assert await client.read_exactly(len(text)) == text

    with Target(target) as inside:
        inside.serve(echo)
        crowd = [await connect(edge) for _ in range(clients)]
        await asyncio.gather(*(exchange(c, b"before") for c in crowd))
        for i in range(reloads):
            count = said.read_text().count("info reloaded")
            pathlib.Path(config).write_text(texts[i % 2])
            os.kill(hub_pid, signal.SIGHUP)
            # In the middle of it and behind it.
            await asyncio.gather(*(exchange(c, b"meanwhile") for c in crowd))
            while said.read_text().count("info reloaded") == count:
                await asyncio.sleep(0.01)
            await asyncio.gather(*(exchange(c, b"after") for c in crowd))
        for client in crowd:
            client.finish()
            assert await client.ended() == "eof"
            client.close()
    return {"clients": clients, "reloads": reloads}


async def proxy_line(edge, target):
    """The first line names both ends as the client sees them, over IPv4 and IPv6."""
    with Target(target) as inside:
        for family, host in (("TCP4", "127.0.0.1"), ("TCP6", "::1")):
            client, server = await open_pair(edge, inside, host=host)
            with client, server:
                own, listener = client.sock.getsockname(), client.sock.getpeername()
                expected = ["PROXY", family, own[0], listener[0], str(own[1]), str(edge)]
                assert server.proxy == expected, f"{server.proxy}, expected {expected}"


async def half_close_by_client(edge, target):
    """The target sees the client's end, and only then answers."""
    answer = random.randbytes(3 * MIB)
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            await client.send(b"question")
            client.finish()
            assert await server.read_to_end() == b"question"
            sending = asyncio.create_task(server.send(answer))
            assert await client.read_exactly(len(answer)) == answer
            await sending
            server.finish()
            assert await client.ended() == "eof"


async def half_close_by_target(edge, target):
    """The client sees the target's end, and goes on sending."""
    upload = random.randbytes(3 * MIB)
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            await server.send(b"enough")
            server.finish()
            assert await client.read_to_end() == b"enough"
            sending = asyncio.create_task(client.send(upload))
            assert await server.read_exactly(len(upload)) == upload
            await sending
            client.finish()
            assert await server.ended() == "eof"


async def reset_by_client(edge, target):
    """A client's RST is a reset at the target, at rest and in the middle of a transfer."""
    with Target(target) as inside:
        for busy in (False, True):
            client, server = await open_pair(edge, inside)
            with server:
                if busy:
                    sending = asyncio.create_task(flood(server))
                    await client.read_exactly(MIB)
                else:
                    await client.send(b"x")
                    await server.read_exactly(1)
                client.reset()
                # The kernel tells a reset once: to the call that comes first.
                seen = [await server.ended()] + ([await sending] if busy else [])
                assert "reset" in seen, f"no reset at the target, busy={busy}: {seen}"


async def reset_by_target(edge, target):
    """A target's RST is a reset at the client, at rest and in the middle of a transfer."""
    with Target(target) as inside:
        for busy in (False, True):
            client, server = await open_pair(edge, inside)
            with client:
                if busy:
                    sending = asyncio.create_task(flood(client))
                    await server.read_exactly(MIB)
                else:
                    await client.send(b"x")
                    await server.read_exactly(1)
                server.reset()
                seen = [await client.ended()] + ([await sending] if busy else [])
                assert "reset" in seen, f"no reset at the client, busy={busy}: {seen}"


async def target_down(edge, target):
    """Nothing listens at the target: the client is reset, and the next one is served again."""
    try:
        with await connect(edge) as client:
            assert await client.ended() == "reset"
    except ConnectionResetError:
        pass  # The reset was here before the client looked.
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            await client.send(b"x")
            assert await server.read_exactly(1) == b"x"


async def refused(edge):
    """There is no tunnel: clients are turned away at once, not held."""
    for _ in range(20):
        try:
            with await connect(edge) as client:
                await asyncio.wait_for(client.ended(), 5)
        except ConnectionError:
            pass


async def cut_off(edge, target, kill=0, stop=0, signals=1, within=10):
    """A process that is killed, or stopped while a stream stays, takes the stream with it: both
    the client and the target see the end, though neither has closed."""
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            await client.send(b"x")
            assert await server.read_exactly(1) == b"x"
            if kill:
                os.kill(kill, signal.SIGKILL)
            else:
                os.kill(stop, signal.SIGTERM)
                if signals > 1:
                    await new_ones_refused(edge)
                    os.kill(stop, signal.SIGTERM)
            began = time.monotonic()
            async with asyncio.timeout(within):
                await asyncio.gather(client.ended(), server.ended())
            return {"seconds": time.monotonic() - began}


async def drained(edge, target, stop):
    """After SIGTERM no new stream comes, and a live one is served to its end."""
    answer = random.randbytes(MIB)
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            os.kill(stop, signal.SIGTERM)
            await new_ones_refused(edge)
            await client.send(b"still there?")
            assert await server.read_exactly(12) == b"still there?"
            sending = asyncio.create_task(server.send(answer))
            assert await client.read_exactly(len(answer)) == answer
            await sending
            server.finish()
            assert await client.ended() == "eof"
            client.finish()
            assert await server.ended() == "eof"


async def handed_over(edge, target, stop, log):
    """A hub drains while another stands by: the live stream stays with the first to its end, new
    ones come through at once again."""
    with Target(target) as inside:
        client, server = await open_pair(edge, inside)
        with client, server:
            await client.send(b"x")
            assert await server.read_exactly(1) == b"x"
            os.kill(stop, signal.SIGTERM)
            async with asyncio.timeout(10):
                while " is draining" not in pathlib.Path(log).read_text():
                    await asyncio.sleep(0.01)
                # None is held; for a moment there is no tunnel.
                while not await served(edge, inside):
                    await asyncio.sleep(0.01)
            os.kill(stop, 0)  # The first hub is still there.
            await client.send(b"still there?")
            assert await server.read_exactly(12) == b"still there?"
            server.finish()
            assert await client.ended() == "eof"
            client.finish()
            assert await server.ended() == "eof"


async def served(edge, target):
    """Whether a new client reaches the target and back."""
    try:
        with await connect(edge) as client:
            await client.send(b"new")
            with await asyncio.wait_for(target.accept(), 5) as server:
                assert await server.read_exactly(3) == b"new"
                await server.send(b"yes")
                return await client.read_exactly(3) == b"yes"
    except (ConnectionError, AssertionError, TimeoutError):
        return False


async def new_ones_refused(edge):
    """Waits until a new client is turned away. Its own target socket may be made before that."""
    async with asyncio.timeout(10):
        while True:
            try:
                with await connect(edge) as client:
                    async with asyncio.timeout(0.2):
                        await client.ended()
                        return
            except ConnectionError:
                return
            except TimeoutError:
                pass


async def stalled(edge, target, edge_pid, hub_pid, by="client", count=20, window=4 * MIB):
    """Clients (or targets) that never read hold up nobody else, cost at most a window each in
    the process that they stall, and miss nothing when they read again."""
    with Target(target) as inside:
        pairs = [await open_pair(edge, inside) for _ in range(count)]
        if by == "target":
            pairs = [(server, client) for client, server in pairs]
        before = [resident_bytes(pid) for pid in (edge_pid, hub_pid)]
        counts = [Progress() for _ in pairs]
        sending = [asyncio.create_task(flood(s, c)) for (_, s), c in zip(pairs, counts)]
        await still(counts)
        grown = [resident_bytes(pid) - rss for pid, rss in zip((edge_pid, hub_pid), before)]
        for _ in range(20):
            client, server = await open_pair(edge, inside)
            with client, server:
                block = random.randbytes(MIB)
                echoing = asyncio.create_task(echo(server))
                going = asyncio.create_task(client.send(block))
                assert await client.read_exactly(len(block)) == block
                await going
                client.finish()
                await echoing
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        # What was sent is a prefix of one known pattern: read it all from the first of them.
        stopped, sender = pairs[0]
        sender.finish()
        assert await stopped.read_to_end() == counts[0].sent(), "bytes were lost in the stall"
        for pair in pairs:
            for connection in pair:
                connection.close()
    # One process holds the window; both have a little for pools and tables.
    assert max(grown) <= count * window + 32 * MIB, f"RSS grew by {grown}"
    return {"edgeRSS": grown[0], "hubRSS": grown[1], "each": max(c.bytes for c in counts)}


PATTERN = random.Random(1).randbytes(MIB)


class Progress:
    """How many bytes of the repeated pattern a socket has taken."""

    def __init__(self):
        self.bytes = 0

    def sent(self):
        return (PATTERN * (self.bytes // MIB + 1))[: self.bytes]


async def flood(connection: Connection, progress=None):
    """Sends the pattern, over and over, until the connection is gone; names how it went."""
    progress = progress or Progress()
    try:
        while True:
            start = progress.bytes % MIB
            await writable(connection)
            try:
                progress.bytes += connection.sock.send(PATTERN[start : start + (256 << 10)])
            except BlockingIOError:
                pass
    except ConnectionResetError:
        return "reset"
    except ConnectionError as error:
        return str(error)


async def writable(connection):
    ready = connection.loop.create_future()
    connection.loop.add_writer(connection.sock, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        connection.loop.remove_writer(connection.sock)


async def still(counts):
    """Returns when nothing has moved for half a second: everything is full."""
    last = None
    while last != (last := sum(progress.bytes for progress in counts)):
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    play.main(globals())
