"""What unit.sh says of a hand-made service becomes values, and a proposal of an environment."""

from __future__ import annotations

import base64
from pathlib import PurePath
from typing import Any

import pytest

from beanpole.control.adoption import ADDRESS, MASK, command, is_secret, name_of, propose
from beanpole.fleet.servers.unit_reading import Listening, Python, Unit, UnitUnreadable, environment_file, parse

pytestmark = pytest.mark.pure
FOLDER = "/home/admin/pettracker-ml"
SHOWN = f"""Id=pettracker-ml.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
FragmentPath=/etc/systemd/system/pettracker-ml.service
User=admin
WorkingDirectory={FOLDER}
Environment=VERSION=3 "GREETING=good day"
ExecStartPre={{ path=/bin/true ; argv[]=/bin/true ; }}
"""
TEXT = f"""# /etc/systemd/system/pettracker-ml.service
[Service]
ExecStart=
ExecStart=-{FOLDER}/venv/bin/gunicorn --workers 2 \\
    --bind 0.0.0.0:8080 app:app
"""


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def told(**more: list[str]) -> list[list[str]]:
    lines = [
        ["show", packed(SHOWN)],
        ["text", packed(TEXT)],
        ["variables", packed(f"{FOLDER}/.env"), packed("# secrets\nSECRET_KEY='s3'\nexport N=1\n")],
        ["pids", "41", "42"],
        [
            "listening",
            packed(
                'LISTEN 0 2048 0.0.0.0:8080 0.0.0.0:* users:(("gunicorn",pid=42,fd=5),("gunicorn",pid=41,fd=5))\n'
                'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3))\n'
            ),
        ],
        ["entry", "venv", packed("venv")],
        ["entry", "venv", packed("env-old")],
        ["entry", "file", packed("app.py")],
        ["large", "104857600", packed("model.bin")],
        ["revision", packed("3f2a1b\n")],
        ["python", packed(f"{FOLDER}/venv/bin/python"), packed(f"3.11.2 {FOLDER}/venv True")],
        ["frozen", packed("flask==3.0.0\n-e git+ssh://x#egg=y\ngunicorn==22.0.0\n")],
    ]
    return [line for line in lines if line[0] not in more] + [[key, *words] for key, words in more.items()]


def unit(**more: Any) -> Unit:
    given: dict[str, Any] = {
        "name": "shop.service", "path": "", "text": "", "state": "active", "enabled": True, "user": "admin",
        "folder": FOLDER, "command": ("/usr/bin/python3", "server.py", "8080"),
        "listening": (Listening("0.0.0.0", 8080),),
        "python": Python("/usr/bin/python3", (3, 11, 2), "/usr", virtual=False),
    }  # fmt: skip
    return Unit(**given | more)


def test_a_unit_is_read_as_it_runs() -> None:
    seen = parse("pettracker-ml.service", told())
    assert seen.command == (f"{FOLDER}/venv/bin/gunicorn", "--workers", "2", "--bind", "0.0.0.0:8080", "app:app")
    assert seen.variables == {"VERSION": "3", "GREETING": "good day", "SECRET_KEY": "s3", "N": "1"}
    assert seen.listening == (Listening("0.0.0.0", 8080),)
    assert (seen.user, seen.folder, seen.revision, seen.enabled) == ("admin", FOLDER, "3f2a1b", True)
    assert seen.python is not None
    assert (seen.python.version, seen.python.virtual) == ((3, 11, 2), True)
    assert seen.hooks == ("ExecStartPre",)
    assert seen.large == {"model.bin": 104857600}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"show": [packed("LoadState=not-found\n")]}, "There is no unit"),
        ({"show": [packed("LoadState=loaded\nActiveState=failed\n")]}, "is failed, not active"),
        ({"text": [packed("[Service]\nExecStart=/a\nExecStart=/b\n")]}, "has 2 commands"),
        ({"text": [packed("[Service]\nExecStart=/a 'b\n")]}, "cannot be read"),
    ],
)
def test_what_is_no_service_that_runs_is_refused(more: dict[str, list[str]], words: str) -> None:
    with pytest.raises(UnitUnreadable, match=words):
        parse("x.service", told(**more))


def test_files_of_variables_are_read_as_systemd_does() -> None:
    text = '# a\n; b\nA=1\nB="x \\"y\\""\nC=\'$z\'\nD=a\\\nb\nexport E=e\nnonsense\n'
    assert environment_file(text) == {"A": "1", "B": 'x "y"', "C": "$z", "D": "ab", "E": "e"}


