"""Saved configurations as YAML: what is written is read back, and what strangers wrote is read within bounds."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.options.document import SIZE_LIMIT, DocumentError
from beanpole.options.saved import Saved, read, write
from beanpole.options.setting import Setting

pytestmark = pytest.mark.pure

PROPERTIES = "aws:elasticbeanstalk:application:environment"

AWS_FILE = """
EnvironmentConfigurationMetadata:
  Description: Configuration created from the EB CLI using "eb config save".
  DateModified: '1450127904000'
  DateCreated: '1450127904000'
EnvironmentTier:
  Type: Standard
  Name: WebServer
SolutionStack: 64bit Amazon Linux 2023 v4.0.1 running Python 3.11
OptionSettings:
  AWSEBAutoScalingScaleUpPolicy.aws:autoscaling:trigger:
    UpperBreachScaleIncrement: '2'
  nightly.aws:autoscaling:scheduledaction:
    MinSize: 010
  aws:elasticbeanstalk:command:
    BatchSize: 30
    IgnoreHealthCheck: yes
AWSConfigurationTemplateVersion: 1.1.0.0
"""

MANIFEST = b"""
EnvironmentName: front+
SolutionStack: 64bit Amazon Linux 2023 v4.1.0 running Python 3.11
CName: shop+
EnvironmentLinks:
  "WORKERQUEUE": "worker+"
  DATABASE: data
"""

_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029\ufeff"), max_size=30)
_name = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)


def test_a_file_of_the_cloud() -> None:
    found = read(AWS_FILE.encode())
    assert found.settings == (
        Setting("aws:autoscaling:trigger", "UpperBreachScaleIncrement", "", "2"),
        Setting("aws:autoscaling:scheduledaction", "MinSize", "nightly", "010"),
        Setting("aws:elasticbeanstalk:command", "BatchSize", "", "30"),
        Setting("aws:elasticbeanstalk:command", "IgnoreHealthCheck", "", "true"),
    )
    assert (found.tier, found.platform) == ("WebServer", "64bit Amazon Linux 2023 v4.0.1 running Python 3.11")
    assert (found.created_at, found.modified_at) == (1450127904000, 1450127904000)
    assert found.description == 'Configuration created from the EB CLI using "eb config save".'


def test_a_manifest() -> None:
    found = read(MANIFEST)
    assert (found.name, found.cname) == ("front+", "shop+")
    assert found.links == (("WORKERQUEUE", "worker+"), ("DATABASE", "data"))
    assert found.platform == "64bit Amazon Linux 2023 v4.1.0 running Python 3.11"


def test_an_arn_wins_over_a_stack() -> None:
    assert read(b"Platform: {PlatformArn: arn}\nSolutionStack: stack").platform == "arn"


@pytest.mark.parametrize("nothing", [b"", b"{}", b"OptionSettings:", b"OptionSettings: {}\nPlatform:\n", b"~"])
def test_a_document_that_says_nothing(nothing: bytes) -> None:
    assert read(nothing) == Saved()


def test_what_is_written_has_the_form_that_clients_know() -> None:
    text = write(
        Saved(
            settings=(
                Setting("aws:autoscaling:scheduledaction", "MinSize", "nightly", "3"),
                Setting(PROPERTIES, "YES", "", "yes"),
            ),
            description="of today",
            created_at=5,
            modified_at=6,
            platform="arn",
            tier="WebServer",
        ),
        "Standard",
    )
    assert yaml.safe_load(text) == {
        "EnvironmentConfigurationMetadata": {"Description": "of today", "DateCreated": "5", "DateModified": "6"},
        "Platform": {"PlatformArn": "arn"},
        "OptionSettings": {"nightly.aws:autoscaling:scheduledaction": {"MinSize": "3"}, PROPERTIES: {"YES": "yes"}},
        "EnvironmentTier": {"Type": "Standard", "Name": "WebServer"},
        "AWSConfigurationTemplateVersion": "1.1.0.0",
    }


@settings(deadline=None)
@given(st.dictionaries(_name, _text, max_size=6), _text, st.integers(0, 10**14))
def test_what_is_written_is_read_back(properties: dict[str, str], description: str, at: int) -> None:
    chosen = tuple(sorted(Setting(PROPERTIES, name, "", value) for name, value in properties.items()))
    saved = Saved(chosen, description, at, at, "arn:x", "WebServer")
    assert read(write(saved, "Standard")) == saved


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("OptionSettings: [a]", 1, "must be a mapping"),
        ("OptionSettings:\n  x: 1", 2, "must be a mapping"),
        ("a: 1\nPlatform: text", 2, "must be a mapping"),
        ("EnvironmentName: [front]", 1, "EnvironmentName must be text"),
        ("EnvironmentLinks: {A: {b: c}}", 1, "A in EnvironmentLinks must be text"),
        ("OptionSettings: !!python/object:os.system {}", 1, ""),
        ("OptionSettings: !Own {}", 1, "means nothing here"),
        ("- a list", 1, "must be a mapping"),
        ("a: 'open", 1, "not valid YAML"),
        ("a: 1\n--- \nb: 2", 2, "not valid YAML"),
        ("[" * 60, 1, "levels"),
    ],
)
def test_what_is_no_saved_configuration(text: str, where: int, why: str) -> None:
    if not why:  # a tag of YAML's own that builds objects elsewhere is only a tag here
        assert read(text.encode()).settings == ()
        return
    with pytest.raises(DocumentError, match=why) as raised:
        read(text.encode())
    assert raised.value.line == where


def test_ten_megabytes_are_not_even_parsed() -> None:
    with pytest.raises(DocumentError, match=f"the limit is {SIZE_LIMIT}"):
        read(b"x" * 10_000_000)
