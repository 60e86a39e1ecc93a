"""TCP as the scenarios need it: every FIN and RST is sent on purpose and seen when it comes."""

import asyncio
import os
import socket
import struct

BACKLOG = 8192


class Connection:
    """One connected socket, without hidden buffers."""

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def read(self, limit=1 << 18):
        """At least one byte; b"" at the end of the stream; ConnectionResetError at a reset."""
        return await self.loop.sock_recv(self.sock, limit)

    async def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = await self.read(count - len(data))
            assert piece, f"the stream ended after {len(data)} of {count} bytes"
            data += piece
        return bytes(data)

    async def read_line(self):
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = await self.read(1)
            assert piece, f"the stream ended inside the line {bytes(line)}"
            line += piece
        return bytes(line)

    async def read_to_end(self):
        data = bytearray()
        while piece := await self.read():
            data += piece
        return bytes(data)

    async def ended(self):
        """Waits for the end and names it: `eof` or `reset`. Bytes in front of it are dropped."""
        try:
            while await self.read():
                pass
            return "eof"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"

    async def send(self, data):
        await self.loop.sock_sendall(self.sock, data)

    def finish(self):
        """FIN: half-close."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        """Whoever still waits for the socket waits no more: its number is another's soon."""
        if self.sock.fileno() >= 0:
            self.loop.remove_reader(self.sock)
            self.loop.remove_writer(self.sock)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


async def connect(port, host="127.0.0.1", source=None):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    connection = Connection(sock)
    try:
        if source:
            # The kernel picks the port at connect, so that one may be shared by many addresses.
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            sock.bind((source, 0))
        await connection.loop.sock_connect(sock, (host, port))
    except OSError:
        sock.close()
        raise
    return connection


class Target:
    """What the hub forwards to: a listener that takes the PROXY line off each connection."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))
        self.sock.listen(BACKLOG)
        self.sock.setblocking(False)
        self.tasks = set()

    async def accept(self):
        """The next connection; its `proxy` holds the words of the PROXY v1 line."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        connection = Connection(sock)
        line = await connection.read_line()
        assert line.startswith(b"PROXY ") and line.endswith(b"\r\n"), f"no PROXY line: {line}"
        connection.proxy = line.decode().split()
        return connection

    def serve(self, handler):
        """Hands each connection to `handler`, at the same time."""

        async def handle(sock):
            with Connection(sock) as connection:
                await connection.read_line()
                await handler(connection)

        async def accept_all():
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
                self.keep(handle(sock))

        self.keep(accept_all())

    def keep(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for task in self.tasks:
            task.cancel()
        self.sock.close()


async def echo(connection):
    """Sends back what comes, until the peer ends."""
    try:
        while piece := await connection.read():
            await connection.send(piece)
    except ConnectionError:
        pass


async def open_pair(edge, target, **options):
    """A client through the edge, and the connection that it became at the target."""
    client = await connect(edge, **options)
    return client, await target.accept()


def resident_bytes(pid):
    """RSS of a process."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
