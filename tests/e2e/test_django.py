"""Django with a migration that one instance runs for all: once in each deployment of a version, and never otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, ONE_BY_ONE, PATIENT_START, PROCESS, body, properties, rolled_back, shared_site

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("django")]

WHO_SERVES = """
import http.client, json, os
found = set()
for _ in range(10):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["EDGE"]))
    connection.request("GET", "/version", headers={"Host": "shop-dev.localhost"})
    found.add(json.load(connection.getresponse())["version"])
print(",".join(sorted(found)), file=open(os.environ["DB_PATH"] + ".served", "a"))
"""
"""What users get at the moment of the migration."""

MIGRATION = """
container_commands:
  01_who:
    command: test -z "$EDGE" || python who.py
    leader_only: true
  02_migrate:
    command: python manage.py migrate --noinput
    leader_only: true
  03_hold:
    command: while [ -e "$DB_PATH.hold" ]; do sleep 0.05; done
    leader_only: true
"""


class Shop:
    """The Django application on two instances, and what its migrations wrote down."""

    def __init__(self, site: Site) -> None:
        self.database = site.root / "shop.sqlite3"

    def files(self, version: str) -> dict[str, str]:
        return app("django", version, **{".ebextensions/01_migrate.config": MIGRATION, "who.py": WHO_SERVES})

    def lines(self, kind: str) -> list[str]:
        path = self.database.with_name(f"{self.database.name}.{kind}")
        return path.read_text().splitlines() if path.exists() else []

    def hold(self) -> None:
        self.database.with_name(f"{self.database.name}.hold").touch()

    def go_on(self) -> None:
        self.database.with_name(f"{self.database.name}.hold").unlink()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with shared_site() as made:
        yield made


@pytest.fixture(scope="module")
def shop(site: Site) -> Shop:
    made = Shop(site)
    health = (PROCESS, "HealthCheckPath", "/health")
    settings = (*BRISK, *PATIENT_START, *ONE_BY_ONE, health, *properties(DB_PATH=made.database))
    created = site.create(made.files("v1"), instances=2, settings=settings)
    assert created["Outcome"] == "succeeded", created
    return made


def test_a_migration_runs_once_before_any_instance_is_switched(site: Site, shop: Shop) -> None:
    assert shop.lines("runs") == ["migrate v1"]
    assert body(site, "/") == {"application": "django", "version": "v1", "articles": 1}

    assert site.deploy("v1", settings=properties(EDGE=site.port))["Outcome"] == "succeeded"
    assert shop.lines("runs") == ["migrate v1"], "other settings are no deployment of a version"

    sizes = (("aws:autoscaling:asg", "MinSize", "3"), ("aws:autoscaling:asg", "MaxSize", "3"))
    assert site.deploy("v2", shop.files("v2"), settings=sizes)["Outcome"] == "succeeded"
    assert shop.lines("runs") == ["migrate v1", "migrate v2"], "the third instance comes without one of its own"
    assert shop.lines("served") == ["v1"], "an instance was switched before the migration"
    assert site.serving() == {"v2"}

    assert rolled_back(site)["Outcome"] == "succeeded"
    assert site.serving() == {"v1"}
    assert shop.lines("runs") == ["migrate v1", "migrate v2"]


def test_a_migration_goes_on_when_the_control_plane_stops_or_dies_and_is_not_repeated(site: Site, shop: Shop) -> None:
    before = site.serving()
    shop.hold()
    request = site.begin("v3", shop.files("v3"))
    wait_for("the migration", lambda: "migrate v3" in shop.lines("runs"))
    site.stop()
    site.start()
    site.kill()
    site.start()
    assert site.serving() == before
    shop.go_on()
    ended = site.ended(request_id=request)
    assert ended["Outcome"] == "succeeded", ended
    assert shop.lines("runs").count("migrate v3") == 1
    assert site.serving() == {"v3"}
