"""Configuration files of a bundle: what is read, what is reported, and what is refused with file, line and cause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.options.document import EXPANDED_LIMIT, SIZE_LIMIT
from beanpole.options.ebextensions import NOT_BUILT, ContainerCommand, Extensions, names, parse

pytestmark = pytest.mark.pure

PROPERTIES = "aws:elasticbeanstalk:application:environment"


def one(text: str | bytes) -> Extensions:
    return parse({".ebextensions/a.config": text.encode() if isinstance(text, str) else text})


def values(text: str) -> dict[tuple[str, str, str], str]:
    result = one(text)
    assert not [problem for problem in result.problems if problem.severity == "error"]
    return {setting.key: setting.value for setting in result.settings}


def error(text: str | bytes) -> tuple[str, int]:
    result = one(text)
    assert (result.settings, result.commands) == ((), ())
    (problem,) = [problem for problem in result.problems if problem.severity == "error"]
    assert problem.file == ".ebextensions/a.config"
    assert problem.message.startswith(".ebextensions/a.config")
    return problem.message, problem.line


def test_both_forms_of_option_settings() -> None:
    listed = """
    option_settings:
      - namespace: aws:elasticbeanstalk:command
        option_name: Timeout
        value: 900
      - option_name: DEBUG
        value: no
      - namespace: aws:autoscaling:scheduledaction
        resource_name: nightly
        option_name: MinSize
        value: "0"
    """
    assert values(listed) == {
        ("aws:elasticbeanstalk:command", "Timeout", ""): "900",
        (PROPERTIES, "DEBUG", ""): "false",
        ("aws:autoscaling:scheduledaction", "MinSize", "nightly"): "0",
    }
    mapped = """
    option_settings:
      aws:elasticbeanstalk:command:
        Timeout: 900
      aws:elasticbeanstalk:application:environment:
        A: b
    """
    assert values(mapped) == {("aws:elasticbeanstalk:command", "Timeout", ""): "900", (PROPERTIES, "A", ""): "b"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("010", "010"),
        ("1.10", "1.10"),
        ("yes", "true"),
        ("Off", "false"),
        ("'yes'", "yes"),
        ("2024-01-02", "2024-01-02"),
        ("", ""),
        ("~", ""),
        ("[a, b]", "a,b"),
        ("{Version: 1, On: [x, {y: true}]}", '{"Version":1,"On":["x",{"y":true}]}'),
        ("|\n          two\n          lines", "two\nlines\n"),
    ],
)
def test_values_stay_as_written(written: str, value: str) -> None:
    assert values(f"option_settings:\n  {PROPERTIES}:\n        A: {written}\n") == {(PROPERTIES, "A", ""): value}


def test_json_with_tabs() -> None:
    assert values('{\n\t"option_settings": {\n\t\t"a:b": {"C":"d"}\n\t}\n}') == {("a:b", "C", ""): "d"}


def test_anchors_and_merge_keys() -> None:
    text = "x: &base {A: 1, B: 2}\noption_settings:\n  n:s:\n    <<: *base\n    B: 3\n"
    result = one(text)
    assert {setting.name: setting.value for setting in result.settings} == {"A": "1", "B": "3"}


def test_container_commands_sorted_over_all_files_and_later_files_replace() -> None:
    result = parse({
        ".ebextensions/01.config": b"container_commands:\n  20_b: {command: old}\n  10_a: {command: [echo, a b]}\n",
        ".ebextensions/02.config": b"""
container_commands:
  20_b:
    command: "python manage.py migrate"
    cwd: sub
    env: {A: 1, B: yes}
    test: test -f x
    leader_only: true
    ignoreErrors: yes
