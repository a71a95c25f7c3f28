"""An agent in a process of its own, for tests that kill it: serves until it is ended. Usage: HOME, port on output."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from balancer_home import QUICK, BalancerHome, Pool

from beanpole.balancer.pool import Endpoint


async def main(home: Path, app_port: int) -> None:
    balancer = BalancerHome(home)
    await balancer.role.start()
    await balancer.envoy()
    await balancer.put(Pool("e-1", ("a.localhost",), (Endpoint("127.0.0.1", app_port),), QUICK))
    print(balancer.port, (await balancer.ask("GET", "/envoy"))["pid"], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
