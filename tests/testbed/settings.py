"""Settings of one test bed: where it lives, how its parts are called, which addresses it has.

`up` remembers them until `down`, so that later commands need nothing but TESTBED_DIR.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .machine import BedError, read, read_json, write

MOST_HOSTS = 50
FIRST = 10  # host1 has the address after this one
LINKS = Path("/sys/class/net")
USUAL = {"NAME": "tb", "NET": "10.99.0", "DISK_MB": "2048", "PACKAGES": "", "SUITE": "bookworm", "BASES": ""}
FOREIGN = "none-of-mine"
"""A name that no test bed can have: nothing on this machine is found under it."""


@dataclass(frozen=True, slots=True)
class Settings:
    folder: Path
    bases: Path  # cached base systems; other beds may share the folder
    name: str  # prefix of the bridge, links, network namespaces and control groups
    net: str  # first three bytes of the /24
    disk_mb: int
    packages: tuple[str, ...]
    suite: str

    @property
    def bridge(self) -> str:
        return FOREIGN if self.name == FOREIGN else f"{self.name}-br"

    @property
    def gate(self) -> str:
        """This machine's address on the bridge."""
        return f"{self.net}.1"

    @property
    def key(self) -> Path:
        """The private key that logs in to every host."""
        return self.folder / "key"

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    def address(self, number: int) -> str:
        return f"{self.net}.{FIRST + number}"

    def mac(self, last: int) -> str:
        """The hardware address that belongs to the network address with this last byte."""
        return "02:99:" + ":".join(f"{int(byte):02x}" for byte in f"{self.net}.{last}".split("."))


def folder_of(variable: str, text: str) -> Path:
    """A folder from the environment; plain, because it becomes part of mount options."""
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", text) or len(Path(text).parts) < 3 or ".." in Path(text).parts:
        raise BedError(f"{variable}: a plain path, at least two folders deep")
    return Path(text)


def load(folder: Path, command: str, environment: Mapping[str, str]) -> Settings:
    """The environment's settings, else those of the last `up`, else the usual ones; `up` remembers them.

    Refuses names and addresses that change under a running bed, and a bridge that is another bed's.
    """
    saved = read_json(folder / "settings.json")
    if not (folder / "hosts").is_dir() and not (LINKS / f"{saved.get('NAME')}-br").exists():
        saved = {}  # of an `up` that came to nothing
    words = _choose(folder, saved, environment)
    settings = _checked(folder, words)
    owner = read(LINKS / settings.bridge / "ifalias").strip()
    if (LINKS / settings.bridge).exists() and owner != str(folder):
        if command in ("down", "status") and not saved and "TESTBED_NAME" not in environment:
            return replace(settings, name=FOREIGN)  # another bed has the usual name, and here is none
        raise BedError(
            f"the bridge {settings.bridge} is not of this test bed but of {owner or 'something else'}; "
            "end that one (its TESTBED_DIR, hosts down) or set TESTBED_NAME and TESTBED_NET"
        )
    if command == "up":
        write(folder / "settings.json", json.dumps(words) + "\n")
    return settings


def _choose(folder: Path, saved: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    words = {}
    for key, usual in USUAL.items():
        given = environment.get("TESTBED_" + key)
        if given is not None and key == "PACKAGES":
            given = " ".join(sorted(set(given.split())))
        if key in ("NAME", "NET", "BASES") and given and given != saved.get(key, given):
            raise BedError(f"the test bed in {folder} is up with TESTBED_{key}={saved[key]}; run: hosts down")
        # An empty variable means the usual value, but for the packages, where it means none.
        words[key] = given if given or (given == "" and key == "PACKAGES") else saved.get(key, usual)
    return words


def _checked(folder: Path, words: Mapping[str, str]) -> Settings:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,5}", words["NAME"]):
        raise BedError("TESTBED_NAME: one to six small letters and digits")
    if not re.fullmatch(r"\d+\.\d+\.\d+", words["NET"]) or max(int(byte) for byte in words["NET"].split(".")) > 255:
        raise BedError("TESTBED_NET: three numbers, such as 10.99.0")
    if not words["DISK_MB"].isdigit() or int(words["DISK_MB"]) < 64:
        raise BedError("TESTBED_DISK_MB: a number of megabytes, 64 or more")
    return Settings(
        folder=folder,
        bases=folder_of("TESTBED_BASES", words["BASES"]) if words["BASES"] else folder,
        name=words["NAME"],
        net=words["NET"],
        disk_mb=int(words["DISK_MB"]),
        packages=tuple(words["PACKAGES"].split()),
        suite=words["SUITE"],
    )
