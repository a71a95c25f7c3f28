"""Which wheels fit a kind of machine, and how uv and pip are told of it."""

from __future__ import annotations

import pytest

from beanpole.platforms.kind import Kind

pytestmark = pytest.mark.pure

BOOKWORM = Kind((3, 11, 2), "x86_64", (2, 36))
BULLSEYE_ARM = Kind((3, 9, 2), "aarch64", (2, 31))


@pytest.mark.parametrize(
    ("file", "fits", "pure"),
    [
        ("a-1-py3-none-any.whl", True, True),
        ("a-1-py2.py3-none-any.whl", True, True),
        ("a-1-py311-none-any.whl", True, True),
        ("a-1-py312-none-any.whl", False, False),
        ("a-1-cp311-none-any.whl", True, True),
        ("a-1-py2-none-any.whl", False, False),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True, False),
        ("a-1-cp311-cp311-manylinux1_x86_64.whl", True, False),
        ("a-1-cp311-cp311-manylinux_2_36_x86_64.whl", True, False),
        ("a-1-cp311-cp311-manylinux_2_37_x86_64.whl", False, False),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False, False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", False, False),
        ("a-1-cp312-cp312-manylinux1_x86_64.whl", False, False),
        ("a-1-cp39-abi3-manylinux_2_28_x86_64.whl", True, False),
        ("a-1-cp312-abi3-manylinux_2_28_x86_64.whl", False, False),
        ("a-1-py3-none-manylinux_2_17_x86_64.whl", True, False),
        ("a-1-cp311-cp311-linux_x86_64.whl", True, False),
        ("a-1.tar.gz", False, False),
        ("", False, False),
    ],
)
def test_wheels(file: str, fits: bool, pure: bool) -> None:
    assert (BOOKWORM.fits(file), BOOKWORM.fits_pure(file)) == (fits, pure)


def test_the_best_tags_come_first() -> None:
    assert BULLSEYE_ARM.platforms()[:2] == ("manylinux_2_31_aarch64", "manylinux_2_30_aarch64")
    assert BULLSEYE_ARM.platforms()[-3:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64")


@pytest.mark.parametrize(
    ("glibc", "name"),
    [(36, "2_36"), (31, "2_31"), (30, "2_28"), (26, "2_17"), (17, "2_17"), (41, "2_40"), (99, "2_40")],
)
def test_uv_is_told_of_the_newest_glibc_that_it_knows_and_the_machine_has(glibc: int, name: str) -> None:
    words = Kind((3, 12), "aarch64", (2, glibc)).uv_words()
    assert words == ["--python-version", "3.12", "--python-platform", f"aarch64-manylinux_{name}"]


def test_names() -> None:
    assert str(BOOKWORM) == "Python 3.11.2 on x86_64 with glibc 2.36"
    assert BOOKWORM.layer("ab12") == "ab12-3.11.2-x86_64-2.36"
    assert BOOKWORM.wheels == Kind((3, 11, 9), "x86_64", (2, 36)).wheels
    assert BOOKWORM.layer("ab12") != Kind((3, 11, 9), "x86_64", (2, 36)).layer("ab12")
