"""DescribeEnvironmentHealth and DescribeInstancesHealth, as botocore's parser gives them to a client."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.parsers
import pytest
from small_world import START, World

from beanpole.aws.call import Call, Caller
from beanpole.aws.errors import AwsError
from beanpole.aws.models import load_model
from beanpole.aws.xml import result_document
from beanpole.health.rules.status import STATUSES
from beanpole.services.elasticbeanstalk.health import Health
from beanpole.store import environments, instances
from beanpole.store.facts import identity

MODEL = load_model("elasticbeanstalk")
EB_ENVIRONMENT = ["HealthStatus", "Status", "Color", "Causes", "ApplicationMetrics", "InstancesHealth", "RefreshedAt"]
EB_INSTANCES = [
    "HealthStatus", "Color", "Causes", "ApplicationMetrics", "RefreshedAt", "LaunchedAt", "System", "Deployment",
    "AvailabilityZone", "InstanceType",
]  # fmt: skip
SYSTEM_TYPE = ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "")


class Service:
    """The handlers over a small world."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.collector = self.world.collector()
        control: Any = SimpleNamespace(database=self.world.database, identity=identity(self.world.database, "local-1"))
        self._health = Health(control, self.collector)

    def environment(self, **params: Any) -> dict[str, Any]:
        return self._ask("DescribeEnvironmentHealth", params)

    def instances(self, **params: Any) -> dict[str, Any]:
        return self._ask("DescribeInstancesHealth", params)

    def _ask(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        call = Call("elasticbeanstalk", operation, params, "r-1", Caller("AK", "jo", ""), "local-1", "http://127.0.0.1")
        handle = {
            "DescribeEnvironmentHealth": self._health.describe_environment,
            "DescribeInstancesHealth": self._health.describe_instances,
        }[operation]
        model = MODEL.operation_model(operation)
        body = result_document(model, handle(call), "r-1")
        parser = botocore.parsers.create_parser("query")
        found: dict[str, Any] = parser.parse({"status_code": 200, "headers": {}, "body": body}, model.output_shape)
        del found["ResponseMetadata"]
        return found


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def busy(world: World, env: str) -> None:
    for endpoint in world.balancer.pools[env]:
        tally = {"2xx": 3, "3xx": 0, "4xx": 1, "5xx": 0, "failed": 0, "latency_ms": [10, 20, 30, 1000]}
        world.balancer.requests.setdefault(str(int(START) + 9), {env: {}})[env][endpoint] = tally


def test_an_environment_with_all_that_eb_asks_for(service: Service) -> None:
    env = service.world.environment(instances_=2)
    busy(service.world, env)
    service.world.look(service.collector)
    found = service.environment(EnvironmentName="pets-env", AttributeNames=EB_ENVIRONMENT)
    assert found.pop("RefreshedAt").timestamp() == START + 10
    metrics = found.pop("ApplicationMetrics")
    assert metrics.pop("Latency") == {
        "P999": 1.0, "P99": 1.0, "P95": 1.0, "P90": 1.0, "P85": 1.0, "P75": 0.03, "P50": 0.02, "P10": 0.01
    }  # fmt: skip
    assert metrics == {
        "Duration": 10,
        "RequestCount": 8,
        "StatusCodes": {"Status2xx": 6, "Status3xx": 0, "Status4xx": 2, "Status5xx": 0},
    }
    assert found == {
        "EnvironmentName": "pets-env",
        "HealthStatus": "Ok",
        "Status": "Ready",
        "Color": "Green",
        "Causes": ["Insufficient request rate (8.0 requests/min) to determine application health."],
        "InstancesHealth": dict.fromkeys(STATUSES, 0) | {"Ok": 2},
    }


def test_the_instances_with_all_that_eb_asks_for(service: Service) -> None:
    env = service.world.environment()
    busy(service.world, env)
    service.world.look(service.collector)
    found = service.instances(EnvironmentName="pets-env", AttributeNames=EB_INSTANCES)
    assert found["RefreshedAt"].timestamp() == START + 10
    (instance,) = found["InstanceHealthList"]
    assert instance.pop("ApplicationMetrics")["RequestCount"] == 4
    assert instance.pop("LaunchedAt").timestamp() == START
    assert instance.pop("Deployment") == {
        "VersionLabel": "v1",
        "DeploymentId": 1,
        "Status": "Deployed",
        "DeploymentTime": found["RefreshedAt"].fromtimestamp(START, found["RefreshedAt"].tzinfo),
    }
    assert instance == {
        "InstanceId": next(iter(service.world.fleet.agents)),
        "HealthStatus": "Ok",
        "Color": "Green",
        "Causes": [],
        "System": {
            "CPUUtilization": {"User": 2.0, "Nice": 0.0, "System": 1.0, "Idle": 96.0, "IOWait": 1.0},
            "LoadAverage": [0.1, 0.2, 0.3],
        },
        "AvailabilityZone": "local-1a",
        "InstanceType": "local",
    }


def test_all_is_everything(service: Service) -> None:
    service.world.environment()
    service.world.look(service.collector)
    assert service.environment(EnvironmentName="pets-env", AttributeNames=["All"]).keys() == {
        "EnvironmentName",
        *EB_ENVIRONMENT,
    }
    (instance,) = service.instances(EnvironmentName="pets-env", AttributeNames=["All"])["InstanceHealthList"]
    assert instance.keys() == {"InstanceId", *EB_INSTANCES} - {"RefreshedAt"}


def test_without_attributes_only_names(service: Service) -> None:
    env = service.world.environment()
    service.world.look(service.collector)
    assert service.environment(EnvironmentId=env) == {"EnvironmentName": "pets-env"}
    instance = next(iter(service.world.fleet.agents))
    assert service.instances(EnvironmentId=env) == {"InstanceHealthList": [{"InstanceId": instance}]}


def test_no_requests_no_latency(service: Service) -> None:
    service.world.environment()
    service.world.balancer.requests[str(int(START) + 9)] = {}
    service.world.look(service.collector)
    found = service.environment(EnvironmentName="pets-env", AttributeNames=["ApplicationMetrics"])
    assert found["ApplicationMetrics"] == {
        "Duration": 10,
        "RequestCount": 0,
        "StatusCodes": {"Status2xx": 0, "Status3xx": 0, "Status4xx": 0, "Status5xx": 0},
    }


def test_an_agent_that_says_nothing_leaves_no_empty_members(service: Service) -> None:
    service.world.environment()
    for agent in (service.world.balancer, *service.world.fleet.agents.values()):
        agent.dead = True
    service.world.look(service.collector)
    (instance,) = service.instances(EnvironmentName="pets-env", AttributeNames=["All"])["InstanceHealthList"]
    assert instance["HealthStatus"] == "Unknown"
    assert not {"System", "ApplicationMetrics"} & instance.keys()


def test_a_machine_without_load_figures_has_no_system(service: Service) -> None:
    service.world.environment()
    next(iter(service.world.fleet.agents.values())).state_of["instance"]["load"] = []
    service.world.look(service.collector)
    (instance,) = service.instances(EnvironmentName="pets-env", AttributeNames=["All"])["InstanceHealthList"]
    assert "System" not in instance


def test_before_the_first_look(service: Service) -> None:
    env = service.world.environment(instances_=2)
    found = service.environment(EnvironmentName="pets-env", AttributeNames=["All"])
    assert (found["HealthStatus"], found["Color"], found["Causes"]) == ("Unknown", "Grey", [])
    assert found["InstancesHealth"]["Unknown"] == 2
    with service.world.database.write() as db:
        environments.update(db, env, status="Launching")
    service.world.clock.now += 12
    found = service.environment(EnvironmentName="pets-env", AttributeNames=["All"])
    assert (found["HealthStatus"], found["Status"]) == ("Pending", "Launching")
    assert found["InstancesHealth"]["Pending"] == 2
    listed = service.instances(EnvironmentName="pets-env", AttributeNames=["All"])["InstanceHealthList"]
    assert [each["Causes"] for each in listed] == [["Performing initialization (running for 12 seconds)."]] * 2
    assert all("LaunchedAt" in each for each in listed)


def test_an_instance_that_came_after_the_last_look(service: Service) -> None:
    env = service.world.environment()
    service.world.look(service.collector)
    service.world.instance(env, state="launching")
    listed = service.instances(EnvironmentName="pets-env", AttributeNames=["HealthStatus"])["InstanceHealthList"]
    assert [each["HealthStatus"] for each in listed] == ["Ok", "Pending"]


def test_an_instance_that_is_gone_is_not_listed(service: Service) -> None:
    service.world.environment(instances_=2)
    service.world.look(service.collector)
    one, two = service.world.fleet.agents
    with service.world.database.write() as db:
        instances.remove(db, one)
    assert service.instances(EnvironmentName="pets-env") == {"InstanceHealthList": [{"InstanceId": two}]}


def test_pages(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.services.elasticbeanstalk.health.PAGE", 2)
    service.world.environment(instances_=5)
    service.world.look(service.collector)
    ids, token = [], None
    while token is not None or not ids:
        more = {"NextToken": token} if token else {}
        found = service.instances(EnvironmentName="pets-env", AttributeNames=["HealthStatus"], **more)
        ids += [each["InstanceId"] for each in found["InstanceHealthList"]]
        token = found.get("NextToken")
    assert ids == list(service.world.fleet.agents)


def test_a_long_cause_is_cut(service: Service) -> None:
    env = service.world.environment()
    number = service.world.release(env, "v" * 100, "d2")
    with service.world.database.write() as db:
        environments.update(db, env, release=number)
        environments.put_options(db, env, {})
    agent = next(iter(service.world.fleet.agents.values()))
    agent.state_of["processes"][0].update(state="backoff", last_exit={"words": "x" * 300})
    service.world.look(service.collector)
    (instance,) = service.instances(EnvironmentName="pets-env", AttributeNames=["Causes"])["InstanceHealthList"]
    assert max(map(len, instance["Causes"])) == 255


@pytest.mark.parametrize("operation", ["environment", "instances"])
def test_basic_health_is_refused(service: Service, operation: str) -> None:
    env = service.world.environment()
    with service.world.database.write() as db:
        environments.put_options(db, env, {SYSTEM_TYPE: "basic"})
    with pytest.raises(AwsError) as refused:
        getattr(service, operation)(EnvironmentName="pets-env", AttributeNames=["All"])
    name = "DescribeEnvironmentHealth" if operation == "environment" else "DescribeInstancesHealth"
    assert (refused.value.code, refused.value.message) == ("InvalidRequestException", f"{name} is not supported.")
    with service.world.database.write() as db:
        environments.put_options(db, env, {SYSTEM_TYPE: "enhanced"})
    assert getattr(service, operation)(EnvironmentName="pets-env")


@pytest.mark.parametrize("operation", ["environment", "instances"])
def test_an_environment_that_does_not_exist(service: Service, operation: str) -> None:
    with pytest.raises(AwsError) as refused:
        getattr(service, operation)(EnvironmentName="nobody")
    assert refused.value.code == "InvalidParameterValue"
