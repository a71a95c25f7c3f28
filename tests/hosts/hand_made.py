"""A service as people make it by hand: a unit in /etc/systemd/system, a folder in the user's home, one fixed port."""

from __future__ import annotations

from bed import Bed

UNIT = "pettracker-ml.service"
FOLDER = "/home/admin/pettracker-ml"
PORT = 8080

SERVER = r'''
"""An HTTP/1.1 server with threads. Says which version it is; /slow takes a second."""
import http.server, os, signal, sys, threading, time

VERSION = os.environ.get("VERSION", "hand")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            time.sleep(1)
        if self.path == "/late":
            time.sleep(0.03)
        body = f"{VERSION} {os.environ.get('GREETING', '')}\n".encode()
        self.send_response(404 if "404" in self.path else 200)
        self.send_header("X-App-Version", VERSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200


host, port = sys.argv[1].rsplit(":", 1)
Server((host, int(port)), Handler).serve_forever()
'''

TEXT = f"""[Unit]
Description=Made by hand
After=network.target

[Service]
User=admin
WorkingDirectory={FOLDER}
Environment=VERSION=hand "GREETING=good day"
EnvironmentFile={FOLDER}/.env
ExecStart=/usr/bin/python3 server.py 0.0.0.0:{PORT}
Restart=always

[Install]
WantedBy=multi-user.target
"""


def make(bed: Bed, name: str) -> None:
    """The service runs there and is enabled."""
    bed.exec(name, "install", "-d", "-o", "admin", FOLDER)
    bed.exec(name, "tee", f"{FOLDER}/server.py", text=SERVER)
    bed.exec(name, "tee", f"{FOLDER}/.env", text="SECRET_KEY=hunter2-very-secret\n")
    bed.exec(name, "tee", f"/etc/systemd/system/{UNIT}", text=TEXT)
    bed.exec(name, "chown", "-R", "admin:", FOLDER)
    bed.exec(name, "systemctl", "daemon-reload")
    bed.exec(name, "systemctl", "enable", "--quiet", "--now", UNIT)


def unmake(bed: Bed, name: str) -> None:
    bed.exec(name, "systemctl", "disable", "--quiet", "--now", UNIT, check=False)
    bed.exec(name, "rm", "-rf", FOLDER, f"/etc/systemd/system/{UNIT}")
    bed.exec(name, "systemctl", "daemon-reload")
