"""Tunnels over QUIC with aioquic at one end: an edge for our hub, a hub for our edge (SPEC 3)."""

import asyncio
import json
import random
import socket
import ssl
import struct

from aioquic.asyncio import QuicConnectionProtocol, connect as quic_connect, serve as quic_serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

import play
from sockets import Target, connect, echo
from wire import CONFIG, PING, PONG, HELLO, proxy_line

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MIB = 1 << 20


class Tunnel(QuicConnectionProtocol):
    """One end: what each stream brought, whether it has ended, and how the connection did."""

    made = None

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.data, self.ends, self.resets = {}, set(), {}
        self.datagrams, self.closed = [], None
        self.news = asyncio.Event()
        if Tunnel.made:
            Tunnel.made.put_nowait(self)

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.data.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.ends.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, StopSendingReceived):
            self.resets.setdefault(event.stream_id, event.error_code)
        elif isinstance(event, DatagramFrameReceived):
            self.datagrams.append(event.data)
        elif isinstance(event, ConnectionTerminated):
            self.closed = event
        self.news.set()

    async def until(self, condition, seconds=10):
        async with asyncio.timeout(seconds):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def send(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    def send_datagram(self, data):
        self._quic.send_datagram_frame(data)
        self.transmit()

    def open(self):
        return self._quic.get_next_available_stream_id()

    def reset(self, stream, code=1):
        self._quic.reset_stream(stream, code)
        self.transmit()

    async def line(self):
        """Takes a line off the control channel."""
        await self.until(lambda: b"\n" in self.data.get(0, b"") or self.closed)
        line, _, rest = bytes(self.data.get(0, b"")).partition(b"\n")
        self.data[0] = bytearray(rest)
        return line

    async def message(self):
        """Takes a message off the control channel."""

        def whole():
            data = self.data.get(0, b"")
            return len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5])

        await self.until(whole, 20)
        data = self.data[0]
        count = int.from_bytes(data[1:5])
        kind, payload = data[0], bytes(data[5 : 5 + count])
        del data[: 5 + count]
        return kind, payload

    def send_message(self, kind, payload):
        self.send(0, struct.pack(">BI", kind, len(payload)) + payload)


def header_v2(port, source_port=40000):
    addresses = socket.inet_aton("192.0.2.1") + socket.inet_aton("127.0.0.1")
    return SIGNATURE + b"\x21\x12\x00\x0c" + addresses + struct.pack(">HH", source_port, port)


def configuration(is_client):
    return QuicConfiguration(
        is_client=is_client, alpn_protocols=["remoteingress"], verify_mode=ssl.CERT_NONE,
        max_datagram_frame_size=65_536, max_stream_data=4 * MIB, max_data=64 * MIB)


