"""What connections cost: RSS of the edge and the hub while they come, rest and go."""

import socket

import play
from sockets import Target, connect, echo, resident_bytes

REQUEST = b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def short_connections(edge, edge_pid, hub_pid, first=1000, rest=99_000, batch=50):
    """RSS after many short connections is what it was after the first ones."""

    def run(count):
        for _ in range(count // batch):
            clients = [socket.create_connection(("127.0.0.1", edge)) for _ in range(batch)]
            for client in clients:
                client.sendall(REQUEST)
            for client in clients:
                answer = bytearray()
                while piece := client.recv(4096):
                    answer += piece
                assert answer.endswith(b"small\n"), f"answer {bytes(answer)}"
                client.close()

    run(first)
    before = [resident_bytes(pid) for pid in (edge_pid, hub_pid)]
    run(rest)
    grown = [resident_bytes(pid) - rss for pid, rss in zip((edge_pid, hub_pid), before)]
    assert max(grown) <= 2 << 20, f"RSS of edge and hub grew by {grown}"
    return {"edgeRSS": grown[0], "hubRSS": grown[1], "edge": before[0], "hub": before[1]}


async def idle_connections(edge, target, edge_pid, hub_pid, clients=5000, bytes_each=4096):
    """A connection at rest, after traffic, costs at most `bytes_each` in each process."""

    async def arrive(count, batch=100):
        arrived = []
        for _ in range(count // batch):
            comers = [await connect(edge) for _ in range(batch)]
            for client in comers:
                await client.send(b"hello")
            for client in comers:
                assert await client.read_exactly(5) == b"hello"
            arrived += comers
        return arrived

    with Target(target) as inside:
        inside.serve(echo)
        guests = await arrive(100)
        before = [resident_bytes(pid) for pid in (edge_pid, hub_pid)]
        guests += await arrive(clients)
        each = [
            (resident_bytes(pid) - rss) / clients for pid, rss in zip((edge_pid, hub_pid), before)
        ]
        for guest in guests:
            guest.close()
    assert max(each) <= bytes_each, f"an idle connection costs {each} bytes in edge and hub"
    return {"edgeRSSEach": each[0], "hubRSSEach": each[1]}


if __name__ == "__main__":
    play.main(globals())
