"""The unmodified EB CLI: SSH in `eb init`, and `eb ssh` to the right user and host. A stub stands for `ssh`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site
from served import KEY, session

from beanpole.cli.eb import with_our_ssh
from beanpole.store import hosts, instances
from beanpole.store.hosts import Host
from beanpole.store.instances import Instance

EB = Path(__file__).parents[2] / ".eb/bin/eb"
STUB = """#!/bin/sh
for word in "$@"; do echo "ssh word: $word"; done
exit 5
"""
LIMIT = 90  # seconds for one command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def folder(site: ApiSite, tmp_path: Path) -> Path:
    """The current folder of the commands; its user has a key, and `ssh` is the stub."""
    for name in ("home/.ssh", "bin", "shop"):
        (tmp_path / name).mkdir(parents=True)
    key = tmp_path / "home/.ssh/mine"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "bin/ssh").write_text(STUB)
    (tmp_path / "bin/ssh").chmod(0o755)
    return tmp_path / "shop"


def eb(site: ApiSite, folder: Path, *words: str, stdin: str = "") -> tuple[int, str]:
    """Exit status and all that was printed."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    variables = {
        "HOME": str(folder.parent / "home"),
        "PATH": f"{folder.parent / 'bin'}:/usr/bin:/bin",
        "AWS_ENDPOINT_URL": site.url,
        "AWS_ACCESS_KEY_ID": KEY.id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret,
        "AWS_DEFAULT_REGION": "local-1",
        "PYTHONUNBUFFERED": "1",
    }
    ran = subprocess.run(
        [str(EB), *words],
        cwd=folder,
        env=kept | variables,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return ran.returncode, ran.stdout


def with_instance(site: ApiSite, folder: Path, user: str) -> None:
    """shop-dev with one instance on a server whose user that is; the folder is the environment's."""
    environment = site.environment()
    address = {"host": "10.0.0.5", "user": user, "port": 2222, "key": str(folder.parent / "home/.ssh/mine")}
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6mQ9XkM0yB3w8m0kqkD0s2O6kq1v2v3v4v5v6v7v8v"
    with site.control.database.write() as db:
        new: dict[str, Any] = {"id": "h-1", "name": "web1", "address": json.dumps(address), "host_key": host_key}
        hosts.add(db, Host(**new, app_port=8080, labels="[]", state="ready", added_at=1))
        instances.add(db, Instance("i-1", environment, "running", "127.0.0.9", 1, 0, host="h-1"))
    (folder / ".elasticbeanstalk").mkdir()
    (folder / ".elasticbeanstalk/config.yml").write_text(
        "branch-defaults: {default: {environment: shop-dev}}\n"
        "global: {application_name: shop, default_region: local-1, profile: null, workspace_type: Application}\n"
    )


@pytest.mark.long
def test_eb_init_with_ssh_offers_and_imports_keys(site: ApiSite, folder: Path) -> None:
    platform = f"{next(iter(site.control.platforms)).branch}"
    # A new application; SSH; there is no key pair, so a new one, whose passphrase is empty.
    status, text = eb(site, folder, "init", "shop", "-i", "-p", platform, "-r", "local-1", stdin="y\nfirst\n\n\n")
    assert status == 0, text
    (pair,) = site.client("ec2").describe_key_pairs()["KeyPairs"]
    assert pair["KeyName"] == "first"
    assert "default_ec2_keyname: first" in (folder / ".elasticbeanstalk/config.yml").read_text()

    again = folder.parent / "again"
    again.mkdir()
    status, text = eb(site, again, "init", "shop", "-i", "-p", platform, "-r", "local-1", stdin="y\n1\n")
    assert status == 0, text
    assert "Select a keypair" in text
    assert "default_ec2_keyname: first" in (again / ".elasticbeanstalk/config.yml").read_text()


def test_eb_ssh_alone_goes_to_the_right_host_as_ec2_user(site: ApiSite, folder: Path) -> None:
    with_instance(site, folder, "ec2-user")
    _, text = eb(site, folder, "ssh", "-c", "uptime -p")
    key = folder.parent / "home/.ssh/mine"
    assert f"INFO: Running ssh -i {key} -o IdentitiesOnly yes ec2-user@10.0.0.5 uptime -p" in text
    assert "Opening" not in text  # the group is open, so that eb changes nothing


@pytest.mark.long
def test_eb_ssh_of_ours_knows_user_port_key_and_host_key(site: ApiSite, folder: Path) -> None:
    with_instance(site, folder, "admin")
    _, text = eb(site, folder, *with_our_ssh(["ssh", "-c", "uptime -p"]))
    words = [line.removeprefix("ssh word: ") for line in text.splitlines() if line.startswith("ssh word: ")]
    assert words[-9:] == [
        *("-i", str(folder.parent / "home/.ssh/mine")),
        *("-p", "2222", "-l", "admin"),
        *("--", "10.0.0.5", "uptime -p"),
    ], text
    assert "HostKeyAlias=h-1" in words
    assert "StrictHostKeyChecking=yes" in words


@pytest.mark.parametrize(
    "words", [["deploy"], ["ssh", "-e", "ssh -p 22"], ["ssh", "--custom=ssh"], ["ssh", "--setup"], ["ssh", "--help"]]
)
def test_whoever_says_how_is_left_alone(words: list[str]) -> None:
    assert with_our_ssh(words) == words
    assert with_our_ssh(["ssh", "-n", "1"]) == [
        *("ssh", "-n", "1", "--custom"),
        f"{sys.executable} -m beanpole.cli eb-ssh",
    ]
