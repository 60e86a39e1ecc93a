"""Clients beside an edge, and the server behind its hub, for tunnels whose path is lossy or moves.

The server reads one line of each connection: `echo` sends back what comes, `bulk COUNT` sends so
many bytes of a pattern, `tick` sends its count every five milliseconds until the client ends.
"""

import asyncio
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


async def small_beside_bulk(port, requests=4000, clients=20, bulk_bytes=24 << 20):
    """Small requests on many connections while two others download; milliseconds of a request."""
    times = []

    async def ask(count):
        with await start(port, b"echo") as connection:
            for _ in range(count):
                question = random.randbytes(64)
                began = time.monotonic()
                await connection.send(question)
                assert await connection.read_exactly(64) == question
                times.append(time.monotonic() - began)
                await asyncio.sleep(random.random() * 0.004)

    async def download():
        while len(times) < requests // clients * clients:
            await bulk(port, bulk_bytes)

    await asyncio.gather(
        *(ask(requests // clients) for _ in range(clients)), download(), download())
    return {
        "p50": 1000 * percentile(times, 0.5),
        "p99": 1000 * percentile(times, 0.99),
        "max": 1000 * max(times),
    }


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
    download = asyncio.create_task(bulk(port, 64 << 20))
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
    """A stream ticks for so long without a pause of more than a second."""
    with await start(port, b"tick") as connection:
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            async with asyncio.timeout(1):
                assert int.from_bytes(await connection.read_exactly(8)) == count
            count += 1


if __name__ == "__main__":
    play.main(globals())
