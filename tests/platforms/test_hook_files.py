"""Which files of a bundle are hooks."""

import pytest

from beanpole.platforms.hooks import has_hooks, never_run

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".platform/hooks/postdeploy/01.sh", True),
        (".platform/confighooks/prebuild/01.sh", True),
        (".platform/hooks", True),  # a link to a folder elsewhere in the bundle
        (".platform", True),
        (".platform/nginx/conf.d/a.conf", False),
        (".platform/hooks.txt", False),
        ("app/.platform/hooks/postdeploy/01.sh", False),
        ("hooks/postdeploy/01.sh", False),
    ],
)
def test_what_may_be_a_hook(path: str, found: bool) -> None:
    assert has_hooks(["application.py", path]) is found


def test_what_lies_in_no_stage_is_told() -> None:
    wrong = [".platform/confighooks/postbuild/01.sh", ".platform/hooks/01.sh", ".platform/hooks/postdeploy"]
    right = [".platform/hooks/predeploy/01.sh", ".platform/hooks/predeploy/lib/x.sh", ".platform", ".platform/hooks"]
    assert never_run([*right, *wrong[::-1]]) == wrong
