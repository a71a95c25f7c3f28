"""What a bundle is: its processes, its port, what is installed, and what is said when there is nothing to run."""

from __future__ import annotations

import hashlib
import json

import pytest

from beanpole.platforms import wsgi
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.ports import Port, port_of
from beanpole.platforms.problem import Problem
from beanpole.platforms.procfile import Process
from beanpole.platforms.python import Application, ServerOptions, read, requirements_of
from beanpole.platforms.requirements import ADDED

pytestmark = pytest.mark.pure


def bundle(files: dict[str, str]) -> Bundle:
    contents = {path: text.encode() for path, text in files.items()}
    return Bundle({path: hashlib.sha256(text).hexdigest() for path, text in contents.items()}, contents.__getitem__)


def application(files: dict[str, str], **options: object) -> Application:
    found = read(bundle(files), ServerOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, Application), found
    return found


def problem(files: dict[str, str], **options: object) -> Problem:
    found = read(bundle(files), ServerOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, Problem), found
    assert found.remedy
    return found


def listed(files: dict[str, str]) -> str:
    """The text that the packages are resolved from, without what the platform adds."""
    found = application({"Procfile": "web: python app.py", **files}).requirements
    return "".join(text for path, text in found.texts if path in found.sources and path != ADDED)


# -- processes -----------------------------------------------------------------------------------------------------


def test_a_procfile_decides() -> None:
    found = application({"Procfile": "web: uvicorn a:b --port $PORT\nworker: python w.py\n", "application.py": ""})
    assert [process.name for process in found.processes] == ["web", "worker"]
    assert (found.port, found.generated) == (Port.follows, False)
    assert found.requirements.empty


def test_without_procfile_gunicorn_serves_application() -> None:
    found = application({"application.py": ""}, processes=2, threads=4)
    command = 'gunicorn --bind "${BEANPOLE_ADDRESS:-127.0.0.1}:$PORT" --workers 2 --threads 4 application:application'
    assert found.processes == (Process("web", command),)
    assert (found.port, found.generated) == (Port.follows, True)
    assert found.requirements.names == {"gunicorn"}


def test_the_documented_defaults_and_zero() -> None:
    assert " --workers 1 --threads 15 " in application({"application.py": ""}).processes[0].command
    assert (
        " --workers 1 --threads 1 " in application({"application.py": ""}, processes=0, threads=0).processes[0].command
    )


@pytest.mark.parametrize(
    ("path", "target", "file"),
    [
        ("application", "application:application", "application.py"),
        ("application.py", "application:application", "application.py"),
        ("app.py", "app:application", "app/__init__.py"),
        ("app:app", "app:app", "app.py"),
        ("project.wsgi", "project.wsgi:application", "project/wsgi.py"),
        ("project.wsgi:app", "project.wsgi:app", "project/wsgi.py"),
        ("project/wsgi.py", "project.wsgi:application", "project/wsgi.py"),
        ("./project/wsgi.py:app", "project.wsgi:app", "project/wsgi.py"),
        ("app:create_app()", "app:create_app()", "app.py"),
    ],
)
def test_forms_of_wsgi_path(path: str, target: str, file: str) -> None:
    assert str(wsgi.parse(path)) == target
    command = application({file: ""}, wsgi_path=path).processes[0].command
    assert command.endswith(target if "(" not in target else f"'{target}'")


@pytest.mark.parametrize("path", ["", "my app", "a-b", "../x", "a:", "a;rm -rf /", "a:b c", "/srv/app.py", "a..b"])
def test_no_wsgi_path(path: str) -> None:
    assert "names no Python module" in problem({"application.py": ""}, wsgi_path=path).message


def test_a_bad_procfile_is_named() -> None:
    found = problem({"Procfile": "worker: x\n", "application.py": ""})
    assert found.file == "Procfile"


def test_a_worker_tier_may_do_without_web() -> None:
    found = read(bundle({"Procfile": "worker: x\n"}), ServerOptions(), web_required=False)
    assert isinstance(found, Application)
    assert found.port == Port.unknown


def test_gunicorns_own_configuration_file_makes_the_port_unknown() -> None:
    files = {"Procfile": "web: gunicorn app:app", "gunicorn.conf.py": "bind = ':8000'"}
    assert application(files).port == Port.unknown


@pytest.mark.parametrize(
    ("files", "message", "remedy"),
    [
        ({"myapp/application.py": "", "myapp/requirements.txt": ""}, "in the folder myapp/", "cd myapp && zip"),
        ({"a/Procfile": "web: x", "__MACOSX/._a": "", ".DS_Store": ""}, "in the folder a/", "cd a && zip"),
        ({"app.py": "", "x/y": ""}, "no application.py", "the bundle has app.py"),
        ({"index.html": ""}, "nothing to start", "Add a Procfile"),
        ({"manage.py": "", "shop/wsgi.py": ""}, "nothing to start", "shop.wsgi:application looks like it"),
        ({"procfile": "web: x", "app.py": ""}, "procfile, which is not read", "Rename it to Procfile"),
    ],
)
def test_nothing_to_start(files: dict[str, str], message: str, remedy: str) -> None:
    found = problem(files)
    assert message in found.message
    assert remedy in found.remedy


def test_a_module_that_is_not_there_is_named() -> None:
    assert "project/wsgi.py" in problem({"app.py": ""}, wsgi_path="project.wsgi").message


def test_a_module_of_a_local_project_may_be_anywhere() -> None:
    files = {"requirements.txt": "-e .\n", "pyproject.toml": "", "src/project/wsgi.py": ""}
    assert application(files, wsgi_path="project.wsgi:app").generated


