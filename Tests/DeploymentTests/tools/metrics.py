"""Prints the /metrics of a hub and of an edge that is connected to it: `metrics.py BINARY`."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def wait_for(port, path, process):
    deadline = time.monotonic() + 30
    while (text := get(port, path)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"metrics: no answer from {path}")
        time.sleep(0.02)
    return text


def main():
    tunnel, hub_admin, edge_admin, client = free_ports(4)
    environment = {"PATH": os.environ["PATH"]}
    with tempfile.TemporaryDirectory(prefix="metrics.") as folder, contextlib.ExitStack() as stack:

        def start(role, admin, configuration):
            path = pathlib.Path(folder, f"{role}.json")
            state = {"stateDir": f"{folder}/{role}", "admin": {"listen": f"127.0.0.1:{admin}"}}
            path.write_text(json.dumps(configuration | state))
            command = [sys.argv[1], role, "--config", path, "--log-level", "error"]
            process = subprocess.Popen(command, env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        edge = {"id": "edge-1", "secret": "s", "listenPorts": [client], "stunIntervalSecs": 0}
        hub = {"tunnelPort": tunnel, "bindAddress": "127.0.0.1", "allowedEdges": [edge]}
        hub_process = start("hub", hub_admin, hub)
        wait_for(hub_admin, "/readyz", hub_process)
        edge = {"hubHost": "127.0.0.1", "hubPort": tunnel, "edgeId": "edge-1", "secret": "s"}
        edge_process = start("edge", edge_admin, edge)
        wait_for(edge_admin, "/readyz", edge_process)
        print(wait_for(hub_admin, "/metrics", hub_process))
        print(wait_for(edge_admin, "/metrics", edge_process))


main()
