from collections.abc import Iterator

import pytest
from beanpole_site import Site


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
