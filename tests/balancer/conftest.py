"""Puts tools/ on the path: the load generator is a program that tests use as a library."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
