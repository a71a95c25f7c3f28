"""A small control plane for the command line's tests: the real gateway, on a real port, before toy handlers.

An operation is a list of frames; each look at it (DescribeOperations) shows the next one, the last one stays.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from beanpole.aws.call import AccessKey, Call, Service
from beanpole.aws.errors import AwsError
from beanpole.aws.gateway import UVICORN_OPTIONS, Gateway
from beanpole.aws.models import load_model
from beanpole.aws.request import Answer, Request
from beanpole.home import Home

KEY = AccessKey("AKTOY00000000000001", "toy/secret+of the=user", "admin")
REGION = "local-1"
STACKS = [f"64bit Amazon Linux 2023 v4.1.0 running Python {version}" for version in ("3.11", "3.12")]
MODELS = {name: load_model(name) for name in ("elasticbeanstalk", "beanpole")}
T0 = dt.datetime(2026, 11, 2, 12, 0, 0, tzinfo=dt.UTC)

STEPS = (
    ("forward/fetch", "Fetch", "Bring bundle and dependencies to 2 instances"),
    ("forward/activate-1", "Activate", "Start the new release and switch (batch 1 of 1: 2 instances)"),
)
BACK = (("return/activate-1", "Activate", "Go back (batch 1 of 1: 2 instances)"),)
INSTANCES = ("i-1", "i-2")


def step(key: str, kind: str, words: str, state: str) -> dict[str, Any]:
    """All its instances in the same state."""
    each = [{"InstanceId": name, "State": state, "Words": "", "Done": 0, "Total": 0} for name in INSTANCES]
    return {"Key": key, "Kind": kind, "Words": words, "State": state, "Instances": each}


def frame(phase: str, *states: str, steps: Any = STEPS, **more: Any) -> dict[str, Any]:
    return {"Phase": phase, "Steps": [step(*each, state) for each, state in zip(steps, states, strict=True)], **more}


def going_well() -> list[dict[str, Any]]:
    requests = {"Served": 1204, "Failed": 0}
    return [
        frame("forward", "running", "waiting"),
        frame("forward", "done", "running"),
        frame("done", "done", "done", Outcome="succeeded", Requests=requests),
    ]


BLAME = {
    "Instance": "i-2",
    "Stage": "Activate",
    "Command": "gunicorn application:application",
    "ExitStatus": 3,
    "LastLines": ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'xgboost'"],
    "Cause": "the process ended before it listened",
    "Remedy": "Add xgboost to requirements.txt.",
}


def going_wrong(outcome: str = "failed") -> list[dict[str, Any]]:
    failed = (*STEPS, *BACK)
    blame = BLAME if outcome == "failed" else {"Stage": "Update", "Cause": "it was aborted by request"}
    return [
        frame("forward", "done", "running"),
        frame("return", "done", "failed", "running", steps=failed, Error=blame),
        frame("done", "done", "failed", "done", steps=failed, Error=blame, Outcome=outcome),
    ]


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@dataclass
class ToyOperation:
    environment: str
    request_id: str
    kind: str
    version: str | None
    frames: list[dict[str, Any]]
    number: int
    seen: int = 0
    """How many looks there were."""


@dataclass
class Toy:
    """The state of the toy control plane. `calls` has every operation with its parameters, in order."""

    versions: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    operations: list[ToyOperation] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=going_well)
    """Of the next operation."""
    plan: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    """Of a preflight that is only looked at."""
    at_look: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What to do when an operation is looked at for the so-maniest time, before it answers."""
    forget_operations: bool = False
    """Operations are begun and nothing is known of them."""
    refuses: str = ""
    """The sentence with which rollbacks and aborts are refused."""
    logs: list[list[dict[str, str]]] = field(default_factory=list)
    differences: list[dict[str, str]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    location: str = "local"
    ours: dict[str, Callable[[Call], Any]] = field(default_factory=dict)
    """Further operations of our own service."""

    def add_environment(self, name: str, application: str = "shop", version: str | None = "v1", **more: Any) -> None:
        self.environments[name] = {
            "EnvironmentName": name,
            "EnvironmentId": f"e-{name}",
            "ApplicationName": application,
            "VersionLabel": version,
            "Status": "Ready",
            "HealthStatus": "Ok",
            "Health": "Green",
            "CNAME": f"{name}.localhost:8080",
            "SolutionStackName": STACKS[0],
            "DateUpdated": T0,
        } | more
        self.settings.setdefault(
            name, {("aws:autoscaling:asg", "MinSize"): "2", ("aws:autoscaling:asg", "MaxSize"): "2"}
        )
        self.versions.setdefault(application, {})

    def say(self, request_id: str, environment: str, message: str, severity: str = "INFO") -> None:
        at = T0 + dt.timedelta(milliseconds=len(self.events))
        self.events.append(
            {
                "EventDate": at,
                "Message": message,
                "Severity": severity,
                "EnvironmentName": environment,
                "RequestId": request_id,
            }
        )

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def begin(self, call: Call, name: str, kind: str, version: str | None) -> dict[str, Any]:
        if self.environments[name]["Status"] != "Ready":
            raise AwsError(
                "InvalidParameterValue",
                f"Environment named {name} is in an invalid state for this operation. Must be Ready.",
            )
        number = len(self.operations) + 1
        self.operations.append(ToyOperation(name, call.request_id, kind, version, self.frames, number))
        self.environments[name]["Status"] = "Updating"
        self.say(call.request_id, name, f"{kind} is starting.")
        return self.environments[name]

    def handlers(self) -> dict[str, dict[str, Any]]:
        of_beanstalk = {
            "CreateStorageLocation": lambda call: {"S3Bucket": "toys"},
            "ListAvailableSolutionStacks": lambda call: {"SolutionStacks": STACKS},
            "DescribeApplicationVersions": self._describe_versions,
            "CreateApplicationVersion": self._create_version,
            "DeleteApplicationVersion": self._delete_version,
            "DescribeEnvironments": self._describe_environments,
            "DescribeConfigurationSettings": self._describe_settings,
            "CreateEnvironment": self._create,
            "UpdateEnvironment": self._update,
            "TerminateEnvironment": lambda call: self.begin(call, call.params["EnvironmentName"], "terminate", None),
            "AbortEnvironmentUpdate": self._abort,
            "DescribeEvents": self._describe_events,
            "DescribeEnvironmentHealth": self._health,
            "DescribeInstancesHealth": self._instances,
            "DescribeEnvironmentResources": self._resources,
        }
        of_ours = {
            "DescribeControlPlane": lambda call: {
                "Version": "0.1.0",
                "Region": REGION,
                "BalancerUrl": "http://127.0.0.1:8080",
            },
            "DescribeOperations": self._describe_operations,
            "PlanEnvironmentUpdate": self._plan,
            "DescribeReleases": self._releases,
            "DescribeHistory": self._history,
            "DescribeRequests": lambda call: {
                "Served": 12345,
                "Failed": 1,
                "PerInstance": [{"InstanceId": "i-1", "Served": 60, "Failed": 0}],
            },
            "PromoteEnvironment": self._promote,
            "RollbackEnvironment": self._rollback,
            "DescribeHosts": self._describe_hosts,
            "TailLogs": lambda call: {"Files": self.logs.pop(0) if len(self.logs) > 1 else (self.logs or [[]])[0]},
        }
        return {
            "elasticbeanstalk": {name: self._noted(handler) for name, handler in of_beanstalk.items()},
            "beanpole": {name: self._noted(handler) for name, handler in (of_ours | self.ours).items()},
        }

    def _noted(self, handler: Callable[[Call], Any]) -> Callable[[Call], Any]:
        def noted(call: Call) -> Any:
            self.calls.append((call.operation, call.params))
            return handler(call)

        return noted

    def _describe_hosts(self, call: Call) -> dict[str, Any]:
        names = call.params.get("Names")
        found = [each for each in self.hosts if not names or each["Name"] in names]
        return {"Hosts": found, "DefaultLocation": self.location}

    def _describe_versions(self, call: Call) -> dict[str, Any]:
        known = self.versions.get(call.params["ApplicationName"])
        if known is None:
            raise AwsError("InvalidParameterValue", f"No Application named '{call.params['ApplicationName']}' found.")
        return {"ApplicationVersions": list(reversed(known.values()))}

    def _create_version(self, call: Call) -> None:
        params = call.params
        application, label, source = params["ApplicationName"], params["VersionLabel"], params["SourceBundle"]
        if f"/{source['S3Bucket']}/{source['S3Key']}" not in self.objects:
            raise AwsError("InvalidParameterValue", f"There is no bundle {source['S3Key']}.")
        made = {"ApplicationName": application, "VersionLabel": label, "SourceBundle": source, "Status": "UNPROCESSED"}
        self.versions.setdefault(application, {})[label] = made

    def _delete_version(self, call: Call) -> None:
        del self.versions[call.params["ApplicationName"]][call.params["VersionLabel"]]

    def _describe_environments(self, call: Call) -> dict[str, Any]:
        names = call.params.get("EnvironmentNames")
        found = [each for name, each in self.environments.items() if not names or name in names]
        application = call.params.get("ApplicationName")
        return {"Environments": [each for each in found if application in (None, each["ApplicationName"])]}

    def _describe_settings(self, call: Call) -> dict[str, Any]:
        settings = self.settings[call.params["EnvironmentName"]]
        listed = [{"Namespace": ns, "OptionName": name, "Value": value} for (ns, name), value in settings.items()]
        return {"ConfigurationSettings": [{"OptionSettings": listed}]}

    def _create(self, call: Call) -> dict[str, Any]:
        params = call.params
        name = params["EnvironmentName"]
        self.add_environment(name, params["ApplicationName"], None, SolutionStackName=params["SolutionStackName"])
        return self.begin(call, name, "create", params["VersionLabel"])

    def _update(self, call: Call) -> dict[str, Any]:
        for each in call.params.get("OptionSettings", []):
            if each["OptionName"] == "Nonsense":
                raise AwsError("ConfigurationValidationException", "Configuration validation exception: Nonsense.")
        return self.begin(call, call.params["EnvironmentName"], "update", call.params.get("VersionLabel"))

    def _abort(self, call: Call) -> None:
        self._refuse()
        running = self.operations[-1]
        running.frames, running.seen = going_wrong("aborted"), 1

    def _describe_events(self, call: Call) -> dict[str, Any]:
        params = call.params
        found = [
            each
            for each in self.events
            if params.get("RequestId") in (None, each["RequestId"])
            and params.get("EnvironmentName") in (None, each["EnvironmentName"])
            and each["EventDate"] >= params.get("StartTime", T0)
        ]
        return {"Events": list(reversed(found))[: params.get("MaxRecords", 1000)]}

    def _describe_operations(self, call: Call) -> dict[str, Any]:
        params = call.params
        if self.forget_operations:
            return {"Operations": []}
        if "RequestId" not in params:
            return {"Operations": [self._shape(each) for each in reversed(self.operations)]}
        found = [each for each in self.operations if each.request_id == params["RequestId"]]
        for each in found:
            each.seen += 1
            act = self.at_look.pop(each.seen, None)
            if act is not None:
                act()
        return {"Operations": [self._shape(each) for each in found]}

    def _shape(self, found: ToyOperation) -> dict[str, Any]:
        now = found.frames[min(found.seen, len(found.frames)) - 1]
        environment = self.environments.get(found.environment, {})
        if now["Phase"] == "done" and environment.get("Status") != "Ready":
            environment["Status"] = "Ready"
            self.say(found.request_id, found.environment, "That was it.")
            if now["Outcome"] == "succeeded" and found.version is not None:
                environment["VersionLabel"] = found.version
        if now["Phase"] == "return" and found.seen == 2:
            self.say(
                found.request_id, found.environment, "Activate failed: the process ended before it listened.", "ERROR"
            )
        return {
            "OperationId": str(found.number),
            "EnvironmentName": found.environment,
            "Kind": found.kind,
            "Origin": "user",
            "RequestId": found.request_id,
            "Release": found.number + 6,
            "CreatedAt": T0,
            **({"FinishedAt": T0 + dt.timedelta(seconds=4.2)} if now["Phase"] == "done" else {}),
            **now,
        }

    def _refuse(self) -> None:
        if self.refuses:
            raise AwsError("InvalidParameterValue", self.refuses)

    def _promote(self, call: Call) -> dict[str, Any]:
        self._refuse()
        running = self.operations[-1]
        running.frames = going_well()
        return {"OperationId": str(running.number), "RequestId": running.request_id}

    def _rollback(self, call: Call) -> dict[str, Any]:
        self._refuse()
        name = call.params["EnvironmentName"]
        proposed = {
            "Release": call.params.get("ReleaseNumber", 3),
            "VersionLabel": "v0",
            "Differences": self.differences,
        }
        if call.params.get("DryRun"):
            return proposed | {"Plan": self.plan}
        self.begin(call, name, "rollback", "v0")
        return proposed | {"OperationId": str(len(self.operations))}

    def _plan(self, call: Call) -> dict[str, Any]:
        return {"Plan": self.plan} | ({"Findings": self.findings} if call.params.get("Preflight") else {})

    def _history(self, call: Call) -> dict[str, Any]:
        if "EnvironmentName" in call.params and call.params["EnvironmentName"] not in self.environments:
            raise AwsError("InvalidParameterValue", f"No Environment found for {call.params['EnvironmentName']}.")
        number = call.params.get("Number")
        return {"Entries": [each for each in self.history if number in (None, each["Number"])]}

    def _releases(self, call: Call) -> dict[str, Any]:
        return {
            "Releases": [
                {
                    "Number": 7,
                    "VersionLabel": "v1",
                    "Digest": "abcdef0123456789",
                    "CreatedAt": T0,
                    "PassedAt": T0,
                    "Current": True,
                },
                {"Number": 6, "VersionLabel": "v0", "Digest": "0123456789abcdef", "CreatedAt": T0, "Current": False},
            ]
        }

    def _health(self, call: Call) -> dict[str, Any]:
        return {
            "EnvironmentName": call.params["EnvironmentName"],
            "HealthStatus": "Warning",
            "Causes": ["1 of 2 is slow."],
        }

    def _instances(self, call: Call) -> dict[str, Any]:
        deployment = {"VersionLabel": "v1", "DeploymentId": 7, "Status": "Deployed", "DeploymentTime": T0}
        return {
            "InstanceHealthList": [
                {"InstanceId": "i-1", "HealthStatus": "Ok", "Causes": [], "LaunchedAt": T0, "Deployment": deployment},
                {"InstanceId": "i-2", "HealthStatus": "Warning", "Causes": ["Slow."], "LaunchedAt": T0},
            ]
        }

    def _resources(self, call: Call) -> dict[str, Any]:
        return {"EnvironmentResources": {"Instances": [{"Id": name} for name in INSTANCES]}}


def deployed_before(toy: Toy, folder: Path, **more: Any) -> None:
    """The environment shop-dev, and a folder that remembers it."""
    toy.add_environment("shop-dev", **more)
    path = folder / ".elasticbeanstalk/config.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("branch-defaults: {default: {environment: shop-dev}}\nglobal: {application_name: shop}\n")


class ToyObjects:
    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def operation(self, request: Request) -> tuple[str, dict[str, Any]]:
        return "PutObject", {}

    async def handle(self, call: Call, request: Request) -> Answer:
        self._objects[request.path.decode()] = await request.body.read(10**8)
        return Answer(200, {"ETag": '"toy"'})


class Served:
    """The toy behind its gateway, with a home that tells where it is. Can be stopped and started again."""

    def __init__(self, toy: Toy, root: Path) -> None:
        self.toy = toy
        self.home = Home(root)
        self.home.make()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        services = [Service(name, MODELS[name], handlers) for name, handlers in self.toy.handlers().items()]
        gateway = Gateway(services, lambda key: KEY if key == KEY.id else None, objects=ToyObjects(self.toy.objects))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(gateway, lifespan="off", log_level="error", **UVICORN_OPTIONS))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()
        self.home.lock()
        self.home.state.write_text(json.dumps({"pid": os.getpid(), "api": self.url, "region": REGION}))
        self.home.credentials.write_text(
            f"[default]\naws_access_key_id = {KEY.id}\naws_secret_access_key = {KEY.secret}\n"
        )

    def begin_to_stop(self) -> None:
        """Answer what is under way, and accept nothing more."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Nobody listens, nobody holds the lock, nothing says where it was."""
        self.begin_to_stop()
        self._thread.join(timeout=10)
        self._listener.close()
        self.home.state.unlink()
        self.home.unlock()
