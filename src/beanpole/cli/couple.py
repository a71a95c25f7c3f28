"""The two environments of a blue/green deployment: found again by the clone's tags, and where the two stand.

The one that was there is called old, its clone new. Everything is read from what is there now, so that whoever goes on,
or back, needs nothing but the name: not the terminal that began it, nor this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from beanpole.cli.environment import Environment, every_environment
from beanpole.cli.names import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.cli.client import Api

TAG = "beanpole:bluegreen:"
"""Of a clone: `of` which environment it is one, and the `address` that this had."""

_COLOURS = {"-green": "-blue", "-blue": "-green"}

Stage = Literal["making", "made", "swapped", "kept"]


@dataclass(frozen=True)
class Couple:
    """`address`: the name that users know, without the domain."""

    old: Environment
    new: Environment
    address: str

    @property
    def stage(self) -> Stage:
        """making: no version has passed on the clone yet, or another one is on its way; made: it waits for the swap;
        swapped: users get it, and the old one waits; kept: until it is terminated by itself."""
        if prefix_of(self.new) == self.address:
            return "kept" if self.old.terminate_at is not None else "swapped"
        return "made" if self.new.status == "Ready" and self.new.version is not None else "making"

    @property
    def serving(self) -> Environment:
        return self.new if prefix_of(self.new) == self.address else self.old

    @property
    def url(self) -> str:
        """What users open."""
        return self.serving.url or ""

    def words(self) -> list[str]:
        """What is where, in two lines."""
        serves = f"{self.url} leads to {self.serving.name} ({self.serving.version})."
        new, old = self.new, self.old
        match self.stage:
            case "making":
                return [serves, f"{new.name} is {new.status} and runs nothing that has passed yet; no user meets it."]
            case "made":
                return [serves, f"{new.name} runs {new.version} and waits for the swap, at {new.url}."]
            case "swapped":
                return [serves, f"{old.name} runs {old.version} and waits, at {old.url}."]
            case _:
                until = f"{old.terminate_at:%F %R} UTC" if old.terminate_at is not None else "then"
                return [serves, f"{old.name} ({old.version}) is kept until {until} and terminated by itself then."]


def couples(api: Api) -> Iterator[Couple]:
    """Those of which both are there: with the end of the old one it is over."""
    live = {each.name: each for each in every_environment(api)}
    for each in live.values():
        tags = tags_of(api, each)
        old = live.get(tags.get(f"{TAG}of", ""))
        address = tags.get(f"{TAG}address", "")
        # Where the address leads to neither, a later one has taken over from both.
        if old is not None and old.name != each.name and address in (prefix_of(old), prefix_of(each)):
            yield Couple(old, each, address)


def find_couple(api: Api, name: str) -> Couple | None:
    """By the address, or by the name of either; the one under way where an older one is still kept, too."""
    mine = [each for each in couples(api) if name in (each.address, each.old.name, each.new.name)]
    return min(mine, key=lambda each: each.stage == "kept", default=None)


def tags_of(api: Api, environment: Environment) -> dict[str, str]:
    """Those that somebody gave."""
    if not environment.arn:
        return {}
    found: list[dict[str, Any]] = api.beanstalk("ListTagsForResource", ResourceArn=environment.arn)["ResourceTags"]
    return {
        each["Key"]: each.get("Value", "")
        for each in found
        if each["Key"] != "Name" and not each["Key"].startswith("elasticbeanstalk:")
    }


def serving_at(api: Api, name: str) -> Environment | None:
    """The environment to which the address leads; else the one of that name. Colours change, addresses stay."""
    live = every_environment(api)
    there = next((each for each in live if prefix_of(each) == name.lower()), None)
    return there or next((each for each in live if each.name == name), None)


def prefix_of(environment: Environment) -> str:
    """`shop` of `http://shop.localhost:8080`."""
    return (environment.url or "").removeprefix("http://").partition(".")[0]


def other_colour(name: str) -> str:
    """What the clone of an environment is called: shop → shop-green → shop-blue → shop-green."""
    for colour, other in _COLOURS.items():
        if name.endswith(colour):
            return name.removesuffix(colour) + other
    return name[: LONGEST - len("-green")].rstrip("-") + "-green"
