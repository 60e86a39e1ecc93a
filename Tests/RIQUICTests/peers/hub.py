"""A hub on a free port of 127.0.0.1: echoes streams and datagrams, sends one PING and CONFIG.

Arguments: certificate file, key file. Prints its port first, then what it has seen.
"""

import asyncio
import struct
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived
from aioquic.quic.events import StreamReset


def say(*words):
    print(*words, flush=True)


class Hub(QuicConnectionProtocol):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.control = b""
        self.is_up = False
        self.heads = {}

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived) and event.stream_id == 0:
            self.control_received(event.data)
        elif isinstance(event, StreamDataReceived):
            self.stream_received(event)
        elif isinstance(event, StreamReset):
            say("reset", event.error_code)
        elif isinstance(event, DatagramFrameReceived):
            is_open = event.data[4:17] == b"\xff\r\n\r\n\0\r\nQUIT\n"
            if is_open:
                say("session", struct.unpack("!I", event.data[:4])[0])
            else:
                self._quic.send_datagram_frame(event.data)
        elif isinstance(event, ConnectionTerminated):
            say("ended", event.error_code)
        self.transmit()

    def control_received(self, data):
        self.control += data
        if not self.is_up:
            line, separator, self.control = self.control.partition(b"\n")
            if not separator:
                self.control = line
                return
            say(line.decode())
            self.is_up = True
            config = b'{"listenPorts":[80]}'
            answer = b"{}\n" + struct.pack("!BI", 0x07, 4) + b"ping"
            self._quic.send_stream_data(0, answer + struct.pack("!BI", 0x06, len(config)) + config)
        while len(self.control) >= 5:
            kind, length = struct.unpack("!BI", self.control[:5])
            if len(self.control) < 5 + length:
                return
            say("message", kind, self.control[5 : 5 + length].decode())
            self.control = self.control[5 + length :]

    def stream_received(self, event):
        data = event.data
        head = self.heads.get(event.stream_id, b"")
        if not head.endswith(b"\r\n"):
            head += data
            line, separator, data = head.partition(b"\r\n")
            self.heads[event.stream_id] = line + separator
            if separator:
                say(line.decode())
        self._quic.send_stream_data(event.stream_id, data, event.end_stream)


async def main(certificate, key):
    configuration = QuicConfiguration(
        alpn_protocols=["remoteingress"], is_client=False, max_datagram_frame_size=65_536
    )
    configuration.load_cert_chain(certificate, key)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=Hub),
        local_addr=("127.0.0.1", 0),
    )
    say(transport.get_extra_info("sockname")[1])
    # Whoever has started it is gone when its standard input ends.
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.read(1) or ended.set())
    await ended.wait()


asyncio.run(main(sys.argv[1], sys.argv[2]))
