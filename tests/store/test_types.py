"""Threads may decode at once only what was looked at before."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys
import threading
from beanpole.policies import plan
from beanpole.store import types
import beanpole.store.operations, beanpole.store.environments

sys.setswitchinterval(1e-6)
types.resolve(())
text = plan.encode(plan.Plan(policy="Rolling", steps=()))
barrier = threading.Barrier(8)

def decode():
    barrier.wait()
    for _ in range(50):
        plan.decode(text)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("alive")
"""


def test_threads_decode_side_by_side() -> None:
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
