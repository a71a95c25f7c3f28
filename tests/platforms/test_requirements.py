"""The closure of requirement files: what it holds, what it refuses, and that its key changes when it has to."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.platforms.bundle import TEXT_LIMIT, Bundle
from beanpole.platforms.problem import Problem
from beanpole.platforms.requirements import ADDED, Requirements, canonical, closure, logical_lines

pytestmark = pytest.mark.pure

PROJECT = {"pkg/pyproject.toml": "[project]", "pkg/src/pkg/__init__.py": "", "pkg/.git/HEAD": "x"}


def bundle(files: dict[str, str | bytes]) -> Bundle:
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return Bundle({path: hashlib.sha256(text).hexdigest() for path, text in contents.items()}, contents.__getitem__)


def collected(files: dict[str, str | bytes]) -> Requirements:
    found = closure(bundle(files), "requirements.txt")
    assert isinstance(found, Requirements), found
    return found


def refused(files: dict[str, str | bytes]) -> Problem:
    found = closure(bundle(files), "requirements.txt")
    assert isinstance(found, Problem), found
    assert found.remedy
    return found


def test_includes_are_relative_to_the_file_that_names_them() -> None:
    found = collected({
        "requirements.txt": "-r requirements/prod.txt\nflask\n",
        "requirements/prod.txt": "-r base.txt\n--requirement=../extra.txt\n-c constraints.txt\n",
        "requirements/base.txt": "Django>=4 # web\n-r prod.txt\n",
        "requirements/constraints.txt": "urllib3<2\n",
        "extra.txt": "requests[socks]==2.31 ; python_version > '3'\n",
        "unrelated.txt": "x",
    })  # fmt: skip
    assert [path for path, _ in found.texts] == [
        "extra.txt",
        "requirements.txt",
        "requirements/base.txt",
        "requirements/constraints.txt",
        "requirements/prod.txt",
    ]
    assert found.sources == ("requirements.txt",)
    assert found.names == {"flask", "django", "requests"}
    assert not found.empty


def test_a_constraint_that_is_also_included_asks_for_its_packages() -> None:
    files: dict[str, str | bytes] = {"requirements.txt": "-c a.txt\n-r a.txt\n", "a.txt": "flask\n"}
    assert collected(files).names == {"flask"}


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "-c c.txt\n", "--pre\n"])
def test_empty(text: str) -> None:
    assert collected({"requirements.txt": text, "c.txt": "flask<2\n"}).empty


@pytest.mark.parametrize(
    ("line", "members"),
    [
        ("-e ./pkg", ["pkg/pyproject.toml", "pkg/src/pkg/__init__.py"]),
        ("-e pkg", ["pkg/pyproject.toml", "pkg/src/pkg/__init__.py"]),
        ("./pkg[extra] ; python_version > '3'", ["pkg/pyproject.toml", "pkg/src/pkg/__init__.py"]),
        ("pkg @ ./pkg", ["pkg/pyproject.toml", "pkg/src/pkg/__init__.py"]),
        ("./wheels/a-1-py3-none-any.whl", ["wheels/a-1-py3-none-any.whl"]),
        ("wheels/a-1-py3-none-any.whl --hash=sha256:00", ["wheels/a-1-py3-none-any.whl"]),
        ("--find-links wheels", ["wheels/a-1-py3-none-any.whl"]),
        ("-f ./wheels/", ["wheels/a-1-py3-none-any.whl"]),
        ("--find-links https://example.com/wheels", []),
        ("-e git+https://example.com/a.git#egg=a", []),
        ("a @ https://example.com/a.zip", []),
        ("flask", []),
    ],
)
def test_local_projects_and_archives_come_along(line: str, members: list[str]) -> None:
    files = {"requirements.txt": line, "wheels/a-1-py3-none-any.whl": "zip", **PROJECT}
    assert [path for path, _ in collected(files).members] == members


def test_the_bundle_itself_as_a_project() -> None:
    found = collected({"requirements.txt": "-e .\n", "setup.py": "", "app.py": "", ".git/HEAD": "x"})
    assert [path for path, _ in found.members] == ["app.py", "requirements.txt", "setup.py"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("-r ../base.txt", 1, "outside the bundle"),
        ("flask\n-r /etc/base.txt", 2, "outside the bundle"),
        ("-r base.txt", 1, "no file base.txt"),
        ("-c https://example.com/constraints.txt", 1, "not in the bundle"),
        ("-e ../pkg", 1, "outside the bundle"),
        ("\n\n../pkg", 3, "outside the bundle"),
        ("/srv/pkg", 1, "outside the bundle"),
        ("~/pkg", 1, "outside the bundle"),
        ("file:///srv/pkg", 1, "outside the bundle"),
        ("pkg @ file:///srv/pkg", 1, "outside the bundle"),
        ("--find-links ../wheels", 1, "outside the bundle"),
        ("-e ./nothing", 1, "no Python project"),
        ("flask \\\n  --hash=sha256:00\n-e x/../..", 3, "outside the bundle"),
    ],
)
def test_refused_with_the_line(text: str, line: int, words: str) -> None:
    problem = refused({"requirements.txt": text})
    assert words in problem.message
    assert (problem.file, problem.line) == ("requirements.txt", line)


def test_not_text() -> None:
    assert "UTF-8" in refused({"requirements.txt": b"\xff\xfa\x00"}).message
    assert "UTF-8" in refused({"requirements.txt": "#" * (TEXT_LIMIT + 1)}).message


def test_utf_16_as_powershell_writes_it() -> None:
    assert collected({"requirements.txt": "flask\r\n".encode("utf-16")}).names == {"flask"}


def test_too_many_files() -> None:
    files: dict[str, str | bytes] = {f"{number}.txt": f"-r {number + 1}.txt\n" for number in range(300)}
    assert "requirement files" in refused({"requirements.txt": "-r 0.txt", **files}).message


def test_demanded_hashes() -> None:
    found = collected({"requirements.txt": "Flask==3.0 \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\nsix==1\n"})
    assert found.hashes == (("flask", ("sha256:aa", "sha256:bb")),)


@pytest.mark.parametrize(
    ("text", "named"), [("-i http://x\n", True), ("--extra-index-url=http://x\n", True), ("flask\n", False)]
)
def test_indexes_of_its_own(text: str, named: bool) -> None:
    assert collected({"requirements.txt": text}).names_indexes is named


def test_adding() -> None:
    found = collected({"requirements.txt": "flask\n"}).adding("gunicorn>=21.2")
    assert found.sources == ("requirements.txt", ADDED)
    assert found.names == {"flask", "gunicorn"}
    assert not Requirements().adding("gunicorn").empty


# -- the key -------------------------------------------------------------------------------------------------------

FILES: dict[str, str | bytes] = {"requirements.txt": "-r a.txt\n-e ./pkg\n", "a.txt": "flask\n", **PROJECT}


def key(files: dict[str, str | bytes], python: str = "3.11", platform: str = "linux") -> str:
    return collected(files).key(python, platform)


@pytest.mark.parametrize(
    "change",
    [
        {"a.txt": "flask==3\n"},
        {"requirements.txt": "-r a.txt\n-e ./pkg\n# note\n"},
        {"pkg/src/pkg/__init__.py": "x = 1"},
        {"pkg/src/pkg/new.py": ""},
    ],
)
def test_the_key_changes_with_what_decides(change: dict[str, str | bytes]) -> None:
    assert key(FILES | change) != key(FILES)


def test_the_key_changes_with_the_kind_of_instance_and_with_nothing_else() -> None:
    assert key(FILES | {"app.py": "new code", "pkg/.git/HEAD": "y"}) == key(dict(reversed(FILES.items())))
    assert len({key(FILES), key(FILES, python="3.12"), key(FILES, platform="mac")}) == 3


@pytest.mark.parametrize(
    ("written", "name"), [("Foo_Bar.baz", "foo-bar-baz"), ("a[x]>1", "a"), ("zope.interface == 5", "zope-interface")]
)
def test_canonical_names(written: str, name: str) -> None:
    assert canonical(written) == name


def test_logical_lines() -> None:
    text = "a \\\n b\r\n\n# c \\\nd # e\nf#g\n\\\nh"
    assert list(logical_lines(text)) == [(1, "a   b"), (5, "d"), (6, "f#g"), (7, "h")]


@given(st.text(max_size=80), st.text("-rec ./@[]:;~ab\\\n", max_size=40))
def test_no_text_breaks_it(first: str, second: str) -> None:
    closure(
        bundle({"requirements.txt": f"{first}\n{second}".encode("utf-8", "replace"), "a": "", "b/setup.py": ""}),
        "requirements.txt",
    )
