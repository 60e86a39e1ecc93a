"""Clients beside an edge, and the server behind its hub, for tunnels whose path is lossy or moves.

The server reads one line of each connection: `echo` sends back what comes, `bulk COUNT` sends so
many bytes of a pattern, `tick` sends its count every five milliseconds until the client ends.
"""

import asyncio
import collections
import random
import subprocess
import time

import play
from sockets import Target, connect, echo

PATTERN = random.Random(1).randbytes(65_521) * 17


async def serve(port):
    async def handle(connection):
        words = (await connection.read_line()).split()
        if words[0] == b"echo":
            await echo(connection)
        elif words[0] == b"bulk":
            left = int(words[1])
            while left > 0:
                count = min(left, len(PATTERN))
                await connection.send(PATTERN[:count])
                left -= count
        else:
            count = 0
            while True:
                await connection.send(count.to_bytes(8))
                count += 1
                await asyncio.sleep(0.005)

    with Target(port) as target:
        target.serve(handle)
        print("serving", flush=True)
        await asyncio.Event().wait()


async def start(port, line):
    connection = await connect(port)
    await connection.send(line + b"\n")
    return connection


async def bulk(port, count):
    """Downloads so many bytes, every one of which is looked at; returns the bytes of a second."""
    began = time.monotonic()
    with await start(port, b"bulk %d" % count) as connection:
        at = 0
        while at < count:
            piece = await connection.read()
            assert piece, f"the end after {at} bytes"
            offset = at % len(PATTERN)
            expected = PATTERN[offset : offset + len(piece)]
            while len(expected) < len(piece):
                expected += PATTERN[: len(piece) - len(expected)]
            assert piece == expected, f"other bytes behind {at}"
            at += len(piece)
    return count / (time.monotonic() - began)


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def small_beside_load(port, other, seconds=20, rate=250, streams=50):
    """Small requests of many clients by two tunnels at once, beside a stream of 2 MB/s each way in
    each: what a lost packet costs them, in milliseconds; and by how much the requests themselves
    were late, which has to do with the machine alone.

    Requests come at random times, whatever became of those before, and each counts from the time
    that it was meant for: what waits is seen in full.
    """
    tunnels = {"port": port, "other": other}
    times = await asyncio.gather(
        *(requests(each, seconds, rate, streams) for each in tunnels.values()))
    figures = {}
    for name, (values, lags) in zip(tunnels, times):
        figures[f"{name}_lag"] = 1000 * percentile(lags, 0.99)
        figures[f"{name}_count"] = len(values)
        for label, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1)):
            figures[f"{name}_{label}"] = 1000 * percentile(values, part)
    return figures


async def requests(port, seconds, rate, streams):
    """The seconds that requests took on one tunnel, and those by which they were late."""
    times, lags, tasks = [], [], []
    connections = [await start(port, b"echo") for _ in range(streams)]
    meant = [collections.deque() for _ in connections]

    async def read(index):
        while True:
            await connections[index].read_exactly(64)
            times.append(time.monotonic() - meant[index].popleft())

    async def load(connection, chunk=2_800, bytes_per_second=2_000_000):
        tasks.append(asyncio.create_task(connection.ended()))
        while True:
            await connection.send(b"x" * chunk)
            await asyncio.sleep(chunk / bytes_per_second)

    tasks += [asyncio.create_task(read(index)) for index in range(streams)]
    beside = await start(port, b"echo")
    tasks.append(asyncio.create_task(load(beside)))
    at = time.monotonic()
    end = at + seconds
    while at < end:
        at += random.expovariate(rate)
        await asyncio.sleep(max(0, at - time.monotonic()))
        index = random.randrange(streams)
        meant[index].append(at)
        lags.append(time.monotonic() - at)
        await connections[index].send(bytes(64))
    async with asyncio.timeout(10):
        while any(meant):
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in [*connections, beside]:
        connection.close()
    return times, lags


async def whole(port, count=32 << 20):
    """A download, byte for byte."""
    return {"rate": await bulk(port, count)}


async def moved(port, change, streams=20, patience=20):
    """`change` is run while streams tick and one downloads: none ends, none loses a byte. Returns
    the longest silence of a ticking stream, in milliseconds, before and after the change."""
    gaps = {"before": 0.0, "after": 0.0}
    phase = "before"

    async def listen(connection):
        count, last = 0, time.monotonic()
        while phase != "over":
            data = await connection.read_exactly(8)
            assert int.from_bytes(data) == count, "a tick was lost"
            now = time.monotonic()
            if phase in gaps:
                gaps[phase] = max(gaps[phase], now - last)
            count, last = count + 1, now
        connection.close()

    listeners = [
        asyncio.create_task(listen(await start(port, b"tick"))) for _ in range(streams)
    ]
    await asyncio.sleep(0.5)
    download = asyncio.create_task(bulk(port, 32 << 20))
    phase = "after"
    await asyncio.to_thread(subprocess.run, change, shell=True, check=True)
    async with asyncio.timeout(patience):
        await download
        # A stream that began before is answered after.
        with await start(port, b"echo") as connection:
            await connection.send(b"still there?")
            assert await connection.read_exactly(12) == b"still there?"
        await asyncio.sleep(1)
        phase = "over"
        await asyncio.gather(*listeners)
    return {name: 1000 * gap for name, gap in gaps.items()}


async def ticking(port, seconds=3):
    """A stream ticks for so long without a pause, but for what a busy machine makes."""
    with await start(port, b"tick") as connection:
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            async with asyncio.timeout(5):
                assert int.from_bytes(await connection.read_exactly(8)) == count
            count += 1


if __name__ == "__main__":
    play.main(globals())
