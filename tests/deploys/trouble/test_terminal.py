"""At a terminal: what is asked, what is suggested, and that nothing happens which was not agreed to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

Scene = Any
Operator = Any
Start = Callable[..., Any]

ENTER = ""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_lists_with_suggestions_that_enter_accepts(scene: Scene, terminal: Start) -> None:
    operator = scene.operator
    operator.deploy("v1.0.0")
    time.sleep(1.1)  # the platform tells times in seconds
    suggested = operator.backup()
    time.sleep(1.1)
    operator.deploy("v1.0.1")
    later = operator.backup()

    at = terminal(operator, "rollback")
    releases = at.expect("Release to roll back to")
    row = {tag: _row(releases, tag) for tag in ("v0.9.0", "v1.0.0", "v1.0.1", "v1.1.0")}
    assert "running" in row["v1.0.1"]
    assert "suggested" in row["v1.0.0"]
    assert "suggested" not in row["v0.9.0"] + row["v1.0.1"] + row["v1.1.0"]
    assert re.search(r"2025-\d\d-\d\d", row["v1.0.0"])
    assert re.search(r"Camille Moreau|Yanis Benali|Elsa Lindqvist", row["v1.0.0"])
    assert re.search(r" 2 .*suggested", row["v1.0.0"]), "commits between"
    assert "(v1.0.0)" in at.expect(":")
    at.type("99")
    at.expect("is not in the list")
    at.type(ENTER)

    backups = at.expect("Backup to restore")
    assert "suggested" in _row(backups, suggested["name"]), backups
    assert "suggested" not in _row(backups, later["name"])
    assert re.search(r"\d+ min\s+[\d.]+ kB\s+done", _row(backups, suggested["name"])), "age, size, state"
    at.expect(":")
    at.type(ENTER)

    plan = at.expect("Press enter to execute")
    assert "v1.0.0" in plan
    assert suggested["name"] in plan
    assert "DESTROYS" in plan
    at.type(ENTER)
    assert at.end() == 0, at.text
    assert scene.operator.release() == scene.good
    assert at.text.count("Gates:") == 1, "the plan is shown once"


def _row(table: str, cell: str) -> str:
    """The row of a cell, by its beginning: a narrow terminal folds long names."""
    return next(line for line in table.splitlines() if cell[:16] in line)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["no", "\x04"])
def test_declined_prompt_changes_nothing(scene: Scene, terminal: Start, answer: str) -> None:
    at = terminal(scene.operator, "rollback", **scene.wanted)
    at.expect("Press enter to execute")
    at.type(answer)
    at.end()
    assert "Step: " not in at.text
    assert scene.now() == ("old", "old")
    assert scene.told() == ""


@pytest.mark.slow
@pytest.mark.parametrize("question", ["Release to roll back to", "Backup to restore", "Press enter"])
def test_ctrl_c_at_a_question(scene: Scene, terminal: Start, question: str) -> None:
    first = {"Release to roll back to": {}, "Backup to restore": {"tag": "v1.0.0"}}
    given = first.get(question, scene.wanted)
    at = terminal(scene.operator, "rollback", **given)
    at.expect(question)
    at.interrupt()
    at.end()
    assert "Step: " not in at.text
    assert scene.now() == ("old", "old")
    assert scene.operator.left_behind() == []


@pytest.mark.slow
def test_protected_wants_its_name_and_the_data_administrators(
    protected_scene: Scene, terminal: Start
) -> None:
    scene = protected_scene
    more = {**scene.wanted, "skip_rehearsal": "rehearsed by hand, see the log of today"}
    at = terminal(scene.operator, "rollback", **more)
    at.expect("sandbox is protected. Type its name to go on")
    at.type("sandboxx")
    assert at.end() == 3, at.text
    assert "its name was not typed" in at.text

    at = terminal(scene.operator, "rollback", **more)
    at.expect("sandbox is protected. Type its name to go on")
    at.type("sandbox")
    at.expect("Press enter to execute")
    at.type(ENTER)
    shown = at.expect("Data administrator (Christian): type your name")
    assert "suggestions_suggestion: 1 row" in shown
    at.type("Nobody")
    assert at.end() == 3, at.text
    assert "not the declared data administrator" in at.text
    assert scene.now() == ("old", "old")
    assert "accord attendu" in scene.told()
    assert scene.last_record()["result"] == "staged"

    at = terminal(scene.operator, "rollback", **more)
    assert "Goes on from new_" in at.expect("Type its name to go on")
    at.type("sandbox")
    at.expect("Press enter to execute")
    at.type(ENTER)
    at.expect("type your name")
    at.type("christian")
    assert at.end() == 0, at.text
    assert "Step: restore the backup" not in at.text
    assert scene.now() == ("new", "new")


@pytest.mark.slow
def test_progress_is_in_place(scene: Scene, terminal: Start) -> None:
    scene.operator.control.slow_tunnels(40)
    at = terminal(scene.operator, "rollback", **{**scene.wanted, "tag": "none"})
    at.expect("Press enter")
    at.type(ENTER)
    assert at.end() == 0, at.text
    assert re.search(r"\r\x1b\[K +Restoring beside: [\d.]+ \wB of [\d.]+ \wB, \d+ s", at.raw), at.text


@pytest.mark.slow
def test_no_color(scene: Scene, terminal: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    at = terminal(scene.operator, "rollback", backup="none")
    at.expect("Release to roll back to")
    at.type(ENTER)
    at.expect("Press enter")
    at.type("no")
    at.end()
    ours = at.raw[at.raw.index("Roll back sandbox-demo-preprod") : at.raw.index("to remove")]
    assert set(COLOUR.findall(ours)) <= {"\x1b[0m", "\x1b[1m", "\x1b[m"}


@pytest.mark.slow
def test_colour_repeats_what_words_say(scene: Scene, terminal: Start) -> None:
    at = terminal(scene.operator, "rollback", **scene.wanted)
    at.expect("Press enter")
    at.type("no")
    at.end()
    assert re.search(r"\x1b\[33m +DESTROYS", at.raw)
    assert re.search(r"\x1b\[32m +ok", at.raw)
