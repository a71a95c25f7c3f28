from collections.abc import Iterator

import pytest
from beanpole_site import Site

LONGEST = ("test_no_request_is_lost", "test_crashes", "test_eb_", "test_bad_luck")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that is begun at the end keeps everybody waiting."""

    def rank(item: pytest.Item) -> int:
        return next((at for at, name in enumerate(LONGEST) if item.path.name.startswith(name)), len(LONGEST))

    items.sort(key=rank)


@pytest.fixture
def site() -> Iterator[Site]:
    """A control plane of the test's own. All that it started is ended, and it is an error when something stays."""
    made = Site()
    try:
        made.start()
        yield made
    finally:
        print("control plane:", made.process and made.process.exitcode)
        print(made.log())  # shown where the test fails
        made.end()
