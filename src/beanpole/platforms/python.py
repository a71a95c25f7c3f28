"""What a bundle is on a Python platform: its processes, where `web` listens, and the requirements to install.

A Procfile decides the processes; without one, gunicorn serves what WSGIPath names. Dependencies come from the first of
requirements.txt, Pipfile.lock, Pipfile and pyproject.toml, in the platform's documented order (the last is ours).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.platforms import pipfile, procfile, wsgi
from beanpole.platforms.pipfile import UnreadableError
from beanpole.platforms.ports import Port, port_of
from beanpole.platforms.problem import Problem
from beanpole.platforms.procfile import Process
from beanpole.platforms.requirements import Requirements, closure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beanpole.platforms.bundle import Bundle

GUNICORN = "gunicorn>=21.2"
"""What is installed where a process starts gunicorn and no requirement names it; older ones fail on Python 3.12."""

GUNICORN_FILE = "gunicorn.conf.py"
"""Read by gunicorn from the folder it starts in; it may name another port."""

_LISTS: tuple[tuple[str, Callable[[str], list[str]] | None], ...] = (
    ("requirements.txt", None),
    ("Pipfile.lock", pipfile.lock_lines),
    ("Pipfile", pipfile.pipfile_lines),
    ("pyproject.toml", pipfile.project_lines),
)
"""Files that list dependencies, first one wins, and what makes requirement lines of them."""

_USES_GUNICORN = re.compile(r"(^|[\s;&|/\"'])gunicorn(?=[\s\"']|$)")
_IGNORED_AT_TOP = frozenset({"__MACOSX", ".DS_Store", ".git", ".gitignore", ".ebignore", ".elasticbeanstalk"})


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`aws:elasticbeanstalk:container:python`. A number of 0 means 1, as the platform takes it."""

    wsgi_path: str = wsgi.DEFAULT
    processes: int = 1
    threads: int = 15


@dataclass(frozen=True, slots=True)
class Application:
    """`generated` says that the processes are the platform's default, not a Procfile's. `port` is about `web`."""

    processes: tuple[Process, ...]
    requirements: Requirements
    port: Port
    generated: bool


def read(bundle: Bundle, options: ServerOptions, *, web_required: bool = True) -> Application | Problem:
    """The application in a bundle, or why there is none and what to do about it."""
    requirements = _listed(bundle)
    if isinstance(requirements, Problem):
        return requirements
    generated = "Procfile" not in bundle.files
    if generated:
        processes = _default(bundle, options, requirements)
    else:
        text = bundle.text("Procfile")
        if text is None:
            return Problem("Procfile is not a text file in UTF-8.", "Save it as UTF-8.", "Procfile")
        processes = procfile.parse(text, web_required=web_required)
    if isinstance(processes, Problem):
        return processes
    requirements = _with_server(requirements, (process.command for process in processes))
    return Application(processes, requirements, _port(bundle, processes), generated)


def requirements_of(bundle: Bundle, commands: Iterable[str]) -> Requirements | Problem:
    """What has to be installed for these commands of the bundle: the same as `read` finds, when only that is wanted."""
    requirements = _listed(bundle)
    return requirements if isinstance(requirements, Problem) else _with_server(requirements, commands)


def _with_server(requirements: Requirements, commands: Iterable[str]) -> Requirements:
    if "gunicorn" in requirements.names or not any(_USES_GUNICORN.search(command) for command in commands):
        return requirements
    return requirements.adding(GUNICORN)


def _listed(bundle: Bundle) -> Requirements | Problem:
    """The closure of what the bundle lists; empty where no file lists anything."""
    for path, lines in _LISTS:
        if path not in bundle.files:
            continue
        if lines is None:
            return closure(bundle, path)
        text = bundle.text(path)
        try:
            if text is None:
                raise UnreadableError("not a text in UTF-8")
            return closure(bundle, f"{path}.txt", "".join(f"{line}\n" for line in lines(text)))
        except UnreadableError as error:
            remedy = f"Correct {path}, or add a requirements.txt with the packages that the application needs."
            return Problem(f"{path} cannot be used: {error}.", remedy, path)
    return Requirements()


def default_command(target: wsgi.Target, options: ServerOptions) -> str:
    """How the platform serves a WSGI application: on the instance's own address and on the port that it is given."""
    workers, threads = max(options.processes, 1), max(options.threads, 1)
    bind = '"${BEANPOLE_ADDRESS:-127.0.0.1}:$PORT"'
    return f"gunicorn --bind {bind} --workers {workers} --threads {threads} {shlex.quote(str(target))}"


def _default(bundle: Bundle, options: ServerOptions, requirements: Requirements) -> tuple[Process, ...] | Problem:
    target = wsgi.parse(options.wsgi_path)
    if target is None:
        message = f"WSGIPath is {options.wsgi_path!r}, which names no Python module."
        return Problem(message, "Set it as `module:object`, for example `project.wsgi:application`.")
    if not target.is_in(bundle.files) and not _may_be_installed(options, requirements):
        return _nothing_to_start(bundle, target)
    return (Process(procfile.WEB, default_command(target, options)),)


def _may_be_installed(options: ServerOptions, requirements: Requirements) -> bool:
    """Whether the module can come from a local project, whose layout is known to its build tool only."""
    return options.wsgi_path != wsgi.DEFAULT and bool(requirements.members)


def _nothing_to_start(bundle: Bundle, target: wsgi.Target) -> Problem:
    top = {path.partition("/")[0] for path in bundle.files} - _IGNORED_AT_TOP
    folder = next(iter(top)) if len(top) == 1 else ""
    if folder and folder not in bundle.files:
        return Problem(
            f"Everything in the bundle lies in the folder {folder}/.",
            f"Zip what is in {folder}, not the folder: `cd {folder} && zip -r ../bundle.zip .`",
        )
    if misspelled := next((path for path in sorted(bundle.files) if path.lower() == "procfile"), None):
        return Problem(f"The bundle has {misspelled}, which is not read.", "Rename it to Procfile.", misspelled)
    message = f"The bundle has nothing to start: no Procfile, and no {target.files[0]} for WSGIPath {target.module!r}."
    hint = "Add a Procfile with a line such as `web: gunicorn app:app`, or set WSGIPath to your module"
    if found := next((name for name in ("app.py", "main.py", "wsgi.py") if name in bundle.files), None):
        return Problem(message, f"{hint}; the bundle has {found}.")
    modules = (wsgi.parse(path) for path in sorted(bundle.files) if path.endswith("/wsgi.py"))
    if likely := next((module for module in modules if module), None):
        return Problem(message, f"{hint}; {likely} looks like it.")
    return Problem(message, f"{hint}.")


def _port(bundle: Bundle, processes: tuple[Process, ...]) -> Port:
    web = next((process for process in processes if process.name == procfile.WEB), None)
    return port_of(web.command, configured=GUNICORN_FILE in bundle.files) if web else Port.unknown
