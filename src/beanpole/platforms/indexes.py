"""Package indexes: what the user configured for pip, in the words of uv, and what uv used, in the words of pip.

Packages are resolved by uv and fetched by pip. Both must ask the same indexes, with the same certificates, whichever of
the two the user configured.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTIONS = ("global", "download", "install", "wheel", ":env:")
"""Sections of pip's configuration that concern fetching; a later one wins."""


def pip_options(listing: str) -> dict[str, str]:
    """What `pip config list` printed, by option ("index-url"). Lines of another form are passed over."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        key, equals, quoted = line.partition("=")
        section, _, option = key.rpartition(".")
        if not equals or section not in found:
            continue
        try:
            value = ast.literal_eval(quoted)
        except (ValueError, SyntaxError):
            continue
        found[section][option.replace("_", "-")] = str(value)
    return {option: value for section in _SECTIONS for option, value in found[section].items()}


def uv_environment(
    environment: Mapping[str, str], pip: Mapping[str, str], *, own_indexes: bool = False
) -> dict[str, str]:
    """Variables to add for uv so that it asks the indexes of pip's options. What is set for uv itself stays.

    pip looks at all indexes as one; uv stops at the first that has a package. Where extra indexes come from pip's
    configuration, or from the requirement files (`own_indexes`), they were written for pip, and uv is told to do as it
    does.
    """
    ours: dict[str, str] = {}

    def add(variable: str, value: str, *unless: str) -> None:
        if value and not any(environment.get(name) for name in (variable, *unless)):
            ours[variable] = value

    add("UV_DEFAULT_INDEX", pip.get("index-url", ""), "UV_INDEX_URL")
    extra = " ".join(pip.get("extra-index-url", "").split())
    add("UV_INDEX", extra, "UV_EXTRA_INDEX_URL")
    if "UV_INDEX" in ours or own_indexes:
        add("UV_INDEX_STRATEGY", "unsafe-best-match")
    add("UV_FIND_LINKS", ",".join(pip.get("find-links", "").split()))
    add("UV_INSECURE_HOST", " ".join(pip.get("trusted-host", "").split()))
    add("UV_HTTP_TIMEOUT", pip.get("timeout", "") or pip.get("default-timeout", ""))
    add("UV_KEYRING_PROVIDER", "subprocess" if pip.get("keyring-provider") in ("import", "subprocess") else "")
    add("UV_PRERELEASE", "allow" if _true(pip.get("pre")) else "")
    add("SSL_CERT_FILE", pip.get("cert", ""))
    add("ALL_PROXY", pip.get("proxy", ""), "all_proxy", "HTTPS_PROXY", "https_proxy")
    return ours


def uv_words(pip: Mapping[str, str]) -> list[str]:
    """Options to add to `uv pip compile` for what no variable of uv can say."""
    return ["--no-index"] if _true(pip.get("no-index")) else []


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to add for pip. The indexes themselves reach it through what uv wrote into the lock."""
    ours: dict[str, str] = {}
    if environment.get("UV_INSECURE_HOST") and not environment.get("PIP_TRUSTED_HOST"):
        ours["PIP_TRUSTED_HOST"] = environment["UV_INSECURE_HOST"]
    if environment.get("SSL_CERT_FILE") and not environment.get("PIP_CERT"):
        ours["PIP_CERT"] = environment["SSL_CERT_FILE"]
    return ours


def _true(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on", "y", "t")
