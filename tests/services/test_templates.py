"""Saved configurations through the API and through S3 alone, and what environments make of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from api_site import ApiSite, api_site, refused
from served import session

PROPERTIES = "aws:elasticbeanstalk:application:environment"
COMMAND = "aws:elasticbeanstalk:command"
FLEET = "beanpole:fleet"
BY_CLI = 'Configuration created from the EB CLI using "eb config save".'


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        made.control.objects.create_bucket(made.control.bucket)
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def setting(name: str, value: str, namespace: str = PROPERTIES) -> dict[str, str]:
    return {"Namespace": namespace, "OptionName": name, "Value": value}


def put(site: ApiSite, name: str, text: str, application: str = "shop") -> None:
    """As `eb config put` does it."""
    key = f"resources/templates/{application}/{name}"
    site.client("s3").put_object(Bucket=site.control.bucket, Key=key, Body=text.encode())


def fetched(site: ApiSite, name: str, application: str = "shop") -> Any:
    """As `eb config get` does it."""
    key = f"resources/templates/{application}/{name}"
    return yaml.safe_load(site.client("s3").get_object(Bucket=site.control.bucket, Key=key)["Body"].read())


def names(eb: Any, application: str = "shop") -> list[str]:
    (found,) = eb.describe_applications(ApplicationNames=[application])["Applications"]
    listed: list[str] = found["ConfigurationTemplates"]
    return listed


def chosen(eb: Any, namespace: str = PROPERTIES, **of: str) -> dict[str, str]:
    (found,) = eb.describe_configuration_settings(ApplicationName="shop", **of)["ConfigurationSettings"]
    return {
        each["OptionName"]: each.get("Value", "") for each in found["OptionSettings"] if each["Namespace"] == namespace
    }


def save(eb: Any, name: str, environment: str = "shop-dev", **more: Any) -> Any:
    """As `eb config save` does it, by the CLI's own model."""
    source = {"TemplateSource": {"EnvironmentName": environment}}
    return eb.create_configuration_template(
        ApplicationName="shop", TemplateName=name, TemplateSpecification=source, **({"Description": BY_CLI} | more)
    )


def launch(site: ApiSite, name: str, **params: Any) -> Any:
    answer = site.client().create_environment(ApplicationName="shop", EnvironmentName=name, **params)
    site.end_operations()
    return answer


def test_saving_an_environment_and_making_another_of_it(site: ApiSite, eb: Any) -> None:
    site.environment()
    eb.update_environment(
        EnvironmentName="shop-dev",
        OptionSettings=[setting("GREETING", "yes"), setting("Timeout", "700", COMMAND)],
    )
    site.end_operations()
    made = save(eb, "prod", Tags=[{"Key": "team", "Value": "pets"}])
    assert (made["TemplateName"], made["Description"], made["SolutionStackName"]) == ("prod", BY_CLI, site.stack)
    assert made["Tier"]["Name"] == "WebServer"
    assert names(eb) == ["prod"]
    tags = eb.list_tags_for_resource(ResourceArn=site.control.arn("configurationtemplate", "shop", "prod"))
    assert tags["ResourceTags"] == [{"Key": "team", "Value": "pets"}]
    document = fetched(site, "prod")
    assert document["OptionSettings"] == {PROPERTIES: {"GREETING": "yes"}, COMMAND: {"Timeout": "700"}}
    assert document["Platform"]["PlatformArn"].endswith("/4.1.0")
    assert document["EnvironmentTier"] == {"Type": "Standard", "Name": "WebServer"}

    launch(
        site, "shop-prod", TemplateName="prod", VersionLabel="v1", OptionSettings=[setting("Timeout", "800", COMMAND)]
    )
    assert chosen(eb, EnvironmentName="shop-prod") == {"GREETING": "yes"}
    assert chosen(eb, COMMAND, EnvironmentName="shop-prod")["Timeout"] == "800"
    # A copy: neither follows the other.
    eb.delete_configuration_template(ApplicationName="shop", TemplateName="prod")
    assert names(eb) == []
    assert chosen(eb, EnvironmentName="shop-prod") == {"GREETING": "yes"}
    assert "Contents" not in site.client("s3").list_objects(Bucket=site.control.bucket, Prefix="resources/")


