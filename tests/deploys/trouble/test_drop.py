"""strategy=drop: the old procedure done right, in which nothing that is dropped is lost either."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

Scene = Any

pytestmark = pytest.mark.slow

KILL = signal.SIGKILL
LINES = [
    "Stopping ",
    "Taking a fresh backup",
    "Fresh backup",
    "Dropped, restored and proved",
    "Step: push",
    "Build complete",
    "Step: verify",
    "Started again",
]


def formation(scene: Scene) -> dict[str, int]:
    """How many containers of each type the platform is asked to run."""
    path = f"/v1/apps/{scene.operator.app}/containers"
    return {
        line["name"]: line["amount"]
        for line in scene.operator.sandbox.client().get(path).json()["containers"]
    }


def test_everything_is_back_where_it_was_wanted(incident_scene: Scene) -> None:
    scene = incident_scene
    before = formation(scene)
    ran = scene.roll_back(strategy="drop")
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "new")
    assert formation(scene) == before
    assert set(scene.operator.pages().values()) == {200}
    assert scene.operator.sessions() == 0
    order = [
        ran.text.index(line) for line in ("Stopping ", "Fresh backup", "Dropped, restored", "Step: push")
    ]
    assert order == sorted(order), "nothing is written between the backup and the drop"
    again = scene.roll_back(strategy="drop")
    assert "Nothing to change." in again.text


def test_fresh_backup_is_not_the_latest(scene: Scene) -> None:
    """`latest` is the newest backup of what people want back, not that of what a drop was about to drop."""
    ran = scene.roll_back(strategy="drop")
    assert ran.code == 0, ran.text
    safety = re.search(r"backup=id:(\S+)", ran.text)
    assert safety, ran.text
    plan = scene.operator.run("restore", "--dry", yes=False, backup="latest")
    assert safety[1] not in plan.text


def test_archive_in_use_is_not_what_a_full_cache_forgets(scene: Scene) -> None:
    """The fresh backup, fetched in between, is one archive too many for the cache."""
    cache = scene.operator.home / ".cache" / "operations" / "backups" / scene.operator.environment
    for number in range(3):
        other = cache / scene.operator.app / f"other{number}"
        other.mkdir(parents=True, exist_ok=True)
        os.utime(other, (time.time() + 3600,) * 2)
    ran = scene.roll_back(strategy="drop")
    assert ran.code == 0, ran.text
    assert scene.now() == ("new", "new")


@pytest.mark.parametrize("line", LINES)
def test_killed(incident_scene: Scene, line: str) -> None:
    """The data is old, new or half dropped with the fresh backup at hand; the same command ends it."""
    scene = incident_scene
    before = formation(scene)
    ran = scene.operator.run_until("rollback", line, KILL, **scene.wanted, strategy="drop")
    assert ran.code == -KILL, ran.text
    assert scene.operator.left_behind() == []
    again = scene.roll_back(strategy="drop")
    assert again.code == 0, again.text
    assert scene.now() == ("new", "new")
    assert formation(scene) == before
    assert set(scene.operator.pages().values()) == {200}
    assert scene.operator.sessions() == 0


def test_killed_then_ended_from_another_laptop(incident_scene: Scene) -> None:
    """How many containers there were is in the database's mark as well as in the journal."""
    scene = incident_scene
    before = formation(scene)
    scene.operator.run_until(
        "rollback", "Dropped, restored and proved", KILL, **scene.wanted, strategy="drop"
    )
    journal = scene.operator.sandbox.folder / "journal" / f"{scene.operator.environment}.jsonl"
    journal.unlink()
    again = scene.roll_back(strategy="drop")
    assert again.code == 0, again.text
    assert scene.now() == ("new", "new")
    assert formation(scene) == before
