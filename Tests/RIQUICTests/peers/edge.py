"""An edge: links to a hub at 127.0.0.1:PORT twice, the second time in 0-RTT, and uses it.

The hub echoes: whatever a stream or a session carries comes back. Prints one line for each thing
that worked, and `done` at the end.
"""

import asyncio
import struct
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived, StreamReset
from aioquic.tls import SessionTicket

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 %d 443\r\n"
ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 9, 0, 53])
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a2112000c") + ADDRESSES


class Edge(QuicConnectionProtocol):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.bytes = {}
        self.ended = set()
        self.reset = set()
        self.datagrams = []
        self.changed = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.bytes[event.stream_id] = self.bytes.get(event.stream_id, b"") + event.data
            if event.end_stream:
                self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.reset.add(event.stream_id)
        elif isinstance(event, DatagramFrameReceived):
            self.datagrams.append(event.data)
        self.changed.set()

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 20)

    def send(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    async def open(self, number):
        stream = self._quic.get_next_available_stream_id()
        self.send(stream, HEADER % number)
        return stream


async def use(edge):
    await edge.until(lambda: edge.bytes.get(0, b"").endswith(b"\n"))
    assert edge.bytes[0] == b"{}\n", edge.bytes[0]
    print("line")

    payloads = {}
    for number in range(1, 21):
        stream = await edge.open(number)
        payloads[stream] = bytes([number]) * (number * 4_000)
        edge.send(stream, payloads[stream], end=True)
    await edge.until(lambda: all(stream in edge.ended for stream in payloads))
    assert all(edge.bytes[stream] == payloads[stream] for stream in payloads)
    print("streams")

    edge._quic.send_datagram_frame(struct.pack("!IB", 7, 0xFF) + V2)
    edge._quic.send_datagram_frame(struct.pack("!I", 7) + b"question")
    edge.transmit()
    await edge.until(lambda: edge.datagrams)
    assert edge.datagrams == [struct.pack("!I", 7) + b"question"], edge.datagrams
    print("datagrams")

    stream = await edge.open(99)
    edge.send(stream, b"x")
    await edge.until(lambda: edge.bytes.get(stream) == b"x")
    edge._quic.reset_stream(stream, 1)
    edge.transmit()
    await edge.until(lambda: stream in edge.reset)
    print("reset")

    edge._quic.request_key_update()
    edge._quic.change_connection_id()
    stream = await edge.open(100)
    edge.send(stream, b"y", end=True)
    await edge.until(lambda: stream in edge.ended)
    print("keys")

    # A message of the control channel: PONG, which the hub answers by PING in this test.
    edge.send(0, struct.pack("!BI", 0x08, 3) + b"abc")
    await edge.until(lambda: edge.bytes[0].endswith(struct.pack("!BI", 0x07, 3) + b"abc"))
    print("messages")


async def main(port):
    tickets: list[SessionTicket] = []
    configuration = QuicConfiguration(
        alpn_protocols=["remoteingress"], is_client=True, max_datagram_frame_size=65_536,
        verify_mode=0, server_name="hub.example",
    )
    for attempt in ("first", "second"):
        async with connect(
            "127.0.0.1", port, configuration=configuration, create_protocol=Edge,
            session_ticket_handler=tickets.append, wait_connected=attempt == "first",
        ) as edge:
            stream = edge._quic.get_next_available_stream_id()
            assert stream == 0
            edge.send(0, b"EDGE aio secret\n")
            await edge.wait_connected()
            await use(edge)
            print(attempt, "early" if edge._quic.tls.early_data_accepted else "whole")
        configuration.session_ticket = tickets[-1]
    print("done", flush=True)


asyncio.run(main(int(sys.argv[1])))
