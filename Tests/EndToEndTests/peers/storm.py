"""Hundreds of edges that lose their hub at once and come back, each with the waits of SPEC 2.3."""

import asyncio
import json
import random
import ssl
import time

import play
import wire
from wire import frame


class Edge:
    """An edge without clients: joins, answers PINGs, and joins again."""

    def __init__(self, hub, name, secret):
        self.hub, self.line = hub, f"EDGE {name} {secret}\n".encode()
        self.joined = 0.0

    async def live(self):
        attempt = 0
        while True:
            try:
                await self.stay()
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError, json.JSONDecodeError):
                pass
            if self.joined and time.monotonic() - self.joined >= 60:
                attempt = 0
            self.joined = 0.0
            longest = min(30, 2**attempt)
            attempt += 1
            await asyncio.sleep(random.uniform(longest / 2, longest))

    async def stay(self):
        tunnel = await asyncio.wait_for(wire.dial(self.hub, context=CONTEXT), 10)
        try:
            await tunnel.send(self.line)
            answer = json.loads(await asyncio.wait_for(tunnel.reader.readline(), 10))
            assert "error" not in answer, answer
            self.joined = time.monotonic()
            while got := await tunnel.read_frame():
                if got[1] == wire.PING:
                    await tunnel.send(frame(0, wire.PONG, got[2]))
        finally:
            tunnel.close()


CONTEXT = wire.client_context()


async def storm(hub, secret, count, prefix):
    """Says `all joined`; once the hub is gone and another has come, `all back` and in what time.
    Then they stay until they are killed."""
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


async def until(condition, tasks):
    """Waits for a condition; an edge that fails for another reason than its hub fails the test."""
    async with asyncio.timeout(90):
        while not condition():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    play.main(globals())
