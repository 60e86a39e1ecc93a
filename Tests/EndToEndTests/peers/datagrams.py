"""Client and target of UDP sessions at once: what a datagram must look like behind the tunnel."""

import os
import random
import resource
import select
import signal
import socket
import struct
import time

import play
from sockets import resident_bytes

PATTERN = random.Random(1).randbytes(1 << 17)
LONGEST = 65_507
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# Steps, and the borders of headers, buffers, records and datagrams.
BORDERS = [0, 1, 8, 9, 16, 63, 64, 1024, 2048, 4096, 8192, 16384, 32768, 65535 - 28 - 52, LONGEST]
SIZES = sorted(
    {size for b in BORDERS for size in range(b - 2, b + 3)} | set(range(500, 1600, 99))
    | set(range(0, LONGEST, 2333))
)


def udp(host):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    return sock


def client_of(edge, host, source=None):
    """A socket that hears the address it speaks to, and no other."""
    sock = udp(host)
    if source:
        sock.bind((source, 0))
    sock.connect((host, edge))
    return sock


def payload(size, number):
    """Bytes that tell which datagram they are of, as far as there are any."""
    name = struct.pack(">II", number, size)
    start = number * 7919 % (1 << 16)
    return (name + PATTERN[start : start + size])[:size]


def parse_header(data):
    """The (source, destination) of a PROXY v2 header for datagrams, and what is behind it."""
    assert data[:12] == SIGNATURE, f"no header: {data[:16]}"
    command, kind, length = struct.unpack(">BBH", data[12:16])
    assert command == 0x21 and kind in (0x12, 0x22), f"command {command}, kind {kind}"
    family, size = (socket.AF_INET, 4) if kind == 0x12 else (socket.AF_INET6, 16)
    assert length == 2 * size + 4
    names = [socket.inet_ntop(family, data[16 + i * size : 16 + (i + 1) * size]) for i in (0, 1)]
    ports = struct.unpack(">HH", data[16 + 2 * size : 20 + 2 * size])
    return list(zip(names, ports)), data[16 + length :]


class Target:
    """What the hub sends to: knows by the headers who is behind each of its sockets."""

    def __init__(self, port, header="first"):
        self.sock = udp("127.0.0.1")
        self.sock.bind(("127.0.0.1", port))
        self.header = header
        self.clients = {}

    def receive(self, timeout=10):
        """The next datagram and its session, header datagrams apart."""
        while True:
            self.sock.settimeout(timeout)
            data, session = self.sock.recvfrom(1 << 17)
            if self.header == "none":
                return data, session
            if self.header == "every" or data[:12] == SIGNATURE:
                self.clients[session], data = parse_header(data)
                if self.header == "first":
                    assert not data, "the header is no datagram of its own"
                    continue
            assert session in self.clients, "a datagram in front of its header"
            return data, session

    def echo(self, timeout=10):
        data, session = self.receive(timeout)
        self.sock.sendto(data, session)
        return data, session

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def exchange(client, target, size, number, behind=()):
    """There and back, every byte checked on both ways; the session it went by. What was sent before
    it for nobody, the numbers in `behind`, may still come first on a busy machine."""
    sent = payload(size, number)
    client.send(sent)
    got, session = target.receive()
    while got in [payload(size, earlier) for earlier in behind]:
        got, session = target.receive()
    target.sock.sendto(got, session)
    assert got == sent, f"target: datagram of {size} bytes arrived with {len(got)}"
    client.settimeout(10)
    back = client.recv(1 << 17)
    assert back == sent, f"client: datagram of {size} bytes came back with {len(back)}"
    return session


async def sizes(edge, target, header="first"):
    """Datagrams of 0 to 65,507 bytes, from several clients, over IPv4 and IPv6, to several of the
    edge's addresses: whole, in the right session, and answered from the address spoken to."""
    number = 0
    hosts = ("127.0.0.1", "127.0.0.5", "::1")
    with Target(target, header) as inside:
        clients = [(client_of(edge, host), host) for host in hosts for _ in range(2)]
        sessions = {}
        for size in (size for size in SIZES if 0 <= size <= LONGEST):
            for client, host in clients:
                if header == "every" and size > LONGEST - (52 if ":" in host else 28):
                    continue
                number += 1
                session = exchange(client, inside, size, number)
                assert sessions.setdefault(client, session) == session, "it changed its session"
                if header != "none":
                    ends = [client.getsockname()[:2], client.getpeername()[:2]]
                    assert inside.clients[session] == ends, f"{inside.clients[session]}, {ends}"
        assert len(set(sessions.values())) == len(clients), "clients share a session"
        # IPv6 has room for 20 bytes more than the tunnel: such a datagram is dropped, and no other.
        for size in (LONGEST + 1, LONGEST + 20):
            clients[-1][0].send(payload(size, 0))
        exchange(clients[-1][0], inside, 1000, number)
    return {"datagrams": number}


