"""Our reading of .gitignore against git's own, on every kind of rule; and some that git is not asked about."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from beanpole.cli.bundle import walk

FILES = (
    "a", "b.log", "c.txt", "#x", "!y", "z ", "star*", "q?", "[k]", "Main.py", "main.py",
    "dir/a", "dir/b.log", "dir/sub/a", "dir/sub/deep/b.log", "dir2/a", "other/dir/a", "other/sub/x/y/a",
    "foo/bar/baz", "x/foo/bar/q", "a-b", "a1", "a2", "ab", "aXb", "abcde", "n/o/p/q.txt", "back\\slash",
)  # fmt: skip

RULES = [
    "a", "/a", "dir", "dir/", "/dir", "*.log", "*.log\n!b.log", "dir/*\n!dir/sub", "dir\n!dir/a", "**/a", "dir/**",
    "dir/**/a", "**/sub", "other/**/a", "foo/bar", "/foo/bar", "foo/*/baz", "foo/**", "# a comment\nc.txt", "\\#x",
    "\\!y", "z\\ ", "z ", "c.txt   ", "star\\*", "q\\?", "\\[k]", "[Mm]ain.py", "a[0-9]", "a[!0-9]", "a[^0-9]", "a?",
    "a*b", "a**b", "*", "*\n!*/\n!*.txt", "/*\n!/dir", "*/", "a[]-]b", "a[-]b", "[a-c]*", "", "/", "!", "a[",
    "back\\\\slash",
    "dir/sub/", "sub/deep/", "*.txt\n!/n/o/p/q.txt", "n/o", "n/**/q.txt", "**", "**/", "dir/**/", "a\\b",
    "[[:digit:]]", "a[12]\n!a1",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("rules", RULES)
def test_as_git(tree: Path, rules: str) -> None:
    (tree / ".gitignore").write_text(f"{rules}\n")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert sorted(walk(tree)) == sorted(filter(None, listed.split("\0")))


def test_the_innermost_file_decides(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n")
    inner = tree / "dir/.gitignore"
    inner.write_text("!b.log\n/sub\n")
    try:
        found = set(walk(tree))
    finally:
        inner.unlink()
    assert "dir/b.log" in found
    assert "b.log" not in found
    assert "dir/sub/a" not in found
