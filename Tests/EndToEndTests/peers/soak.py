"""A mixed load for as long as one likes: streams of all manners, datagrams, a crooked edge, pushed
configurations, lost tunnels. Every byte is checked, and at the end nothing may be left of it."""

import asyncio
import json
import os
import random
import signal
import socket
import time

import play
import wire
from sockets import Target, connect, resident_bytes
from wire import frame

BROKEN = (ConnectionError, BrokenPipeError, OSError)
NOISE = random.Random(3).randbytes(1 << 20)


def piece(number, count):
    start = number * 7919 % (1 << 19)
    return NOISE[start : start + count]


class Soak:
    """What runs, what it has moved, and whether a tunnel is being cut on purpose."""

    def __init__(self, edge, datagram_edge):
        self.edge, self.datagram_edge = edge, datagram_edge
        self.stop = asyncio.Event()
        self.is_cut = False
        self.cuts = 0
        self.counts = dict.fromkeys(("streams", "bytes", "aborts", "cut", "datagrams", "lost"), 0)

    async def exchange(self, client, number, size):
        sent = piece(number, size)
        sending = asyncio.create_task(client.send(sent))
        try:
            got = await asyncio.wait_for(client.read_exactly(size), 60)
            assert got == sent, f"exchange {number}: other bytes came back"
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        self.counts["bytes"] += size

    async def repeat(self, visit):
        """Visits until told to stop. A stream may break off only with its tunnel."""
        number = random.randrange(1 << 20)
        while not self.stop.is_set():
            number += 1
            # A stream that begins during a cut may hear of it only when it is over.
            began_in_cut, cuts = self.is_cut, self.cuts
            try:
                client = await asyncio.wait_for(connect(self.edge), 60)
                try:
                    await visit(client, number)
                    self.counts["streams"] += 1
                finally:
                    client.close()
            except (*BROKEN, AssertionError) as error:
                is_excused = began_in_cut or self.is_cut or self.cuts != cuts
                if not is_excused or "other bytes" in str(error):
                    raise
                self.counts["cut"] += 1
                await asyncio.sleep(0.05)

    async def bulk(self, client, number):
        for turn in range(20):
            if self.stop.is_set():
                break
            await self.exchange(client, number + turn, random.randint(1, 400_000))
        client.finish()
        assert await client.ended() == "eof"

    async def churn(self, client, number):
        await self.exchange(client, number, random.randint(1, 3000))
        if number % 2:
            client.finish()
            assert await client.ended() == "eof"

    async def abort(self, client, number):
        await self.exchange(client, number, 1000)
        client.sock.setblocking(False)
        try:
            client.sock.send(piece(number, 200_000))
        except BlockingIOError:
            pass
        client.reset()
        self.counts["aborts"] += 1
        await asyncio.sleep(0.02)

    async def stall(self, client, number):
        """Sends much, reads nothing for a while, then all of it."""
        sent = piece(number, 300_000)
        sending = asyncio.create_task(client.send(sent))
        try:
            await asyncio.sleep(random.uniform(0.5, 3))
            got = await asyncio.wait_for(client.read_exactly(len(sent)), 60)
            assert got == sent, "other bytes after a stall"
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def datagrams(self):
        """Each answer is a question that was asked and not answered yet."""
        loop = asyncio.get_running_loop()
        while not self.stop.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(("127.0.0.1", self.datagram_edge))
                for number in range(50):
                    asked = number.to_bytes(4) + piece(number, random.randint(0, 1400))
                    try:
                        await loop.sock_sendall(sock, asked)
                        got = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), 1)
                        while got != asked and got[:4] < asked[:4]:
                            got = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), 1)
                        assert got == asked, "another datagram came back"
                        self.counts["datagrams"] += 1
                    except (*BROKEN, asyncio.TimeoutError):
                        self.counts["lost"] += 1
                    await asyncio.sleep(0.01)

    async def crooked(self, hub, edge_id, secret, port):
        """An edge that joins, opens streams, breaks a rule, and comes again."""
        while not self.stop.is_set():
            tunnel, answer = await asyncio.wait_for(wire.join(hub, edge_id, secret), 35)
            assert "listenPorts" in answer, answer
            for stream in range(1, 20):
                await tunnel.send(frame(stream, wire.OPEN, wire.proxy_line(port)))
                await tunnel.send(frame(stream, wire.DATA, piece(stream, 5000)))
            await asyncio.sleep(random.uniform(0.05, 0.5))
            if random.random() < 0.5:
                await tunnel.send(frame(0, wire.DATA, b"x"))
                await asyncio.wait_for(tunnel.ended(), 10)
            tunnel.close()
            await asyncio.sleep(0.2)

    async def push(self, hub_pid, config, port):
        """The hub reads its edges again, with a port more or less for another edge."""
        with open(config) as file:
            text = file.read()
        for turn in range(1 << 30):
            if self.stop.is_set():
                break
            with open(config + ".new", "w") as file:
                seconds = 3600 + turn
                file.write(text.replace("stunIntervalSecs: 0}", f"stunIntervalSecs: {seconds}}}"))
            os.rename(config + ".new", config)
            os.kill(hub_pid, signal.SIGHUP)
            await asyncio.sleep(2)
        with open(config, "w") as file:
            file.write(text)

    async def cut(self, hub, edge_id, secret, every):
        """Takes the edge's place for a moment: its tunnel is lost with all its streams."""
        while not self.stop.is_set():
            try:
                await asyncio.wait_for(self.stop.wait(), every)
                return
            except asyncio.TimeoutError:
                pass
            self.is_cut, self.cuts = True, self.cuts + 1
            tunnel, _ = await asyncio.wait_for(wire.join(hub, edge_id, secret), 35)
            is_back = asyncio.Event()
            visitor = asyncio.create_task(self.call_again(is_back))
            try:
                await asyncio.wait_for(tunnel.ended(), 35)
            finally:
                is_back.set()
                await visitor
            tunnel.close()
            await self.until_served()
            self.is_cut = False

    async def call_again(self, is_back):
        """Over QUIC the edge keeps its tunnel beside one over TLS for the streams that it has, and
        loses it as soon as it goes on opening some. The load may have ended by then. It is told of
        its end: a cancellation may be lost in wait_for."""
        while not is_back.is_set():
            try:
                with await connect(self.edge) as client:
                    await self.exchange(client, 1, 100)
            except (*BROKEN, AssertionError):
                pass
            await asyncio.sleep(0.2)

    async def until_served(self):
        async with asyncio.timeout(35):
            while True:
                try:
                    with await connect(self.edge) as client:
                        await self.exchange(client, 1, 100)
                        return
                except (*BROKEN, AssertionError):
                    await asyncio.sleep(0.1)


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def answer(connection):
    """Sends back what comes; a reset of the other side is its own affair."""
    try:
        while got := await connection.read():
            await connection.send(got)
    except BROKEN:
        pass


