"""What resolvers and fetchers print, and the list that instances install from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.platforms import indexes
from beanpole.platforms.failure import explain
from beanpole.platforms.lock import Entry, Wheel, install_text, parse, wheel_name

pytestmark = pytest.mark.pure

RESOLVED = """\
--index-url http://user:secret@127.0.0.1/simple
--find-links ./wheels

flask==3.0.0 \\
    --hash=sha256:bb \\
    --hash=sha256:aa
own @ git+https://example.com/own.git@abc
-e ./pkg
./wheels/a-1-py3-none-any.whl \\
    --hash=sha256:cc
zope-interface[x]==5 ; python_version > '3' \\
    --hash=sha256:dd
"""


def test_entries() -> None:
    found = parse(RESOLVED, {})
    assert found.options == ("--index-url http://user:secret@127.0.0.1/simple", "--find-links ./wheels")
    assert found.entries == (
        Entry("flask==3.0.0", "flask", ("sha256:aa", "sha256:bb")),
        Entry("own @ git+https://example.com/own.git@abc", "own", ()),
        Entry("./pkg", "", ()),
        Entry("./wheels/a-1-py3-none-any.whl", "", ("sha256:cc",)),
        Entry("zope-interface[x]==5 ; python_version > '3'", "zope-interface", ("sha256:dd",)),
    )
    assert [entry.is_local for entry in found.entries] == [False, False, True, True, False]
    assert found.entries[0].line == "flask==3.0.0 --hash=sha256:aa --hash=sha256:bb"


def test_hashes_that_the_author_demands_replace_the_indexes() -> None:
    found = parse(RESOLVED, {"flask": ("sha256:99",)})
    assert found.entries[0].hashes == ("sha256:99",)
    assert found.entries[4].hashes == ("sha256:dd",)


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("flask-3.0.0-py3-none-any.whl", "flask", "3.0.0"),
        ("Zope.Interface-5.1-1-cp311-cp311-manylinux_2_17_x86_64.whl", "zope-interface", "5.1"),
        ("torch-2.1.0+cpu-cp311-cp311-linux_x86_64.whl", "torch", "2.1.0+cpu"),
    ],
)
def test_wheel_names(file: str, name: str, version: str) -> None:
    assert wheel_name(file) == (name, version)


@pytest.mark.parametrize("file", ["flask-3.0.0.tar.gz", "flask.whl", ""])
def test_not_a_wheel(file: str) -> None:
    with pytest.raises(ValueError, match="not the name of a wheel"):
        wheel_name(file)


def test_one_line_and_one_hash_for_each_package_in_order() -> None:
    wheels = [Wheel("b-2-py3-none-any.whl", "b", "2", "22", 1), Wheel("a-1-py3-none-any.whl", "a", "1", "11", 1)]
    assert install_text(wheels) == "a==1 --hash=sha256:11\nb==2 --hash=sha256:22\n"
    assert install_text([]) == ""


@pytest.mark.parametrize(
    ("output", "cause", "requirement", "remedy"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of flask==99 and you require flask==99, we\n"
            "         can conclude that your requirements are unsatisfiable.\n\nhint: look elsewhere",
            "Because there is no version of flask==99 and you require flask==99, we can conclude that your "
            "requirements are unsatisfiable.",
            "flask==99",
            "a version that exists",
        ),
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because nosuch was not found in the package "
            "registry and you require nosuch, we can conclude",
            "Because nosuch was not found in the package registry and you require nosuch, we can conclude",
            "nosuch",
            "spelling",
        ),
        (
            "error: Couldn't parse requirement in `requirements.txt` at position 0\n"
            "  cause: Unexpected end of version specifier, expected version\n         flask==\n              ^^",
            "Couldn't parse requirement in `requirements.txt` at position 0: Unexpected end of version specifier, "
            "expected version flask==",
            "flask",
            "Correct the requirement",
        ),
        (
            "error: Request failed after 3 retries in 9s\n  cause: Failed to fetch: http://x/\n"
            "  cause: tcp connect error\n  cause: Connection refused (os error 111)",
            "Request failed after 3 retries in 9s: Failed to fetch: http://x/: Connection refused (os error 111)",
            "",
            "cannot be reached",
        ),
        (
            "Processing x\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
            "    six==1.16 from file:///x (from -r h.txt):\n        Expected sha256 aa\n             Got        bb",
            "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "six==1.16",
            "not the one that was locked",
        ),
        (
            "  error: subprocess-exited-with-error\nERROR: Failed building wheel for own",
            "Failed building wheel for own",
            "own",
            "no wheel",
        ),
        (
            "Processing ./x/six-1.16.tar.gz (from -r h.txt)\nCollecting own==2 (from -r h.txt)\n  Preparing metadata\n"
            "  error: subprocess-exited-with-error\nerror: metadata-generation-failed\n\n"
            "× Encountered error while generating package metadata.\n╰─> See above for output.",
            "own==2: Encountered error while generating package metadata.",
            "own==2",
            "no wheel",
        ),
        ("OSError: [Errno 28] No space left on device", "OSError: [Errno 28] No space left on device", "", "disk"),
        ("", "it printed nothing", "", "by hand"),
    ],
)  # fmt: skip
def test_failures_explained(output: str, cause: str, requirement: str, remedy: str) -> None:
    found = explain(output.splitlines(), ["flask", "own"])
    assert (found.cause, found.requirement) == (cause, requirement)
    assert remedy in found.remedy


@given(st.lists(st.text(max_size=40), max_size=8))
def test_no_output_breaks_it(lines: list[str]) -> None:
    explain(lines, ["flask"])


# -- indexes -------------------------------------------------------------------------------------------------------

LISTING = """\
:env:.find-links='/env/wheels'
global.index-url='http://a/simple'
global.extra-index-url='http://b/simple\\nhttp://c/simple'
global.find-links='/global/wheels'
install.trusted-host='a b'
freeze.all='true'
wheel.no_index='yes'
nonsense
global.broken='
"""


def test_pips_configuration_in_pips_order() -> None:
    assert indexes.pip_options(LISTING) == {
        "index-url": "http://a/simple",
        "extra-index-url": "http://b/simple\nhttp://c/simple",
        "find-links": "/env/wheels",
        "trusted-host": "a b",
        "no-index": "yes",
    }


def test_uv_asks_the_indexes_of_pip() -> None:
    pip = indexes.pip_options(LISTING)
    assert indexes.uv_environment({}, pip) == {
        "UV_DEFAULT_INDEX": "http://a/simple",
        "UV_INDEX": "http://b/simple http://c/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/env/wheels",
        "UV_INSECURE_HOST": "a b",
    }
    assert indexes.uv_words(pip) == ["--no-index"]


def test_what_is_set_for_uv_stays() -> None:
    mine = {"UV_INDEX_URL": "http://m/simple", "UV_EXTRA_INDEX_URL": "http://n/simple", "UV_FIND_LINKS": "/m"}
    assert indexes.uv_environment(mine, indexes.pip_options(LISTING)) == {"UV_INSECURE_HOST": "a b"}


def test_nothing_configured_nothing_added() -> None:
    assert indexes.uv_environment({}, {}) == {}
    assert indexes.uv_words({}) == []
    assert indexes.pip_environment({}) == {}
    assert indexes.uv_environment({}, {}, own_indexes=True) == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_certificates_and_trusted_hosts_of_uv_reach_pip() -> None:
    assert indexes.pip_environment({"SSL_CERT_FILE": "/ca", "UV_INSECURE_HOST": "a"}) == {
        "PIP_CERT": "/ca",
        "PIP_TRUSTED_HOST": "a",
    }
    assert indexes.pip_environment({"SSL_CERT_FILE": "/ca", "PIP_CERT": "/other"}) == {}
