"""What goes wrong around hub and edge while streams run; each byte of each stream is checked."""

import asyncio
import ctypes
import errno
import os
import random
import statistics
import time

import play
import wire
from sockets import Target, connect, echo, resident_bytes
from wire import frame


class Talk:
    """A client that sends numbered pieces, and checks that they come back as they were."""

    def __init__(self, client, index):
        self.client, self.index, self.moved = client, index, 0
        self.random = random.Random(index)

    async def once(self, size=None):
        piece = self.random.randbytes(size or self.random.randint(1, 30_000))
        sending = asyncio.create_task(self.client.send(piece))
        assert await self.client.read_exactly(len(piece)) == piece, f"stream {self.index}: changed"
        await sending
        self.moved += len(piece)

    async def until(self, stop):
        while not stop.is_set():
            await self.once()
        self.client.finish()
        assert await self.client.ended() == "eof", f"stream {self.index}: no end"
        self.client.close()


class Held:
    """Keeps all threads of a process from running, as a machine does that has no time for them:
    unlike SIGSTOP, which says that somebody has stopped it (ptrace(2))."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    WAIT_ALL = 0x40000000

    def __init__(self, process):
        self.library = ctypes.CDLL(None, use_errno=True)
        self.threads, seen = [], set()
        # They come and go until all are held.
        while new := {int(name) for name in os.listdir(f"/proc/{process}/task")} - seen:
            seen |= new
            self.threads += filter(self.hold, new)
        if process not in self.threads:
            raise OSError(errno.EPERM, "ptrace is not allowed here")

    def hold(self, thread):
        """False when the thread has ended, or is a worker of the kernel."""
        if not self.request(self.SEIZE, thread) or not self.request(self.INTERRUPT, thread):
            return False
        _, status = os.waitpid(thread, self.WAIT_ALL)
        return os.WIFSTOPPED(status)

    def request(self, request, thread):
        if self.library.ptrace(request, thread, None, None) == 0:
            return True
        if (error := ctypes.get_errno()) not in (errno.ESRCH, errno.EPERM):
            raise OSError(error, f"ptrace {request:#x} of {thread}")
        return False

    def release(self):
        for thread in self.threads:
            self.request(self.DETACH, thread)


async def paused(edge, target, engine, pid=0, streams=20, seconds=3):
    """A hub or an edge that gets no time for a while, as on a machine that stands still: its
    streams wait, and lose nothing. Its engine alone, without `pid`."""
    with Target(target) as inside:
        inside.serve(echo)
        talks = [Talk(await connect(edge), index) for index in range(streams)]
        stop = asyncio.Event()
        tasks = [asyncio.create_task(talk.until(stop)) for talk in talks]
        await asyncio.sleep(0.5)
        held = [Held(process) for process in ([pid, engine] if pid else [engine])]
        try:
            await asyncio.sleep(seconds)
        finally:
            for process in reversed(held):
                process.release()
        before = [talk.moved for talk in talks]
        async with asyncio.timeout(20):
            while any(talk.moved == moved for talk, moved in zip(talks, before)):
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*tasks)
    return {"bytes": sum(talk.moved for talk in talks)}


async def under_load(edge, target, witness="", streams=20):
    """Streams talk until their tunnel is lost; then there is service again within 35 s. Those by
    way of the address `witness`, another edge's, go on all the while."""
    with Target(target) as inside:
        inside.serve(echo)

        async def until_lost(talk):
            try:
                while True:
                    await talk.once()
            except (ConnectionError, AssertionError) as error:
                assert "changed" not in str(error), error
            talk.client.close()

        talks = [Talk(await connect(edge), index) for index in range(streams)]
        tasks = [asyncio.create_task(until_lost(talk)) for talk in talks]
        stop = asyncio.Event()
        others = []
        for index in range(100, 105 if witness else 100):
            others.append(Talk(await connect(edge, witness), index))
        witnesses = [asyncio.create_task(talk.until(stop)) for talk in others]
        async with asyncio.timeout(15):
            while any(talk.moved == 0 for talk in talks + others):
                await asyncio.sleep(0.01)
        print("running", flush=True)
        await asyncio.gather(*tasks)
        print("all lost", flush=True)
        lost = time.monotonic()
        async with asyncio.timeout(35):
            while True:
                try:
                    with await connect(edge) as client:
                        await Talk(client, 99).once(1000)
                        break
                except (ConnectionError, AssertionError) as error:
                    assert "changed" not in str(error), error
                    await asyncio.sleep(0.05)
        back = time.monotonic() - lost
        before = [talk.moved for talk in others]
        async with asyncio.timeout(15):
            while any(talk.moved == moved for talk, moved in zip(others, before)):
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*witnesses)
    return {"bytes": sum(talk.moved for talk in talks + others), "secondsBack": back}


