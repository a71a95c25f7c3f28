"""The job layer: real uv, real wheels, no network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_site import Site

from beanpole.fleet.agent_client import JobFailed

UV = Path(sys.executable).with_name("uv") if Path(sys.executable).with_name("uv").exists() else shutil.which("uv")


def wheel(folder: Path, name: str, source: str) -> str:
    """A wheel with one module; the line of a lock that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    members = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def site(shared_site: Site) -> Site:
    return shared_site


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, Any]:
    """Arguments of a layer with two packages."""
    lock = wheel(tmp_path / "wheels", "apple", "TASTE = 'sweet'\n") + wheel(tmp_path / "wheels", "pear", "")
    return {
        "key": "k1", "target": str(tmp_path / "layers" / "k1"), "python": sys.executable, "lock": lock,
        "wheels": str(tmp_path / "wheels"), "uv": str(UV),
    }  # fmt: skip


def test_locked_wheels_are_installed_once_read_only_and_compiled(site: Site, wanted: dict[str, Any]) -> None:
    assert site.job("layer", **wanted) == {"installed": 2}
    assert site.job("layer", **wanted) == {"installed": 0}

    target = Path(wanted["target"])
    module = next(target.glob("lib/python*/site-packages/apple.py"))
    assert module.stat().st_mode & 0o222 == 0
    assert list(module.parent.glob("__pycache__/apple.*.pyc"))
    done = subprocess.run([target / "bin/python", "-c", "import apple; print(apple.TASTE)"], capture_output=True)
    assert done.stdout == b"sweet\n"


def test_two_agents_that_share_a_layer_build_it_once(
    site: Site, new_site: Callable[..., Site], wanted: dict[str, Any]
) -> None:
    other = new_site("other").start()

    async def both() -> list[dict[str, Any]]:
        clients = [site.client(), other.client()]
        return list(await asyncio.gather(*(client.run_job("k", "layer", wanted, 1) for client in clients)))

    assert sorted(result["installed"] for result in asyncio.run(both())) == [0, 2]


def test_a_half_built_layer_is_built_anew(site: Site, wanted: dict[str, Any]) -> None:
    target = Path(wanted["target"])
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").write_text("half")

    assert site.job("layer", **wanted) == {"installed": 2}


def test_a_wheel_that_differs_from_the_lock_is_refused(site: Site, wanted: dict[str, Any], tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "apple", "TASTE = 'bitter'\n")

    with pytest.raises(JobFailed, match=r"installing the dependencies failed \(exit status") as failure:
        site.job("layer", **wanted)

    assert "apple" in " ".join(failure.value.last_lines)
    assert failure.value.remedy == "A wheel differs from the lock. Deploy again to have it sent anew."
    assert not (Path(wanted["target"]) / "layer.json").exists()


def test_a_wheel_that_was_not_sent_is_named(site: Site, wanted: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "wheels" / "pear-1.0-py3-none-any.whl").unlink()

    with pytest.raises(JobFailed) as failure:
        site.job("layer", **wanted)

    assert "pear" in " ".join(failure.value.last_lines)
    assert "Deploy again" in failure.value.remedy


def test_a_folder_of_another_layer_is_left_alone(site: Site, wanted: dict[str, Any]) -> None:
    site.job("layer", **{**wanted, "lock": ""})

    with pytest.raises(JobFailed, match="holds the layer k1, not k2"):
        site.job("layer", **{**wanted, "key": "k2"})


def test_processes_and_commands_use_the_layer(site: Site, wanted: dict[str, Any]) -> None:
    site.job("layer", **wanted)
    layer = wanted["target"]
    site.fetch("r1", {"t.py": "import apple, os; print('taste', apple.TASTE, os.environ['VIRTUAL_ENV'])"})
    each = {"name": "t", "command": "python t.py", "cwd": None, "env": {}, "test": None, "ignore_errors": False}

    site.job("run", release="r1", stage="predeploy", commands=[each], layer=layer)

    assert f"taste sweet {layer}" in site.log()
    with pytest.raises(JobFailed, match="dependency layer /nowhere is not complete"):
        site.job("prepare", release="r1", processes=[], layer="/nowhere")


def sent(wanted: dict[str, Any], blobs: Path) -> dict[str, Any]:
    """As on a server: the wheels lie there under their digests."""
    packages = []
    for path in sorted(Path(wanted.pop("wheels")).iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (blobs / digest[:2]).mkdir(parents=True, exist_ok=True)
        path.rename(blobs / digest[:2] / digest)
        packages.append([path.name, digest])
    return {**wanted, "packages": packages, "blobs": str(blobs)}


def test_wheels_that_were_sent_as_blobs_are_installed_for_all_to_read(
    site: Site, wanted: dict[str, Any], tmp_path: Path
) -> None:
    assert site.job("layer", **sent(wanted, tmp_path / "blobs")) == {"installed": 2}

    target = Path(wanted["target"])
    assert not (target / ".wheels").exists()
    assert target.parent.stat().st_mode & 0o777 == 0o755
    installed = [path for path in target.rglob("*") if not path.is_symlink() and path.name != "layer.json"]
    files, folders = [path for path in installed if path.is_file()], [path for path in installed if path.is_dir()]
    assert [path for path in files if path.stat().st_mode & 0o666 != 0o444] == []
    assert [path for path in (target, *folders) if path.stat().st_mode & 0o555 != 0o555] == []


def test_a_blob_that_is_missing_is_named(site: Site, wanted: dict[str, Any], tmp_path: Path) -> None:
    arguments = sent(wanted, tmp_path / "blobs")
    next((tmp_path / "blobs").glob(f"*/{arguments['packages'][1][1]}")).unlink()

    with pytest.raises(JobFailed, match=r"the wheel pear-1\.0-py3-none-any\.whl was not sent"):
        site.job("layer", **arguments)


@pytest.mark.parametrize("item", [["../x.whl", "a" * 64], ["x.whl", "../../etc"], ["x.whl"], "x.whl"])
def test_names_that_would_lead_elsewhere_are_refused(
    site: Site, wanted: dict[str, Any], tmp_path: Path, item: Any
) -> None:
    arguments = {**sent(wanted, tmp_path / "blobs"), "packages": [item]}

    with pytest.raises(JobFailed, match="not a wheel's file name and its SHA-256"):
        site.job("layer", **arguments)
