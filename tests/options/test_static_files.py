"""Which folders settings ask for, and which they must not."""

from __future__ import annotations

import pytest

from beanpole.options.static_files import DEFAULT, LEGACY, NAMESPACES, PROXY, Folder, folders, wrong

pytestmark = pytest.mark.pure

OLD, NEW = NAMESPACES
PLATFORM = (*LEGACY, "", "/static/=static/")


def test_the_platform_serves_static_where_there_is_one() -> None:
    assert folders([PLATFORM]) == DEFAULT


def test_paths_are_added_and_the_newest_namespace_counts() -> None:
    rows = [PLATFORM, (OLD, "/img/", "", "./pictures/"), (OLD, "/media", "", "old"), (NEW, "media", "", "new")]
    assert folders(rows) == (Folder("/img", "pictures"), Folder("/media", "new"), *DEFAULT)


def test_a_folder_that_somebody_asked_for_is_not_optional() -> None:
    assert folders([PLATFORM, (NEW, "/static", "", "static")]) == (Folder("/static", "static"),)
    assert folders([(*LEGACY, "", "/a=b,/static=static")]) == (Folder("/a", "b"), Folder("/static", "static"))


def test_an_empty_folder_and_no_proxy_take_paths_away() -> None:
    assert folders([PLATFORM, (NEW, "/static", "", "")]) == ()
    assert folders([PLATFORM, (NEW, "/a", "", "b"), (PROXY, "ProxyServer", "", "none")]) == ()


@pytest.mark.parametrize(
    ("path", "folder"),
    [("/static", "static"), ("static/", "/a/b/"), ("/", "public"), ("/f.ico", "a/f.ico"), ("/x", "")],
)
def test_what_can_be_served(path: str, folder: str) -> None:
    assert wrong(path, folder) is None


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/static", ".."), ("/static", "a/../../b"), ("/static", "/"), ("/static", "./"), ("/a b", "static"),
        ("/a%20b", "static"), ("/a?b", "static"), ("/../a", "static"), ("/é", "static"), ("//a", "static"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(path: str, folder: str) -> None:
    assert wrong(path, folder) is not None
