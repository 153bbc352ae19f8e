"""The data side of a run: where the application's data is, and exchanging it as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tasks.core.errors import OpsError
from tasks.core.screen import Screen
from tasks.postgres import drop, forget, loss, marks, stage, swap
from tasks.postgres.connection import Target, connect
from tasks.postgres.lock import EnvironmentLock
from tasks.postgres.marks import DataState, Mark
from tasks.postgres.tools import find_pg_restore
from tasks.rollback.application import Application
from tasks.rollback.backups import Backups, OpenBackup
from tasks.rollback.cells import Data
from tasks.rollback.choices import BackupOption
from tasks.rollback.intent import Intent
from tasks.rollback.situation import Situation

_SECONDS_FOR_LOCKS: Final = 60.0
_POLL_SECONDS: Final = 1.0


class DataSide:
    """An application's data, for one run.

    + situation: as read under the lock
    + database: the database through this run's tunnel
    + backups: the cache that a fresh backup goes to
    + backup: open and read to its end; None for an undo
    """

    def __init__(
        self,
        app: Application,
        situation: Situation,
        database: Target,
        lock: EnvironmentLock,
        backups: Backups,
        backup: OpenBackup | None,
        screen: Screen,
    ) -> None:
        self._app = app
        self._situation = situation
        self._database = database
        self._lock = lock
        self._backups = backups
        self._backup = backup
        self._screen = screen
        self._loss: loss.Loss | None = None

    @property
    def intent(self) -> Intent:
        return self._situation.intent

    def marks(self) -> DataState:
        """What the database says of itself, now."""
        with connect(self._database, self.intent.run, "state", read_only=True) as connection:
            return marks.read(connection)

    def state(self) -> Data:
        """Old, staged or swapped, as the marks in the database say for this run."""
        found = self.marks()
        if self.intent.set_aside is not None:
            waiting = any(mark.schema == self.intent.set_aside.schema for mark in found.set_aside)
            return Data.STAGED if waiting else Data.SWAPPED
        if any(mark.kind == "before" and mark.run == self.intent.run for mark in found.set_aside):
            return Data.SWAPPED
        if found.dropping is not None and found.dropping.run == self.intent.run:
            return Data.SWAPPED if found.dropping.state == "restored" else Data.OLD
        return Data.STAGED if self._stage_in(found) else Data.OLD

    def _stage_in(self, found: DataState) -> Mark | None:
        """This run's proved stage."""
        for mark in found.stages:
            if mark.run == self.intent.run and mark.state == "proved":
                return mark
        return None

    def stage(self, stop: Callable[[], bool]) -> None:
        """Restore the backup beside the live data and prove it. Raises as `tasks.postgres.stage.stage`."""
        backup = self._opened
        self._drop_other_stages()
        live = self._situation.live
        if live is None:
            raise OpsError("Restoring beside the live data", "the live database was not read")
        request = stage.StageRequest(
            run=self.intent.run,
            archive=backup.archive,
            rows=backup.contents.rows,
            total_bytes=sum(backup.contents.text_bytes.values()),
            backup=self.intent.backup.id if self.intent.backup else "",
            sha256=backup.contents.sha256,
            fence=self._lock.fence,
            release=self.intent.target.commit if self.intent.target else "",
            empty=frozenset(self._app.declared.empty_tables),
            workers=stage.workers_for(live.free_slots, most=self._app.declared.workers),
            size_limit=self._app.declared.room_bytes,
        )
        staged = stage.stage(
            self._database, request, live, progress=self._screen.progress("Restoring beside"), stop=stop
        )
        with connect(self._database, self.intent.run, "state") as connection:
            details = {**staged.mark.details, **self._what_undo_needs()}
            marks.write(connection, replace(staged.mark, details=details))
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in staged.seconds.items())
        rows = sum(staged.rows.values())
        self._screen.good(f"Restored beside and proved: {len(staged.rows)} tables, {rows:,} rows ({parts})")

    def _drop_other_stages(self) -> None:
        """Copies of backups that earlier runs did not finish, or did not use."""
        for mark in self.marks().stages:
            self._screen.warn(f"Dropping {mark.schema}, which an earlier run has left.")
            with connect(self._database, self.intent.run, "cleanup") as connection:
                forget.drop_schema(connection, mark.schema)

    @property
    def _opened(self) -> OpenBackup:
        if self._backup is None:
            raise OpsError("Restoring a backup", "this run has none")
        return self._backup

    def cut_over(self) -> None:
        """Swap, in one transaction. Raises as `tasks.postgres.swap.swap`; nothing has happened then."""
        if self.intent.set_aside is not None:
            self._report(self._take_back())
            return
        with connect(self._database, self.intent.run, "state") as connection:
            found = self._stage_in(marks.read(connection))
            if found is None:
                raise OpsError("Swapping the restored data in", "its stage is gone", next_step="run it again")
            details = {**found.details, **self._what_undo_needs()}
            proved = swap.adopt(
                connection, replace(found, details=details), self.intent.run, self._lock.fence
            )
        live = self._situation.live
        self._report(
            swap.swap(
                self._database,
                self.intent.run,
                proved,
                planned=None if self.intent.before_boot or live is None else live.inventory.digest,
                lock_pid=self._lock.pid,
                fence=self._lock.fence,
                deadline=_SECONDS_FOR_LOCKS,
                waiting=self._waiting,
            )
        )

    def _what_undo_needs(self) -> dict[str, str | None]:
        """Written with the swap, so that another person's laptop can undo it."""
        asked = self._situation.inputs.backup
        return {
            "deploy": self.intent.deploy.value,
            "code_before": self._situation.platform.running if self.intent.target else None,
            "code_after": self._situation.target_commit,
            "asked": str(asked) if asked else None,
        }

    def _take_back(self) -> swap.Swapped:
        return swap.take_back(
            self._database,
            self.intent.run,
            lock_pid=self._lock.pid,
            fence=self._lock.fence,
            deadline=_SECONDS_FOR_LOCKS,
            waiting=self._waiting,
        )

    def _waiting(self, sentence: str) -> None:
        if sentence:
            self._screen.warn(f"The swap waits for: {sentence}")

    def _report(self, swapped: swap.Swapped) -> None:
        held = "" if swapped.locked is None else f", locks held {swapped.locked * 1000:.0f} ms"
        tries = "" if swapped.attempts == 1 else f" at attempt {swapped.attempts}"
        self._screen.good(f"Swapped{tries}: {swapped.moved_in} objects in, {swapped.moved_out} out{held}")

    def can_be_taken_back(self) -> bool:
        """Whether the last swap is this run's, and its other side still there."""
        live = self.marks().live
        return live is not None and live.run == self.intent.run and live.kind == "before"

    def take_back(self) -> None:
        """The swap backwards, by this run itself: what it restored is set aside, and marked so."""
        swapped = self._take_back()
        self._report(swapped)
        with connect(self._database, self.intent.run, "state") as connection:
            marks.write(
                connection, replace(swapped.mark, details={**swapped.mark.details, "taken_back": True})
            )

    def confirm(self) -> None:
        """Record that what users see is right: the next run then begins anew instead of going on."""
        with connect(self._database, self.intent.run, "state") as connection:
            found = marks.read(connection)
            mark = found.live if found.live and found.live.run == self.intent.run else found.dropping
            if mark is not None:
                marks.confirm(connection, mark)

    @property
    def incoming(self) -> str:
        """The schema whose objects come in at the swap."""
        return self.intent.set_aside.schema if self.intent.set_aside else marks.stage_schema(self.intent.run)

    def compute_loss(self, folder: Path) -> tuple[loss.Loss, list[Path]]:
        """What the swap would take away, now, and where it was exported to."""
        without = self._app.declared.empty_tables
        schema = self._database.schema
        with connect(self._database, self.intent.run, "loss", read_only=True) as connection:
            self._loss = loss.compute(connection, schema, self.incoming, without=without)
            files = loss.export_csv(connection, schema, self.incoming, self._loss, folder, without=without)
        return self._loss, files

    def signed(self) -> tuple[str, dict[str, int]]:
        """The token and the counts of the list that was last shown for this stage, from its mark."""
        mark = self._incoming_mark(self.marks())
        if mark is None or not isinstance(mark.details.get("loss"), dict):
            return "", {}
        return mark.loss, {str(table): int(count) for table, count in mark.details["loss"].items()}

    def remember_shown(self, shown: loss.Loss) -> None:
        """Keep the list that was shown with the stage, so that whoever signs it means that one."""
        with connect(self._database, self.intent.run, "state") as connection:
            mark = self._incoming_mark(marks.read(connection))
            if mark is not None:
                details = {**mark.details, "loss": shown.counts()}
                marks.write(connection, replace(mark, loss=shown.token, details=details))

    def _incoming_mark(self, found: DataState) -> Mark | None:
        everything = (*found.stages, *found.set_aside)
        return next((mark for mark in everything if mark.schema == self.incoming), None)

    @property
    def loss_token(self) -> str | None:
        return self._loss.token if self._loss else None

    def lost_rows(self) -> dict[str, int]:
        """How many rows of each table were set aside; empty where nothing was lost."""
        return {} if self._loss is None else self._loss.counts()

    def row_differences(self) -> list[str]:
        """A sentence for each table that lacks rows of the backup; says how many tables were compared."""
        if self._backup is None:
            return []
        wanted = {
            table: rows
            for table, rows in self._backup.fetched.rows.items()
            if table not in self._app.declared.empty_tables
        }
        with connect(self._database, self.intent.run, "read counts", read_only=True) as connection:
            counted = loss.count_rows(connection, self._database.schema, sorted(wanted))
        fewer = [
            f"table {table}: {counted.get(table, 0):,} rows, {rows:,} in the backup"
            for table, rows in wanted.items()
            if counted.get(table, 0) < rows
        ]
        more = {
            table: counted[table] - rows for table, rows in wanted.items() if counted.get(table, 0) > rows
        }
        since = ", ".join(f"{count:,} in {table}" for table, count in sorted(more.items()))
        self._screen.line(
            f"Rows of the backup: {sum(wanted.values()):,} in {len(wanted)} tables, fewer in {len(fewer)}"
            + (f"; written since: {since}" if since else "")
        )
        verdict = self._situation.migrations
        if fewer and verdict is not None and verdict.missing:
            self._screen.warn(f"The release's migrations ran on it since: {'; '.join(fewer)}")
            return []
        return fewer

    def take_safety_backup(self, stop: Callable[[], bool]) -> str:
        """Have the platform make a backup now, fetch it and read it to its end; gives its id.

        Raises an `OpsError` where that fails; nothing has been dropped then.
        """
        found = self.marks().dropping
        if found is not None and found.state == "dropping" and "safety" in found.details:
            return str(found.details["safety"])  # of the run that died: what is live now is half a database
        app, databases = self._app, self._app.client.databases
        self._screen.line("Taking a fresh backup of what is live, so that this can be undone.")
        made = databases.create_backup(app.name, app.addon.id)
        ended = databases.follow_backup(app.name, app.addon.id, made.id, stop=stop, every=_POLL_SECONDS)
        began = ended.started_at or ended.created_at
        option = BackupOption(ended.id, ended.name, began, ended.size, ended.status)
        opened = self._backups.fetch(option, stop)
        rows = sum(opened.fetched.rows.values())
        self._screen.good(f"Fresh backup {ended.name}: {rows:,} rows, read to its end, in the cache")
        return ended.id

    def stopped_containers(self) -> list[dict[str, Any]]:
        """What the mark of a drop that nobody has confirmed says was stopped for it."""
        found = self.marks().dropping if self.intent.backup else None
        if found is None or found.confirmed or found.run != self.intent.run:
            return []
        kept = found.details.get("formation")
        return kept if isinstance(kept, list) else []

    def replace(self, safety: str, formation: list[dict[str, Any]], stop: Callable[[], bool]) -> None:
        """Drop what is live and restore the backup in its place. Raises as `tasks.postgres.drop`."""
        backup = self._opened
        live = self._situation.live
        if live is None:
            raise OpsError("Restoring by dropping", "the live database was not read")
        tool = find_pg_restore(
            backup.archive.header.version[:2], live.version // 10000, self._app.declared.pg_restore
        )
        request = drop.DropRequest(
            run=self.intent.run,
            archive=backup.archive,
            contents=backup.contents,
            tool=tool,
            backup=self.intent.backup.id if self.intent.backup else "",
            fence=self._lock.fence,
            release=self.intent.target.commit if self.intent.target else "",
            details={**self._what_undo_needs(), "safety": safety, "formation": formation},
            empty=frozenset(self._app.declared.empty_tables),
            jobs=min(2, self._app.declared.workers),
        )
        drop.replace_live(
            self._database, request, progress=self._screen.progress("Restoring", "objects"), stop=stop
        )
        self._screen.good("Dropped, restored and proved.")

    def estimate_loss(self) -> loss.Loss:
        """For strategy=drop, where nothing is staged: numbers of rows live against those of the backup."""
        wanted = self._opened.fetched.rows
        schema, without = self._database.schema, self._app.declared.empty_tables
        with connect(self._database, self.intent.run, "read counts", read_only=True) as connection:
            counted = loss.count_rows(connection, schema, loss.tables(connection, schema))
        found = [
            loss.TableLoss(
                table,
                lost=max(0, rows - wanted.get(table, 0)),
                differ=0,
                back=max(0, wanted.get(table, 0) - rows),
                columns=() if table in wanted else None,
            )
            for table, rows in sorted(counted.items())
            if table not in without
        ]
        self._loss = loss.Loss(tuple(found))
        return self._loss

    @property
    def backup_token(self) -> str:
        """Stands for agreeing to lose everything that is newer than this run's backup."""
        return f"b{self._opened.contents.sha256[:7]}"