async def bursts(edge, target, count=200):
    """Datagrams that follow each other closely, of one size (the kernel may join them), of two,
    and of all sizes: each comes back as it was, and once."""
    with Target(target, "none") as inside:
        client = client_of(edge, "127.0.0.1")
        for choice in ([1200], [1200, 700], [0, 1, 512, 513], range(0, 3000)):
            sent = [payload(random.choice(choice), number) for number in range(count)]
            for data in sent:
                client.send(data)
            arrived = [inside.echo()[0] for _ in sent]
            assert sorted(arrived) == sorted(sent), "other datagrams at the target"
            client.settimeout(10)
            back = [client.recv(1 << 17) for _ in sent]
            assert sorted(back) == sorted(sent), "other datagrams at the client"
    return {"datagrams": 4 * count}


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def until(what, condition, seconds=30):
    """Polls; the deadline is a guard against hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.02)


async def crowd(edge, target, edge_pid, hub_pid, count=10_000, batch=250):
    """Many sessions at once: each answered in its own, each with one descriptor of the hub, and
    none left once they were idle for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Half of the hub's descriptors are for sessions.
    count = min(count, hard // 2)
    before = [descriptors(pid) for pid in (edge_pid, hub_pid)]
    rss = [resident_bytes(pid) for pid in (edge_pid, hub_pid)]
    started = time.monotonic()
    with Target(target, "none") as inside:
        clients, sessions = [], set()
        for first in range(0, count, batch):
            comers = [
                client_of(edge, "127.0.0.1", f"127.0.1.{1 + i % 20}")
                for i in range(first, min(first + batch, count))
            ]
            for number, client in enumerate(comers, first):
                client.send(payload(40, number))
            for _ in comers:
                data, session = inside.echo()
                number = int.from_bytes(data[:4])
                assert first <= number < first + batch and session not in sessions, (
                    f"target: {len(data)} bytes, of session {number}, among those from {first}, "
                    f"by way of {'a known' if session in sessions else 'an unknown'} session")
                sessions.add(session)
            for number, client in enumerate(comers, first):
                client.settimeout(10)
                back = client.recv(1 << 17)
                assert back == payload(40, number), (
                    f"session {number} of {client.getsockname()}: {len(back)} bytes, of session "
                    f"{int.from_bytes(back[:4])}, after {time.monotonic() - started:.1f} s")
            clients += comers
        taken = time.monotonic() - started
        grown = [descriptors(pid) - n for pid, n in zip((edge_pid, hub_pid), before)]
        each = [(resident_bytes(pid) - n) / count for pid, n in zip((edge_pid, hub_pid), rss)]
        assert len(sessions) == count, f"{len(sessions)} sessions"
        assert grown == [0, count], f"descriptors of edge and hub: {grown}"
        until("the sessions are gone", lambda: descriptors(hub_pid) == before[1], 60)
        assert descriptors(edge_pid) == before[0]
        # Whoever comes back has a new session.
        session = exchange(clients[0], inside, 40, 0)
        assert descriptors(hub_pid) == before[1] + 1
        for client in clients:
            client.close()
    assert session
    return {"sessions": count, "seconds": taken, "edgeRSSEach": each[0], "hubRSSEach": each[1]}


async def refused(edge, target):
    """Nobody listens at the target: nothing comes back, and once somebody does the next datagram
    is answered."""
    client = client_of(edge, "127.0.0.1")
    for number in range(5):
        client.send(payload(100, number))
        time.sleep(0.05)
    with Target(target, "first") as inside:
        first = exchange(client, inside, 100, 10, behind=range(5))
    client.send(payload(100, 11))
    time.sleep(0.2)
    with Target(target, "first") as inside:
        second = exchange(client, inside, 100, 12, behind=[11])
        assert inside.clients[second][0] == client.getsockname()
    return {"sameSocket": int(first == second)}


async def alive(edge, target, header="first"):
    """One exchange."""
    with Target(target, header) as inside:
        client = client_of(edge, "127.0.0.1")
        # The tunnel may be up a moment before its edge's ports are.
        for number in range(50):
            client.send(payload(100, number))
            if select.select([inside.sock], [], [], 0.2)[0]:
                break
        got, _ = inside.echo()
        client.settimeout(10)
        assert client.recv(1 << 17) == got


async def drained(edge, target, stop):
    """A session that goes on is served while its engine drains; then it rests."""
    with Target(target, "none") as inside:
        client = client_of(edge, "127.0.0.1")
        exchange(client, inside, 100, 0)
        os.kill(stop, signal.SIGTERM)
        for number in range(1, 20):
            exchange(client, inside, 100, number)
            time.sleep(0.05)


if __name__ == "__main__":
    play.main(globals())
