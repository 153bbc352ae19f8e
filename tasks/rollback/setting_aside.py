"""Dropping what was set aside, for good: only what is named, and only once a newer backup is complete."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from tasks.core import paths
from tasks.core.errors import Refused
from tasks.core.journal import who
from tasks.core.prompts import Choice
from tasks.core.prompts import choose as ask
from tasks.core.screen import Screen
from tasks.core.wording import number_of
from tasks.postgres import forget as removal
from tasks.postgres import marks
from tasks.postgres.connection import connect
from tasks.postgres.lock import EnvironmentLock
from tasks.postgres.marks import DataState, Mark
from tasks.rollback import reading
from tasks.rollback.application import Application
from tasks.rollback.intent import new_run


def choose(app: Application, wanted: Any) -> Mark | None:
    """The set-aside data to drop: the one named, or asked for; None where there is none.

    Raises `Refused` where it must stay: no platform backup newer than its cut-over is complete, or an undo
    would be misled without it.
    """
    with app.database() as database, connect(database, new_run(), "read marks", read_only=True) as connection:
        aside = droppable(marks.read(connection))
    if not aside:
        return None
    name = str(wanted) if wanted is not None else _ask(aside)
    for mark in aside:
        if mark.schema == name:
            check_order(mark, aside)
            _check_backed_up(app, mark)
            return mark
    raise Refused(
        f"set_aside={name}",
        "nothing of that name is set aside",
        state="nothing was changed",
        next_step=f"one of {', '.join(mark.schema for mark in aside)}",
    )


def droppable(data: DataState) -> tuple[Mark, ...]:
    """What `forget` may drop: data set aside, and the empty schema that a restore by dropping leaves.

    The latter tells an undo that the last change can't be swapped back, and which backup brings it back. It
    is not among them while that restore goes on, or waits for somebody to say that it was right: it is then
    all that the next run knows of it.
    """
    drop = data.dropping
    ended = drop is not None and drop.state == "restored" and drop.confirmed
    return (*data.set_aside, drop) if drop is not None and ended else data.set_aside


def check_order(mark: Mark, aside: Sequence[Mark]) -> None:
    """Raise `Refused` for the mark of a restore by dropping over older data that is still set aside.

    An undo would take that data for what the last change has replaced.
    """
    older = [one.schema for one in aside if one.kind != "drop" and one.created < mark.created]
    if mark.kind == "drop" and older:
        raise Refused(
            f"Dropping {mark.schema}",
            f"without it an undo would bring back {older[-1]}, which was set aside before that restore",
            state="nothing was changed",
            next_step=f"drop those first: {', '.join(older)}",
        )


def described(mark: Mark) -> str:
    """What it is, for the line that says that it goes."""
    when = f"{mark.created:%Y-%m-%d %H:%M} UTC"
    if mark.kind == "drop":
        return f"{mark.schema}, the empty mark of the restore by dropping of {when}"
    return f"{mark.schema}, set aside at {when}"


def _ask(aside: tuple[Mark, ...]) -> str:
    newest = max(aside, key=lambda mark: mark.created)
    rows = [
        Choice(
            mark.schema,
            (mark.schema, f"{mark.created:%Y-%m-%d %H:%M}", mark.backup),
            "undo needs this one" if mark is newest else "",
        )
        for mark in aside
    ]
    return ask(
        "Set-aside data to drop for good",
        ("schema", "set aside (UTC)", "replaced by"),
        rows,
        preselected="",
        option="--data set_aside=NAME",
    )


def _check_backed_up(app: Application, mark: Mark) -> None:
    platform = reading.read_platform(app, backups=True)
    if any(backup.complete and backup.began > mark.created for backup in platform.backups):
        return
    raise Refused(
        f"Dropping {mark.schema}",
        f"no platform backup begun after its cut-over ({mark.created:%Y-%m-%d %H:%M} UTC) is complete",
        state="nothing was changed",
        next_step="wait for the next periodic backup, or have the platform make one now",
    )


def forget(app: Application, mark: Mark, screen: Screen) -> None:
    """Drop it, under the environment's lock. Raises as `tasks.postgres.forget.forget`."""
    run = new_run()
    with (
        app.database() as database,
        EnvironmentLock.take(database, run, who=who()),
        connect(database, run, "forget") as connection,
    ):
        tables = removal.forget(connection, mark)
    app.journal.append(
        run=mark.run, app=app.name, deploy="forget", result="succeeded", moved=False, data=mark.schema
    )
    shutil.rmtree(paths.state("losses", app.declared.environment, mark.run), ignore_errors=True)
    screen.good(f"Dropped {mark.schema}: {number_of(tables, 'table')}.")
