"""The smallest Django project with a migration, which one instance runs for all (see .ebextensions/01_migrate.config).

Each `migrate` adds a line to the file DB_PATH + ".runs", so that a test can count how often it ran.
"""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    if "migrate" in sys.argv[1:] and os.environ.get("DB_PATH"):
        with Path(os.environ["DB_PATH"] + ".runs").open("a") as runs:
            runs.write(f"migrate {VERSION}\n")
    execute_from_command_line(sys.argv)
