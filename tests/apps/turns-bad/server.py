"""An application that is well for TURN_BAD_AFTER seconds (default 20) after its start, then answers 500 to all."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()
GOOD_UNTIL = time.monotonic() + float(os.environ.get("TURN_BAD_AFTER", "20"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

    def do_GET(self) -> None:
        if time.monotonic() < GOOD_UNTIL:
            self.answer(200, {"application": "turns-bad", "version": VERSION, "status": "ok"})
        else:
            self.answer(500, {"error": "the connection pool is exhausted", "version": VERSION})

    def answer(self, status: int, value: dict[str, str]) -> None:
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-App-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
