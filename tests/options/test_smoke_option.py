"""What is taken for a smoke test, and what is said of lines that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.options import catalogue, ebextensions, smoke
from beanpole.options.precedence import Context, resolve
from beanpole.options.setting import Setting
from beanpole.options.smoke import BadSmokeTests, SmokeTest, parse
from beanpole.options.validate import validate

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/health", [SmokeTest("GET", "/health")]),
        ("/health 204", [SmokeTest("GET", "/health", 204, 204)]),
        ("/health 200-299", [SmokeTest("GET", "/health", 200, 299)]),
        ("GET /predict 405", [SmokeTest("GET", "/predict", 405, 405)]),
        ("POST /predict 400", [SmokeTest("POST", "/predict", 400, 400)]),
        ('/version 200 contains "v2"', [SmokeTest("GET", "/version", text="v2")]),
        ('/version contains "v2, or 3"', [SmokeTest("GET", "/version", text="v2, or 3")]),
        ('/v contains "a, /b 200"', [SmokeTest("GET", "/v", text="a, /b 200")]),
        ("/slow within 20s", [SmokeTest("GET", "/slow", seconds=20)]),
        ("/slow 200 within 0.5 s", [SmokeTest("GET", "/slow", seconds=0.5)]),
        ("/predict?x=1,2 200", [SmokeTest("GET", "/predict?x=1,2")]),
        ("/a,/b, POST /c 400", [SmokeTest("GET", "/a"), SmokeTest("GET", "/b"), SmokeTest("POST", "/c", 400, 400)]),
        ("/a 200,\n\n# the models\n  /b 200  \n", [SmokeTest("GET", "/a"), SmokeTest("GET", "/b")]),
        ("", []),
        ("\n # nothing\n", []),
    ],
)
def test_lines_that_are_tests(text: str, expected: list[SmokeTest]) -> None:
    assert list(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("health 200", "line 1, 'health 200': a test is written as"),
        ("/a\n\n/b 2000", "line 3, '/b 2000': a status is between 100 and 599"),
        ("/a 299-200", "a range from its lower end"),
        ("DELETE /a", "line 1, 'DELETE /a': DELETE is none of GET, HEAD, OPTIONS, POST"),
        ("get /a", "get is none of GET"),
        ("/a contains v2", "a test is written as"),
        ('/a contains ""', "the text after contains is empty"),
        ('HEAD /a contains "x"', "the answer to HEAD has no body"),
        ("/a within 61s", "an answer may take up to 60 s"),
        ("/a within 0s", "an answer may take up to 60 s"),
        ("/ä", "ASCII characters without spaces"),
        ("\n".join(["/a"] * 21), "there are 21 tests and 20 are the most"),
    ],
)
def test_lines_that_are_none_are_named(text: str, said: str) -> None:
    with pytest.raises(BadSmokeTests) as refused:
        parse(text)
    assert said in str(refused.value)


def test_every_bad_line_is_named_at_once() -> None:
    with pytest.raises(BadSmokeTests) as refused:
        parse("health\n/ok 200\n/b 99")
    assert "line 1, 'health'" in str(refused.value)
    assert "line 3, '/b 99'" in str(refused.value)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"'), min_size=1, max_size=10)
paths = st.text(st.sampled_from("abc/?=&.-_%"), max_size=10).map(lambda rest: f"/{rest}")
tests = st.builds(
    SmokeTest,
    method=st.sampled_from(["GET", "POST"]),
    path=paths,
    low=st.integers(100, 300),
    high=st.integers(300, 599),
    text=st.just("") | texts,
    seconds=st.sampled_from([0.5, 5.0, 20.0]),
)


@given(st.lists(tests, max_size=5), st.sampled_from(["\n", ", "]))
def test_what_is_shown_can_be_written_again(some: list[SmokeTest], separator: str) -> None:
    assert list(parse(separator.join(test.words for test in some))) == some


def test_a_file_of_the_bundle_may_have_one_a_line() -> None:
    text = b"""
option_settings:
  beanpole:deployment:
    SmokeTests: |
      /health 200
      /version 200 contains "v2"
"""
    found = ebextensions.parse({".ebextensions/smoke.config": text})
    assert found.problems == ()
    assert [test.path for test in parse(found.settings[0].value)] == ["/health", "/version"]


def test_the_option_is_refused_with_the_line() -> None:
    registry, context = catalogue.load(), Context()
    bad = [Setting.of(smoke.NAMESPACE, smoke.OPTION, "/health 200\n/version 2oo", "")]
    problems = validate(registry, context, bad, resolve(registry, context, stored=bad, files=[]))
    assert [problem.severity for problem in problems] == ["error"]
    assert "line 2, '/version 2oo': a test is written as" in problems[0].message
