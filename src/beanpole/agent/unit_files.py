"""The files of an instance's units: each unit, its environment (root's alone: it holds secrets), its link for the boot.

All are whole after any crash. What is ours is told by the instance in its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Optional, Set

from . import durable
from .failure import JobFailure
from .runner import STAGE, Order
from .unit_text import Site, environment_text, staged, unit_text

FOLDER = Path("/etc/systemd/system")
WANTS = "multi-user.target.wants"
# systemd tells everybody what is in a unit, and warns of one that is not readable for all. Secrets are elsewhere.
UNIT_MODE = 0o644


class UnitFiles:
    """Of one instance, below `folder`; environments are in `home`/units."""

    def __init__(self, home: Path, site: Site, folder: Path = FOLDER) -> None:
        self._site = site
        self._folder = folder
        self._environments = home / "units"
        self._environments.mkdir(exist_ok=True, mode=0o700)

    def write(self, unit: str, order: Order) -> None:
        """Writes what makes that unit run the order. OSError, or JobFailure for what cannot be expressed."""
        environment = self._environment(unit)
        text = unit_text(self._site, order, environment)
        durable.write(environment, environment_text(order.environment, order.mark).encode())
        self._replace(unit, text)

    def restage(
        self,
        unit: str,
        *,
        proven: Optional[bool] = None,
        raised: Optional[bool] = None,
        stop: Optional[float] = None,
    ) -> None:
        """Brings the unit to another stage (`staged`)."""
        self._replace(unit, staged(self._text(unit), proven=proven, raised=raised, stop=stop))

    def exists(self, unit: str) -> bool:
        return (self._folder / unit).exists()

    def all(self) -> Set[str]:
        """Units of this instance that have a file or a link."""
        pattern = f"beanpole-{self._site.instance}-*.service"
        found = {path.name for place in (self._folder, self._folder / WANTS) for path in place.glob(pattern)}
        return found | {path.name[: -len(".env")] for path in self._environments.glob("*.env")}

    def linked(self) -> Set[str]:
        """Units that start with the machine."""
        return {path.name for path in (self._folder / WANTS).glob(f"beanpole-{self._site.instance}-*.service")}

    def link(self, unit: str) -> None:
        """It starts with the machine: what `systemctl enable` does."""
        wants = self._folder / WANTS
        if (wants / unit).is_symlink():
            return
        if not wants.exists():
            wants.mkdir()
            wants.chmod(0o755)
        durable.link(wants / unit, str(self._folder / unit))

    def unlink(self, units: Iterable[str]) -> None:
        """These do not start with the machine."""
        wants = self._folder / WANTS
        gone = [unit for unit in units if (wants / unit).is_symlink()]
        for unit in gone:
            (wants / unit).unlink()
        if gone:
            durable.sync_folder(wants)

    def remove(self, units: Iterable[str]) -> None:
        """Nothing of these is left."""
        units = list(units)
        self.unlink(units)
        for unit in units:
            (self._folder / unit).unlink(missing_ok=True)
            self._environment(unit).unlink(missing_ok=True)
        if units:
            durable.sync_folder(self._folder)

    def _environment(self, unit: str) -> Path:
        return self._environments / f"{unit}.env"

    def _text(self, unit: str) -> str:
        try:
            return (self._folder / unit).read_text()
        except FileNotFoundError as error:
            message = f"the file of unit {unit} was removed"
            raise JobFailure(STAGE, message, "Deploy again: it is written anew.") from error

    def _replace(self, unit: str, text: str) -> None:
        """Writes only what is different, so that systemd need not read it again."""
        path = self._folder / unit
        if not path.exists() or path.read_bytes() != text.encode():
            durable.write(path, text.encode(), UNIT_MODE)
