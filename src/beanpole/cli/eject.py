"""`beanpole eject`: applications stay where they are without us, or the unit of before has its port again."""

from __future__ import annotations

from typing import Annotated

import typer

from beanpole.cli.adopt import followed
from beanpole.cli.client import Api
from beanpole.cli.errors import Misused, WrongState
from beanpole.cli.parameters import FOLLOW_LIMIT, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.terminal import Terminal


def eject(
    name: Annotated[str, typer.Argument(metavar="ENV|HOST", help="The environment, or a server with all on it.")],
    to_unit: Annotated[
        bool, typer.Option("--to-unit", help="Give the port back to the unit that was adopted, and go.")
    ] = False,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Leave applications on their servers without Beanpole.

    They go on, after a boot, too. With --to-unit the service of before has its port again and nothing of ours stays.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    found = api.beanpole("DescribeHosts").get("Hosts", [])
    host = any(each["Name"] == name for each in found)
    if host and to_unit:
        raise Misused("--to-unit is for environments.", "Name the environment.")
    what = "the unit of before gets its port again" if to_unit else "what runs there goes on without Beanpole"
    question = f"Eject {name}: {what}, and the control plane forgets it?"
    if not yes:
        if not terminal.asks:
            raise Misused("Nobody can be asked here.", "Say --yes.")
        if not terminal.confirm(question, default=False):
            raise WrongState("Nothing was changed.")
    if host:
        api.beanpole("EjectHost", HostName=name)
    elif to_unit:
        api.beanpole("EjectEnvironment", EnvironmentName=name, ToUnit=True)
    else:
        api.beanpole("EjectEnvironment", EnvironmentName=name)
    seen = followed(terminal, lambda: api.beanpole("DescribeEjection", Name=name), timeout)
    gap = seen.get("Seconds", 0.0)
    terminal.result({"outcome": "ejected", "name": name, "to_unit": to_unit, "gap_seconds": gap})
    if to_unit:
        lost = f" after {gap:.1f} s in which nobody listened" if gap else ", without a break"
        terminal.say(f"The unit has its port again{lost}. Nothing of Beanpole is left there.")
    else:
        terminal.say(f"{name} goes on without Beanpole: applications and Envoy are units beanpole-* there.")
