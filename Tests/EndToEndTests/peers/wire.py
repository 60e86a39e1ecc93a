"""SPEC 2 by hand: frames and the handshake over TLS, for an edge or a hub that may misbehave."""

import asyncio
import json
import ssl
import struct

OPEN, DATA, CLOSE, DATA_BACK, CLOSE_BACK, CONFIG, PING, PONG = range(1, 9)
WINDOW_UPDATE, WINDOW_UPDATE_BACK, UDP_OPEN, UDP_DATA, UDP_DATA_BACK, UDP_CLOSE = range(9, 15)
HELLO = 0x10


def frame(stream, kind, payload=b"", length=None):
    """A frame; `length` may lie about the payload."""
    return struct.pack(">IBI", stream, kind, len(payload) if length is None else length) + payload


def proxy_line(port, source="192.0.2.1", source_port=40000):
    return f"PROXY TCP4 {source} 127.0.0.1 {source_port} {port}\r\n".encode()


class Tunnel:
    """One end of a tunnel after TLS."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def read_frame(self):
        """(stream, type, payload), or None when the peer has ended the tunnel."""
        try:
            stream, kind, length = struct.unpack(">IBI", await self.reader.readexactly(9))
            return stream, kind, await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return None

    async def wait_for(self, kind):
        """The next frame of a type; others are passed over. None when the tunnel has ended."""
        while got := await self.read_frame():
            if got[1] == kind:
                return got
        return None

    async def ended(self):
        while await self.read_frame():
            pass

    def close(self):
        self.writer.transport.abort()


def client_context():
    """TLS 1.3, whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def dial(port, source="127.0.0.1", context=None):
    """TLS 1.3 to a hub, nothing said yet."""
    return Tunnel(
        *await asyncio.open_connection(
            "127.0.0.1",
            port,
            ssl=context or client_context(),
            local_addr=(source, 0) if source else None,
        )
    )


async def join(port, edge_id, secret, hello=None):
    """An edge that has joined: its tunnel and the configuration that the hub gave it. `hello` are
    the extensions that it answers with."""
    tunnel = await dial(port)
    await tunnel.send(f"EDGE {edge_id} {secret}\n".encode())
    answer = json.loads(await tunnel.reader.readline())
    if hello is not None:
        text = json.dumps({"extensions": hello, "version": "test"})
        await tunnel.send(frame(0, HELLO, text.encode()))
    return tunnel, answer


class Hub:
    """A hub that takes any edge and gives it `config`; use it by `async with`."""

    def __init__(self, port, certificate, config):
        self.port, self.certificate, self.config = port, certificate, config
        self.connections = 0
        self.joined = asyncio.Queue()

    async def accept(self):
        """The tunnel of the next edge that has joined."""
        return await self.joined.get()

    async def greet(self, reader, writer):
        self.connections += 1
        try:
            words = (await reader.readline()).split()
            assert words[0] == b"EDGE" and len(words) == 3, words
            writer.write(json.dumps(self.config).encode() + b"\n")
            await writer.drain()
            if "error" in self.config:
                writer.close()
            else:
                await self.joined.put(Tunnel(reader, writer))
        except (ConnectionError, IndexError):
            writer.close()

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate)
        self.server = await asyncio.start_server(self.greet, "127.0.0.1", self.port, ssl=context)
        return self

    async def __aexit__(self, *_):
        self.server.close()
