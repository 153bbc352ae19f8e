"""What `forget` may drop, and what has to stay for an undo to tell the truth."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tasks.core.errors import Refused
from tasks.postgres.marks import DataState, Mark
from tasks.rollback.setting_aside import check_order, described, droppable

Scene = Any
THEN = datetime(2026, 1, 31, 4, 0, tzinfo=UTC)
DROP = Mark("drop", "r2", "restored", created=THEN, confirmed=True)
OLDER = Mark("before", "r1", "swapped", number=1, created=THEN - timedelta(days=1), confirmed=True)
NEWER = replace(OLDER, run="r3", number=2, created=THEN + timedelta(days=1))


def test_the_mark_of_a_restore_by_dropping_that_has_ended_can_go() -> None:
    assert droppable(DataState(set_aside=(OLDER,), dropping=DROP)) == (OLDER, DROP)
    assert (
        described(DROP, THEN) == "drop_r2, the empty mark of the restore by dropping of 2026-01-31 04:00 UTC"
    )


@pytest.mark.parametrize("drop", [replace(DROP, state="dropping"), replace(DROP, confirmed=False), None])
def test_that_of_a_restore_which_has_not_ended_stays(drop: Mark | None) -> None:
    assert droppable(DataState(set_aside=(OLDER,), dropping=drop)) == (OLDER,)


def test_it_stays_while_an_undo_would_take_older_data_for_what_it_replaced() -> None:
    with pytest.raises(Refused, match="an undo would bring back before_r1"):
        check_order(DROP, (OLDER, NEWER, DROP))
    check_order(DROP, (NEWER, DROP))
    check_order(OLDER, (OLDER, DROP))


@pytest.mark.slow
def test_a_restore_by_dropping_leaves_nothing_once_it_is_forgotten(scene: Scene) -> None:
    operator = scene.operator
    for mark in (*operator.schemas("before"), *operator.schemas("after")):
        operator.sql(f"DROP SCHEMA {mark} CASCADE; SELECT 1")
    ran = scene.roll_back(strategy="drop")
    assert ran.code == 0, ran.text
    (schema,) = operator.schemas("drop")
    early = operator.run("forget", set_aside=schema)
    assert early.code == 3
    assert "no platform backup begun after its cut-over" in early.text
    operator.backup()
    done = operator.run("forget", set_aside=schema)
    assert done.code == 0, done.text
    assert f"Dropped {schema}: 0 tables." in done.text
    assert operator.schemas("drop") == []
    assert "Nothing to change: nothing is set aside." in operator.run("forget").text


@pytest.mark.slow
def test_generations_go_by_number_and_never_take_along_what_needs_them(scene: Scene) -> None:
    operator = scene.operator
    for _ in range(2):
        assert scene.roll_back(tag="none").code == 0
        operator.write(1)
        time.sleep(1.1)  # two restores of the same backup are told apart by what was written since
        scene.wanted["backup"] = f"id:{operator.backup()['id']}"
    older, newer = sorted(operator.schemas("before"))
    plan = operator.run("restore", "--dry", yes=False, backup="latest")
    for schema in (older, newer):
        assert re.search(rf"Kept: {schema}, set aside at .* \(\d+ min ago\), [\d.]+ MB", plan.text), plan.text

    change(operator, f"create view public.theirs as select * from {older}.places_place")
    refused = operator.run("forget", keep="1")
    assert refused.code == 3
    assert "it is needed by view public.theirs" in refused.text
    change(operator, "drop view public.theirs")

    nothing = operator.run("forget", older_than="30d")
    assert nothing.code == 0
    assert "Nothing to change: all of it stays." in nothing.text
    assert f"{newer}, set aside" in nothing.text
    assert "stays, undo needs it" in nothing.text
    done = operator.run("forget", keep="1")
    assert done.code == 0, done.text
    assert operator.schemas("before") == [newer]


@pytest.mark.slow
def test_at_a_terminal_tables_are_chosen_from_a_list(scene: Scene, terminal: Any) -> None:
    operator = scene.operator
    assert scene.roll_back().code == 0
    gone = scene.data
    at = terminal(operator, "bring_back")
    listed = at.expect("Tables of before_")
    assert re.search(r"suggestions_suggestion +\d+ +0", listed), listed
    at.type("nonsense")
    at.expect("is not in the list")
    number = re.search(r"(\d+) +suggestions_suggestion", listed)
    assert number
    at.type(number[1])
    at.expect("Press enter to execute")
    at.type("")
    assert at.end() == 0, at.text
    assert at.text.count("Gates:") == 1, "the plan is shown once"
    assert scene.now()[1] == "old", gone


def change(operator: Any, statement: str) -> None:
    with psycopg.connect(operator.control.database(operator.app)["url"], autocommit=True) as connection:
        connection.execute(statement.encode())
