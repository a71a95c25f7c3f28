"""Puts a stand-in for `beanpole.server` into a Python process that has this folder on PYTHONPATH.

It keeps the server's promises (lock, state, answers on its port, ends at SIGTERM) and does nothing else.
"""

from __future__ import annotations

import http.server
import importlib.machinery
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any


class StartFailed(Exception):
    pass


@dataclass(frozen=True)
class Options:
    home: Any
    api: tuple[str, int]
    balancer: tuple[str, int]
    domain: str
    region: str
    database: Any = None


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *arguments: Any) -> None:
        pass


def run(options: Options, ready: Any) -> None:
    if options.domain == "taken":
        raise StartFailed("the API cannot listen on 127.0.0.1:8600: Address already in use. Choose another port.")
    if options.domain == "dies":
        print("half a word", file=sys.stderr)
        os._exit(9)
    options.home.make()
    options.home.lock()
    server = http.server.HTTPServer(options.api, Refusing)
    address = f"http://127.0.0.1:{server.server_port}"
    state = {
        "pid": os.getpid(),
        "api": address,
        "balancer": f"http://127.0.0.1:{options.balancer[1]}",
        "region": options.region,
    }
    options.home.state.write_text(json.dumps(state))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    ready(address)
    server.serve_forever()
    options.home.unlock()


def end_everything(home: Any) -> list[str]:
    return ["i-1", "edge"]


class Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self) if name == "beanpole.server" else None

    def create_module(self, spec: Any) -> ModuleType:
        module = ModuleType(spec.name)
        for each in (StartFailed, Options, run, end_everything):
            setattr(module, each.__name__, each)
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


sys.meta_path.insert(0, Finder())
