"""Whatever is in a zip, it is read or refused."""

from __future__ import annotations

import io
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zips import info, link, make

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import BundleError, check_and_unpack


def _sample() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info("a.py"), "print()" * 20, zipfile.ZIP_DEFLATED)
        archive.writestr(info("l", stat.S_IFLNK | 0o777), "a.py")
        archive.writestr(info("d/", stat.S_IFDIR), "")
        archive.writestr(info("b"), b"\0" * 300, zipfile.ZIP_BZIP2)
        archive.writestr(info("c"), b"\1" * 300, zipfile.ZIP_LZMA)
    return buffer.getvalue()


SAMPLE = _sample()


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    length=st.integers(0, len(SAMPLE)) | st.just(len(SAMPLE)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_a_damaged_zip_is_refused_or_read_and_nothing_else(
    tmp_path: Path, blobs: Blobs, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(SAMPLE)
    for place, value in changes:
        content[place] = value
    path = tmp_path / "a.zip"
    path.write_bytes(content[:length])
    try:
        manifest = check_and_unpack(path, blobs)
    except BundleError as error:
        assert str(error)
    else:
        for file in manifest.files:
            manifest.read(file, blobs)


@given(target=st.text("ab./", min_size=1, max_size=12), place=st.sampled_from(["l", "a/l", "a/b/l"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_link_is_taken_only_if_the_system_agrees_that_it_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, blobs: Blobs, target: str, place: str
) -> None:
    folder = tmp_path_factory.mktemp("tree") / "root"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "f").write_text("x")
    (folder / place).symlink_to(target)
    inside = Path(os.path.realpath(folder / place)).is_relative_to(folder.resolve())
    path = make(folder.parent / "z.zip", ("a/b/f", "x"), link(place, target))
    try:
        check_and_unpack(path, blobs)
    except BundleError:
        assert not inside
    else:
        assert inside