""",
    })  # fmt: skip
    assert result.problems == ()
    assert result.commands == (
        ContainerCommand("10_a", ("echo", "a b")),
        ContainerCommand(
            "20_b", "python manage.py migrate", "sub", (("A", "1"), ("B", "true")), "test -f x", True, True
        ),
    )


def test_files_are_taken_in_alphabetical_order_and_others_left_alone() -> None:
    files = {
        ".ebextensions/b.config": b"option_settings: {n: {A: later}}",
        ".ebextensions/a.config": b"option_settings: {n: {A: earlier}}",
        ".ebextensions/c.yml": b"{",
        ".ebextensions/sub/d.config": b"{",
        "x/.ebextensions/e.config": b"{",
    }
    assert names(files) == [".ebextensions/a.config", ".ebextensions/b.config"]
    assert [setting.value for setting in parse(files).settings] == ["earlier", "later"]


@pytest.mark.parametrize("key", sorted(NOT_BUILT))
def test_what_is_not_built_is_said_with_file_and_line(key: str) -> None:
    result = one(f"option_settings: {{n: {{A: 1}}}}\n{key}:\n  x: y\n")
    (problem,) = result.problems
    assert (problem.severity, problem.line) == ("warning", 2)
    assert ".ebextensions/a.config, line 2" in problem.message
    assert repr(key) in problem.message
    assert len(result.settings) == 1


def test_unknown_keys_are_said_too() -> None:
    result = one("option_setings: {}\ncontainer_commands: {a: {command: x, leaderonly: true}}\n")
    assert [problem.severity for problem in result.problems] == ["warning", "warning"]
    assert "'option_setings'" in result.problems[0].message
    assert "'leaderonly'" in result.problems[1].message


def test_functions_in_backquotes_are_left_out_with_a_warning() -> None:
    result = one('option_settings:\n  n:\n    T: \'`{"Ref": "Topic"}`\'\n    U: plain `code`\n')
    assert [(setting.name, setting.value) for setting in result.settings] == [("U", "plain `code`")]
    assert [(problem.severity, problem.line) for problem in result.problems] == [("warning", 3)]


def test_a_key_given_twice_warns_and_the_last_one_counts() -> None:
    result = one("option_settings:\n  n:\n    A: 1\n    A: 2\n")
    assert [setting.value for setting in result.settings] == ["2"]
    assert [(problem.severity, problem.line) for problem in result.problems] == [("warning", 4)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "option_settings:\n", "container_commands: {}\n"])
def test_empty_files_say_nothing(text: str) -> None:
    assert one(text) == Extensions()


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("option_settings:\n\tx: 1\n", "not valid YAML", 2),
        ("a: [1, 2\nb: 3\n", "not valid YAML", 2),
        ("a: 1\n---\nb: 2\n", "not valid YAML", 2),
        ("a: *missing\n", "undefined alias", 1),
        ("- a\n- b\n", "the file must be a mapping", 1),
        ("option_settings: text\n", "option_settings must be a mapping", 1),
        ("option_settings:\n  - value: 1\n", "needs option_name and value", 2),
        ("option_settings:\n  n: text\n", "n must be a mapping", 2),
        ("container_commands:\n  a: echo\n", "the command 'a' must be a mapping", 2),
        ("container_commands:\n  a:\n    cwd: /\n", "has no 'command'", 2),
        ("container_commands:\n  a:\n    command: {x: 1}\n", "command must be text", 3),
        ("container_commands:\n  a:\n    command: x\n    leader_only: 1\n", "leader_only must be true or false", 4),
        ("option_settings:\n  n:\n    A: !Ref Topic\n", "the tag !Ref means nothing here", 3),
        ("option_settings:\n  n:\n    ? [a]\n    : 1\n", "a name in n must be text", 3),
        ("a: &a [*a]\n", "", 1),
        ('a: "\\ud800"\noption_settings: [', "not valid YAML", 2),
    ],
)
def test_invalid_files(text: str, cause: str, line: int) -> None:
    message, at = error(text)
    assert cause in message
    assert at == line


def test_not_utf8() -> None:
    assert error(b"a: 1\nb: \xff\n") == (".ebextensions/a.config, line 2: the file is not UTF-8", 2)


def test_an_invalid_file_does_not_hide_the_others() -> None:
    result = parse({".ebextensions/a.config": b"a: [", ".ebextensions/b.config": b"option_settings: {n: {A: 1}}"})
    assert [setting.name for setting in result.settings] == ["A"]
    assert [problem.file for problem in result.problems] == [".ebextensions/a.config"]


def test_bombs_are_refused() -> None:
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert str(EXPANDED_LIMIT) in error(laughs)[0]
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))
    assert "levels" in error(chain)[0]
    assert "levels" in error("option_settings: " + "[" * 100_000)[0]
    wide = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
    assert str(EXPANDED_LIMIT) in error(wide)[0]
    assert str(SIZE_LIMIT) in error("#" * (SIZE_LIMIT + 1))[0]
    merges = "m0: &m0 {a: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 40))
    assert "characters" in error(merges)[0]


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    parse({".ebextensions/a.config": text.encode("utf-8", "surrogatepass")})


@given(
    st.recursive(
        st.text(max_size=3) | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_structure_breaks_it(value: object) -> None:
    import json

    for key in ("option_settings", "container_commands"):
        parse({".ebextensions/a.config": json.dumps({key: value}).encode()})