def held(pids):
    return [(len(os.listdir(f"/proc/{pid}/fd")), resident_bytes(pid)) for pid in pids]


async def run(soak, seconds, hub, edge_id, crooked_id, secret, hub_pid, config, port):
    soak.stop.clear()
    visits = [soak.bulk] * 4 + [soak.churn] * 6 + [soak.abort] * 3 + [soak.stall] * 6
    tasks = [asyncio.create_task(soak.repeat(visit)) for visit in visits]
    tasks += [asyncio.create_task(soak.datagrams()) for _ in range(3)]
    tasks.append(asyncio.create_task(soak.crooked(hub, crooked_id, secret, port)))
    tasks.append(asyncio.create_task(soak.push(hub_pid, config, port)))
    tasks.append(asyncio.create_task(soak.cut(hub, edge_id, secret, every=max(15, seconds / 20))))
    timer = asyncio.create_task(asyncio.sleep(seconds))
    done, _ = await asyncio.wait([timer, *tasks], return_when=asyncio.FIRST_COMPLETED)
    # After a failure too: wait_for may lose a cancellation, and a task that goes on ends by this.
    soak.stop.set()
    timer.cancel()
    for task in done - {timer}:
        task.result()
    await asyncio.wait_for(asyncio.gather(*tasks), 120)


async def soak(
    edge, target, datagram_edge, datagram_target, hub, edge_id, crooked_id, secret, hub_pid,
    edge_pid, config, idle, seconds,
):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        DatagramEcho, local_addr=("127.0.0.1", datagram_target)
    )
    pids, began = (hub_pid, edge_pid), time.monotonic()
    with Target(target) as inside:
        inside.serve(answer)
        load = Soak(edge, datagram_edge)
        arguments = (hub, edge_id, crooked_id, secret, hub_pid, config, edge)
        measured = []
        # What the first part has left is what the second may leave.
        for part in (max(20, seconds / 5), seconds - max(20, seconds / 5)):
            await run(load, part, *arguments)
            # UDP sessions idle away, memory is given back step by step.
            await asyncio.sleep(idle + 8)
            measured.append(held(pids))
    transport.close()
    figures = dict(load.counts, cuts=load.cuts, seconds=time.monotonic() - began)
    for name, before, after in zip(("hub", "edge"), *measured):
        figures[f"{name}Descriptors"] = after[0] - before[0]
        figures[f"{name}RSS"] = after[1] - before[1]
    print(json.dumps(figures), flush=True)
    assert figures["hubDescriptors"] <= 0 and figures["edgeDescriptors"] <= 0, figures
    assert figures["hubRSS"] <= 16 << 20 and figures["edgeRSS"] <= 16 << 20, figures
    assert figures["datagrams"] > 0 and figures["cuts"] > 0, figures
    return figures


if __name__ == "__main__":
    play.main(globals())
