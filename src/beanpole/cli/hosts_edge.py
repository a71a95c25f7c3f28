"""`beanpole hosts edge`: where the balancer is through which users' requests come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.errors import Misused, WrongState
from beanpole.cli.names import nearest
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.plan import counted
from beanpole.cli.terminal import Terminal

HEADS = ("EDGE", "URL", "DOMAIN", "")


def edge(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="The host.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Bring it back to the control plane's machine.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=1, max=65535, help="On the host; else 80.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="DOMAIN", help="Environments are reached as NAME.DOMAIN.")
    ] = None,
    end_former: Annotated[
        bool, typer.Option("--end-former", help="End the edges that names no longer lead to.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="End them though requests come through them.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show or move the edge balancer.

    It moves while environments serve. The one of before serves on until --end-former.
    """
    if (name is not None) + local + end_former > 1:
        raise Misused("A host, --local and --end-former are three things.", "Say one of them.")
    if name is None and (port is not None or domain is not None):
        raise Misused("--port and --domain are those of an edge on a host.", "Name the host.")
    if force and not end_former:
        raise Misused("--force belongs to --end-former.", "Leave it out.")
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    if end_former:
        cut = api.beanpole("EndFormerEdges", Force=force).get("Cut", 0)
        if cut:
            terminal.warn(f"{counted(cut, 'request')} had not ended and {'was' if cut == 1 else 'were'} cut.")
    elif name is not None:
        _refuse_unknown(api, name)
        wanted = {"Name": name, "Port": port, "Domain": domain}
        api.beanpole("MoveEdge", **{key: value for key, value in wanted.items() if value is not None})
    elif local:
        api.beanpole("MoveEdge")
    found = api.beanpole("DescribeEdges").get("Edges", [])
    terminal.result({"edges": [_as_json(each) for each in found]})
    if json:
        return
    terminal.table(HEADS, [_row(each) for each in found])
    leading = found[0]
    if leading.get("Name") is not None and leading["Domain"].split(".")[-1] == "localhost":
        terminal.warn(
            f"Warning: names below {leading['Domain']} lead to whoever asks, not to {leading['Name']}. Say --domain, "
            f"and let the names below it lead to {leading['Address']}."
        )
    if len(found) > 1:
        terminal.say("The former edge serves on. When nobody comes through it: beanpole hosts edge --end-former")


def _row(edge: dict[str, Any]) -> tuple[str, ...]:
    return (
        edge.get("Name") or "this machine",
        edge["Url"],
        edge["Domain"],
        "names lead here" if edge["Leads"] else "former",
    )


def _as_json(edge: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": edge.get("Name"),
        "url": edge["Url"],
        "port": edge["Port"],
        "domain": edge["Domain"],
        "leads": edge["Leads"],
    }


def _refuse_unknown(api: Api, name: str) -> None:
    known = [each["Name"] for each in api.beanpole("DescribeHosts").get("Hosts", [])]
    if name not in known:
        raise WrongState(f"There is no host {name}.", nearest(name, known) or "`beanpole hosts add` adds one.")