# -- requirements --------------------------------------------------------------------------------------------------

ALL = {
    "requirements.txt": "from-requirements\n",
    "Pipfile.lock": json.dumps({"default": {"from-lock": {"version": "==1"}}}),
    "Pipfile": '[packages]\nfrom-pipfile = "*"\n',
    "pyproject.toml": '[project]\nname = "x"\ndependencies = ["from-pyproject"]\n',
}


@pytest.mark.parametrize("position", range(4))
def test_the_first_list_in_the_platforms_order_counts(position: int) -> None:
    files = dict(list(ALL.items())[position:])
    wanted = ("from-requirements", "from-lock", "from-pipfile", "from-pyproject")[position]
    assert application({"Procfile": "web: x", **files}).requirements.names == {wanted}


def test_none_of_them() -> None:
    assert application({"Procfile": "web: x"}).requirements.empty


@pytest.mark.parametrize(
    ("requirements", "command", "added"),
    [
        ("flask\n", "gunicorn app:app", True),
        ("flask\n", "exec /x/bin/gunicorn app:app", True),
        ("flask\n", "python -m gunicorn app:app", True),
        ("flask\n", 'sh -c "gunicorn app:app"', True),
        ("flask\nGunicorn[gevent]==22\n", "gunicorn app:app", False),
        ("flask\n", "uvicorn app:app", False),
        ("flask\n", "./gunicorn-start.sh", False),
    ],
)
def test_gunicorn_is_added_where_it_is_started_and_not_listed(requirements: str, command: str, added: bool) -> None:
    files = {"requirements.txt": requirements, "Procfile": f"web: {command}\n"}
    found = application(files)
    assert (ADDED in found.requirements.sources) is added
    assert requirements_of(bundle(files), [command]) == found.requirements


def test_lock_of_pipenv_becomes_hashed_lines() -> None:
    lock = {
        "_meta": {"sources": [{"name": "pypi", "url": "https://a/simple"}, {"name": "own", "url": "https://b/simple"}]},
        "default": {
            "flask": {"version": "==3.0", "hashes": ["sha256:aa", "sha256:bb"], "markers": "python_version >= '3.8'"},
            "requests": {"version": "==2", "extras": ["socks"], "index": "pypi"},
            "tool": {"git": "https://c/tool.git", "ref": "abc", "subdirectory": "sub"},
            "wheel": {"file": "https://d/w.whl"},
        },
        "develop": {"pytest": {"version": "==8"}},
    }
    assert listed({"Pipfile.lock": json.dumps(lock)}).splitlines() == [
        "--extra-index-url https://b/simple",
        "flask==3.0 ; (python_version >= '3.8') --hash=sha256:aa --hash=sha256:bb",
        "requests[socks]==2",
        "tool @ git+https://c/tool.git@abc#subdirectory=sub",
        "wheel @ https://d/w.whl",
    ]


def test_pipfile_becomes_lines() -> None:
    text = """
[[source]]
name = "pypi"
url = "https://a/simple"
[packages]
flask = "*"
django = ">=4,<5"
requests = {version = "==2", extras = ["socks"], sys_platform = "== 'linux'"}
[dev-packages]
pytest = "*"
"""
    assert listed({"Pipfile": text}).splitlines() == [
        "flask",
        "django>=4,<5",
        "requests[socks]==2 ; sys_platform == 'linux'",
    ]


def test_a_local_project_in_a_pipfile_comes_along() -> None:
    files = {"Pipfile": '[packages]\nown = {path = "own", editable = true}\n', "own/setup.py": "", "Procfile": "web: x"}
    assert [path for path, _ in application(files).requirements.members] == ["own/setup.py"]


def test_pyproject_dependencies_and_indexes() -> None:
    text = '[project]\ndependencies = ["flask>=3", "six"]\n[[tool.uv.index]]\nname = "own"\nurl = "https://b/simple"\n'
    assert listed({"pyproject.toml": text}).splitlines() == ["--extra-index-url https://b/simple", "flask>=3", "six"]
    assert listed({"pyproject.toml": "[tool.black]\nline-length = 99\n"}) == ""


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("Pipfile.lock", "{", "not valid JSON"),
        ("Pipfile.lock", "[]", "not a table"),
        ("Pipfile.lock", '{"default": {"a": 1}}', "'a' is neither a version nor a table"),
        ("Pipfile.lock", '{"default": {"a": {"version": "==1\\nb"}}}', "line break"),
        ("Pipfile", "[packages", "not valid TOML"),
        ("Pipfile", 'packages = "x"', "not a table"),
        ("Pipfile", '[[source]]\nname = "x"', "no url"),
        ("pyproject.toml", '[project]\ndynamic = ["dependencies"]', "dynamic"),
        ("pyproject.toml", '[tool.poetry.dependencies]\nflask = "*"', "Poetry"),
        ("pyproject.toml", "[project]\ndependencies = [1]", "list of texts"),
        ("pyproject.toml", '[tool.uv.sources]\na = {path = "../a"}', "uv export"),
    ],
)
def test_lists_that_cannot_be_used(path: str, text: str, words: str) -> None:
    found = problem({path: text, "Procfile": "web: x"})
    assert words in found.message
    assert found.file == path


def test_a_requirement_file_that_leaves_the_bundle_stops_everything() -> None:
    assert "outside" in problem({"requirements.txt": "-r ../x.txt", "application.py": ""}).message


def test_the_default_command_follows_its_port() -> None:
    assert port_of(application({"application.py": ""}).processes[0].command) == Port.follows
