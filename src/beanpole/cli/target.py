"""Which application and environment a deployment is for: what is named, else what the folder remembers, else its name.

A name that only follows from a folder's is no proof: another folder of that name may have made the environment. What is
found by such a name is deployed to when a person agrees, and else not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.cli import names
from beanpole.cli.environment import Environment, find
from beanpole.cli.errors import Busy, Misused, WrongState

if TYPE_CHECKING:
    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal
    from beanpole.cli.workspace import Workspace


@dataclass(frozen=True)
class Named:
    """What the command line says. `like`: what an application is called after where nothing names it: folder or zip."""

    application: str | None
    environment: str | None
    like: str


@dataclass(frozen=True)
class Target:
    application: str
    environment: str
    present: Environment | None
    """As it is now; None when it is to be created."""
    doubt: str = ""
    """Why it may be somebody else's, without a full stop; '' where it was named or is remembered."""

    def settle(self, terminal: Terminal, *, ask: bool) -> None:
        """Raises WrongState for one that may be somebody else's, unless somebody is there and agrees."""
        if not self.doubt:
            return
        if ask and terminal.asks:
            if terminal.confirm(f"{self.doubt}. Deploy to it all the same?", default=False):
                return
            raise WrongState("Nothing was deployed.")
        raise WrongState(f"{self.doubt}.", f"Say --environment {self.environment}, or --application another.")

    def refuse_busy(self) -> None:
        if self.present is not None and self.present.status != "Ready":
            name = self.environment
            raise Busy(
                name,
                f"The environment {name} is busy: {self.present.status}.",
                f"Wait for it with --wait, follow it with `beanpole events -f {name}`, or stop it with "
                f"`beanpole abort {name}`.",
            )


def target_of(api: Api, workspace: Workspace, named: Named) -> Target:
    """Raises WrongState for an environment of another application, Misused where no name can be made or is none."""
    chosen = named.application or workspace.application
    application = names.checked_application(chosen or _application_like(named.like))
    known = named.environment or workspace.environment
    environment = names.checked_environment(known or _environment_of(application))
    present = find(api, environment)
    if present is None:
        return Target(application, environment, None)
    if present.application != application:
        if chosen is not None or named.environment is None:
            raise WrongState(
                f"The environment {environment} belongs to the application {present.application}.",
                "Choose another one with --environment.",
            )
        application = present.application
    doubtful = known is None and named.application is None
    return Target(application, environment, present, _doubt(environment, workspace) if doubtful else "")


def _doubt(environment: str, workspace: Workspace) -> str:
    who = "this folder"
    if workspace.remembers and workspace.has_branches:
        who = f"the branch {workspace.branch} of this folder"
    return f"The environment {environment} exists already, and {who} has not deployed to it"


def _application_like(folder: str) -> str:
    name = names.application_from(folder)
    if not name:
        raise Misused(f"No name can be made of {folder!r}: it has no letter from A to Z.", "Say --application NAME.")
    return name


def _environment_of(application: str) -> str:
    name = names.environment_from(application)
    if not name:
        raise Misused(
            f"No environment can be called after {application!r}: it has no letter from A to Z.",
            "Say --environment NAME.",
        )
    return name
