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


WITHIN = 8000  # its port where somebody is in front of it on the same server
FRONT = f"""
import asyncio

async def on(reader, writer):
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def take(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", {WITHIN})
    await asyncio.gather(on(reader, there[1]), on(there[0], writer))

async def main():
    server = await asyncio.start_server(take, "0.0.0.0", {PORT}, backlog=1000)
    await server.serve_forever()

asyncio.run(main())
"""


def make_within(bed: Bed, name: str) -> None:
    """The service listens on loopback alone, and something in front of it at the usual port hides nothing."""
    make(bed, name, f"127.0.0.1:{WITHIN}")
    bed.exec(name, "systemd-run", "--quiet", "--unit=front", "--collect", "python3", "-c", FRONT)


def make(bed: Bed, name: str, listen: str = f"0.0.0.0:{PORT}") -> None:
    """The service runs there and is enabled."""
    bed.exec(name, "install", "-d", "-o", "admin", FOLDER)
    bed.exec(name, "tee", f"{FOLDER}/server.py", text=SERVER)
    bed.exec(name, "tee", f"{FOLDER}/.env", text="SECRET_KEY=hunter2-very-secret\n")
    bed.exec(name, "tee", f"/etc/systemd/system/{UNIT}", text=TEXT.replace(f"0.0.0.0:{PORT}", listen))
    bed.exec(name, "chown", "-R", "admin:", FOLDER)
    bed.exec(name, "systemctl", "daemon-reload")
    bed.exec(name, "systemctl", "enable", "--quiet", "--now", UNIT)


def unmake(bed: Bed, name: str) -> None:
    bed.exec(name, "systemctl", "disable", "--quiet", "--now", UNIT, check=False)
    bed.exec(name, "systemctl", "stop", "--quiet", "front", check=False)
    bed.exec(name, "rm", "-rf", FOLDER, f"/etc/systemd/system/{UNIT}")
    bed.exec(name, "systemctl", "daemon-reload")
