"""Where everything of ours lies on a server. Pure; docs/decisions/0011 has the picture and the reasons."""

from __future__ import annotations

ROOT = "/var/lib/beanpole"
"""0711, root's: applications' users may pass through and see nothing but what is theirs."""

SOCKETS = "/run/beanpole"
"""0700: `NAME.sock` is the socket of the agent of that name."""

UNITS = "/etc/systemd/system"

HOLDER = f"{ROOT}/host.json"
"""{"store", "since"}: which Beanpole holds the server."""

BLOBS = f"{ROOT}/blobs"
LAYERS = f"{ROOT}/layers"
PROGRAMS = f"{ROOT}/agent"
PROGRAM = f"{PROGRAMS}/current"
"""A link to the agent's program that units start; its versions lie side by side."""

BINARIES = f"{ROOT}/bin"
INSTANCES = f"{ROOT}/instances"

PROXY = "proxy"
"""Name of the agent beside the server's proxy; instances' agents are called as their instance."""

EDGE = "edge"
"""Name of the agent beside the edge balancer, on the server that has it."""


def home(agent: str) -> str:
    """The home of the agent of that name."""
    return f"{ROOT}/{agent}" if agent in (PROXY, EDGE) else f"{INSTANCES}/{agent}"


def socket(agent: str) -> str:
    return f"{SOCKETS}/{agent}.sock"


def agent_unit(agent: str) -> str:
    return f"beanpole-agent-{agent}.service"


def layer(key: str) -> str:
    """Where a dependency layer is installed."""
    return f"{LAYERS}/{key}"


def user(instance_id: str) -> str:
    """The system user that an instance's applications run as: at most 32 letters, which useradd allows."""
    return f"bp-{instance_id}"
