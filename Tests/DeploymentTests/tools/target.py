"""A target behind the hub: `target.py PORT...` takes a PROXY v1 line and an HTTP request on each
port and answers with the client's address; `/slow` takes two seconds for its answer.
"""

import socketserver
import sys
import threading
import time


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        header = self.rfile.readline().split()
        request = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        if header[:1] != [b"PROXY"] or len(request) != 3:
            return
        parts = [b"%s on port %s\n" % (header[2], header[5])]
        if request[1] == b"/slow":
            parts = [b"part %d\n" % number for number in range(20)]
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        self.wfile.write(head % sum(map(len, parts)))
        for part in parts:
            self.wfile.write(part)
            if len(parts) > 1:
                time.sleep(0.1)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


servers = [Server(("127.0.0.1", int(port)), Answer) for port in sys.argv[1:]]
threads = [threading.Thread(target=server.serve_forever) for server in servers]
for thread in threads:
    thread.start()
