"""`python -m beanpole.simulation SEED …`: the histories of these seeds, with what was broken at the end."""

from __future__ import annotations

import sys

from beanpole.simulation.run import run
from beanpole.simulation.scenario import drawn


def main() -> int:
    histories = [run(drawn(int(word))) for word in sys.argv[1:]]
    for history in histories:
        sys.stdout.write(f"{history.text()}\n{history.outcomes}\n")
    return int(any(history.broken for history in histories))


sys.exit(main())
