"""Servers through the API: added when nothing blocks, looked at, let go; and where environments then live.

What is seen on the servers is a double here; tests/hosts looks at real ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import msgspec
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control import host_report
from beanpole.fleet.servers.facts import Disk, Facts, Holder, Python
from beanpole.fleet.servers.failure import LoginRefused, Unreachable
from beanpole.fleet.servers.look import Seen
from beanpole.operations.blame import StepFailed
from beanpole.operations.board import Board
from beanpole.operations.brought import brought
from beanpole.operations.steps.launch import launch
from beanpole.operations.work import Work
from beanpole.policies import plan
from beanpole.store import environments, hosts, instances, operations
from beanpole.store.instances import Endpoint, Instance

GIB = 2**30
FLEET = "beanpole:fleet"
GOOD = Facts(
    user="admin",
    uid=1000,
    sudo="yes",
    init="systemd",
    systemd=252,
    systemd_state="running",
    failed_units=(),
    pythons=(Python(path="/usr/bin/python3", version=(3, 11, 2), executable="/usr/bin/python3.11", venv=True),),
    libc="glibc",
    libc_version=(2, 36),
    architecture="x86_64",
    memory_total=4 * GIB,
    memory_available=3 * GIB,
    swap_total=GIB,
    disks=(Disk(path="/var/lib/beanpole", folder="/var/lib", mount_point="/", free=9 * GIB, inodes_free=10**6),),
    listening=(),
    services=(),
)


class World:
    """What a look at each server sees, by its address; a failure is raised."""

    def __init__(self) -> None:
        self.seen: dict[str, Facts | Exception] = {}

    def add(self, host: str, number: int, **facts: Any) -> None:
        own = {"machine_id": f"{number:032x}", "boot_id": f"{number:032x}", "host_name": host}
        self.seen[host] = msgspec.structs.replace(GOOD, **(own | facts))

    async def look(self, connection: Any) -> Seen:
        found = self.seen[connection.address.host]
        if isinstance(found, Exception):
            raise found
        return Seen(found, 0)

    async def reach(self, *_: Any) -> str:
        return "open"


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(host_report, "look", made.look)
    monkeypatch.setattr(host_report, "reach", made.reach)
    for number in range(1, 5):
        made.add(f"10.0.0.{number}", number)
    return made


@pytest.fixture
def api(site: ApiSite, world: World) -> Any:
    return site.client("beanpole")


def new(number: int, name: str = "", **more: Any) -> dict[str, Any]:
    host = f"10.0.0.{number}"
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{number:04d}"
    return {"Name": name or f"web{number}", "Address": {"Host": host, "User": "admin"}, "HostKey": key, **more}


def wait(look: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found


def added(api: Any, *news: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Reports, when all that was begun has ended."""
    reports: list[dict[str, Any]] = api.add_hosts(Hosts=list(news), **more)["Reports"]
    wait(lambda: not any(each["UnderWay"] for each in listed(api)))
    return reports