def test_an_object_alone_is_a_saved_configuration(site: ApiSite, eb: Any) -> None:
    site.environment()
    document = f"OptionSettings:\n  {PROPERTIES}:\n    LEVEL: 010\n"
    put(site, "mine", document)
    put(site, "not/one", document)
    put(site, "other", document, "another application")
    assert names(eb) == ["mine"]
    assert chosen(eb, TemplateName="mine") == {"LEVEL": "010"}
    launch(site, "shop-b", TemplateName="mine", VersionLabel="v1", SolutionStackName=site.stack)
    assert chosen(eb, EnvironmentName="shop-b") == {"LEVEL": "010"}
    put(site, "mine", f"OptionSettings: {{'{PROPERTIES}': {{LEVEL: '2', MORE: x}}}}")
    eb.update_environment(EnvironmentName="shop-b", TemplateName="mine")
    site.end_operations()
    assert chosen(eb, EnvironmentName="shop-b") == {"LEVEL": "2", "MORE": "x"}
    site.client("s3").delete_object(Bucket=site.control.bucket, Key="resources/templates/shop/mine")
    assert names(eb) == []


def test_call_beats_saved_configuration_beats_file_beats_default(site: ApiSite, eb: Any) -> None:
    files = {
        "application.py": "application = None\n",
        ".ebextensions/a.config": f"option_settings: {{'{PROPERTIES}': {{A: file, B: file, C: file, D: file}}}}",
    }
    bundle = site.upload("files.zip", files)
    eb.create_application_version(
        ApplicationName="shop", VersionLabel="v1", AutoCreateApplication=True, SourceBundle=bundle
    )
    put(site, "mine", f"OptionSettings: {{'{PROPERTIES}': {{B: saved, C: saved, D: saved}}}}")
    launch(
        site,
        "shop-dev",
        VersionLabel="v1",
        TemplateName="mine",
        SolutionStackName=site.stack,
        OptionSettings=[setting("C", "call")],
        OptionsToRemove=[{"Namespace": PROPERTIES, "OptionName": "D"}],
    )
    assert chosen(eb, EnvironmentName="shop-dev") == {"A": "file", "B": "saved", "C": "call", "D": "file"}
    eb.update_environment(
        EnvironmentName="shop-dev",
        TemplateName="mine",
        OptionSettings=[setting("B", "call")],
        OptionsToRemove=[{"Namespace": PROPERTIES, "OptionName": "C"}],
    )
    site.end_operations()
    assert chosen(eb, EnvironmentName="shop-dev") == {"A": "file", "B": "call", "C": "file", "D": "saved"}


def test_making_them_of_each_other(site: ApiSite, eb: Any) -> None:
    identifier = site.environment()
    of = {"ApplicationName": "shop"}
    eb.create_configuration_template(
        TemplateName="a", SolutionStackName=site.stack, OptionSettings=[setting("A", "1"), setting("B", "1")], **of
    )
    eb.create_configuration_template(
        TemplateName="b", SourceConfiguration={"TemplateName": "a"}, OptionSettings=[setting("B", "2")], **of
    )
    assert chosen(eb, TemplateName="b") == {"A": "1", "B": "2"}
    eb.create_configuration_template(TemplateName="c", EnvironmentId=identifier, **of)
    assert chosen(eb, TemplateName="c") == {}
    changed = eb.update_configuration_template(
        TemplateName="b",
        Description="less",
        OptionSettings=[setting("C", "3")],
        OptionsToRemove=[{"Namespace": PROPERTIES, "OptionName": "A"}],
        **of,
    )
    assert changed["Description"] == "less"
    assert chosen(eb, TemplateName="b") == {"B": "2", "C": "3"}
    assert chosen(eb, TemplateName="a") == {"A": "1", "B": "1"}
    options = eb.describe_configuration_options(TemplateName="a", **of)
    assert options["SolutionStackName"] == site.stack
    eb.create_application(ApplicationName="other")
    eb.create_configuration_template(
        ApplicationName="other", TemplateName="a", SourceConfiguration={"ApplicationName": "shop", "TemplateName": "b"}
    )
    assert names(eb, "other") == ["a"]


