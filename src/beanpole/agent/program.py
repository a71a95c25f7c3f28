"""This very program, for whoever starts it once more for another purpose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List


def program_words() -> List[str]:
    """How it is started: by the name under which it was, which on servers is the link to the present one."""
    if __file__.startswith(f"{sys.argv[0]}/"):  # one file that holds all modules
        return [sys.executable, "-I", str(Path(sys.argv[0]).absolute())]
    return [sys.executable, "-I", "-m", __package__ or "agent"]
