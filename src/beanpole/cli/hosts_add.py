"""Adding servers, step by step: the keys that they show, a person's consent, the report, and until they are ready."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beanpole.cli import hosts_words
from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.hosts_follow import followed

if TYPE_CHECKING:
    from beanpole.cli.client import Api
    from beanpole.cli.hosts_source import Candidate
    from beanpole.cli.terminal import Terminal


@dataclass(frozen=True)
class Choice:
    """What the command line says."""

    name: str | None = None
    labels: tuple[str, ...] = ()
    app_port: int | None = None
    accepted: tuple[str, ...] = ()
    force: bool = False
    yes: bool = False
    limit: float = 900.0


@dataclass
class Outcome:
    """How it went with one server; `report` is the API's, or ours where it never came to one."""

    name: str
    report: dict[str, Any]
    fingerprint: str | None = None
    state: str = "refused"

    def as_json(self) -> dict[str, Any]:
        findings = hosts_words.findings_json(self.report)
        return {"name": self.name, "outcome": self.state, "fingerprint": self.fingerprint, "findings": findings}


class Adding:
    def __init__(self, api: Api, terminal: Terminal, choice: Choice) -> None:
        self._api = api
        self._terminal = terminal
        self._choice = choice

    def run(self, found: list[Candidate]) -> None:
        """Raises CommandFailed unless all of them are ready in the end."""
        named = [(self._choice.name or each.name, each) for each in found]
        shown = self._api.beanpole("DescribeHostKeys", Addresses=[each.shape() for each in found])["HostKeys"]
        outcomes = [
            Outcome(name, _unreached(name, key), key.get("Fingerprint"))
            for (name, _), key in zip(named, shown, strict=True)
        ]
        ready = [at for at, key in enumerate(shown) if key.get("HostKey")]
        for at in ready:
            self._consent(named[at][0], named[at][1], shown[at])
        before = self._location()
        if ready:
            wanted = [self._wanted(*named[at], shown[at]) for at in ready]
            answer = self._api.beanpole("AddHosts", Hosts=wanted, Force=self._choice.force)
            for at, report in zip(ready, answer["Reports"], strict=True):
                outcomes[at].report = report
        self._follow([each for each in outcomes if not each.report["Blocked"]])
        self._conclude(outcomes, before)

    def _consent(self, name: str, candidate: Candidate, shown: dict[str, Any]) -> None:
        """Raises Misused or WrongState, and nothing was sent anywhere."""
        fingerprint, kind = shown["Fingerprint"], shown["HostKey"].split()[0]
        what = f"{name} ({candidate.address}) shows the host key {fingerprint} ({kind})"
        if self._choice.accepted:
            if fingerprint not in self._choice.accepted:
                raise WrongState(
                    f"{what}, which is none of those that --accept-host-key names. Nothing was added.",
                    "Compare it with the server's own: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there.",
                )
        elif self._choice.yes:
            self._terminal.say(f"{what}: pinned.")
        elif not self._terminal.asks:
            raise Misused(
                f"{what}, and nobody is here to compare it.", f"Say --accept-host-key {fingerprint}, or --yes."
            )
        elif not self._terminal.confirm(f"{what}. Is that the server's own?", default=False):
            raise WrongState("Nothing was added.")

    def _wanted(self, name: str, candidate: Candidate, shown: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {"Name": name, "Address": candidate.shape(), "HostKey": shown["HostKey"]}
        if self._choice.labels:
            wanted["Labels"] = list(self._choice.labels)
        if self._choice.app_port is not None:
            wanted["AppPort"] = self._choice.app_port
        return wanted

    def _follow(self, begun: list[Outcome]) -> None:
        until = time.monotonic() + self._choice.limit
        for each in begun:
            try:
                followed(self._api, self._terminal, each.name, until, _is_ready)
            except CommandFailed as failed:
                each.state = "failed"
                each.report = _report(each.name, failed.cause.removeprefix(f"{each.name}: "), failed.remedy)
            else:
                each.state = "ready"

    def _conclude(self, outcomes: list[Outcome], before: str) -> None:
        terminal = self._terminal
        after = self._location()
        terminal.result({"hosts": [each.as_json() for each in outcomes], "default_location": after})
        bad = [each for each in outcomes if each.state != "ready"]
        alone = len(outcomes) == 1 and len(hosts_words.blocking(outcomes[0].report)) == 1
        for each in outcomes:
            if alone and bad:
                continue  # it is the error itself
            terminal.say(f"{each.name}: {'ready' if each.state == 'ready' else 'not added'}")
            for line in hosts_words.finding_lines(each.report):
                terminal.say(f"  {line}")
        if after != before:
            terminal.say(
                "New environments live on these servers from now on; `beanpole hosts default local` changes that."
            )
        if bad and alone:
            (finding,) = hosts_words.blocking(bad[0].report)
            raise CommandFailed(f"{bad[0].name}: {finding['Cause'].rstrip('.')}.", finding.get("Remedy", ""))
        if bad:
            names = ", ".join(each.name for each in bad)
            what = "was" if len(outcomes) == 1 else f"of {len(outcomes)} hosts {'was' if len(bad) == 1 else 'were'}"
            raise CommandFailed(
                f"{names} {what} not added." if len(outcomes) == 1 else f"{len(bad)} {what} not added: {names}.",
                "Remove what blocks, then say the same again: what is ready stays.",
            )

    def _location(self) -> str:
        return str(self._api.beanpole("DescribeHosts")["DefaultLocation"])


def _is_ready(host: dict[str, Any] | None) -> bool:
    return host is not None and host["State"] == "ready"


def _unreached(name: str, key: dict[str, Any]) -> dict[str, Any]:
    return _report(name, key.get("Cause", ""), key.get("Remedy", ""))


def _report(name: str, cause: str, remedy: str) -> dict[str, Any]:
    finding = {"Code": "unreachable", "Severity": "blocking", "Cause": cause, "Remedy": remedy}
    return {"Name": name, "Blocked": True, "Findings": [finding]}
