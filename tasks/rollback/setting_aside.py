"""Dropping what was set aside, for good: by name, by age or by number, once a newer backup is complete."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tasks.core import paths
from tasks.core.errors import Refused
from tasks.core.interrupts import Interrupts
from tasks.core.journal import who
from tasks.core.prompts import Choice
from tasks.core.prompts import choose as ask
from tasks.core.screen import Screen, amount_text
from tasks.core.wording import number_of
from tasks.postgres import forget as removal
from tasks.postgres import generations, marks
from tasks.postgres.connection import Connection, connect
from tasks.postgres.lock import EnvironmentLock
from tasks.postgres.marks import DataState, Mark
from tasks.rollback import reading
from tasks.rollback.application import Application
from tasks.rollback.choices import age_text
from tasks.rollback.intent import new_run

WORDS: Final = ("set_aside", "older_than", "keep", "confirm")
_NOTHING_CHANGED: Final = "nothing was changed"
_AGE: Final = re.compile(r"(\d{1,5})\s*([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True)
class Asked:
    """What is to be dropped, from `--data NAME=VALUE`: by name, or by age and number; None where not given.

    + older_than: only what was set aside longer ago
    + keep: only what is beyond so many of the newest
    """

    set_aside: str | None = None
    older_than: timedelta | None = None
    keep: int | None = None

    @property
    def by_rule(self) -> bool:
        return self.older_than is not None or self.keep is not None


def asked(data: Mapping[str, Any], given: Collection[str]) -> Asked:
    """What was asked for. Raises `Refused` for words that mean nothing here and values without sense."""
    for word in given:
        near = difflib.get_close_matches(word.replace("-", "_"), WORDS, n=1, cutoff=0.7)
        if near and word not in WORDS:
            raise _not_understood(f"{word}=...", "nothing is called so", f"is {near[0]} meant?")
    name, age, number = (data.get(word) for word in ("set_aside", "older_than", "keep"))
    if name is not None and (age is not None or number is not None):
        raise _not_understood(
            f"set_aside={name}", "older_than and keep choose by themselves", "give either a name or a rule"
        )
    older_than = None
    if age is not None:
        found = _AGE.fullmatch(str(age).strip())
        if found is None:
            raise _not_understood(f"older_than={age}", "that is no age", "write 30d, 12h or 2w")
        older_than = int(found[1]) * _UNITS[found[2]]
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise _not_understood(f"keep={number}", "that is no number to keep", "write 1, 2, 3 ...")
    return Asked(None if name is None else str(name), older_than, number)


def _not_understood(what: str, why: str, instead: str) -> Refused:
    return Refused(f"--data {what}", why, state=_NOTHING_CHANGED, next_step=instead)


@dataclass(frozen=True)
class Forgetting:
    """What goes and what stays, the oldest first.

    + sizes: in bytes, by schema
    + stays: with the reason
    """

    goes: tuple[Mark, ...]
    stays: tuple[tuple[Mark, str], ...]
    sizes: Mapping[str, int]
    now: datetime

    def line(self, mark: Mark) -> str:
        """A generation as one line."""
        return described(mark, self.now, self.sizes.get(mark.schema, 0))


def choose(app: Application, wanted: Asked) -> Forgetting | None:
    """What to drop: what is named, asked for, or meant by age and number; None where nothing is set aside.

    Raises `Refused` where it must stay: no platform backup newer than its cut-over is complete, something
    outside needs it, or an undo would be misled without it.
    """
    now = datetime.now(UTC)
    with app.database() as database, connect(database, new_run(), "read marks", read_only=True) as connection:
        aside = droppable(marks.read(connection))
        sizes = {one.mark.schema: one.bytes for one in generations.read(connection)}
        if not aside:
            return None
        goes = selected(aside, wanted, now) if wanted.by_rule else (_named(aside, wanted, sizes, now),)
        for at, mark in enumerate(goes):
            check_order(mark, [one for one in aside if one not in goes[:at]])
            _check_needed(connection, mark)
    _check_backed_up(app, goes)
    stays = tuple((mark, _reason(mark, aside, wanted)) for mark in aside if mark not in goes)
    return Forgetting(goes, stays, sizes, now)


def _named(aside: Sequence[Mark], wanted: Asked, sizes: Mapping[str, int], now: datetime) -> Mark:
    name = wanted.set_aside if wanted.set_aside is not None else _ask(aside, sizes, now)
    for mark in aside:
        if mark.schema == name:
            return mark
    raise Refused(
        f"set_aside={name}",
        "nothing of that name is set aside",
        state=_NOTHING_CHANGED,
        next_step=f"one of {', '.join(mark.schema for mark in aside)}",
    )


def selected(aside: Sequence[Mark], wanted: Asked, now: datetime) -> tuple[Mark, ...]:
    """What age and number mean, the oldest first. What an undo needs is never among it: that goes by name."""
    needed = needed_by_undo(aside)
    oldest_first = sorted(aside, key=lambda mark: mark.created)
    beyond = oldest_first[: max(0, len(oldest_first) - wanted.keep)] if wanted.keep else oldest_first
    goes = [
        mark
        for mark in beyond
        if mark is not needed and (wanted.older_than is None or now - mark.created > wanted.older_than)
    ]
    kept = [mark for mark in aside if mark not in goes]
    return tuple(
        mark
        for mark in goes
        if mark.kind != "drop" or all(one.created >= mark.created for one in kept if one.kind != "drop")
    )


def needed_by_undo(aside: Sequence[Mark]) -> Mark | None:
    """The generation that an undo would bring back."""
    return max((mark for mark in aside if mark.kind != "drop"), key=lambda mark: mark.number, default=None)


def _reason(mark: Mark, aside: Sequence[Mark], wanted: Asked) -> str:
    if mark is needed_by_undo(aside):
        return "undo needs it"
    return "newer than what was asked for" if wanted.by_rule else "not asked for"


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
            state=_NOTHING_CHANGED,
            next_step=f"drop those first: {', '.join(older)}",
        )


def described(mark: Mark, now: datetime, size: int = 0) -> str:
    """What it is, how old and how large, in one line.

    + size: in bytes
    """
    when = f"{mark.created:%Y-%m-%d %H:%M} UTC"
    if mark.kind == "drop":
        return f"{mark.schema}, the empty mark of the restore by dropping of {when}"
    age = age_text(now - mark.created)
    return f"{mark.schema}, set aside at {when} ({age} ago), {amount_text(size, 'bytes')}"


def _ask(aside: Sequence[Mark], sizes: Mapping[str, int], now: datetime) -> str:
    rows = [
        Choice(
            mark.schema,
            (
                mark.schema,
                f"{mark.created:%Y-%m-%d %H:%M}",
                age_text(now - mark.created),
                amount_text(sizes.get(mark.schema, 0), "bytes"),
                mark.backup,
            ),
            "undo needs this one" if mark is needed_by_undo(aside) else "",
        )
        for mark in aside
    ]
    return ask(
        "Set-aside data to drop for good",
        ("schema", "set aside (UTC)", "age", "size", "replaced by"),
        rows,
        preselected="",
        option="--data set_aside=NAME, or --data older_than=30d, or --data keep=2",
    )


def _check_needed(connection: Connection, mark: Mark) -> None:
    """Raise `Refused`, naming them, where things outside depend on it."""
    found = removal.read_removal(connection, mark.schema)
    if found is not None and found.outside:
        raise Refused(
            f"Dropping {mark.schema}",
            "it is needed by " + ", ".join(sorted({edge.dependent.title for edge in found.outside})),
            state=_NOTHING_CHANGED,
            next_step="drop or move those first, then run the same command again",
        )


def _check_backed_up(app: Application, goes: Sequence[Mark]) -> None:
    if not goes:
        return
    complete = [
        backup.began for backup in reading.read_platform(app, backups=True).backups if backup.complete
    ]
    for mark in goes:
        if not any(began > mark.created for began in complete):
            raise Refused(
                f"Dropping {mark.schema}",
                "no platform backup begun after its cut-over "
                f"({mark.created:%Y-%m-%d %H:%M} UTC) is complete",
                state=_NOTHING_CHANGED,
                next_step="wait for the next periodic backup, or have the platform make one now",
            )


def forget(app: Application, forgetting: Forgetting, screen: Screen) -> None:
    """Drop it, the oldest first, under the environment's lock; a signal stops between two transactions.

    Raises as `tasks.postgres.forget.forget`.
    """
    run = new_run()
    with (
        Interrupts(lambda signal: screen.warn(f"{signal}: stopping after this transaction.")) as interrupts,
        app.database() as database,
        EnvironmentLock.take(database, run, who=who()),
        connect(database, run, "forget") as connection,
    ):
        for mark in forgetting.goes:
            tables = removal.forget(connection, mark, stop=interrupts.stop)
            app.journal.append(
                run=mark.run, app=app.name, deploy="forget", result="succeeded", moved=False, data=mark.schema
            )
            shutil.rmtree(paths.state("losses", app.declared.environment, mark.run), ignore_errors=True)
            screen.good(f"Dropped {mark.schema}: {number_of(tables, 'table')}.")
