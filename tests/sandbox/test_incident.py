"""The staged incident on a real sandbox: what it says, what it leaves, and that it can be staged again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import incident, lifecycle
from sandbox.control import Control
from sandbox.demo import repository

PREPROD, PROD = incident.APPS


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    folder = tmp_path_factory.mktemp("incident")
    try:
        yield Control(lifecycle.up(folder, None, say=lambda _line: None))
    finally:
        lifecycle.down(folder)


@pytest.fixture(scope="module")
def said(control: Control) -> list[str]:
    """What staging it printed."""
    lines: list[str] = []
    incident.stage(control, lines.append)
    return lines


def rows(control: Control, app: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(control.database(app)["url"], autocommit=True) as connection:
        return connection.execute(query).fetchall()


def test_it_says_each_phase_in_one_line(said: list[str]) -> None:
    for app in incident.APPS:
        own = [line.removeprefix(f"{app}: ") for line in said if line.startswith(f"{app}: ")]
        patterns = [
            r"pushing v1\.0\.0 \([0-9a-f]{8}\)",
            r"v1\.0\.0 runs, deployed in \d+\.\d s",
            r"nightly backup \d{14}_\w+, \d+ bytes",
            r"4 suggestions written by visitors since",
            r"pushing v1\.1\.0 \([0-9a-f]{8}\)",
            r"v1\.1\.0 runs, deployed in \d+\.\d s",
            r"/carte answers 500, /formulaire answers 500",
        ]
        spoken = [line for line in own if line != "the worker runs too"]
        assert len(spoken) == len(patterns)
        for pattern, line in zip(patterns, spoken, strict=True):
            assert re.fullmatch(pattern, line), line


def test_the_faulty_release_runs_on_destroyed_data(control: Control, said: list[str]) -> None:
    faulty = repository.resolve(Path(control.state.folder, repository.PUBLISHED), "v1.1.0")
    for app in incident.APPS:
        assert incident.status(app, control)["commit"] == faulty
        assert incident.look(app, control) == {"/carte": 500, "/formulaire": 500}
        assert rows(control, app, "SELECT count(*) < 2000 FROM places_place") == [(True,)]
        left = rows(
            control, app, "SELECT p.name FROM suggestions_suggestion s JOIN places_place p ON p.id = place_id"
        )
        assert sorted(left) == [("Lagos",), ("Lyon",)], "one was taken for a double, one was of a small town"


def test_the_worker_works(control: Control, said: list[str]) -> None:
    for app in incident.APPS:
        assert f"worker-1 of {app}" in control.status()["parts"]
        assert rows(control, app, "SELECT worker FROM places_heartbeat") == [("worker-1",)]


def test_backups_lie_between_the_releases_and_lack_what_visitors_wrote(
    control: Control, said: list[str]
) -> None:
    with incident._session() as operator:
        for app in incident.APPS:
            found = incident._ask(control, operator, "GET", f"apps/{app}/deployments").json()["deployments"]
            faulty, good = [item for item in found if item["status"] == "success"]
            [name] = [
                line.split()[3].rstrip(",") for line in said if line.startswith(f"{app}: nightly backup")
            ]
            taken = datetime.strptime(f"{name[:14]} +0000", "%Y%m%d%H%M%S %z")
            ended, began = (
                datetime.fromisoformat(text) for text in (good["finished_at"], faulty["created_at"])
            )
            assert ended.replace(microsecond=0) <= taken <= began


def test_the_check_account_s_variables_are_kept(control: Control, said: list[str]) -> None:
    def password() -> str:
        with incident._session() as operator:
            known = incident._ask(control, operator, "GET", f"apps/{PROD}/variables").json()["variables"]
        return str(next(item["value"] for item in known if item["name"] == "CHECK_PASSWORD"))

    before = password()
    incident.declare_variables(PROD, control)
    assert password() == before


def test_a_failed_build_is_shown_and_changes_nothing(control: Control, said: list[str]) -> None:
    before = incident.status(PREPROD, control)["commit"]
    with pytest.raises(incident.IncidentError) as caught:
        incident.deploy(PREPROD, "broken-build", control, lambda _line: None)
    text = str(caught.value)
    assert text.startswith(f"{PREPROD}: broken-build was not deployed:")
    assert "Unknown command: 'compress'" in text
    assert "\x1b" not in text and "remote:" not in text
    assert incident.status(PREPROD, control)["commit"] == before


def test_writes_on_a_page_that_fails_are_said(control: Control, said: list[str]) -> None:
    with pytest.raises(incident.IncidentError, match=r"the form answered \d+ instead of thanking"):
        incident.writes(PREPROD, 1, control)


@pytest.mark.slow
def test_it_can_start_over(control: Control, said: list[str]) -> None:
    """Also where the good release runs, which a push alone would not deploy again."""
    lines: list[str] = []
    for _ in range(2):
        incident.start_over(PREPROD, control, lines.append)
        incident.deploy(PREPROD, incident.GOOD, control, lines.append)
        assert incident.look(PREPROD, control) == {"/carte": 200, "/formulaire": 200}
        assert rows(control, PREPROD, "SELECT count(*) FROM suggestions_suggestion") == [(0,)]
        assert incident.writes(PREPROD, 1, control, lines.append) == [
            "Votre suggestion n° 1 est enregistrée."
        ]
    incident.deploy(PREPROD, incident.GOOD, control, lines.append)
    assert lines[-1] == f"{PREPROD}: v1.0.0 runs already"


def test_the_key_is_pinned(control: Control, said: list[str]) -> None:
    kept, control.state.host_key = control.state.host_key, control.state.public_key
    try:
        with pytest.raises(incident.IncidentError, match="Host key verification failed"):
            incident.deploy(PROD, "v1.0.1", control, lambda _line: None)
    finally:
        control.state.host_key = kept


def test_no_sandbox_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert incident.main(["--state", str(tmp_path)]) == 1
    assert "python -m sandbox up" in capsys.readouterr().err
