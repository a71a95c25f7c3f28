"""What a call says it begins with: TemplateName, or the TemplateSpecification that the EB CLI sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import clone, errors, templates
from beanpole.control.base import Base
from beanpole.options import saved
from beanpole.options.document import DocumentError

if TYPE_CHECKING:
    from beanpole.control.context import Control
    from beanpole.options.saved import Saved
    from beanpole.options.setting import Setting

_SOURCES = ("EnvironmentName", "SourceContents")


def base_of(control: Control, params: dict[str, Any], application: str) -> Base:
    """For a new environment: of a saved configuration, of another environment, of a document, or of nothing.

    Raises the API's errors, also for two of them at once.
    """
    source = source_of(params)
    named = [name for name in _SOURCES if source.get(name) is not None]
    if "TemplateName" in params:
        named.append("TemplateName")
    if len(named) > 1:
        raise errors.combination(f"{' and '.join(sorted(named))} cannot be given together.")
    if source.get("EnvironmentName") is not None:
        return clone.source(control, application, source["EnvironmentName"])
    if source.get("SourceContents") is not None:
        return templates.of_document(control, document(source["SourceContents"]))
    if "TemplateName" in params:
        return templates.base_of(control, templates.find(control, application, params["TemplateName"]))
    return Base()


def branch_named(control: Control, params: dict[str, Any], base: Base) -> str:
    """The branch of the platform that the call names, else of its base. Raises the API's errors when there is none."""
    source = source_of(params)
    arn = params.get("PlatformArn", source.get("PlatformArn"))
    stack = params.get("SolutionStackName", source.get("SolutionStackName"))
    if arn is not None and stack is not None:
        raise errors.combination("PlatformArn and SolutionStackName cannot be given together.")
    if stack is not None and "TemplateName" in params and base.platform is not None:
        raise errors.combination("SolutionStackName cannot be given with the TemplateName of one that has a platform.")
    if arn is None and stack is None:
        if base.platform is not None:
            return base.platform
        if "TemplateName" in params or source:
            raise errors.invalid(templates.NO_PLATFORM)
        raise errors.missing("One of PlatformArn and SolutionStackName is required.")
    platforms = control.platforms
    found = platforms.by_arn(arn, control.identity.region) if arn is not None else platforms.named(stack or "")
    if found is None:
        have = "; ".join(platform.solution_stack for platform in platforms)
        raise errors.invalid(f"No Solution Stack named '{arn or stack}' found. This Beanpole has: {have}.")
    return found.branch


def settings_for(control: Control, params: dict[str, Any], application: str, tier: str) -> list[Setting]:
    """What an update sets besides its own OptionSettings. An environment keeps its platform whatever the base says."""
    if source_of(params).get("EnvironmentName") is not None:
        raise errors.invalid("An environment is cloned when it is created: give EnvironmentName to CreateEnvironment.")
    base = base_of(control, params, application)
    if base.tier not in (None, tier):
        raise errors.invalid(f"The configuration is of the tier {base.tier}, and the environment of {tier}.")
    return base.settings


def source_of(params: dict[str, Any]) -> dict[str, Any]:
    """The TemplateSource. Raises the API's error for snippets, by which clients ask for a database."""
    specification: dict[str, Any] = params.get("TemplateSpecification") or {}
    if specification.get("TemplateSnippets"):
        raise errors.invalid("Template snippets are not built: Beanpole creates no databases. Give OptionSettings.")
    found: dict[str, Any] = specification.get("TemplateSource") or {}
    return found


def document(text: str) -> Saved:
    try:
        return saved.read(text.encode())
    except DocumentError as problem:
        where = f", line {problem.line}" if problem.line else ""
        raise errors.invalid(f"SourceContents{where}: {problem}. Nothing was changed.") from problem
