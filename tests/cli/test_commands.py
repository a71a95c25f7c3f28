"""Every command but deploy, up and down, against a toy control plane."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from toy_api import KEY, Run, Served, Toy, frame, going_wrong

from beanpole.cli import crowd, follow
from beanpole.cli.event import Events
from beanpole.cli.logs import lines_after


@pytest.fixture(autouse=True)
def an_environment(toy: Toy, shop: Path) -> None:
    toy.add_environment("shop-dev")


# -- status, list, releases, open ------------------------------------------------------------------------------------


def test_status_shows_control_plane_and_environments(served: Served, run: Run) -> None:
    done = run("status")
    assert done.status == 0
    assert f"Control plane  running (pid {os.getpid()}) at {served.url}, version 0.1.0" in done.out
    assert "  shop-dev  shop         Ready   Ok      v1       http://shop-dev.localhost:8080" in done.out
    facts = run("status", "--json").json
    assert facts["control_plane"]["pid"] == os.getpid()
    assert facts["environments"][0]["environment"] == "shop-dev"


def test_status_of_one_environment(served: Served, run: Run) -> None:
    done = run("status", "shop-dev")
    assert done.status == 0
    for words in (
        "Health         Warning\n               1 of 2 is slow.",
        "Version        v1 (release 7)",
        "URL            http://shop-dev.localhost:8080",
        "Requests       12,345 served, 1 failed in all",
        "i-1       Ok       7        v1       Deployed  60/min",
        "i-2       Warning                                        Slow.",
    ):
        assert words in done.out
    facts = run("status", "shop-dev", "--json").json
    assert facts["release"] == 7
    assert facts["causes"] == ["1 of 2 is slow."]
    assert [each["instance"] for each in facts["instances"]] == ["i-1", "i-2"]


def test_an_unknown_environment_names_the_nearest(served: Served, toy: Toy, run: Run) -> None:
    toy.add_environment("bakery-live", "bakery")
    done = run("status", "shop-dve")
    assert done.status == 3
    assert done.err == "Error: There is no environment shop-dve.\nRemedy: Did you mean shop-dev?\n"
    assert "Known: bakery-live, shop-dev." in run("releases", "zzz").err


def test_list_marks_the_default(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("bakery-live", "bakery")
    folder = shop / ".elasticbeanstalk"
    folder.mkdir()
    (folder / "config.yml").write_text("branch-defaults: {default: {environment: shop-dev}}\n")
    lines = run("list").out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["", "* shop-dev"]
    only = run("list", "--application", "bakery", "--json").json
    assert [each["environment"] for each in only["environments"]] == ["bakery-live"]


def test_list_of_an_unknown_application_names_the_nearest(served: Served, toy: Toy, run: Run) -> None:
    done = run("list", "--application", "shpo")
    assert done.out == "No environment belongs to an application shpo. Did you mean shop?\n"
    assert run("list", "--application", "shpo", "--json").json == {"environments": []}


def test_a_broken_config_is_only_warned_of_where_it_is_not_needed(served: Served, shop: Path, run: Run) -> None:
    (shop / ".elasticbeanstalk").mkdir()
    (shop / ".elasticbeanstalk/config.yml").write_text("a: [")
    for command in (["list"], ["status"], ["status", "shop-dev"], ["terminate", "shop-dev", "--yes"]):
        done = run(*command)
        assert done.status == 0, done.err
        assert "shop-dev" in done.out
        assert ("Warning: " in done.err) == (command != ["status", "shop-dev"])
    assert run("open").status == 3


def test_releases(served: Served, run: Run) -> None:
    lines = run("releases").out.splitlines()
    assert lines[1].split() == ["*", "7", "v1", "2026-11-02", "12:00:00", "2026-11-02", "12:00:00", "abcdef01"]
    assert lines[2].split() == ["6", "v0", "2026-11-02", "12:00:00", "never", "01234567"]
    assert run("releases", "--json").json["releases"][0]["current"] is True


def test_open_prints_the_url(served: Served, run: Run) -> None:
    assert run("open").out == "http://shop-dev.localhost:8080\n"
    assert run("open", "--json").json["url"] == "http://shop-dev.localhost:8080"


def test_no_default_environment_for_a_branch(
    served: Served, toy: Toy, shop: Path, git: Callable[..., str], run: Run
) -> None:
    toy.add_environment("shop-live")
    assert "This folder has no default environment for the branch main." in run("open").err


def test_no_default_environment(served: Served, toy: Toy, run: Run) -> None:
    toy.add_environment("shop-live")
    done = run("open")
    assert done.status == 2
    assert done.err.startswith("Error: This folder has no default environment.\n")
    assert "Name one of: shop-dev, shop-live." in done.err


# -- rollback, abort, scale, terminate ---------------------------------------------------------------------------------


def test_rollback_shows_the_differences_and_needs_no_number(served: Served, toy: Toy, run: Run) -> None:
    toy.differences = [{"What": "version", "From": "v1", "To": "v0"}]
    done = run("rollback")
    assert done.status == 0
    assert "Back to release 3 of shop-dev: version v0.\n  CHANGES  FROM  TO\n  version  v1    v0\n" in done.out
    assert "shop-dev is back on v0 (release 7) on 2 instances, after 4.2 s." in done.out
    assert toy.called("RollbackEnvironment") == [
        {"EnvironmentName": "shop-dev", "DryRun": True},
        {"EnvironmentName": "shop-dev", "ReleaseNumber": 3},
    ]


def test_rollback_rehearsed(served: Served, toy: Toy, run: Run) -> None:
    facts = run("rollback", "--to", "2", "--dry-run", "--json").json
    assert facts["back_to"] == 2
    assert toy.called("RollbackEnvironment") == [{"EnvironmentName": "shop-dev", "DryRun": True, "ReleaseNumber": 2}]


def test_rollback_asks_at_a_terminal(served: Served, toy: Toy, at_terminal: Run) -> None:
    refused = at_terminal("rollback", types="n\n")
    assert refused.status == 3
    assert "Roll back? [Y/n]" in refused.out
    assert len(toy.called("RollbackEnvironment")) == 1
    assert at_terminal("rollback", types="").status == 3  # Ctrl-D
    assert len(toy.called("RollbackEnvironment")) == 2
    assert at_terminal("rollback", types="\n").status == 0
    assert "Roll back?" not in at_terminal("rollback", "--yes").out


def test_rollback_that_fails(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = going_wrong()
    done = run("rollback")
    assert done.status == 1
    assert "The rollback of shop-dev failed." in done.err


def test_rollback_of_a_busy_environment(served: Served, toy: Toy, run: Run) -> None:
    toy.environments["shop-dev"]["Status"] = "Updating"
    done = run("rollback")
    assert done.status == 3
    assert "Must be Ready." in done.err
    assert "beanpole abort shop-dev" in done.err


@pytest.mark.parametrize(
    ("command", "message", "remedy"),
    [
        (
            ["rollback"],
            "Environment named shop-dev has no earlier release that passed and differs from what is running.",
            "`beanpole releases shop-dev` shows those that it has.",
        ),
        (
            ["rollback", "--to", "99"],
            "Environment named shop-dev has no release 99.",
            "`beanpole releases shop-dev` shows those that it has.",
        ),
        (
            ["abort"],
            "Environment named shop-dev has no operation in progress that can be aborted.",
            "`beanpole status shop-dev` shows how it is.",
        ),
        (
            ["abort"],
            "The update of environment shop-dev is being reverted already.",
            "Follow it with `beanpole events -f shop-dev`.",
        ),
    ],
)
def test_what_is_in_no_state_for_it(
    served: Served, toy: Toy, run: Run, command: list[str], message: str, remedy: str
) -> None:
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    toy.refuses = message
    done = run(*command)
    assert done.status == 3
    assert done.err.endswith(f"Error: {message}\nRemedy: {remedy}\n")


def test_abort_sees_it_go_back(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    done = run("abort")
    assert done.status == 0
    assert "The operation was aborted; shop-dev is as it was before" in done.out


def test_nothing_to_abort(served: Served, run: Run) -> None:
    done = run("abort")
    assert done.status == 3
    assert "Nothing is under way in shop-dev" in done.err


def test_what_goes_back_already_cannot_be_aborted(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = [going_wrong()[1]]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    done = run("abort")
    assert done.status == 3
    assert "shop-dev is going back already." in done.err


def test_scale(served: Served, toy: Toy, run: Run) -> None:
    done = run("scale", "3", "--json")
    assert done.json["outcome"] == "succeeded"
    (update,) = toy.called("UpdateEnvironment")
    assert {each["OptionName"]: each["Value"] for each in update["OptionSettings"]} == {"MinSize": "3", "MaxSize": "3"}
    assert "shop-dev has 2 instances already: nothing was touched." in run("scale", "2").out
    assert run("scale", "none").status == 2


def test_scaling_a_busy_environment_names_it_in_the_remedy(served: Served, toy: Toy, run: Run) -> None:
    toy.environments["shop-dev"]["Status"] = "Updating"
    done = run("scale", "3")
    assert done.status == 3
    assert "`beanpole abort shop-dev`" in done.err


def test_more_instances_than_the_machine_has_processors_for(
    served: Served, toy: Toy, run: Run, at_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "cpus", lambda: 2)
    done = run("scale", "9")
    assert done.status == 2
    assert "9 instances are more than 4 for each of the 2 CPUs of this machine" in done.err
    assert "Say --yes" in done.err
    assert at_terminal("scale", "9", types="n\n").status == 3
    assert not toy.called("UpdateEnvironment")
    assert run("scale", "8").status == 0
    agreed = run("scale", "9", "--yes")
    assert agreed.status == 0
    assert "Warning: 9 instances are more" in agreed.err
    toy.settings["shop-dev"]["aws:autoscaling:asg", "MinSize"] = "20"
    assert run("scale", "15").status == 0  # fewer than there are


def test_an_operation_that_had_nothing_to_do(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MISSING", 0.02)
    toy.forget_operations = True
    assert "there was nothing to do" in run("scale", "3").out


def test_terminate_wants_consent(served: Served, toy: Toy, run: Run, at_terminal: Run) -> None:
    done = run("terminate", "shop-dev")
    assert done.status == 2
    assert "--yes" in done.err
    assert at_terminal("terminate", "shop-dev", types="shop\n").status == 2
    assert not toy.called("TerminateEnvironment")
    assert at_terminal("terminate", "shop-dev", types="shop-dev\n").status == 0
    assert len(toy.called("TerminateEnvironment")) == 1


def test_terminate_forgets_the_default(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    path = shop / ".elasticbeanstalk/config.yml"
    path.parent.mkdir()
    path.write_text("branch-defaults: {default: {environment: shop-dev}}\n")
    done = run("terminate", "--yes")
    assert done.status == 0
    assert "shop-dev is terminated, after 4.2 s." in done.out
    assert yaml.safe_load(path.read_text())["branch-defaults"]["default"]["environment"] is None


def test_terminate_does_not_guess(served: Served, toy: Toy, run: Run) -> None:
    assert run("terminate", "--yes").status == 2
    assert not toy.called("TerminateEnvironment")


# -- events, logs ------------------------------------------------------------------------------------------------------


def test_events_oldest_first(served: Served, toy: Toy, run: Run) -> None:
    for number in range(3):
        toy.say("r", "shop-dev", f"Event {number}.", "WARN")
    done = run("events", "--lines", "2")
    assert done.out == "2026-11-02 12:00:00  WARN   Event 1.\n2026-11-02 12:00:00  WARN   Event 2.\n"
    assert [each["message"] for each in run("events", "--json").json["events"]] == ["Event 0.", "Event 1.", "Event 2."]


def test_events_of_an_environment_that_is_gone(served: Served, toy: Toy, run: Run) -> None:
    toy.say("r", "old-dev", "It was terminated.")
    assert "It was terminated." in run("events", "old-dev").out
    assert run("events", "never-dev").status == 3


def test_following_events_shows_each_once_until_interrupted(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.say("r", "shop-dev", "Before.")
    looks = []

    def describe(call: object) -> None:
        looks.append(call)
        if len(looks) == 3:
            toy.say("r", "shop-dev", "Meanwhile.")
        if len(looks) == 6:
            os.kill(os.getpid(), signal.SIGINT)

    original = toy._describe_events
    monkeypatch.setattr(toy, "_describe_events", lambda call: describe(call) or original(call))
    served.stop()
    served.start()
    done = run("events", "-f", "--json")
    assert done.status == 130
    assert [json.loads(line)["message"] for line in done.out.splitlines()] == ["Before.", "Meanwhile."]


def test_logs(served: Served, toy: Toy, run: Run) -> None:
    toy.logs = [[{"InstanceId": "i-1", "Name": "web.stdout.log", "Text": "one\ntwo\x1b[2J\n"}]]
    assert run("logs").out == "==== i-1  web.stdout.log ====\none\ntwo�[2J\n"
    assert run("logs", "--json").json["files"][0]["lines"][0] == "one"
    assert run("logs", "--instance", "i-1", "--lines", "5").status == 0
    assert toy.called("TailLogs")[-1] == {"EnvironmentName": "shop-dev", "InstanceId": "i-1", "Lines": 5}


def test_logs_of_an_unknown_instance(served: Served, toy: Toy, run: Run) -> None:
    toy.logs = [[]]
    done = run("logs", "--instance", "i-9")
    assert done.status == 3
    assert "shop-dev has no instance i-9." in done.err


def test_following_logs(served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(*lines: str) -> list[dict[str, str]]:
        return [{"InstanceId": "i-1", "Name": "web", "Text": "\n".join(lines)}]

    toy.logs = [file("a", "b"), file("a", "b"), file("a", "b", "c"), file("b", "c", "d")]
    looks = iter(range(100))
    original = toy.handlers

    def handlers() -> dict[str, dict[str, object]]:
        found = original()
        tail = found["beanpole"]["TailLogs"]

        def looked(call: object) -> object:
            if next(looks) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return tail(call)

        found["beanpole"]["TailLogs"] = looked
        return found

    monkeypatch.setattr(toy, "handlers", handlers)
    served.stop()
    served.start()
    done = run("logs", "--follow")
    assert done.status == 130
    assert done.out.splitlines() == ["i-1 web | a", "i-1 web | b", "i-1 web | c", "i-1 web | d"]


@pytest.mark.parametrize(
    ("known", "lines", "new"),
    [
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "bcd", "d"),
        ("aaa", "aaaa", ""),  # all alike: nothing tells that there is one more
        ("ab", "xy", "…xy"),
        ("ab", "", "…"),
    ],
)
def test_lines_after(known: str, lines: str, new: str) -> None:
    found = lines_after(list(known), list(lines))
    assert "".join(line if len(line) == 1 else "…" for line in found) == new


# -- env, eb, version --------------------------------------------------------------------------------------------------


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


def test_a_reader_that_has_seen_enough_is_no_failure(served: Served, shop: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "beanpole.cli", "status"]
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_leaves_a_clean_line(served: Served, toy: Toy, at_terminal: Run) -> None:
    toy.say("r", "shop-dev", "Before.")
    original, looks = Events.latest, iter(range(100))

    def latest(events: Events, count: int | None = None) -> object:
        if next(looks) == 1:
            raise KeyboardInterrupt
        return original(events, count)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Events, "latest", latest)
        done = at_terminal("events", "-f")
    assert done.status == 130
    assert done.out.endswith("Before.\n\n")


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


def fake_eb(folder: Path) -> None:
    script = folder / "eb"
    script.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "<$AWS_PROFILE>"\nexit 7\n'
    )
    script.chmod(0o755)


def test_eb_gets_every_word_and_our_keys(served: Served, shop: Path, tmp_path: Path) -> None:
    fake_eb(tmp_path)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AWS_PROFILE": "work"}
    words = ["create", "-h", "--home", "x y", "--version", "--", "-i"]
    command = [sys.executable, "-m", "beanpole.cli", "--home", str(served.home.root), "eb", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines() == [*words, served.url, KEY.id, "<>"]
    assert done.returncode == 7


@pytest.mark.parametrize("words", [["--help"], ["create", "-h"], ["--version"]])
def test_eb_needs_no_control_plane_to_explain_itself(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    fake_eb(tmp_path)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "beanpole.cli", "--home", str(tmp_path / "none"), "eb", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines()[: len(words)] == words
    assert done.returncode == 7


def test_eb_warns_of_a_profile_that_outranks_our_keys(served: Served, shop: Path, tmp_path: Path) -> None:
    fake_eb(tmp_path)
    (shop / ".elasticbeanstalk").mkdir()
    (shop / ".elasticbeanstalk/config.yml").write_text("global: {profile: work}\n")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "beanpole.cli", "eb", "list"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert "names the profile work" in done.stderr


def test_eb_is_fetched_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from beanpole.cli.eb import environment_for, program

    monkeypatch.setattr("shutil.which", lambda name: None)
    uv, *words = program()
    assert Path(uv).name == "uv"
    assert words == ["tool", "run", "--from", "awsebcli==3.27.5", "eb"]
    behind_proxy = environment_for({"HTTPS_PROXY": "http://p", "NO_PROXY": "x"}, {})
    assert behind_proxy["NO_PROXY"] == behind_proxy["no_proxy"] == "x,127.0.0.1,localhost"


def test_version_and_help(run: Run) -> None:
    assert run("version").out == run("--version").out
    assert run("version", "--json").json == {"version": run("version").out.split()[1]}
    assert "Exit status: 0 done" in run("--help").out
    assert "with its instances; else all of them" in " ".join(run("status", "--help").out.split())
    assert run("frobnicate").status == 2
    assert run("--home").status == 2


def test_help_imports_nothing_heavy() -> None:
    heavy = [
        "botocore",
        "boto3",
        "rich",
        "yaml",
        "sqlalchemy",
        "uvicorn",
        "starlette",
        "beanpole.server",
        "platformdirs",
    ]
    script = (
        "import sys; from beanpole import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"


def test_a_mistake_of_ours_is_a_sentence(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.cli.listing.every_environment", lambda api: 1 / 0)
    done = run("list")
    assert done.status == 1
    assert "Error: Beanpole made a mistake: ZeroDivisionError" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("BEANPOLE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run("list")


def test_what_the_control_plane_does_not_have_yet(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = toy.handlers

    def fewer() -> dict[str, dict[str, object]]:
        found = original()
        for name in ("DescribeInstancesHealth", "DescribeEnvironmentHealth"):
            del found["elasticbeanstalk"][name]
        del found["beanpole"]["DescribeReleases"]
        return found

    monkeypatch.setattr(toy, "handlers", fewer)
    served.stop()
    served.start()
    done = run("releases")
    assert done.status == 1
    assert "DescribeReleases" in done.err


def test_times_are_iso_in_json(served: Served, toy: Toy, run: Run) -> None:
    toy.say("r", "shop-dev", "Hello.")
    at = run("events", "--json").json["events"][0]["at"]
    assert dt.datetime.fromisoformat(at) == dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
    assert at.endswith("Z")