def test_a_proposal_of_a_gunicorn() -> None:
    made = propose(parse("pettracker-ml.service", told()), 8080, None, None, "adopted-3f2a1b")
    assert (made.application, made.environment, made.label) == ("pettracker-ml", "pettracker-ml", "adopted-3f2a1b")
    assert made.procfile == f'web: gunicorn --workers 2 --bind "{ADDRESS}:$PORT" app:app\n'
    assert made.requirements == "flask==3.0.0\ngunicorn==22.0.0\n"
    assert made.shown()["SECRET_KEY"] == MASK
    assert made.properties["SECRET_KEY"] == "s3"
    assert {"venv", "env-old", ".git", "__pycache__", "./.env"} <= set(made.left_out)
    assert not made.blocked
    assert any("ExecStartPre" in doubt.cause for doubt in made.doubts)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("/usr/bin/python3", "server.py", "0.0.0.0:8080"), f'python server.py "{ADDRESS}:$PORT"'),
        (("/usr/bin/python3", "-m", "app", "--port=8080"), 'python -m app --port="$PORT"'),
        (("/usr/bin/python3", "-m", "uvicorn", "a:b", "--host", "0.0.0.0", "--port", "8080"),
         f'python -m uvicorn a:b --host "{ADDRESS}" --port "$PORT"'),
        (("/usr/bin/python3", "a b.py", "-b127.0.0.1:8080"), f"python 'a b.py' -b\"{ADDRESS}:$PORT\""),
        (("/usr/bin/python3", "a.py", "${X}", "8080"), 'python a.py "${X}" "$PORT"'),
    ],
)  # fmt: skip
def test_commands_listen_where_they_are_told(words: tuple[str, ...], line: str) -> None:
    assert command(unit(command=words), 8080) == (line, True)


def test_a_command_that_names_no_port_is_doubted_and_one_with_another_port_blocked() -> None:
    made = propose(unit(command=("/usr/bin/python3", "server.py")), 8080, None, None, "adopted-1")
    assert any("does not say the port 8080" in doubt.cause for doubt in made.doubts)
    assert not made.blocked
    assert propose(unit(), 9090, None, None, "adopted-1").blocked


def test_the_proxy_takes_the_place_of_a_service_behind_something_on_the_server() -> None:
    seen = unit(command=("/usr/bin/python3", "server.py", "127.0.0.1:8000"), listening=(Listening("127.0.0.1", 8000),))
    made = propose(seen, 8000, None, None, "adopted-1")
    assert (made.address, made.port, made.blocked) == ("127.0.0.1", 8000, False)
    assert made.procfile == f'web: python server.py "{ADDRESS}:$PORT"\n'
    (mind,) = [doubt for doubt in made.doubts if "listens on" in doubt.cause]
    assert mind.cause == (
        "shop.service listens on 127.0.0.1, and so will the server's proxy: our edge has no way to it."
    )
    assert not propose(seen, 8000, None, None, "adopted-1", stays=("127.0.0.1", 8000)).blocked
    blocked = propose(seen, 8000, None, None, "adopted-1", stays=("0.0.0.0", 8080))
    assert [doubt.cause for doubt in blocked.doubts if doubt.blocking] == [
        "shop.service listens on 127.0.0.1:8000, and the server's proxy takes requests for other environments on "
        "0.0.0.0:8080."
    ]


@pytest.mark.parametrize("addresses", [("::",), ("127.0.0.1", "10.0.0.5"), ("0.0.0.0", "::")])
def test_a_service_on_several_addresses_is_told_what_to_change(addresses: tuple[str, ...]) -> None:
    seen = unit(listening=tuple(Listening(each, 8080) for each in addresses))
    (doubt,) = [doubt for doubt in propose(seen, 8080, None, None, "adopted-1").doubts if doubt.blocking]
    assert doubt.remedy == "Let it listen on 0.0.0.0, or on 127.0.0.1 behind what is in front of it there."


@pytest.mark.parametrize(
    ("kernel", "blocked", "words"),
    [
        ("4.18.0-553.el8.x86_64", True, "Linux 4.18; a port goes over from one program to another since 5.6"),
        ("5.4.0-200-generic", True, "Linux 5.4"),
        ("5.10.0-28-amd64", False, "Linux 5.10; a unit can be started beside us since 6.1"),
        ("6.1.0-18-amd64", False, ""),
        ("10.0", False, ""),
    ],
)
def test_an_old_kernel_is_told_before_anything_is_done(kernel: str, blocked: bool, words: str) -> None:
    seen = parse("pettracker-ml.service", told(kernel=[kernel]))
    made = propose(seen, 8080, None, None, "adopted-1")
    about = [doubt for doubt in made.doubts if "Linux" in doubt.cause]
    assert made.blocked == blocked
    assert [doubt.blocking for doubt in about] == ([blocked] if words else [])
    assert all(words in doubt.cause and doubt.remedy for doubt in about)


def test_another_language_runs_by_absolute_commands() -> None:
    made = propose(unit(command=("/usr/bin/node", "a.js", "8080"), python=None), 8080, None, None, "adopted-1")
    assert made.procfile == 'web: /usr/bin/node a.js "$PORT"\n'
    assert any("absolute commands" in doubt.remedy for doubt in made.doubts)


def test_paths_into_the_folder_are_named() -> None:
    seen = unit(variables={"MODEL": f"{FOLDER}/model.bin"}, command=("/usr/bin/python3", f"{FOLDER}/server.py", "8080"))
    causes = [doubt.cause for doubt in propose(seen, 8080, None, None, "adopted-1").doubts]
    assert f"The command has paths into {FOLDER}." in causes
    assert f"MODEL leads into {FOLDER}." in causes


def test_secrets_are_told_by_name_and_by_passwords_in_addresses() -> None:
    assert all(is_secret(name, "x") for name in ("SECRET_KEY", "DB_PASSWORD", "api_token", "SENTRY_DSN"))
    assert is_secret("URL", "postgres://u:p@h/db")
    assert not is_secret("URL", "http://h/db")
    assert not is_secret("VERSION", "3")


def test_names_of_environments() -> None:
    assert name_of("pettracker_ml@2.service") == "pettracker-ml-2"
    assert PurePath(FOLDER).name == name_of("pettracker-ml.service")
