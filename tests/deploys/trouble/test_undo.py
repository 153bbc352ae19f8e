"""Taking back what was done: whoever did it, from wherever, unless somebody has gone on since."""

from __future__ import annotations

import re
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
