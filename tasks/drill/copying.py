"""The copy of a drill: restored, looked at, and removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.core.errors import OpsError, Refused
from tasks.core.parts import Parts
from tasks.core.screen import Screen
from tasks.django import release
from tasks.django.migrations import Verdict, compare
from tasks.drill import checks, findings
from tasks.drill.checks import Checked
from tasks.drill.outlook import Outlook, refusals
from tasks.drill.place import Place
from tasks.postgres import forget, marks, stage
from tasks.postgres.connection import Target, connect
from tasks.postgres.lock import EnvironmentLock
from tasks.postgres.stage import Staged
from tasks.rollback import reading
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup

RESTORE = "restore it and prove it"
FETCH = "fetch the backup and read it to its end"


@dataclass
class Outcome:
    """What a drill has found, as far as it came.

    + fetched: whether the backup had to be fetched or read, which is then what that part's seconds are of
    + stored_bytes: what the copy took on the server, indexes included
    + stage_seconds: of the parts of restoring
    + left: the schema that could not be removed; "" where nothing is left
    """

    opened: OpenBackup | None = None
    fetched: bool = False
    rows: int = 0
    stored_bytes: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    checked: list[Checked] = field(default_factory=list)
    left: str = ""

    @property
    def failing(self) -> list[Checked]:
        """The checks that do not hold."""
        return [one for one in self.checked if not one.holds]


class Copying:
    """One drill at work, under the lock of the database that it restores into."""

    def __init__(
        self,
        app: Application,
        place: Place,
        outlook: Outlook,
        database: Target,
        lock: EnvironmentLock,
        backups: Backups,
        parts: Parts,
        screen: Screen,
        stop: Callable[[], bool],
    ) -> None:
        self._app = app
        self._place = place
        self._outlook = outlook
        self._database = database
        self._lock = lock
        self._backups = backups
        self._parts = parts
        self._screen = screen
        self._stop = stop
        self._run = outlook.run
        self.outcome = Outcome()

    def carry_out(self) -> None:
        """Restore, check, remove. Raises an `OpsError` where any of it fails; `outcome` tells how far."""
        self._remove_what_dead_drills_left()
        with self._parts.part(FETCH):
            opened = self._open()
        with self._removed_at_the_end():
            with self._parts.part(RESTORE):
                staged = self._restore(opened)
            with self._parts.part("check it"):
                self._check(opened, staged)

    def _remove_what_dead_drills_left(self) -> None:
        with connect(self._database, self._run, "cleanup") as connection:
            for mark in marks.read(connection).stages:
                if mark.of_a_drill:
                    self._screen.warn(f"Dropping {mark.schema}, which an earlier drill has left.")
                    forget.drop_schema(connection, mark.schema)

    def _open(self) -> OpenBackup:
        opened = self._backups.cached(self._outlook.backup)
        if opened is None:
            opened = self._backups.fetch(self._outlook.backup, self._stop)
            self.outcome.fetched = True
        self.outcome.opened = opened
        return opened

    def _restore(self, opened: OpenBackup) -> Staged:
        there, _ = reading.read_database(self._database)
        if found := refusals(opened, there, self._outlook.room_bytes):
            raise Refused(
                f"Restoring {self._outlook.backup.name} into {self._outlook.place}",
                "; ".join(refusal.sentence for refusal in found),
                next_step="mend what is named, then run the same command again",
            )
        request = stage.StageRequest(
            run=self._run,
            archive=opened.archive,
            rows=opened.contents.rows,
            total_bytes=sum(opened.contents.text_bytes.values()),
            backup=self._outlook.backup.id,
            sha256=opened.contents.sha256,
            fence=self._lock.fence,
            workers=stage.workers_for(there.free_slots, most=self._app.declared.workers),
            size_limit=self._outlook.room_bytes,
            details={marks.DRILL: True},
        )
        staged = stage.stage(
            self._database, request, there, progress=self._screen.progress("Restoring"), stop=self._stop
        )
        self.outcome.rows = sum(staged.rows.values())
        self.outcome.stage_seconds = dict(staged.seconds)
        return staged

    def _check(self, opened: OpenBackup, staged: Staged) -> None:
        declared, schema = self._place.drill, staged.schema
        with connect(self._database, self._run, "check", read_only=True) as connection:
            self.outcome.stored_bytes = findings.stored_bytes(connection, schema)
            counted = findings.count_rows(connection, schema, staged.rows)
            keys = findings.foreign_keys(connection, schema)
            newest = findings.newest(connection, schema, declared.newest)
            said = findings.statements(connection, schema, self._database.schema, declared.checks)
        there = {table: rows for table, rows in opened.fetched.rows.items() if table in staged.rows}
        commit = self._outlook.release.commit if self._outlook.release else None
        self.outcome.checked = [
            checks.of_migrations(self._verdict(opened), commit),
            checks.of_rows(there, counted),
            checks.of_foreign_keys(keys),
            *checks.of_newest(newest),
            *checks.of_statements(said),
        ]
        for one in self.outcome.checked:
            (self._screen.good if one.holds else self._screen.bad)(one.line)

    def _verdict(self, opened: OpenBackup) -> Verdict | None:
        applied, wanted = opened.fetched.migrations, self._outlook.release
        if applied is None or wanted is None:
            return None
        mirror, running = self._app.mirror, self._outlook.running
        of_wanted = release.migrations(mirror, wanted.commit)
        of_running = release.migrations(mirror, running) if running and mirror.has(running) else {}
        shipped = release.labels(of_wanted, of_running)
        ever = release.migrations_ever(mirror, wanted.commit)
        return compare(applied, of_wanted, None, shipped, retired=ever)

    @contextmanager
    def _removed_at_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._remove()

    def _remove(self) -> None:
        """Also where staging has failed, whose own removal may have failed with it."""
        schema = marks.stage_schema(self._run)
        try:
            with self._parts.part("remove it"), connect(self._database, self._run, "cleanup") as connection:
                forget.drop_schema(connection, schema)
        except OpsError as error:
            self.outcome.left = schema
            self._screen.bad(f"{schema} could not be removed; the next drill does it. {error}")
