"""`beanpole hosts` and `beanpole ssh`: what is asked of the API, what is said, how it ends. The API is a toy."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from toy_api import T0, Run, Served, Toy

from beanpole.aws.call import Call
from beanpole.cli import hosts_follow, hosts_words
from beanpole.cli.errors import Misused
from beanpole.cli.hosts_source import Source, names_of
from beanpole.cli.ssh_words import as_application, words_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6mQ9XkM0yB3w8m0kqkD0s2O6kq1v2v3v4v5v6v7v8v"
FINGERPRINT = "SHA256:abc"
GIB = 2**30


def host(name: str = "web1", **more: Any) -> dict[str, Any]:
    return {
        "HostId": f"h-{name}",
        "Name": name,
        "Address": {"Host": "10.0.0.5", "User": "admin", "Port": 22, "Key": "/k"},
        "HostKey": KEY,
        "Fingerprint": FINGERPRINT,
        "AppPort": 8080,
        "Labels": ["gpu"],
        "State": "ready",
        "UnderWay": False,
        "Reachable": "yes",
        "Instances": [],
        "MemoryAvailable": 3 * GIB,
        "MemoryTotal": 4 * GIB,
        "DiskFree": 9 * GIB,
        "CheckedAt": T0,
        "AddedAt": T0,
    } | more


LOCAL_EDGE = {
    "Address": "127.0.0.1",
    "Port": 8080,
    "Domain": "localhost",
    "Url": "http://127.0.0.1:8080",
    "Leads": True,
}


def finding(code: str, severity: str = "blocking") -> dict[str, str]:
    return {"Code": code, "Severity": severity, "Cause": f"cause of {code}", "Remedy": f"remedy of {code}"}


class Servers:
    """The toy's servers: each that is added becomes what `reports` says."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self.findings: dict[str, list[dict[str, str]]] = {}
        self.left: str | None = None
        self.edges = [LOCAL_EDGE]
        toy.ours = {
            "DescribeHostKeys": self._keys,
            "AddHosts": self._add,
            "CheckHosts": lambda call: {"Reports": [self._report(each["Name"]) for each in toy.hosts]},
            "RemoveHost": self._remove,
            "SetDefaultLocation": self._set,
            "DescribeEdges": lambda call: {"Edges": self.edges},
            "MoveEdge": self._move,
            "EndFormerEdges": self._end,
        }

    def _keys(self, call: Call) -> dict[str, Any]:
        silent = {"Cause": "10.0.0.9 did not answer", "Remedy": "Check the address."}
        shown = {"HostKey": KEY, "Fingerprint": FINGERPRINT}
        return {"HostKeys": [silent if each["Host"] == "10.0.0.9" else shown for each in call.params["Addresses"]]}

    def _report(self, name: str) -> dict[str, Any]:
        found = self.findings.get(name, [])
        facts = {
            "System": "Debian GNU/Linux 12",
            "Architecture": "x86_64",
            "Cpus": 2,
            "MemoryAvailable": 3 * GIB,
            "MemoryTotal": 4 * GIB,
            "DiskFree": 9 * GIB,
            "DiskTotal": 10 * GIB,
            "Python": "3.11.2",
            "Ports": [{"Address": "0.0.0.0", "Port": 80, "Process": "nginx", "Unit": "nginx.service"}],
            "Services": [{"Unit": "nginx.service", "User": "www-data", "Command": "/usr/sbin/nginx"}],
        }
        blocked = any(each["Severity"] == "blocking" for each in found)
        return {"Name": name, "Blocked": blocked, "Findings": found, "Facts": facts}

    def _add(self, call: Call) -> dict[str, Any]:
        reports = [self._report(each["Name"]) for each in call.params["Hosts"]]
        self.toy.hosts += [host(each["Name"]) for each in reports if not each["Blocked"]]
        self.toy.location = "ssh" if self.toy.hosts else self.toy.location
        return {"Reports": reports}

    def _remove(self, call: Call) -> dict[str, Any]:
        self.toy.hosts = [each for each in self.toy.hosts if each["Name"] != call.params["Name"]]
        return {"Left": self.left}

    def _set(self, call: Call) -> None:
        self.toy.location = call.params["Location"]

    def _move(self, call: Call) -> dict[str, Any]:
        name, domain = call.params.get("Name"), call.params.get("Domain", "localhost")
        there = LOCAL_EDGE | ({"Name": name, "Url": "http://10.0.0.5:80", "Port": 80, "Domain": domain} if name else {})
        self.edges = [there, *({**each, "Leads": False} for each in self.edges)]
        return {"Edge": there}

    def _end(self, call: Call) -> dict[str, Any]:
        self.edges = self.edges[:1]
        return {"Cut": 2}


