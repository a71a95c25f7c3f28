"""The example is what its README says: trained by its own script, same bytes each time, v3 cannot start.

Its code runs in an environment made from its own requirements.txt, as on an instance, not in the one of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import uv

EXAMPLE = Path(__file__).parents[2] / "examples" / "pet-breeds"
STARTS = {"v1-good": "v1", "v2-better": "v2"}
TRAINED = [*STARTS, "v3-broken"]
INSTALL_LIMIT = 150  # seconds; a first run downloads numpy
# The Flask client speaks to the application as a server would; one line of JSON comes back for each question.
ASK = """
import json, sys
from application import application
client = application.test_client()
for line in sys.stdin:
    method, path, body = json.loads(line)
    answer = client.open(path, method=method, data=body, content_type="application/json")
    print(json.dumps([answer.status_code, answer.headers["X-App-Version"], answer.get_data(as_text=True)]))
"""


def python(folder: str, *words: str, asked: str = "") -> subprocess.CompletedProcess[str]:
    """Runs Python in the example's folder with exactly what its requirements.txt gives."""
    run = [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--isolated", "--with-requirements", "requirements.txt"]
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return subprocess.run(
        [*run, "python", *words],
        cwd=EXAMPLE / folder,
        input=asked,
        capture_output=True,
        text=True,
        timeout=INSTALL_LIMIT,
        check=False,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def ask(folder: str, *questions: tuple[str, str, str]) -> list[tuple[int, str, str]]:
    done = python(folder, "-c", ASK, asked="".join(json.dumps(question) + "\n" for question in questions))
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("folder", TRAINED)
def test_training_again_writes_the_same_bytes(folder: str, tmp_path: Path) -> None:
    fresh = tmp_path / "model.json"
    done = python(folder, "train.py", str(fresh))
    assert done.returncode == 0, done.stderr
    assert fresh.read_bytes() == (EXAMPLE / folder / "model.json").read_bytes()


def test_the_second_version_is_right_more_often() -> None:
    accuracy = {name: json.loads((EXAMPLE / name / "model.json").read_text())["accuracy"] for name in STARTS}
    assert accuracy["v2-better"] > accuracy["v1-good"] + 0.05
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert all(f"| {share:.1%}".replace("%", " %") in readme for share in accuracy.values())


@pytest.mark.parametrize(("folder", "version"), STARTS.items())
def test_it_answers_and_names_its_version(folder: str, version: str) -> None:
    labrador, papillon = '{"weight_kg": 29, "height_cm": 57}', '{"weight_kg": 3, "height_cm": 24}'
    answers = ask(
        folder,
        ("GET", "/", ""), ("GET", "/health", ""), ("GET", "/version", ""), ("GET", "/nowhere", ""),
        ("POST", "/predict", labrador), ("POST", "/predict", papillon),
    )  # fmt: skip
    assert [status for status, _, _ in answers] == [200, 200, 200, 404, 200, 200]
    assert {named for _, named, _ in answers} == {version}
    assert json.loads(answers[2][2])["version"] == version
    first, second = (json.loads(text) for _, _, text in answers[4:])
    assert (first["breed"], second["breed"]) == ("Labrador Retriever", "Papillon")
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("folder", STARTS)
def test_a_bad_question_gets_a_sentence(folder: str) -> None:
    bad = {
        "no json": "JSON object",
        "[]": "JSON object",
        '{"height_cm": 57}': "weight_kg is missing",
        '{"weight_kg": "29", "height_cm": 57}': "weight_kg must be a number",
        '{"weight_kg": true, "height_cm": 57}': "weight_kg must be a number",
        '{"weight_kg": NaN, "height_cm": 57}': "weight_kg is out of range",
        '{"weight_kg": 29, "height_cm": 1e999}': "height_cm is out of range",
        '{"weight_kg": -1, "height_cm": 57}': "weight_kg is out of range",
    }
    answers = ask(folder, *(("POST", "/predict", body) for body in bad))
    for sentence, (status, _, text) in zip(bad.values(), answers, strict=True):
        assert status == 400
        assert sentence in json.loads(text)["error"]


def test_the_broken_version_cannot_be_imported() -> None:
    done = python("v3-broken", "-c", "import application")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'tensorflow_addons'"


def test_the_versions_need_the_same_packages() -> None:
    """So that the step from one to the next installs nothing."""
    assert len({(EXAMPLE / name / "requirements.txt").read_text() for name in TRAINED}) == 1
