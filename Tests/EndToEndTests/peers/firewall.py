"""Clients and servers on both sides of a firewall.

An end is named `tcp:HOST:PORT` or `udp:HOST:PORT`, an IPv6 address without brackets; ends are
separated by commas.
"""

import asyncio
import contextlib
import os
import socket
import time

import play
from sockets import Connection, Target, connect, echo

SILENT, ANSWERED, REFUSED = 0, 1, 2
# Of TCP_INFO.
ESTABLISHED = 1


def ends(text):
    for end in text.split(","):
        kind, rest = end.split(":", 1)
        host, port = rest.rsplit(":", 1)
        yield end, kind, host, int(port)


def make(kind, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


async def attempt(kind, host, port):
    """One connection, or one datagram and its echo."""
    loop = asyncio.get_running_loop()
    with make(kind, host) as sock:
        try:
            await loop.sock_connect(sock, (host, port))
            if kind == "udp":
                try:
                    await loop.sock_sendall(sock, b"question")
                except PermissionError:
                    # Dropped on this machine. A rejection's answer comes all the same.
                    pass
                assert await loop.sock_recv(sock, 64) == b"question"
            return ANSWERED
        except ConnectionRefusedError:
            return REFUSED


async def probe(to, milliseconds=1000):
    """What comes of each end, all asked at once. On a busy machine it waits for longer: its own
    steps take longer too."""
    known = list(ends(to))
    tasks = [asyncio.create_task(attempt(kind, host, port)) for _, kind, host, port in known]
    for _ in range(milliseconds // 50):
        await asyncio.wait(tasks, timeout=0.05)
        if all(task.done() for task in tasks):
            break
    results = [task.result() if task.done() else SILENT for task in tasks]
    for task in tasks:
        task.cancel()
    return {end: result for (end, *_), result in zip(known, results)}


def bucket(times, rate, burst):
    """How many of what comes at these times a limit lets through."""
    passed, tokens, last = 0, burst, None
    for now in sorted(times):
        tokens = min(burst, tokens + (now - last) * rate) if last else burst
        last = now
        if tokens >= 1:
            tokens -= 1
            passed += 1
    return passed


async def flood(
    to, per_second=100, milliseconds=3000, running=None, rate=0, burst=5, patience=900
):
    """So many attempts a second at each end: how many got through? `running` is an end whose echo
    is used all the while, over one connection that is older than the flood. With `rate`, a second
    figure of each end says how many a limit of so much should have let through: a busy machine
    makes the attempts later than it should, and not evenly."""
    count = per_second * milliseconds // 1000
    start = time.monotonic() + 0.1

    async def one(kind, host, port, index, times):
        await asyncio.sleep(start + index / per_second - time.monotonic())
        times.append(time.monotonic())
        if kind == "udp":
            # Nobody sends it again: what is on its way on a busy machine may come late.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3 + patience / 1000):
                    return await attempt(kind, host, port)
            return SILENT
        # Before the kernel sends the SYN again, which it does after a second. It may have the
        # connection already, and this process no time to hear of it.
        with make(kind, host) as sock:
            task = asyncio.create_task(
                asyncio.get_running_loop().sock_connect(sock, (host, port)))
            await asyncio.wait([task], timeout=patience / 1000)
            state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            task.cancel()
            await asyncio.wait([task])
            return ANSWERED if state == ESTABLISHED else SILENT

    async def all_of(kind, host, port):
        times = []
        results = await asyncio.gather(*(one(kind, host, port, i, times) for i in range(count)))
        return results.count(ANSWERED), bucket(times, rate, burst)

    async def use(connection):
        exchanges = 0
        while time.monotonic() < start + milliseconds / 1000:
            async with asyncio.timeout(10):
                await connection.send(b"still there?")
                assert await connection.read_exactly(12) == b"still there?"
            exchanges += 1
            await asyncio.sleep(0.05)
        return exchanges

    known = list(ends(to))
    work = [all_of(kind, host, port) for _, kind, host, port in known]

    def figures_of(results):
        figures = {end: passed for (end, *_), (passed, _) in zip(known, results)}
        if rate:
            figures |= {f"{end} due": due for (end, *_), (_, due) in zip(known, results)}
        return figures

    if running is None:
        return figures_of(await asyncio.gather(*work))
    ((_, _, host, port),) = ends(running)
    with await connect(port, host) as connection:
        await connection.send(b"first")
        assert await connection.read_exactly(5) == b"first"
        *results, exchanges = await asyncio.gather(*work, use(connection))
    return figures_of(results) | {"exchanges": exchanges}


async def download(host, port, bytes):
    """Reads so many bytes as fast as they come."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(1 << 20))
    left = bytes
    with await connect(port, host) as connection:
        start = time.monotonic()
        while left > 0:
            count = await loop.sock_recv_into(connection.sock, buffer[: min(left, len(buffer))])
            assert count > 0, f"the stream ended {left} bytes too early"
            left -= count
        seconds = time.monotonic() - start
    return {"seconds": seconds, "mbit_per_second": bytes * 8e-6 / seconds}


async def serve(tcp=None, udp=None, echo_port=None, source_port=None):
    """Servers until the process is ended. `tcp` accepts, `udp` echoes, both on all addresses;
    behind the hub, `echo_port` echoes and `source_port` sends without an end."""
    loop = asyncio.get_running_loop()
    keep = []
    if tcp:
        sock = socket.create_server(("::", tcp), family=socket.AF_INET6, dualstack_ipv6=True)
        keep.append(sock)
    if udp:

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, source):
                self.transport.sendto(data, source)

        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, udp))
            keep.append(await loop.create_datagram_endpoint(Echo, sock=sock))
    piece = os.urandom(1 << 20)

    async def source(connection):
        try:
            while True:
                await connection.send(piece)
        except ConnectionError:
            pass

    for port, handler in ((echo_port, echo), (source_port, source)):
        if port:
            target = Target(port)
            target.serve(handler)
            keep.append(target)
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    play.main({"probe": probe, "flood": flood, "download": download, "serve": serve})
