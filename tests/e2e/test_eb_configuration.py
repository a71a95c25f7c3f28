"""`eb config` from a file, `eb setenv` and `eb scale`: each ends its wait, over a replacement too. No request lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from beanpole_site import Site, app
from eb_folder import EbFolder, running, whole
from stories import BRISK, PATIENT_START, UPDATED, lost

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]

DOCUMENT = """EnvironmentConfigurationMetadata:
  Description: as somebody saved it
OptionSettings:
  aws:autoscaling:updatepolicy:rollingupdate:
    RollingUpdateEnabled: true
    RollingUpdateType: Health
    MaxBatchSize: 1
  aws:autoscaling:launchconfiguration:
    InstanceType: m5.large
  aws:elasticbeanstalk:application:environment:
    FROM: a file
"""


def test_settings_of_a_load_balanced_environment(site: Site, tmp_path: Path) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *PATIENT_START))
    folder = EbFolder(site, tmp_path / "shop")
    folder.link()
    before = running(site)
    with site.load(rate=40, path="/version") as run:
        told = whole(site, folder.eb("config", "shop-dev", stdin=DOCUMENT), EnvironmentName="shop-dev")
        assert told[-1] == UPDATED
        assert not set(before) & set(running(site))
        now = running(site)
        told = whole(site, folder.eb("setenv", "FROM=eb"), EnvironmentName="shop-dev")
        assert told[-1] == UPDATED
        assert "FROM changes: every instance gets the new configuration." in told
        assert running(site) == now
        for number in (3, 1):
            told = whole(site, folder.eb("scale", str(number)), EnvironmentName="shop-dev")
            assert told[-1] == UPDATED
            assert len(running(site)) == number
        assert set(running(site)) <= set(now), "the newest ones leave"
    assert run.report["failed"] == 0, lost(run.report)

    refused = folder.eb("config", "shop-dev", stdin=DOCUMENT + "  aws:autoscaling:asg:\n    MaxSize: 0\n", expected=4)
    assert "MinSize is greater than MaxSize" in refused.text
    single = "OptionSettings:\n  aws:elasticbeanstalk:environment:\n    EnvironmentType: SingleInstance\n"
    refused = folder.eb("config", "shop-dev", stdin=single, expected=4)
    assert "You can't enable rolling updates for a single-instance environment" in refused.text
    assert site.environment()["Status"] == "Ready"


def test_a_single_instance_becomes_many_and_one_again(site: Site, tmp_path: Path) -> None:
    kind = ("aws:elasticbeanstalk:environment", "EnvironmentType", "SingleInstance")
    site.create(app("probe", "v1"), settings=(*BRISK, *PATIENT_START, kind))
    folder = EbFolder(site, tmp_path / "shop")
    folder.link()
    (first,) = running(site)
    with site.load(rate=40, path="/version") as run:
        told = whole(site, folder.eb("scale", "3", "--force"), EnvironmentName="shop-dev")
        assert told[-1] == UPDATED
        assert len(running(site)) == 3
        assert first in running(site), "both kinds are the same slots behind the same balancer"
        single = "OptionSettings:\n  aws:elasticbeanstalk:environment:\n    EnvironmentType: SingleInstance\n"
        told = whole(site, folder.eb("config", "shop-dev", stdin=single), EnvironmentName="shop-dev")
        assert told[-1] == UPDATED
        assert running(site) == [first]
    assert run.report["failed"] == 0, lost(run.report)
