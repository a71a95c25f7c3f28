"""A whole Beanpole whose instances live on the servers of a test bed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from beanpole_site import Settings, Site, app, wait_for
from bed import Server
from rig import answer_of

APP_PORT = 8080
JOIN_LIMIT = 300.0
"""Seconds for servers to be made ready: uv and Envoy go there, on a machine on which everybody shares two cores."""

ONE_BY_ONE: Settings = (
    ("aws:elasticbeanstalk:command", "DeploymentPolicy", "Rolling"),
    ("aws:elasticbeanstalk:command", "BatchSizeType", "Fixed"),
    ("aws:elasticbeanstalk:command", "BatchSize", "1"),
)
AT_ONCE: Settings = (("aws:elasticbeanstalk:command", "DeploymentPolicy", "AllAtOnce"),)


class ServersSite(Site):
    """Beside what a Site does: its servers."""

    servers: tuple[Server, ...] = ()

    def add(self, servers: Iterable[Server], *, app_port: int = APP_PORT, labels: Iterable[str] = ()) -> None:
        """They are ready when this returns."""
        added = tuple(servers)
        self.servers += added
        api = self.client("beanpole")
        new = [
            {
                "Name": server.name,
                "Address": {
                    "Host": server.address, "User": server.user, "Port": server.port, "Key": str(server.key),
                },
                "HostKey": server.host_key,
                "AppPort": app_port,
                "Labels": list(labels),
            }
            for server in added
        ]  # fmt: skip
        for report in api.add_hosts(Hosts=new)["Reports"]:
            assert not report["Blocked"], report
        wait_for("servers that are ready", lambda: self._ready({server.name for server in added}), JOIN_LIMIT)

    def remove(self, server: Server, *, purge: bool = True) -> None:
        api = self.client("beanpole")
        api.remove_host(Name=server.name, Purge=purge)
        wait_for(f"end of {server.name}", lambda: server.name not in self.hosts(), JOIN_LIMIT)
        self.servers = tuple(each for each in self.servers if each.name != server.name)

    def hosts(self) -> dict[str, dict[str, Any]]:
        return {host["Name"]: host for host in self.client("beanpole").describe_hosts()["Hosts"]}

    def shop(self, instances: int, version: str = "v1", **more: Any) -> dict[str, Any]:
        """The environment shop-dev with the probe application, one instance on each of so many servers."""
        created = self.create(
            app("probe", version), instances=instances, settings=(*ONE_BY_ONE, *more.get("settings", ()))
        )
        assert created["Outcome"] == "succeeded", (created, self.log())
        return created

    def answers(self, but: Collection[str] = ()) -> dict[str, str]:
        """What each server answers at its application port: the version, or what went wrong."""
        asked = [server for server in self.servers if server.name not in but]
        with ThreadPoolExecutor(max(len(asked), 1)) as threads:
            found = threads.map(lambda server: answer_of(server.address, APP_PORT), asked)
        return dict(zip([each.name for each in asked], found, strict=True))

    def versions(self) -> set[str]:
        """Those that servers with an instance answer with, past the edge."""
        return {answer for answer in self.answers().values() if not answer.startswith("404")}

    def instance_on(self, server: Server) -> str:
        """Id of the instance of shop-dev that lives there."""
        here = self.hosts()[server.name]["Instances"]
        return str(next(each["InstanceId"] for each in here))

    def rollback(self) -> dict[str, Any]:
        back = self.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
        return self.ended(request_id=back["ResponseMetadata"]["RequestId"])

    def scale(self, number: int) -> dict[str, Any]:
        group = "aws:autoscaling:asg"
        sizes = ((group, "MinSize", str(number)), (group, "MaxSize", str(number)))
        answer = self.client().update_environment(
            EnvironmentName="shop-dev",
            OptionSettings=[{"Namespace": space, "OptionName": name, "Value": value} for space, name, value in sizes],
        )
        return self.ended(request_id=answer["ResponseMetadata"]["RequestId"])

    def _ready(self, names: set[str]) -> bool:
        found = self.hosts()
        for name in names:
            assert not found[name].get("Cause"), found[name]
        return all(found[name]["State"] == "ready" for name in names)


@contextlib.contextmanager
def counted(site: Site, **more: Any) -> Iterator[None]:
    """200 requests a second for as long as the block lasts, of which none may fail."""
    with site.load(**({"path": "/version", "idle": 10} | more)) as run:
        yield
    report = run.report
    assert report["failed"] == 0, f"{report['failed']} of {report['sent']}: {report['kinds']} {report['failures'][:5]}"
    assert report["sent"] > 0
