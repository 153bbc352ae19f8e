"""What is, before a drill, and the plan that follows from it. Pure but for `read`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tasks.core.concurrent import side_by_side
from tasks.core.journal import Record
from tasks.core.plan import Change, Gate, Plan
from tasks.core.screen import amount_text
from tasks.core.wording import number_of
from tasks.drill.place import Place
from tasks.postgres import assess
from tasks.postgres.live import LiveFacts
from tasks.rollback import reading, resolve
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.choices import BackupOption, age_text, find_backup
from tasks.rollback.expected import Expected
from tasks.rollback.inputs import BackupWanted, Inputs
from tasks.rollback.intent import Target
from tasks.rollback.situation import Fetched

# The run's lock, the builder, a loader, one to look with.
_SLOTS: Final = 4
_NEWEST: Final = BackupWanted("latest")


@dataclass(frozen=True)
class Outlook:
    """One moment before one drill.

    + place: where it is restored, in words
    + there: what is in that database
    + running: the commit that runs
    + release: whose migrations the archive must fit; None where none is known
    + refusals: what keeps the archive from being restored there, once it was read
    + last: the last drill, as the journal knows it
    """

    app: str
    environment: str
    inputs: Inputs
    run: str
    now: datetime
    backup: BackupOption
    place: str
    room_bytes: int | None
    there: LiveFacts
    lock_holder: str | None
    running: str | None
    release: Target | None
    fetched: Fetched | None = None
    refusals: tuple[assess.Refusal, ...] = ()
    expected: Expected = field(default_factory=Expected)
    last: Record | None = None


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from."""

    outlook: Outlook
    plan: Plan


def read(app: Application, place: Place, inputs: Inputs, run: str, backups: Backups) -> Outlook:
    """Read it side by side, without writing anything but the cache.

    Raises `Refused` where there is no such backup, an `OpsError` where something can't be read.
    """
    app.client.require_credentials()
    _, platform, (there, holder) = side_by_side(
        lambda: reading.read_source(app),
        lambda: reading.read_platform(app, backups=True),
        lambda: _read_place(place),
    )
    wanted = inputs.backup or _NEWEST
    found = (
        resolve.file_backup(Path(wanted.value))
        if wanted.kind == "file"
        else find_backup(platform.backups, wanted)
    )
    release = resolve.pinned(app, inputs.tag) if inputs.tag else None
    if release is None and platform.running and app.mirror.has(platform.running):
        release = resolve.named(app, platform.running)
    opened = backups.cached(found)
    drills = [record for record in app.journal.of_app(app.name) if record.get("deploy") == "drill"]
    return Outlook(
        app=app.name,
        environment=app.declared.environment,
        inputs=inputs,
        run=run,
        now=datetime.now(UTC),
        backup=found,
        place=place.title,
        room_bytes=place.drill.room_bytes,
        there=there,
        lock_holder=holder,
        running=platform.running,
        release=release,
        fetched=opened.fetched if opened else None,
        refusals=refusals(opened, there, place.drill.room_bytes) if opened else (),
        expected=reading.expect(app, found, opened.fetched.size if opened else None),
        last=drills[-1] if drills else None,
    )


def _read_place(place: Place) -> tuple[LiveFacts, str | None]:
    with place.database() as database:
        return reading.read_database(database)


def refusals(opened: OpenBackup, there: LiveFacts, room_bytes: int | None) -> tuple[assess.Refusal, ...]:
    """What keeps a backup from being restored there."""
    return tuple(assess.assess_copy(opened.archive, opened.contents, there, room_bytes=room_bytes))


def plan(outlook: Outlook) -> Plan:
    """What this drill would do."""
    backup = outlook.backup
    size = f", {amount_text(backup.size, 'bytes')}" if backup.size else ""
    age = age_text(outlook.now - backup.began)
    return Plan(
        f"Drill: restore a backup of {outlook.app} ({outlook.environment}) where nobody uses it",
        (
            Change(
                f"copy of {backup.name} of {backup.began:%Y-%m-%d %H:%M} UTC, {age} old{size}",
                None,
                f"in {outlook.place}; looked at, measured, and removed again",
            ),
        ),
        gates=tuple(_gates(outlook)),
        steps=(
            "fetch the backup and read it to its end",
            "restore it and prove it; it is never swapped in",
            "check migrations, rows, foreign keys, newest rows, and what is declared",
            "remove it",
            "tell the channel, write the journal",
        ),
        notes=tuple(_notes(outlook)),
    )


def _gates(outlook: Outlook) -> Iterator[Gate]:
    holder = outlook.lock_holder
    yield Gate(
        "lock",
        holder is None,
        holder or f"nobody else is at work in {outlook.place}",
        "wait for that run, or talk to them.",
    )
    yield _room(outlook)
    yield _archive(outlook)


def _room(outlook: Outlook) -> Gate:
    there = outlook.there
    slots = number_of(there.free_slots, "free connection")
    if there.free_slots < _SLOTS:
        return Gate("room", False, f"{slots} there, a drill needs {_SLOTS}", "try again later.")
    limit = outlook.room_bytes
    is_now = f"that database has {amount_text(there.database_bytes, 'bytes')}"
    if limit is None:
        return Gate("room", True, f"{slots}; {is_now}, no limit is declared")
    sentence = f"{slots}; {is_now} of {amount_text(limit, 'bytes')}"
    return Gate("room", there.database_bytes < limit, sentence, "make room there, or declare another place.")


def _archive(outlook: Outlook) -> Gate:
    fetched = outlook.fetched
    if fetched is None:
        return Gate("archive", None, "not fetched yet; it is read to its end before it is restored")
    if outlook.refusals:
        listed = "; ".join(refusal.sentence for refusal in outlook.refusals[:5])
        return Gate("archive", False, f"can't be restored there: {listed}", "mend what is named.")
    tables, rows = number_of(len(fetched.rows), "table"), number_of(sum(fetched.rows.values()), "row")
    agrees = f"; its manifest agrees: {fetched.manifest.origin}" if fetched.manifest else ""
    return Gate("archive", True, f"read to its end: {tables}, {rows}{agrees}")


def _notes(outlook: Outlook) -> Iterator[str]:
    yield from outlook.expected.lines
    if (last := outlook.last) is not None:
        yield f"Last drill: {last.get('result')}, {age_text(outlook.now - last.at)} ago, by {last.get('who')}"
