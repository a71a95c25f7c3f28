"""Environments through the API: who sees the ended ones, what an update must match, changes that overtake others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import sqlalchemy as sa
from api_site import ApiSite, api_site, refused
from botocore.exceptions import WaiterError
from served import session

from beanpole.aws.errors import AwsError
from beanpole.control import rollback
from beanpole.control.context import By
from beanpole.control.errors import not_ready

PROPERTIES = "aws:elasticbeanstalk:application:environment"
ONE_TRY = {"Delay": 0, "MaxAttempts": 1}


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session, now: list[float]) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions, lambda: now[0]) as made:
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def setting(name: str, value: str, namespace: str = PROPERTIES) -> list[dict[str, str]]:
    return [{"Namespace": namespace, "OptionName": name, "Value": value}]


def stored(site: ApiSite, eb: Any) -> dict[str, str]:
    found = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    settings = found["ConfigurationSettings"][0]["OptionSettings"]
    return {each["OptionName"]: each.get("Value", "") for each in settings if each["Namespace"] == PROPERTIES}


def statuses(eb: Any, **filters: Any) -> list[str]:
    return [each["Status"] for each in eb.describe_environments(**filters)["Environments"]]


def test_sdks_wait_for_the_end_of_an_environment(site: ApiSite, eb: Any, now: list[float]) -> None:
    identifier = site.environment()
    eb.terminate_environment(EnvironmentName="shop-dev")
    ended = eb.get_waiter("environment_terminated")
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        ended.wait(EnvironmentNames=["shop-dev"], WaiterConfig=ONE_TRY)
    site.end_operations()
    ended.wait(EnvironmentNames=["shop-dev"], WaiterConfig=ONE_TRY)
    ended.wait(EnvironmentIds=[identifier], WaiterConfig=ONE_TRY)

    # The EB CLI says that it wants none, and lists without names are of what there is.
    assert statuses(eb, EnvironmentNames=["shop-dev"], IncludeDeleted=False) == []
    assert statuses(eb) == statuses(eb, ApplicationName="shop") == []
    now[0] += 3601
    assert statuses(eb, EnvironmentNames=["shop-dev"]) == statuses(eb, EnvironmentIds=[identifier]) == []
    assert statuses(eb, EnvironmentIds=[identifier], IncludeDeleted=True) == ["Terminated"]


def test_a_name_that_is_used_again_means_the_environment_that_lives(site: ApiSite, eb: Any) -> None:
    first = site.environment()
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()
    second = eb.create_environment(
        ApplicationName="shop", EnvironmentName="shop-dev", VersionLabel="v1", SolutionStackName=site.stack
    )["EnvironmentId"]
    assert statuses(eb, EnvironmentNames=["shop-dev"]) == ["Launching"]
    site.end_operations()
    for waiter in ("environment_exists", "environment_updated"):
        eb.get_waiter(waiter).wait(EnvironmentNames=["shop-dev"], WaiterConfig=ONE_TRY)
    assert statuses(eb, EnvironmentIds=[first]) == ["Terminated"]
    assert statuses(eb, EnvironmentIds=[second]) == ["Ready"]
    assert len(statuses(eb, EnvironmentNames=["shop-dev"], IncludeDeleted=True)) == 2


def test_an_update_that_another_one_overtakes_keeps_both_settings(site: ApiSite, eb: Any) -> None:
    site.environment()

    def other() -> None:
        site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=setting("OTHER", "1"))
        site.end_operations()

    site.meanwhile.append(other)
    eb.update_environment(EnvironmentName="shop-dev", OptionSettings=setting("MINE", "2"))
    site.end_operations()
    assert stored(site, eb) == {"OTHER": "1", "MINE": "2"}


def test_an_update_that_is_overtaken_again_and_again_is_refused(site: ApiSite, eb: Any) -> None:
    site.environment()
    rounds = [0]

    def other() -> None:
        rounds[0] += 1
        # Its own composing must not begin another one.
        waiting, site.meanwhile[:] = site.meanwhile[:], []
        settings = setting("OTHER", str(rounds[0]))
        site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=settings)
        site.end_operations()
        site.meanwhile[:] = waiting

    site.meanwhile[:] = [other] * 9
    found = refused(eb.update_environment, EnvironmentName="shop-dev", OptionSettings=setting("MINE", "2"))
    assert found == ("InvalidParameterValue", not_ready("shop-dev").message)
    assert stored(site, eb) == {"OTHER": str(rounds[0])}


def test_an_update_while_another_one_began_is_refused(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.meanwhile.append(
        lambda: site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=setting("OTHER", "1"))
    )
    assert refused(eb.update_environment, EnvironmentName="shop-dev", OptionSettings=setting("MINE", "2")) == (
        "InvalidParameterValue",
        not_ready("shop-dev").message,
    )


def test_no_environment_is_made_in_an_application_that_goes_meanwhile(site: ApiSite, eb: Any) -> None:
    site.version("v1")
    site.meanwhile.append(lambda: site.client().delete_application(ApplicationName="shop"))
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-dev", "SolutionStackName": site.stack}
    words = "No Application named 'shop' found."
    assert refused(eb.create_environment, VersionLabel="v1", **new) == ("InvalidParameterValue", words)
    assert statuses(eb, IncludeDeleted=True) == []


def test_two_first_environments_with_the_sample_application(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    new = {"ApplicationName": "shop", "SolutionStackName": site.stack}
    site.meanwhile.append(lambda: site.client().create_environment(EnvironmentName="second", **new))
    assert eb.create_environment(EnvironmentName="first", **new)["Status"] == "Launching"
    site.end_operations()
    found = eb.describe_environments(ApplicationName="shop")["Environments"]
    assert [(each["EnvironmentName"], each["VersionLabel"]) for each in found] == [
        ("first", "Sample Application"),
        ("second", "Sample Application"),
    ]
    assert len(eb.describe_application_versions(ApplicationName="shop")["ApplicationVersions"]) == 1


def test_a_refused_environment_leaves_no_sample_behind(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-dev", "SolutionStackName": site.stack}
    settings = setting("BatchSize", "0", "aws:elasticbeanstalk:command")
    assert refused(eb.create_environment, OptionSettings=settings, **new)[0] == "ConfigurationValidationException"
    assert refused(eb.create_environment, **(new | {"EnvironmentName": "-shop"}))[0] == "InvalidParameterValue"
    assert eb.describe_application_versions(ApplicationName="shop")["ApplicationVersions"] == []


def test_an_update_must_mean_the_environment_that_it_names(site: ApiSite, eb: Any) -> None:
    identifier = site.environment("front-dev")
    unknown = "No Environment found for EnvironmentName = 'front-dev'."
    update = eb.update_environment
    assert refused(update, EnvironmentName="front-dev", ApplicationName="other") == ("InvalidParameterValue", unknown)
    code, words = refused(update, EnvironmentName="front-dev", Tier={"Name": "Worker", "Type": "SQS/HTTP"})
    assert (code, "a tier cannot be changed to Worker" in words) == ("InvalidParameterValue", True)
    assert "to Worker" in refused(update, EnvironmentName="front-dev", Tier={"Type": "SQS/HTTP"})[1]
    assert refused(update, EnvironmentName="front", GroupName="prod")[1].endswith("'front-prod'.")
    assert refused(update, EnvironmentId=identifier, GroupName="dev")[0] == "InvalidParameterCombination"
    same = {"ApplicationName": "shop", "Tier": {"Name": "WebServer", "Type": "Standard"}}
    for name in ("front", "front+", "front-dev"):
        assert update(EnvironmentName=name, GroupName="dev", **same)["EnvironmentName"] == "front-dev"
        site.end_operations()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "document",
    [
        BOMB + f"OptionSettings: {{'{PROPERTIES}': {{A: *i}}}}",
        "OptionSettings: {1: 2}",
        f"OptionSettings: {{'{PROPERTIES}': {{[a]: b}}}}",
        "[" * 5000,
        f"OptionSettings: {{'{PROPERTIES}': !Own {{}}}}",
        "- a list",
        "OptionSettings: text",
        "a: 'open",
    ],
    ids=["aliases", "no mapping", "keys", "depth", "tags", "a list", "text", "open"],
)
def test_documents_that_cannot_be(site: ApiSite, eb: Any, document: str) -> None:
    site.environment()
    template = {"TemplateSource": {"SourceContents": document}}
    code, words = refused(eb.update_environment, EnvironmentName="shop-dev", TemplateSpecification=template)
    assert code == "InvalidParameterValue"
    assert words.startswith("SourceContents")


def test_a_document_sets_what_it_shows(site: ApiSite, eb: Any) -> None:
    site.environment()

    def update(document: str) -> dict[str, str]:
        template = {"TemplateSource": {"SourceContents": document}}
        eb.update_environment(EnvironmentName="shop-dev", TemplateSpecification=template)
        site.end_operations()
        return stored(site, eb)

    values = {"A": "true", "B": "1.10", "C": "010", "D": "a,b", "E": "2026-99-99", "F": "yes"}
    lines = "".join(f"    {name}: {'[a, b]' if name == 'D' else value}\n" for name, value in values.items())
    shown = values | {"F": "true"}
    assert update(f"when: 2026-99-99\nOptionSettings:\n  {PROPERTIES}:\n{lines}") == shown
    for nothing in ("", "OptionSettings:\n", "OptionSettings: {}\n", f"OptionSettings: {{'{PROPERTIES}': }}\n"):
        assert update(nothing) == shown


def test_option_settings_name_their_namespace(site: ApiSite, eb: Any) -> None:
    site.environment()
    words = "Invalid option specification (Namespace: '', OptionName: 'FOO'): Unknown configuration setting."
    code, message = refused(
        eb.update_environment, EnvironmentName="shop-dev", OptionSettings=[{"OptionName": "FOO", "Value": "1"}]
    )
    assert (code, words in message) == ("ConfigurationValidationException", True)
    code, message = refused(eb.update_environment, EnvironmentName="shop-dev", OptionsToRemove=[{"OptionName": "FOO"}])
    assert (code, words in message) == ("ConfigurationValidationException", True)
    found = eb.validate_configuration_settings(ApplicationName="shop", OptionSettings=[{"OptionName": "FOO"}])
    assert [each["Message"] for each in found["Messages"]] == [words]


def test_the_options_of_a_namespace(eb: Any) -> None:
    def names(**asked: str) -> list[str]:
        found = eb.describe_configuration_options(SolutionStackName="Python", Options=[asked])["Options"]
        return [each["Name"] for each in found]

    command = "aws:elasticbeanstalk:command"
    assert {"BatchSize", "DeploymentPolicy", "Timeout"} <= set(names(Namespace=command))
    assert "MinSize" not in names(Namespace=command)
    assert names(Namespace=command, OptionName="BatchSize") == ["BatchSize"]
    assert set(names(OptionName="MinSize")) == {"MinSize"}
    assert names(Namespace="aws:nothing") == []


@pytest.mark.parametrize("value", ["PT" + "9" * 900 + "S", "9" * 900, "PT" + "9" * 5000 + "H"])
def test_lengths_of_time_that_cannot_be(site: ApiSite, eb: Any, value: str) -> None:
    site.environment()
    for name in ("PauseTime", "Timeout"):
        settings = setting(name, value, "aws:autoscaling:updatepolicy:rollingupdate")
        code, _ = refused(eb.update_environment, EnvironmentName="shop-dev", OptionSettings=settings)
        assert code == "ConfigurationValidationException"


@pytest.mark.parametrize("token", ["9" * 5000, "9" * 30, "-1", "٣"])
def test_tokens_that_nobody_gave(eb: Any, token: str) -> None:
    assert refused(eb.describe_environments, NextToken=token)[0] == "InvalidParameterValue"


def test_ids_of_operations_that_cannot_be(site: ApiSite) -> None:
    own = site.client("beanpole")
    for identifier in ("9" * 30, "9" * 5000, "x", "٣"):
        assert own.describe_operations(OperationId=identifier)["Operations"] == []


def test_a_failing_statement_does_not_tell_its_values(site: ApiSite) -> None:
    with pytest.raises(sa.exc.IntegrityError) as raised, site.control.database.write() as db:
        db.execute(sa.text("INSERT INTO fact (name, value) VALUES (:name, NULL)"), {"name": "secret"})
    assert "secret" not in str(raised.value)


def test_a_rollback_that_an_update_overtakes_is_refused(site: ApiSite, eb: Any) -> None:
    site.environment()
    eb.update_environment(EnvironmentName="shop-dev", OptionSettings=setting("A", "1"))
    site.end_operations()
    decision = rollback.decide(site.control, name="shop-dev", id_=None, number=None)
    eb.update_environment(EnvironmentName="shop-dev", OptionSettings=setting("B", "2"))
    site.end_operations()
    with pytest.raises(AwsError, match="Must be Ready"):
        rollback.rollback(site.control, By("jo", "r"), decision)
    assert stored(site, eb) == {"A": "1", "B": "2"}