@pytest.fixture
def servers(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Servers:
    monkeypatch.setattr(hosts_follow, "POLL", 0.01)
    return Servers(toy)


@pytest.fixture
def run(servers: Servers, served: Served, run: Run) -> Run:
    return run


def test_a_person_is_shown_the_host_key_and_asked(toy: Toy, servers: Servers, served: Served, at_terminal: Run) -> None:
    done = at_terminal("hosts", "add", "admin@10.0.0.5", "--name", "web1", "--label", "gpu,big", types="y\n")
    assert done.status == 0, done
    assert (
        f"web1 (admin@10.0.0.5) shows the host key {FINGERPRINT} (ssh-ed25519). Is that the server's own?" in done.out
    )
    assert "New environments live on these servers from now on" in done.out
    (call,) = toy.called("AddHosts")
    (wanted,) = call["Hosts"]
    assert (wanted["HostKey"], wanted["Labels"], wanted["Address"]["User"]) == (KEY, ["gpu", "big"], "admin")
    no = at_terminal("hosts", "add", "admin@10.0.0.6", types="n\n")
    assert (no.status, "Nothing was added." in no.out) == (3, True)
    assert len(toy.called("AddHosts")) == 1


def test_nobody_there_to_ask(toy: Toy, run: Run) -> None:
    done = run("hosts", "add", "admin@10.0.0.5")
    assert done.status == 2
    assert f"Remedy: Say --accept-host-key {FINGERPRINT}, or --yes." in done.err
    assert run("hosts", "add", "admin@10.0.0.5", "--accept-host-key", "SHA256:other").status == 3
    assert toy.called("AddHosts") == []
    assert run("hosts", "add", "admin@10.0.0.5", "--accept-host-key", FINGERPRINT).status == 0


def test_one_fault_is_the_error_and_several_are_a_report(servers: Servers, run: Run) -> None:
    servers.findings = {"web1": [finding("python-old"), finding("swap", "warning")]}
    one = run("hosts", "add", "admin@10.0.0.5", "--name", "web1", "--yes")
    assert one.status == 1
    assert one.err == "Error: web1: cause of python-old.\nRemedy: remedy of python-old\n"
    servers.findings["web1"].append(finding("disk-full"))
    two = run("hosts", "add", "admin@10.0.0.5", "--name", "web1", "--yes")
    assert two.out.splitlines()[1:] == [
        "web1: not added",
        "  blocks: cause of python-old",
        "    remedy: remedy of python-old",
        "  warning: cause of swap",
        "    remedy: remedy of swap",
        "  blocks: cause of disk-full",
        "    remedy: remedy of disk-full",
    ]
    assert two.err.startswith("Error: web1 was not added.\n")


def test_some_of_several(toy: Toy, servers: Servers, run: Run) -> None:
    done = run("hosts", "add", "admin@10.0.0.5", "admin@10.0.0.9", "--yes", "--json")
    assert done.status == 1
    outcomes = {each["name"]: each["outcome"] for each in done.json["hosts"]}
    assert outcomes == {"10.0.0.5": "ready", "10.0.0.9": "refused"}
    assert "Error: 1 of 2 hosts was not added: 10.0.0.9." in done.err
    assert [each["Name"] for each in toy.called("AddHosts")[0]["Hosts"]] == ["10.0.0.5"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No host was named."),
        (("admin@10.0.0.256",), "is neither a host's name nor an IP address"),
        (("a", "b", "--name", "x"), "--name names one host."),
        (("a", "--inventory", "f"), "Hosts come from words, from an SSH configuration or from an inventory."),
        (("a", "--group", "web"), "--group is a group of an inventory."),
        (("--ssh-config", "/nowhere/config"), "cannot be read"),
        (("a", "--jump", "x:y"), "the port of 'x:y' is no number"),
    ],
)
def test_wrong_words(toy: Toy, run: Run, words: tuple[str, ...], said: str) -> None:
    done = run("hosts", "add", *words, "--yes")
    assert (done.status, said in done.err) == (2, True), done.err
    assert toy.calls == []


