"""Taking back what was done: whoever did it, from wherever, unless somebody has gone on since."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Scene = Any
Operator = Any

pytestmark = pytest.mark.slow


def rename_lyon(operator: Operator, before: str, after: str) -> None:
    """What the declared search looks for is there under another name."""
    with psycopg.connect(operator.control.database(operator.app)["url"], autocommit=True) as connection:
        connection.execute(
            "update public.places_place set name = replace(name, %s, %s) where name like %s",
            (before, after, f"%{before}%"),
        )


@pytest.fixture
def another_laptop() -> Callable[[Operator], None]:
    """What was done so far is in nobody's journal here any more."""

    def forget(operator: Operator) -> None:
        journal: Path = operator.sandbox.folder / "journal" / f"{operator.environment}.jsonl"
        journal.unlink(missing_ok=True)

    return forget


def test_code_alone_whose_verification_failed(scene: Scene) -> None:
    rename_lyon(scene.operator, "Lyon", "Nowhere")
    try:
        ran = scene.roll_back(backup="none")
        assert ran.code == 7, ran.text
        assert scene.operator.release() == scene.good
        again = scene.roll_back(backup="none")
        assert again.code == 7, "it runs, and nobody has seen it pass: it is verified again"
        assert "Step: verify" in again.text
        assert "Step: push" not in again.text
    finally:
        rename_lyon(scene.operator, "Nowhere", "Lyon")
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "old")


def test_code_alone_after_a_swap_undoes_the_code_alone(scene: Scene) -> None:
    assert scene.roll_back(tag="none").code == 0
    assert scene.roll_back(backup="none").code == 0
    assert scene.now() == ("new", "new")
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "new")


def test_code_alone_unknown_to_this_laptop(scene: Scene, another_laptop: Callable[[Operator], None]) -> None:
    assert scene.roll_back(backup="none").code == 0
    another_laptop(scene.operator)
    undone = scene.operator.run("undo")
    assert undone.code == 0
    assert "the journal knows of no rollback" in undone.text
    assert scene.now() == ("new", "old")


def test_swap_from_another_laptop(incident_scene: Scene, another_laptop: Callable[[Operator], None]) -> None:
    scene = incident_scene
    assert scene.roll_back().code == 0
    another_laptop(scene.operator)
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "old")
    assert "with them, these fail" in undone.text, "the faulty release's pages"


@pytest.mark.parametrize("moved", [{}, {"backup": "none"}], ids=["swap", "code alone"])
def test_refused_where_somebody_has_deployed_since(scene: Scene, moved: dict[str, str]) -> None:
    assert scene.roll_back(**moved).code == 0
    scene.operator.deploy("v1.0.1~1")
    theirs = scene.operator.release()
    assert theirs not in (scene.good, scene.commit)
    refused = scene.operator.run("undo")
    assert refused.code == 3, refused.text
    assert f"{theirs[:8]} has been deployed since" in refused.text
    assert f"tag={scene.good}" in refused.text
    assert scene.operator.release() == theirs


def test_drop_is_undone_from_its_fresh_backup_by_the_command_that_it_names(scene: Scene) -> None:
    dropped = scene.roll_back(strategy="drop")
    assert dropped.code == 0, dropped.text
    assert scene.now() == ("new", "new")
    refused = scene.operator.run("undo")
    assert refused.code == 3
    assert "nothing to swap back" in refused.text
    named = re.search(r"rollback\.py --data tag=(\w+) --data backup=(id:\S+)", refused.text)
    assert named, refused.text
    back = scene.operator.run("rollback", tag=named[1], backup=named[2])
    assert back.code == 0, back.text
    assert scene.now() == ("old", "old")


def test_run_that_went_on_after_its_push_is_undone_to_what_ran_before_it(scene: Scene) -> None:
    killed = scene.until("Deployment ", signal.SIGKILL)
    assert killed.code == -signal.SIGKILL, killed.text
    assert scene.now() == ("new", "old")
    assert scene.roll_back().code == 0
    assert scene.now() == ("new", "new")
    undone = scene.operator.run("undo")
    assert undone.code == 0, undone.text
    assert scene.now() == ("old", "old")


@pytest.mark.parametrize("line", ["Step: push", "Deployment ", "Swapped", "Step: verify"])
def test_killed_undo_is_ended_by_the_next(scene: Scene, line: str) -> None:
    assert scene.roll_back().code == 0
    killed = scene.operator.run_until("undo", line, signal.SIGKILL)
    assert killed.code == -signal.SIGKILL, killed.text
    assert scene.operator.left_behind() == []
    scene.settle()
    code, data = scene.now()
    assert {code, data} <= {"old", "new"}
    again = scene.operator.run("undo")
    assert again.code == 0, again.text
    assert scene.now() == ("old", "old")
    assert set(scene.operator.pages().values()) == {200}


@pytest.mark.parametrize("line", ["Step: restore", "Restored beside", "Swapped", "Step: verify"])
def test_killed_restore_is_ended_by_the_next(scene: Scene, line: str) -> None:
    wanted = {"backup": scene.wanted["backup"]}
    killed = scene.operator.run_until("restore", line, signal.SIGKILL, **wanted)
    assert killed.code == -signal.SIGKILL, killed.text
    assert scene.now() in (("old", "old"), ("old", "new"))
    again = scene.operator.run("restore", **wanted)
    assert again.code == 0, again.text
    assert scene.now() == ("old", "new")
    assert scene.operator.schemas("new") == []
    assert len(scene.operator.schemas("before")) == 1
    assert scene.operator.sessions() == 0


def test_killed_forget_has_forgotten_all_or_nothing(scene: Scene) -> None:
    operator = scene.operator
    assert scene.roll_back().code == 0
    (aside,) = operator.schemas("before")
    operator.backup()
    killed = operator.run_until("forget", "dropped for good", signal.SIGKILL, set_aside=aside)
    assert killed.code == -signal.SIGKILL, killed.text
    assert operator.schemas("before") in ([], [aside])
    again = operator.run("forget", set_aside=aside)
    assert again.code == 0 or "Nothing to change" in again.text
    assert operator.schemas("before") == []
    assert scene.now() == ("new", "new")


def test_forget_asks_once_and_drops_what_it_showed(scene: Scene, terminal: Callable[..., Any]) -> None:
    operator = scene.operator
    assert scene.roll_back().code == 0
    assert operator.run("undo").code == 0
    assert scene.roll_back(tag="none").code == 0
    operator.backup()
    schemas = [*operator.schemas("before"), *operator.schemas("after")]
    assert len(schemas) == 2, schemas
    at = terminal(operator, "forget")
    table = at.expect("Set-aside data to drop for good")
    assert all(schema in table for schema in schemas), table
    at.type("1")
    shown = re.search(r"- ((?:before|after)_\w+)", at.expect("Press enter to execute"))
    assert shown
    at.type("")
    assert at.end() == 0, at.text
    assert at.text.count("Set-aside data to drop for good") == 1, "asked once"
    left = [*operator.schemas("before"), *operator.schemas("after")]
    assert set(schemas) - set(left) == {shown[1]}
