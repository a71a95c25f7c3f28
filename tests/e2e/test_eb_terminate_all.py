"""`eb terminate --all`: the application goes with everything that it has, also while something is under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from beanpole_site import Site, app, wait_for
from eb_folder import EbFolder, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SLOW = {"Procfile": "web: sh -c 'sleep 60; python server.py'\n"}


@pytest.mark.long
def test_everything_of_an_application_and_nothing_of_another(site: Site, tmp_path: Path) -> None:
    site.create(app("probe", "v1"))
    site.version("other", "v1", app("probe", "v1"))
    folder, neighbour = EbFolder(site, tmp_path / "shop", app("probe", "v1")), EbFolder(site, tmp_path / "neighbour")
    folder.init()
    neighbour.init(application="other")
    neighbour.begin("create", "other-dev", "--version", "v1", "--nohang").ended()
    folder.write(SLOW)
    launching = folder.begin("create", "shop-slow", "--single")
    wait_for(
        "the launch", lambda: len(site.client().describe_environments(ApplicationName="shop")["Environments"]) == 2
    )

    wrong = folder.eb("terminate", "--all", stdin="shopping\n", expected=4)
    assert "Running environments: 2" in wrong.text
    assert "Names do not match" in wrong.text
    assert site.get("/version")[0] == 200
    everything = folder.eb("terminate", "--all", stdin="shop\n")
    assert whole(site, everything, ApplicationName="shop")[-1] == "The application has been deleted successfully."
    assert whole(site, launching.ended(expected=4), EnvironmentName="shop-slow")[-1] == "Failed to launch environment."

    client = site.client()
    assert [found["ApplicationName"] for found in client.describe_applications()["Applications"]] == ["other"]
    assert client.describe_environments(ApplicationName="shop")["Environments"] == []
    bucket = client.create_storage_location()["S3Bucket"]
    assert "Contents" not in site.client("s3").list_objects(Bucket=bucket, Prefix="shop/")
    assert site.get("/version")[0] == 404
    assert not (folder.path / ".elasticbeanstalk").exists()
    assert 'You must first run "eb init"' in folder.eb("deploy", expected=126).text

    # The names are free at once, and the neighbour has noticed nothing.
    assert "Application shop has been created." in folder.init().text
    site.ended(
        request_id=site.client("beanpole").describe_operations(EnvironmentName="other-dev")["Operations"][0][
            "RequestId"
        ]
    )
    assert site.serving("other-dev") == {"v1"}