async def stepped(edge, target, file, streams=10):
    """Streams go on while the clock of hub and edge is stepped by days, forth and back."""
    with Target(target) as inside:
        inside.serve(echo)
        talks = [Talk(await connect(edge), index) for index in range(streams)]
        stop = asyncio.Event()
        tasks = [asyncio.create_task(talk.until(stop)) for talk in talks]
        for step in ("+1d", "-30d", "+400d"):
            with open(file + ".new", "w") as clock:
                clock.write(step + "\n")
            os.rename(file + ".new", file)
            await asyncio.sleep(1.5)
            before = [talk.moved for talk in talks]
            async with asyncio.timeout(10):
                while any(talk.moved == moved for talk, moved in zip(talks, before)):
                    await asyncio.sleep(0.01)
            # And a new one.
            with await connect(edge) as client:
                await Talk(client, 99).once(1000)
        stop.set()
        await asyncio.gather(*tasks)
    return {"bytes": sum(talk.moved for talk in talks)}


async def crowded(edge, target, clients=400):
    """More clients than there are descriptors: some are served, the others refused and not held;
    and when the first leave there is room again."""
    with Target(target) as inside:
        inside.serve(echo)

        async def visit(client):
            try:
                await client.send(b"hello")
                return await client.read_exactly(5) == b"hello"
            except (ConnectionError, AssertionError):
                return False

        guests = []
        for _ in range(clients):
            try:
                guests.append(await connect(edge))
            except ConnectionError:
                pass  # Refused before it was looked at.
        async with asyncio.timeout(15):
            served = await asyncio.gather(*map(visit, guests))
        assert 0 < sum(served) < clients, f"{sum(served)} of {clients} clients served"
        # Those who are in stay in.
        inmates = [guest for guest, is_served in zip(guests, served) if is_served]
        assert all(await asyncio.gather(*map(visit, inmates)))
        for guest in guests:
            guest.close()
        async with asyncio.timeout(15):
            while True:
                try:
                    with await connect(edge) as guest:
                        if await visit(guest):
                            break
                except ConnectionError:
                    pass
                await asyncio.sleep(0.05)
    return {"served": sum(served)}


async def slow_target(edge, target, delay=3):
    """A target that takes its time: its client waits for it, and others do not."""
    with Target(target) as inside:
        tasks = []
        client = await connect(edge)
        server = await inside.accept()
        await client.send(b"question")
        await asyncio.sleep(delay)
        for _ in range(5):
            other = await connect(edge)
            tasks.append(asyncio.create_task(inside.accept()))
            answerer = await tasks[-1]
            await other.send(b"x")
            assert await answerer.read_exactly(1) == b"x"
            other.close()
            answerer.close()
        assert await server.read_exactly(8) == b"question"
        await server.send(b"answer")
        assert await client.read_exactly(6) == b"answer"
        client.close()
        server.close()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


async def reconnects(hub, edge_id, secret, own_port, target, hub_pid, count=300):
    """An edge that comes and goes, with a stream each time, leaves nothing in its hub."""
    before = (0, 0)
    with Target(target) as inside:
        inside.serve(echo)
        warm = max(100, count // 10)
        for index in range(count):
            tunnel, answer = await wire.join(hub, edge_id, secret)
            assert "listenPorts" in answer, answer
            await tunnel.send(frame(1, wire.OPEN, wire.proxy_line(own_port)))
            await tunnel.send(frame(1, wire.DATA, b"x"))
            assert await tunnel.wait_for(wire.DATA_BACK) == (1, wire.DATA_BACK, b"x")
            tunnel.close()
            if index == warm:
                before = (descriptors(hub_pid), resident_bytes(hub_pid))
    async with asyncio.timeout(20):
        while descriptors(hub_pid) > before[0]:
            await asyncio.sleep(0.1)
    grown = resident_bytes(hub_pid) - before[1]
    assert grown <= 4 << 20, f"RSS of the hub grew by {grown}"
    return {"count": count, "hubRSS": grown}


async def timing(hub, edge_id, secret, tries=600):
    """How long the hub takes to refuse a wrong secret and an unknown id, from addresses of their
    own, as each address may guess a few times only. For a person to judge."""
    spent = {edge_id: [], "nobody": []}
    for number in range(tries):
        who = (edge_id, "nobody")[number % 2]
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        tunnel = await wire.dial(hub, source=source)
        start = time.perf_counter()
        await tunnel.send(f"EDGE {who} {'w' * len(secret)}\n".encode())
        await tunnel.reader.readline()
        spent[who].append(time.perf_counter() - start)
        tunnel.close()
    medians = [statistics.median(times) * 1e6 for times in spent.values()]
    return {"wrongSecretMicroseconds": medians[0], "unknownIdMicroseconds": medians[1]}


if __name__ == "__main__":
    play.main(globals())
