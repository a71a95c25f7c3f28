"""Where commands find the control plane, with which keys, and what they say where there is none."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from toy_api import KEY, Run, Served

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_env_is_what_a_shell_can_read(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    done = run("env")
    assert done.out.startswith("unset AWS_PROFILE;\n")
    script = done.out + 'python3 -c "import json, os; print(json.dumps(dict(os.environ)))"'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    variables = json.loads(shell.stdout)
    expected = {
        "AWS_ENDPOINT_URL": served.url,
        "AWS_ACCESS_KEY_ID": KEY.id,
        "AWS_SECRET_ACCESS_KEY": KEY.secret,
        "AWS_DEFAULT_REGION": "local-1",
        "AWS_REGION": "local-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert expected.items() <= variables.items()
    assert "AWS_PROFILE" not in variables
    assert run("env", "--json").json == expected
    assert f"set -gx AWS_ACCESS_KEY_ID '{KEY.id}';" in run("env", "--shell", "fish").out


def test_remote_control_plane_by_aws_variables(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BEANPOLE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret)
    assert run("list").status == 0
    assert run("--home", str(tmp_path / "elsewhere"), "list").status == 4
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = run("list")
    assert done.status == 4
    assert "does not accept the keys" in done.err
    assert "AWS_ENDPOINT_URL" in done.err


def test_what_a_user_has_for_the_cloud_is_not_in_the_way(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:9\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert run("list").status == 0


def test_an_endpoint_that_is_no_url(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:8600")
    done = run("list")
    assert done.status == 2
    assert "AWS_ENDPOINT_URL is no URL: localhost:8600" in done.err


def test_remote_control_plane_without_keys(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
    for command in ("list", "env"):
        done = run(command)
        assert done.status == 4
        assert "Remedy: " in done.err


def test_variables_of_a_control_plane_that_was_stopped(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret)
    served.stop()
    done = run("list")
    assert done.status == 4
    assert "Remedy: Start it with `beanpole up --detach`" in done.err


def test_wrong_keys_in_the_home(served: Served, run: Run) -> None:
    served.home.credentials.write_text("[default]\naws_access_key_id = X\naws_secret_access_key = Y\n")
    done = run("list")
    assert done.status == 4
    assert "does not accept the keys" in done.err


def test_no_control_plane(served: Served, run: Run) -> None:
    served.stop()
    for command in (["status"], ["deploy"], ["env"], ["events", "-f"], ["terminate", "x", "--yes"], ["eb", "list"]):
        done = run(*command)
        assert done.status == 4
        assert done.err.startswith(f"Error: No control plane runs on {served.home.root}.\nRemedy: ")


def test_a_control_plane_that_was_killed(served: Served, run: Run) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    served.home.state.write_text(json.dumps({"pid": ended.pid, "api": served.url, "region": "local-1"}))
    done = run("list")
    assert done.status == 4
    assert "No control plane runs" in done.err


def test_a_control_plane_that_does_not_answer(served: Served, run: Run) -> None:
    url, state = served.url, served.home.state.read_text()
    served.stop()
    served.home.state.write_text(state)
    done = run("list")
    assert done.status == 4
    assert f"(pid {os.getpid()}) does not answer at {url}" in done.err
