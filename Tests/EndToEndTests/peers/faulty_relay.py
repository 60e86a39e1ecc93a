"""A relay in front of an edge that does one thing wrong: it changes or drops one byte (TCP), or one
datagram (UDP).

    faulty_relay.py LISTEN_PORT EDGE_PORT tcp|udp none|flip|drop up|down PLACE

PLACE is the number of the byte in its direction of the first connection, or of the datagram. Says
`ready` when it listens; ends with its parent.
"""

import asyncio
import signal
import sys

listen_port, edge_port, transport, fault, direction, place = sys.argv[1:7]
listen_port, edge_port, place = int(listen_port), int(edge_port), int(place)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def damage(data, seen):
    """The bytes of a stream that has seen `seen` before, with the fault in its place."""
    at = place - seen
    if not 0 <= at < len(data):
        return data
    if fault == "flip":
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    return data[:at] + data[at + 1 :] if fault == "drop" else data


async def pump(reader, writer, faulty):
    seen = 0
    try:
        while data := await reader.read(65536):
            writer.write(damage(data, seen) if faulty else data)
            seen += len(data)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, OSError):
        writer.close()


connections = 0


async def relay(reader, writer):
    global connections
    connections += 1
    first = connections == 1
    upward, edge = await asyncio.open_connection("127.0.0.1", edge_port)
    await asyncio.gather(
        pump(reader, edge, first and direction == "up"),
        pump(upward, writer, first and direction == "down"),
    )
    edge.close()
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """One side of one session, or the side of all clients."""

    def __init__(self, forward):
        self.forward = forward

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.forward(data, address)


async def relay_datagrams():
    loop = asyncio.get_running_loop()
    sessions, counts = {}, {"up": 0, "down": 0}

    def pass_on(data, way, send):
        counts[way] += 1
        if way != direction or counts[way] != place:
            send(data)
        elif fault == "flip":
            send(data[:-1] + bytes([data[-1] ^ 1]))
        elif fault != "drop":
            send(data)

    async def open_session(client):
        def back(data, _):
            pass_on(data, "down", lambda data: front.sendto(data, client))

        session, _ = await loop.create_datagram_endpoint(
            lambda: Datagrams(back), remote_addr=("127.0.0.1", edge_port)
        )
        for data in sessions[client]:
            pass_on(data, "up", session.sendto)
        sessions[client] = session

    def forth(data, client):
        held = sessions.get(client)
        if held is None:
            sessions[client] = [data]
            loop.create_task(open_session(client))
        elif isinstance(held, list):
            held.append(data)
        else:
            pass_on(data, "up", held.sendto)

    front, _ = await loop.create_datagram_endpoint(
        lambda: Datagrams(forth), local_addr=("127.0.0.1", listen_port)
    )


async def main():
    if transport == "tcp":
        await asyncio.start_server(relay, "127.0.0.1", listen_port)
    else:
        await relay_datagrams()
    print("ready", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
