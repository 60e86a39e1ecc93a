"""An admin interface with the status of a hub, for those who have the token."""

import http.server
import json
import sys

STATUS = {
    "running": True, "tunnelPort": 8443, "version": "1", "activeStreams": 0, "udpSessions": 0,
    "connectedEdges": [], "process": {"state": "running", "crashesRecovered": 0}, "shards": [],
}


class Admin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        allowed = self.headers["Authorization"] == f"Bearer {sys.argv[2]}"
        body = json.dumps(STATUS if allowed else {}, sort_keys=True, separators=(",", ":")).encode()
        self.send_response(200 if allowed and self.path == "/status" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Admin).serve_forever()
