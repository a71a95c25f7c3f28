"""`beanpole clone`: another environment with the settings, the version and the tags of one that there is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from beanpole.cli import names
from beanpole.cli.client import Api
from beanpole.cli.environment import find, the_environment
from beanpole.cli.errors import WrongState
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, HomeOption, JsonOption, TimeoutOption
from beanpole.cli.terminal import Terminal


def clone(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The environment to copy.")],
    name: Annotated[str, typer.Argument(metavar="NEW", help="What the copy is called.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="LABEL", show_default=False, help="Another version than its own.")
    ] = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Create an environment like another one.

    Data is not copied. Neither of the two follows the other afterwards.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    source = the_environment(api, environment)
    name = names.checked_environment(name)
    if find(api, name) is not None:
        raise WrongState(f"There is an environment {name} already.", "Choose another name.")
    label = version or source.version
    more: dict[str, Any] = {"VersionLabel": label} if label is not None else {}
    answer = api.beanstalk(
        "CreateEnvironment",
        ApplicationName=source.application,
        EnvironmentName=name,
        TemplateSpecification={"TemplateSource": {"EnvironmentName": source.name}},
        **more,
    )
    change = Change(
        environment=name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Creating {name} like {source.name}",
        success=f"{name} is up with {label or 'the sample application'}",
        noun="creation",
        facts={"source": source.name, "version": label},
    )
    carry_through(api, terminal, change, timeout)