async def edge(hub, edge_id, secret, port, target, udp_port, udp_target):
    """aioquic as an edge of our hub: streams both ways, half-close, resets, datagrams, PONG."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", udp_target))
    udp.setblocking(False)
    loop = asyncio.get_running_loop()
    with Target(target) as inside:
        async with quic_connect(
            "127.0.0.1", hub, configuration=configuration(True), create_protocol=Tunnel
        ) as tunnel:
            control = tunnel.open()
            assert control == 0
            tunnel.send(control, f"EDGE {edge_id} {secret}\n".encode())
            answer = json.loads(await tunnel.line())
            assert port in answer["listenPorts"], answer
            assert "udpStream" in answer["extensions"], answer

            # A stream: the header and the first bytes at once, both directions, both ends.
            up, down = random.randbytes(MIB), random.randbytes(MIB)
            stream = tunnel.open()
            tunnel.send(stream, proxy_line(port) + up, end=True)
            server = await inside.accept()
            assert server.proxy[:3] == ["PROXY", "TCP4", "192.0.2.1"], server.proxy
            with server:
                assert await server.read_to_end() == up
                sending = asyncio.create_task(server.send(down))
                await tunnel.until(lambda: len(tunnel.data.get(stream, b"")) == len(down))
                await sending
                assert tunnel.data[stream] == down and stream not in tunnel.ends
                server.finish()
                await tunnel.until(lambda: stream in tunnel.ends)

            # A reset of ours is one at the target, and the target's is one here.
            stream = tunnel.open()
            tunnel.send(stream, proxy_line(port) + b"x")
            server = await inside.accept()
            tunnel.reset(stream)
            assert await server.ended() == "reset"
            server.close()
            stream = tunnel.open()
            tunnel.send(stream, proxy_line(port) + b"x")
            server = await inside.accept()
            assert await server.read_exactly(1) == b"x"
            server.reset()
            await tunnel.until(lambda: stream in tunnel.resets)
            assert tunnel.resets[stream] == 1, tunnel.resets

            # A stream to a port that the edge does not own is refused alone.
            stream = tunnel.open()
            tunnel.send(stream, proxy_line(1) + b"x")
            await tunnel.until(lambda: stream in tunnel.resets)

            # A session: the open twice, then data; the answers.
            session = struct.pack(">I", 7)
            for _ in range(2):
                tunnel.send_datagram(session + b"\xff" + header_v2(udp_port))
            tunnel.send_datagram(session + b"first")
            data, peer = await asyncio.wait_for(loop.sock_recvfrom(udp, 2048), 10)
            assert data == b"first", data
            udp.sendto(b"\xffanswer", peer)
            await tunnel.until(lambda: session + b"\xffanswer" in tunnel.datagrams)

            # PING comes within 15 s, and is answered.
            while True:
                kind, payload = await tunnel.message()
                if kind == PING:
                    break
            tunnel.send_message(PONG, payload)
            assert tunnel.closed is None, tunnel.closed
    udp.close()


async def refused(hub, edge_id):
    """A wrong secret: the error line, then CONNECTION_CLOSE with application error 2."""
    async with quic_connect(
        "127.0.0.1", hub, configuration=configuration(True), create_protocol=Tunnel
    ) as tunnel:
        tunnel.send(tunnel.open(), f"EDGE {edge_id} wrong\n".encode())
        assert json.loads(await tunnel.line()) == {"error": "unauthorized"}
        await tunnel.until(lambda: tunnel.closed)
        assert tunnel.closed.error_code == 2, tunnel.closed


async def hub(port, certificate, first, udp, refuses=0):
    """aioquic as the hub of our edge: configuration, streams both ways, datagrams, PING."""
    config = configuration(False)
    config.load_cert_chain(certificate, certificate)
    Tunnel.made = asyncio.Queue()
    server = await quic_serve("127.0.0.1", port, configuration=config, create_protocol=Tunnel)
    print("listening", flush=True)
    tunnel = await asyncio.wait_for(Tunnel.made.get(), 30)
    line = await tunnel.line()
    assert line.startswith(b"EDGE "), line
    if refuses:
        tunnel.send(0, b'{"error":"unauthorized"}\n')
        tunnel.close(error_code=2, reason_phrase="unauthorized")
        await asyncio.sleep(3)
        assert Tunnel.made.empty(), "it came again at once"
        return
    answer = {"listenPorts": [first], "listenPortsUdp": [udp], "stunIntervalSecs": 0}
    tunnel.send(0, json.dumps({**answer, "extensions": ["udpStream", "later"]}).encode() + b"\n")
    kind, payload = await tunnel.message()
    assert kind == HELLO and json.loads(payload)["extensions"] == ["udpStream"], payload
    tunnel.send_message(0x55, b"what nobody knows is passed over")
    tunnel.send_message(PING, b"12345678")
    kind, payload = await tunnel.message()
    assert (kind, payload) == (PONG, b"12345678"), (kind, payload)

    # A client of the edge.
    up, down = random.randbytes(MIB), random.randbytes(MIB)
    for _ in range(100):
        try:
            client = await connect(first)
            break
        except ConnectionError:
            await asyncio.sleep(0.1)
    with client:
        sending = asyncio.create_task(client.send(up))
        await tunnel.until(lambda: any(s > 0 and len(d) > MIB for s, d in tunnel.data.items()))
        stream = next(s for s in tunnel.data if s > 0)
        header, _, rest = bytes(tunnel.data[stream]).partition(b"\r\n")
        assert header.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 "), header
        await sending
        client.finish()
        await tunnel.until(lambda: stream in tunnel.ends)
        assert bytes(tunnel.data[stream]).partition(b"\r\n")[2] == up
        tunnel.send(stream, down, end=True)
        assert await client.read_to_end() == down

    # And one of UDP: the open in front of the data, until something comes back.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", udp))
        client.setblocking(False)
        client.send(b"question")
        await tunnel.until(lambda: len(tunnel.datagrams) >= 2)
        opening, data = tunnel.datagrams[:2]
        assert opening[4:5] == b"\xff" and opening[5:17] == SIGNATURE, opening
        assert data == opening[:4] + b"question", data
        tunnel.send_datagram(opening[:4] + b"answer")
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(client, 2048), 10) == b"answer"
    server.close()


if __name__ == "__main__":
    play.main(globals())