def test_the_list_and_a_check(toy: Toy, servers: Servers, run: Run) -> None:
    assert "No hosts: `beanpole hosts add` adds one." in run("hosts", "list").out
    there = [{"InstanceId": "i-1", "EnvironmentName": "shop-dev"}]
    toy.hosts = [host(Instances=there), host("web2", State="joining", Reachable="unknown", ReachableWords="no answer")]
    listed = run("hosts", "list")
    assert [line.split()[:6] for line in listed.out.splitlines()[1:3]] == [
        ["web1", "admin@10.0.0.5", "gpu", "8080", "ready", "yes"],
        ["web2", "admin@10.0.0.5", "gpu", "8080", "joining", "(cut"],
    ]
    assert "1 (shop-dev)" in listed.out
    assert "web2: no answer" in listed.err
    assert run("hosts", "list", "--json").json["hosts"][0]["instances"] == [
        {"instance": "i-1", "environment": "shop-dev"}
    ]
    good = run("hosts", "check")
    assert (good.status, "web1: ok" in good.out, "ports in use: 80 (nginx.service)" in good.out) == (0, True, True)
    servers.findings = {"web2": [finding("clock")]}
    bad = run("hosts", "check", "--json")
    assert bad.status == 1
    assert [each["blocked"] for each in bad.json["hosts"]] == [False, True]
    assert bad.json["hosts"][0]["facts"]["memory_available"] == 3 * GIB
    unknown = run("hosts", "check", "web3")
    assert (unknown.status, "There is no host web3." in unknown.err) == (3, True)


def test_a_server_goes_when_its_name_is_typed(toy: Toy, servers: Servers, run: Run, at_terminal: Run) -> None:
    toy.hosts = [host(), host("web2")]
    assert run("hosts", "remove", "web1").status == 2
    assert at_terminal("hosts", "remove", "web1", types="web2\n").status == 2
    assert toy.called("RemoveHost") == []
    assert at_terminal("hosts", "remove", "web1", "--purge", types="web1\n").status == 0
    assert toy.called("RemoveHost") == [{"Name": "web1", "Purge": True, "Force": False}]
    servers.left = "What is there stays."
    done = run("hosts", "remove", "web2", "--yes", "--force", "--json")
    assert (done.status, done.json) == (0, {"name": "web2", "outcome": "forgotten", "left": "What is there stays."})


def test_where_new_environments_live(toy: Toy, run: Run) -> None:
    assert "New environments live on these servers." in run("hosts", "default", "ssh").out
    assert toy.location == "ssh"
    assert run("hosts", "default", "moon").status == 2


def test_deploy_on_a_label_or_here(toy: Toy, run: Run, shop: Path) -> None:
    assert run("deploy", "--on", "gpu", "--on", "big", "--yes").status == 0
    settings = {each["OptionName"]: each["Value"] for each in toy.called("CreateEnvironment")[0]["OptionSettings"]}
    assert (settings["Location"], settings["Labels"]) == ("ssh", "gpu,big")
    both = run("deploy", "--on", "gpu", "--local")
    assert (both.status, "--on and --local contradict each other." in both.err) == (2, True)


# Pure


def test_names_of_an_ssh_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text('Host web1 "web 2"\n  User x\nHost *.example !a\nhost=db\nMatch all\n')
    assert names_of(config) == ["web1", "web 2", "db"]


def test_a_group_of_an_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[web]\nweb1 ansible_user=admin\n[db]\ndb1 ansible_user=admin\n")
    assert [each.name for each in Source(inventory=inventory, group="db").candidates()] == ["db1"]
    with pytest.raises(Misused, match="has no group cache"):
        Source(inventory=inventory, group="cache").candidates()


def test_a_key_is_named_by_its_whole_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from beanpole.cli.hosts_source import with_ways

    monkeypatch.chdir(tmp_path)
    (found,) = with_ways(Source(words=["admin@web1"]).candidates(), Path("key"), None)
    assert found.shape()["Key"] == str(tmp_path / "key")