def test_validating_one_as_config_put_does(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    validate = eb.validate_configuration_settings
    asked = {"ApplicationName": "shop", "TemplateName": "mine"}
    put(site, "mine", f"OptionSettings: {{'{COMMAND}': {{BatchSize: '0', Unheard: x}}}}")
    none = "Unable to determine base for template pack (no solution stack)"
    assert refused(validate, **asked) == ("InvalidParameterValue", none)
    with_platform = {"TemplateSource": {"SolutionStackName": site.stack}}
    found = validate(TemplateSpecification=with_platform, **asked)["Messages"]
    assert {(each["Severity"], each["OptionName"]) for each in found} == {("error", "BatchSize"), ("error", "Unheard")}
    put(site, "mine", f"SolutionStack: {site.stack}\nOptionSettings: {{'{COMMAND}': {{BatchSize: '3'}}}}")
    assert validate(**asked)["Messages"] == []


def test_files_of_the_cloud_name_their_own_platform(site: ApiSite, eb: Any) -> None:
    """Whatever region and version it is of: the branch is what matters."""
    site.version("v1")
    arn = "arn:aws:elasticbeanstalk:eu-west-1::platform/Python 3.11 running on 64bit Amazon Linux 2023/4.0.9"
    put(site, "cloud", f"Platform: {{PlatformArn: {arn}}}\n")
    answer = launch(site, "shop-dev", TemplateName="cloud", VersionLabel="v1")
    assert answer["PlatformArn"].endswith("Python 3.11 running on 64bit Amazon Linux 2023/4.1.0")
    put(site, "cloud", "SolutionStack: 64bit Amazon Linux 2023 v4.0.1 running Python 3.12\n")
    answer = launch(site, "shop-c", TemplateName="cloud", VersionLabel="v1")
    assert answer["SolutionStackName"] == "64bit Amazon Linux 2023 v4.1.0 running Python 3.12"
    put(site, "cloud", "SolutionStack: 64bit Amazon Linux 2023 v4.0.1 running PHP 8.1\n")
    words = refused(eb.create_environment, ApplicationName="shop", EnvironmentName="shop-b", TemplateName="cloud")[1]
    assert words.startswith("No Solution Stack named '64bit Amazon Linux 2023 v4.0.1 running PHP 8.1' found.")


BROKEN = {
    "yaml": ("OptionSettings: [", "line 1: not valid YAML"),
    "list": ("- a\n- b\n", "line 1: the document must be a mapping"),
    "depth": ("[" * 5000, "more than 50 levels"),
    "large": ("x" * 10_000_000, "the file has 10000000 bytes; the limit is 131072"),
    "tag": ("a: !Own {}", "the tag !Own means nothing here"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_one_clear_error_everywhere(site: ApiSite, eb: Any, case: str) -> None:
    site.environment()
    text, why = BROKEN[case]
    put(site, "bad", text)
    of = {"ApplicationName": "shop", "TemplateName": "bad"}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (eb.create_environment, {"EnvironmentName": "shop-b", "VersionLabel": "v1", **of}),
        (eb.update_environment, {"EnvironmentName": "shop-dev", "TemplateName": "bad"}),
        (eb.describe_configuration_settings, of),
        (eb.describe_configuration_options, of),
        (eb.validate_configuration_settings, of),
        (eb.update_configuration_template, of),
        (eb.create_configuration_template, {"TemplateName": "b", "SourceConfiguration": of, "ApplicationName": "shop"}),
    ]
    for call, params in calls:
        code, words = refused(call, **params)
        assert code == "InvalidParameterValue", (call, code, words)
        assert words.startswith("The Configuration Template bad cannot be used: resources/templates/shop/bad")
        assert why in words
    (environment,) = eb.describe_environments()["Environments"]
    assert (environment["EnvironmentName"], environment["Status"]) == ("shop-dev", "Ready")
    assert names(eb) == ["bad"]
    eb.delete_configuration_template(**of)
    assert names(eb) == []


def test_options_that_cannot_be_are_refused_wherever_they_come_from(site: ApiSite, eb: Any) -> None:
    site.environment()
    put(site, "bad", f"SolutionStack: {site.stack}\nOptionSettings: {{'{COMMAND}': {{Unheard: x}}}}")
    calls: list[tuple[Any, dict[str, Any]]] = [
        (eb.create_environment, {"ApplicationName": "shop", "EnvironmentName": "shop-b", "TemplateName": "bad"}),
        (eb.update_environment, {"EnvironmentName": "shop-dev", "TemplateName": "bad"}),
        (
            eb.create_configuration_template,
            {"ApplicationName": "shop", "TemplateName": "b", "SourceConfiguration": {"TemplateName": "bad"}},
        ),
    ]
    for call, params in calls:
        code, words = refused(call, **params)
        assert code == "ConfigurationValidationException"
        assert f"Invalid option specification (Namespace: '{COMMAND}', OptionName: 'Unheard')" in words
    assert names(eb) == ["bad"]


def test_names_and_bases_that_cannot_be(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.version("v1", "other")
    create, of = eb.create_configuration_template, {"ApplicationName": "shop"}
    on = {"SolutionStackName": site.stack}
    for name in ("a/b", "a\nb"):
        code, words = refused(create, TemplateName=name, **on, **of)
        assert (code, "1 to 100 characters and no slash" in words) == ("InvalidParameterValue", True)
    create(TemplateName="n" * 100, **on, **of)
    assert refused(create, TemplateName="n" * 100, **on, **of) == (
        "InvalidParameterValue",
        f"Configuration Template {'n' * 100} already exists.",
    )
    neither = "You must specify either SolutionStackName or SourceConfiguration or EnvironmentId"
    assert refused(create, TemplateName="x", **of) == ("InvalidParameterValue", neither)
    assert refused(create, TemplateName="x", ApplicationName="none", **on)[1] == "No Application named 'none' found."
    both = {"SourceConfiguration": {"TemplateName": "n" * 100}, "EnvironmentId": "e-1234567890"}
    assert refused(create, TemplateName="x", **both, **of)[0] == "InvalidParameterCombination"
    source = {"TemplateSource": {"EnvironmentName": "shop-dev"}}
    code, words = refused(create, TemplateName="x", ApplicationName="other", TemplateSpecification=source)
    assert (code, words) == ("InvalidParameterValue", "No Environment found for EnvironmentName = 'shop-dev'.")
    another = {"SolutionStackName": "Python 3.11", "SourceConfiguration": {"TemplateName": "n" * 100}}
    assert refused(create, TemplateName="x", **another, **of)[0] == "InvalidParameterCombination"
    unknown = ("InvalidParameterValue", "No Configuration Template named 'none' found.")
    assert refused(create, TemplateName="x", SourceConfiguration={"TemplateName": "none"}, **of) == unknown
    assert refused(eb.delete_configuration_template, TemplateName="none", **of) == unknown
    assert refused(eb.update_configuration_template, TemplateName="none", **of) == unknown
    assert refused(eb.describe_configuration_settings, TemplateName="none", **of) == unknown
    assert refused(eb.update_environment, EnvironmentName="shop-dev", TemplateName="none") == unknown
    assert refused(eb.create_environment, EnvironmentName="shop-b", TemplateName="none", **of) == unknown
    assert names(eb) == ["n" * 100]


def test_one_of_another_application_is_not_there(site: ApiSite, eb: Any) -> None:
    site.environment()
    eb.create_application(ApplicationName="other")
    eb.create_configuration_template(ApplicationName="other", TemplateName="theirs", SolutionStackName=site.stack)
    unknown = ("InvalidParameterValue", "No Configuration Template named 'theirs' found.")
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-b", "TemplateName": "theirs"}
    assert refused(eb.create_environment, **new) == unknown
    assert refused(eb.update_environment, EnvironmentName="shop-dev", TemplateName="theirs") == unknown


def test_a_platform_is_needed_and_named_once(site: ApiSite, eb: Any) -> None:
    site.version("v1")
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-dev", "VersionLabel": "v1", "TemplateName": "mine"}
    put(site, "mine", "OptionSettings: {}\n")
    none = "Unable to determine base for template pack (no solution stack)"
    assert refused(eb.create_environment, **new) == ("InvalidParameterValue", none)
    put(site, "mine", f"SolutionStack: {site.stack}\n")
    assert refused(eb.create_environment, SolutionStackName=site.stack, **new)[0] == "InvalidParameterCombination"
    source = {"TemplateSource": {"EnvironmentName": "shop-dev"}}
    assert refused(eb.create_environment, TemplateSpecification=source, **new)[0] == "InvalidParameterCombination"
    put(site, "mine", f"SolutionStack: {site.stack}\nEnvironmentTier: {{Name: Worker, Type: SQS/HTTP}}\n")
    assert "Tier Worker is not built yet" in refused(eb.create_environment, **new)[1]
    assert eb.describe_environments()["Environments"] == []


def test_a_configuration_of_another_tier_is_not_applied(site: ApiSite, eb: Any) -> None:
    site.environment()
    put(site, "mine", "EnvironmentTier: {Name: Worker}\n")
    words = refused(eb.update_environment, EnvironmentName="shop-dev", TemplateName="mine")[1]
    assert words == "The configuration is of the tier Worker, and the environment of WebServer."


def test_of_two_at_once_with_one_name_one_is_made(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    outcomes: list[object] = []

    def create(number: int) -> None:
        try:
            eb.create_configuration_template(
                ApplicationName="shop",
                TemplateName="mine",
                SolutionStackName=site.stack,
                OptionSettings=[setting("NUMBER", str(number))],
            )
            outcomes.append(number)
        except Exception as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    made = [each for each in outcomes if isinstance(each, int)]
    assert len(made) == 1, outcomes
    assert all("Configuration Template mine already exists." in each for each in outcomes if isinstance(each, str))
    assert chosen(eb, TemplateName="mine") == {"NUMBER": str(made[0])}


def test_changes_at_once_are_all_there_afterwards(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    of = {"ApplicationName": "shop", "TemplateName": "mine"}
    eb.create_configuration_template(SolutionStackName=site.stack, **of)
    threads = [
        threading.Thread(
            target=eb.update_configuration_template, kwargs={"OptionSettings": [setting(f"N{number}", "1")], **of}
        )
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert chosen(eb, TemplateName="mine") == {"N0": "1", "N1": "1", "N2": "1"}


def test_they_go_with_their_application(site: ApiSite, eb: Any) -> None:
    site.environment()
    save(eb, "mine")
    put(site, "theirs", "OptionSettings:\n", "SHOP")
    eb.delete_application(ApplicationName="shop", TerminateEnvByForce=True)
    site.end_operations()
    for name in ("shop", "SHOP"):
        eb.create_application(ApplicationName=name)
    assert (names(eb), names(eb, "SHOP")) == ([], ["theirs"])


def test_where_instances_live_is_no_part_of_it(site: ApiSite, eb: Any) -> None:
    site.environment()
    assert chosen(eb, FLEET, EnvironmentName="shop-dev")["Location"] == "local"
    save(eb, "mine")
    assert fetched(site, "mine")["OptionSettings"] == {}
    put(site, "mine", f"OptionSettings: {{'{FLEET}': {{Location: ssh}}}}\n")
    words = refused(eb.update_environment, EnvironmentName="shop-dev", TemplateName="mine")[1]
    assert "has the location local, which cannot be changed to ssh" in words


def test_an_environment_that_is_being_updated_can_be_saved(site: ApiSite, eb: Any) -> None:
    """As it is deployed; what the update brings comes with its end."""
    site.environment()
    eb.update_environment(EnvironmentName="shop-dev", OptionSettings=[setting("NEW", "1")])
    save(eb, "mine")
    assert chosen(eb, TemplateName="mine") == {}
    draft = {"ApplicationName": "shop", "EnvironmentName": "shop-dev"}
    assert refused(eb.delete_environment_configuration, **draft)[0] == "OperationInProgressFailure"
    site.end_operations()
    eb.delete_environment_configuration(**draft)
    assert chosen(eb, EnvironmentName="shop-dev") == {"NEW": "1"}
