"""What to advise when a user's command or process failed: a table from what it wrote last to what to do. Pure."""

from __future__ import annotations

import re
from typing import Optional, Sequence, Tuple

# Lines are tried from the newest to the oldest: what stands nearest to the end is the cause, the rest tells the way.
_CAUSES: Tuple[Tuple[str, str], ...] = (
    (
        r"ModuleNotFoundError: No module named '(?P<name>[^'.]+)",
        "No module named '{name}': add it to requirements.txt, or, if it is your own, check its folder and WSGIPath.",
    ),
    (r"ImportError: (?P<what>.{1,160})", "{what}: check the versions in requirements.txt."),
    (r"(?P<what>(?:SyntaxError|IndentationError|TabError): .{1,160})", "{what}: correct the file named above."),
    (
        r"KeyError: '(?P<name>[A-Z][A-Z0-9_]*)'",
        "If {name} is an environment property, set it: eb setenv {name}=VALUE.",
    ),
    (
        r"(?i)address already in use|EADDRINUSE",
        "Another process has the port. Listen on the port in the environment variable PORT, not on a fixed one.",
    ),
    (
        r"(?i)permission denied.{0,40}\b(?:80|443)\b|\b(?:80|443)\b.{0,60}permission denied",
        "Ports below 1024 need root: listen on the port in the environment variable PORT.",
    ),
    (r"Cannot find module '(?P<name>[^']+)'", "Add {name} to the dependencies in package.json."),
    (
        r"(?P<name>\S+) was not found in the provided package locations",
        "The wheel of {name} is not here. Deploy again to have it sent anew.",
    ),
    (r"(?P<name>\S+): (?:command )?not found", "{name} is not installed here: add the package that brings it."),
    (r"(?i)hash(?:es)? (?:mismatch|do not match)", "A wheel differs from the lock. Deploy again to have it sent anew."),
    (
        r"(?i)no wheels with a matching|not (?:compatible|supported) (?:wheel|with)",
        "A dependency has no wheel for this machine's Python or processor: choose a version that has one.",
    ),
    (r"(?i)no space left on device|ENOSPC", "The disk is full: free some space or use a larger one."),
    (r"(?i)\bMemoryError\b|cannot allocate memory", "Memory ran out: use a larger instance or fewer worker processes."),
)
_PATTERNS = tuple((re.compile(pattern), advice) for pattern, advice in _CAUSES)


def remedy_for(lines: Sequence[str], exit_status: Optional[int] = None) -> str:
    """One sentence of advice, or "" when nothing certain can be said."""
    for line in reversed(lines):
        for pattern, advice in _PATTERNS:
            match = pattern.search(line)
            if match:
                return advice.format(**match.groupdict())
    if exit_status == 127:
        return "The shell did not find the command: check its spelling, and that its package is installed."
    if exit_status == 126:
        return "The command cannot be executed: set its executable bit (git update-index --chmod=+x FILE)."
    return ""
