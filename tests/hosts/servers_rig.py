"""The scenarios' fleet on real servers: one instance of shop-dev on each, behind our edge."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from beanpole_site import Settings
from bed import Bed, Server
from matrix import HOLDS
from rig import Found
from servers_site import ServersSite

LOOK = r"""
for home in /var/lib/beanpole/instances/i-*; do
    [ -e "$home" ] || continue
    echo "home ${home##*/}"
    [ ! -L "$home/current" ] || echo "boot ${home##*/} $(basename "$(readlink "$home/current")")"
done
systemctl list-units --plain --no-legend --state=active 'beanpole-i-*-web-*' | sed 's/^\([^ ]*\).*/unit \1/'
"""
UNIT = re.compile(r"unit beanpole-(i-[0-9a-z]+)-web-([0-9a-z.]+)\.service")


class ServersRig:
    """A place is a server. The one at which a deployment is held is the third: an instance is there before it."""

    fleet = "servers"
    holds = HOLDS

    def __init__(self, bed: Bed, site: ServersSite, servers: list[Server]) -> None:
        self.bed = bed
        self.site = site
        self.servers = servers
        self.number = len(servers)

    @property
    def _third(self) -> str:
        return self.servers[2].name

    def create(self, files: dict[str, str], settings: Settings) -> None:
        self.site.add(self.servers)
        created = self.site.create(files, instances=self.number, settings=settings)
        assert created["Outcome"] == "succeeded", (created, self.site.log())

    def hold(self) -> None:
        self._sh(self._third, f"rm -rf {HOLDS}; mkdir -m 1777 {HOLDS}; touch {HOLDS}/activate")

    def held(self) -> str:
        return self._third if self._sh(self._third, f"ls {HOLDS}/activate.reached 2>/dev/null || true") else ""

    def let_go(self) -> None:
        self.bed.exec(self._third, "rm", "-f", f"{HOLDS}/activate", check=False)

    def put(self, name: str) -> None:
        self._everywhere(lambda server: self._sh(server.name, f"mkdir -p -m 1777 {HOLDS}; touch {HOLDS}/{name}"))

    def lose(self, place: str) -> None:
        """Power off."""
        self.bed.kill(place)

    def restore(self, place: str) -> None:
        self.bed.start(place)

    def answers(self, but: str = "") -> dict[str, str]:
        return self.site.answers(but=(but,))

    def found(self) -> Found:
        found = Found()
        for line in "".join(self._everywhere(lambda server: self._sh(server.name, LOOK))).splitlines():
            what, instance, *more = line.split()
            if unit := UNIT.fullmatch(line):
                found.web.append((unit[1], unit[2]))
            elif what == "home":
                found.homes.append(instance)
            elif what == "boot":
                found.boots.append((instance, more[0]))
        return found

    def _everywhere(self, do: Callable[[Server], str]) -> list[str]:
        with ThreadPoolExecutor(self.number) as threads:
            return list(threads.map(do, self.servers))

    def _sh(self, name: str, text: str) -> str:
        return self.bed.exec(name, "sh", "-s", text=text)
