"""From what is known of a server to the interpreter of a platform and the kind of machine."""

from __future__ import annotations

from typing import Any

import pytest

from beanpole.fleet.servers.facts import Facts, Python
from beanpole.fleet.servers.interpreters import NoInterpreter, interpreter_for
from beanpole.platforms.kind import Kind

pytestmark = pytest.mark.pure


def facts(**changed: Any) -> Facts:
    pythons = (
        Python(path="/usr/bin/python3", version=(3, 13, 5), executable="/usr/bin/python3.13"),
        Python(path="/root/versions/shims/python3.11", version=(3, 11, 9), executable="/root/versions/bin/python3.11"),
        Python(path="/usr/bin/python3.11", version=(3, 11, 2), executable="/usr/bin/python3.11"),
        Python(path="/usr/bin/python3.10"),
    )
    known = {
        "pythons": pythons, "libc": "glibc", "libc_version": (2, 36), "architecture": "x86_64", "word_bits": 64,
    }  # fmt: skip
    return Facts(**{**known, **changed})


def test_the_platforms_python_which_need_not_be_the_agents() -> None:
    found = interpreter_for(facts(), "3.11")
    assert (found.path, found.kind) == ("/usr/bin/python3.11", Kind((3, 11, 2), "x86_64", (2, 36)))
    assert interpreter_for(facts(), "3.13").path == "/usr/bin/python3.13"


@pytest.mark.parametrize(
    ("changed", "python", "cause"),
    [
        ({}, "3.12", "no Python 3.12 that applications can use"),
        ({}, "3.10", "no Python 3.10 that applications can use"),
        ({"pythons": None}, "3.11", "no Python 3.11"),
        ({"libc": "musl", "libc_version": (1, 2, 4)}, "3.11", "C library is musl 1.2.4"),
        ({"libc": None, "libc_version": None}, "3.11", "C library is unknown,"),
        ({"libc_version": (2, 12)}, "3.11", "C library is glibc 2.12"),
        ({"architecture": "riscv64"}, "3.11", "processor is riscv64"),
        ({"architecture": "aarch64", "word_bits": 32}, "3.11", "processor is aarch64, 32 bits"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_run_it(changed: dict[str, Any], python: str, cause: str) -> None:
    with pytest.raises(NoInterpreter) as caught:
        interpreter_for(facts(**changed), python)
    assert cause in caught.value.cause
    assert caught.value.remedy
