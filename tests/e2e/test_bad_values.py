"""Names, settings and keys that cannot be, or that would like to be paths: refused in words, or kept as mere names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from beanpole_site import Site, app, options_of
from raw_calls import careless, put
from stories import COMMAND, DEPLOYMENT, PROCESS, PROPERTIES, everything, refused, shared_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bad values")]


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with shared_site() as site:
        site.version("shop", "v1", app("probe", "v1"))
        yield site


@pytest.fixture(scope="module")
def eb(shared: Site) -> Any:
    return shared.client()


@pytest.fixture(scope="module")
def s3(shared: Site) -> Any:
    return shared.client("s3")


@pytest.fixture(scope="module")
def stack(shared: Site) -> str:
    return shared.stack()


@pytest.fixture
def shop(shared: Site, eb: Any) -> Iterator[Site]:
    """One application with one version, exactly as before when the test is over."""
    before = everything(eb)
    yield shared
    assert everything(eb) == before


@pytest.mark.parametrize("name", ["abc", "a" * 41, "-abcd", "abcd-", "ab_cd", "ab cd", "äbcd", "ab.cd", "../abc"])
def test_names_that_an_environment_cannot_have(shop: Site, stack: str, name: str) -> None:
    eb = careless(shop)
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SolutionStackName": stack}
    code, message = refused(eb.create_environment, EnvironmentName=name, **new)
    assert code in ("InvalidParameterValue", "ValidationError")
    assert "EnvironmentName" in message
    code, message = refused(eb.create_environment, EnvironmentName="new-env", CNAMEPrefix=name + "." * 30, **new)
    assert code in ("InvalidParameterValue", "ValidationError")
    assert "CNAMEPrefix" in message
    taken = eb.check_dns_availability(CNAMEPrefix=name) if 4 <= len(name) <= 40 else {"Available": False}
    assert taken["Available"] is False


@pytest.mark.parametrize(
    ("namespace", "name", "value", "reason"),
    [
        (COMMAND, "BatchSize", "0", "Value is less than minimum allowed value: 1"),
        (COMMAND, "BatchSize", "ten", "Value is not a whole number"),
        (COMMAND, "DeploymentPolicy", "Sideways", "Value is not one of the allowed values: [AllAtOnce, Rolling, "),
        (
            COMMAND,
            "DeploymentPolicy",
            "TrafficSplitting",
            "Traffic Splitting deployments are compatible only with Application Load Balancers",
        ),
        (COMMAND, "BatchSise", "1", "Unknown configuration setting. Did you mean 'BatchSize'?"),
        ("aws:nothing", "like", "this", "Unknown configuration setting."),
        ("aws:autoscaling:asg", "MinSize", "5", "MinSize is greater than MaxSize"),
        ("aws:elasticbeanstalk:container:nodejs", "NodeCommand", "x", "Unknown or duplicate parameter: NodeCommand"),
        (PROCESS, "HealthCheckPath", "health", "The path of a health check starts with /"),
        (PROPERTIES, "A B", "x", "The name of an environment property holds"),
        (PROPERTIES, "BIG", "x" * 4093, "The environment properties take 4097 bytes as key=value; the limit is 4096."),
        (DEPLOYMENT, "AutoRollback", "maybe", "Value is not one of the allowed values: [true, false]"),
    ],
)
def test_settings_that_cannot_be(
    shop: Site, eb: Any, stack: str, namespace: str, name: str, value: str, reason: str
) -> None:
    settings = options_of(((namespace, name, value),))
    found = eb.validate_configuration_settings(ApplicationName="shop", OptionSettings=settings)["Messages"]
    assert [(each["Severity"], each["Namespace"], each["OptionName"]) for each in found] == [("error", namespace, name)]
    assert reason in found[0]["Message"]
    code, message = refused(
        eb.create_environment,
        ApplicationName="shop",
        EnvironmentName="new-env",
        VersionLabel="v1",
        SolutionStackName=stack,
        OptionSettings=settings,
    )
    assert code == "ConfigurationValidationException"
    assert message.startswith("Configuration validation exception: ")
    assert reason in message


KEYS = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "..",
    ".",
    "~/.ssh/id",
    "C:\\x",
    "a//b",
    "%2e%2e/x",
    " ",
    "ü/🫘",
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_objects_never_become_paths(shop: Site, eb: Any, s3: Any, key: str) -> None:
    bucket = eb.create_storage_location()["S3Bucket"]
    before = outside(shop)
    assert put(shop, bucket, key, f"of {key}".encode()) == 200
    assert key in [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert outside(shop) == before
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert [each["Key"] for each in deleted["Deleted"]] == [key]


def outside(site: Site) -> set[str]:
    """Everything below the site's folder but the objects themselves, whose names are digests."""
    found = set()
    for path in site.root.rglob("*"):
        if not path.is_relative_to(site.home.objects):
            found.add(str(path))
        else:
            assert path == site.home.objects or re.fullmatch("incoming|[0-9a-f]{2}|[0-9a-f]{64}", path.name)
    return found
