"""The plan of a rollback says what changes, what is lost, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.plan import render
from tasks.postgres.live import LiveFacts
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.planning import plan
from tasks.rollback.situation import Fetched, Situation

Make = Callable[..., Situation]


def lines(situation: Situation, *, full: bool = True) -> list[str]:
    return [line.strip() for line in render(plan("app", situation), full=full)]


def test_code_and_data_with_their_consequences(situation: Make) -> None:
    found = lines(situation(), full=False)
    assert found[0] == "Roll back app (prod)"
    assert "~ code of app: bbbbbbbb → v1.0.0 (aaaaaaaa) Good release" in found
    assert "DESTROYS: 1 commit of code goes, 0 come back" in found
    assert any(
        line.startswith("~ data of app: live, 50.0 MB → backup 20260131000000_demo_1") for line in found
    )


def test_full_plan_lists_commits_rows_and_steps(situation: Make) -> None:
    fetched = Fetched(Path("x"), "0" * 64, 1, {"places": 100, "back": 7}, None)
    found = lines(situation(fetched=fetched))
    assert "lost: bbbbbbbb 2026-01-31 Ada: Merge the columns" in found
    assert "places: about 120 rows, 100 in the backup" in found
    assert "gone: about 3 rows; not in the backup, it goes" in found
    assert "back: comes back with 7 rows" in found
    assert any(line.endswith("swap the data, in one transaction") for line in found)


def test_swap_before_the_boot_is_a_step_of_the_push(situation: Make) -> None:
    fine = situation()
    found = lines(replace(fine, intent=replace(fine.intent, before_boot=True)))
    assert any("between its build and its boot" in line for line in found)


def test_a_run_that_goes_on_says_from_where(situation: Make, live: LiveFacts) -> None:
    fine = situation()
    run = fine.intent.run
    staged = Mark("new", run, "proved", backup="b1")
    found = lines(replace(fine, live=replace(live, state=DataState(stages=(staged,)))))
    assert f"Goes on from new_{run}, which an earlier run restored and proved." in found
    moment = datetime(2026, 1, 31, 3, 59, tzinfo=UTC)
    swapped = Mark("before", run, "swapped", number=1, backup="b1", created=moment)
    found = lines(replace(fine, live=replace(live, state=DataState(set_aside=(swapped,)))))
    assert "Goes on after the swap of 2026-01-31 03:59 UTC, which nothing has confirmed yet." in found
    assert not any(line.startswith("~ data") for line in found)


def test_data_alone_leaves_the_code_out(situation: Make) -> None:
    fine = situation()
    found = lines(replace(fine, intent=replace(fine.intent, target=None), push=None))
    assert not any("code of app" in line for line in found)