def test_sizes_and_times() -> None:
    assert [hosts_words.size(each) for each in (None, 100 * 2**20, 3 * GIB)] == ["unknown", "100 MiB", "3.0 GiB"]
    seconds = (5, 90, 7200, 200000)
    assert [hosts_words.ago(T0 - dt.timedelta(seconds=each), T0) for each in seconds] == [
        "just now",
        "1 min ago",
        "2 h ago",
        "2 d ago",
    ]
    assert hosts_words.ago(None, T0) == "never"


def test_the_words_of_ssh(tmp_path: Path) -> None:
    known = tmp_path / "known"
    words = words_for(host(), known, ["uptime; id"], terminal=False)
    assert words[:3] == ["ssh", "-o", f"UserKnownHostsFile={known}"]
    assert {"HostKeyAlias=h-web1", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= set(words)
    assert words[-7:] == ["-p", "22", "-l", "admin", "--", "10.0.0.5", "uptime; id"]
    through = host(
        Address={"Host": "10.0.0.5", "User": "admin", "Port": 22, "Jump": "eve@gate:2200", "JumpKey": "/a b%"}
    )
    proxy = next(word for word in words_for(through, known, [], terminal=True) if word.startswith("ProxyCommand="))
    assert proxy == "ProxyCommand=ssh -i '/a b%%' -l eve -p 2200 -W [%h]:%p -- gate"
    plain = host(Address={"Host": "10.0.0.5", "User": "admin", "Jump": "a,b"})
    assert words_for(plain, known, [], terminal=False)[-8:] == [
        *("-J", "a,b", "-p", "22", "-l", "admin", "--", "10.0.0.5")
    ]
    line = as_application(host(), "i-1", "echo 'x'")
    assert line.startswith("sudo -n python3 -I -c ")


def test_ssh_on_this_machine_is_a_shell_in_the_instances_folder(toy: Toy, served: Served, run: Run) -> None:
    toy.add_environment("shop-dev")
    home = served.home.instances / "i-1"
    (home / "releases/d/app").mkdir(parents=True)
    (home / "releases/d/release.json").write_text(json.dumps({"environment": {"GREETING": "hi"}, "layer": "/layer"}))
    (home / "current").symlink_to("releases/d")
    done = run("ssh", "i-1", "-c", f"pwd > {home}/seen; exit 4")
    assert (done.status, (home / "seen").read_text()) == (4, f"{home}/releases/d/app\n")
    run("ssh", "i-1", "--app-env", "-c", f'echo "$GREETING $PATH" > {home}/seen')
    assert (home / "seen").read_text().startswith("hi /layer/bin:")
    several = run("ssh", "-e", "shop-dev")
    assert (several.status, "Name one: i-1, i-2." in several.err) == (2, True)
    unknown = run("ssh", "i-3")
    assert (unknown.status, "There is no instance and no host i-3." in unknown.err) == (3, True)


def test_the_edge_is_shown_moved_and_the_former_one_ended(toy: Toy, servers: Servers, run: Run) -> None:
    toy.hosts = [host("web1")]
    assert "this machine" in run("hosts", "edge").out
    moved = run("hosts", "edge", "web1", "--domain", "example.com")
    assert moved.status == 0, moved
    assert toy.called("MoveEdge") == [{"Name": "web1", "Domain": "example.com"}]
    assert "http://10.0.0.5:80" in moved.out
    assert "--end-former" in moved.out
    assert "Warning" not in moved.err
    ended = run("hosts", "edge", "--end-former")
    assert "2 requests had not ended and were cut" in ended.err
    assert "--end-former" not in ended.out
    assert json.loads(run("hosts", "edge", "--json").out)["edges"][0]["host"] == "web1"
    assert "names below localhost lead to whoever asks" in run("hosts", "edge", "web1").err
    assert run("hosts", "edge", "--local").status == 0
    assert toy.called("MoveEdge")[-1] == {}


def test_an_edge_that_makes_no_sense(run: Run) -> None:
    assert run("hosts", "edge", "web1", "--local").status == 2
    assert run("hosts", "edge", "--port", "80").status == 2
    assert run("hosts", "edge", "--force").status == 2
    assert "There is no host web9" in run("hosts", "edge", "web9").err
