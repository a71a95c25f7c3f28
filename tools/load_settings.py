"""Which load, and what counts as failed: in words of a command line, too."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

WHAT = "Open-loop HTTP load that counts every request which a user would have seen fail."


@dataclass(frozen=True)
class Settings:
    """What load, and what counts as failed. Shares are between 0 and 1, times in seconds.

    `host` is the Host header, `address` and `port` are where to connect. Every `slow_every` seconds (0: never)
    `slow_path` is asked, which takes `slow_seconds` by itself. `idle` connections ask once at the start and once at the
    end. `allowed` are statuses of 400 and above that are no failure.
    """

    port: int
    address: str = "127.0.0.1"
    host: str = "localhost"
    rate: float = 200.0
    keep_alive: float = 0.8
    path: str = "/"
    post: float = 0.0
    post_path: str = "/"
    slow_path: str = "/slow"
    slow_seconds: float = 1.0
    slow_every: float = 0.0
    idle: int = 0
    websocket: str | None = None
    timeout: float = 10.0
    allowed: tuple[int, ...] = ()


def settings_from(words: list[str]) -> tuple[Settings, float | None, Path | None]:
    """The command line: settings, seconds (None: until standard input closes), file for the report (None: output)."""
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("target", help="ADDRESS:PORT to connect to")
    parser.add_argument("--host", help="Host header (default: the target)")
    parser.add_argument("--seconds", type=float, help="how long (default: until standard input closes)")
    parser.add_argument("--out", type=Path, help="file for the report")
    defaults = Settings(port=0)
    for name, kind in (
        ("rate", float), ("keep-alive", float), ("path", str), ("post", float), ("post-path", str), ("slow-path", str),
        ("slow-seconds", float), ("slow-every", float), ("idle", int), ("websocket", str), ("timeout", float),
    ):  # fmt: skip
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"default: {default}")
    parser.add_argument("--allow", type=int, action="append", default=[], help="a status that is no failure")
    given = vars(parser.parse_args(words))
    address, _, port = given.pop("target").rpartition(":")
    if not port.isdigit():
        parser.error("the target must be ADDRESS:PORT")
    seconds, out, host, allowed = (given.pop(name) for name in ("seconds", "out", "host", "allow"))
    address = address.strip("[]") or defaults.address
    settings = Settings(
        port=int(port), address=address, host=host or f"{address}:{port}", allowed=tuple(allowed), **given
    )
    return settings, seconds, out