def listed(api: Any, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.describe_hosts(**params)["Hosts"]
    return found


def codes(report: dict[str, Any], severity: str = "blocking") -> list[str]:
    return [each["Code"] for each in report["Findings"] if each["Severity"] == severity]


def test_a_server_is_written_down_made_ready_and_told_of(site: ApiSite, api: Any) -> None:
    (report,) = added(api, new(1, Labels=["gpu", "big"], AppPort=8181))
    assert (report["Name"], report["Blocked"], report["Facts"]["Python"]) == ("web1", False, "3.11.2")
    (host,) = listed(api)
    about = {
        name: host[name] for name in ("Name", "Labels", "AppPort", "State", "MemoryAvailable", "DiskFree", "Instances")
    }
    assert about == {
        "Name": "web1",
        "Labels": ["gpu", "big"],
        "AppPort": 8181,
        "State": "ready",
        "MemoryAvailable": 3 * GIB,
        "DiskFree": 9 * GIB,
        "Instances": [],
    }
    assert host["Address"] == {"Host": "10.0.0.1", "User": "admin", "Port": 22}
    assert host["Fingerprint"].startswith("SHA256:")
    assert site.setup.installed == [("web1", False)]


def test_all_that_blocks_is_said_at_once_and_nothing_is_stored(site: ApiSite, world: World, api: Any) -> None:
    world.add("10.0.0.1", 1, sudo="password", pythons=())
    world.seen["10.0.0.2"] = LoginRefused("admin@10.0.0.2 refused the user admin", "Add your public key.")
    world.add("10.0.0.3", 3, holder=Holder(store="st-other", since="2026-01-01"))
    one, two, three, _ = added(api, new(1), new(2), new(3), new(4))
    assert codes(one) == ["sudo-password", "python-missing"]
    assert codes(two) == ["login-refused"]
    assert codes(three) == ["held"]
    assert [host["Name"] for host in listed(api)] == ["web4"]
    assert site.setup.installed == [("web4", False)]


def test_another_beanpoles_server_is_taken_over_with_force(site: ApiSite, world: World, api: Any) -> None:
    world.add("10.0.0.1", 1, holder=Holder(store="st-other"))
    (report,) = added(api, new(1), Force=True)
    assert codes(report, "note") == ["held"]
    assert site.setup.installed == [("web1", True)]


def test_two_names_for_one_server_are_refused(world: World, api: Any) -> None:
    world.add("10.0.0.2", 1)  # another address, the same machine
    one, two = added(api, new(1), new(2))
    assert (codes(one), codes(two)) == ([], ["same-host"])
    (later,) = added(api, new(2))
    assert codes(later) == ["same-host"]
    assert "web1" in later["Findings"][0]["Cause"]
    (same_address,) = added(api, new(1, "other"))
    assert codes(same_address)[0] == "known"
    (same_name,) = added(api, new(3, "web1"))
    assert codes(same_name) == ["known"]


def test_what_cannot_be_asked_is_refused_before_anything_is_looked_at(world: World, api: Any) -> None:
    world.seen.clear()
    for bad, words in (
        (new(1, "no name"), "'no name' is no name for a host"),
        (new(1, Labels=["a b"]), "'a b' is no label"),
        (new(1) | {"HostKey": "nonsense"}, "not a host key"),
        (new(1) | {"Address": {"Host": "10.0.0.256", "User": "admin"}}, "is neither a host's name nor an IP address"),
    ):
        code, message = refused(api.add_hosts, Hosts=[bad])
        assert code == "InvalidParameterValue"
        assert words in message
    assert "Two hosts are called web1" in refused(api.add_hosts, Hosts=[new(1), new(2, "web1")])[1]


def test_what_goes_on_is_seen_and_what_failed_is_told_and_goes_on_when_said_again(site: ApiSite, api: Any) -> None:
    site.setup.hold.clear()
    api.add_hosts(Hosts=[new(1)])
    host = wait(lambda: [each for each in listed(api) if each.get("Words")])[0]
    assert (host["State"], host["UnderWay"], host["Words"], host["Total"]) == ("joining", True, "sending uv", 2)
    site.setup.fail = True
    site.setup.hold.set()
    host = wait(lambda: [each for each in listed(api) if not each["UnderWay"]])[0]
    assert (host["State"], host["Cause"], host["Remedy"]) == ("joining", "the disk broke", "Buy another one.")
    before = host["HostId"]
    assert api.describe_hosts()["DefaultLocation"] == "local"
    site.setup.fail = False
    added(api, new(1))
    (host,) = listed(api)
    assert (host["HostId"], host["State"], host.get("Cause")) == (before, "ready", None)
    assert api.describe_hosts()["DefaultLocation"] == "ssh"


def test_a_check_says_what_is_wrong_now_and_remembers_what_it_saw(world: World, api: Any) -> None:
    added(api, new(1), new(2))
    world.add("10.0.0.1", 1, memory_available=100 * 2**20)
    world.seen["10.0.0.2"] = Unreachable("admin@10.0.0.2 did not answer", "Check the address.", "time-out")
    one, two = api.check_hosts()["Reports"]
    assert (codes(one), codes(two)) == (["memory"], ["unreachable"])
    assert [host["MemoryAvailable"] for host in listed(api)] == [100 * 2**20, 3 * GIB]
    assert [each["Name"] for each in api.check_hosts(Names=["web2"])["Reports"]] == ["web2"]
    assert refused(api.check_hosts, Names=["nope"])[1] == "No Host named 'nope' found. There are: web1, web2."


def on_host(site: ApiSite, environment: str, name: str, identifier: str = "i-1") -> None:
    with site.control.database.write() as db:
        host = hosts.named(db, name)
        assert host is not None
        instances.add(db, Instance(identifier, environment, "running", "127.0.0.9", 1, 0, host=host.id))


def alive(monkeypatch: pytest.MonkeyPatch) -> None:
    from beanpole.fleet.servers.connection import Connection

    monkeypatch.setattr(Connection, "alive", property(lambda self: True))


def test_a_server_with_instances_is_kept_unless_it_must_go(
    site: ApiSite, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive(monkeypatch)
    added(api, new(1))
    on_host(site, site.environment(), "web1")
    assert listed(api)[0]["Instances"] == [{"InstanceId": "i-1", "EnvironmentName": "shop-dev"}]
    code, message = refused(api.remove_host, Name="web1")
    assert code == "InvalidParameterValue"
    assert message.startswith("Host web1 has instances of shop-dev (i-1).")
    api.remove_host(Name="web1", Force=True, Purge=True)
    wait(lambda: not listed(api))
    assert site.setup.removed == [("web1", True)]
    told = [each["Message"] for each in site.client().describe_events(EnvironmentName="shop-dev")["Events"]]
    assert "Instance [i-1] was forgotten with its host web1, which was removed." in told


def test_a_server_that_is_gone_can_be_forgotten(site: ApiSite, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from beanpole.fleet.servers.connection import Connection

    async def nobody(_: Connection) -> None:
        raise Unreachable("admin@10.0.0.1 did not answer within 10 s", "Check the address.", "time-out")

    monkeypatch.setattr(Connection, "connect", nobody)
    added(api, new(1))
    (host,) = listed(api, Reach=True)
    assert (host["Reachable"], host["ReachableWords"]) == ("unknown", "admin@10.0.0.1 did not answer within 10 s")
    assert "cannot be reached" in refused(api.remove_host, Name="web1")[1]
    assert "/var/lib/beanpole" in api.remove_host(Name="web1", Force=True)["Left"]
    assert listed(api) == []
    assert site.setup.removed == []


# Where environments live


def create(site: ApiSite, name: str, *options: tuple[str, str, str]) -> Any:
    if "v1" not in [
        each["VersionLabel"] for each in site.client().describe_application_versions()["ApplicationVersions"]
    ]:
        site.version("v1")
    settings = [{"Namespace": ns, "OptionName": option, "Value": value} for ns, option, value in options]
    return site.client().create_environment(
        ApplicationName="shop",
        EnvironmentName=name,
        VersionLabel="v1",
        SolutionStackName=site.stack,
        OptionSettings=settings,
    )


def locations(site: ApiSite, name: str) -> list[str]:
    found = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName=name)
    listed = found["ConfigurationSettings"][0]["OptionSettings"]
    return [each["Value"] for each in listed if each["OptionName"] == "Location"]


def test_a_later_default_moves_no_environment(site: ApiSite, api: Any) -> None:
    create(site, "before")
    added(api, new(1))
    create(site, "after")
    create(site, "here", (FLEET, "Location", "local"))
    site.end_operations()
    assert [locations(site, name) for name in ("before", "after", "here")] == [["local"], ["ssh"], ["local"]]
    api.set_default_location(Location="local")
    site.client().update_environment(EnvironmentName="after", Description="still there")
    site.end_operations()
    assert locations(site, "after") == ["ssh"]


@pytest.mark.parametrize("how", ["value", "removal"])
def test_an_environment_cannot_move(site: ApiSite, api: Any, how: str) -> None:
    added(api, new(1))
    create(site, "shop-dev")
    site.end_operations()
    option = {"Namespace": FLEET, "OptionName": "Location"}
    change = {"OptionSettings": [option | {"Value": "local"}]} if how == "value" else {"OptionsToRemove": [option]}
    code, message = refused(site.client().update_environment, EnvironmentName="shop-dev", **change)
    assert code == "InvalidParameterValue"
    assert message == (
        "Environment named shop-dev has the location ssh, which cannot be changed to local. Create another environment."
    )


def test_more_instances_than_hosts_are_refused_before_anything_is_changed(site: ApiSite, api: Any) -> None:
    added(api, new(1, Labels=["gpu"]), new(2, Labels=["gpu"]), new(3))
    wanted = (
        (FLEET, "Labels", "gpu"),
        ("aws:autoscaling:asg", "MinSize", "5"),
        ("aws:autoscaling:asg", "MaxSize", "5"),
    )
    with pytest.raises(
        Exception, match=r"5 instances were asked for, and 2 hosts have the label gpu \(web1, web2\)"
    ) as no:
        create(site, "shop-dev", *wanted)
    assert "InvalidParameterValue" in str(no.value)
    assert site.client().describe_environments()["Environments"] == []
    create(site, "shop-dev", (FLEET, "Labels", "gpu"))
    site.end_operations()
    code, message = refused(
        site.client().update_environment,
        EnvironmentName="shop-dev",
        OptionSettings=[
            {"Namespace": "aws:autoscaling:asg", "OptionName": name, "Value": "3"} for name in ("MinSize", "MaxSize")
        ],
    )
    assert code == "InvalidParameterValue"
    assert message.startswith("3 instances were asked for, and 2 hosts have the label gpu (web1, web2).")
    assert site.client().describe_environments()["Environments"][0]["Status"] == "Ready"


def launched(site: ApiSite, told: list[str] | None = None) -> list[Instance]:
    """Carries out the Launch step of the operation that is open, slot by slot, and writes down what it says."""
    control = site.control
    operation = operations.claim(control.database, "test", 60_000)
    assert operation is not None
    with control.database.read() as db:
        environment = environments.find(db, operation.environment_id)
        release = brought(db, control.registry, operation.environment_id, operation.release)
    assert environment is not None
    step = next(each for each in plan.decode(operation.plan).steps if isinstance(each, plan.Launch))

    async def nothing(*_: object) -> None:
        pass

    def newcomer(taken: set[str]) -> tuple[str, str]:
        return f"i-{len(taken)}", f"127.0.0.{len(taken) + 2}"

    fleet, balancers = SimpleNamespace(launch=nothing, newcomer=newcomer), SimpleNamespace(apply=nothing)
    balancers.cname = control.balancers.cname
    parts: Any = SimpleNamespace(database=control.database, fleet=fleet, balancers=balancers, board=Board())
    for slot in step.slots:
        work = Work(parts, operation, environment, "forward", step, slot, "", release)
        asyncio.run(launch(work))
        if told is not None:
            told += [message for message, _ in work.events]
    with control.database.read() as db:
        return instances.listed(db, environment.id)


def test_each_instance_gets_a_server_of_its_own(site: ApiSite, api: Any) -> None:
    added(api, new(1), new(2, Labels=["gpu"]), new(3, Labels=["gpu"]))
    sizes = [("aws:autoscaling:asg", name, "2") for name in ("MinSize", "MaxSize")]
    create(site, "shop-dev", (FLEET, "Labels", "gpu"), *sizes)
    on = {each.host for each in launched(site)}
    assert on == {each["HostId"] for each in listed(api) if each["Labels"]}


def test_the_second_environment_of_a_server_is_told_who_gets_what_names_none(site: ApiSite, api: Any) -> None:
    added(api, new(1))
    create(site, "shop-dev")
    launched(site)
    site.end_operations()
    (host,) = listed(api)
    with site.control.database.write() as db:
        (first,) = environments.listed(db)
        hosts.set_catch_all(db, host["HostId"], first.id)
    create(site, "shop-new")
    told: list[str] = []
    launched(site, told)
    assert told[1:] == [
        "Host web1 is shared with the environment shop-dev, which gets all requests there that name no environment; "
        "shop-new gets those for shop-new.localhost."
    ]


def labelled(labels: str) -> dict[str, Any]:
    return {
        "EnvironmentName": "shop-dev",
        "OptionSettings": [{"Namespace": FLEET, "OptionName": "Labels", "Value": labels}],
    }


def test_other_labels_move_the_instances_to_servers_that_have_them(site: ApiSite, api: Any) -> None:
    added(api, new(1, Labels=["gpu"]), new(2, Labels=["gpu"]), new(3, Labels=["big"]), new(4, Labels=["big"]))
    sizes = [("aws:autoscaling:asg", name, "2") for name in ("MinSize", "MaxSize")]
    create(site, "shop-dev", (FLEET, "Labels", "gpu"), *sizes)
    before = launched(site)
    expire(site)
    site.end_operations()
    site.client().update_environment(**labelled("big"))
    told = [each["Message"] for each in site.client().describe_events(EnvironmentName="shop-dev")["Events"]]
    assert "Labels changes: all instances are replaced." in told
    now = {each.host for each in launched(site) if each not in before}
    assert now == {each["HostId"] for each in listed(api) if each["Labels"] == ["big"]}


def test_labels_that_the_servers_have_move_nobody(site: ApiSite, api: Any) -> None:
    added(api, new(1, Labels=["gpu", "big"]), new(2))
    create(site, "shop-dev", (FLEET, "Labels", "gpu"))
    launched(site)
    expire(site)
    site.end_operations()
    with site.control.database.write() as db:
        for each in instances.listed(db):
            digest = environments.releases(db, each.environment_id)[0].digest
            instances.put_endpoint(db, Endpoint(each.id, digest, "127.0.0.2", 1, "serving", 0, "{}"))
    site.client().update_environment(**labelled("big"))
    operation = operations.claim(site.control.database, "test", 60_000)
    assert operation is not None
    assert plan.decode(operation.plan).steps == ()


def test_labels_that_too_few_servers_have_are_refused(site: ApiSite, api: Any) -> None:
    added(api, new(1, Labels=["gpu"]), new(2, Labels=["gpu"]), new(3, Labels=["big"]))
    sizes = [("aws:autoscaling:asg", name, "2") for name in ("MinSize", "MaxSize")]
    create(site, "shop-dev", (FLEET, "Labels", "gpu"), *sizes)
    launched(site)
    expire(site)
    site.end_operations()
    code, message = refused(site.client().update_environment, **labelled("big"))
    assert code == "InvalidParameterValue"
    assert message == (
        "2 instances were asked for, and 1 host has the label big (web3). Add hosts with the label big "
        "(`beanpole hosts add`), or ask for fewer instances."
    )
    assert site.client().describe_environments()["Environments"][0]["Status"] == "Ready"


def expire(site: ApiSite) -> None:
    """Whoever claimed an operation has let it go."""
    operations.expire_leases_of(site.control.database, "test")


def test_a_server_that_was_let_go_meanwhile_fails_the_step(site: ApiSite, api: Any) -> None:
    added(api, new(1))
    create(site, "shop-dev")
    with site.control.database.write() as db:
        for host in hosts.listed(db):
            hosts.update(db, host.id, state="leaving")
    with pytest.raises(StepFailed, match="1 instance was asked for, and 0 of 1 hosts can take one; web1 is not ready"):
        launched(site)
    with site.control.database.read() as db:
        assert instances.listed(db) == []
