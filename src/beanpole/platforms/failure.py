"""What the last lines of a resolver or fetcher mean: the cause in one sentence, the requirement, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.platforms.requirements import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Failure:
    """`requirement` is "" where the output names none."""

    cause: str
    requirement: str
    remedy: str


_REQUIREMENT = (
    re.compile(r"you require ([A-Za-z0-9][^\s,]*)"),
    re.compile(r"(?:Failed to build|Failed building wheel for) `?([A-Za-z0-9][^\s`']*)"),
    re.compile(r"No matching distribution found for ([^\s]+)"),
    re.compile(r"^\s+([A-Za-z0-9][\w.-]*==\S+) from ", re.MULTILINE),
)

_PREPARING = re.compile(r"^(?:Collecting|Processing) (?:\S*/)?([A-Za-z0-9][^\s/]*)", re.MULTILINE)
"""What pip works on. Of a package whose metadata cannot be made it says no more than that."""

_REMEDIES = (
    (r"DO NOT MATCH THE HASHES", "The file on the index is not the one that was locked. Lock the requirements again."),
    (r"No space left on device", "Free disk space and deploy again."),
    (
        r"Failed to build|Failed building wheel|subprocess-exited-with-error",
        "The package has no wheel for this Python and machine, and building it from source failed. "
        "Choose a version with a wheel, or install what its build needs.",
    ),
    (
        r"Failed to fetch|Connection refused|dns error|[Tt]imed out|Request failed|NewConnectionError|ConnectionError",
        "The package index cannot be reached. Check the network and the index that pip or uv is configured with.",
    ),
    (r"401|403|Unauthorized|Forbidden", "The package index refuses access. Check its credentials."),
    (r"Couldn't parse|Invalid requirement|Expected ", "Correct the requirement."),
    (r"not found in the package registry", "Check the spelling of the package and the configured index."),
    (
        r"No solution found|No matching distribution|no version of",
        "Change the requirement to a version that exists and agrees with the others.",
    ),
)
_DEFAULT_REMEDY = "Try it by hand: `uv pip compile` with the same requirements prints the same error."

_LEAD = re.compile(r"^\s*(?:error:|ERROR:|×|cause:|╰─▶|├─▶|│)\s*")
_ERROR = re.compile(r"^\s*(?:error:|ERROR:|×)")
_CAUSE = re.compile(r"^\s*(?:cause:|╰─▶)")
_END = re.compile(r"^\s*(?:hint:|help:|cause:|$)")


def explain(lines: Sequence[str], names: Iterable[str]) -> Failure:
    """Reads uv's or pip's output; `names` are the packages that were asked for (canonical)."""
    output = "\n".join(lines)
    cause = _cause(lines)
    found = next((match[1].rstrip(".`") for pattern in _REQUIREMENT if (match := pattern.search(output))), "")
    if not found:
        words = {canonical(word) for word in re.findall(r"[A-Za-z0-9][\w.-]*", cause)}
        found = next((name for name in sorted(names) if name in words), "")
    if "metadata-generation-failed" in output and (prepared := _PREPARING.findall(output)):
        found, cause = prepared[-1], f"{prepared[-1]}: {cause}"
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, output)), _DEFAULT_REMEDY)
    return Failure(cause, found, remedy)


def _cause(lines: Sequence[str]) -> str:
    """What failed and why, in one line: the error, the first cause under it, and the last one."""
    headline = next((_LEAD.sub("", line).strip() for line in reversed(lines) if _ERROR.match(line)), "")
    causes = [_sentence(lines, index) for index, line in enumerate(lines) if _CAUSE.match(line)]
    if not causes:
        said = [line for line in lines if line.strip()]
        return headline or (_LEAD.sub("", said[-1]).strip() if said else "it printed nothing")
    parts = [headline] if headline and not headline.startswith("No solution found") else []
    return ": ".join([*parts, *dict.fromkeys((causes[0], causes[-1]))])


def _sentence(lines: Sequence[str], start: int) -> str:
    """A cause with the lines that continue it, without the marks below a mistyped word."""
    words = [_LEAD.sub("", lines[start]).strip()]
    for line in lines[start + 1 :]:
        if _END.match(line) or not line.startswith(" "):
            break
        words.append(_LEAD.sub("", line).strip())
    return " ".join(word for word in words if word.strip("^~ "))
